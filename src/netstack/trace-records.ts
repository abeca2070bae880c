/** Records of a connection's trace as words, as they pass between threads: no text, and no object a record. @module */
import { STATE_NAMES } from '../tcp/state.ts';
import type { Snapshot, TimerName, TraceEvent } from '../tcp/trace.ts';

/** Words of a record: kind, state, recovery and timer in a byte each; time, window, under way, srtt; and five of the event. */
export const WORDS = 10;
export const RECORD_BYTES = 4 * WORDS;

const KINDS: Record<TraceEvent['kind'], number> = { in: 0, out: 1, timer: 2, window: 3 };
const TIMERS: Record<TimerName, number> = {
  retransmission: 0,
  probe: 1,
  reordering: 2,
  pace: 3,
  persist: 4,
  'keep-alive': 5,
  'delayed-ack': 6,
  'fin-wait-2': 7,
};
const KIND_NAMES = Object.keys(KINDS) as TraceEvent['kind'][];
const TIMER_NAMES = Object.keys(TIMERS) as TimerName[];

/** Writes `event` at `w`. */
export function writeRecord(u32: Uint32Array, w: number, event: TraceEvent & Snapshot): void {
  const { kind } = event;
  const timer = kind === 'timer' ? TIMERS[event.timer] : 0;
  u32[w] = KINDS[kind] | (STATE_NAMES.indexOf(event.state) << 8) | (event.recovery << 16) | (timer << 24);
  u32[w + 1] = event.nowUs;
  u32[w + 2] = event.cwnd;
  u32[w + 3] = event.inFlight;
  u32[w + 4] = event.srttUs;
  if (kind === 'window') u32[w + 5] = event.ssthresh;
  if (kind !== 'in' && kind !== 'out') return;
  u32[w + 5] = event.seq;
  u32[w + 6] = event.ack;
  u32[w + 7] = event.flags;
  u32[w + 8] = event.length;
  u32[w + 9] = event.wnd;
}

/** The record at `w`. */
export function readRecord(u32: Uint32Array, w: number): TraceEvent & Snapshot {
  const at = (i: number): number => u32[w + i]!;
  const snapshot: Snapshot = {
    nowUs: at(1),
    state: STATE_NAMES[(at(0) >>> 8) & 0xff]!,
    cwnd: at(2),
    inFlight: at(3),
    srttUs: at(4),
    recovery: (at(0) >>> 16) & 0xff,
  };
  const kind = KIND_NAMES[at(0) & 0xff]!;
  if (kind === 'timer') return { kind, timer: TIMER_NAMES[at(0) >>> 24]!, ...snapshot };
  if (kind === 'window') return { kind, ssthresh: at(5), ...snapshot };
  return { kind, seq: at(5), ack: at(6), flags: at(7), length: at(8), wnd: at(9), ...snapshot };
}
