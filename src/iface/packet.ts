/** The packet being processed: one record, filled by the interface and read by the layers above. @module */
import { IpAddress } from '../wire/address.ts';
import { fold, halves } from '../wire/octets.ts';
import type { Interface } from './interface.ts';

/** All fields are set before a layer sees the record; none outlives the packet. */
export class Packet {
  /** Set before a layer sees the record. */
  iface: Interface;
  /** 4 or 6. */
  version = 4;
  /** Offsets in the memory: the IP header, what follows it, and the end of the packet. */
  header = 0;
  payload = 0;
  end = 0;
  protocol = 0;
  /** DS field and ECN bits. */
  ds = 0;
  ttl = 0;
  /** The addresses as the four words of {@link IpAddress}. */
  srcA = 0;
  srcB = 0;
  srcC = 0;
  srcD = 0;
  dstA = 0;
  dstB = 0;
  dstC = 0;
  dstD = 0;
  /** What the zones in the addresses add to the sum of the pseudo-header, which a wire does not know. */
  zoneSum = 0;
  /** Whether a device vouches for the transport checksum. */
  trusted = false;
  /** Payload bytes a segment, where the packet is a super-segment; else 0. */
  gsoSize = 0;
  /** Whether it came in fragments, or as one: RFC 6980 wants no neighbour discovery in such. See reassembly.ts. */
  fragmented = false;
  /** Whether it was sent to a multicast or broadcast address, of the link or of IP. */
  toGroup = false;
  /** Value of the router alert in its hop-by-hop options: RFC 2711; -1: none. IPv6 only. */
  routerAlert = -1;
  /** Whether it is our own, sent to a group that we are in ourselves. */
  looped = false;
  /** Whether a raw socket has got it, so that nobody need be told that no one wants it. */
  isTaken = false;

  constructor(iface: Interface) {
    this.iface = iface;
  }

  /** Takes the interface, version and addresses of `other`. */
  copyFrom(other: Packet): void {
    this.iface = other.iface;
    this.version = other.version;
    this.srcA = other.srcA;
    this.srcB = other.srcB;
    this.srcC = other.srcC;
    this.srcD = other.srcD;
    this.dstA = other.dstA;
    this.dstB = other.dstB;
    this.dstC = other.dstC;
    this.dstD = other.dstD;
  }

  /** Whether all address words but the last of each are those of `other`. */
  sameHighWords(other: Packet): boolean {
    return (
      this.srcC === other.srcC &&
      this.dstC === other.dstC &&
      this.srcB === other.srcB &&
      this.dstB === other.dstB &&
      this.srcA === other.srcA &&
      this.dstA === other.dstA
    );
  }

  get source(): IpAddress {
    return new IpAddress(this.srcA, this.srcB, this.srcC, this.srcD);
  }

  get destination(): IpAddress {
    return new IpAddress(this.dstA, this.dstB, this.dstC, this.dstD);
  }

  /** Sum of the pseudo-header without the length, or -1 where the checksum is trusted. */
  get pseudoSum(): number {
    if (this.trusted) return -1;
    const low = halves(this.srcD) + halves(this.dstD) + this.protocol;
    if (this.version === 4) return fold(low);
    return fold(
      low +
        halves(this.srcA) +
        halves(this.srcB) +
        halves(this.srcC) +
        halves(this.dstA) +
        halves(this.dstB) +
        halves(this.dstC) -
        this.zoneSum,
    );
  }
}
