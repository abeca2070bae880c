/**
 * DHCP for IPv4: RFC 2131 §2 (the message), RFC 2132 (options), RFC 3396 (long options), RFC 3442 (classless routes),
 * RFC 3397 (search list), RFC 4361 (client identifiers). Ethernet addresses only. Boot file names and server names are
 * not read; their fields serve as room for options (RFC 2132 §9.3). @module
 */
import { Cidr, formatMac, formatV4, IpAddress, type MacAddress } from './address.ts';
import { encodeNames, parseNames } from './domain-names.ts';

const OP = 0; // u8
const HARDWARE = 1; // u8 type, u8 length, u8 hops
const XID = 4; // u32
const SECS = 8; // u16
const FLAGS = 10; // u16
const CIADDR = 12; // u32
const YIADDR = 16; // u32
const SIADDR = 20; // u32
const GIADDR = 24; // u32
const CHADDR = 28; // 16 bytes
const SNAME = 44; // 64 bytes
const FILE = 108; // 128 bytes
const COOKIE = 236; // u32
export const OPTIONS_OFFSET = 240;

const HARDWARE_ETHERNET = 0x0106;
const MAGIC = 0x63825363;
const BROADCAST_FLAG = 0x8000;
/** RFC 1542 §2.1: some relays drop what is shorter. */
export const MESSAGE_MIN = 300;
/** RFC 2131 §2: what every client must take: 576 bytes of IP packet. */
export const MESSAGE_MAX_DEFAULT = 548;

export const SERVER_PORT = 67;
export const CLIENT_PORT = 68;

export const BOOTREQUEST = 1;
export const BOOTREPLY = 2;

// RFC 2132 §9.6.
export const DISCOVER = 1;
export const OFFER = 2;
export const REQUEST = 3;
export const DECLINE = 4;
export const ACK = 5;
export const NAK = 6;
export const RELEASE = 7;
export const INFORM = 8;
const NAMES = ['', 'Discover', 'Offer', 'Request', 'Decline', 'ACK', 'NACK', 'Release', 'Inform'];

/** Option codes. */
export const OPTION = {
  pad: 0,
  subnetMask: 1,
  routers: 3,
  dnsServers: 6,
  hostName: 12,
  domainName: 15,
  mtu: 26,
  broadcast: 28,
  ntpServers: 42,
  requestedAddress: 50,
  leaseTime: 51,
  overload: 52,
  messageType: 53,
  serverId: 54,
  parameterList: 55,
  message: 56,
  maxMessageSize: 57,
  renewalTime: 58,
  rebindingTime: 59,
  clientId: 61,
  rapidCommit: 80,
  domainSearch: 119,
  classlessRoutes: 121,
  end: 255,
} as const;

/** The lease time that never ends: RFC 2131 §3.3. */
export const INFINITE = 0xffff_ffff;

/** Why a message was dropped. */
export type Drop = 'dhcp-truncated' | 'dhcp-bad-hardware' | 'dhcp-bad-cookie' | 'dhcp-bad-options';

export const op = (dv: DataView, p: number): number => dv.getUint8(p + OP);
export const xid = (dv: DataView, p: number): number => dv.getUint32(p + XID);
export const secs = (dv: DataView, p: number): number => dv.getUint16(p + SECS);
export const isBroadcast = (dv: DataView, p: number): boolean => (dv.getUint16(p + FLAGS) & BROADCAST_FLAG) !== 0;
export const ciaddr = (dv: DataView, p: number): number => dv.getInt32(p + CIADDR);
export const yiaddr = (dv: DataView, p: number): number => dv.getInt32(p + YIADDR);
export const siaddr = (dv: DataView, p: number): number => dv.getInt32(p + SIADDR);
export const giaddr = (dv: DataView, p: number): number => dv.getInt32(p + GIADDR);
export const chaddrHigh = (dv: DataView, p: number): number => dv.getUint16(p + CHADDR);
export const chaddrLow = (dv: DataView, p: number): number => dv.getInt32(p + CHADDR + 2);

/** Options by code, each in one piece: RFC 3396. */
export type Options = ReadonlyMap<number, Uint8Array>;
/** An option to send. */
export type Option = readonly [code: number, value: Uint8Array];

/** Says why the message in `[p, end)` must be dropped, or null. After null no accessor reads out of bounds. */
export function check(dv: DataView, p: number, end: number): Drop | null {
  if (end - p < OPTIONS_OFFSET) return 'dhcp-truncated';
  if (dv.getUint16(p + HARDWARE) !== HARDWARE_ETHERNET) return 'dhcp-bad-hardware';
  if (dv.getUint32(p + COOKIE) !== MAGIC) return 'dhcp-bad-cookie';
  return areas(dv, p, end) === null ? 'dhcp-bad-options' : null;
}

/** Notes where each option of a field stands; false where one runs over its end. A missing end mark is forgiven. */
function note(dv: DataView, from: number, end: number, places: Map<number, number[]>): boolean {
  for (let p = from; p < end; ) {
    const code = dv.getUint8(p);
    if (code === OPTION.end) return true;
    if (code === OPTION.pad) {
      p++;
      continue;
    }
    if (p + 2 > end || p + 2 + dv.getUint8(p + 1) > end) return false;
    const known = places.get(code);
    if (known === undefined) places.set(code, [p]);
    else known.push(p);
    p += 2 + dv.getUint8(p + 1);
  }
  return true;
}

/** Where the pieces of each option stand: RFC 3396 §5, the options field, then file, then sname. Null: malformed. */
function areas(dv: DataView, p: number, end: number): Map<number, number[]> | null {
  const places = new Map<number, number[]>();
  if (!note(dv, p + OPTIONS_OFFSET, end, places)) return null;
  // RFC 2132 §9.3: only what stands in the options field itself opens the others.
  const at = places.get(OPTION.overload)?.[0];
  const overload = at === undefined || dv.getUint8(at + 1) !== 1 ? 0 : dv.getUint8(at + 2);
  if ((overload & 1) !== 0 && !note(dv, p + FILE, p + COOKIE, places)) return null;
  if ((overload & 2) !== 0 && !note(dv, p + SNAME, p + FILE, places)) return null;
  return places;
}

/** The options of a message that {@link check} has let pass, as copies. */
export function parseOptions(dv: DataView, p: number, end: number): Options {
  const options = new Map<number, Uint8Array>();
  for (const [code, pieces] of areas(dv, p, end) ?? []) {
    const value = new Uint8Array(pieces.reduce((sum, at) => sum + dv.getUint8(at + 1), 0));
    let filled = 0;
    for (const at of pieces) {
      const length = dv.getUint8(at + 1);
      value.set(new Uint8Array(dv.buffer, dv.byteOffset + at + 2, length), filled);
      filled += length;
    }
    options.set(code, value);
  }
  return options;
}

const word = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;

/** Reads a number of `bytes` bytes; null where the option is missing or of another length. */
export function readNumber(options: Options, code: number, bytes: 1 | 2 | 4): number | null {
  const value = options.get(code);
  if (value === undefined || value.length !== bytes) return null;
  return value.reduce((sum, byte) => sum * 256 + byte, 0);
}

/** The message type, 0 where there is none: a BOOTP message. */
export const messageType = (options: Options): number => readNumber(options, OPTION.messageType, 1) ?? 0;

export function readIp(options: Options, code: number): IpAddress | null {
  const value = options.get(code);
  return value === undefined || value.length !== 4 ? null : IpAddress.v4(word(value, 0));
}

/** Addresses, none where the option is missing or its length no multiple of four. */
export function readIps(options: Options, code: number): IpAddress[] {
  const value = options.get(code);
  if (value === undefined || value.length % 4 !== 0) return [];
  return Array.from({ length: value.length / 4 }, (_, i) => IpAddress.v4(word(value, 4 * i)));
}

/** Text, without the zeros that some servers put behind it; null where it is missing, empty, or not printable ASCII. */
export function readText(options: Options, code: number): string | null {
  const value = options.get(code);
  if (value === undefined) return null;
  const text = String.fromCharCode(...value.subarray(0, 1024)).replace(/\0+$/, '');
  return /^[ -~]+$/.test(text) ? text : null;
}

/** RFC 3397. */
export function readDomains(options: Options): string[] {
  const value = options.get(OPTION.domainSearch);
  return (value === undefined ? null : parseNames(value)) ?? [];
}

/** A route of option 121; the router 0.0.0.0 says that the prefix is on the link. */
export interface ClasslessRoute {
  readonly prefix: Cidr;
  readonly router: IpAddress;
}

/** RFC 3442: null where the option is missing or malformed, and then the routers option counts. */
export function readRoutes(options: Options): ClasslessRoute[] | null {
  const value = options.get(OPTION.classlessRoutes);
  if (value === undefined) return null;
  const routes: ClasslessRoute[] = [];
  for (let at = 0; at < value.length; ) {
    const width = value[at]!;
    const octets = Math.ceil(width / 8);
    if (width > 32 || at + 1 + octets + 4 > value.length) return null;
    let destination = 0;
    for (let i = 0; i < octets; i++) destination |= value[at + 1 + i]! << (24 - 8 * i);
    // "the subnet number ... must be ANDed with the mask": what stands beyond the width counts for nothing.
    const mask = width === 0 ? 0 : -1 << (32 - width);
    const router = IpAddress.v4(word(value, at + 1 + octets));
    routes.push({ prefix: new Cidr(IpAddress.v4(destination & mask), width), router });
    at += 1 + octets + 4;
  }
  return routes.length > 0 ? routes : null;
}

export const numberOption = (code: number, value: number, bytes: 1 | 2 | 4): Option => [
  code,
  Uint8Array.from({ length: bytes }, (_, i) => (value / 2 ** (8 * (bytes - 1 - i))) & 0xff),
];

const octetsOfIp = ({ d }: IpAddress): number[] => [d >>> 24, (d >>> 16) & 0xff, (d >>> 8) & 0xff, d & 0xff];

export const ipOption = (code: number, ...addresses: readonly IpAddress[]): Option => [
  code,
  Uint8Array.from(addresses.flatMap(octetsOfIp)),
];

export const textOption = (code: number, text: string): Option => [
  code,
  Uint8Array.from(text, (char) => char.charCodeAt(0) & 0xff),
];

/** @throws RangeError for a name that is none */
export const domainsOption = (names: readonly string[]): Option => [OPTION.domainSearch, encodeNames(names)];

export function routesOption(routes: readonly ClasslessRoute[]): Option {
  const bytes: number[] = [];
  for (const { prefix, router } of routes) {
    const octets = Math.ceil(prefix.prefixLength / 8);
    bytes.push(prefix.prefixLength, ...octetsOfIp(prefix.address).slice(0, octets), ...octetsOfIp(router));
  }
  return [OPTION.classlessRoutes, Uint8Array.from(bytes)];
}

/** RFC 4361 §6.1: type 255, the IAID, and a DUID made of the link address (RFC 8415 §11.4). */
export function clientIdOf(mac: MacAddress): Uint8Array {
  const bytes = new Uint8Array(15);
  const dv = new DataView(bytes.buffer);
  bytes[0] = 255;
  dv.setInt32(1, mac.low); // the IAID: unique among the interfaces of a host
  dv.setUint16(5, 3); // DUID-LL
  dv.setUint16(7, 1); // Ethernet
  dv.setUint16(9, mac.high);
  dv.setInt32(11, mac.low);
  return bytes;
}

/** The fixed fields of a message; addresses as the int32 word of IPv4. */
export interface Header {
  readonly op: number;
  readonly xid: number;
  readonly mac: MacAddress;
  readonly secs?: number;
  readonly broadcast?: boolean;
  readonly ciaddr?: number;
  readonly yiaddr?: number;
  readonly siaddr?: number;
  readonly giaddr?: number;
}

/**
 * A whole message. What the options field has no room for goes to the fields of the file and the server's name (RFC 2132
 * §9.3), and what has no room there either is left out: the options stand in the order of their weight.
 * @param maxBytes - of the message, at least {@link MESSAGE_MAX_DEFAULT} counts
 */
export function encode(header: Header, options: readonly Option[], maxBytes = MESSAGE_MAX_DEFAULT): Uint8Array {
  const bytes = new Uint8Array(Math.max(maxBytes, MESSAGE_MAX_DEFAULT));
  const dv = new DataView(bytes.buffer);
  dv.setUint8(OP, header.op);
  dv.setUint16(HARDWARE, HARDWARE_ETHERNET);
  dv.setUint32(XID, header.xid);
  dv.setUint16(SECS, Math.min(header.secs ?? 0, 0xffff));
  dv.setUint16(FLAGS, header.broadcast ? BROADCAST_FLAG : 0);
  dv.setInt32(CIADDR, header.ciaddr ?? 0);
  dv.setInt32(YIADDR, header.yiaddr ?? 0);
  dv.setInt32(SIADDR, header.siaddr ?? 0);
  dv.setInt32(GIADDR, header.giaddr ?? 0);
  dv.setUint16(CHADDR, header.mac.high);
  dv.setInt32(CHADDR + 2, header.mac.low);
  dv.setUint32(COOKIE, MAGIC);
  const end = encodeOptions(bytes, options.flatMap(pieces));
  return bytes.subarray(0, Math.max(end, MESSAGE_MIN));
}

/** RFC 3396 §4: an option of more than 255 bytes goes in pieces. */
function pieces([code, value]: Option): Option[] {
  if (value.length <= 255) return [[code, value]];
  const count = Math.ceil(value.length / 255);
  return Array.from({ length: count }, (_, i) => [code, value.subarray(255 * i, 255 * (i + 1))]);
}

/** Writes the options; returns where the message ends. */
function encodeOptions(bytes: Uint8Array, options: readonly Option[]): number {
  const total = options.reduce((sum, [, value]) => sum + 2 + value.length, 1);
  const fits = OPTIONS_OFFSET + total <= bytes.length;
  const main: [number, number] = [OPTIONS_OFFSET, bytes.length];
  const fields: [number, number][] = fits ? [main] : [main, [FILE, COOKIE], [SNAME, FILE]];
  let overload = 0;
  let mainEnd = OPTIONS_OFFSET;
  let left = options;
  for (const [index, [from, end]] of fields.entries()) {
    // The first keeps three bytes for the overload option, each one for its end mark.
    let p = from;
    const most = end - 1 - (index === 0 && !fits ? 3 : 0);
    let taken = 0;
    while (taken < left.length && p + 2 + left[taken]![1].length <= most) {
      const [code, value] = left[taken++]!;
      bytes[p] = code;
      bytes[p + 1] = value.length;
      bytes.set(value, p + 2);
      p += 2 + value.length;
    }
    left = left.slice(taken);
    if (index === 0) mainEnd = p;
    else if (taken > 0) {
      bytes[p] = OPTION.end;
      overload |= index;
    }
  }
  if (overload !== 0) {
    bytes.set([OPTION.overload, 1, overload], mainEnd);
    mainEnd += 3;
  }
  bytes[mainEnd] = OPTION.end;
  return mainEnd + 1;
}

/** The name of a message type, as tcpdump has it. */
export const typeName = (type: number): string => NAMES[type] ?? `type ${type}`;

/** `BOOTP/DHCP, Request from 02:00:00:00:00:01, length 300, xid 0x1a2b3c4d, Discover`. */
export function format(dv: DataView, p: number, end: number): string {
  const drop = check(dv, p, end);
  if (drop !== null) return `BOOTP/DHCP [${drop}], length ${end - p}`;
  const from = ` from ${formatMac(chaddrHigh(dv, p), chaddrLow(dv, p))}`;
  const kind = op(dv, p) === BOOTREQUEST ? `Request${from}` : 'Reply';
  const parts = [`BOOTP/DHCP, ${kind}`, `length ${end - p}`, `xid 0x${xid(dv, p).toString(16)}`];
  const options = parseOptions(dv, p, end);
  const type = messageType(options);
  if (type !== 0) parts.push(typeName(type));
  const requested = readIp(options, OPTION.requestedAddress);
  if (requested !== null) parts.push(`requested ${requested}`);
  if (ciaddr(dv, p) !== 0) parts.push(`client ${formatV4(ciaddr(dv, p))}`);
  if (yiaddr(dv, p) !== 0) parts.push(`your ${formatV4(yiaddr(dv, p))}`);
  const server = readIp(options, OPTION.serverId);
  if (server !== null) parts.push(`server ${server}`);
  const lease = readNumber(options, OPTION.leaseTime, 4);
  if (lease !== null) parts.push(lease === INFINITE ? 'lease infinite' : `lease ${lease} s`);
  return parts.join(', ');
}
