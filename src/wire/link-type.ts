/** Link types of the tcpdump registry (tcpdump.org/linktypes.html): what the packets of a capture begin with. @module */

/** BSD loopback: a u32 address family, in the byte order of the machine that captured. */
export const LINKTYPE_NULL = 0;
/** An Ethernet header. */
export const LINKTYPE_ETHERNET = 1;
/** An IPv4 or IPv6 header. */
export const LINKTYPE_RAW = 101;
/** As {@link LINKTYPE_NULL}, in network order. */
export const LINKTYPE_LOOP = 108;
/** Linux "any" interface: 16 bytes, the protocol in the last two. */
export const LINKTYPE_LINUX_SLL = 113;
/** An IPv4 header; an IPv6 header. */
export const LINKTYPE_IPV4 = 228;
export const LINKTYPE_IPV6 = 229;
/** Linux "any" interface, version 2: 20 bytes, the protocol in the first two. */
export const LINKTYPE_LINUX_SLL2 = 276;

/** Whether frames of a device begin with an Ethernet header or with the IP header. */
export type Medium = 'ethernet' | 'ip';

/** Link type of a medium. */
export const linkTypeOf = (medium: Medium): number => (medium === 'ethernet' ? LINKTYPE_ETHERNET : LINKTYPE_RAW);

/** The name of a link type, for messages. */
export const linkTypeName = (linkType: number): string => NAMES[linkType] ?? `link type ${linkType}`;

const NAMES: Readonly<Record<number, string>> = {
  [LINKTYPE_NULL]: 'BSD loopback',
  [LINKTYPE_ETHERNET]: 'Ethernet',
  [LINKTYPE_RAW]: 'raw IP',
  [LINKTYPE_LOOP]: 'OpenBSD loopback',
  [LINKTYPE_LINUX_SLL]: 'Linux cooked',
  [LINKTYPE_IPV4]: 'raw IPv4',
  [LINKTYPE_IPV6]: 'raw IPv6',
  [LINKTYPE_LINUX_SLL2]: 'Linux cooked v2',
};
