/** Structures of Linux's socket calls (x86-64) as bytes: addresses, values of options, TCP_INFO. @module */
import {
  LINUX as L,
  type Linger,
  type OptionInput,
  type OptionValue,
  type SockAddr,
  type Timeval,
} from '../../src/posix/index.ts';
import type { TcpInfo } from '../../src/tcp/info.ts';
import { IpAddress } from '../../src/wire/address.ts';

const SOCKADDR_IN = 16;
const SOCKADDR_IN6 = 28;
export const SOCKADDR_MAX = 128;

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A `sockaddr_in` or `sockaddr_in6`. */
export function encodeAddress({ family, address, port }: SockAddr): Uint8Array {
  const bytes = new Uint8Array(family === L.AF_INET6 ? SOCKADDR_IN6 : SOCKADDR_IN);
  const dv = viewOf(bytes);
  dv.setUint16(0, family, true);
  dv.setUint16(2, port);
  const isMapped = family === L.AF_INET6 && address.startsWith('::ffff:');
  const ip = IpAddress.parse(isMapped ? address.slice('::ffff:'.length) : address);
  if (family !== L.AF_INET6) {
    dv.setInt32(4, ip.d);
    return bytes;
  }
  const words = isMapped || ip.isV4 ? [0, 0, 0xffff, ip.d] : [ip.a, ip.b, ip.c, ip.d];
  for (const [i, word] of words.entries()) dv.setInt32(8 + 4 * i, word);
  return bytes;
}

export function decodeAddress(bytes: Uint8Array): SockAddr {
  const dv = viewOf(bytes);
  const family = dv.getUint16(0, true);
  const port = dv.getUint16(2);
  if (family !== L.AF_INET6) return { family, address: IpAddress.v4(dv.getInt32(4)).toString(), port };
  const [a, b, c, d] = [8, 12, 16, 20].map((at) => dv.getInt32(at)) as [number, number, number, number];
  return { family, address: new IpAddress(a, b, c, d).toString(), port };
}

/** What setsockopt is given. */
export function encodeOption(value: OptionInput): Uint8Array {
  if (typeof value === 'string') return new TextEncoder().encode(value);
  if (value instanceof Uint8Array) return value;
  if (typeof value === 'number') return new Uint8Array(Int32Array.of(value).buffer);
  if ('onoff' in value) return new Uint8Array(Int32Array.of(value.onoff, value.linger).buffer);
  if ('group' in value) throw new TypeError('option: expected a membership as bytes, got an object');
  return new Uint8Array(BigInt64Array.of(BigInt(value.sec), BigInt(value.usec)).buffer);
}

/** What getsockopt gave. */
export function decodeOption(level: number, name: number, bytes: Uint8Array): OptionValue {
  const dv = viewOf(bytes);
  if (level === L.SOL_TCP && name === L.TCP_INFO) return decodeInfo(dv);
  const isText = level === L.SOL_TCP ? name === L.TCP_CONGESTION : level === L.SOL_SOCKET && name === L.SO_BINDTODEVICE;
  if (isText) return new TextDecoder().decode(bytes).replace(/\0.*$/s, '');
  if (level === L.SOL_SOCKET && name === L.SO_LINGER) {
    return { onoff: dv.getInt32(0, true), linger: dv.getInt32(4, true) } satisfies Linger;
  }
  if (level === L.SOL_SOCKET && (name === L.SO_RCVTIMEO || name === L.SO_SNDTIMEO)) {
    return { sec: Number(dv.getBigInt64(0, true)), usec: Number(dv.getBigInt64(8, true)) } satisfies Timeval;
  }
  if (level === L.SOL_SOCKET && name === L.SO_MEMINFO) {
    return Array.from({ length: bytes.length >> 2 }, (_, i) => dv.getUint32(4 * i, true));
  }
  return bytes.length < 4 ? (bytes[0] ?? 0) : dv.getInt32(0, true);
}

/** struct tcp_info of linux/tcp.h: field, where it is, how many bytes it has. */
const BYTES = ['state', 'caState', 'retransmits', 'probes', 'backoff', 'options'] as const;
const WORDS = [
  ['rto', 'ato', 'sndMss', 'rcvMss', 'unacked', 'sacked', 'lost', 'retrans', 'fackets'],
  ['lastDataSent', 'lastAckSent', 'lastDataRecv', 'lastAckRecv', 'pmtu', 'rcvSsthresh', 'rtt', 'rttvar'],
  ['sndSsthresh', 'sndCwnd', 'advmss', 'reordering', 'rcvRtt', 'rcvSpace', 'totalRetrans'],
].flat() as (keyof TcpInfo)[];
const WORDS_START = 8;
const REST: readonly (readonly [keyof TcpInfo, number, number])[] = [
  ['pacingRate', 104, 8],
  ['maxPacingRate', 112, 8],
  ['bytesAcked', 120, 8],
  ['bytesReceived', 128, 8],
  ['segsOut', 136, 4],
  ['segsIn', 140, 4],
  ['notsentBytes', 144, 4],
  ['minRtt', 148, 4],
  ['dataSegsIn', 152, 4],
  ['dataSegsOut', 156, 4],
  ['deliveryRate', 160, 8],
  ['busyTime', 168, 8],
  ['rwndLimited', 176, 8],
  ['sndbufLimited', 184, 8],
  ['delivered', 192, 4],
  ['deliveredCe', 196, 4],
  ['bytesSent', 200, 8],
  ['bytesRetrans', 208, 8],
  ['dsackDups', 216, 4],
  ['reordSeen', 220, 4],
  ['rcvOoopack', 224, 4],
  ['sndWnd', 228, 4],
  ['rcvWnd', 232, 4],
  ['totalRto', 240, 2],
  ['totalRtoRecoveries', 242, 2],
  ['totalRtoTime', 244, 4],
];
/** The whole of it in Linux 6.18; an older kernel fills in less. */
const INFO_LENGTH = 280;
export const OPTION_MAX = INFO_LENGTH;

function decodeInfo(short: DataView): TcpInfo {
  const bytes = new Uint8Array(INFO_LENGTH);
  bytes.set(new Uint8Array(short.buffer, short.byteOffset, short.byteLength));
  const dv = viewOf(bytes);
  const info: Partial<Record<keyof TcpInfo, number>> = {};
  for (const [i, field] of BYTES.entries()) info[field] = bytes[i]!;
  info.sndWscale = bytes[6]! & 15;
  info.rcvWscale = bytes[6]! >> 4;
  info.deliveryRateAppLimited = bytes[7]! & 1;
  for (const [i, field] of WORDS.entries()) info[field] = dv.getUint32(WORDS_START + 4 * i, true);
  for (const [field, at, length] of REST) {
    if (length === 8) info[field] = Number(dv.getBigUint64(at, true));
    else info[field] = length === 4 ? dv.getUint32(at, true) : dv.getUint16(at, true);
  }
  return info as TcpInfo;
}
