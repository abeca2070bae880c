/** Wire formats: bytes and fields, no state. Each protocol is a namespace of the same shape. @module */
export { BROADCAST_MAC, Cidr, formatMac, formatV4, formatV6, IpAddress, MacAddress, parseIp } from './address.ts';
export * as arp from './arp.ts';
export * as ethernet from './ethernet.ts';
export * as fragment from './fragment.ts';
export * as icmpv4 from './icmpv4.ts';
export * as icmpv6 from './icmpv6.ts';
export * as ip from './ip.ts';
export * as ipv4 from './ipv4.ts';
export * as ipv6 from './ipv6.ts';
export { fold, type Octets, octetsOf, swap } from './octets.ts';
export { formatFrame, formatIp, type Medium } from './packet.ts';
export * as tcp from './tcp.ts';
export * as udp from './udp.ts';
