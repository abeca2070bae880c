/** Wire formats: bytes and fields, no state. Each protocol is a namespace of the same shape. @module */
export { BROADCAST_MAC, Cidr, formatMac, formatV4, formatV6, IpAddress, MacAddress, parseIp } from './address.ts';
export * as arp from './arp.ts';
export * as dhcpv4 from './dhcpv4.ts';
export * as dhcpv6 from './dhcpv6.ts';
export * as dns from './dns.ts';
export { encodeNames, parseNames } from './domain-names.ts';
export * as ethernet from './ethernet.ts';
export * as fragment from './fragment.ts';
export * as groupRecord from './group-record.ts';
export * as icmpv4 from './icmpv4.ts';
export * as icmpv6 from './icmpv6.ts';
export * as igmp from './igmp.ts';
export * as ip from './ip.ts';
export * as ipv4 from './ipv4.ts';
export * as ipv4Options from './ipv4-options.ts';
export * as ipv6 from './ipv6.ts';
export * as ipv6Extension from './ipv6-extension.ts';
export {
  LINKTYPE_ETHERNET,
  LINKTYPE_RAW,
  linkTypeName,
  linkTypeOf,
  type Medium,
} from './link-type.ts';
export * as mld from './mld.ts';
export * as ndp from './ndp.ts';
export * as ndpOptions from './ndp-options.ts';
export { fold, type Octets, octetsOf, swap } from './octets.ts';
export { formatFrame, formatIp } from './packet.ts';
export * as tcp from './tcp.ts';
export * as udp from './udp.ts';
export * as vlan from './vlan.ts';
