/**
 * The segment that nearly all are: the next bytes, on a quiet connection ("header prediction": Jacobson, "4BSD TCP Header
 * Prediction", 1990). It does what input.ts and receive.ts do for any, with the steps left out that could find nothing.
 * @module
 */
import * as wire from '../wire/tcp.ts';
import { arriveAck } from './ack.ts';
import { rcvRoundDone } from './autotune.ts';
import type { Connection } from './connection.ts';
import { READABLE } from './events.ts';
import { isOldTimestamp, scheduleAck, updateTsRecent } from './receive.ts';
import { type Seq, seqAdd, seqDiff, seqGe } from './seq.ts';
import { ESTABLISHED } from './state.ts';

/** Whether `segment` is the next text in order, all of it inside the window, and asks for nothing else. */
export const isPredicted = (c: Connection, segment: wire.Segment): boolean =>
  segment.seq === c.rcvNxt &&
  (segment.flags & ~wire.PSH) === wire.ACK &&
  c.state === ESTABLISHED &&
  segment.length > 0 &&
  segment.length <= seqDiff(c.rcvAdv, c.rcvNxt) &&
  c.reassembly === null &&
  !c.finSeen &&
  !c.rcvClosed &&
  c.ecn === null &&
  c.urgent === null &&
  c.acks === null &&
  !(c.useTimestamps && segment.hasTimestamps && isOldTimestamp(c, segment.tsVal));

/** Takes in a segment of {@link isPredicted}. False where there is no room for its text: nothing was done then. */
export function arrivePredicted(c: Connection, segment: wire.Segment): boolean {
  const { length } = segment;
  const rx = c.rx ?? c.rxRing();
  const end = rx.length + length;
  if (!rx.reserve(end)) return false;
  const { nowMs } = c.context;
  c.lastReceivedAt = nowMs;
  if (c.useTimestamps && segment.hasTimestamps) updateTsRecent(c, segment);
  if (!arriveAck(c, segment)) {
    if (rx.length === 0) rx.release(); // an idle connection holds no block for what it did not take
    return true;
  }
  rx.store(rx.length, segment.payload, length);
  rx.length = end;
  c.rcvNxt = seqAdd(segment.seq as Seq, length);
  c.bytesReceived += length;
  c.lastDataInAt = nowMs;
  c.socket?.report(READABLE);
  scheduleAck(c, length, segment.gsoSize);
  if (seqGe(c.rcvNxt, c.rcvRoundEnd)) rcvRoundDone(c, segment.hasTimestamps, segment.tsEcr);
  if (c.ackNow) c.tcp.ready(c);
  return true;
}
