/**
 * What a tool remembers from packet to packet, in memory that does not grow: where the sequence numbers of each TCP flow
 * began, and texts of addresses. @module
 */
import { formatMac, formatV4, formatV6 } from '../../wire/address.ts';
import type { Dissection } from '../../wire/dissect.ts';
import type { LineContext } from '../../wire/packet.ts';
import * as tcp from '../../wire/tcp.ts';

/** Flows whose beginning is known; the oldest of those that share a row goes for a new one, and is then printed absolute once. */
const ROWS = 1 << 14;
const WAYS = 4;
// A flow: two words of hash, and the first sequence number of either side.
const FIELDS = 4;
const ROW_WORDS = WAYS * FIELDS;
/** Texts kept; must be a power of two. */
const TEXTS = 1 << 11;

const mix = (hash: number, word: number): number => {
  let h = Math.imul(hash ^ word, 0x9e3779b1);
  h ^= h >>> 15;
  h = Math.imul(h, 0x85ebca77);
  return h ^ (h >>> 13);
};

/** Relative sequence numbers as people read them: a flow's first byte is 1. SYNs are shown as they stand. */
export class LineTools implements LineContext {
  seqBase = 0;
  ackBase = 0;
  readonly #flows = new Int32Array(ROWS * ROW_WORDS);
  readonly #next = new Uint8Array(ROWS); // the way that goes next
  readonly #v4Words = new Int32Array(TEXTS);
  readonly #v4Texts: string[] = new Array(TEXTS).fill('0.0.0.0');
  readonly #v6Words = new Int32Array(4 * TEXTS);
  readonly #macWords = new Int32Array(2 * TEXTS);
  readonly #macTexts: string[] = new Array(TEXTS).fill(formatMac(0, 0));
  readonly #v6Texts: string[] = new Array(TEXTS).fill('::');

  v4(word: number): string {
    const at = mix(0, word) & (TEXTS - 1);
    if (this.#v4Words[at] === word) return this.#v4Texts[at]!;
    this.#v4Words[at] = word;
    const text = formatV4(word);
    this.#v4Texts[at] = text;
    return text;
  }

  v6(a: number, b: number, c: number, d: number): string {
    const at = mix(mix(a ^ c, b), d) & (TEXTS - 1);
    const words = this.#v6Words;
    const p = 4 * at;
    if (words[p] === a && words[p + 1] === b && words[p + 2] === c && words[p + 3] === d) return this.#v6Texts[at]!;
    words[p] = a;
    words[p + 1] = b;
    words[p + 2] = c;
    words[p + 3] = d;
    const text = formatV6(a, b, c, d);
    this.#v6Texts[at] = text;
    return text;
  }

  mac(high: number, low: number): string {
    const at = mix(high, low) & (TEXTS - 1);
    const words = this.#macWords;
    const p = 2 * at;
    if (words[p] === high && words[p + 1] === low) return this.#macTexts[at]!;
    words[p] = high;
    words[p + 1] = low;
    const text = formatMac(high, low);
    this.#macTexts[at] = text;
    return text;
  }

  lookUp(dv: DataView, d: Dissection): void {
    this.#find(dv, d, (tcp.flags(dv, d.transport) & tcp.SYN) !== 0);
    if ((tcp.flags(dv, d.transport) & tcp.SYN) === 0) return;
    this.seqBase = 0;
    this.ackBase = 0;
  }

  /** As {@link lookUp}, and SYNs are counted from themselves: 0, as other tools have it. */
  lookUpAll(dv: DataView, d: Dissection): void {
    this.#find(dv, d, (tcp.flags(dv, d.transport) & tcp.SYN) !== 0);
  }

  #find(dv: DataView, d: Dissection, isSyn: boolean): void {
    const p = d.transport;
    const [source, destination, length] = d.version === 6 ? [8, 24, 16] : [12, 16, 4];
    const n = d.network;
    // Both directions come to the same hash: each end is hashed alone, and the two are joined in a fixed order.
    let one = tcp.sourcePort(dv, p);
    let two = tcp.destinationPort(dv, p);
    let oneMore = ~one;
    let twoMore = ~two;
    for (let i = 0; i < length; i += 4) {
      const from = dv.getInt32(n + source + i);
      const to = dv.getInt32(n + destination + i);
      one = mix(one, from);
      two = mix(two, to);
      oneMore = mix(oneMore, from);
      twoMore = mix(twoMore, to);
    }
    const isForward = one < two || (one === two && oneMore <= twoMore);
    const key = isForward ? mix(one, two) : mix(two, one);
    const check = (isForward ? mix(oneMore, twoMore) : mix(twoMore, oneMore)) | 1; // never 0: an empty place
    const row = key & (ROWS - 1);
    let at = row * ROW_WORDS;
    const flows = this.#flows;
    let way = 0;
    while (way < WAYS && !(flows[at] === key && flows[at + 1] === check)) {
      way++;
      at += FIELDS;
    }
    const seq = tcp.sequence(dv, p);
    const ack = tcp.acknowledgment(dv, p);
    const [mine, other] = isForward ? [2, 3] : [3, 2];
    const bits = tcp.flags(dv, p);
    if (way === WAYS || (isSyn && (bits & tcp.ACK) === 0 && flows[at + mine] !== seq)) {
      if (way === WAYS) {
        at = row * ROW_WORDS + this.#next[row]! * FIELDS;
        this.#next[row] = (this.#next[row]! + 1) % WAYS;
        flows[at] = key;
        flows[at + 1] = check;
      }
      // Met in its middle, the flow begins here.
      flows[at + mine] = isSyn ? seq : seq - 1;
      flows[at + other] = (bits & tcp.ACK) !== 0 ? ack - 1 : 0;
    } else if (isSyn) {
      flows[at + mine] = seq;
    } else if (flows[at + other] === 0 && (bits & tcp.ACK) !== 0) {
      flows[at + other] = ack - 1;
    }
    this.seqBase = flows[at + mine]!;
    this.ackBase = (bits & tcp.ACK) !== 0 ? flows[at + other]! : 0;
  }
}
