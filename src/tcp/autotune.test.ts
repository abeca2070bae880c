import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostPair, inTime, SERVER } from '../../test/hosts.ts';
import { established, type PeerOptions, type TestPeer } from '../../test/peer.ts';
import { VirtualClock } from '../sim/clock.ts';
import { newreno } from './congestion/newreno.ts';
import { TCP_DEFAULTS } from './settings.ts';

const MSS = 1460;
const KIB = 1024;
const MIB = KIB * KIB;

const timestamps = { val: 1, ecr: 0 };

/** A slow start that one acknowledgement for many segments does not hold back. */
const SLOW_START = { congestion: newreno };

/** A connection with window scaling both ways. */
const scaling = (options: PeerOptions = {}): TestPeer =>
  established({ memory: 64 * MIB, syn: { mss: MSS, windowScale: 8, wnd: 65_535 }, ...options });

/** A peer that fills the window it is offered, each time a round trip after it was. */
class Sender {
  readonly peer: TestPeer;
  next = 1;
  /** The right edge offered so far; never to the left of where it was. */
  edge = 1 + 65_535;
  readonly target = new Uint8Array(MIB);

  constructor(peer: TestPeer) {
    this.peer = peer;
  }

  /** One round trip: `bytes` at most are sent, and what has arrived is read, or a part of it. */
  round(rttMs: number, bytes = Number.POSITIVE_INFINITY, isRead = true): void {
    const { peer } = this;
    peer.now += rttMs;
    const end = Math.min(this.edge, this.next + bytes);
    while (this.next < end) {
      const data = Math.min(MSS, end - this.next);
      const ecr = (peer.connection!.tsOffset + peer.now - rttMs) | 0;
      const echo = peer.connection!.useTimestamps ? { timestamps: { val: 1, ecr } } : {};
      peer.send('.', { seq: this.next, ack: 1, data, ...echo });
      this.next += data;
    }
    if (isRead) while (peer.socket.recv(this.target) > 0);
    peer.poll();
    for (const { ack, wnd } of peer.take()) {
      const { rcvShift } = peer.connection!;
      const offered = ack + (wnd << rcvShift);
      // RFC 7323 §2.4: but for what the scale cannot say, of which the sender knows from before.
      assert.ok(offered > this.edge - (1 << rcvShift), 'an offered window is never taken back');
      this.edge = Math.max(this.edge, offered);
    }
  }
}

test('autotune: the shift of the SYN is that of the largest buffer: RFC 7323 §2.3', () => {
  const peer = scaling();
  assert.equal(peer.connection!.rcvShift, 8);
  assert.ok(TCP_DEFAULTS.receiveBufferMaxBytes >>> 8 <= 65_536);
  peer.end();
});

test('autotune: the receive buffer grows to what a fast sender and a fast reader make of the path', () => {
  const peer = scaling();
  const c = peer.connection!;
  const sender = new Sender(peer);
  assert.equal(c.rxBytes, TCP_DEFAULTS.receiveBufferBytes);
  for (let i = 0; i < 7; i++) sender.round(50);
  assert.ok(c.rcvRttUs >= 49_000 && c.rcvRttUs <= 60_000, `${c.rcvRttUs}`);
  // An eighth of the memory, and the maximum, are 8 MiB; what is free is a little less.
  assert.equal(c.rxBytes, 4 * MIB);
  assert.ok(sender.edge - sender.next > 4 * MIB - 3 * MSS);
  peer.end();
});

test('autotune: a reader that reads as much as before needs no more, one that does not read gets no more', () => {
  const steady = scaling({ syn: { mss: MSS, windowScale: 8, timestamps } });
  const sender = new Sender(steady);
  for (let i = 0; i < 50; i++) sender.round(50, 4 * MSS);
  assert.equal(steady.connection!.rxBytes, TCP_DEFAULTS.receiveBufferBytes);
  steady.end();
  const stuck = scaling();
  const silent = new Sender(stuck);
  for (let i = 0; i < 50; i++) silent.round(50, Number.POSITIVE_INFINITY, false);
  assert.equal(stuck.connection!.rxBytes, TCP_DEFAULTS.receiveBufferBytes);
  assert.ok(stuck.stack.memory.usedBytes <= 2 * TCP_DEFAULTS.receiveBufferBytes);
  stuck.end();
});

test('autotune: a size that was set is fixed, as by SO_RCVBUF', () => {
  const peer = scaling({ tcp: { receiveBufferBytes: 64 * KIB, sendBufferBytes: 64 * KIB } });
  const sender = new Sender(peer);
  for (let i = 0; i < 20; i++) sender.round(50);
  assert.equal(peer.connection!.rxBytes, 64 * KIB);
  peer.end();
});

test('autotune: the maximum that was set, and the memory, bound it', () => {
  const bounded = scaling({ tcp: { receiveBufferMaxBytes: MIB } });
  const sender = new Sender(bounded);
  for (let i = 0; i < 7; i++) sender.round(50);
  assert.equal(bounded.connection!.rxBytes, MIB);
  bounded.end();
  const small = scaling({ memory: 4 * MIB });
  const other = new Sender(small);
  for (let i = 0; i < 7; i++) other.round(50);
  assert.equal(small.connection!.rxBytes, 256 * KIB, 'an eighth of what is free');
  small.end();
});

test('autotune: on a path in memory the buffer stays in the cache', () => {
  const peer = scaling();
  const sender = new Sender(peer);
  for (let i = 0; i < 30; i++) sender.round(0.01);
  assert.ok(peer.connection!.rxBytes <= 512 * KIB, `${peer.connection!.rxBytes}`);
  peer.end();
});

test('autotune: with timestamps the round trip is that of the echo, not that of a slow sender', () => {
  const peer = established({ memory: 64 * MIB, syn: { mss: MSS, windowScale: 8, timestamps: { val: 1, ecr: 0 } } });
  const c = peer.connection!;
  let val = 2;
  let ecr = c.tsOffset + peer.now;
  for (let seq = 1; seq < 200_000; seq += 1448) {
    // Half a window a second, but each segment answers an acknowledgement of 20 ms ago.
    peer.now += 20;
    ecr = (c.tsOffset + peer.now - 20) | 0;
    peer.send('.', { seq, ack: 1, data: 1448, timestamps: { val: val++, ecr } });
    peer.read();
    peer.take();
  }
  assert.ok(c.rcvRttUs >= 20_000 && c.rcvRttUs <= 22_000, `${c.rcvRttUs}`);
  peer.end();
});

test('autotune: the send buffer is twice the congestion window, and grows only when the user has more to send', () => {
  const peer = scaling({ tcp: SLOW_START });
  const c = peer.connection!;
  const bytes = new Uint8Array(MIB);
  let acked = 1;
  for (let i = 0; i < 10; i++) {
    peer.socket.send(bytes);
    peer.poll();
    peer.now += 50;
    const end = Math.max(...peer.take().map((s) => s.seq + s.length), acked);
    acked = end;
    peer.send('.', { seq: 1, ack: acked, wnd: 65_535 });
    assert.ok(c.txBytes <= 4 * Math.max(c.cwnd, TCP_DEFAULTS.sendBufferBytes), 'no more than the window asks for');
  }
  assert.ok(c.txBytes >= 1 * MIB, `${c.txBytes}`);
  assert.ok(peer.socket.sendQueue() <= c.txBytes);
  peer.end();
  const fixed = scaling({ tcp: { sendBufferBytes: 64 * KIB } });
  for (let i = 0, at = 1; i < 8; i++) {
    fixed.socket.send(bytes);
    assert.ok(fixed.socket.sendQueue() <= 64 * KIB);
    fixed.poll();
    fixed.now += 50;
    at = Math.max(at, ...fixed.take().map((s) => s.seq + s.length));
    fixed.send('.', { seq: 1, ack: at, wnd: 65_535 });
  }
  assert.equal(fixed.connection!.txBytes, 64 * KIB);
  fixed.end();
});

test('autotune: bulk over 100 ms: buffers that grow outrun those of 128 KiB by far, within the memory', async () => {
  const rate = async (tcp: object): Promise<number> => {
    const clock = new VirtualClock();
    const pair = hostPair({ clock, tcp: { ...SLOW_START, ...tcp }, faults: { delayMs: 50 } });
    const listener = await pair.server.tcp.listen({ port: 80 });
    const stream = await inTime(clock, pair.client.tcp.connect({ host: SERVER, port: 80 }));
    const peer = await inTime(clock, listener.accept());
    const total = 4 * MIB;
    const chunk = new Uint8Array(64 * KIB);
    const since = clock.now();
    const writing = (async () => {
      for (let sent = 0; sent < total; sent += chunk.length) await stream.write(chunk);
    })();
    const reading = (async () => {
      for (let got = 0; got < total; ) got += (await peer.read())!.length;
    })();
    await inTime(clock, Promise.all([writing, reading]));
    const ms = clock.now() - since;
    stream.abort();
    peer.abort();
    await inTime(clock, pair.close());
    return (total * 8) / ms / 1000;
  };
  const fixed = await rate({ receiveBufferBytes: 128 * KIB, sendBufferBytes: 128 * KIB });
  const tuned = await rate({});
  assert.ok(fixed < 11, `${fixed.toFixed(1)} Mbit/s`);
  assert.ok(tuned > 2.5 * fixed, `${tuned.toFixed(1)} Mbit/s, ${fixed.toFixed(1)} with fixed buffers`);
});

test('configure: sizes of a live connection: larger at once; smaller without taking back what was offered', () => {
  const peer = scaling();
  const c = peer.connection!;
  const sender = new Sender(peer);
  sender.round(50);
  peer.socket.configure({ receiveBufferBytes: MIB, sendBufferBytes: MIB });
  sender.round(50, MSS);
  assert.ok(sender.edge - sender.next > MIB - 2 * MSS - 512);
  assert.equal(peer.socket.send(new Uint8Array(2 * MIB)), MIB);
  peer.socket.configure({ receiveBufferBytes: 16 * KIB });
  const { next } = sender;
  sender.round(50);
  assert.ok(sender.next - next > MIB - 4 * MSS, 'what was offered is taken');
  assert.equal(peer.stack.stats.drops['tcp-no-buffer'], undefined);
  sender.round(50, 8 * MSS);
  assert.equal(c.rxBytes, 16 * KIB);
  peer.end();
});
