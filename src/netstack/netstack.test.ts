import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { rawOpen, tcpConnect, tcpListen, udpBind } from './create-socket.ts';
import { Driver } from './driver.ts';
import { Netstack } from './netstack.ts';
import { Pipe, PipeDev } from './pipe.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

test('a channel keeps no stack alive, and fails when it is gone', async () => {
  const open = () => {
    const netstack = new Netstack({ memory: 1 << 20, shared: false });
    return { channel: netstack.commandChannel(), alive: new WeakRef(netstack) };
  };
  const { channel, alive } = open();
  const waiting = channel.request({ kind: 'get-stats' });
  waiting.catch(() => {});
  for (let i = 0; i < 50 && alive.deref() !== undefined; i++) {
    await new Promise((resolve) => setTimeout(resolve, 2));
    collect();
  }
  assert.equal(alive.deref(), undefined);
  await assert.rejects(waiting, { code: 'ENETDOWN' });
  await assert.rejects(channel.request({ kind: 'get-stats' }), { code: 'ENETDOWN' });
  assert.throws(() => channel.share(), { code: 'ENETDOWN' });
});

test('step by step: a command is awaited, processed, answered; time is what the polls say', async () => {
  const netstack = new Netstack({ addresses: ['10.0.0.1/24'] }, 1000);
  const channel = netstack.commandChannel();
  const bound = channel.request({ kind: 'udp-bind', port: 53 });
  netstack.processOneCommand(await netstack.waitForCommand());
  assert.equal((await bound).local.port, 53);
  assert.equal(netstack.pollDelay(1000), Number.POSITIVE_INFINITY);
  const waiting = netstack.waitForCommand();
  const connecting = tcpConnect(channel, { host: '10.0.0.2', port: 80 });
  connecting.catch(() => {});
  assert.equal(netstack.pollAt(1000), 1000);
  netstack.processOneCommand(await waiting);
  const [near, far] = Pipe.unbounded();
  netstack.pollDeviceIo(1000, new PipeDev({ pipe: near }));
  assert.equal(far.rx.length, 1);
  assert.equal(netstack.pollAt(1000), 2000); // RFC 6298 §2.1: the SYN again after a second
  assert.equal(netstack.pollDelay(1500), 500);
  netstack.close();
  await assert.rejects(connecting, { code: 'ENETDOWN' });
  await assert.rejects(netstack.waitForCommand(), { code: 'ENETDOWN' });
  assert.equal(netstack.memory.usedBytes, 0);
  await assert.rejects(netstack.openChannel().request({ kind: 'get-stats' }), { code: 'ENETDOWN' });
});

test('stack control over the channel: addresses, routes, counters', async () => {
  const netstack = new Netstack({ addresses: ['10.0.0.1/24'] });
  const channel = netstack.commandChannel();
  netstack.onWork = () => netstack.processCommands();
  await channel.setAddresses(['10.0.0.9/24', '10.1.0.9/16']);
  assert.deepEqual((await channel.request({ kind: 'get-addresses' })).addresses, ['10.0.0.9/24', '10.1.0.9/16']);
  await channel.addRoute({ prefix: '10.9.0.0/16', gateway: '10.0.0.254' });
  const socket = await udpBind(channel);
  await socket.send(Uint8Array.of(1), { host: '10.9.1.1', port: 9 });
  const { routes } = await channel.request({ kind: 'get-routes' });
  assert.deepEqual(
    routes.filter(({ gateway }) => gateway !== null),
    [{ prefix: '10.9.0.0/16', gateway: '10.0.0.254' }],
  );
  assert.ok(routes.some(({ prefix, gateway }) => prefix === '10.1.0.0/16' && gateway === null));
  await channel.request({ kind: 'remove-route', prefix: '10.9.0.0/16' });
  await assert.rejects(socket.send(Uint8Array.of(1), { host: '10.9.1.1', port: 9 }), { code: 'ENETUNREACH' });
  await assert.rejects(channel.addRoute({ prefix: '10.9.0.0/16', gateway: '172.16.0.1' }), RangeError);
  await assert.rejects(channel.setAddresses(['10.0.0.9/24', '10.0.0.9/24']), RangeError);
  assert.equal((await channel.stats())['udpOut' as string], 1);
  netstack.close();
  assert.equal(netstack.memory.usedBytes, 0);
});

test('`using` closes sockets, and closing the channel closes all of them', async () => {
  const netstack = new Netstack();
  const driver = new Driver(netstack).run();
  const channel = netstack.openChannel();
  {
    using socket = await udpBind(channel, { port: 53 });
    using listener = await tcpListen(channel, { port: 80 });
    using stream = await tcpConnect(channel, { host: '127.0.0.1', port: 80 });
    using peer = await listener.accept();
    using raw = await rawOpen(channel, { family: 4, protocol: 200 });
    assert.deepEqual([socket.port, peer.remotePort, raw.protocol], [53, stream.localPort, 200]);
    assert.equal(netstack.socketCount, 5);
  }
  await channel.request({ kind: 'get-addresses' });
  assert.equal(netstack.socketCount, 0);
  const again = await udpBind(channel, { port: 53 });
  const receive = again.receive();
  receive.catch(() => {});
  await udpBind(channel);
  assert.equal(netstack.socketCount, 2);
  channel.close();
  channel.close();
  await netstack.commandChannel().request({ kind: 'get-addresses' });
  assert.equal(netstack.socketCount, 0);
  await assert.rejects(receive, (error) => ['ECANCELED', 'ENETDOWN'].includes((error as { code: string }).code));
  await assert.rejects(udpBind(channel), { code: 'ECANCELED' });
  driver.close();
  assert.equal(netstack.memory.usedBytes, 0);
});

test('the first bytes of a connect: with the SYN where there is a cookie, else behind the handshake; too many are refused', async () => {
  const netstack = new Netstack({ hosts: { 'here.test': '127.0.0.1' } });
  const driver = new Driver(netstack).run();
  const channel = netstack.openChannel();
  const tcp = { fastOpen: true, fastOpenBacklog: 4 };
  const listener = await tcpListen(channel, { port: 80, tcp });
  const data = new TextEncoder().encode('first bytes');
  for (const host of ['127.0.0.1', '127.0.0.1', 'here.test']) {
    const connecting = tcpConnect(channel, { host, port: 80, tcp, data });
    const peer = await listener.accept();
    assert.deepEqual(await peer.read(), data, host);
    await Promise.all([peer.close(), (await connecting).close()]);
  }
  assert.equal((await channel.stats())['tcpFastOpenActive' as string], 1);
  for (const host of ['127.0.0.1', 'here.test']) {
    const large = tcpConnect(channel, { host, port: 80, data: new Uint8Array(300_000) });
    await assert.rejects(large, /expected data of at most \d+ bytes/);
  }
  driver.close();
  assert.equal(netstack.memory.usedBytes, 0);
});
