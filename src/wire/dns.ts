/**
 * DNS messages: RFC 1035 §4, EDNS(0) RFC 6891, and the bits that mDNS gives another meaning (RFC 6762 §18). Names are in
 * `dns-name.ts`, records in `dns-record.ts`. Missing on purpose: dynamic update, zone transfer, DNSSEC. @module
 */
import { absolute, type Cursor, labelsOf, type NameDrop, readName } from './dns-name.ts';
import {
  CLASS_IN,
  CLASS_TOP_BIT,
  formatData,
  type RecordData,
  type RecordType,
  type ResourceRecord,
  readRecord,
  type Sink,
  typeName,
  typeNumber,
  writeData,
} from './dns-record.ts';

export * from './dns-name.ts';
export * from './dns-record.ts';

const ID = 0; // u16
const FLAGS = 2; // u16
const COUNTS = 4; // u16 each: questions, answers, authorities, additionals
export const HEADER_LENGTH = 12;

const FLAG_RESPONSE = 0x8000;
const OPCODE_SHIFT = 11; // 4 bits
const FLAG_AUTHORITATIVE = 0x0400;
const FLAG_TRUNCATED = 0x0200;
const FLAG_RECURSION_DESIRED = 0x0100;
const FLAG_RECURSION_AVAILABLE = 0x0080;
const FLAG_AUTHENTIC = 0x0020;
const FLAG_CHECKING_DISABLED = 0x0010;
const RCODE_MASK = 0x000f;

export const PORT = 53;
export const MDNS_PORT = 5353;
export const OPCODE_QUERY = 0;
/** What a message over UDP may have where nobody said more: RFC 1035 §4.2.1. */
export const UDP_BYTES = 512;
export const MESSAGE_BYTES_MAX = 65_535;
/** Questions and records of one message; with more it is dropped. A full message of the smallest answers has fewer. */
export const RECORDS_MAX = 4096;

export const NOERROR = 0;
export const FORMERR = 1;
export const SERVFAIL = 2;
export const NXDOMAIN = 3;
export const NOTIMP = 4;
export const REFUSED = 5;
export const BADVERS = 16;
const RCODES = ['NoError', 'FormErr', 'ServFail', 'NXDomain', 'NotImp', 'Refused'];

/** Why a message was dropped. */
export type Drop = NameDrop | 'dns-bad-record' | 'dns-too-many-records';

export interface Question {
  readonly name: string;
  readonly type: RecordType;
  readonly class: number;
  /** mDNS: a unicast answer is welcome (RFC 6762 §5.4). */
  readonly unicast: boolean;
}

/** RFC 6891 §6.1.3. */
export interface Edns {
  /** Bytes of UDP message the sender can take. */
  readonly payloadBytes: number;
  readonly version: number;
  readonly dnssecOk: boolean;
}

export interface Message {
  readonly id: number;
  readonly isResponse: boolean;
  readonly opcode: number;
  readonly isAuthoritative: boolean;
  readonly isTruncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  readonly authenticData: boolean;
  readonly checkingDisabled: boolean;
  /** With the eight high bits that EDNS adds. */
  readonly rcode: number;
  readonly questions: readonly Question[];
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  /** Without OPT. */
  readonly additionals: readonly ResourceRecord[];
  readonly edns: Edns | null;
}

const EMPTY: Message = {
  id: 0,
  isResponse: false,
  opcode: OPCODE_QUERY,
  isAuthoritative: false,
  isTruncated: false,
  recursionDesired: false,
  recursionAvailable: false,
  authenticData: false,
  checkingDisabled: false,
  rcode: NOERROR,
  questions: [],
  answers: [],
  authorities: [],
  additionals: [],
  edns: null,
};

export const question = (name: string, type: RecordType, unicast = false): Question => ({
  name,
  type,
  class: CLASS_IN,
  unicast,
});

/** A whole message of what is given; the rest is zero, false and empty. */
export const message = (fields: Partial<Message>): Message => ({ ...EMPTY, ...fields });

/**
 * Reads the message in `[p, end)`, or says why it must be dropped. Of one whose sender cut it (TC) what was whole stays.
 * Nothing in it refers to `u8` afterwards.
 */
export function parse(u8: Uint8Array, p = 0, end = u8.length): Message | Drop {
  if (end - p < HEADER_LENGTH) return 'dns-truncated';
  const dv = new DataView(u8.buffer, u8.byteOffset, u8.byteLength);
  const flags = dv.getUint16(p + FLAGS);
  const counts = [0, 1, 2, 3].map((i) => dv.getUint16(p + COUNTS + 2 * i));
  if (counts.reduce((sum, n) => sum + n, 0) > RECORDS_MAX) return 'dns-too-many-records';
  const c: Cursor = { u8, start: p, end, at: p + HEADER_LENGTH, drop: null };
  const questions = readQuestions(c, dv, counts[0]!);
  if (typeof questions === 'string') return questions;
  const sections: ResourceRecord[][] = [[], [], []];
  const isTruncated = (flags & FLAG_TRUNCATED) !== 0;
  const drop = readSections(c, dv, counts, sections);
  // A sender that cuts may cut through a record; what it says then is "ask over TCP", and that must be heard.
  if (drop !== null && !(drop === 'dns-truncated' && isTruncated)) return drop;
  const options = sections[2]!.filter(({ type }) => type === 'OPT');
  if (options.length > 1) return 'dns-bad-record'; // RFC 6891 §6.1.1: MUST be FORMERR
  const option = options[0];
  return {
    id: dv.getUint16(p + ID),
    isResponse: (flags & FLAG_RESPONSE) !== 0,
    opcode: (flags >> OPCODE_SHIFT) & 0xf,
    isAuthoritative: (flags & FLAG_AUTHORITATIVE) !== 0,
    isTruncated,
    recursionDesired: (flags & FLAG_RECURSION_DESIRED) !== 0,
    recursionAvailable: (flags & FLAG_RECURSION_AVAILABLE) !== 0,
    authenticData: (flags & FLAG_AUTHENTIC) !== 0,
    checkingDisabled: (flags & FLAG_CHECKING_DISABLED) !== 0,
    rcode: (flags & RCODE_MASK) | (option === undefined ? 0 : (option.ttl >>> 24) << 4),
    questions,
    answers: sections[0]!,
    authorities: sections[1]!,
    additionals: option === undefined ? sections[2]! : sections[2]!.filter((record) => record !== option),
    edns: option === undefined ? null : ednsOf(option),
  };
}

const ednsOf = (option: ResourceRecord): Edns => ({
  // RFC 6891 §6.2.3: "Values lower than 512 MUST be treated as equal to 512".
  payloadBytes: Math.max(UDP_BYTES, option.class),
  version: (option.ttl >>> 16) & 0xff,
  dnssecOk: (option.ttl & 0x8000) !== 0,
});

function readQuestions(c: Cursor, dv: DataView, count: number): Question[] | Drop {
  const questions: Question[] = [];
  for (let i = 0; i < count; i++) {
    const name = readName(c);
    if (name === null) return c.drop!;
    if (c.end - c.at < 4) return 'dns-truncated';
    const type = typeName(dv.getUint16(c.at));
    const classBits = dv.getUint16(c.at + 2);
    c.at += 4;
    questions.push({ name, type, class: classBits & ~CLASS_TOP_BIT, unicast: (classBits & CLASS_TOP_BIT) !== 0 });
  }
  return questions;
}

function readSections(c: Cursor, dv: DataView, counts: readonly number[], sections: ResourceRecord[][]): Drop | null {
  for (const [i, section] of sections.entries()) {
    for (let n = counts[i + 1]!; n > 0; n--) {
      const record = readRecord(c, dv);
      if (record === null) return c.drop;
      if (record === 'dns-bad-record') return record;
      section.push(record);
    }
  }
  return null;
}

export interface EmitOptions {
  /** Bytes the message may have; records that do not fit are left out, and TC is set. Default 65,535. */
  readonly bytesMax?: number;
  /** Compresses names in every record, as mDNS allows. */
  readonly compressAll?: boolean;
}

/** Bytes of a message as they are written, with the places of names for compression. */
class Writer implements Sink {
  at = 0;
  #buffer = new Uint8Array(UDP_BYTES);
  #dv = new DataView(this.#buffer.buffer);
  readonly #places = new Map<string, number>();

  #room(count: number): void {
    if (this.at + count <= this.#buffer.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#buffer.length, this.at + count));
    larger.set(this.#buffer);
    this.#buffer = larger;
    this.#dv = new DataView(larger.buffer);
  }

  u8(value: number): void {
    this.#room(1);
    this.#buffer[this.at++] = value;
  }

  u16(value: number): void {
    this.#room(2);
    this.#dv.setUint16(this.at, value);
    this.at += 2;
  }

  u32(value: number): void {
    this.#room(4);
    this.#dv.setUint32(this.at, value);
    this.at += 4;
  }

  bytes(data: Uint8Array): void {
    this.#room(data.length);
    this.#buffer.set(data, this.at);
    this.at += data.length;
  }

  name(name: string, compress: boolean): void {
    const labels = labelsOf(name);
    for (const [i, label] of labels.entries()) {
      const key = labels.slice(i).map(labelKey).join('');
      const place = this.#places.get(key);
      if (compress && place !== undefined) {
        this.u16(0xc000 | place);
        return;
      }
      // A pointer has 14 bits.
      if (place === undefined && this.at < 0x4000) this.#places.set(key, this.at);
      this.u8(label.length);
      this.bytes(label);
    }
    this.u8(0);
  }

  put16(at: number, value: number): void {
    this.#dv.setUint16(at, value);
  }

  /** Takes back what was written from `at` on. */
  cut(at: number): void {
    for (const [key, place] of this.#places) if (place >= at) this.#places.delete(key);
    this.at = at;
  }

  take(): Uint8Array {
    return this.#buffer.slice(0, this.at);
  }
}

/** The length byte and the bytes of a label, letters in lower case: joined, they tell names apart. */
const labelKey = (label: Uint8Array): string =>
  String.fromCharCode(label.length, ...label.map((byte) => (byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte)));

const OPT_BYTES = 11;

/**
 * The bytes of a message, in an array of the caller's own.
 * @throws TypeError, RangeError for a name, a type or a string that cannot be written
 */
export function emit(fields: Partial<Message>, options: EmitOptions = {}): Uint8Array {
  const m = message(fields);
  const bytesMax = (options.bytesMax ?? MESSAGE_BYTES_MAX) - (m.edns === null ? 0 : OPT_BYTES);
  const w = new Writer();
  for (let i = 0; i < HEADER_LENGTH; i += 2) w.u16(0);
  for (const { name, type, class: cls, unicast } of m.questions) {
    w.name(name, true);
    w.u16(numberOf(type));
    w.u16(cls | (unicast ? CLASS_TOP_BIT : 0));
  }
  let isTruncated = m.isTruncated;
  const counts = [m.answers, m.authorities, m.additionals].map((records, section) => {
    if (isTruncated && !m.isTruncated) return 0;
    const count = writeRecords(w, records, bytesMax, options.compressAll === true);
    // RFC 2181 §9: TC only where what was required is missing; additional records are a courtesy.
    if (count < records.length && section < 2) isTruncated = true;
    return count;
  });
  if (m.edns !== null) writeEdns(w, m.edns, m.rcode);
  const flags =
    (m.isResponse ? FLAG_RESPONSE : 0) |
    ((m.opcode & 0xf) << OPCODE_SHIFT) |
    (m.isAuthoritative ? FLAG_AUTHORITATIVE : 0) |
    (isTruncated ? FLAG_TRUNCATED : 0) |
    (m.recursionDesired ? FLAG_RECURSION_DESIRED : 0) |
    (m.recursionAvailable ? FLAG_RECURSION_AVAILABLE : 0) |
    (m.authenticData ? FLAG_AUTHENTIC : 0) |
    (m.checkingDisabled ? FLAG_CHECKING_DISABLED : 0) |
    (m.rcode & RCODE_MASK);
  const numbers = [m.id, flags, m.questions.length, counts[0]!, counts[1]!, counts[2]! + (m.edns === null ? 0 : 1)];
  for (const [i, number] of numbers.entries()) w.put16(2 * i, number);
  return w.take();
}

/**
 * The type of a record and what it says, without compression, as text of bytes: equal for equal records, and ordered as
 * RFC 6762 §8.2 orders them (class IN everywhere).
 */
export function dataKey(data: RecordData): string {
  const w = new Writer();
  w.u16(numberOf(data.type));
  const sink: Sink = {
    u8: (value) => w.u8(value),
    u16: (value) => w.u16(value),
    u32: (value) => w.u32(value),
    bytes: (bytes) => w.bytes(bytes),
    name: (name) => w.name(name, false),
  };
  writeData(sink, data, false);
  return Array.from(w.take(), (byte) => String.fromCharCode(byte)).join('');
}

function numberOf(type: RecordType): number {
  const number = typeNumber(type);
  if (number < 0) throw new TypeError(`type: expected a record type like A or TYPE65, got ${JSON.stringify(type)}`);
  return number;
}

/** Writes records as long as they fit; says how many did. */
function writeRecords(w: Writer, records: readonly ResourceRecord[], bytesMax: number, compressAll: boolean): number {
  for (const [i, record] of records.entries()) {
    const from = w.at;
    w.name(record.name, true);
    w.u16(numberOf(record.type));
    w.u16(record.class | (record.flush ? CLASS_TOP_BIT : 0));
    w.u32(record.ttl);
    const lengthAt = w.at;
    w.u16(0);
    writeData(w, record, compressAll);
    w.put16(lengthAt, w.at - lengthAt - 2);
    if (w.at > bytesMax) {
      w.cut(from);
      return i;
    }
  }
  return records.length;
}

function writeEdns(w: Writer, edns: Edns, rcode: number): void {
  w.u8(0);
  w.u16(typeNumber('OPT'));
  w.u16(edns.payloadBytes);
  w.u32(((rcode >>> 4) << 24) | (edns.version << 16) | (edns.dnssecOk ? 0x8000 : 0));
  w.u16(0);
}

/** Records of an answer that {@link format} shows. */
const SHOWN_MAX = 8;

/**
 * One line, as tcpdump prints it: `4242+ A? example.org. (29)`, `4242 2/0/1 CNAME www.example.org., A 10.0.0.1 (62)`;
 * + and - for recursion, * for an authoritative answer, | for one that was cut.
 */
export function format(u8: Uint8Array, p: number, end: number): string {
  const m = parse(u8, p, end);
  const length = `(${end - p})`;
  if (typeof m === 'string') return `DNS [${m}] ${length}`;
  const opcode = m.opcode === OPCODE_QUERY ? '' : ` op${m.opcode}`;
  if (!m.isResponse) {
    const more = [
      ...(m.answers.length > 0 ? [`${m.answers.length}a`] : []),
      ...(m.authorities.length > 0 ? [`${m.authorities.length}n`] : []),
      ...(m.additionals.length > 0 || m.edns !== null ? [`${m.additionals.length + (m.edns === null ? 0 : 1)}au`] : []),
    ].map((text) => ` [${text}]`);
    const asked = m.questions
      .slice(0, SHOWN_MAX)
      .map((q) => `${q.type}${q.unicast ? ' (QU)' : ''}? ${absolute(q.name)}`);
    const flags = (m.recursionDesired ? '+' : '') + (m.isTruncated ? '|' : '');
    return `${m.id}${opcode}${flags}${more.join('')} ${[...asked, length].join(' ')}`;
  }
  const rcode = m.rcode === NOERROR ? '' : ` ${RCODES[m.rcode] ?? `Resp${m.rcode}`}`;
  const flags = (m.isAuthoritative ? '*' : '') + (m.recursionAvailable ? '' : '-') + (m.isTruncated ? '|' : '');
  const additionals = m.additionals.length + (m.edns === null ? 0 : 1);
  const shown = m.answers.slice(0, SHOWN_MAX).map((record) => `${record.type} ${formatData(record)}`);
  if (m.answers.length > SHOWN_MAX) shown.push('...');
  const counts = `${m.answers.length}/${m.authorities.length}/${additionals}`;
  const list = shown.length === 0 ? '' : ` ${shown.join(', ')}`;
  return `${m.id}${opcode}${rcode}${flags} ${counts}${list} ${length}`;
}
