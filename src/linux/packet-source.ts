/** What a capture's packets come from, and what they look like. @module */

/** A packet seen; one record serves all, so it holds only during the call that hands it over, and so do its bytes. */
export interface SeenPacket {
  /** The bytes of all packets, and where this one's stand. */
  readonly buffer: Uint8Array;
  start: number;
  end: number;
  /** Bytes it had, which may be more than there are. */
  originalLength: number;
  /** Unix time. */
  seconds: number;
  nanoseconds: number;
  outgoing: boolean;
}

export interface PacketSource {
  /** Hands over what there is, within bounds. @returns 0, or the errno for which there will be no more */
  drain(take: (packet: SeenPacket) => void): number;
  /** Ends it, from within `take` too. */
  close(): void;
}

export const noPacket = (buffer: Uint8Array): SeenPacket => ({
  buffer,
  start: 0,
  end: 0,
  originalLength: 0,
  seconds: 0,
  nanoseconds: 0,
  outgoing: false,
});

// linux/if_packet.h, linux/if_arp.h
export const SOL_PACKET = 263;
const PACKET_OUTGOING = 4;
const ARPHRD_LOOPBACK = 772;
const STATUS_TAG_VALID = 0x10;
const STATUS_TAG_TYPE_VALID = 0x40;
const ETHERTYPE_VLAN = 0x8100;
// struct sockaddr_ll
const NAME_HARDWARE = 8; // u16
const NAME_PACKET_TYPE = 10; // u8
/** Room in front of a packet for the tag the kernel took out of it. */
export const TAG_BYTES = 4;
/** Where a tag stands in a frame. */
const TAG_AT = 12;

/**
 * Sets the direction of a packet by its struct sockaddr_ll at `name`.
 * @returns false for one that is seen twice: what goes out through the loopback comes in again
 */
export function readName(seen: SeenPacket, dv: DataView, name: number): boolean {
  seen.outgoing = dv.getUint8(name + NAME_PACKET_TYPE) === PACKET_OUTGOING;
  return !(seen.outgoing && dv.getUint16(name + NAME_HARDWARE, true) === ARPHRD_LOOPBACK);
}

/** Puts the tag back that the kernel took out, into the room in front. @param dv - of the packet's buffer */
export function restoreTag(seen: SeenPacket, dv: DataView, status: number, tag: number, tagType: number): void {
  if ((status & STATUS_TAG_VALID) === 0 || seen.end - seen.start < TAG_AT) return;
  seen.buffer.copyWithin(seen.start - TAG_BYTES, seen.start, seen.start + TAG_AT);
  seen.start -= TAG_BYTES;
  seen.originalLength += TAG_BYTES;
  dv.setUint16(seen.start + TAG_AT, (status & STATUS_TAG_TYPE_VALID) === 0 ? ETHERTYPE_VLAN : tagType);
  dv.setUint16(seen.start + TAG_AT + 2, tag);
}
