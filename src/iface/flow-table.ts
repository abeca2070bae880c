/**
 * Flows by (local, remote, ports) in one open-addressing table: a packet costs one look-up however many flows there
 * are.
 *
 * The hash is a sum of 16-bit pieces, each times a secret of its own, of which the top bits are used: a universal family
 * (Dietzfelbinger et al., "A reliable randomized algorithm for the closest-pair problem", 1997, §2), so that nobody who
 * does not know the secrets can choose flows that fall into one place. It costs six multiplications for IPv4. @module
 */
import { type IpAddress, isMapped } from '../wire/address.ts';
import type { Packet } from './packet.ts';

/** What the table needs of an entry. */
export interface Flow {
  readonly local: IpAddress;
  readonly remote: IpAddress;
  /** Remote port in the high half, local in the low: as both ports stand in a packet that comes in. */
  readonly portsIn: number;
  /** {@link FlowTable.hash} of the four; computed once. */
  readonly hash: number;
}

const SIZE_MIN = 64;
/** 16-bit pieces of a key: two a word, of eight address words and the ports. */
const PIECES = 18;

/** Both ports as they stand in a received header. */
export const portsIn = (localPort: number, remotePort: number): number => (remotePort << 16) | localPort;

export class FlowTable<F extends Flow> {
  readonly #secrets: Int32Array;
  #flows: (F | null)[] = new Array<F | null>(SIZE_MIN).fill(null);
  #hashes = new Int32Array(SIZE_MIN);
  #mask = SIZE_MIN - 1;
  /** A flow's place is the top bits of its hash. */
  #shift = Math.clz32(SIZE_MIN - 1);
  /** What was found last: the next packet is likely of the same flow. */
  #last: F | null = null;
  count = 0;

  /** @param random - gives uniform uint32; the secrets are drawn from it */
  constructor(random: () => number) {
    this.#secrets = Int32Array.from({ length: PIECES }, () => random() | 0);
  }

  /** The hash of a flow. */
  hash(local: IpAddress, remote: IpAddress, ports: number): number {
    let h = this.#low(local.d, remote.d, ports);
    if (!isMapped(local.a, local.b, local.c)) h += this.#high(6, local.a, local.b, local.c);
    if (!isMapped(remote.a, remote.b, remote.c)) h += this.#high(12, remote.a, remote.b, remote.c);
    return h | 0;
  }

  #hashPacket(packet: Packet, ports: number): number {
    let h = this.#low(packet.dstD, packet.srcD, ports);
    if (packet.version === 6) {
      h += this.#high(6, packet.dstA, packet.dstB, packet.dstC) + this.#high(12, packet.srcA, packet.srcB, packet.srcC);
    }
    return h | 0;
  }

  #low(local: number, remote: number, ports: number): number {
    const k = this.#secrets;
    const sum =
      Math.imul(local & 0xffff, k[0]!) +
      Math.imul(local >>> 16, k[1]!) +
      Math.imul(remote & 0xffff, k[2]!) +
      Math.imul(remote >>> 16, k[3]!) +
      Math.imul(ports & 0xffff, k[4]!) +
      Math.imul(ports >>> 16, k[5]!);
    return sum | 0; // an integer again, or each look-up would make a heap number
  }

  /** The three high words of an IPv6 address. @param from - index of the secrets it is multiplied with */
  #high(from: number, a: number, b: number, c: number): number {
    const k = this.#secrets;
    const sum =
      Math.imul(a & 0xffff, k[from]!) +
      Math.imul(a >>> 16, k[from + 1]!) +
      Math.imul(b & 0xffff, k[from + 2]!) +
      Math.imul(b >>> 16, k[from + 3]!) +
      Math.imul(c & 0xffff, k[from + 4]!) +
      Math.imul(c >>> 16, k[from + 5]!);
    return sum | 0;
  }

  /** The flow a received packet belongs to, or null. */
  find(packet: Packet, ports: number): F | null {
    const last = this.#last;
    if (last !== null && last.portsIn === ports && matches(last, packet)) return last;
    const hash = this.#hashPacket(packet, ports);
    for (let i = hash >>> this.#shift; ; i = (i + 1) & this.#mask) {
      const flow = this.#flows[i]!;
      if (flow === null) return null;
      if (this.#hashes[i] === hash && flow.portsIn === ports && matches(flow, packet)) {
        this.#last = flow;
        return flow;
      }
    }
  }

  /** The flow between these endpoints, or null. */
  get(local: IpAddress, remote: IpAddress, ports: number): F | null {
    const hash = this.hash(local, remote, ports);
    for (let i = hash >>> this.#shift; ; i = (i + 1) & this.#mask) {
      const flow = this.#flows[i]!;
      if (flow === null) return null;
      if (flow.portsIn === ports && flow.local.equals(local) && flow.remote.equals(remote)) return flow;
    }
  }

  /** Adds a flow that is not in the table. */
  add(flow: F): void {
    if (2 * (this.count + 1) > this.#flows.length) this.#resize(2 * this.#flows.length);
    this.#insert(flow);
    this.count++;
  }

  /** Takes a flow out; nothing happens if it is not in. */
  remove(flow: F): void {
    if (this.#last === flow) this.#last = null;
    let i = flow.hash >>> this.#shift;
    for (; this.#flows[i] !== flow; i = (i + 1) & this.#mask) if (this.#flows[i] === null) return;
    this.count--;
    // Backward shift: what a probe could reach through this place moves up, so that no marks of the dead remain.
    for (let j = (i + 1) & this.#mask; this.#flows[j] !== null; j = (j + 1) & this.#mask) {
      const home = this.#hashes[j]! >>> this.#shift;
      if (((j - home) & this.#mask) >= ((j - i) & this.#mask)) {
        this.#flows[i] = this.#flows[j]!;
        this.#hashes[i] = this.#hashes[j]!;
        i = j;
      }
    }
    this.#flows[i] = null;
    if (this.#flows.length > SIZE_MIN && 8 * this.count < this.#flows.length) this.#resize(this.#flows.length / 2);
  }

  /** All flows, in no order; a snapshot, so they may be removed meanwhile. */
  values(): F[] {
    return this.#flows.filter((flow) => flow !== null);
  }

  #insert(flow: F): void {
    let i = flow.hash >>> this.#shift;
    while (this.#flows[i] !== null) i = (i + 1) & this.#mask;
    this.#flows[i] = flow;
    this.#hashes[i] = flow.hash;
  }

  #resize(size: number): void {
    const flows = this.values();
    this.#flows = new Array<F | null>(size).fill(null);
    this.#hashes = new Int32Array(size);
    this.#mask = size - 1;
    this.#shift = Math.clz32(size - 1);
    for (const flow of flows) this.#insert(flow);
  }
}

const matches = (flow: Flow, packet: Packet): boolean => {
  const { local, remote } = flow;
  return (
    remote.d === packet.srcD &&
    local.d === packet.dstD &&
    remote.c === packet.srcC &&
    local.c === packet.dstC &&
    remote.b === packet.srcB &&
    local.b === packet.dstB &&
    remote.a === packet.srcA &&
    local.a === packet.dstA
  );
};
