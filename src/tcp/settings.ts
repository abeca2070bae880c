/** What can be set of TCP, for a stack or a socket, with defaults and where they come from. @module */

export interface TcpSettings {
  /** Bytes that wait for the reader, at most; the window offered. Rounded up to a power of two, 64 B to 16 MiB. */
  readonly receiveBufferBytes: number;
  /** Bytes queued or unacknowledged, at most. Rounded as above. */
  readonly sendBufferBytes: number;
  /** RFC 7323 timestamps, window scaling; RFC 2018 SACK. */
  readonly timestamps: boolean;
  readonly windowScaling: boolean;
  readonly sack: boolean;
  /** RFC 9293 §3.7.4 MUST-17: turns the Nagle algorithm off. */
  readonly noDelay: boolean;
  /** RFC 9293 §3.8.6.3 MUST-40: below 500 ms. 40 ms is what Linux does; 0: every segment is acknowledged. */
  readonly delayedAckMs: number;
  /** RFC 6298 §2: the timeout before a measurement (2.1), its floor (2.4; 200 ms as Linux has it) and cap (2.5). */
  readonly rtoInitialMs: number;
  readonly rtoMinMs: number;
  readonly rtoMaxMs: number;
  /** RFC 9293 §3.8.3 R2: unanswered retransmissions before giving up; 15 is Linux's, above the 100 s asked for. */
  readonly retriesMax: number;
  /** The same for a SYN (MUST-23: at least 3 minutes) and for a SYN-ACK (a listener must shed half-open connections). */
  readonly synRetriesMax: number;
  readonly synAckRetriesMax: number;
  /** RFC 9293 §3.8.4: idle time before a probe, 0: off (MUST-25); between probes; unanswered probes. */
  readonly keepAliveMs: number;
  readonly keepAliveIntervalMs: number;
  readonly keepAliveProbesMax: number;
  /** How long FIN-WAIT-2 lasts once the user is gone; what Linux does. */
  readonly finWait2Ms: number;
  /** 2 MSL: RFC 9293 §3.4.2 says 4 minutes; 60 s is what Linux does. */
  readonly timeWaitMs: number;
  readonly congestion: CongestionName;
}

export type CongestionName = 'newreno';

export const TCP_DEFAULTS: TcpSettings = {
  receiveBufferBytes: 1 << 19,
  sendBufferBytes: 1 << 19,
  timestamps: true,
  windowScaling: true,
  sack: true,
  noDelay: false,
  delayedAckMs: 40,
  rtoInitialMs: 1000,
  rtoMinMs: 200,
  rtoMaxMs: 120_000,
  retriesMax: 15,
  synRetriesMax: 7,
  synAckRetriesMax: 5,
  keepAliveMs: 0,
  keepAliveIntervalMs: 75_000,
  keepAliveProbesMax: 9,
  finWait2Ms: 60_000,
  timeWaitMs: 60_000,
  congestion: 'newreno',
};

const BUFFER_MIN = 1 << 6;
const BUFFER_MAX = 1 << 24;

const powerOfTwo = (bytes: number): number => {
  const bounded = Math.min(Math.max(bytes, BUFFER_MIN), BUFFER_MAX);
  return 1 << (32 - Math.clz32(bounded - 1));
};

/** Durations that may be 0: off. All others are at least 1 ms. */
const MAY_BE_ZERO: readonly string[] = ['keepAliveMs', 'delayedAckMs'];

/**
 * `base` changed by `changes`, buffers rounded; what is undefined stays as it was.
 * @throws RangeError if a number is negative or not finite, or a duration 0 that must not be
 */
export function mergeSettings(base: TcpSettings, changes: Partial<TcpSettings>): TcpSettings {
  const given = Object.entries(changes).filter(([, value]) => value !== undefined);
  for (const [name, value] of given) {
    if (typeof value !== 'number') continue;
    const least = name.endsWith('Ms') && !MAY_BE_ZERO.includes(name) ? 1 : 0;
    if (!(value >= least && Number.isFinite(value))) {
      throw new RangeError(`${name}: expected a number from ${least} on, got ${value}`);
    }
  }
  const merged = { ...base, ...Object.fromEntries(given) };
  return {
    ...merged,
    receiveBufferBytes: powerOfTwo(merged.receiveBufferBytes),
    sendBufferBytes: powerOfTwo(merged.sendBufferBytes),
  };
}
