/**
 * The options of sockets: one table that says which there are, what values they take, and which setting of the core
 * carries each out. What Linux makes of a value stands in `adjust`. @module
 */
import { type ErrorCode, NetError } from '../errors.ts';
import type { TcpInfo } from '../tcp/info.ts';
import { LINUX as L } from './constants.ts';
import { interfaceOf, MEMBERSHIPS, type Membership } from './multicast-options.ts';
import { TIMESTAMP_OPTIONS } from './timestamps.ts';

/** `struct linger`: seconds. */
export interface Linger {
  readonly onoff: number;
  readonly linger: number;
}

/** `struct timeval`. */
export interface Timeval {
  readonly sec: number;
  readonly usec: number;
}

/** What setsockopt takes. Bytes are read as a little-endian `int`, where the option is one. */
export type OptionInput = number | string | Linger | Timeval | Membership | Uint8Array;
/** What getsockopt gives; bytes (of TCP_FASTOPEN_KEY) as numbers. */
export type OptionValue = number | string | Linger | Timeval | TcpInfo | readonly number[];

export interface Option {
  readonly level: number;
  readonly name: number;
  readonly kind: 'flag' | 'integer' | 'linger' | 'time' | 'text' | 'key' | 'membership';
  /** What getsockopt gives before anybody set it, where no setting of the core says. */
  readonly initial: number;
  /** The range of an integer; beyond it EINVAL. */
  readonly least: number;
  readonly most: number;
  /** Only streams, or only datagram sockets, have it. */
  readonly only: 'stream' | 'datagram' | 'raw' | null;
  /** The setting that carries it out: a field of `TcpSettings`, or of the UDP socket. */
  readonly setting: string | null;
  /** What one of the option is in the setting. */
  readonly unit: number;
  readonly adjust: ((value: number) => number) | null;
  /** What the range does not say of an integer that is refused. */
  readonly allows: ((value: number) => boolean) | null;
  /** setsockopt refuses it with this. */
  readonly refusal: ErrorCode | null;
}

const INT_MIN = -(2 ** 31);
const INT_MAX = 2 ** 31 - 1;

const PLAIN = {
  initial: 0,
  least: INT_MIN,
  most: INT_MAX,
  only: null,
  setting: null,
  unit: 1,
  adjust: null,
  allows: null,
  refusal: null,
} as const;

type Extra = Partial<Omit<Option, 'level' | 'name' | 'kind'>>;

const row =
  (kind: Option['kind'], level: number, common: Extra = {}) =>
  (name: number, extra: Extra = {}): Option => ({ level, name, kind, ...PLAIN, ...common, ...extra });

/** Linux's `net.core.rmem_max` and `wmem_max`: what SO_RCVBUF and SO_SNDBUF ask for beyond counts as this. */
const BUFFER_MAX = 4 << 20;
/** SOCK_MIN_RCVBUF and SOCK_MIN_SNDBUF of x86-64. */
const RECEIVE_BUFFER_MIN = 2304;
const SEND_BUFFER_MIN = 4608;
/** net.ipv4.tcp_fin_timeout, and the longest TCP_LINGER2. */
const FIN_TIMEOUT_S = 60;
const FIN_TIMEOUT_MAX_S = 120;
const TTL_DEFAULT = 64;
/** What an untouched UDP socket has: net.core.rmem_default. */
export const DATAGRAM_BUFFER = 212_992;

/** Half of a buffer is for what a segment costs beyond its payload, so the kernel doubles what it is asked for. */
const buffer = (least: number) => (asked: number) => Math.max(2 * Math.min(asked >>> 0, BUFFER_MAX), least);

/** TCP_DEFER_ACCEPT counts retransmissions of the SYN-ACK: 1, 3, 7, 15, ... s. */
function deferSeconds(asked: number): number {
  let seconds = 0;
  for (let timeout = 1; seconds < asked && timeout < 1 << 20; timeout *= 2) seconds += Math.min(timeout, 120);
  return seconds;
}

const lingerSeconds = (asked: number): number =>
  asked < 0 ? -1 : Math.min(asked === 0 ? FIN_TIMEOUT_S : asked, FIN_TIMEOUT_MAX_S);

const HOPS: Extra = {
  initial: TTL_DEFAULT,
  least: -1,
  most: 255,
  setting: 'ttl',
  adjust: (asked) => (asked < 0 ? TTL_DEFAULT : asked),
};

/** IP_MULTICAST_TTL: 0 stays on this host, -1 is the default. */
const GROUP_HOPS: Extra = {
  initial: 1,
  least: -1,
  most: 255,
  setting: 'multicastTtl',
  adjust: (asked) => (asked < 0 ? 1 : asked),
};

const flag = row('flag', L.SOL_SOCKET);
const integer = row('integer', L.SOL_SOCKET);
const time = row('time', L.SOL_SOCKET);
const fixed = row('integer', L.SOL_SOCKET, { refusal: 'ENOPROTOOPT' });
const tcpFlag = row('flag', L.SOL_TCP, { only: 'stream' });
const tcp = row('integer', L.SOL_TCP, { only: 'stream' });
const ipFlag = row('flag', L.SOL_IP);
const ip = row('integer', L.SOL_IP);
const ip6Flag = row('flag', L.SOL_IPV6);
const ip6 = row('integer', L.SOL_IPV6);

/** Options by (level, name). */
const ROWS: readonly Option[] = [
  flag(L.SO_DEBUG),
  flag(L.SO_REUSEADDR),
  flag(L.SO_REUSEPORT),
  flag(L.SO_DONTROUTE),
  flag(L.SO_BROADCAST),
  flag(L.SO_OOBINLINE),
  flag(L.SO_NO_CHECK),
  flag(L.SO_TIMESTAMP),
  flag(L.SO_TIMESTAMPNS),
  flag(L.SO_TIMESTAMP_NEW),
  flag(L.SO_TIMESTAMPNS_NEW),
  flag(L.SO_ZEROCOPY),
  flag(L.SO_KEEPALIVE),
  integer(L.SO_TIMESTAMPING),
  integer(L.SO_TIMESTAMPING_NEW),
  integer(L.SO_PRIORITY),
  integer(L.SO_MARK),
  integer(L.SO_BUSY_POLL, { least: 0 }),
  integer(L.SO_INCOMING_CPU, { initial: -1 }),
  integer(L.SO_RCVBUF, { setting: 'receiveBufferBytes', unit: 0.5, adjust: buffer(RECEIVE_BUFFER_MIN) }),
  integer(L.SO_SNDBUF, { setting: 'sendBufferBytes', unit: 0.5, adjust: buffer(SEND_BUFFER_MIN) }),
  integer(L.SO_RCVLOWAT, {
    initial: 1,
    adjust: (asked) => Math.min(asked < 0 ? INT_MAX : Math.max(asked, 1), BUFFER_MAX),
  }),
  integer(L.SO_MAX_PACING_RATE, {
    initial: 2 ** 32 - 1, // no limit
    most: Number.MAX_SAFE_INTEGER,
    setting: 'maxPacingRate',
    adjust: (asked) => (asked < 0 ? asked >>> 0 : asked),
  }),
  time(L.SO_RCVTIMEO),
  time(L.SO_SNDTIMEO),
  row('linger', L.SOL_SOCKET)(L.SO_LINGER),
  row('text', L.SOL_SOCKET)(L.SO_BINDTODEVICE),
  fixed(L.SO_TYPE),
  fixed(L.SO_ERROR),
  fixed(L.SO_SNDLOWAT, { initial: 1 }),
  fixed(L.SO_ACCEPTCONN),
  fixed(L.SO_PROTOCOL),
  fixed(L.SO_DOMAIN),
  fixed(L.SO_MEMINFO),

  tcpFlag(L.TCP_NODELAY, { setting: 'noDelay' }),
  tcpFlag(L.TCP_CORK, { setting: 'cork' }),
  tcp(L.TCP_QUICKACK, { initial: 1 }),
  tcp(L.TCP_INQ, { least: 0, most: 1 }),
  tcp(L.TCP_THIN_LINEAR_TIMEOUTS, { least: 0, most: 1, setting: 'thinLinearTimeouts' }),
  tcp(L.TCP_THIN_DUPACK, { least: 0, most: 1 }), // of no effect in Linux either, since 4.15
  // TCP_MIN_MSS to MAX_TCP_WINDOW; 0: whatever the path allows.
  tcp(L.TCP_MAXSEG, {
    initial: 536,
    setting: 'mssMax',
    allows: (asked) => asked === 0 || (asked >= 88 && asked <= 32_767),
  }),
  tcp(L.TCP_KEEPIDLE, { initial: 7200, least: 1, most: 32_767 }),
  tcp(L.TCP_KEEPINTVL, { least: 1, most: 32_767, setting: 'keepAliveIntervalMs', unit: 1000 }),
  tcp(L.TCP_KEEPCNT, { least: 1, most: 127, setting: 'keepAliveProbesMax' }),
  tcp(L.TCP_SYNCNT, { least: 1, most: 127, setting: 'synRetriesMax' }),
  tcp(L.TCP_LINGER2, { setting: 'finWait2Ms', unit: 1000, adjust: lingerSeconds }),
  tcp(L.TCP_FASTOPEN, { least: 0, setting: 'fastOpenBacklog' }),
  tcp(L.TCP_FASTOPEN_CONNECT, { least: 0, most: 1, setting: 'fastOpen' }),
  tcp(L.TCP_FASTOPEN_NO_COOKIE, { least: 0, most: 1 }),
  row('key', L.SOL_TCP, { only: 'stream' })(L.TCP_FASTOPEN_KEY, { setting: 'fastOpenKey' }),
  tcp(L.TCP_DEFER_ACCEPT, { setting: 'deferAcceptMs', unit: 1000, adjust: deferSeconds }),
  tcp(L.TCP_WINDOW_CLAMP, {
    setting: 'windowClampBytes',
    adjust: (asked) => (asked === 0 ? 0 : Math.max(asked, RECEIVE_BUFFER_MIN / 2)),
  }),
  tcp(L.TCP_USER_TIMEOUT, { least: 0, setting: 'userTimeoutMs' }),
  tcp(L.TCP_NOTSENT_LOWAT, { setting: 'notSentLowBytes' }),
  tcp(L.TCP_RTO_MAX_MS, { least: 1000, most: 120_000, setting: 'rtoMaxMs' }),
  tcp(L.TCP_RTO_MIN_US, { least: 1, setting: 'rtoMinMs', unit: 0.001 }),
  tcp(L.TCP_DELACK_MAX_US, { least: 1, setting: 'delayedAckMs', unit: 0.001 }),
  tcp(L.TCP_TIMESTAMP, { refusal: 'EPERM' }),
  tcp(L.TCP_INFO, { refusal: 'ENOPROTOOPT' }),
  row('text', L.SOL_TCP, { only: 'stream' })(L.TCP_CONGESTION, { setting: 'congestion' }),
  row('flag', L.SOL_UDP, { only: 'datagram' })(L.UDP_CORK),

  ip(L.IP_TOS, { setting: 'tos', adjust: (asked) => asked & 0xff }),
  ip(L.IP_TTL, { ...HOPS, allows: (asked) => asked !== 0 }),
  ip(L.IP_MINTTL, { least: 0, most: 255, setting: 'minTtl' }),
  ip(L.IP_MTU_DISCOVER, { initial: L.IP_PMTUDISC_WANT, least: 0, most: 5, setting: 'pathMtuDiscovery' }),
  ip(L.IP_MTU, { refusal: 'ENOPROTOOPT' }),
  row('flag', L.SOL_IP, { only: 'raw' })(L.IP_HDRINCL),
  ipFlag(L.IP_RECVERR),
  ipFlag(L.IP_RECVTTL),
  ipFlag(L.IP_RECVTOS),
  ipFlag(L.IP_PKTINFO),
  ip6(L.IPV6_TCLASS, { least: -1, most: 255, setting: 'tos', adjust: (asked) => Math.max(asked, 0) }),
  ip6(L.IPV6_UNICAST_HOPS, HOPS),
  ip6(L.IPV6_MINHOPCOUNT, { least: 0, most: 255, setting: 'minHopLimit' }),
  ip6(L.IPV6_MTU_DISCOVER, { initial: L.IP_PMTUDISC_WANT, least: 0, most: 5, setting: 'pathMtuDiscovery' }),
  ...MEMBERSHIPS.map(({ level, name }) => row('membership', level, { only: 'datagram' })(name)),
  ip(L.IP_MULTICAST_TTL, { ...GROUP_HOPS, only: 'datagram' }),
  ipFlag(L.IP_MULTICAST_LOOP, { initial: 1, only: 'datagram', setting: 'multicastLoopback' }),
  ipFlag(L.IP_MULTICAST_ALL, { initial: 1, only: 'datagram', setting: 'multicastAll' }),
  row('text', L.SOL_IP, { only: 'datagram', setting: 'multicastInterface' })(L.IP_MULTICAST_IF),
  ip6(L.IPV6_MULTICAST_HOPS, { ...GROUP_HOPS, only: 'datagram' }),
  ip6Flag(L.IPV6_MULTICAST_LOOP, { initial: 1, only: 'datagram', setting: 'multicastLoopback' }),
  ip6Flag(L.IPV6_MULTICAST_ALL, { initial: 1, only: 'datagram', setting: 'multicastAll' }),
  ip6(L.IPV6_MULTICAST_IF, { least: 0, only: 'datagram', setting: 'multicastInterface' }),
  ip6(L.IPV6_MTU, { refusal: 'ENOPROTOOPT' }),
  ip6Flag(L.IPV6_RECVERR),
  ip6Flag(L.IPV6_RECVPKTINFO),
  ip6Flag(L.IPV6_RECVHOPLIMIT),
  ip6Flag(L.IPV6_RECVTCLASS),
  ip6Flag(L.IPV6_V6ONLY),
];

const keyOf = (level: number, name: number): number => level * 0x10000 + name;
const TABLE = new Map(ROWS.map((option) => [keyOf(option.level, option.name), option]));
/** Names that mean the same thing as another. */
const SAME: Readonly<Record<number, number>> = {
  [keyOf(L.SOL_SOCKET, L.SO_RCVBUFFORCE)]: keyOf(L.SOL_SOCKET, L.SO_RCVBUF),
  [keyOf(L.SOL_SOCKET, L.SO_SNDBUFFORCE)]: keyOf(L.SOL_SOCKET, L.SO_SNDBUF),
  [keyOf(L.SOL_SOCKET, L.SO_RCVTIMEO_NEW)]: keyOf(L.SOL_SOCKET, L.SO_RCVTIMEO),
  [keyOf(L.SOL_SOCKET, L.SO_SNDTIMEO_NEW)]: keyOf(L.SOL_SOCKET, L.SO_SNDTIMEO),
};

/** The options that have a setting of this name behind them, with the names of the settings. */
export const OPTION_SETTINGS: readonly { readonly level: number; readonly name: number; readonly setting: string }[] =
  ROWS.flatMap(({ level, name, setting }) => (setting === null ? [] : [{ level, name, setting }]));

/** What the options of one socket are set to. */
export class OptionStore {
  readonly #domain: number;
  readonly #kind: 'stream' | 'datagram' | 'raw';
  readonly #values: Map<Option, number | string | Linger | Timeval>;

  constructor(domain: number, kind: 'stream' | 'datagram' | 'raw', from?: OptionStore) {
    this.#domain = domain;
    this.#kind = kind;
    this.#values = new Map(from === undefined ? [] : from.#values);
  }

  /** A copy: what an accepted socket has from its listener. */
  copy(): OptionStore {
    return new OptionStore(this.#domain, this.#kind, this);
  }

  /**
   * The option that a call names.
   * @param unknownLevel - what such a level is answered with: setsockopt and getsockopt differ
   * @throws NetError ENOPROTOOPT, or `unknownLevel`
   */
  find(syscall: string, level: number, name: number, unknownLevel: ErrorCode): Option {
    if (!this.#hasLevel(level)) throw new NetError(unknownLevel, syscall);
    const key = keyOf(level, name);
    const option = TABLE.get(SAME[key] ?? key);
    if (option === undefined || (option.only !== null && option.only !== this.#kind)) {
      throw new NetError('ENOPROTOOPT', syscall);
    }
    return option;
  }

  #hasLevel(level: number): boolean {
    if (level === L.SOL_TCP) return this.#kind === 'stream';
    if (level === L.SOL_UDP) return this.#kind === 'datagram';
    if (level === L.SOL_IPV6) return this.#domain === L.AF_INET6;
    return level === L.SOL_SOCKET || level === L.SOL_IP;
  }

  /** Takes `value` as it is. */
  set(option: Option, value: number | string | Linger | Timeval): void {
    // __sock_set_timestamps() of Linux: there is one kind of time at most, and any of them ends it.
    if (option.level === L.SOL_SOCKET && TIMESTAMP_OPTIONS.includes(option.name)) {
      for (const name of TIMESTAMP_OPTIONS) this.#values.delete(TABLE.get(keyOf(L.SOL_SOCKET, name))!);
    }
    this.#values.set(option, value);
  }

  /** What was set, or undefined. */
  get(option: Option): number | string | Linger | Timeval | undefined {
    return this.#values.get(option);
  }

  /** An integer of the level SOL_SOCKET or another, or what it is initially. */
  number(level: number, name: number): number {
    const option = TABLE.get(keyOf(level, name))!;
    const value = this.#values.get(option);
    return typeof value === 'number' ? value : option.initial;
  }

  isOn(level: number, name: number): boolean {
    return this.number(level, name) !== 0;
  }

  get linger(): Linger {
    return (this.#values.get(TABLE.get(keyOf(L.SOL_SOCKET, L.SO_LINGER))!) as Linger) ?? { onoff: 0, linger: 0 };
  }

  /** SO_RCVTIMEO or SO_SNDTIMEO in ms; 0 in it means for ever. */
  timeoutMs(name: number): number {
    const value = this.#values.get(TABLE.get(keyOf(L.SOL_SOCKET, name))!) as Timeval | undefined;
    const ms = value === undefined ? 0 : value.sec * 1000 + value.usec / 1000;
    return ms === 0 ? Number.POSITIVE_INFINITY : ms;
  }
}

/**
 * What Linux makes of `input` as a value of `option`.
 * @throws NetError EINVAL: of another form or out of range; EDOM: microseconds that are none
 */
export function parseOption(option: Option, input: OptionInput): number | string | Linger | Timeval {
  if (option.refusal !== null) throw new NetError(option.refusal, 'setsockopt');
  switch (option.kind) {
    case 'linger':
      if (typeof input !== 'object' || !('onoff' in input)) break;
      return { onoff: input.onoff === 0 ? 0 : 1, linger: input.linger };
    case 'time':
      if (typeof input !== 'object' || !('sec' in input)) break;
      if (!(input.usec >= 0 && input.usec < 1_000_000)) throw new NetError('EDOM', 'setsockopt');
      return input.sec < 0 ? { sec: 0, usec: 0 } : { sec: input.sec, usec: input.usec };
    case 'text':
      if (typeof input === 'string') return input;
      if (!(input instanceof Uint8Array)) break;
      return option.level === L.SOL_IP ? interfaceOf(input) : textOf(input);
    case 'key':
      return keysOf(input);
    default:
      return parseInteger(option, input);
  }
  throw new NetError('EINVAL', 'setsockopt');
}

const KEY_BYTES = 16;

/** One key or two, of 16 bytes each: as the setting writes them, in hexadecimal, with a comma between. */
function keysOf(input: OptionInput): string {
  const isOne = input instanceof Uint8Array && input.length === KEY_BYTES;
  if (!isOne && !(input instanceof Uint8Array && input.length === 2 * KEY_BYTES))
    throw new NetError('EINVAL', 'setsockopt');
  const digits = Array.from(input, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return isOne ? digits : `${digits.slice(0, 2 * KEY_BYTES)},${digits.slice(2 * KEY_BYTES)}`;
}

const textOf = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0);
  return String.fromCharCode(...(end < 0 ? bytes : bytes.subarray(0, end)));
};

function parseInteger(option: Option, input: OptionInput): number {
  const value = input instanceof Uint8Array ? integerOf(option, input) : input;
  if (typeof value !== 'number' || !Number.isInteger(value)) throw new NetError('EINVAL', 'setsockopt');
  if (option.kind === 'flag') return value === 0 ? 0 : 1;
  const { least, most, allows, adjust } = option;
  if (value < least || value > most || allows?.(value) === false) throw new NetError('EINVAL', 'setsockopt');
  return adjust === null ? value : adjust(value);
}

/** Four bytes; at the level of IP one is enough. */
function integerOf(option: Option, bytes: Uint8Array): number {
  if (bytes.length >= 4) return new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true);
  if (option.level === L.SOL_IP && bytes.length >= 1) return bytes[0]!;
  throw new NetError('EINVAL', 'setsockopt');
}
