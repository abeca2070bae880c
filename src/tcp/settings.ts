/** What can be set of TCP, for a stack or a socket, with defaults and where they come from. @module */
import type { CongestionControl } from './congestion/controller.ts';
import { cubic } from './congestion/cubic.ts';

export interface TcpSettings {
  /** Bytes that wait for the reader, at most: the window offered. A power of two, 64 B to 16 MiB. Default 512 KiB. */
  readonly receiveBufferBytes: number;
  /** Bytes queued or unacknowledged, at most. A power of two, 64 B to 16 MiB. Default 512 KiB. */
  readonly sendBufferBytes: number;
  /** RFC 7323 timestamps. Default true. */
  readonly timestamps: boolean;
  /** RFC 7323 window scaling. Default true. */
  readonly windowScaling: boolean;
  /** RFC 2018 selective acknowledgements. Default true. */
  readonly sack: boolean;
  /** RFC 9293 §3.7.4 MUST-17: turns the Nagle algorithm off. Default false. */
  readonly noDelay: boolean;
  /** RFC 9293 §3.8.6.3 MUST-40: below 500 ms. Default 40, as Linux has it; 0: every segment is acknowledged. */
  readonly delayedAckMs: number;
  /** RFC 6298 (2.1): the timeout before a measurement. Default 1000. */
  readonly rtoInitialMs: number;
  /** RFC 6298 (2.4) says 1 s; default 200, as Linux has it. */
  readonly rtoMinMs: number;
  /** RFC 6298 (2.5): at least 60 s. Default 120 s. */
  readonly rtoMaxMs: number;
  /** RFC 9293 §3.8.3 R2: unanswered retransmissions before giving up. Default 15, well above the 100 s asked for. */
  readonly retriesMax: number;
  /** The same for a SYN. Default 7: above the 3 minutes of MUST-23. */
  readonly synRetriesMax: number;
  /** The same for a SYN-ACK: a listener must shed half-open connections. Default 5. */
  readonly synAckRetriesMax: number;
  /** RFC 9293 §3.8.4: silence before a probe. Default 0: off (MUST-25). */
  readonly keepAliveMs: number;
  /** Between probes that are not answered. Default 75 s. */
  readonly keepAliveIntervalMs: number;
  /** Unanswered probes before giving up. Default 9. */
  readonly keepAliveProbesMax: number;
  /** How long FIN-WAIT-2 lasts once the user is gone. Default 60 s, as on Linux. */
  readonly finWait2Ms: number;
  /** 2 MSL: RFC 9293 §3.4.2 says 4 minutes; default 60 s, as on Linux. */
  readonly timeWaitMs: number;
  /** The congestion control algorithm, by name or as an object of one's own; once checked, always the object. Default `cubic`. */
  readonly congestion: CongestionName | CongestionControl;
}

/** Names of algorithms. All but `cubic` need a stack that was made with them (`StackOptions.congestion`): every host is. */
export type CongestionName = 'newreno' | 'cubic' | 'bbr';

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
  congestion: cubic,
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
 * @param algorithms - those that may be named
 * @throws RangeError for a name that is none, a number out of range; TypeError for a value of another type
 */
export function mergeSettings(
  base: TcpSettings,
  changes: Partial<TcpSettings>,
  algorithms: readonly CongestionControl[] = [cubic],
): TcpSettings {
  const given = Object.entries(changes).filter(([, value]) => value !== undefined);
  for (const [name, value] of given) if (name !== 'congestion') checkSetting(name, value);
  const merged = { ...base, ...Object.fromEntries(given) };
  return {
    ...merged,
    congestion: algorithmOf(merged.congestion, algorithms),
    receiveBufferBytes: powerOfTwo(merged.receiveBufferBytes),
    sendBufferBytes: powerOfTwo(merged.sendBufferBytes),
  };
}

function checkSetting(name: string, value: unknown): void {
  if (!Object.hasOwn(TCP_DEFAULTS, name)) throw new RangeError(`tcp: expected a known setting, got ${name}`);
  const expected = typeof TCP_DEFAULTS[name as keyof TcpSettings];
  if (typeof value !== expected) throw new TypeError(`${name}: expected a ${expected}, got ${typeof value}`);
  if (typeof value !== 'number') return;
  const least = name.endsWith('Ms') && !MAY_BE_ZERO.includes(name) ? 1 : 0;
  if (value >= least && Number.isFinite(value)) return;
  throw new RangeError(`${name}: expected a number from ${least} on, got ${value}`);
}

/** What every algorithm has; the rest is optional. */
const METHODS = ['init', 'acked', 'reduce', 'timedOut', 'undo'] as const;

/** The algorithm that is named, or given. */
function algorithmOf(asked: TcpSettings['congestion'], algorithms: readonly CongestionControl[]): CongestionControl {
  const found = algorithms.find(({ name }) => name === asked) ?? (asked as CongestionControl | null);
  if (found !== null && METHODS.every((method) => typeof found[method] === 'function')) return found;
  const names = algorithms.map(({ name }) => name);
  throw new RangeError(`congestion: expected ${names.join(', ')} or an algorithm, got ${asked}`);
}
