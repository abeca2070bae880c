/**
 * Pacing: segments leave at the rate of the congestion control instead of in bursts. A paced connection waits for a
 * deadline like any other; nobody polls for it. draft-ietf-ccwg-bbr §5.6.2, Linux's sk_pacing. @module
 */
import { type Connection, UNSET } from './connection.ts';

/** What may leave early: the timers have ms, and a paced flow above one burst a ms sends that burst at once. */
const SLACK_US = 1000;

/** Whether the pacer holds the next segment back; it has set a deadline then. */
export function isPaced(c: Connection): boolean {
  if (c.pacingRate === 0) return false;
  const waitUs = (c.pacedUntilUs - c.context.nowUs) | 0;
  if (waitUs <= 0) return false;
  c.paceAt = c.context.now + (waitUs + 1) / 1000;
  c.context.timers.atMost(c, c.paceAt);
  return true;
}

/** `length` bytes have just left: the next ones may when these have had their time on the wire. */
export function paceAfter(c: Connection, length: number): void {
  const { nowUs } = c.context;
  const durationUs = (length * 1e6) / c.pacingRate;
  // A credit for the time between the last deadline and now, or the rate would fall short by the timers' granularity.
  const late = (nowUs - c.pacedUntilUs) | 0;
  const from = late > SLACK_US ? (nowUs - SLACK_US) | 0 : c.pacedUntilUs;
  c.pacedUntilUs = Math.floor(from + durationUs) | 0;
}

/**
 * For algorithms that set no rate of their own: twice the window a round trip in slow start, 1.2 times it afterwards,
 * when the user asked for pacing. Linux's tcp_update_pacing_rate.
 */
export function updatePacingRate(c: Connection): void {
  const { maxPacingRate, pacing } = c.settings;
  if (!pacing && maxPacingRate === 0) return;
  if (pacing && c.srttUs > 0) c.pacingRate = Math.ceil(usualRate(c));
  if (maxPacingRate > 0) c.pacingRate = Math.min(c.pacingRate === 0 ? maxPacingRate : c.pacingRate, maxPacingRate);
}

const usualRate = (c: Connection): number =>
  ((c.cwnd < c.ssthresh >> 1 ? 2 : 1.2) * Math.max(c.cwnd, c.inFlight()) * 1e6) / Math.max(c.srttUs, 1);

/** Bytes a second that pacing has, or would have if it were asked for. Linux computes it for every connection. */
export function usualPacingRate(c: Connection): number {
  if (c.pacingRate > 0) return c.pacingRate;
  return Math.floor(usualRate(c));
}

/** The user changed the limit: it holds from now on, not from the next acknowledgement. */
export function limitPacing(c: Connection): void {
  if (!c.congestion.ownsWindow && !c.settings.pacing) c.pacingRate = c.settings.maxPacingRate;
  updatePacingRate(c);
}

/** The pacer's deadline has come. */
export function onPace(c: Connection): void {
  c.paceAt = UNSET;
  c.tcp.ready(c);
}
