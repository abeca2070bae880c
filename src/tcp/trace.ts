/**
 * Looking at one connection as it runs: every segment, every timer that fires, every change of the congestion window. A
 * connection that nobody looks at pays one comparison for each. @module
 */
import type * as wire from '../wire/tcp.ts';
import type { Connection } from './connection.ts';
import { STATE_NAMES, type TcpState } from './state.ts';

/** What happened. Numbers of bytes; sequence numbers count from the SYN of their side, which is 0. */
export type TraceEvent =
  | {
      readonly kind: 'in' | 'out';
      readonly seq: number;
      readonly ack: number;
      readonly flags: number;
      readonly length: number;
      /** As it stands in the header, not scaled. */
      readonly wnd: number;
    }
  | { readonly kind: 'timer'; readonly timer: TimerName }
  | { readonly kind: 'window'; readonly ssthresh: number };

export type TimerName =
  | 'retransmission'
  | 'probe'
  | 'reordering'
  | 'pace'
  | 'persist'
  | 'keep-alive'
  | 'delayed-ack'
  | 'fin-wait-2';

/** The event, and the connection at that moment. */
export type Trace = (event: TraceEvent & Snapshot) => void;

export interface Snapshot {
  /** us of the stack's clock, wrapping at 2^32. */
  readonly nowUs: number;
  readonly state: TcpState;
  readonly cwnd: number;
  readonly inFlight: number;
  readonly srttUs: number;
  /** 0 open, 1 disorder, 2 CWR, 3 recovery, 4 loss. */
  readonly recovery: number;
}

const snapshot = (c: Connection): Snapshot => ({
  nowUs: c.context.nowUs >>> 0,
  state: STATE_NAMES[c.state]!,
  cwnd: c.cwnd,
  inFlight: c.inFlight(),
  srttUs: c.srttUs,
  recovery: c.recovery,
});

export function traceIn(c: Connection, { seq, ack, flags, length, wnd }: wire.Segment): void {
  const place = { seq: (seq - c.irs) >>> 0, ack: (ack - c.iss) >>> 0 };
  c.trace?.({ kind: 'in', ...place, flags, length, wnd, ...snapshot(c) });
}

export function traceOut(c: Connection, seq: number, flags: number, length: number, wnd: number): void {
  const place = { seq: (seq - c.iss) >>> 0, ack: (c.rcvNxt - c.irs) >>> 0 };
  c.trace?.({ kind: 'out', ...place, flags, length, wnd, ...snapshot(c) });
}

export function traceTimer(c: Connection, timer: TimerName): void {
  c.trace?.({ kind: 'timer', timer, ...snapshot(c) });
}

export function traceWindow(c: Connection): void {
  c.trace?.({ kind: 'window', ssthresh: c.ssthresh, ...snapshot(c) });
}
