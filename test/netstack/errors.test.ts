/** Each error that a channel has of its own, and each wrong use, by name and over each kind of link: one error, and on it goes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Channel,
  type Command,
  type Driver,
  icmpIntercept,
  Netstack,
  type NetstackConfig,
  ping,
  pipedPair,
  rawOpen,
  tcpConnect,
  tcpIntercept,
  tcpListen,
  udpBind,
  udpIntercept,
} from '../../src/netstack/index.ts';
import { until } from './roles.ts';
import { OTHER, OWN } from './suite.ts';

const LINKS = ['this thread', 'a port', 'shared memory'] as const;
type Link = (typeof LINKS)[number];

const channelOver = (netstack: Netstack, link: Link): Channel =>
  link === 'this thread' ? netstack.openChannel() : Channel.from(netstack.commandChannel().share().channel);

interface Scene {
  readonly link: Link;
  readonly own: Driver;
  readonly other: Driver;
  readonly channel: Channel;
}

type Check = (scene: Scene) => Promise<void>;

/** @param check - what must be refused; afterwards the channel must still do what is asked */
function each(name: string, check: Check, config: NetstackConfig = {}): void {
  for (const link of LINKS) {
    test(`${name}, over ${link}`, { timeout: 20_000 }, async () => {
      const shared = link !== 'a port';
      const [own, other] = pipedPair({ addresses: [`${OWN}/24`], shared, ...config }, { addresses: [`${OTHER}/24`] });
      own.run();
      other.run();
      const listener = await tcpListen(other, { port: 80 });
      const channel = channelOver(own.netstack, link);
      await check({ link, own, other, channel });
      if (!channel.isClosed) {
        assert.equal((await ping(channel, OTHER)).address, OTHER);
        channel.close();
      }
      if (!own.netstack.isClosed) await until(() => own.netstack.socketCount === 0, 'its sockets are closed');
      await listener.close();
      own.close();
      other.close();
      assert.equal(own.netstack.memory.usedBytes, 0);
    });
  }
}

const open = (channel: Channel): Promise<{ readonly handle: number }> =>
  channel.request({ kind: 'tcp-connect', host: OTHER, port: 80 });
const bind = (channel: Channel): Promise<{ readonly handle: number }> =>
  channel.request({ kind: 'udp-bind', port: 60 });
const refuses = (channel: Channel, command: unknown, code: string): Promise<void> =>
  assert.rejects(channel.request(command as Command), { name: 'NetError', code });

each('ENETDOWN: the stack is closed', async ({ own, channel }) => {
  const socket = await udpBind(channel, { port: 53 });
  const stream = await tcpConnect(channel, { host: OTHER, port: 80 });
  const waiting = [socket.receive(), stream.read(), channel.request({ kind: 'udp-receive', handle: 1 << 20 })];
  for (const one of waiting) one.catch(() => {});
  await channel.request({ kind: 'get-addresses' }); // all are under way
  own.close();
  for (const one of waiting.slice(0, 2)) await assert.rejects(one, { code: 'ENETDOWN' });
  await assert.rejects(waiting[2]!, { name: 'NetError' });
  await assert.rejects(udpBind(channel), { code: 'ENETDOWN' });
  await assert.rejects(tcpIntercept(channel), { code: 'ENETDOWN' });
  assert.throws(() => channel.share(), { code: 'ENETDOWN' });
  assert.throws(() => channel.requestNonblocking({ kind: 'get-stats' }), { code: 'ENETDOWN' });
});

each('EBADF: a handle that was given back, or is of something else', async ({ channel }) => {
  const { handle } = await bind(channel);
  await refuses(channel, { kind: 'tcp-receive', handle, max: 1 }, 'EBADF');
  await refuses(channel, { kind: 'intercept-next', handle }, 'EBADF');
  await refuses(channel, { kind: 'report-next', handle }, 'EBADF');
  await channel.request({ kind: 'udp-close', handle });
  for (const kind of ['udp-receive', 'udp-close', 'tcp-info', 'tcp-next-traces', 'intercept-close', 'report-end']) {
    await refuses(channel, { kind, handle }, 'EBADF');
  }
  const second = await bind(channel);
  await refuses(channel, { kind: 'udp-send', handle, host: OTHER, port: 9, data: new Uint8Array(1) }, 'EBADF');
  await channel.request({ kind: 'udp-close', handle: second.handle });
});

for (const link of LINKS) {
  test(`EAGAIN: a full channel, for who cannot wait, over ${link}`, async () => {
    const netstack = new Netstack({ channelCapacity: 2, shared: link !== 'a port' });
    const channel = channelOver(netstack, link);
    for (let i = 0; i < 2; i++) channel.requestNonblocking({ kind: 'get-addresses' });
    assert.throws(() => channel.requestNonblocking({ kind: 'get-addresses' }), { name: 'NetError', code: 'EAGAIN' });
    const waiting = channel.request({ kind: 'get-addresses' });
    const timer = setInterval(() => netstack.processCommands(), 1);
    assert.equal((await waiting).kind, 'addresses');
    clearInterval(timer);
    channel.close();
    netstack.close();
  });
}

each('EDEADLK, EOPNOTSUPP: a call that blocks where nobody may wait', async ({ link, channel }) => {
  if (link === 'shared memory') return; // there it may
  const code = link === 'this thread' ? 'EDEADLK' : 'EOPNOTSUPP';
  const listener = await tcpListen(channel, { port: 90 });
  const stream = await tcpConnect(channel, { host: OTHER, port: 80 });
  const socket = await udpBind(channel);
  const raw = await rawOpen(channel, { family: 4, protocol: 200 });
  const flows = await tcpIntercept(channel);
  for (const call of [
    () => channel.requestBlocking({ kind: 'get-stats' }),
    () => listener.acceptBlocking(),
    () => stream.readBlocking(),
    () => stream.readIntoBlocking(new Uint8Array(1)),
    () => stream.writeBlocking(Uint8Array.of(1)),
    () => stream.infoBlocking(),
    () => socket.receiveBlocking(),
    () => socket.sendBlocking(Uint8Array.of(1), { host: OTHER, port: 9 }),
    () => raw.receiveBlocking(),
    () => flows.nextBlocking(),
    () => flows.statusBlocking(),
  ]) {
    assert.throws(call, { name: 'NetError', code });
  }
});

each(
  'EMFILE: more threads than slots or ports, more sockets than handles',
  async ({ link, own, channel }) => {
    if (link === 'a port') {
      const shared = Array.from({ length: 1023 }, () => own.netstack.share());
      assert.throws(() => own.netstack.share(), { name: 'NetError', code: 'EMFILE' });
      for (const { port } of shared) port!.close();
      return;
    }
    const shared = link === 'this thread' ? [own.netstack.share(), own.netstack.share()] : [own.netstack.share()];
    assert.throws(() => own.netstack.share(), { name: 'NetError', code: 'EMFILE' });
    if (link === 'shared memory') assert.throws(() => channel.share(), { name: 'NetError', code: 'EMFILE' });
    assert.throws(() => Channel.from(structuredClone(own.commandChannel())), { name: 'NetError', code: 'EMFILE' });
    for (const { port } of shared) port!.close();
  },
  { clients: 2 },
);

each('EBUSY: a second reader, a second asker', async ({ channel }) => {
  const { handle } = await bind(channel);
  const first = channel.request({ kind: 'udp-receive', handle });
  first.catch(() => {});
  await refuses(channel, { kind: 'udp-receive', handle }, 'EBUSY');
  await channel.request({ kind: 'udp-close', handle });
  await assert.rejects(first, { code: 'ECANCELED' });
  const stream = await open(channel);
  // Over shared memory its rings are the first reader.
  const second = channel.request({ kind: 'tcp-receive', handle: stream.handle, max: 10 });
  second.catch(() => {});
  await refuses(channel, { kind: 'tcp-receive', handle: stream.handle, max: 10 }, 'EBUSY');
  await channel.request({ kind: 'tcp-abort', handle: stream.handle });
  const { handle: flows } = await channel.request({ kind: 'intercept-tcp' });
  const next = channel.request({ kind: 'intercept-next', handle: flows });
  next.catch(() => {});
  await refuses(channel, { kind: 'intercept-next', handle: flows }, 'EBUSY');
  await channel.request({ kind: 'intercept-close', handle: flows });
  await assert.rejects(next, { code: 'ECANCELED' });
});

each('EINVAL, RangeError: a read without room; a write of nothing is done at once', async ({ other, channel }) => {
  const { handle } = await bind(channel);
  for (const max of [0, -1, 0.5]) await refuses(channel, { kind: 'udp-receive', handle, max }, 'EINVAL');
  const { handle: opened } = await open(channel);
  for (const max of [0, -1, 0.5, 1e9]) await refuses(channel, { kind: 'tcp-receive', handle: opened, max }, 'EINVAL');
  const listener = await tcpListen(other, { port: 81 });
  const stream = await tcpConnect(channel, { host: OTHER, port: 81 });
  const peer = await listener.accept();
  await assert.rejects(stream.readInto(new Uint8Array(0)), RangeError);
  await stream.write(new Uint8Array(0));
  await peer.write(Uint8Array.of(7));
  assert.deepEqual(await stream.read(), Uint8Array.of(7));
  await Promise.all([stream.close(), peer.close(), listener.close()]);
});

each('EPIPE, ECANCELED: a send after the end, and after close', async ({ other, channel }) => {
  const listener = await tcpListen(other, { port: 81 });
  const stream = await tcpConnect(channel, { host: OTHER, port: 81 });
  const peer = await listener.accept();
  await stream.end();
  await assert.rejects(stream.write(Uint8Array.of(1)), { name: 'NetError', code: 'EPIPE' });
  await peer.close();
  await stream.close();
  await assert.rejects(stream.write(Uint8Array.of(1)), { name: 'NetError' });
  await assert.rejects(stream.read(), { name: 'NetError', code: 'ECANCELED' });
  assert.equal(await stream.info(), null);
  stream.trace(() => assert.fail('nothing is left to look at'));
  const socket = await udpBind(channel);
  await socket.close();
  await assert.rejects(socket.send(Uint8Array.of(1), { host: OTHER, port: 9 }), { code: 'ECANCELED' });
  const raw = await rawOpen(channel, { family: 4, protocol: 200 });
  await raw.close();
  await assert.rejects(raw.send(Uint8Array.of(1), OTHER), { code: 'ECANCELED' });
  await listener.close();
});

each('EMSGSIZE: a buffer over the limit', async ({ channel }) => {
  const { handle } = await bind(channel);
  const { handle: stream } = await open(channel);
  const data = new Uint8Array((1 << 20) + 1);
  await refuses(channel, { kind: 'tcp-send', handle: stream, data }, 'EMSGSIZE');
  await refuses(channel, { kind: 'udp-send', handle, host: OTHER, port: 9, data }, 'EMSGSIZE');
  await refuses(channel, { kind: 'udp-send', handle, host: OTHER, port: 9, data: new Uint8Array(65_508) }, 'EMSGSIZE');
});

each('EPROTO: a command that is none', async ({ channel }) => {
  for (const none of [{ kind: 'intercept-all' }, { kind: 'report-all' }, { kind: 'dance' }, {}]) {
    const handles = (none as { kind?: string }).kind?.includes('-') ? 'EBADF' : 'EPROTO';
    await assert.rejects(channel.request(none as Command), (error) => {
      assert.ok(['EPROTO', handles].includes((error as { code: string }).code), String(error));
      return true;
    });
  }
});

each('EADDRINUSE: two who intercept the same', async ({ channel, own }) => {
  for (const intercept of [tcpIntercept, udpIntercept, icmpIntercept]) {
    const first = await intercept(channel);
    await assert.rejects(intercept(own), { name: 'NetError', code: 'EADDRINUSE' });
    await first.close();
    await (await intercept(channel)).close();
  }
});

each('TypeError, RangeError: what cannot be intercepted with', async ({ channel }) => {
  const wrong = (options: object): Promise<unknown> => channel.request(options as Command);
  for (const options of [
    { kind: 'intercept-tcp', flowsMax: 0 },
    { kind: 'intercept-tcp', bytesMax: -1 },
    { kind: 'intercept-tcp', idleMs: 0 },
    { kind: 'intercept-tcp', backlog: 'x' },
    { kind: 'intercept-udp', receiveBytes: 3000 },
    { kind: 'intercept-udp', deadlineMs: 'x' },
    { kind: 'intercept-udp', idleMs: -1 },
    { kind: 'intercept-icmp', pendingMax: 0 },
    { kind: 'intercept-icmp', deadlineMs: 0 },
    { kind: 'ping', host: OTHER, reports: true, count: 1, size: 1e6 },
  ]) {
    if (options.kind !== 'ping') await assert.rejects(wrong(options), RangeError, JSON.stringify(options));
  }
  await assert.rejects(ping(channel, OTHER, { count: 1, size: 1e6 }), RangeError);
  await assert.rejects(tcpIntercept(channel, 7 as never), TypeError);
  const flows = await tcpIntercept(channel);
  const { handle } = (await channel.request({ kind: 'intercept-udp' })) as { handle: number };
  for (const flow of [0, 1, -1, 1e9]) {
    assert.deepEqual(await channel.request({ kind: 'intercept-decide', handle, flow, decision: 'drop' }), {
      kind: 'decided',
      isInTime: false,
    });
    await assert.rejects(channel.request({ kind: 'intercept-accept', handle, flow }), { code: 'ECONNABORTED' });
    await assert.rejects(channel.request({ kind: 'intercept-idle', handle, flow, idleMs: 0 }), RangeError);
  }
  await channel.request({ kind: 'intercept-close', handle });
  await flows.close();
});

test('foreign messages on the port beside shared memory are ignored', async () => {
  const netstack = new Netstack();
  const { channel: data } = netstack.commandChannel().share();
  const foreign = [null, 7, 'x', {}, { ring: 'x' }, { join: 1 }, { join: { port: 1, lease: 'x' } }, [1, 2], { id: 1 }];
  for (const message of foreign) data.port!.postMessage(message);
  const channel = Channel.from(data);
  const timer = setInterval(() => netstack.processCommands(), 1);
  for (const message of foreign) data.port!.postMessage(message);
  await (await udpBind(channel, { port: 53 })).close();
  clearInterval(timer);
  channel.close();
  netstack.close();
  assert.equal(netstack.memory.usedBytes, 0);
});

test('foreign messages to a client are ignored', async () => {
  const netstack = new Netstack({ shared: false });
  const { port1, port2 } = new MessageChannel();
  const { channel: data } = netstack.commandChannel().share();
  // Somebody between the two, who says more than he hears.
  data.port!.onmessage = ({ data: message }) => {
    for (const foreign of [null, 7, 'x', {}, { id: 'x' }, { id: 1 }, [null, 3], { taken: 'x' }]) {
      port1.postMessage(foreign);
    }
    port1.postMessage(message);
  };
  port1.onmessage = ({ data: message }) => data.port!.postMessage(message);
  const channel = Channel.from({ ...data, port: port2 });
  const timer = setInterval(() => netstack.processCommands(), 1);
  await (await udpBind(channel, { port: 53 })).close();
  clearInterval(timer);
  channel.close();
  port1.close();
  data.port!.close();
  netstack.close();
});
