/**
 * The states of a connection and every transition between them: RFC 9293 §3.3.2, figure 5. Nothing else sets a state.
 * @module
 */

export const CLOSED = 0;
export const LISTEN = 1;
export const SYN_SENT = 2;
export const SYN_RECEIVED = 3;
export const ESTABLISHED = 4;
export const FIN_WAIT_1 = 5;
export const FIN_WAIT_2 = 6;
export const CLOSE_WAIT = 7;
export const CLOSING = 8;
export const LAST_ACK = 9;
export const TIME_WAIT = 10;

/** States as the RFC prints them, in the order of the constants. */
export const STATE_NAMES = [
  'CLOSED',
  'LISTEN',
  'SYN-SENT',
  'SYN-RECEIVED',
  'ESTABLISHED',
  'FIN-WAIT-1',
  'FIN-WAIT-2',
  'CLOSE-WAIT',
  'CLOSING',
  'LAST-ACK',
  'TIME-WAIT',
] as const;

export type TcpState = (typeof STATE_NAMES)[number];

/** What moves a connection from state to state; the arrows of figure 5. */
export type StateEvent =
  | 'open' // active OPEN: the SYN is sent
  | 'receive-syn'
  | 'receive-syn-ack' // the acknowledgement of our SYN, with or without the peer's SYN
  | 'close' // the user closes the sending half; the FIN follows the queued data
  | 'receive-fin'
  | 'receive-ack-of-fin'
  | 'delete'; // the TCB is gone: timeout, reset, abort, or our FIN acknowledged in LAST-ACK

const TRANSITIONS: Record<StateEvent, Partial<Record<TcpState, number>>> = {
  open: { CLOSED: SYN_SENT },
  'receive-syn': { CLOSED: SYN_RECEIVED, LISTEN: SYN_RECEIVED, 'SYN-SENT': SYN_RECEIVED },
  'receive-syn-ack': { 'SYN-SENT': ESTABLISHED, 'SYN-RECEIVED': ESTABLISHED },
  close: { ESTABLISHED: FIN_WAIT_1, 'CLOSE-WAIT': LAST_ACK, 'SYN-RECEIVED': SYN_RECEIVED, 'SYN-SENT': SYN_SENT },
  'receive-fin': {
    ESTABLISHED: CLOSE_WAIT,
    'FIN-WAIT-1': CLOSING,
    'FIN-WAIT-2': TIME_WAIT,
    'SYN-RECEIVED': CLOSE_WAIT,
  },
  'receive-ack-of-fin': { 'FIN-WAIT-1': FIN_WAIT_2, CLOSING: TIME_WAIT },
  delete: {},
};

/** The state after `event` in `state`. @throws Error where figure 5 has no such arrow: a bug, never the network's doing. */
export function nextState(state: number, event: StateEvent): number {
  if (event === 'delete') return CLOSED;
  const next = TRANSITIONS[event][STATE_NAMES[state]!];
  if (next === undefined) throw new Error(`tcp: no transition for ${event} in ${STATE_NAMES[state]}`);
  return next;
}

/** Whether the handshake is done: ESTABLISHED and later. */
export const isSynchronized = (state: number): boolean => state >= ESTABLISHED;
/** Whether the sending half is open: data may still be queued. */
export const maySendIn = (state: number): boolean => state === ESTABLISHED || state === CLOSE_WAIT;
/** Whether the peer may still send. */
export const mayReceiveIn = (state: number): boolean =>
  state === ESTABLISHED || state === FIN_WAIT_1 || state === FIN_WAIT_2;
