/** One packet as lines of text: time, what it is, why it was dropped; and, as asked, a tree and its bytes. @module */
import type { CapturedPacket } from '../../pcap/index.ts';
import type { Dissection } from '../../wire/dissect.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from '../../wire/ip.ts';
import type { Octets } from '../../wire/octets.ts';
import { formatDissected } from '../../wire/packet.ts';
import * as tcp from '../../wire/tcp.ts';
import { fieldsToJson } from './json.ts';
import { describe, type Layers } from './layers.ts';
import { LineTools } from './line-tools.ts';

export type TimeStyle = 'local' | 'utc' | 'epoch' | 'none';

export interface PrintOptions {
  readonly time: TimeStyle;
  readonly color: boolean;
  readonly json: boolean;
  readonly tree: boolean;
  readonly hex: boolean;
}

const GREY = '\x1b[90m';
const RED = '\x1b[31m';
const PLAIN = '\x1b[0m';
const COLOURS: Readonly<Record<number, string>> = {
  [PROTOCOL_TCP]: '\x1b[32m',
  [PROTOCOL_UDP]: '\x1b[36m',
  [PROTOCOL_ICMP]: '\x1b[33m',
  [PROTOCOL_ICMPV6]: '\x1b[33m',
};
const OTHER = '\x1b[35m';

const two = (n: number): string => (n < 10 ? `0${n}` : String(n));

/** Control characters of what came from outside must not reach the terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROLS = /[\x00-\x1f\x7f-\x9f]/g;
export const printable = (text: string): string => text.replace(CONTROLS, '.');

export class Printer {
  readonly #options: PrintOptions;
  readonly #tools = new LineTools();
  #second = -1; // whose text is kept
  #secondText = '';

  constructor(options: PrintOptions) {
    this.#options = options;
  }

  /** The text of a packet, without its last line break. @param number - from 1 @param several - whether interfaces are told apart */
  print(o: Octets, d: Dissection, packet: CapturedPacket, number: number, several: boolean): string {
    const { json, tree, hex } = this.#options;
    if (json) return this.#json(o, d, packet, number);
    let text = this.#line(o, d, packet, several);
    if (tree) text += formatTree(describe(o, d, this.#tools));
    if (hex) text += formatHex(o.u8, packet.start, packet.end);
    return text;
  }

  #line(o: Octets, d: Dissection, packet: CapturedPacket, several: boolean): string {
    const time = this.#time(packet.seconds, packet.nanoseconds);
    const place = several
      ? `${printable(packet.interface.name) || `#${packet.interface.id}`} ${directionOf(packet)}`
      : '';
    const line = printable(formatDissected(o, d, this.#tools));
    const comment = packet.comments.length === 0 ? '' : ` -- ${printable(packet.comments.join('; '))}`;
    if (!this.#options.color) return `${time}${place}${line}${comment}`;
    const colour = isAlarming(o.dv, d) ? RED : (COLOURS[d.protocol] ?? OTHER);
    return `${GREY}${time}${PLAIN}${place}${colour}${line}${PLAIN}${comment === '' ? '' : `${RED}${comment}${PLAIN}`}`;
  }

  /** `17:05:01.000123 `. */
  #time(seconds: number, nanoseconds: number): string {
    const { time } = this.#options;
    if (time === 'none') return '';
    const fraction = `${1_000_000 + Math.floor(nanoseconds / 1000)}`.slice(1);
    if (time === 'epoch') return `${seconds}.${fraction} `;
    if (seconds !== this.#second) {
      const date = new Date(seconds * 1000);
      const [h, m, s] =
        time === 'utc'
          ? [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()]
          : [date.getHours(), date.getMinutes(), date.getSeconds()];
      this.#second = seconds;
      this.#secondText = `${two(h)}:${two(m)}:${two(s)}.`;
    }
    return `${this.#secondText}${fraction} `;
  }

  #json(o: Octets, d: Dissection, packet: CapturedPacket, number: number): string {
    const layers = describe(o, d, this.#tools);
    const line = formatDissected(o, d, this.#tools);
    const head = {
      number,
      time: this.#isoTime(packet.seconds, packet.nanoseconds),
      interface: packet.interface.name === '' ? undefined : packet.interface.name,
      direction: packet.direction ?? undefined,
      length: packet.originalLength,
      captured: packet.end - packet.start,
    };
    const tail = {
      problem: d.problem ?? undefined,
      comments: packet.comments.length === 0 ? undefined : packet.comments,
      line,
    };
    return `{${fieldsToJson(tail, fieldsToJson(layers, fieldsToJson(head, '')))}}`;
  }

  /** `2026-01-02T03:04:05.123456789Z`; seconds alone where they are beyond what a date can be. */
  #isoTime(seconds: number, nanoseconds: number): string {
    if (seconds !== this.#second) {
      const date = new Date(seconds * 1000);
      this.#second = seconds;
      this.#secondText = Number.isNaN(date.getTime()) ? '' : date.toISOString().slice(0, -'.000Z'.length);
    }
    const fraction = `${1_000_000_000 + nanoseconds}`.slice(1);
    return this.#secondText === '' ? `${seconds}.${fraction}` : `${this.#secondText}.${fraction}Z`;
  }
}

const directionOf = ({ direction }: CapturedPacket): string =>
  direction === null ? '' : direction === 'in' ? 'In  ' : 'Out ';

const isAlarming = (dv: DataView, d: Dissection): boolean =>
  d.problem !== null ||
  (d.protocol === PROTOCOL_TCP &&
    d.fragmentOffset === 0 &&
    d.transportEnd - d.transport >= tcp.HEADER_LENGTH &&
    (tcp.flags(dv, d.transport) & tcp.RST) !== 0);

/** A line a layer, and a line a field, indented. */
function formatTree(layers: Layers): string {
  let text = '';
  for (const [name, fields] of Object.entries(layers)) {
    text += `\n    ${name}`;
    text += formatFields(fields, '        ');
  }
  return text;
}

function formatFields(value: unknown, indent: string): string {
  let text = '';
  for (const [name, field] of Object.entries(value as Record<string, unknown>)) {
    if (field === undefined) continue;
    const isTree = typeof field === 'object' && field !== null && !isFlat(field);
    text += isTree
      ? `\n${indent}${name}:${formatFields(field, `${indent}    `)}`
      : `\n${indent}${name}: ${printable(formatValue(field))}`;
  }
  return text;
}

const isFlat = (value: object): boolean =>
  Array.isArray(value) && value.every((item) => typeof item !== 'object' || item === null);

const formatValue = (value: unknown): string => (Array.isArray(value) ? value.join(' ') : String(value));

/** As `tcpdump -XX`: an offset, sixteen bytes in pairs, and what of them is text. */
export function formatHex(u8: Uint8Array, start: number, end: number): string {
  let text = '';
  for (let row = start; row < end; row += 16) {
    let pairs = '';
    let letters = '';
    for (let at = row; at < Math.min(end, row + 16); at++) {
      const byte = u8[at]!;
      pairs += `${((at - row) & 1) === 0 ? ' ' : ''}${byte.toString(16).padStart(2, '0')}`;
      letters += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.';
    }
    text += `\n    0x${(row - start).toString(16).padStart(4, '0')}: ${pairs.padEnd(41)}  ${letters}`;
  }
  return text;
}
