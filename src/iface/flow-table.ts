/**
 * Flows by (local, remote, ports) in one open-addressing table: a packet costs one look-up however many flows there
 * are. The hash is keyed, so that an attacker cannot pile flows into one place. @module
 */
import type { IpAddress } from '../wire/address.ts';
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

/** Both ports as they stand in a received header. */
export const portsIn = (localPort: number, remotePort: number): number => (remotePort << 16) | localPort;

export class FlowTable<F extends Flow> {
  readonly #seed: number;
  #flows: (F | null)[] = new Array<F | null>(SIZE_MIN).fill(null);
  #hashes = new Int32Array(SIZE_MIN);
  #mask = SIZE_MIN - 1;
  count = 0;

  /** @param seed - a secret int32 */
  constructor(seed: number) {
    this.#seed = seed | 0;
  }

  /** The hash of a flow; `find` takes it so that it is computed once a packet. */
  hash(local: IpAddress, remote: IpAddress, ports: number): number {
    const high = mix(local.a ^ rotate(local.b), local.c) ^ mix(remote.a ^ rotate(remote.b), rotate(remote.c));
    return this.#finish(high, local.d, remote.d, ports);
  }

  hashPacket(packet: Packet, ports: number): number {
    const high =
      mix(packet.dstA ^ rotate(packet.dstB), packet.dstC) ^ mix(packet.srcA ^ rotate(packet.srcB), rotate(packet.srcC));
    return this.#finish(high, packet.dstD, packet.srcD, ports);
  }

  #finish(high: number, local: number, remote: number, ports: number): number {
    let h = mix(high ^ this.#seed, local);
    h = mix(h, remote);
    h = mix(h, ports);
    h = Math.imul(h ^ (h >>> 16), 0x2c1b3c6d);
    return h ^ (h >>> 15);
  }

  /** The flow a received packet belongs to, or null. */
  find(packet: Packet, ports: number): F | null {
    const hash = this.hashPacket(packet, ports);
    for (let i = hash & this.#mask; ; i = (i + 1) & this.#mask) {
      const flow = this.#flows[i]!;
      if (flow === null) return null;
      if (this.#hashes[i] === hash && flow.portsIn === ports && matches(flow, packet)) return flow;
    }
  }

  /** The flow between these endpoints, or null. */
  get(local: IpAddress, remote: IpAddress, ports: number): F | null {
    const hash = this.hash(local, remote, ports);
    for (let i = hash & this.#mask; ; i = (i + 1) & this.#mask) {
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
    let i = flow.hash & this.#mask;
    for (; this.#flows[i] !== flow; i = (i + 1) & this.#mask) if (this.#flows[i] === null) return;
    this.count--;
    // Backward shift: what a probe could reach through this place moves up, so that no marks of the dead remain.
    for (let j = (i + 1) & this.#mask; this.#flows[j] !== null; j = (j + 1) & this.#mask) {
      const home = this.#hashes[j]! & this.#mask;
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
    let i = flow.hash & this.#mask;
    while (this.#flows[i] !== null) i = (i + 1) & this.#mask;
    this.#flows[i] = flow;
    this.#hashes[i] = flow.hash;
  }

  #resize(size: number): void {
    const flows = this.values();
    this.#flows = new Array<F | null>(size).fill(null);
    this.#hashes = new Int32Array(size);
    this.#mask = size - 1;
    for (const flow of flows) this.#insert(flow);
  }
}

const rotate = (x: number): number => (x << 13) | (x >>> 19);

const mix = (h: number, x: number): number => {
  h = Math.imul(h ^ x, 0x9e3779b1);
  return h ^ (h >>> 15);
};

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
