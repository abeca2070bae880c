import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf, CLIENT, hostPair, SERVER, text } from '../../test/hosts.ts';
import { createHost } from '../index.ts';
import { pipePair } from '../phy/index.ts';

async function rig() {
  const { server, client, close } = hostPair();
  const here = await client.udp.bind({ port: 0 });
  const there = await server.udp.bind({ port: 53 });
  return { server, client, close, here, there };
}

test('udp socket: datagrams of every size come whole and in order', async () => {
  const { here, there, close } = await rig();
  const sizes = [0, 1, 2, 100, 1471, 1472, 1473, 9000, 65_507];
  for (const size of sizes) await here.send(new Uint8Array(size).fill(size), { host: SERVER, port: 53 });
  for (const size of sizes) assert.deepEqual((await there.receive()).data, new Uint8Array(size).fill(size));
  await assert.rejects(here.send(new Uint8Array(65_508), { host: SERVER, port: 53 }), {
    code: 'EMSGSIZE',
    syscall: 'send',
    address: SERVER,
    port: 53,
  });
  await close();
});

test('udp socket: receives are served in turn, and a cancelled one loses nothing', async () => {
  const { here, there, close } = await rig();
  const controller = new AbortController();
  const cancelled = there.receive({ signal: controller.signal });
  const first = there.receive();
  const second = there.receive();
  controller.abort();
  await assert.rejects(cancelled, { name: 'AbortError' });
  await here.send(bytesOf('one'), { host: SERVER, port: 53 });
  await here.send(bytesOf('two'), { host: SERVER, port: 53 });
  assert.equal(text((await first).data), 'one');
  assert.equal(text((await second).data), 'two');
  await close();
});

test('udp socket: as a loop, ended by close', async () => {
  const { here, there, close } = await rig();
  const got: string[] = [];
  const serving = (async () => {
    for await (const { data, address, port } of there) {
      got.push(text(data)!);
      await there.send(data, { host: address, port });
      if (got.length === 3) await there.close();
    }
  })();
  for (const word of ['a', 'b', 'c']) {
    await here.send(bytesOf(word), { host: SERVER, port: 53 });
    assert.equal(text((await here.receive()).data), word);
  }
  await serving;
  assert.deepEqual(got, ['a', 'b', 'c']);
  await close();
});

test('udp socket: a connected one needs no destination, and is told that nobody listens', async () => {
  const { client, server, close } = hostPair();
  const refused = await client.udp.connect({ host: SERVER, port: 99 });
  await refused.send(bytesOf('x'));
  await assert.rejects(refused.receive(), { code: 'ECONNREFUSED', address: SERVER, port: 99 });
  const there = await server.udp.bind({ port: 53 });
  const here = await client.udp.connect({ host: SERVER, port: 53 });
  await here.send(bytesOf('x'));
  const { port } = await there.receive();
  assert.equal(port, here.port);
  await there.send(bytesOf('y'), { host: '10.0.0.2', port });
  assert.equal(text((await here.receive()).data), 'y');
  await close();
});

test('udp socket: close rejects who waits, and frees the port', async () => {
  const { server, there, close } = await rig();
  const waiting = there.receive();
  await there.close();
  await assert.rejects(waiting, { code: 'ECANCELED', syscall: 'receive' });
  await assert.rejects(there.receive(), { code: 'ECANCELED' });
  await assert.rejects(there.send(bytesOf('x'), { host: SERVER, port: 1 }), { code: 'ECANCELED' });
  await there.close();
  const again = await server.udp.bind({ port: 53 });
  assert.equal(again.port, 53);
  await close();
});

test('udp socket: a host that does not read loses datagrams, not memory', async () => {
  const { client, here, there, close } = await rig();
  for (let i = 0; i < 2000; i++) await here.send(new Uint8Array(1000), { host: SERVER, port: 53 });
  assert.ok(client.memory.usedBytes < 1 << 20);
  assert.equal((await there.receive()).data.length, 1000);
  await close();
});

test('udp socket: arguments', async () => {
  const { here, close } = await rig();
  await assert.rejects(here.send('x' as never, { host: SERVER, port: 53 }), TypeError);
  await assert.rejects(here.send(bytesOf('x'), { host: 'nowhere', port: 53 }), { code: 'ENOTFOUND' });
  for (const port of [0, -1, 1.5, 70_001]) {
    await assert.rejects(here.send(bytesOf('x'), { host: SERVER, port }), { name: 'RangeError', message: /port/ });
  }
  await assert.rejects(here.send(bytesOf('x')), { code: 'ENOTCONN' });
  await close();
});

test('udp socket: groups, with the names of node:dgram', async () => {
  const { server, client, here, there, close } = await rig();
  const group = '239.1.2.3';
  const shared = await server.udp.bind({ port: 53, reuse: true }).catch((error) => error.code);
  assert.equal(shared, 'EADDRINUSE', 'the first has to share it too');
  const [one, two] = [
    await server.udp.bind({ port: 54, reuse: true }),
    await server.udp.bind({ port: 54, reuse: true }),
  ];
  one.addMembership(group);
  two.addMembership(group, SERVER);
  assert.throws(() => one.addMembership(group), { code: 'EADDRINUSE' });
  assert.throws(() => one.addMembership(group, 'eth7'), { code: 'ENODEV' });
  assert.throws(() => one.addMembership('10.0.0.1'), { name: 'TypeError', message: /multicast address/ });
  await here.send(bytesOf('all'), { host: group, port: 54 });
  for (const socket of [one, two]) assert.equal(text((await socket.receive()).data), 'all');
  one.dropMembership(group);
  two.dropMembership(group);
  one.addSourceSpecificMembership(CLIENT, group);
  two.addSourceSpecificMembership('10.0.0.99', group);
  await here.send(bytesOf('some'), { host: group, port: 54 });
  await here.send(bytesOf('end'), { host: SERVER, port: 53 });
  assert.equal(text((await there.receive()).data), 'end');
  assert.equal(text((await one.receive()).data), 'some');
  assert.throws(() => one.dropSourceSpecificMembership('10.0.0.99', group), { code: 'EADDRNOTAVAIL' });
  two.dropSourceSpecificMembership('10.0.0.99', group);
  two.addMembership(group);
  two.blockSource('10.0.0.99', group);
  two.unblockSource('10.0.0.99', group);
  assert.equal(here.setMulticastTTL(0), 0);
  assert.equal(here.setTTL(9), 9);
  assert.equal(here.setMulticastLoopback(false), false);
  assert.throws(() => here.setMulticastTTL(256), RangeError);
  assert.throws(() => here.setTTL(0), RangeError);
  here.setMulticastInterface('0.0.0.0');
  here.setMulticastInterface(client.iface!.name);
  assert.throws(() => here.setMulticastInterface('eth7'), { code: 'ENODEV' });
  await close();
  assert.throws(() => one.addMembership(group), { code: 'ECANCELED' });
});

test('udp socket: EACCES: a broadcast needs setBroadcast', async () => {
  const { client, here, there, close } = await rig();
  const host = client.iface!.addresses.find(({ address }) => address.isV4)!.broadcast!.toString();
  await assert.rejects(here.send(bytesOf('all'), { host, port: 53 }), { code: 'EACCES', syscall: 'send' });
  here.setBroadcast(true);
  await here.send(bytesOf('all'), { host, port: 53 });
  assert.equal(text((await there.receive()).data), 'all');
  await close();
});

test('udp socket: a service on all addresses answers from the one that was asked: RFC 1122 §4.1.3.5', async () => {
  const [left, right] = pipePair();
  const server = createHost({ device: left, addresses: ['10.0.0.1/24', '10.0.0.9/24', 'fd00::1/64', 'fd00::9/64'] });
  const client = createHost({ device: right, addresses: ['10.0.0.2/24', 'fd00::2/64'] });
  const service = await server.udp.bind({ port: 53 });
  for (const asked of ['10.0.0.1', '10.0.0.9', 'fd00::1', 'fd00::9', '10.0.0.1']) {
    // Connected: only what comes from the address that was asked is taken.
    const socket = await client.udp.connect({ host: asked, port: 53 });
    await socket.send(bytesOf('where?'));
    const { address, port, localAddress } = await service.receive();
    assert.equal(localAddress, asked);
    await service.send(bytesOf(asked), { host: address, port, localAddress });
    assert.equal(text((await socket.receive()).data), asked);
    await socket.close();
  }
  const elsewhere = { host: '10.0.0.2', port: 9, localAddress: '10.0.0.3' };
  await assert.rejects(service.send(bytesOf('x'), elsewhere), { code: 'EADDRNOTAVAIL', address: '10.0.0.3' });
  await assert.rejects(service.send(bytesOf('x'), { ...elsewhere, localAddress: 'here' }), TypeError);
  await Promise.all([client.close(), server.close()]);
});

test('udp socket: what went to a group or to everybody is answered from an address of ours', async () => {
  const { server, client, close } = hostPair();
  const service = await server.udp.bind({ port: 53 });
  await service.addMembership('239.1.2.3');
  const socket = await client.udp.bind();
  socket.setBroadcast(true);
  for (const to of ['239.1.2.3', '10.0.0.255']) {
    await socket.send(bytesOf('who?'), { host: to, port: 53 });
    const { address, port, localAddress } = await service.receive();
    assert.equal(localAddress, to);
    await service.send(bytesOf('me'), { host: address, port, localAddress });
    assert.equal((await socket.receive()).address, SERVER);
  }
  await close();
});
