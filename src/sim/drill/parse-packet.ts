/**
 * Packets as scripts write them: `< [ect0] S 0:0(0) win 65535 <mss 1460,sackOK>`, `> udp (100)`,
 * `< icmp unreachable frag_needed mtu 1200 [1:1461(1460)]`. @module
 */
import type { Ecn, IcmpBody, IpFields, Ports, Quote, ScriptPacket, SequenceSpec, TcpBody, TcpOption } from './ast.ts';
import { icmpCode, icmpType, icmpTypeNames, isEcho } from './icmp-names.ts';
import type { Scanner } from './scanner.ts';
import { ScriptError } from './scanner.ts';
import { ACK, AE, CWR, ECE, encodeOptions, FIN, OPTION_FAST_OPEN, OPTION_MD5, PSH, RST, SYN, URG } from './wire.ts';

/** Where the three bits of the ACE counter begin: RFC 9768 §3.1.1. */
const ACE_SHIFT = 6;

const LETTERS: Readonly<Record<string, number>> = {
  F: FIN,
  S: SYN,
  R: RST,
  P: PSH,
  '.': ACK,
  U: URG,
  E: ECE,
  W: CWR,
  A: AE,
};

const PORT_MAX = 0xffff;
const LENGTH_MAX = 0xffff;

export function parsePacket(s: Scanner, isV4: boolean): ScriptPacket {
  const ip = parseIpFields(s);
  const ports = parsePorts(s);
  const body = parseBody(s, isV4);
  return { ip, ports, body, udpEncap: s.takes('/') ? parseUdpEncap(s) : null };
}

function parseBody(s: Scanner, isV4: boolean): ScriptPacket['body'] {
  if (s.take(/(?:udp|UDP)\b/y) !== null) return { kind: 'udp', length: parseLength(s) };
  if (s.take(/icmp(?:v4|v6)?\b/y) !== null) return parseIcmp(s, isV4);
  return parseTcp(s);
}

/** `(100)`. */
function parseLength(s: Scanner): number {
  s.expect('(', 'a length like (100)');
  const length = s.needInteger('a length', LENGTH_MAX);
  s.expect(')');
  return length;
}

/** `[ect0]`, `(tos 0x28)`, `(hlim 64, flowlabel 0x1)`. */
function parseIpFields(s: Scanner): IpFields {
  const fields: { -readonly [K in keyof IpFields]: IpFields[K] } = { ecn: null, tos: null, ttl: null, flowLabel: null };
  for (;;) {
    const open = s.take(/[[(](?=\s*[a-z])/y);
    if (open === null) return fields;
    do {
      const name = s.need(/[a-z_]+[01]*/y, 'ect0, ect1, ect01, ce, noecn, tos, class, ttl, hlim or flowlabel');
      if (/^(?:noecn|ect0|ect1|ect01|ce)$/.test(name[0])) fields.ecn = name[0] as Ecn;
      else if (name[0] === 'tos' || name[0] === 'class') fields.tos = s.needInteger('a byte', 0xff);
      else if (name[0] === 'ttl' || name[0] === 'hlim') fields.ttl = s.needInteger('a byte', 0xff);
      else if (name[0] === 'flowlabel') fields.flowLabel = s.needInteger('a flow label', 0xfffff);
      else throw s.error(`ect0, ect1, ect01, ce, noecn, tos, class, ttl, hlim or flowlabel instead of '${name[0]}'`);
    } while (s.takes(','));
    s.expect(open[0] === '[' ? ']' : ')');
  }
}

/** `40000 > 8080`, with addresses in front of the ports or without. */
function parsePorts(s: Scanner): Ports | null {
  const match = s.take(
    /(?:[\d.]+:|\[[\da-fA-F:.]+\]:)?(\d+)[ \t]*>[ \t]*(?:[\d.]+:|\[[\da-fA-F:.]+\]:)?(\d+)(?=[ \t])/y,
  );
  if (match === null) return null;
  const source = Number(match[1]);
  const destination = Number(match[2]);
  if (source <= PORT_MAX && destination <= PORT_MAX) return { source, destination };
  throw s.error(`ports up to ${PORT_MAX} before it`);
}

/** `udp(9811 > 1)`, behind a slash: TCP in UDP. */
function parseUdpEncap(s: Scanner): Ports {
  s.expect('udp', 'udp(PORT > PORT)');
  s.expect('(');
  const source = s.needInteger('a port', PORT_MAX);
  s.expect('>');
  const destination = s.needInteger('a port', PORT_MAX);
  s.expect(')');
  return { source, destination };
}

function parseFlags(s: Scanner): number {
  if (s.take(/-(?=\s)/y) !== null) return 0;
  const token = /(?!\.\.\.)(?:([FSRPEWAU.]+)([0-7])?(?=\s)|([FSRPEWAU.]+)(?=\.\.\.))/y;
  const first = s.need(token, 'TCP flags like S., P. or -, or udp, or icmp');
  let flags = flagBits(first);
  // Some write the ACK apart.
  for (let more = s.take(token); more !== null; more = s.take(token)) flags |= flagBits(more);
  return flags;
}

function flagBits(match: RegExpExecArray): number {
  let flags = match[2] === undefined ? 0 : Number(match[2]) << ACE_SHIFT;
  for (const letter of match[1] ?? match[3] ?? '') flags |= LETTERS[letter]!;
  return flags;
}

/** `1:101(100)`, `...(100)` unchecked, `0:0(0)!` as it stands on the wire. */
function parseSequence(s: Scanner): SequenceSpec {
  if (s.takes('...')) return { kind: 'any', start: 0, length: parseLength(s) };
  const at = s.position();
  const start = s.needInteger('a sequence range like 1:101(100)');
  s.expect(':');
  const end = s.needInteger('the end of the sequence range');
  const length = parseLength(s);
  if ((end - start) >>> 0 !== length) {
    throw new ScriptError(at, `expected ${start}:${(start + length) >>> 0}(${length}), got ${start}:${end}(${length})`);
  }
  return { kind: s.takes('!') ? 'absolute' : 'relative', start, length };
}

function parseTcp(s: Scanner): TcpBody {
  const flags = parseFlags(s);
  const seq = parseSequence(s);
  const ack = s.takesWord('ack') ? s.needInteger('an acknowledgement number') : null;
  const window = s.takesWord('win') ? s.needInteger('a window', 0xffff) : null;
  const urgent = s.takesWord('urg') ? s.needInteger('an urgent pointer', 0xffff) : null;
  const at = s.position();
  const options = s.sees(/</y) ? parseOptions(s) : [];
  const excess = options === null ? 0 : encodeOptions(options).length % 4;
  // RFC 9293 §3.1: the data offset counts words.
  if (excess > 0)
    throw new ScriptError(at, `expected TCP options of a multiple of 4 bytes, got ${excess} too many: add nop or eol`);
  return { kind: 'tcp', flags, seq, ack, window, urgent, options };
}

/** `<mss 1460,nop,wscale 6>`; `<...>`: anything. */
function parseOptions(s: Scanner): TcpOption[] | null {
  s.expect('<');
  if (s.takes('...')) {
    s.expect('>');
    return null;
  }
  const options: TcpOption[] = [];
  if (s.takes('>')) return options;
  do options.push(parseOption(s));
  while (s.takes(','));
  s.expect('>', "',' or '>' behind a TCP option");
  return options;
}

/** https://www.iana.org/assignments/tcp-parameters */
const OPTION_ACCECN0 = 172;
const OPTION_ACCECN1 = 174;
const OPTION_EXPERIMENT = 254;
/** RFC 6994, RFC 7413 appendix A: the experiment that became Fast Open. */
const FAST_OPEN_MAGIC = [0xf9, 0x89];

function parseOption(s: Scanner): TcpOption {
  const name = s.need(
    /[A-Za-z][A-Za-z0-9]*/y,
    'a TCP option: mss, nop, eol, wscale, sackOK, sack, TS, FO, FOEXP, md5, ECN or kind',
  )[0];
  switch (name) {
    case 'nop':
    case 'eol':
    case 'sackOK':
      return { kind: name };
    case 'mss':
      return { kind: 'mss', value: s.needInteger('a segment size', 0xffff) };
    case 'wscale':
      return { kind: 'wscale', value: s.needInteger('a shift', 0xff) };
    case 'TS':
      s.expect('val');
      return { kind: 'TS', val: s.needInteger('a timestamp'), ecr: (s.expect('ecr'), s.needInteger('a timestamp')) };
    case 'sack':
      return { kind: 'sack', blocks: parseSackBlocks(s) };
    case 'FO':
      return { kind: 'bytes', type: OPTION_FAST_OPEN, bytes: parseHex(s), name };
    case 'FOEXP':
      return { kind: 'bytes', type: OPTION_EXPERIMENT, bytes: Uint8Array.of(...FAST_OPEN_MAGIC, ...parseHex(s)), name };
    case 'md5':
      return { kind: 'bytes', type: OPTION_MD5, bytes: parseMd5(s), name };
    case 'ECN':
      return parseAccEcn(s);
    case 'kind': {
      const type = s.needInteger('the number of an option', 0xff);
      return { kind: 'bytes', type, bytes: parseHex(s), name };
    }
    default:
      throw s.error(`mss, nop, eol, wscale, sackOK, sack, TS, FO, FOEXP, md5, ECN or kind instead of '${name}'`);
  }
}

function parseSackBlocks(s: Scanner): [number, number][] {
  const blocks: [number, number][] = [];
  while (s.sees(/\d/y)) {
    const start = s.needInteger('the start of a block');
    s.expect(':');
    blocks.push([start, s.needInteger('the end of a block')]);
  }
  return blocks;
}

/** Hexadecimal digits, in pairs; none is no bytes. */
function parseHex(s: Scanner): Uint8Array {
  const match = s.take(/(?:0x)?((?:[0-9a-fA-F]{2})+)(?![0-9a-zA-Z])/y);
  if (match !== null) return Uint8Array.from(match[1]!.match(/../g)!, (pair) => Number.parseInt(pair, 16));
  if (s.sees(/[,>]/y)) return new Uint8Array(0);
  throw s.error('pairs of hexadecimal digits');
}

/** A digest in hexadecimal; words such as `valid` stand for one that needs a key. */
function parseMd5(s: Scanner): Uint8Array {
  return s.take(/(?:in)?valid\b/y) !== null ? new Uint8Array(16) : parseHex(s);
}

/** RFC 9768 §3.2.3: counters of 24 bits; the order says which of the two options it is. */
function parseAccEcn(s: Scanner): TcpOption {
  const bytes: number[] = [];
  let type = OPTION_ACCECN1;
  for (let field = s.take(/e0b|ceb|e1b/y); field !== null; field = s.take(/e0b|ceb|e1b/y)) {
    if (bytes.length === 0 && field[0] === 'e0b') type = OPTION_ACCECN0;
    const value = s.needInteger('a byte counter', 0xffffff);
    bytes.push(value >>> 16, (value >>> 8) & 0xff, value & 0xff);
  }
  return { kind: 'bytes', type, bytes: Uint8Array.from(bytes), name: 'ECN' };
}

function parseIcmp(s: Scanner, isV4: boolean): IcmpBody {
  const start = s.offset;
  const name = s.need(/[a-z_]+\d*/y, 'an ICMP type')[0];
  const type = icmpType(isV4, name);
  if (type < 0) {
    s.rewind(start);
    throw s.error(`an ICMP type of IPv${isV4 ? 4 : 6}: ${icmpTypeNames(isV4).join(', ')}`);
  }
  const code = parseIcmpCode(s, isV4, name);
  let word: number | null = null;
  if (s.takesWord('mtu')) word = s.needInteger('an MTU');
  else if (s.takesWord('ptr')) word = isV4 ? s.needInteger('a pointer', 0xff) * 2 ** 24 : s.needInteger('a pointer');
  if (s.takesWord('id')) word = s.needInteger('an identifier', 0xffff) * 0x1_0000;
  if (s.takesWord('seq')) word = (word ?? 0) + s.needInteger('a sequence number', 0xffff);
  const length = isEcho(isV4, type) && s.sees(/\(/y) ? parseLength(s) : 0;
  return { kind: 'icmp', type, code, word, quote: s.takes('[') ? parseQuote(s) : null, length };
}

function parseIcmpCode(s: Scanner, isV4: boolean, type: string): number {
  const start = s.offset;
  const name = s.take(/(?!(?:mtu|id|seq|ptr)\b)[a-z_]+\d*/y);
  if (name === null) return 0;
  const code = icmpCode(isV4, type, name[0]);
  if (code >= 0) return code;
  s.rewind(start);
  throw s.error(`a code of ${type}, or code_N`);
}

/** `[1:1461(1460)]`, `[udp (100)]`, `[raw (100)]`. */
function parseQuote(s: Scanner): Quote {
  const quote = parseQuoted(s);
  s.expect(']', "']' behind the quoted packet");
  return quote;
}

function parseQuoted(s: Scanner): Quote {
  if (s.take(/udp\b/y) !== null) return { kind: 'udp', length: parseLength(s) };
  if (s.take(/raw\b/y) !== null) return { kind: 'raw', length: parseLength(s) };
  const seq = parseSequence(s);
  return { kind: 'tcp', seq, udpEncap: s.takes('/') ? parseUdpEncap(s) : null };
}
