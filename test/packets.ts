/** Packets as they stand on a wire, computed apart from this code and read back by other tools. @module */
import { hex } from './hex.ts';

/** Who-has 10.0.0.2 tell 10.0.0.1, broadcast. */
export const ARP_REQUEST = hex(`
  ffffffff ffff0200 00000001 08060001 08000604 00010200 00000001 0a000001
  00000000 00000a00 0002
`);

/** 10.0.0.2 is-at 02:00:00:00:00:02. */
export const ARP_REPLY = hex(`
  02000000 00010200 00000002 08060001 08000604 00020200 00000002 0a000002
  02000000 00010a00 0001
`);

/** An echo request over IPv4, 56 bytes of ICMP. */
export const PING = hex(`
  4500004c 1c464000 40010a69 0a000001 0a000002 08004c39 00010002 10111213
  14151617 18191a1b 1c1d1e1f 20212223 24252627 28292a2b 2c2d2e2f 30313233
  34353637 38393a3b 3c3d3e3f
`);

/** The same with an IPv4 router alert option: RFC 2113. */
export const PING_OPTIONS = hex(`
  46000050 1c464000 40017560 0a000001 0a000002 94040000 08004c39 00010002
  10111213 14151617 18191a1b 1c1d1e1f 20212223 24252627 28292a2b 2c2d2e2f
  30313233 34353637 38393a3b 3c3d3e3f
`);

/** An echo reply over IPv4, no data. */
export const PONG = hex(`
  4500001c 00774000 40012668 0a000002 0a000001 0000fffc 00010002
`);

/** The last fragment of a UDP datagram, offset 1480. */
export const FRAGMENT = hex(`
  4500001e beef00b9 4011a724 0a000001 0a000002 7461696c 206f6620 6974
`);

/** Fragmentation needed, next hop 1400, quoting a TCP segment. */
export const FRAG_NEEDED = hex(`
  45c00038 1c464000 400108c1 0a0000fe 0a000001 03044a81 00000578 45000028
  1c464000 40060a88 0a000001 0a000002 a8ca0050 000003e8
`);

/** A SYN as Linux sends it. */
export const TCP_SYN = hex(`
  4500003c 1c464000 40060a74 0a000001 0a000002 a8ca0050 89abcdef 00000000
  a002faf0 cfaa0000 020405b4 0402080a 12345678 00000000 01030307
`);

/** Its answer. */
export const TCP_SYN_ACK = hex(`
  4500003c 00004000 400626ba 0a000002 0a000001 0050a8ca fffffff0 89abcdf0
  a012fe88 52630000 020405b4 0402080a 9abcdef0 12345678 01030307
`);

/** Twelve bytes with timestamps. */
export const TCP_DATA = hex(`
  45000040 1c464000 40060a70 0a000001 0a000002 a8ca0050 89abcdf0 fffffff1
  801801f6 3d5e0000 0101080a 1234567c 9abcdef0 68656c6c 6f2c2077 6f726c64
`);

/** An acknowledgment with timestamps and three SACK blocks. */
export const TCP_SACK = hex(`
  45000050 1c464000 40060a60 0a000002 0a000001 0050a8ca 00000001 000007d0
  f0100400 f1370000 0101080a 00000007 00000008 0101051a 00000bb8 00000fa0
  00001388 00001770 fffffff0 00000010
`);

/** A reset over IPv6. */
export const TCP_RST6 = hex(`
  60000000 00140640 fd000000 00000000 00000000 00000001 fd000000 00000000
  00000000 00000002 0009c350 00000000 0000004d 50140000 f2250000
`);

/** A datagram with a checksum, 12 bytes of data. */
export const UDP_DATA = hex(`
  45000028 1c464000 40110a7d 0a000001 0a000002 13880035 001497ba 68656c6c
  6f2c2077 6f726c64
`);

/** A datagram without one. */
export const UDP_NO_CHECKSUM = hex(`
  4500001f 1c464000 40110a86 0a000001 0a000002 13880035 000b0000 6f6464
`);

/** A datagram whose checksum comes to zero and is sent as all ones. */
export const UDP_ZERO_SUM = hex(`
  4500001e 1c464000 40110a87 0a000001 0a000002 13880035 000affff d81a
`);

/** A datagram over IPv6. */
export const UDP6_DATA = hex(`
  6b8abcde 00141140 fd000000 00000000 00000000 00000001 fd000000 00000000
  00000000 00000002 13880035 0014b1b8 68656c6c 6f2c2077 6f726c64
`);

/** An echo request over IPv6. */
export const PING6 = hex(`
  60000000 00103a40 fd000000 00000000 00000000 00000001 fd000000 00000000
  00000000 00000002 8000c858 00030004 7061796c 6f616421
`);

/** Port unreachable over IPv6, quoting a datagram. */
export const UNREACHABLE6 = hex(`
  60000000 00383a40 fd000000 00000000 00000000 00000002 fd000000 00000000
  00000000 00000001 01049355 00000000 60000000 00081140 fd000000 00000000
  00000000 00000001 fd000000 00000000 00000000 00000002 13880009 0008f248
`);
