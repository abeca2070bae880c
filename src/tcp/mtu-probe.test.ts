import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostPair, inTime, type PairOptions, readAll, SERVER } from '../../test/hosts.ts';
import { established, patternBytes } from '../../test/peer.ts';
import { VirtualClock } from '../sim/clock.ts';
import { OPEN } from './connection.ts';
import { mergeSettings, TCP_DEFAULTS } from './settings.ts';

const V6 = 'fd00::1';

interface Outcome {
  /** MSS of the sender at the end, with the headers of a segment: bytes of a full packet. */
  readonly packet: number;
  readonly ms: number;
  readonly stats: { tcpBlackHoles: number; tcpMtuProbes: number; tcpMtuProbesPassed: number; tcpTimeouts: number };
}

/** Sends `count` bytes from the client to the server; asserts that they arrive as they were. */
async function transfer(
  count: number,
  host: string,
  options: Omit<PairOptions, 'clock'>,
  maxMs = 120_000,
): Promise<Outcome> {
  const clock = new VirtualClock();
  const pair = hostPair({ ...options, clock });
  const listener = await pair.server.tcp.listen({ port: 80 });
  const stream = await inTime(clock, pair.client.tcp.connect({ host, port: 80 }));
  const peer = await inTime(clock, listener.accept());
  const data = patternBytes(0, count);
  const since = clock.now();
  const sending = stream.write(data).then(() => stream.end());
  const got = await inTime(clock, readAll(peer), maxMs);
  assert.equal(Buffer.compare(got, data), 0);
  const c = stream.socket.connection!;
  const headers = (host === V6 ? 40 : 20) + 20 + (c.useTimestamps ? 12 : 0);
  const outcome = { packet: c.mss + headers, ms: clock.now() - since, stats: { ...pair.client.stats } };
  await inTime(clock, sending);
  await inTime(clock, Promise.all([peer.close(), stream.close()]));
  await inTime(clock, pair.close());
  return outcome;
}

for (const { host, mtu, most, timestamps } of [
  { host: SERVER, mtu: 1500, most: 1280, timestamps: true },
  { host: SERVER, mtu: 1500, most: 1280, timestamps: false },
  { host: SERVER, mtu: 1500, most: 1499, timestamps: true },
  { host: SERVER, mtu: 1500, most: 576, timestamps: true },
  { host: SERVER, mtu: 9000, most: 1500, timestamps: true },
  { host: V6, mtu: 1500, most: 1280, timestamps: true },
  { host: V6, mtu: 1500, most: 1400, timestamps: true },
]) {
  const name = `${host === V6 ? 'IPv6' : 'IPv4'}, MTU ${mtu}, a hop that takes ${most}${timestamps ? '' : ', no timestamps'}`;
  test(`MTU probing: RFC 4821 §7.7: a black hole is survived and the path used as far as it goes: ${name}`, async () => {
    const faults = { delayMs: 5, sizeBytesMax: most };
    const { packet, stats, ms } = await transfer(2_000_000, host, { pipe: { mtu }, faults, tcp: { timestamps } });
    assert.ok(packet <= most && packet > most - 9, `segments of ${packet} bytes`);
    assert.ok(stats.tcpBlackHoles >= 1 && stats.tcpMtuProbes > 0);
    assert.ok(ms < 15_000, `${ms} ms`);
  });
}

test('MTU probing: with losses too, and in both directions of the search', async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const faults = { delayMs: 5, drop: 0.01, sizeBytesMax: 1380, seed };
    const { packet } = await transfer(1_500_000, SERVER, { faults });
    assert.ok(packet <= 1380 && packet >= 552, `seed ${seed}: ${packet}`);
  }
});

test('MTU probing: off, a black hole is the end, as on Linux by default', async () => {
  const faults = { delayMs: 5, sizeBytesMax: 1280 };
  await assert.rejects(transfer(100_000, SERVER, { faults, tcp: { mtuProbing: 0 } }, 60_000), /nothing came of it/);
});

test('MTU probing: a sound path sees none of it, and an outage no small segments for good', async () => {
  const sound = await transfer(1_000_000, SERVER, { faults: { delayMs: 5 } });
  assert.deepEqual([sound.stats.tcpMtuProbes, sound.stats.tcpBlackHoles, sound.packet], [0, 0, 1500]);
});

test('MTU probing: 2: connections begin small, and grow to what the path takes', async () => {
  const tcp = { mtuProbing: 2 };
  const { packet, stats } = await transfer(2_000_000, SERVER, { faults: { delayMs: 5 }, tcp });
  assert.ok(packet > 1492, `segments of ${packet} bytes`);
  assert.equal(stats.tcpMtuProbes, stats.tcpMtuProbesPassed, 'none was lost');
  assert.equal(stats.tcpTimeouts, 0);
});

test('MTU probing: the third retransmission that goes unanswered makes segments small; small ones are left alone', () => {
  const peer = established({ tcp: { noDelay: true } });
  peer.write(8000);
  peer.take();
  peer.pass(1500);
  assert.deepEqual(
    peer.take().map((s) => s.length),
    [1460, 1460, 1460],
  );
  peer.pass(2000);
  assert.deepEqual(
    peer.take().map((s) => s.length),
    [1024],
  );
  peer.pass(4000);
  assert.deepEqual(
    peer.take().map((s) => s.length),
    [512],
  );
  peer.pass(8000);
  assert.deepEqual(
    peer.take().map((s) => s.length),
    [512],
    'the floor',
  );
  assert.equal(peer.stack.stats.tcpBlackHoles, 2);
  peer.end();
  const small = established({ tcp: { noDelay: true } });
  small.write(900);
  small.pass(10_000);
  assert.ok(small.take().every((s) => s.length === 900));
  assert.equal(small.stack.stats.tcpBlackHoles, 0);
  small.end();
});

test('MTU probing: RFC 4821 §7.6.2: a probe that is lost alone costs no window, and is sent again in two', () => {
  const peer = established({ tcp: { noDelay: true, mtuProbing: 2 } });
  const c = peer.connection!;
  peer.write(100_000);
  let sent = peer.take();
  assert.ok(sent.every((s) => s.length === 1024));
  while (peer.stack.stats.tcpMtuProbes === 0) {
    const last = sent.at(-1)!;
    peer.send('.', { seq: 1, ack: last.seq + last.length });
    sent = peer.take();
  }
  const at = sent.findIndex((s) => s.length > 1024);
  const probe = sent[at]!;
  assert.equal(probe.length, 1242, 'half way between 1024 and 1460');
  const { ssthresh } = c;
  peer.send('.', { seq: 1, ack: probe.seq });
  peer.take();
  const { cwnd } = c;
  for (let i = 0; i < 3; i++) peer.send('.', { seq: 1, ack: probe.seq });
  assert.deepEqual(
    peer
      .take()
      .filter((s) => s.seq < probe.seq + 1242)
      .map((s) => [s.seq - probe.seq, s.length]),
    [
      [0, 1024],
      [1024, 218],
    ],
  );
  assert.ok(c.cwnd >= cwnd && c.ssthresh === ssthresh, 'not congestion');
  peer.send('.', { seq: 1, ack: c.sndNxt - c.iss });
  assert.deepEqual([c.recovery, c.mss, c.mtuProbe!.high], [OPEN, 1024, 1281]);
  assert.equal(peer.stack.stats.tcpTimeouts, 0);
  peer.end();
});

test('MTU probing: settings', () => {
  for (const mtuProbing of [-1, 3, 1.5]) assert.throws(() => mergeSettings(TCP_DEFAULTS, { mtuProbing }), RangeError);
  assert.throws(() => mergeSettings(TCP_DEFAULTS, { mtuProbeBaseMss: 87 }), RangeError);
  assert.equal(mergeSettings(TCP_DEFAULTS, { mtuProbing: 2, mtuProbeBaseMss: 512 }).mtuProbeBaseMss, 512);
});
