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

function scene(): Scene {
  const [own, other] = pipedPair({ addresses: [`${OWN}/24`] }, { addresses: [`${OTHER}/24`] });
  own.run();
  other.run();
  other.netstack.stack.tcpSocket().listen({ port: 80 });
  const channel = own.commandChannel();
  const end = async (): Promise<void> => {
    await (await udpBind(channel, { port: 53 })).close(); // it goes on
    own.close();
    other.close();
    assert.equal(own.netstack.memory.usedBytes, 0);
  };
  return { own, channel, end };
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
  ['a name for an address', { kind: 'tcp-connect', host: 'a.b', port: 1 }, 'ENOTFOUND'],
  ['a route that is not there', { kind: 'remove-route', prefix: '10.9.0.0/16' }, 'ENOENT'],
  ['a posix call that is none', { kind: 'posix', call: 'fork', args: [] }, 'ENOSYS'],
  ['a posix call that is a method of something else', { kind: 'posix', call: 'constructor', args: [] }, 'ENOSYS'],
];

for (const [name, command, code] of rows) {
  test(`a command: ${name}`, async () => {
    const { channel, end } = scene();
    await assert.rejects(channel.request(command as Command), { code });
    await end();
  });
}

for (const [name, command] of [
  ['an address that is no string', { kind: 'tcp-connect', host: 7, port: 1 }],
  ['a port that is none', { kind: 'udp-bind', port: 1e9 }],
  ['bytes that are none', { kind: 'udp-send', handle: 0, data: 'x' }],
  ['a setting that is none', { kind: 'tcp-listen', port: 1, tcp: { mssMax: -1 } }],
] as const) {
  test(`an argument: ${name}`, async () => {
    const { channel, end } = scene();
    await assert.rejects(channel.request(command as unknown as Command));
    await end();
  });
}

test('a second reader is EBUSY, a read without room EINVAL, a long send EMSGSIZE, a send after close EPIPE', async () => {
  const { channel, end } = scene();
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
