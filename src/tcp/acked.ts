/** What one acknowledgement brought: filled in step by step, read by recovery and congestion control. @module */
import type { RateSample } from './congestion/controller.ts';
import type { Connection } from './connection.ts';
import { sentAfter } from './rtt.ts';
import {
  APP_LIMITED,
  DELIVERED,
  DELIVERED_US,
  END,
  FIRST_US,
  FLAGS,
  IN_FLIGHT,
  LOST_BEFORE,
  SENT_US,
} from './scoreboard.ts';
import type { Seq } from './seq.ts';

/** One record of the stack, reused for all acknowledgements. */
export class Acked implements RateSample {
  newlyDelivered = 0;
  newlyLost = 0;
  delivered = 0;
  intervalUs = 0;
  rttUs = -1;
  priorDelivered = 0;
  priorLost = 0;
  inFlightAtSend = 0;
  isAppLimited = false;
  priorInFlight = 0;
  newlyMarked = 0;

  /** SND.UNA moved; bytes by which it did. */
  advance = 0;
  /** Something was SACKed that was not. */
  isSacking = false;
  /** A D-SACK came along: RFC 2883. */
  isDsack = false;
  /** Data sent once only, before the loss was seen, was acknowledged in either way: RFC 5682. */
  isOriginal = false;
  /** Data that had been sent again was acknowledged. */
  isRetransmitted = false;
  /** A retransmission was found lost. */
  lostAgain = false;
  /** The segment was a duplicate acknowledgement: RFC 5681 §2. */
  isDuplicate = false;
  /** When the first and the last segment newly acknowledged, and the last newly SACKed one, were sent, if once only. */
  firstUs = 0;
  lastUs = 0;
  sackedUs = 0;
  hasFirst = false;
  hasSacked = false;
  /** The lowest number delivered late, below what had been SACKed before: reordering. */
  lateSeq = 0 as Seq;
  isLate = false;
  #hasPrior = false;
  #sentUs = 0;
  #end = 0 as Seq;
  #firstUs = 0;
  #deliveredUs = 0;

  begin(c: Connection): void {
    this.newlyDelivered = this.newlyLost = this.newlyMarked = 0;
    this.delivered = this.intervalUs = 0;
    this.rttUs = -1;
    this.priorInFlight = c.inFlight();
    this.advance = 0;
    this.isSacking = this.isDsack = this.isOriginal = this.isRetransmitted = this.lostAgain = false;
    this.isDuplicate = this.hasFirst = this.hasSacked = this.isLate = this.#hasPrior = false;
  }

  /** The record at `at` of `words` is delivered: the sample is taken from the one sent last. */
  take(words: Int32Array, at: number): void {
    const sentUs = words[at + SENT_US]!;
    const end = words[at + END]! as Seq;
    if (this.#hasPrior && !sentAfter(sentUs, end, this.#sentUs, this.#end)) return;
    this.#hasPrior = true;
    this.#sentUs = sentUs;
    this.#end = end;
    this.#firstUs = words[at + FIRST_US]!;
    this.#deliveredUs = words[at + DELIVERED_US]!;
    this.priorDelivered = words[at + DELIVERED]!;
    this.priorLost = words[at + LOST_BEFORE]!;
    this.inFlightAtSend = words[at + IN_FLIGHT]!;
    this.isAppLimited = (words[at + FLAGS]! & APP_LIMITED) !== 0;
  }

  /** Completes the sample: draft-cheng-iccrg-delivery-rate-estimation §3.3, GenerateRateSample. */
  finish(c: Connection): void {
    const { nowUs } = c.context;
    if (this.newlyDelivered > 0) c.deliveredUs = nowUs;
    if (c.isAppLimited && (((c.delivered | 0) - c.appLimitedEnd) | 0) > 0) c.isAppLimited = false;
    if (!this.#hasPrior) return;
    c.firstSentUs = this.#sentUs;
    this.delivered = ((c.delivered | 0) - this.priorDelivered) | 0;
    this.priorLost = c.lostBytesTotal - (((c.lostBytesTotal | 0) - this.priorLost) | 0);
    this.priorDelivered = c.delivered - this.delivered;
    const sendUs = (this.#sentUs - this.#firstUs) | 0;
    const ackUs = (nowUs - this.#deliveredUs) | 0;
    const intervalUs = Math.max(sendUs, ackUs);
    // An interval shorter than the least round trip is a stretch of the acknowledgements, not of the path.
    this.intervalUs = c.minRttUs >= 0 && intervalUs < c.minRttUs ? 0 : intervalUs;
  }
}
