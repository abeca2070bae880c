/** Link types of the tcpdump registry (tcpdump.org/linktypes.html): what the packets of a capture begin with. @module */

/** BSD loopback: a u32 address family, in the byte order of the machine that captured. */
export const LINKTYPE_NULL = 0;
/** An Ethernet header. */
export const LINKTYPE_ETHERNET = 1;
/** PPP, with or without the address and control bytes; the same with them, or HDLC's. */
export const LINKTYPE_PPP = 9;
export const LINKTYPE_PPP_HDLC = 50;
/** A session of PPP over Ethernet, without the Ethernet header. */
export const LINKTYPE_PPP_ETHER = 51;
/** An IPv4 or IPv6 header. */
export const LINKTYPE_RAW = 101;
/** The same by the numbers that BSD and OpenBSD have for it, which files have that were not written by libpcap. */
export const LINKTYPE_RAW_BSD = 12;
export const LINKTYPE_RAW_OPENBSD = 14;
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
  [LINKTYPE_PPP]: 'PPP',
  [LINKTYPE_RAW_BSD]: 'raw IP',
  [LINKTYPE_RAW_OPENBSD]: 'raw IP',
  [LINKTYPE_PPP_HDLC]: 'PPP',
  [LINKTYPE_PPP_ETHER]: 'PPP over Ethernet',
  [LINKTYPE_RAW]: 'raw IP',
  [LINKTYPE_LOOP]: 'OpenBSD loopback',
  [LINKTYPE_LINUX_SLL]: 'Linux cooked',
  [LINKTYPE_IPV4]: 'raw IPv4',
  [LINKTYPE_IPV6]: 'raw IPv6',
  [LINKTYPE_LINUX_SLL2]: 'Linux cooked v2',
  6: 'Token Ring',
  10: 'FDDI',
  104: 'Cisco HDLC',
  105: '802.11',
  107: 'Frame Relay',
  117: 'PF log',
  127: '802.11 with radiotap',
  138: 'IP over IEEE 1394',
  187: 'Bluetooth HCI',
  195: '802.15.4',
  201: 'Bluetooth HCI with its direction',
  220: 'USB of Linux',
  227: 'CAN of Linux',
  239: 'NFLOG of Linux',
  240: 'NetANALYZER',
  249: 'USBPcap',
  251: 'Bluetooth Low Energy',
};
