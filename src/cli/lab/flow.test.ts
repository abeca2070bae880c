import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tcp } from '../../wire/index.ts';
import { sparkline } from './declared-account.ts';
import { FIRST_MESSAGES_MAX, Flow, LAST_MESSAGES_MAX } from './flow.ts';
import { sequenceDiagram } from './sequence.ts';
import { POINTS_MAX, Series } from './series.ts';

const { ACK, FIN, RST, SYN } = tcp;
const CLIENT_ISN = -5; // wraps within the first bytes
const SERVER_ISN = 0x7fffffff;

/** A flow told by hand: each segment at its sender, and where `takesMs` is no null, later at its receiver. */
class Told {
  readonly flow = new Flow(
    1,
    4,
    { host: 'alice', address: '10.0.0.1', port: 1000 },
    { host: 'bob', address: '10.0.0.2', port: 80 },
    100,
  );
  #mark = 0;

  say(
    atMs: number,
    isForward: boolean,
    flags: number,
    { seq = 0, ack = 0, length = 0, wnd = 1000, windowScale = -1, takesMs = 10 as number | null },
  ): void {
    const [own, other] = isForward ? [CLIENT_ISN, SERVER_ISN] : [SERVER_ISN, CLIENT_ISN];
    const segment = Object.assign(new tcp.Segment(), {
      seq: (own + seq) | 0,
      ack: (flags & ACK) === 0 ? 0 : (other + ack) | 0,
      flags,
      length,
      wnd,
      windowScale,
    });
    const mark = ++this.#mark;
    this.flow.see(segment, isForward, true, mark, 100 + atMs);
    if (takesMs !== null) this.flow.see(segment, isForward, false, mark, 100 + atMs + takesMs);
  }

  /** A handshake with windows scaled by 2 and 3 bits. */
  shake(): this {
    this.say(0, true, SYN, { windowScale: 2 });
    this.say(10, false, SYN | ACK, { ack: 1, windowScale: 3 });
    this.say(20, true, ACK, { seq: 1, ack: 1 });
    return this;
  }
}

test('lab/flow: segments, retransmissions, round trips and what is acknowledged', () => {
  const told = new Told().shake();
  const { flow } = told;
  told.say(30, true, ACK, { seq: 1, ack: 1, length: 100 });
  told.say(30, true, ACK, { seq: 101, ack: 1, length: 100, takesMs: null });
  told.say(40, false, ACK, { seq: 1, ack: 101, wnd: 500 });
  told.say(200, true, ACK, { seq: 101, ack: 1, length: 100 });
  told.say(215, false, ACK, { seq: 1, ack: 201, wnd: 500 });
  told.say(300, true, FIN | ACK, { seq: 201, ack: 1 });
  assert.equal(flow.isOver, false);
  told.say(310, false, FIN | ACK, { seq: 1, ack: 202 });
  assert.equal(flow.isOver, true);
  const { forward, backward } = flow;
  assert.equal(flow.main, forward);
  assert.deepEqual(
    [forward.segments, forward.sentBytes, forward.resent, forward.payloadBytes],
    [6, 300, 1, 200],
    'the SYN and the FIN are no payload',
  );
  assert.deepEqual([backward.segments, backward.resent, backward.payloadBytes], [4, 0, 0]);
  // The SYN, the first data and the FIN: what was sent twice tells nothing.
  assert.deepEqual(forward.rtt.values, [120, 20, 150, 20, 420, 20]);
  assert.deepEqual(forward.roundTrips, [20, 20, 20]);
  assert.deepEqual(forward.again.values, [300, 101, 201]);
  // The server's windows are scaled by what its own SYN said, but for that of the SYN.
  assert.deepEqual(forward.edge.values.slice(0, 4), [120, 1001, 150, 101 + 4000]);
  assert.equal(flow.lost, 1);
  assert.equal(forward.goodput, (200 * 8000) / 290);
});

test('lab/flow: a reset ends it', () => {
  const told = new Told().shake();
  told.say(30, false, RST | ACK, { seq: 1, ack: 1 });
  assert.ok(told.flow.isOver);
});

test('lab/flow: of very many messages the first and the last are kept', () => {
  const told = new Told().shake();
  const count = FIRST_MESSAGES_MAX + 3 * LAST_MESSAGES_MAX + 7;
  for (let i = 3; i < count; i++) told.say(10 * i, true, ACK, { seq: i, ack: 1, length: 1, takesMs: i % 2 ? 5 : null });
  const { messages, messagesLeftOut } = told.flow;
  assert.equal(messages.length, FIRST_MESSAGES_MAX + LAST_MESSAGES_MAX);
  assert.equal(messagesLeftOut, count - messages.length);
  const seqs = messages.slice(FIRST_MESSAGES_MAX).map(({ seq }) => seq);
  assert.deepEqual(
    seqs,
    Array.from({ length: LAST_MESSAGES_MAX }, (_, i) => count - LAST_MESSAGES_MAX + i),
  );
  assert.ok(messages.slice(3).every(({ seq, arrivedMs }) => (arrivedMs !== null) === (seq % 2 === 1)));
});

test('lab/flow: the sequence diagram has a row a segment, and says what was lost', () => {
  const told = new Told().shake();
  told.say(30, true, ACK, { seq: 1, ack: 1, length: 100, takesMs: null });
  told.say(35, false, ACK, { seq: 1, ack: 1, takesMs: null });
  told.say(230, true, ACK, { seq: 1, ack: 1, length: 100 });
  assert.deepEqual(sequenceDiagram(told.flow, 10), [
    '        ms  alice:1000                                      bob:80',
    '     0.000  |----------------------- SYN ----------------------->|  +10.00',
    '    10.000  |<-------------------- SYN ack 1 --------------------|  +10.00',
    '    20.000  |---------------------- ack 1 ---------------------->|  +10.00',
    '    30.000  |------------------- 1:101 ack 1 -------X            |  lost',
    '    35.000  |            X---------- ack 1 ----------------------|  lost',
    '   230.000  |------------------- 1:101 ack 1 ------------------->|  +10.00 again',
  ]);
  const short = sequenceDiagram(told.flow, 4);
  assert.equal(short.length, 6);
  assert.equal(short[4], '            ... 2 segments ...');
});

test('lab/series: beyond its limit every second point goes, again and again', () => {
  const series = new Series(2);
  const count = 5 * POINTS_MAX;
  for (let i = 0; i < count; i++) series.push(i, -i);
  assert.ok(series.length > POINTS_MAX / 2 - 1 && series.length <= POINTS_MAX, `${series.length}`);
  const times = series.values.filter((_, i) => i % 2 === 0);
  assert.equal(times[0], 0);
  assert.ok(times.at(-1)! > count - 16);
  assert.ok(series.values.every((value, i) => i % 2 === 0 || value === -series.values[i - 1]!));
  const steps = new Set(times.slice(1).map((time, i) => time - times[i]!));
  assert.ok(steps.size <= 2, 'evenly');
});

test('lab/account: a sparkline shows when the bytes were acknowledged', () => {
  const { flow } = new Told();
  for (const [at, bytes] of [
    [100, 10],
    [130, 30],
    [199, 110],
  ] as const) {
    flow.forward.acked.push(at, bytes);
  }
  assert.equal(sparkline(flow.forward, 100, 200, 10), '▁  ▂     █');
  assert.equal(sparkline(flow.backward, 100, 200, 4), '    ');
});
