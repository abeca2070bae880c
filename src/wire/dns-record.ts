/**
 * Resource records: RFC 1035 §3.2 and §3.3, AAAA RFC 3596, SRV RFC 2782, NSEC RFC 4034 §4, unknown types RFC 3597. OPT
 * is part of the message (`dns.ts`). Not here on purpose: DNSSEC's other records, which are kept as bytes. @module
 */
import { IpAddress, wireWord } from './address.ts';
import { absolute, type Cursor, readName } from './dns-name.ts';

const TYPES = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  DNAME: 39,
  OPT: 41,
  DS: 43,
  RRSIG: 46,
  NSEC: 47,
  DNSKEY: 48,
  SVCB: 64,
  HTTPS: 65,
  AXFR: 252,
  ANY: 255,
  CAA: 257,
} as const;

export const CLASS_IN = 1;
export const CLASS_ANY = 255;
/** RFC 2181 §8: TTLs have 31 bits; one with the high bit counts as zero. */
const TTL_MAX = 0x7fffffff;
const A_BYTES = 4;
const AAAA_BYTES = 16;
const SOA_NUMBERS_BYTES = 20; // five u32

/** The name of a type; those without one are `TYPE123` (RFC 3597 §5). */
export type RecordType = keyof typeof TYPES | `TYPE${number}`;

const NAMES = new Map<number, RecordType>(Object.entries(TYPES).map(([name, number]) => [number, name as RecordType]));

/** The name of a type's number. */
export const typeName = (type: number): RecordType => NAMES.get(type) ?? `TYPE${type}`;

/** The number of a type's name, in any case, or -1. */
export function typeNumber(name: string): number {
  const upper = name.toUpperCase();
  if (Object.hasOwn(TYPES, upper)) return TYPES[upper as keyof typeof TYPES];
  const match = /^TYPE(\d{1,5})$/.exec(upper);
  return match !== null && Number(match[1]) <= 0xffff ? Number(match[1]) : -1;
}

/** What a record says, by its type. */
export type RecordData =
  | { readonly type: 'A' | 'AAAA'; readonly address: IpAddress }
  | { readonly type: 'CNAME' | 'DNAME' | 'NS' | 'PTR'; readonly target: string }
  | { readonly type: 'MX'; readonly preference: number; readonly exchange: string }
  | { readonly type: 'TXT'; readonly strings: readonly Uint8Array[] }
  | {
      readonly type: 'SRV';
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly target: string;
    }
  | {
      readonly type: 'SOA';
      readonly primary: string;
      readonly mailbox: string;
      readonly serial: number;
      /** Seconds. */
      readonly refresh: number;
      readonly retry: number;
      readonly expire: number;
      /** Seconds that a negative answer lasts: RFC 2308 §4. */
      readonly minimum: number;
    }
  | { readonly type: 'NSEC'; readonly next: string; readonly types: readonly RecordType[] }
  | { readonly type: Exclude<RecordType, ParsedType>; readonly data: Uint8Array };

type ParsedType = 'A' | 'AAAA' | 'CNAME' | 'DNAME' | 'NS' | 'PTR' | 'MX' | 'TXT' | 'SRV' | 'SOA' | 'NSEC';

/** A record: whose it is, how long it lasts, and what it says. */
export type ResourceRecord = {
  readonly name: string;
  /** Without mDNS's bit. */
  readonly class: number;
  /** Seconds. */
  readonly ttl: number;
  /** mDNS: this and its like are all there is (RFC 6762 §10.2). */
  readonly flush: boolean;
} & RecordData;

/** The records of one type. */
export type RecordOf<T extends RecordType> = ResourceRecord & { readonly type: T };

/** A record of class IN that lives `ttl` seconds. */
export const record = (name: string, ttl: number, data: RecordData): ResourceRecord => ({
  name,
  class: CLASS_IN,
  ttl,
  flush: false,
  ...data,
});

/** RFC 6762 §10.2 and §5.4: mDNS uses the top bit of the class. */
export const CLASS_TOP_BIT = 0x8000;

type Failed = 'dns-bad-record';

/** Reads a record at the cursor: null for a cut message or a bad name (see `drop`), or why it is no good. */
export function readRecord(c: Cursor, dv: DataView): ResourceRecord | Failed | null {
  const name = readName(c);
  if (name === null) return null;
  if (c.end - c.at < 10) return cut(c);
  const type = typeName(dv.getUint16(c.at));
  const classBits = dv.getUint16(c.at + 2);
  const ttl = dv.getUint32(c.at + 4);
  const length = dv.getUint16(c.at + 8);
  c.at += 10;
  const end = c.at + length;
  if (end > c.end) return cut(c);
  const data = readData(c, dv, type, end);
  if (data === null || data === 'dns-bad-record') return data;
  if (c.at !== end) return 'dns-bad-record';
  // OPT uses class and TTL for other things: RFC 6891 §6.1.2.
  if (type === 'OPT') return { name, class: classBits, ttl, flush: false, ...data };
  return {
    name,
    class: classBits & ~CLASS_TOP_BIT,
    ttl: ttl > TTL_MAX ? 0 : ttl,
    flush: (classBits & CLASS_TOP_BIT) !== 0,
    ...data,
  };
}

function cut(c: Cursor): null {
  c.drop = 'dns-truncated';
  return null;
}

function readData(c: Cursor, dv: DataView, type: RecordType, end: number): RecordData | Failed | null {
  const { at } = c;
  const length = end - at;
  switch (type) {
    case 'A':
      if (length !== A_BYTES) return 'dns-bad-record';
      c.at = end;
      return { type, address: IpAddress.v4(dv.getInt32(at)) };
    case 'AAAA': {
      if (length !== AAAA_BYTES) return 'dns-bad-record';
      c.at = end;
      const word = (i: number): number => dv.getInt32(at + 4 * i);
      return { type, address: new IpAddress(word(0), word(1), word(2), word(3)) };
    }
    case 'CNAME':
    case 'DNAME':
    case 'NS':
    case 'PTR': {
      const target = readName(c);
      return target === null ? null : { type, target };
    }
    case 'MX': {
      if (length < 3) return 'dns-bad-record';
      c.at += 2;
      const exchange = readName(c);
      return exchange === null ? null : { type, preference: dv.getUint16(at), exchange };
    }
    case 'SRV': {
      if (length < 7) return 'dns-bad-record';
      c.at += 6;
      const target = readName(c);
      if (target === null) return null;
      const [priority, weight, port] = [dv.getUint16(at), dv.getUint16(at + 2), dv.getUint16(at + 4)];
      return { type, priority, weight, port, target };
    }
    case 'TXT':
      return readStrings(c, end);
    case 'SOA':
      return readSoa(c, dv, end);
    case 'NSEC':
      return readNsec(c, end);
    default:
      c.at = end;
      return { type, data: c.u8.slice(at, end) };
  }
}

function readStrings(c: Cursor, end: number): RecordData | Failed {
  const strings: Uint8Array[] = [];
  while (c.at < end) {
    const from = c.at + 1;
    const to = from + c.u8[c.at]!;
    if (to > end) return 'dns-bad-record';
    strings.push(c.u8.slice(from, to));
    c.at = to;
  }
  // RFC 1035 §3.3.14: one or more; RFC 6763 §6.1: receivers treat none as one empty string.
  return { type: 'TXT', strings: strings.length === 0 ? [new Uint8Array(0)] : strings };
}

function readSoa(c: Cursor, dv: DataView, end: number): RecordData | Failed | null {
  const primary = readName(c);
  if (primary === null) return null;
  const mailbox = readName(c);
  if (mailbox === null) return null;
  if (end - c.at !== SOA_NUMBERS_BYTES) return 'dns-bad-record';
  const at = c.at;
  const word = (i: number): number => dv.getUint32(at + 4 * i);
  c.at = end;
  const [serial, refresh, retry, expire, minimum] = [word(0), word(1), word(2), word(3), word(4)];
  return { type: 'SOA', primary, mailbox, serial, refresh, retry, expire, minimum };
}

/** RFC 4034 §4.1.2: windows of up to 32 bytes, each bit a type. */
function readNsec(c: Cursor, end: number): RecordData | Failed | null {
  const next = readName(c);
  if (next === null) return null;
  const types: RecordType[] = [];
  while (c.at < end) {
    if (end - c.at < 2) return 'dns-bad-record';
    const window = c.u8[c.at]! << 8;
    const length = c.u8[c.at + 1]!;
    c.at += 2;
    if (length < 1 || length > 32 || c.at + length > end) return 'dns-bad-record';
    for (let bit = 0; bit < 8 * length; bit++) {
      if ((c.u8[c.at + (bit >> 3)]! & (0x80 >> (bit & 7))) !== 0) types.push(typeName(window | bit));
    }
    c.at += length;
  }
  return { type: 'NSEC', next, types };
}

/** Where records are written. */
export interface Sink {
  u8(value: number): void;
  u16(value: number): void;
  u32(value: number): void;
  bytes(data: Uint8Array): void;
  /** @param compress - whether it may point back at an earlier name */
  name(name: string, compress: boolean): void;
}

/** Writes what a record says. @param compressAll - also where only mDNS allows it: RFC 6762 §18.14 */
export function writeData(s: Sink, data: RecordData, compressAll: boolean): void {
  switch (data.type) {
    case 'A':
      s.u32(data.address.d);
      return;
    case 'AAAA':
      writeAaaa(s, data.address);
      return;
    case 'CNAME':
    case 'NS':
    case 'PTR':
      s.name(data.target, true);
      return;
    case 'DNAME':
      s.name(data.target, compressAll);
      return;
    case 'MX':
      s.u16(data.preference);
      s.name(data.exchange, true);
      return;
    case 'SRV':
      s.u16(data.priority);
      s.u16(data.weight);
      s.u16(data.port);
      s.name(data.target, compressAll); // RFC 2782: "name compression is not to be used for this field"
      return;
    case 'TXT':
      for (const bytes of data.strings.length === 0 ? [new Uint8Array(0)] : data.strings) writeString(s, bytes);
      return;
    case 'SOA':
      s.name(data.primary, true);
      s.name(data.mailbox, true);
      for (const word of [data.serial, data.refresh, data.retry, data.expire, data.minimum]) s.u32(word);
      return;
    case 'NSEC':
      s.name(data.next, compressAll); // RFC 4034 §4.1.1: not compressed
      writeBitmap(s, data.types);
      return;
    default:
      s.bytes(data.data);
  }
}

/** Zones are this host's own business: RFC 4007 §11. */
function writeAaaa(s: Sink, { a, b, c, d }: IpAddress): void {
  for (const word of [a, wireWord(a, b), c, d]) s.u32(word);
}

function writeString(s: Sink, bytes: Uint8Array): void {
  if (bytes.length > 255) throw new RangeError(`TXT: expected strings of at most 255 bytes, got ${bytes.length}`);
  s.u8(bytes.length);
  s.bytes(bytes);
}

function writeBitmap(s: Sink, types: readonly RecordType[]): void {
  const numbers = types.map(typeNumber).sort((a, b) => a - b);
  for (let at = 0; at < numbers.length; ) {
    const window = numbers[at]! >> 8;
    const bits = new Uint8Array(32);
    let length = 0;
    for (; at < numbers.length && numbers[at]! >> 8 === window; at++) {
      const bit = numbers[at]! & 0xff;
      bits[bit >> 3]! |= 0x80 >> (bit & 7);
      length = (bit >> 3) + 1;
    }
    s.u8(window);
    s.u8(length);
    s.bytes(bits.subarray(0, length));
  }
}

const decoder = new TextDecoder();

/** A string of a TXT record in quotes: RFC 1035 §5.1. */
function quoted(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) {
    const c = String.fromCharCode(byte);
    if (c === '"' || c === '\\') text += `\\${c}`;
    else text += byte < 0x20 || byte >= 0x7f ? `\\${String(byte).padStart(3, '0')}` : c;
  }
  return `"${text}"`;
}

/** What a record says, as zone files and dig write it. */
export function formatData(data: RecordData): string {
  switch (data.type) {
    case 'A':
    case 'AAAA':
      return data.address.toString();
    case 'CNAME':
    case 'DNAME':
    case 'NS':
    case 'PTR':
      return absolute(data.target);
    case 'MX':
      return `${data.preference} ${absolute(data.exchange)}`;
    case 'SRV':
      return `${data.priority} ${data.weight} ${data.port} ${absolute(data.target)}`;
    case 'TXT':
      return data.strings.map(quoted).join(' ');
    case 'SOA': {
      const { serial, refresh, retry, expire, minimum } = data;
      return `${absolute(data.primary)} ${absolute(data.mailbox)} ${serial} ${refresh} ${retry} ${expire} ${minimum}`;
    }
    case 'NSEC':
      return [absolute(data.next), ...data.types].join(' ');
    default: {
      // RFC 3597 §5.
      const hex = [...data.data].map((byte) => byte.toString(16).padStart(2, '0')).join('');
      return `\\# ${data.data.length}${hex === '' ? '' : ` ${hex}`}`;
    }
  }
}

/** The strings of a TXT record as text. */
export const textOf = (data: RecordOf<'TXT'>): string[] => data.strings.map((bytes) => decoder.decode(bytes));
