/**
 * The segment that most requests and answers are: all that is queued, in one piece, with nothing under way. It does what
 * send.ts does for any, in one go, with the steps left out that could find nothing. @module
 */
import * as wire from '../wire/tcp.ts';
import { type Connection, OPEN, UNSET } from './connection.ts';
import { emitSegment } from './emit.ts';
import { CHRONO_BUFFER, CHRONO_BUSY, setChrono } from './info.ts';
import { armProbe } from './rack.ts';
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
import { startFlight, startRetransmitTimer } from './send.ts';
import { seqAdd } from './seq.ts';

/** Whether `queued` bytes, all there are, may leave as one segment now, and nothing has to be judged for it. */
export const leavesAlone = (c: Connection, queued: number): boolean =>
  c.sent === null &&
  queued > 0 &&
  queued <= c.mss &&
  queued <= c.sndWnd &&
  queued <= c.cwnd &&
  c.sndNxt === c.sndUna &&
  c.recovery === OPEN &&
  c.pacingRate === 0 &&
  !c.finQueued &&
  c.mtuProbe === null &&
  c.urgent === null &&
  !c.settings.cork &&
  !c.settings.linux;

/** Sends the `queued` bytes of {@link leavesAlone}. */
export function sendAlone(c: Connection, queued: number): void {
  const { context, sndNxt } = c;
  const { nowUs } = context;
  startFlight(c);
  if (!emitSegment(c, sndNxt, queued, wire.ACK | wire.PSH)) {
    startRetransmitTimer(c);
    return;
  }
  const end = seqAdd(sndNxt, queued);
  c.sndNxt = c.sndMax = c.cwndUsageSeq = end;
  const board = c.board();
  const at = board.push();
  const { words } = board;
  words[at + SENT_US] = words[at + DELIVERED_US] = words[at + FIRST_US] = nowUs;
  words[at + DELIVERED] = c.delivered | 0;
  words[at + LOST_BEFORE] = c.lostBytesTotal | 0;
  words[at + IN_FLIGHT] = c.maxFlight = queued;
  words[at + END] = end;
  words[at + FLAGS] = c.isAppLimited ? APP_LIMITED : 0;
  c.beginsBurst = c.overrideSws = false;
  c.bytesSent += queued;
  c.lastDataAt = context.nowMs;
  c.persistAt = UNSET;
  const room = c.cwnd - queued;
  c.isCwndLimited = room < c.mss;
  if (room > 0) {
    c.isAppLimited = true;
    c.appLimitedEnd = (c.delivered + queued) | 0;
  }
  setChrono(c, c.wantsRoom ? CHRONO_BUFFER : CHRONO_BUSY);
  if (!armProbe(c)) startRetransmitTimer(c);
}
