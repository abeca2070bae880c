/** TCP segments of a client that no stack stands behind. */
import { allocFrame, HEADROOM } from '../../src/memory/frame.ts';
import { Memory } from '../../src/memory/memory.ts';
import { IpAddress } from '../../src/wire/address.ts';
import { PROTOCOL_TCP, pseudoHeaderSum } from '../../src/wire/ip.ts';
import * as ipv4 from '../../src/wire/ipv4.ts';
import * as tcp from '../../src/wire/tcp.ts';

export interface SegmentSpec {
  readonly from: string;
  readonly to: string;
  readonly fromPort: number;
  readonly toPort: number;
  readonly seq: number;
  readonly ack?: number;
  readonly flags: number;
  readonly data?: Uint8Array;
}

const memory = new Memory({ bytes: 1 << 20 });

/** A whole IPv4 packet. */
export function segment({ from, to, fromPort, toPort, seq, ack = 0, flags, data }: SegmentSpec): Uint8Array {
  const [a, b] = [IpAddress.parse(from), IpAddress.parse(to)];
  const length = ipv4.HEADER_LENGTH + tcp.HEADER_LENGTH + (data?.length ?? 0);
  const frame = allocFrame(memory, length);
  const p = frame + HEADROOM;
  const t = p + ipv4.HEADER_LENGTH;
  ipv4.emit(memory.dv, p, length, 1, 0, ipv4.DONT_FRAGMENT, 64, PROTOCOL_TCP, a.d, b.d);
  tcp.emit(memory.dv, t, (fromPort << 16) | toPort, seq, ack, tcp.HEADER_LENGTH, flags, 0xffff);
  if (data !== undefined) memory.u8.set(data, t + tcp.HEADER_LENGTH);
  tcp.complete(memory, t, p + length, pseudoHeaderSum(a, b, PROTOCOL_TCP));
  const packet = memory.u8.slice(p, p + length);
  memory.free(frame);
  return packet;
}

/** The numbers of a TCP segment that was sent, or null for another packet. */
export function readSegment(packet: Uint8Array): {
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  readonly to: number;
  readonly from: number;
} | null {
  const dv = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  if (packet[0]! >> 4 !== 4 || packet[9] !== PROTOCOL_TCP) return null;
  const t = (packet[0]! & 15) * 4;
  return {
    flags: packet[t + 13]!,
    seq: dv.getInt32(t + 4),
    ack: dv.getInt32(t + 8),
    from: dv.getUint16(t),
    to: dv.getUint16(t + 2),
  };
}
