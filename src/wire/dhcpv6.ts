/**
 * DHCP for IPv6: RFC 8415 §8 (the message), §21 (options), RFC 3646 (DNS). What a stateless exchange needs, and enough to
 * name the rest. Missing on purpose: relay messages, and options that assign addresses. @module
 */
import { IpAddress, type MacAddress } from './address.ts';
import { encodeNames, parseNames } from './domain-names.ts';

const TYPE = 0; // u8
const TRANSACTION = 0; // u24 behind the type
export const HEADER_LENGTH = 4;
const OPTION_CODE = 0; // u16
const OPTION_LENGTH = 2; // u16
const OPTION_HEADER = 4;
/** Options of a message that are looked at; more make it malformed. */
const OPTIONS_MAX = 256;

export const CLIENT_PORT = 546;
export const SERVER_PORT = 547;
/** RFC 8415 §7.1: ff02::1:2, and its Ethernet group. */
export const ALL_SERVERS = new IpAddress(0xff020000, 0, 0, 0x10002);

export const SOLICIT = 1;
export const REPLY = 7;
export const INFORMATION_REQUEST = 11;
const NAMES: Readonly<Record<number, string>> = {
  1: 'solicit',
  2: 'advertise',
  3: 'request',
  4: 'confirm',
  5: 'renew',
  6: 'rebind',
  7: 'reply',
  8: 'release',
  9: 'decline',
  10: 'reconfigure',
  11: 'inf-req',
  12: 'relay-fwd',
  13: 'relay-reply',
};
const RELAY_FIRST = 12;
const RELAY_LAST = 13;

/** Option codes. */
export const OPTION = {
  clientId: 1,
  serverId: 2,
  iaNa: 3,
  iaTa: 4,
  optionRequest: 6,
  elapsedTime: 8,
  statusCode: 13,
  rapidCommit: 14,
  dnsServers: 23,
  domainList: 24,
  iaPd: 25,
  sntpServers: 31,
  refreshTime: 32,
  solMaxRt: 82,
  infMaxRt: 83,
} as const;

/** Why a message was dropped. */
export type Drop = 'dhcp6-truncated' | 'dhcp6-bad-type' | 'dhcp6-bad-options';

export const type = (dv: DataView, p: number): number => dv.getUint8(p + TYPE);
export const transaction = (dv: DataView, p: number): number => dv.getUint32(p + TRANSACTION) & 0xff_ffff;

/** Options by code; of one that stands twice the first counts, for none that is read here may be repeated. */
export type Options = ReadonlyMap<number, Uint8Array>;
export type Option = readonly [code: number, value: Uint8Array];

/** Says why the message in `[p, end)` must be dropped, or null. After null no accessor reads out of bounds. */
export function check(dv: DataView, p: number, end: number): Drop | null {
  if (end - p < HEADER_LENGTH) return 'dhcp6-truncated';
  const kind = type(dv, p);
  if (NAMES[kind] === undefined || (kind >= RELAY_FIRST && kind <= RELAY_LAST)) return 'dhcp6-bad-type';
  let count = 0;
  for (let at = p + HEADER_LENGTH; at < end; count++) {
    if (count === OPTIONS_MAX || at + OPTION_HEADER > end) return 'dhcp6-bad-options';
    at += OPTION_HEADER + dv.getUint16(at + OPTION_LENGTH);
    if (at > end) return 'dhcp6-bad-options';
  }
  return null;
}

/** The options of a message that {@link check} has let pass, as copies. */
export function parseOptions(dv: DataView, p: number, end: number): Options {
  const options = new Map<number, Uint8Array>();
  for (let at = p + HEADER_LENGTH; at < end; ) {
    const length = dv.getUint16(at + OPTION_LENGTH);
    const code = dv.getUint16(at + OPTION_CODE);
    const value = new Uint8Array(dv.buffer, dv.byteOffset + at + OPTION_HEADER, length);
    if (!options.has(code)) options.set(code, value.slice());
    at += OPTION_HEADER + length;
  }
  return options;
}

/** Reads a u16 or u32; null where the option is missing or of another length. */
export function readNumber(options: Options, code: number, bytes: 2 | 4): number | null {
  const value = options.get(code);
  if (value === undefined || value.length !== bytes) return null;
  return value.reduce((sum, byte) => sum * 256 + byte, 0);
}

/** RFC 3646 §3: addresses, none where the option is missing or its length no multiple of sixteen. */
export function readIps(options: Options, code: number): IpAddress[] {
  const value = options.get(code);
  if (value === undefined || value.length % 16 !== 0) return [];
  const dv = new DataView(value.buffer, value.byteOffset, value.length);
  const addressAt = (p: number): IpAddress =>
    new IpAddress(dv.getInt32(p), dv.getInt32(p + 4), dv.getInt32(p + 8), dv.getInt32(p + 12));
  return Array.from({ length: value.length / 16 }, (_, i) => addressAt(16 * i));
}

/** RFC 3646 §4. */
export function readDomains(options: Options): string[] {
  const value = options.get(OPTION.domainList);
  return (value === undefined ? null : parseNames(value)) ?? [];
}

/** RFC 8415 §21.13: 0, success, where there is none. */
export function statusCode(options: Options): number {
  const value = options.get(OPTION.statusCode);
  return value === undefined || value.length < 2 ? 0 : (value[0]! << 8) | value[1]!;
}

/** Option codes that a client asks for: RFC 8415 §21.7. */
export function readRequested(options: Options): number[] {
  const value = options.get(OPTION.optionRequest) ?? new Uint8Array(0);
  return Array.from({ length: value.length >> 1 }, (_, i) => (value[2 * i]! << 8) | value[2 * i + 1]!);
}

export const numberOption = (code: number, value: number, bytes: 2 | 4): Option => [
  code,
  Uint8Array.from({ length: bytes }, (_, i) => (value / 2 ** (8 * (bytes - 1 - i))) & 0xff),
];

export const requestOption = (codes: readonly number[]): Option => [
  OPTION.optionRequest,
  Uint8Array.from(codes.flatMap((code) => [code >> 8, code & 0xff])),
];

export function ipsOption(code: number, addresses: readonly IpAddress[]): Option {
  const value = new Uint8Array(16 * addresses.length);
  const dv = new DataView(value.buffer);
  for (const [i, { a, b, c, d }] of addresses.entries()) {
    for (const [j, word] of [a, b, c, d].entries()) dv.setInt32(16 * i + 4 * j, word);
  }
  return [code, value];
}

/** @throws RangeError for a name that is none */
export const domainsOption = (names: readonly string[]): Option => [OPTION.domainList, encodeNames(names)];

/** A DUID made of the link address: RFC 8415 §11.4. */
export function duidOf(mac: MacAddress): Uint8Array {
  const bytes = new Uint8Array(10);
  const dv = new DataView(bytes.buffer);
  dv.setUint16(0, 3);
  dv.setUint16(2, 1); // Ethernet
  dv.setUint16(4, mac.high);
  dv.setInt32(6, mac.low);
  return bytes;
}

/** A whole message. */
export function encode(kind: number, transactionId: number, options: readonly Option[]): Uint8Array {
  const length = options.reduce((sum, [, value]) => sum + OPTION_HEADER + value.length, HEADER_LENGTH);
  const bytes = new Uint8Array(length);
  const dv = new DataView(bytes.buffer);
  dv.setUint32(TRANSACTION, (kind << 24) | (transactionId & 0xff_ffff));
  let p = HEADER_LENGTH;
  for (const [code, value] of options) {
    dv.setUint16(p + OPTION_CODE, code);
    dv.setUint16(p + OPTION_LENGTH, value.length);
    bytes.set(value, p + OPTION_HEADER);
    p += OPTION_HEADER + value.length;
  }
  return bytes;
}

/** `dhcp6 inf-req (xid=1a2b3c, length 40)`. */
export function format(dv: DataView, p: number, end: number): string {
  const drop = check(dv, p, end);
  if (drop !== null) return `dhcp6 [${drop}], length ${end - p}`;
  const id = transaction(dv, p).toString(16);
  return `dhcp6 ${NAMES[type(dv, p)]} (xid=${id}), length ${end - p}`;
}
