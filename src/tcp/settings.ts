/** What can be set of TCP, for a stack or a socket, with defaults and where they come from. @module */
import { WINDOW_SCALE_MAX } from '../wire/tcp.ts';
import type { CongestionControl } from './congestion/controller.ts';
import { cubic } from './congestion/cubic.ts';

export interface TcpSettings {
  /**
   * Bytes that wait for the reader, at most, when a connection begins: the window offered. 64 B to
   * 16 MiB. Default 128 KiB. Who sets it and no maximum has it fixed.
   */
  readonly receiveBufferBytes: number;
  /** What the receive buffer may grow to when the path and the reader are fast enough. Default 8 MiB. */
  readonly receiveBufferMaxBytes: number;
  /** Bytes queued or unacknowledged, at most, when a connection begins. As above. Default 128 KiB. */
  readonly sendBufferBytes: number;
  /** What the send buffer may grow to: twice the congestion window. Default 4 MiB. */
  readonly sendBufferMaxBytes: number;
  /** The largest MSS announced and used, 88 to 65535 bytes; 0, the default: what the interface gives. */
  readonly mssMax: number;
  /**
   * RFC 4821: 1, the default: where full-sized segments do not arrive and nobody says why, smaller ones are tried; 2: every
   * connection begins with smaller ones and finds out how large they may be; 0, as on Linux: never.
   */
  readonly mtuProbing: number;
  /** The MSS to begin with then, 88 to 65535; Linux's tcp_base_mss. Default 1024. */
  readonly mtuProbeBaseMss: number;
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
  /** With `linux`: SACKs of one hole beyond three wait so long for more, at most. Default 0: none waits. Linux has 1. */
  readonly sackDelayMs: number;
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
  /** Timeouts of a SYN that are not doubled. They come on top of `synRetriesMax`. Default 0; Linux has 4. */
  readonly synLinearTimeouts: number;
  /** The same for a SYN-ACK: a listener must shed half-open connections. Default 5. */
  readonly synAckRetriesMax: number;
  /** RFC 9293 §3.8.4: silence before a probe. Default 0: off (MUST-25). */
  readonly keepAliveMs: number;
  /** Between probes that are not answered. Default 75 s. */
  readonly keepAliveIntervalMs: number;
  /** Unanswered probes before giving up. Default 9. */
  readonly keepAliveProbesMax: number;
  /**
   * RFC 5482, Linux's TCP_USER_TIMEOUT: how long data may stay unacknowledged, or a window closed, once it had to be sent
   * again or probed; then the connection ends with ETIMEDOUT. It replaces `retriesMax`, and the count of keep-alive
   * probes. Default 0: off.
   */
  readonly userTimeoutMs: number;
  /** How long an attempt to connect may take, whatever was sent. Default 0: the retransmissions of the SYN decide. */
  readonly connectTimeoutMs: number;
  /** How long a SYN that `onSyn` was told of may wait for its decision; then it is rejected. Default 30 s. */
  readonly synDeadlineMs: number;
  /** RFC 4987 §3.6: SYN cookies when the SYN queue is full, for every SYN, or never. Default `auto`. */
  readonly synCookies: SynCookieMode;
  /** Connections without a user that the stack keeps; beyond it a connection let go is reset. Default 16384. */
  readonly orphansMax: number;
  /** RFC 5961 §7: challenge ACKs of the whole stack a second, about. Default 1000. */
  readonly challengeAcksMax: number;
  /** RFC 1337 §3 (F1): a RST does not end TIME-WAIT. Default true; false is Linux's default. */
  readonly rfc1337: boolean;
  /** RFC 6191: our own connects may take over a TIME-WAIT when timestamps make it safe. Default true. */
  readonly timeWaitReuse: boolean;
  /** How long FIN-WAIT-2 lasts once the user is gone. Default 60 s, as on Linux. */
  readonly finWait2Ms: number;
  /** 2 MSL: RFC 9293 §3.4.2 says 4 minutes; default 60 s, as on Linux. */
  readonly timeWaitMs: number;
  /** RFC 7323 §2.3: the shift of our window, 0 to 14; by default, -1, the least that shows the whole buffer. */
  readonly windowShift: number;
  /**
   * As FreeBSD has it where the RFCs leave it open: the receive buffer is rounded up to whole segments, and segments are
   * judged by what it has room for, also where 16 bits could not offer it; the offered window follows the bytes that
   * arrive while there is room; every second segment is acknowledged, however small, and none at once; the FIN is
   * sent again when the peer's has crossed it; a RST is an error in every state; a SYN-ACK to a listener, and in TIME-WAIT
   * what has no ACK, is dropped without an answer. Default false.
   */
  readonly bsd: boolean;
  /**
   * As Linux has it where the RFCs leave it open, or where it knowingly differs: data leaves in bursts, each with PSH on its
   * last segment; Nagle in Minshall's variant; no segment is larger than half of the peer's largest window; slow start by all
   * that was acknowledged; windows of whole segments; text in a SYN-ACK must come again; a SYN-ACK that crosses a SYN offers
   * everything; a SYN is sent again soon when the answer was for a connection of old. Default false.
   */
  readonly linux: boolean;
  /** RFC 5961 §3 and §4 turned off: any RST in the window resets, any SYN in it too. Default false. */
  readonly insecureReset: boolean;
  readonly insecureSyn: boolean;
  /** A SYN with a FIN opens no connection: nobody sends one but to see what happens. Default true. */
  readonly dropSynFin: boolean;
  /** The order and padding of the options of a SYN, which no RFC fixes. Default `linux`. */
  readonly synOptions: SynOptions;
  /**
   * Explicit congestion notification. `passive`, the default as on Linux: RFC 3168 where the peer asks for it; `on`: we ask
   * too; `accurate`: RFC 9768, and the older form where the peer knows no other; `off`.
   */
  readonly ecn: EcnMode;
  /** With `accurate`: whether bytes by codepoint are told too, in an option: RFC 9768 §3.2.3. Default true. */
  readonly ecnOption: boolean;
  /** DSCP and ECN bits of the IP header, as IP_TOS has them: the upper six count. Default 0. */
  readonly tos: number;
  /** TTL, or hop limit. Default 64. */
  readonly ttl: number;
  /**
   * Segments that arrive with a TTL, or of IPv6 a hop limit, below these are dropped: RFC 5082 (GTSM): 255 lets only neighbours
   * through. Default 0: all.
   */
  readonly minTtl: number;
  readonly minHopLimit: number;
  /** Like TCP_CORK: only full segments leave, until it is taken off, or 200 ms have passed. Default false. */
  readonly cork: boolean;
  /** RFC 2883: segments that came twice are reported. Default true. */
  readonly dsack: boolean;
  /** RFC 8985 §7. Default true. */
  readonly tailLossProbe: boolean;
  /** RFC 5682. Default true. */
  readonly frto: boolean;
  /** Whether a reduction of the window that was a mistake is taken back: RFC 4015, RFC 3708. Default true. */
  readonly undo: boolean;
  /** Segments that may overtake each other before one counts as lost, to begin with and at most. Default 3 and 300. */
  readonly reordering: number;
  readonly reorderingMax: number;
  /** RFC 5681 §4.1: after idleness of a timeout the window opens anew. Default true. */
  readonly slowStartAfterIdle: boolean;
  /** TCP_NOTSENT_LOWAT: no more is taken while so many bytes have not been sent. Default 0: no limit. With `linux` only. */
  readonly notSentLowBytes: number;
  /** TCP_DEFER_ACCEPT: a connection is handed out once it has brought text, or after so long. Default 0: at once. */
  readonly deferAcceptMs: number;
  /** TCP_THIN_LINEAR_TIMEOUTS: the first six timeouts of a flow of few segments are not doubled. Default false. */
  readonly thinLinearTimeouts: boolean;
  /**
   * RFC 7413, for who connects: what is queued before the SYN leaves goes with it, if the server has given a cookie, and else
   * one is asked for. The text may reach the server's application twice. Default false.
   */
  readonly fastOpen: boolean;
  /** For a listener: how many connections may be handed out before their handshake is done. Default 0: none. */
  readonly fastOpenBacklog: number;
  /** No listener has more than that. Default 4096; 0: none hands out anything early. */
  readonly fastOpenBacklogMax: number;
  /** Whether cookies are asked for; without them anybody may open connections under others' addresses. Default true. */
  readonly fastOpenCookie: boolean;
  /**
   * The key of a listener's cookies, 32 hexadecimal digits, for servers that share an address; after a comma maybe a former one,
   * whose cookies are still good. Default '': one is drawn when the stack is made.
   */
  readonly fastOpenKey: string;
  /** Spreads segments over the round trip, for algorithms that do not do it themselves. Default false. */
  readonly pacing: boolean;
  /** Bytes a second, at most; 0: no limit. */
  readonly maxPacingRate: number;
  /** The congestion control algorithm, by name or as an object of one's own; once checked, always the object. Default `cubic`. */
  readonly congestion: CongestionName | CongestionControl;
}

/** Names of algorithms. All but `cubic` need a stack that was made with them (`StackOptions.congestion`): every host is. */
export type CongestionName = 'newreno' | 'cubic' | 'bbr';

const SYN_COOKIE_MODES = ['auto', 'always', 'never'] as const;
export type SynCookieMode = (typeof SYN_COOKIE_MODES)[number];

const ECN_MODES = ['off', 'passive', 'on', 'accurate'] as const;
export type EcnMode = (typeof ECN_MODES)[number];

const SYN_OPTIONS = ['linux', 'freebsd'] as const;
export type SynOptions = (typeof SYN_OPTIONS)[number];

/** Settings that are one of a few words. */
const CHOICES: Readonly<Record<string, readonly string[]>> = {
  synCookies: SYN_COOKIE_MODES,
  synOptions: SYN_OPTIONS,
  ecn: ECN_MODES,
};

export const TCP_DEFAULTS: TcpSettings = {
  receiveBufferBytes: 1 << 17,
  receiveBufferMaxBytes: 1 << 23,
  sendBufferBytes: 1 << 17,
  sendBufferMaxBytes: 1 << 22,
  mssMax: 0,
  mtuProbing: 1,
  mtuProbeBaseMss: 1024,
  timestamps: true,
  windowScaling: true,
  sack: true,
  noDelay: false,
  delayedAckMs: 40,
  sackDelayMs: 0,
  rtoInitialMs: 1000,
  rtoMinMs: 200,
  rtoMaxMs: 120_000,
  retriesMax: 15,
  synRetriesMax: 7,
  synLinearTimeouts: 0,
  synAckRetriesMax: 5,
  keepAliveMs: 0,
  keepAliveIntervalMs: 75_000,
  keepAliveProbesMax: 9,
  userTimeoutMs: 0,
  connectTimeoutMs: 0,
  synDeadlineMs: 30_000,
  synCookies: 'auto',
  orphansMax: 1 << 14,
  challengeAcksMax: 1000,
  rfc1337: true,
  timeWaitReuse: true,
  finWait2Ms: 60_000,
  timeWaitMs: 60_000,
  windowShift: -1,
  bsd: false,
  linux: false,
  dropSynFin: true,
  insecureReset: false,
  insecureSyn: false,
  synOptions: 'linux',
  ecn: 'passive',
  ecnOption: true,
  tos: 0,
  ttl: 64,
  minTtl: 0,
  minHopLimit: 0,
  cork: false,
  dsack: true,
  tailLossProbe: true,
  frto: true,
  undo: true,
  reordering: 3,
  reorderingMax: 300,
  slowStartAfterIdle: true,
  notSentLowBytes: 0,
  deferAcceptMs: 0,
  thinLinearTimeouts: false,
  fastOpen: false,
  fastOpenBacklog: 0,
  fastOpenBacklogMax: 4096,
  fastOpenCookie: true,
  fastOpenKey: '',
  pacing: false,
  maxPacingRate: 0,
  congestion: cubic,
};

/** RFC 7323 §2.3: the least shift that lets the whole buffer be offered, however large it grows. */
export function shiftOf({ windowScaling, windowShift, receiveBufferMaxBytes }: TcpSettings): number {
  let shift = windowScaling ? Math.max(0, windowShift) : 0;
  while (windowScaling && receiveBufferMaxBytes >>> shift > 0xffff && shift < WINDOW_SCALE_MAX) shift++;
  return shift;
}

const BUFFER_MIN = 1 << 6;
const BUFFER_MAX = 1 << 24;

const bounded = (bytes: number): number => Math.trunc(Math.min(Math.max(bytes, BUFFER_MIN), BUFFER_MAX));

/** Durations that may be 0: off. All others are at least 1 ms. */
const MAY_BE_ZERO: readonly string[] = [
  'keepAliveMs',
  'deferAcceptMs',
  'delayedAckMs',
  'sackDelayMs',
  'userTimeoutMs',
  'connectTimeoutMs',
];
const FAST_OPEN_KEYS = /^([\da-f]{32}(,[\da-f]{32})?)?$/i;
/** The least MSS a user may ask for: Linux's. */
const MSS_MAX_LEAST = 88;

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
  const { receiveBufferBytes, receiveBufferMaxBytes, sendBufferBytes, sendBufferMaxBytes } = changes;
  const receive = bufferSizes(
    merged.receiveBufferBytes,
    merged.receiveBufferMaxBytes,
    receiveBufferBytes,
    receiveBufferMaxBytes,
  );
  const send = bufferSizes(merged.sendBufferBytes, merged.sendBufferMaxBytes, sendBufferBytes, sendBufferMaxBytes);
  return {
    ...merged,
    congestion: algorithmOf(merged.congestion, algorithms),
    receiveBufferBytes: receive[0],
    receiveBufferMaxBytes: receive[1],
    sendBufferBytes: send[0],
    sendBufferMaxBytes: send[1],
  };
}

/** A size and its maximum: a size given alone is fixed, as by SO_RCVBUF, and a maximum given alone bounds the size. */
function bufferSizes(
  size: number,
  max: number,
  sizeGiven: number | undefined,
  maxGiven: number | undefined,
): readonly [number, number] {
  const first = bounded(size);
  if (maxGiven === undefined) return [first, sizeGiven === undefined ? bounded(max) : first];
  const most = bounded(max);
  return sizeGiven === undefined ? [Math.min(first, most), most] : [first, Math.max(first, most)];
}

function checkSetting(name: string, value: unknown): void {
  if (!Object.hasOwn(TCP_DEFAULTS, name)) throw new RangeError(`tcp: expected a known setting, got ${name}`);
  const expected = typeof TCP_DEFAULTS[name as keyof TcpSettings];
  if (typeof value !== expected) throw new TypeError(`${name}: expected a ${expected}, got ${typeof value}`);
  const choices = CHOICES[name];
  if (choices !== undefined && !choices.includes(value as string)) {
    throw new RangeError(`${name}: expected ${choices.join(', ')}, got ${value}`);
  }
  if (name === 'fastOpenKey' && !FAST_OPEN_KEYS.test(value as string)) {
    throw new RangeError(
      `fastOpenKey: expected 32 hexadecimal digits, or two such keys and a comma between, got '${value}'`,
    );
  }
  if (typeof value !== 'number') return;
  if (name === 'mssMax' && value !== 0 && !(value >= MSS_MAX_LEAST && value <= 0xffff)) {
    throw new RangeError(`mssMax: expected 0 or ${MSS_MAX_LEAST} to 65535, got ${value}`);
  }
  if (name === 'mtuProbeBaseMss' && !(value >= MSS_MAX_LEAST && value <= 0xffff)) {
    throw new RangeError(`mtuProbeBaseMss: expected ${MSS_MAX_LEAST} to 65535, got ${value}`);
  }
  if (name === 'mtuProbing' && ![0, 1, 2].includes(value)) {
    throw new RangeError(`mtuProbing: expected 0, 1 or 2, got ${value}`);
  }
  if ((name === 'minTtl' || name === 'minHopLimit') && !(value <= 255)) {
    throw new RangeError(`${name}: expected 0 to 255, got ${value}`);
  }
  if (name === 'windowShift' && (value > WINDOW_SCALE_MAX || !Number.isInteger(value) || value < -1)) {
    throw new RangeError(`windowShift: expected -1 to ${WINDOW_SCALE_MAX}, got ${value}`);
  }
  if (name === 'windowShift') return;
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
