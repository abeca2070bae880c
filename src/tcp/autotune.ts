/**
 * Buffers that grow with the path. The receive buffer is twice what the reader takes in a round trip (dynamic
 * right-sizing: Fisk and Feng, "Dynamic Right-Sizing in TCP", 2001, with Linux's allowance for slow start), the send
 * buffer twice the congestion window. They grow within their maximum and the memory's budget and never shrink, so
 * neither does an offered window (RFC 9293 §3.8.6 SHLD-14). A fixed buffer costs a compare. @module
 */
import type { Ring } from '../memory/ring.ts';
import { TIMESTAMPS_LENGTH } from '../wire/tcp.ts';
import type { Connection } from './connection.ts';
import { timestampNow } from './rtt.ts';
import { seqAdd, seqDiff } from './seq.ts';
import type { TcpSettings } from './settings.ts';

/** Segments of a first window: RFC 6928. */
const FIRST_SEGMENTS = 10;
/** A connection's buffer is no more than this part of the free memory: one eighth. */
const BUDGET_SHIFT = 3;
/**
 * What a buffer may hold besides {@link BYTES_PER_US} for each microsecond of round trip: 32 Gbit/s. On a path in
 * memory a round trip is our own turn; a larger buffer only leaves the processor's cache there.
 */
const NEAR_BYTES = 1 << 19;
const BYTES_PER_US = 4096;
/** Granularity of a timestamp's clock. */
const TICK_US = 1000;

/** The buffer that `wanted` bytes ask for: `current`, doubled as often as limits and memory allow. */
function grown(c: Connection, current: number, wanted: number, max: number, rttUs: number): number {
  const most = Math.min(max, NEAR_BYTES + rttUs * BYTES_PER_US, c.context.memory.freeBytes >>> BUDGET_SHIFT);
  let bytes = current;
  while (bytes < wanted && 2 * bytes <= most) bytes *= 2;
  return bytes;
}

const setCapacity = (ring: Ring | null, bytes: number): void => {
  if (ring !== null && bytes > ring.capacity) ring.capacity = bytes;
};

/** What the send buffer may hold now. Asked when the user had more to send than there was room for. */
export function sendCapacity(c: Connection): number {
  const max = c.settings.sendBufferMaxBytes;
  if (c.txBytes < max && c.srttUs > 0) {
    c.txBytes = grown(c, c.txBytes, 2 * c.cwnd, max, c.srttUs);
    setCapacity(c.tx, c.txBytes);
  }
  return c.txBytes;
}

/** The handshake is done: measuring begins. */
export function startRightSizing(c: Connection): void {
  const segment = c.settings.linux ? c.advertisedMss - (c.useTimestamps ? TIMESTAMPS_LENGTH : 0) : c.rcvMss;
  c.readBytes = Math.min(FIRST_SEGMENTS * segment, c.rxBytes);
  startRound(c);
}

function startReading(c: Connection): void {
  c.readFrom = seqAdd(c.rcvNxt, -c.readable);
  c.readFromUs = c.context.nowUs;
}

/** The first byte that was not offered yet cannot come before what offers it has gone there: a round trip or longer. */
function startRound(c: Connection): void {
  c.rcvRoundEnd = seqAdd(c.rcvAdv, 1);
  c.rcvRoundAtUs = c.context.nowUs;
}

/**
 * A byte has arrived that was not yet offered at the last call. The echo of a timestamp says how much longer than a round
 * trip that took, to its tick.
 */
export function rcvRoundDone(c: Connection, hasTimestamps: boolean, tsEcr: number): void {
  let sample = Math.max(1, (c.context.nowUs - c.rcvRoundAtUs) | 0);
  if (hasTimestamps) {
    const elapsedMs = (timestampNow(c) - tsEcr) | 0;
    if (elapsedMs >= 0 && elapsedMs < sample / TICK_US) sample = Math.min(sample, elapsedMs * 1000 + TICK_US);
  }
  if (c.rcvRttUs === 0) startReading(c); // what was read so far took longer than a round trip
  // All samples are too long, never too short: a lower one counts at once.
  const isLower = c.rcvRttUs === 0 || sample < c.rcvRttUs;
  c.rcvRttUs = isLower ? sample : c.rcvRttUs + ((sample - c.rcvRttUs) >> 3);
  startRound(c);
}

/** The reader took bytes, and the buffer may still grow: once a round trip, sees whether it should. */
export function rightSize(c: Connection): void {
  const elapsedUs = (c.context.nowUs - c.readFromUs) | 0;
  if (c.rcvRttUs === 0 || (elapsedUs >= 0 && elapsedUs < c.rcvRttUs)) return;
  const bytes = seqDiff(seqAdd(c.rcvNxt, -c.readable), c.readFrom);
  if (bytes > c.readBytes) {
    // What comes in the next round trip, twice; and in slow start as much more as there was more this time.
    const twice = 2 * bytes + 16 * c.rcvMss;
    const wanted = twice + 2 * Math.floor((twice * (bytes - c.readBytes)) / c.readBytes);
    c.rxBytes = grown(c, c.rxBytes, wanted, c.settings.receiveBufferMaxBytes, c.rcvRttUs);
    setCapacity(c.rx, c.rxBytes);
    c.readBytes = bytes;
  }
  startReading(c);
}

/** The settings of a live connection have changed: sizes that were set are what they are from now on. */
export function resizeBuffers(c: Connection, changes: Partial<TcpSettings>): void {
  const { settings } = c;
  if (changes.receiveBufferBytes !== undefined) c.rxBytes = settings.receiveBufferBytes;
  else c.rxBytes = Math.min(c.rxBytes, settings.receiveBufferMaxBytes);
  if (changes.sendBufferBytes !== undefined) c.txBytes = settings.sendBufferBytes;
  else c.txBytes = Math.min(c.txBytes, settings.sendBufferMaxBytes);
  // A ring that holds what was promised room keeps it; the window closes by itself.
  setCapacity(c.rx, c.rxBytes);
  setCapacity(c.tx, c.txBytes);
}
