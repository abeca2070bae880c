/** What no program of ours sends: one error each, with a code, and the stack goes on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Channel,
  type ChannelData,
  type Command,
  Driver,
  Netstack,
  pipedPair,
  tcpConnect,
  tcpListen,
  udpBind,
} from '../../src/netstack/index.ts';
import { pipePair } from '../../src/phy/index.ts';
import { OTHER, OWN } from './suite.ts';

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 2));

interface Scene {
  readonly own: Driver;
  readonly channel: Channel;
  end(): Promise<void>;
}

/** How the channel reaches its stack. */
const LINKS = ['this thread', 'a port', 'shared memory'] as const;

function scene(link: (typeof LINKS)[number] = 'this thread'): Scene {
  const shared = link !== 'a port';
  const [own, other] = pipedPair({ addresses: [`${OWN}/24`], shared }, { addresses: [`${OTHER}/24`] });
  own.run();
  other.run();
  other.netstack.stack.tcpSocket().listen({ port: 80 });
  const channel = link === 'this thread' ? own.commandChannel() : Channel.from(own.commandChannel().share().channel);
  const end = async (): Promise<void> => {
    await (await udpBind(channel, { port: 53 })).close(); // it goes on
    if (link !== 'this thread') channel.close();
    own.close();
    other.close();
    assert.equal(own.netstack.memory.usedBytes, 0);
  };
  return { own, channel, end };
}

/** Of the one UDP socket that is there: the first handle of a client. */
const BOUND = 1 << 20;
const GROUP = '239.1.2.3';

async function bound({ channel }: Scene): Promise<void> {
  const { handle } = await channel.request({ kind: 'udp-bind', port: 60 });
  assert.equal(handle, BOUND);
  await channel.request({ kind: 'udp-membership', handle, membership: { change: 'join', group: GROUP } });
}

const rows: [string, unknown, string][] = [
  ['no command at all', null, 'EPROTO'],
  ['a string', 'tcp-listen', 'EPROTO'],
  ['a record without a kind', {}, 'EPROTO'],
  ['a kind that is none', { kind: 'tcp-dance', handle: 1 }, 'EBADF'],
  ['a control that is none', { kind: 'dance' }, 'EPROTO'],
  ['a handle that was never given', { kind: 'tcp-send', handle: 5, data: new Uint8Array(1) }, 'EBADF'],
  ['a handle of another kind of thing', { kind: 'udp-receive', handle: 'x' }, 'EBADF'],
  ['a handle that is no number', { kind: 'tcp-close', handle: Number.NaN }, 'EBADF'],
  ['a name that nobody knows', { kind: 'tcp-connect', host: 'a.b', port: 1 }, 'ENOTFOUND'],
  ['a name for an address of ours', { kind: 'udp-bind', host: 'a.b', port: 1 }, 'ENOTFOUND'],
  [
    'an interface that is none',
    { kind: 'udp-configure', handle: BOUND, settings: { multicastInterface: 'x' } },
    'ENODEV',
  ],
  [
    'a group twice',
    { kind: 'udp-membership', handle: BOUND, membership: { change: 'join', group: GROUP } },
    'EADDRINUSE',
  ],
  ['a SYN of no listener', { kind: 'tcp-next-syn', handle: BOUND }, 'EBADF'],
  ['a decision for no listener', { kind: 'tcp-decide', handle: BOUND, syn: 1, decision: 'accept' }, 'EBADF'],
  ['a route that is not there', { kind: 'remove-route', prefix: '10.9.0.0/16' }, 'ENOENT'],
  ['a posix call that is none', { kind: 'posix', call: 'fork', args: [] }, 'ENOSYS'],
  ['a posix call that is a method of something else', { kind: 'posix', call: 'constructor', args: [] }, 'ENOSYS'],
];

for (const link of LINKS) {
  for (const [name, command, code] of rows) {
    test(`a command over ${link}: ${name}`, async () => {
      const there = scene(link);
      await bound(there);
      await assert.rejects(there.channel.request(command as Command), { name: 'NetError', code });
      await there.end();
    });
  }
}

const wrong: [string, unknown, typeof RangeError | typeof TypeError][] = [
  ['an address that is no string', { kind: 'tcp-connect', host: 7, port: 1 }, TypeError],
  ['a port that is none', { kind: 'udp-bind', port: 1e9 }, RangeError],
  ['a port of a name that is none', { kind: 'tcp-connect', host: 'a.b', port: 0 }, RangeError],
  ['bytes that are none', { kind: 'udp-send', handle: BOUND, host: OTHER, port: 9, data: 'x' }, TypeError],
  ['words for bytes', { kind: 'udp-send', handle: BOUND, host: OTHER, port: 9, data: new Uint16Array(4) }, TypeError],
  ['a setting that is none', { kind: 'tcp-listen', port: 1, tcp: { mssMax: -1 } }, RangeError],
  ['a setting of UDP that is none', { kind: 'udp-configure', handle: BOUND, settings: { ttl: 300 } }, RangeError],
  ['no settings', { kind: 'udp-configure', handle: BOUND }, TypeError],
  ['no membership', { kind: 'udp-membership', handle: BOUND }, TypeError],
  ['a change that is none', membership({ change: 'dance', group: GROUP }), TypeError],
  ['a group that is none', membership({ change: 'join', group: OTHER }), TypeError],
  ['a source that is missing', membership({ change: 'block', group: GROUP }), TypeError],
  ['a source that is none', membership({ change: 'join', group: GROUP, source: 'x' }), TypeError],
  ['a ping that is too large', { kind: 'ping', host: OTHER, size: 1e6 }, RangeError],
  ['pings without end', { kind: 'ping', host: OTHER, count: Number.POSITIVE_INFINITY }, RangeError],
  ['a family that is none', { kind: 'resolve', name: 'a.b', family: 5 }, RangeError],
];

function membership(change: object): object {
  return { kind: 'udp-membership', handle: BOUND, membership: change };
}

for (const link of LINKS) {
  for (const [name, command, kind] of wrong) {
    test(`an argument over ${link}: ${name}`, async () => {
      const there = scene(link);
      await bound(there);
      await assert.rejects(there.channel.request(command as Command), kind);
      await there.end();
    });
  }
}

test('a second reader is EBUSY, a read without room EINVAL, a long send EMSGSIZE, a send after close EPIPE', async () => {
  for (const link of ['this thread', 'a port'] as const) await badCalls(scene(link));
});

async function badCalls({ channel, end }: Scene): Promise<void> {
  const { handle } = await channel.request({ kind: 'tcp-connect', host: OTHER, port: 80 });
  const first = channel.request({ kind: 'tcp-receive', handle, max: 10 });
  first.catch(() => {});
  await assert.rejects(channel.request({ kind: 'tcp-receive', handle, max: 10 }), { code: 'EBUSY' });
  await channel.request({ kind: 'tcp-shutdown', handle });
  await assert.rejects(channel.request({ kind: 'tcp-send', handle, data: new Uint8Array(1) }), { code: 'EPIPE' });
  const data = new Uint8Array((1 << 20) + 1);
  await assert.rejects(channel.request({ kind: 'tcp-send', handle, data }), { code: 'EMSGSIZE' });
  await channel.request({ kind: 'tcp-close', handle });
  await assert.rejects(first, { code: 'ECANCELED' });
  await assert.rejects(channel.request({ kind: 'tcp-close', handle }), { code: 'EBADF' });
  const other = await channel.request({ kind: 'tcp-connect', host: OTHER, port: 80 });
  const none = channel.request({ kind: 'tcp-receive', handle: other.handle, max: 0 });
  await assert.rejects(none, { code: 'EINVAL' });
  const listener = await channel.request({ kind: 'tcp-listen', port: 99, holdsSyns: true });
  const asked = channel.request({ kind: 'tcp-next-syn', handle: listener.handle });
  asked.catch(() => {});
  await assert.rejects(channel.request({ kind: 'tcp-next-syn', handle: listener.handle }), { code: 'EBUSY' });
  const decide = (decision: string): Command =>
    ({ kind: 'tcp-decide', handle: listener.handle, syn: 7, decision }) as Command;
  await assert.rejects(channel.request(decide('dance')), TypeError);
  assert.deepEqual(await channel.request(decide('accept')), { kind: 'decided', isInTime: false });
  await channel.request({ kind: 'tcp-close', handle: listener.handle });
  await assert.rejects(asked, { code: 'ECANCELED' });
  await end();
}

for (const link of ['a port', 'shared memory'] as const) {
  test(`over ${link}: what cannot be posted is an error of its own, and holds up nothing`, async () => {
    const { channel, end } = scene(link);
    const bad = { kind: 'udp-bind', port: 1, host: () => {}, big: 1n } as unknown as Command;
    const long = { kind: 'udp-bind', port: 1, host: 'x'.repeat(1 << 19) } as Command;
    const calls: Promise<unknown>[] = [];
    for (let i = 0; i < 100; i++) {
      calls.push(channel.request({ kind: 'get-addresses' }));
      if (i % 10 !== 5) continue;
      const failing = channel.request(bad);
      failing.catch(() => {});
      calls.push(assert.rejects(failing));
      const tooLong = channel.request(long);
      tooLong.catch(() => {});
      calls.push(assert.rejects(tooLong));
    }
    await Promise.all(calls);
    assert.throws(
      () => channel.requestNonblocking(bad),
      (error) => !(error instanceof DOMException),
    );
    await end();
  });
}

test('a datagram of the other family, one above what UDP takes, one to no port', async () => {
  const { channel, end } = scene();
  const { handle } = await channel.request({ kind: 'udp-bind', host: OWN, port: 60 });
  const data = Uint8Array.of(1);
  const send = (host: string, port: number, bytes = data): Promise<unknown> =>
    channel.request({ kind: 'udp-send', handle, host, port, data: bytes });
  await assert.rejects(send('fd00::1', 9), { code: 'ENETUNREACH' });
  await assert.rejects(send(OTHER, 9, new Uint8Array(65_508)), { code: 'EMSGSIZE' });
  await assert.rejects(send(OTHER, 9, new Uint8Array((1 << 20) + 1)), { code: 'EMSGSIZE' });
  await assert.rejects(send(OTHER, 0), RangeError);
  await end();
});

test('a cancelled raw command loses no bytes: its answer is what was there', async () => {
  const { channel, end } = scene();
  const bound = await channel.request({ kind: 'udp-bind', port: 60 });
  const abort = new AbortController();
  const receive = channel.request({ kind: 'udp-receive', handle: bound.handle }, { signal: abort.signal });
  receive.catch(() => {});
  await settle();
  abort.abort();
  await assert.rejects(receive, { name: 'AbortError' });
  const data = Uint8Array.of(1, 2, 3);
  await channel.request({ kind: 'udp-send', handle: bound.handle, host: OWN, port: 60, data });
  assert.deepEqual((await channel.request({ kind: 'udp-receive', handle: bound.handle })).data, data);
  await end();
});

test('foreign messages on a port are answered with EPROTO, and the stack goes on', async () => {
  const netstack = new Netstack({ shared: false });
  const driver = new Driver(netstack).run();
  const { channel } = netstack.commandChannel().share();
  const port = channel.port!;
  const answers: unknown[] = [];
  port.onmessage = ({ data }) => answers.push(data);
  for (const foreign of [
    null,
    7,
    'x',
    { id: 9 },
    { id: 10, command: null },
    { id: 11, command: { kind: 'nothing' } },
  ]) {
    port.postMessage(foreign);
  }
  port.postMessage({ id: 12, command: { kind: 'udp-bind', port: 53 } });
  for (let i = 0; i < 200 && !JSON.stringify(answers).includes('"bound"'); i++) await settle();
  const text = JSON.stringify(answers);
  assert.ok(text.includes('"bound"'), text);
  assert.equal(text.match(/EPROTO/g)?.length, 6);
  driver.close();
  port.close();
  assert.equal(netstack.memory.usedBytes, 0);
});

test('foreign words in the shared memory end that client, and nobody else', async () => {
  const { own, channel, end } = scene();
  const { channel: data } = channel.share();
  const words = new Int32Array(data.control!);
  const victim = Channel.from(data);
  await udpBind(victim, { port: 70 });
  assert.equal(own.netstack.socketCount, 1);
  // All of its ring of commands, and the word that says how far it was written.
  const slot = own.netstack.control!.slot(data.slot);
  words.fill(0x7f7f7f7f, slot.commandsAt >> 2, slot.answersAt >> 2);
  victim.requestNonblocking({ kind: 'get-stats' });
  Atomics.store(words, slot.word + 16, 123_456);
  for (let i = 0; i < 200 && own.netstack.socketCount > 0; i++) await settle();
  assert.equal(own.netstack.socketCount, 0);
  data.port!.close();
  await end();
});

test('what is no channel is refused', () => {
  for (const none of [null, undefined, 7, {}, { ethertype: 'stack' }])
    assert.throws(() => Channel.from(none), TypeError);
  const netstack = new Netstack({ shared: false });
  const posted = structuredClone(netstack.commandChannel()) as unknown as ChannelData;
  assert.throws(() => Channel.from(posted), { code: 'EOPNOTSUPP' });
  netstack.close();
  const shared = new Netstack();
  const late = structuredClone(shared.commandChannel()) as unknown as ChannelData;
  shared.close();
  assert.throws(() => Channel.from(late), { code: 'ENETDOWN' });
});

test('more threads than slots: EMFILE; a slot that was left is free again', async () => {
  const netstack = new Netstack({ clients: 2 });
  const driver = new Driver(netstack).run();
  const channel = netstack.commandChannel();
  const first = Channel.from(channel.share().channel);
  const second = Channel.from(structuredClone(channel));
  assert.throws(() => Channel.from(structuredClone(channel)), { code: 'EMFILE' });
  assert.throws(() => channel.share(), { code: 'EMFILE' });
  await udpBind(second, { port: 53 });
  second.close();
  for (let i = 0; i < 200 && netstack.socketCount > 0; i++) await settle();
  const third = Channel.from(structuredClone(channel));
  await udpBind(third, { port: 53 });
  first.close();
  third.close();
  driver.close();
});

test('settings that are none', () => {
  for (const config of [
    { mtu: 10 },
    { medium: 'paper' },
    { channelCapacity: 0 },
    { clients: 33 },
    { channelBytes: 5000 },
    { streamBytes: 1 },
    { memory: 5 },
    { addresses: ['x'] },
  ]) {
    assert.throws(() => new Netstack(config as never), /expected/);
  }
  const [ethernet] = pipePair({ medium: 'ethernet' });
  const netstack = new Netstack();
  assert.throws(() => netstack.pollDeviceIo(0, ethernet), TypeError);
  netstack.close();
});

test('on the thread of the stack nothing may block', async () => {
  const { channel, end } = scene();
  assert.throws(() => channel.requestBlocking({ kind: 'get-stats' }), { code: 'EDEADLK' });
  const listener = await tcpListen(channel, { port: 90 });
  assert.throws(() => listener.acceptBlocking(), { code: 'EDEADLK' });
  const stream = await tcpConnect(channel, { host: OTHER, port: 80 });
  assert.throws(() => stream.readBlocking(), { code: 'EDEADLK' });
  assert.throws(() => stream.writeBlocking(Uint8Array.of(1)), { code: 'EDEADLK' });
  const socket = await udpBind(channel);
  assert.throws(() => socket.receiveBlocking(), { code: 'EDEADLK' });
  assert.throws(() => socket.sendBlocking(Uint8Array.of(1), { host: OTHER, port: 9 }), { code: 'EDEADLK' });
  const unshared = new Netstack({ shared: false });
  assert.throws(() => unshared.waitForCommandBlocking(1), { code: 'EDEADLK' });
  unshared.close();
  assert.equal(new Netstack().waitForCommandBlocking(5), null);
  await end();
});
