/** Datagrams and their fragments, cut by hand as a test wants them, and a stack that takes them. @module */
import { Random } from '../src/phy/random.ts';
import { Stack } from '../src/stack.ts';
import type { UdpSocket } from '../src/udp/socket.ts';
import { Cidr, IpAddress } from '../src/wire/address.ts';
import { PROTOCOL_UDP, pseudoHeaderSum } from '../src/wire/ip.ts';
import * as ipv4 from '../src/wire/ipv4.ts';
import * as ipv6 from '../src/wire/ipv6.ts';
import { octetsOf } from '../src/wire/octets.ts';
import { formatFrame } from '../src/wire/packet.ts';
import * as udp from '../src/wire/udp.ts';
import { PeerDevice } from './peer.ts';

export type Version = 4 | 6;
export const PORT = 53;
const LOCALS = { 4: IpAddress.parse('10.0.0.1'), 6: IpAddress.parse('fd00::1') };
export const REMOTES = { 4: IpAddress.parse('10.0.0.2'), 6: IpAddress.parse('fd00::2') };
const V6_FRAGMENT = 44;

/** The UDP datagram, header and all, that `data` makes from `source` to the stack. */
export function datagramOf(version: Version, data: Uint8Array, source = REMOTES[version]): Uint8Array {
  const bytes = new Uint8Array(8 + data.length);
  bytes.set(data, 8);
  const pseudo = pseudoHeaderSum(source, LOCALS[version], PROTOCOL_UDP);
  udp.emit(octetsOf(bytes), 0, 5000, PORT, bytes.length, pseudo);
  return bytes;
}

export interface Cut {
  readonly start: number;
  readonly end: number;
  readonly more: boolean;
  readonly id?: number;
  readonly protocol?: number;
  readonly source?: IpAddress;
  /** DS field with ECN. */
  readonly ds?: number;
  /** Extension headers that stand before the fragment header, and the protocol of the first of them. */
  readonly before?: Uint8Array;
  readonly beforeProtocol?: number;
}

/** The packet that carries bytes `[start, end)` of what IP is to carry. */
export function fragmentOf(version: Version, whole: Uint8Array, cut: Cut): Uint8Array {
  const { start, end, more, id = 7, protocol = PROTOCOL_UDP, source = REMOTES[version], ds = 0 } = cut;
  const data = whole.subarray(start, end);
  if (version === 4) {
    const bytes = new Uint8Array(20 + data.length);
    bytes.set(data, 20);
    const flags = (more ? ipv4.MORE_FRAGMENTS : 0) | (start >> 3);
    ipv4.emit(octetsOf(bytes).dv, 0, bytes.length, ds, id & 0xffff, flags, 61, protocol, source.d, LOCALS[4].d);
    return bytes;
  }
  const before = cut.before ?? new Uint8Array(0);
  const header = 40 + before.length;
  const bytes = new Uint8Array(header + 8 + data.length);
  const { dv } = octetsOf(bytes);
  const first = cut.beforeProtocol ?? V6_FRAGMENT;
  ipv6.emit(dv, 0, bytes.length - 40, ds, 61, first, source, LOCALS[6]);
  bytes.set(before, 40);
  bytes[header] = protocol;
  dv.setUint16(header + 2, start | (more ? 1 : 0));
  dv.setInt32(header + 4, id);
  bytes.set(data, header + 8);
  return bytes;
}

/** All of `whole` in pieces of `size` bytes, a multiple of 8. */
export function fragmentsOf(version: Version, whole: Uint8Array, size: number, cut: Partial<Cut> = {}): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let start = 0; start < whole.length; start += size) {
    const end = Math.min(whole.length, start + size);
    pieces.push(fragmentOf(version, whole, { ...cut, start, end, more: end < whole.length }));
  }
  return pieces;
}

/** A stack that takes fragments. */
export class FragmentRig {
  readonly device: PeerDevice;
  readonly stack: Stack;
  readonly socket: UdpSocket;
  now = 1000;
  /** Bytes held before the first fragment came. */
  readonly idleBytes: number;

  constructor(memory = 8 << 20, mtu = 1500, offload = false) {
    this.device = new PeerDevice('ip', mtu, offload);
    const random = new Random(1);
    this.stack = new Stack({ random: () => random.next(), memory });
    this.stack.addInterface(this.device, { addresses: [Cidr.parse('10.0.0.1/8'), Cidr.parse('fd00::1/16')] });
    this.socket = this.stack.udpSocket(1 << 20);
    this.socket.bind({ port: PORT });
    this.stack.poll(this.now);
    this.idleBytes = this.stack.memory.usedBytes;
  }

  send(...packets: readonly Uint8Array[]): void {
    for (const packet of packets) {
      this.device.deliver(packet);
      this.stack.poll(this.now);
    }
  }

  /** Lets time pass. */
  pass(ms: number): void {
    this.now += ms;
    this.stack.poll(this.now);
  }

  /** The datagrams that came up, whole. */
  take(): Uint8Array[] {
    const all: Uint8Array[] = [];
    const source = { length: 0, port: 0, ttl: 0, a: 0, b: 0, c: 0, d: 0 } as never;
    for (let length = this.socket.peekLength(); length >= 0; length = this.socket.peekLength()) {
      const data = new Uint8Array(length);
      this.socket.recv(data, source);
      all.push(data);
    }
    return all;
  }

  /** What the stack sent, as lines; all of it is forgotten. */
  lines(): string[] {
    return this.device.sent.splice(0).map((bytes) => formatFrame(octetsOf(bytes), 0, bytes.length, 'ip'));
  }

  drops(reason: keyof Stack['stats']['drops']): number {
    return this.stack.stats.drops[reason] ?? 0;
  }

  /** Fragments that were dropped, whatever the reason. */
  get fragmentsDropped(): number {
    return Object.entries(this.stack.stats.drops).reduce(
      (sum, [reason, count]) => sum + (reason.startsWith('ip-fragment') ? count : 0),
      0,
    );
  }

  end(): void {
    this.stack.close();
  }
}
