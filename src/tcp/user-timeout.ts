/**
 * How long the user is willing to wait: the user timeout (RFC 9293 §3.9.1, RFC 5482) as Linux's TCP_USER_TIMEOUT has it,
 * the limit of a handshake, and the deadline of a held SYN. Only a timer that fires looks here. @module
 */
import { type Connection, UNSET } from './connection.ts';
import { CLOSED, isSynchronized } from './state.ts';
import { refuseHeld } from './syn-request.ts';
import { giveUp } from './timers.ts';

/**
 * A timer has fired. The time runs from the first retransmission or window probe that was not answered by progress: as
 * long as the peer's window is closed, its acknowledgements are none.
 */
export function watchUser(c: Connection, nowMs: number): void {
  const isUnanswered = c.retransmits > 0 && c.sndUna !== c.sndMax;
  const isShut = c.sndWnd === 0 && c.persistAt !== UNSET && c.backoff > 0;
  const isStalled = (isUnanswered || isShut) && c.state !== CLOSED;
  if (!isStalled || c.userUna !== c.sndUna) c.userAt = UNSET;
  if (!isStalled) return;
  if (c.userAt === UNSET) {
    c.userUna = c.sndUna;
    c.userAt = nowMs + c.settings.userTimeoutMs;
  } else if (c.userAt <= nowMs) {
    giveUp(c);
  }
}

/** The limit of the handshake has come: of our own, or of a SYN that nobody has decided on. */
export function onHandshakeLimit(c: Connection): void {
  c.handshakeAt = UNSET;
  if (c.listener !== null) refuseHeld(c);
  else if (!isSynchronized(c.state)) giveUp(c);
}
