/** A stack that forwards between two or three devices held by a test, and packets to put before it. @module */
import { frameFrom, setFrameOffload } from '../src/memory/frame.ts';
import type { Medium } from '../src/phy/device.ts';
import { Random } from '../src/phy/random.ts';
import { Stack, type StackOptions } from '../src/stack.ts';
import { Cidr, IpAddress, MacAddress } from '../src/wire/address.ts';
import * as icmpv4 from '../src/wire/icmpv4.ts';
import * as icmpv6 from '../src/wire/icmpv6.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, pseudoHeaderSum } from '../src/wire/ip.ts';
import * as ipv4 from '../src/wire/ipv4.ts';
import * as ipv6 from '../src/wire/ipv6.ts';
import { octetsOf } from '../src/wire/octets.ts';
import { formatFrame } from '../src/wire/packet.ts';
import * as tcp from '../src/wire/tcp.ts';
import * as udp from '../src/wire/udp.ts';
import { PeerDevice } from './peer.ts';

export const MACS = [0, 1, 2].map((i) => MacAddress.parse(`02:00:00:00:00:f${i}`));

export interface RigOptions {
  readonly forward?: StackOptions['forward'];
  readonly medium?: Medium;
  /** MTUs of the devices, and whether they have offload. */
  readonly mtu?: readonly number[];
  readonly offload?: readonly boolean[];
}

/** 10.0.1.1/24, 10.0.2.1/24, fd01::1/64, fd02::1/64; the third device is the default route's, by 10.0.3.254. */
export class Rig {
  readonly stack: Stack;
  readonly devices: readonly PeerDevice[];
  now = 1000;

  constructor({ forward = true, medium = 'ip', mtu = [], offload = [] }: RigOptions = {}) {
    const random = new Random(1);
    this.stack = new Stack({ random: () => random.next(), memory: 4 << 20, forward });
    this.devices = [0, 1, 2].map((i) => new PeerDevice(medium, mtu[i] ?? 1500, offload[i] ?? false));
    this.devices.forEach((device, i) => {
      const addresses = [Cidr.parse(`10.0.${i + 1}.1/24`), Cidr.parse(`fd0${i + 1}::1/64`)];
      this.stack.addInterface(device, { addresses, mac: MACS[i]!, announce: false, ipv6: { dadTransmits: 0 } });
    });
  }

  /** Has device `i` receive `bytes`, and polls. */
  put(i: number, bytes: Uint8Array): void {
    this.devices[i]!.deliver(bytes);
    this.stack.poll(this.now);
  }

  /** As {@link put}, with the offload words of the frame. */
  putOffloaded(i: number, bytes: Uint8Array, checksum: number, gsoSize: number, transport: number): void {
    const { memory } = this.stack;
    const frame = frameFrom(memory, bytes);
    setFrameOffload(memory, frame, checksum, gsoSize, frame + 128 + transport);
    this.devices[i]!.arrived.push(frame);
    this.stack.poll(this.now);
  }

  /** What has left through device `i` since the last look. */
  taken(i: number): Uint8Array[] {
    return this.devices[i]!.sent.splice(0);
  }

  lines(i: number): string[] {
    return this.taken(i).map((bytes) => formatFrame(octetsOf(bytes), 0, bytes.length, this.devices[i]!.medium));
  }

  drops(): Record<string, number> {
    return { ...this.stack.stats.drops };
  }
}

export interface PacketOptions {
  readonly from?: string;
  readonly to?: string;
  readonly ttl?: number;
  /** Bytes of payload. */
  readonly length?: number;
  /** IPv4 flags and fragment offset, in their place. */
  readonly flags?: number;
  /** Bytes of IPv4 options, a multiple of four. */
  readonly options?: readonly number[];
}

function headed(
  protocol: number,
  { from = '10.0.1.2', to = '10.0.2.2', ttl = 64, flags = 0, options = [] }: PacketOptions,
  body: Uint8Array,
  complete: (o: ReturnType<typeof octetsOf>, p: number, end: number, pseudo: number) => void,
): Uint8Array {
  const source = IpAddress.parse(from);
  const destination = IpAddress.parse(to);
  const header = source.isV4 ? ipv4.HEADER_LENGTH + options.length : ipv6.HEADER_LENGTH;
  const bytes = new Uint8Array(header + body.length);
  const o = octetsOf(bytes);
  bytes.set(body, header);
  complete(o, header, bytes.length, pseudoHeaderSum(source, destination, protocol));
  if (!source.isV4) {
    ipv6.emit(o.dv, 0, body.length, 0, ttl, protocol, source, destination);
    return bytes;
  }
  ipv4.emit(o.dv, 0, bytes.length, 0, 7, flags, ttl, protocol, source.d, destination.d);
  bytes[0] = 0x40 | (header >> 2);
  bytes.set(options, ipv4.HEADER_LENGTH);
  ipv4.patchLength(o, 0, bytes.length, 7);
  return bytes;
}

/** A UDP datagram from port 5000 to port 6000. */
export function udpPacket(options: PacketOptions = {}): Uint8Array {
  const body = new Uint8Array(udp.HEADER_LENGTH + (options.length ?? 10)).map((_, i) => i);
  return headed(PROTOCOL_UDP, options, body, (o, p, end, pseudo) => udp.emit(o, p, 5000, 6000, end - p, pseudo));
}

/** A TCP segment from port 4000 to port 80. */
export function tcpPacket(
  options: PacketOptions & { readonly tcpFlags?: number; readonly seq?: number } = {},
): Uint8Array {
  const body = new Uint8Array(tcp.HEADER_LENGTH + (options.length ?? 10)).map((_, i) => i * 3);
  return headed(PROTOCOL_TCP, options, body, (o, p, end, pseudo) => {
    const flags = options.tcpFlags ?? tcp.ACK;
    tcp.emit(o.dv, p, (4000 << 16) | 80, options.seq ?? 1, 1, tcp.HEADER_LENGTH, flags, 1000);
    tcp.complete(o, p, end, pseudo);
  });
}

/** An ICMP message of either family. */
export function icmpPacket(
  options: PacketOptions & {
    readonly type: number;
    readonly code?: number;
    readonly rest?: number;
    readonly quote?: Uint8Array;
  },
): Uint8Array {
  const { type, code = 0, rest = 0, quote = new Uint8Array(options.length ?? 0) } = options;
  const body = new Uint8Array(icmpv4.HEADER_LENGTH + quote.length);
  body.set(quote, icmpv4.HEADER_LENGTH);
  const isV4 = IpAddress.parse(options.from ?? '10.0.1.2').isV4;
  return headed(isV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6, options, body, (o, p, end, pseudo) => {
    if (isV4) icmpv4.emit(o, p, type, code, rest, end - p);
    else icmpv6.emit(o, p, type, code, rest, end - p, pseudo);
  });
}
