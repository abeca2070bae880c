import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf, hostPair, inTime, SERVER, text } from '../../test/hosts.ts';
import { VirtualClock } from '../sim/clock.ts';
import type { IncomingSyn, SynDecision, SynHandler } from './incoming-syn.ts';

const connect = { host: SERVER, port: 80 };

test('onSyn: a promise decides, and the client waits for it', async () => {
  const clock = new VirtualClock();
  const pair = hostPair({ clock });
  const asked: string[] = [];
  const onSyn: SynHandler = async (syn): Promise<SynDecision> => {
    asked.push(`${syn.remoteAddress} -> ${syn.localAddress}:${syn.localPort} mss ${syn.mss} ${syn.sackPermitted}`);
    await new Promise<void>((resolve) => clock.setTimer(clock.now() + 5000, resolve));
    return 'accept';
  };
  const listener = await pair.server.tcp.listen({ port: 80, onSyn });
  const since = clock.now();
  const stream = await inTime(clock, pair.client.tcp.connect(connect));
  assert.ok(clock.now() - since >= 5000 && clock.now() - since < 5100, 'answered when it was decided');
  assert.deepEqual(asked, ['10.0.0.2 -> 10.0.0.1:80 mss 1460 true']);
  const peer = await inTime(clock, listener.accept());
  await stream.write(bytesOf('hi'));
  assert.equal(text(await inTime(clock, peer.read())), 'hi');
  await inTime(clock, Promise.all([stream.close(), peer.close()]));
  await inTime(clock, pair.close());
});

test('onSyn: each way to say no, and what the client gets', async () => {
  const rows: [string, SynHandler, string][] = [
    ['reject', () => 'reject', 'ECONNREFUSED'],
    ['unreachable', () => 'unreachable', 'EHOSTUNREACH'],
    ['a promise of it', async (): Promise<SynDecision> => 'reject', 'ECONNREFUSED'],
    [
      'an exception',
      () => {
        throw new Error('no');
      },
      'ECONNREFUSED',
    ],
    ['a rejection', () => Promise.reject(new Error('no')), 'ECONNREFUSED'],
    ['nothing, until the deadline', () => undefined, 'ECONNREFUSED'],
  ];
  for (const [name, onSyn, code] of rows) {
    const clock = new VirtualClock();
    const pair = hostPair({ clock });
    await pair.server.tcp.listen({ port: 80, onSyn, tcp: { synDeadlineMs: 2000 } });
    await assert.rejects(inTime(clock, pair.client.tcp.connect(connect)), { code, syscall: 'connect' }, name);
    assert.equal(pair.server.stack.tcp.connections.count, 0, name);
    await inTime(clock, pair.close());
  }
});

test('onSyn: a handle decides later', async () => {
  const clock = new VirtualClock();
  const pair = hostPair({ clock });
  const held: IncomingSyn[] = [];
  await pair.server.tcp.listen({
    port: 80,
    onSyn: (syn) => {
      held.push(syn);
      return undefined;
    },
  });
  clock.setTimer(clock.now() + 3000, () => held[0]!.accept());
  const stream = await inTime(clock, pair.client.tcp.connect(connect));
  assert.equal(stream.state, 'ESTABLISHED');
  assert.equal(held[0]!.isPending, false);
  assert.equal(held[0]!.reject(), false);
  stream.abort();
  await inTime(clock, pair.close());
});

test('onSyn: something that is no function is refused by name', async () => {
  const pair = hostPair({ clock: new VirtualClock() });
  await assert.rejects(pair.server.tcp.listen({ port: 80, onSyn: 1 as never }), {
    name: 'TypeError',
    message: /onSyn/,
  });
  await pair.close();
});

test('close: lingerMs 0 resets; above, it waits for the peer, but no longer than it says', async () => {
  const clock = new VirtualClock();
  const pair = hostPair({ clock, tcp: { receiveBufferBytes: 1 << 13, sendBufferBytes: 1 << 16 } });
  const listener = await pair.server.tcp.listen({ port: 80 });
  const open = async () => {
    const stream = await inTime(clock, pair.client.tcp.connect(connect));
    return { stream, peer: await inTime(clock, listener.accept()) };
  };
  const reset = await open();
  await reset.stream.close({ lingerMs: 0 });
  await assert.rejects(inTime(clock, reset.peer.read()), { code: 'ECONNRESET' });
  const waits = await open();
  await waits.stream.write(bytesOf('all of it'));
  await inTime(clock, waits.stream.close({ lingerMs: 5000 }));
  assert.equal(waits.peer.socket.recvQueue(), 9, 'the peer has it');
  // A reader that does not read: its buffer fills up, and the rest cannot leave.
  const stuck = await open();
  await stuck.stream.write(new Uint8Array(60_000));
  const since = clock.now();
  await inTime(clock, stuck.stream.close({ lingerMs: 3000 }));
  assert.ok(clock.now() - since >= 3000 && clock.now() - since < 3100);
  stuck.peer.abort();
  waits.peer.abort();
  await inTime(clock, pair.close());
});
