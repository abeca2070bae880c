/**
 * Loss recovery: fast retransmit and fast recovery as NewReno has them (RFC 5681 §3.2, RFC 6582 §3.2), and what follows
 * a timeout (RFC 6298 §5, RFC 5681 §3.1). @module
 */
import { type Connection, FAST_RECOVERY, LOSS, OPEN, UNSET } from './connection.ts';
import { retransmitSoon } from './send.ts';
import { seqDiff, seqGe, seqGt } from './seq.ts';
import { isSynchronized } from './state.ts';

/** RFC 5681 §3.2: the third duplicate is taken for a loss. */
const DUPLICATES = 3;

/** A duplicate acknowledgement (RFC 5681 §2) came in. */
export function duplicateAck(c: Connection): void {
  c.dupAcks++;
  if (c.recovery === FAST_RECOVERY) {
    c.cwnd += c.mss; // RFC 6582 §3.2 (4): each says that a segment has left the network
    c.tcp.ready(c);
    return;
  }
  if (c.dupAcks !== DUPLICATES) return;
  // RFC 6582 §3.2 (1): not again for the losses of a window that a timeout or recovery has dealt with.
  if (c.recovery === LOSS || !seqGt(c.sndUna, c.recover)) return;
  enterFastRecovery(c);
}

function enterFastRecovery(c: Connection): void {
  c.congestion.reduce(c, seqDiff(c.sndNxt, c.sndUna), 'loss');
  c.recovery = FAST_RECOVERY;
  c.recover = c.sndMax;
  c.context.stats.tcpFastRetransmits++;
  retransmitSoon(c);
  c.cwnd = c.ssthresh + DUPLICATES * c.mss;
}

/** `ackedBytes` of new data were acknowledged; `flight` was outstanding before. */
export function newDataAcked(c: Connection, ackedBytes: number, flight: number): void {
  c.dupAcks = 0;
  if (c.recovery === OPEN) {
    // RFC 7661 in its simplest form: a window that was not in use is no evidence for a larger one.
    if (flight * 2 >= c.cwnd) c.congestion.acked(c, ackedBytes, -1);
  } else if (seqGe(c.sndUna, c.recover)) {
    leaveRecovery(c);
  } else if (c.recovery === FAST_RECOVERY) {
    partialAck(c, ackedBytes);
  } else {
    c.congestion.acked(c, Math.min(ackedBytes, c.mss), -1); // slow start after a timeout: RFC 3465 §2.3, L = 1
  }
}

function leaveRecovery(c: Connection): void {
  // RFC 6582 §3.2 (3), full acknowledgement, first option: no burst.
  if (c.recovery === FAST_RECOVERY) {
    c.cwnd = Math.min(c.ssthresh, Math.max(seqDiff(c.sndNxt, c.sndUna), c.mss) + c.mss);
  }
  c.recovery = OPEN;
}

/** RFC 6582 §3.2 (3), partial acknowledgement: the next hole is filled, the window deflated by what left. */
function partialAck(c: Connection, ackedBytes: number): void {
  retransmitSoon(c);
  c.cwnd = Math.max(c.cwnd - ackedBytes, 0) + (ackedBytes >= c.mss ? c.mss : 0);
  if (c.cwnd < c.mss) c.cwnd = c.mss;
}

/** The retransmission timer fired: everything is sent again from SND.UNA, in slow start. RFC 6298 (5.4)-(5.6). */
export function retransmissionTimeout(c: Connection): void {
  c.context.stats.tcpTimeouts++;
  // A SYN that was lost says nothing yet: the window begins with the connection.
  if (isSynchronized(c.state)) c.congestion.timedOut(c, seqDiff(c.sndNxt, c.sndUna), c.backoff === 0);
  c.backoff++;
  c.isTiming = false;
  c.dupAcks = 0;
  c.recovery = LOSS;
  c.recover = c.sndMax; // RFC 6582 §4: and no fast retransmit for what was sent before
  c.sndNxt = c.sndUna;
  c.retransmitDue = false; // it comes first anyway
  c.retransmitAt = UNSET;
  c.tcp.ready(c);
}
