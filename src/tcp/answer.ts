/** Answers to segments that are not acceptable: RFC 9293 §3.10.7.4, RFC 5961. @module */
import * as wire from '../wire/tcp.ts';
import { ANSWER_MS, type Connection } from './connection.ts';
import { enterQuickAck } from './quick-ack.ts';
import { reportDuplicate } from './receive.ts';
import { type Seq, seqAdd, seqLt, seqMin } from './seq.ts';

/**
 * "If an incoming segment is not acceptable, an acknowledgment should be sent in reply (unless the RST bit is set)". To
 * SYNs and empty segments not too often (RFC 5961 §7), or two peers that disagree would answer each other for ever.
 */
export function answerOld(c: Connection, segment: wire.Segment): void {
  const isEmpty = segment.length === 0 && (segment.flags & wire.FIN) === 0;
  if (isEmpty || (segment.flags & wire.SYN) !== 0) {
    if (c.context.nowMs - c.answeredAt < ANSWER_MS) return;
    c.answeredAt = c.context.nowMs;
  }
  const seq = segment.seq as Seq;
  if (c.acks !== null && !isEmpty) enterQuickAck(c);
  // RFC 2883 §4: what lies below the window was received before.
  if (segment.length > 0 && seqLt(seq, c.rcvNxt))
    reportDuplicate(c, seq, seqMin(seqAdd(seq, segment.length), c.rcvNxt));
  c.ackNow = true;
  c.tcp.ready(c);
}

/** RFC 5961 §3.2, §4.2, §5.2: a challenge ACK, within the limits of the connection and of the whole stack (§7). */
export function challenge(c: Connection): void {
  const { context, tcp } = c;
  const { nowMs, stats } = context;
  if (nowMs - c.answeredAt < ANSWER_MS || !tcp.challenges.take(context, tcp.settings.challengeAcksMax)) {
    stats.tcpChallengeAcksLimited++;
    return;
  }
  c.answeredAt = nowMs;
  stats.tcpChallengeAcks++;
  c.ackNow = true;
  c.tcp.ready(c);
}
