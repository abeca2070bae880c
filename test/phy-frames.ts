/** What the tests of devices share, and no tests: packets built in a memory, and a device that is played by hand. */
import {
  allocFrame,
  CHECKSUM_FULL,
  CHECKSUM_PARTIAL,
  frameBytes,
  frameStart,
  setFrameBounds,
  setFrameOffload,
} from '../src/memory/frame.ts';
import type { Memory } from '../src/memory/memory.ts';
import type { Device, Medium } from '../src/phy/device.ts';
import { IpAddress, MacAddress } from '../src/wire/address.ts';
import * as ethernet from '../src/wire/ethernet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP, pseudoHeaderSum } from '../src/wire/ip.ts';
import * as ipv4 from '../src/wire/ipv4.ts';
import * as ipv6 from '../src/wire/ipv6.ts';
import { fold } from '../src/wire/octets.ts';
import * as tcp from '../src/wire/tcp.ts';
import * as udp from '../src/wire/udp.ts';

export interface PacketOptions {
  readonly medium?: Medium;
  readonly family?: 4 | 6;
  readonly protocol?: 'tcp' | 'udp';
  /** Payload bytes, 0 1 2 3 ... */
  readonly length?: number;
  readonly partial?: boolean;
  readonly gsoSize?: number;
  /** Sequence number, or source port of a datagram. */
  readonly id?: number;
  /** Where a datagram goes. Default port 53 of the second host. */
  readonly destination?: string;
  readonly destinationPort?: number;
}

export const mac = (text: string): MacAddress => MacAddress.parse(text);

const ADDRESSES = {
  4: [IpAddress.parse('10.0.0.1'), IpAddress.parse('10.0.0.2')],
  6: [IpAddress.parse('fd00::1'), IpAddress.parse('fd00::2')],
} as const;

/** A sound TCP segment or UDP datagram between two hosts; its checksum complete unless `partial`. */
export function packet(memory: Memory, options: PacketOptions = {}): number {
  const { medium = 'ip', family = 4, protocol = 'tcp', length = 4, partial = false, gsoSize = 0, id = 1 } = options;
  const ipHeader = family === 4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH;
  const header = protocol === 'tcp' ? tcp.HEADER_LENGTH : udp.HEADER_LENGTH;
  const frame = allocFrame(memory, ipHeader + header + length);
  const p = frameStart(memory, frame);
  const t = p + ipHeader;
  const end = t + header + length;
  const [source] = ADDRESSES[family];
  const destination = options.destination === undefined ? ADDRESSES[family][1] : IpAddress.parse(options.destination);
  const port = options.destinationPort ?? 53;
  const number = protocol === 'tcp' ? PROTOCOL_TCP : PROTOCOL_UDP;
  const { dv } = memory;
  for (let i = 0; i < length; i++) memory.u8[t + header + i] = i & 0xff;
  if (family === 4) ipv4.emit(dv, p, end - p, 0, 0, 0, 64, number, source.d, destination.d);
  else ipv6.emit(dv, p, end - t, 0, 64, number, source, destination);
  const pseudo = pseudoHeaderSum(source, destination, number);
  const partialSum = fold(pseudo + end - t);
  if (protocol === 'tcp') {
    tcp.emit(dv, t, (4000 << 16) | 80, id, 7, tcp.HEADER_LENGTH, tcp.ACK, 1000);
    if (partial) tcp.setChecksum(dv, t, partialSum);
    else tcp.complete(memory, t, end, pseudo);
  } else if (partial) {
    udp.emitPartial(dv, t, id, port, end - t, partialSum);
  } else {
    udp.emit(memory, t, id, port, end - t, pseudo);
  }
  let start = p;
  if (medium === 'ethernet') {
    start = p - ethernet.HEADER_LENGTH;
    const type = family === 4 ? ethernet.ETHERTYPE_IPV4 : ethernet.ETHERTYPE_IPV6;
    ethernet.emit(dv, start, mac('02:00:00:00:00:02'), mac('02:00:00:00:00:01'), type);
  }
  setFrameBounds(memory, frame, start, end);
  setFrameOffload(memory, frame, partial ? CHECKSUM_PARTIAL : CHECKSUM_FULL, gsoSize, partial || gsoSize > 0 ? t : 0);
  return frame;
}

/** Whether the transport checksum that stands in the packet `bytes` is right. */
export function checksumHolds(memory: Memory, p: number, end: number, options: PacketOptions = {}): boolean {
  const { family = 4, protocol = 'tcp', medium = 'ip' } = options;
  const [source, destination] = ADDRESSES[family];
  const ip = p + (medium === 'ethernet' ? ethernet.HEADER_LENGTH : 0);
  const t = ip + (family === 4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH);
  const pseudo = pseudoHeaderSum(source, destination, protocol === 'tcp' ? PROTOCOL_TCP : PROTOCOL_UDP);
  if (protocol === 'tcp') return tcp.check(memory, t, end, pseudo) === null;
  return udp.check(memory, t, end, pseudo, family === 6) === null;
}

/** An Ethernet frame of no protocol, `length` bytes and the last of them `tag`. */
export function etherFrame(memory: Memory, destination: string, source: string, tag = 0, length = 60): number {
  const frame = allocFrame(memory, length);
  const p = frameStart(memory, frame);
  memory.u8.fill(0, p, p + length);
  ethernet.emit(memory.dv, p, mac(destination), mac(source), 0x88b5); // IEEE 802 local experimental
  memory.u8[p + length - 1] = tag;
  setFrameBounds(memory, frame, p, p + length);
  return frame;
}

/** The last byte of a frame, which is then given back; -1 for none. */
export function takeTag(memory: Memory, frame: number): number {
  if (frame === 0) return -1;
  const bytes = frameBytes(memory, frame);
  memory.free(frame);
  return bytes[bytes.length - 1]!;
}

/** A device played by hand: `arrived` is what it will give, `sent` what it was given. */
export class HandDevice implements Device {
  readonly medium: Medium;
  readonly mtu = 1500;
  readonly offload: boolean;
  readonly memory = null;
  readonly arrived: number[] = [];
  readonly sent: { frame: number; now: number }[] = [];
  roomFrames = 1000;
  closed = 0;
  attached: Memory | null = null;
  wake: () => void = () => {};

  constructor(medium: Medium = 'ip', offload = false) {
    this.medium = medium;
    this.offload = offload;
  }

  attach(memory: Memory, wake: () => void): void {
    this.attached = memory;
    this.wake = wake;
  }

  receive(): number {
    return this.arrived.shift() ?? 0;
  }

  room(): number {
    return this.roomFrames - this.sent.length;
  }

  transmit(frame: number, now: number): void {
    this.sent.push({ frame, now });
  }

  pollAt(): number {
    return Number.POSITIVE_INFINITY;
  }

  close(): void {
    this.closed++;
    for (const frame of this.arrived.splice(0)) this.attached?.free(frame);
    for (const { frame } of this.sent.splice(0)) this.attached?.free(frame);
  }
}
