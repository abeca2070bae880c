/** Counters of a stack. Nothing is logged: what happens is counted under its name. @module */
import type { Drop as ArpDrop } from '../wire/arp.ts';
import type { Drop as Dhcpv4Drop } from '../wire/dhcpv4.ts';
import type { Drop as Dhcpv6Drop } from '../wire/dhcpv6.ts';
import type { Drop as DnsDrop } from '../wire/dns.ts';
import type { Drop as EthernetDrop } from '../wire/ethernet.ts';
import type { Drop as IcmpDrop } from '../wire/icmpv4.ts';
import type { Drop as IgmpDrop } from '../wire/igmp.ts';
import type { Drop as Ipv4Drop } from '../wire/ipv4.ts';
import type { Drop as Ipv6Drop } from '../wire/ipv6.ts';
import type { Drop as Ipv6ExtensionDrop } from '../wire/ipv6-extension.ts';
import type { Drop as MldDrop } from '../wire/mld.ts';
import type { Drop as NdpDrop } from '../wire/ndp.ts';
import type { Drop as TcpDrop } from '../wire/tcp.ts';
import type { Drop as UdpDrop } from '../wire/udp.ts';

type WireDrop =
  | ArpDrop
  | Dhcpv4Drop
  | Dhcpv6Drop
  | DnsDrop
  | EthernetDrop
  | IcmpDrop
  | IgmpDrop
  | Ipv4Drop
  | Ipv6Drop
  | Ipv6ExtensionDrop
  | MldDrop
  | NdpDrop
  | TcpDrop
  | UdpDrop;

/** Why a packet that was well formed was dropped, in or out. */
type StackDrop =
  | 'link-not-ours' // the Ethernet destination is another host's
  | 'link-unknown-type' // an EtherType no layer takes
  | 'ip-bad-source' // a source address that must not be one: RFC 1122 §3.2.1.3
  | 'ip-martian' // loopback or own addresses from outside: RFC 1812 §5.3.7
  | 'ip-bad-zone' // a link-local address with bits where there must be none: RFC 4291 §2.5.6
  | 'ip-link-group' // for one host in IP, for everybody on the link
  | 'ip-not-ours' // no interface has the destination
  | 'ip-no-member' // for a group that the interface is not in
  | 'ip-source-filtered' // for a group, from a source that nobody wants: RFC 3376 §3.2
  | 'igmp-unknown-type'
  | 'igmp-no-alert' // a query without the router alert option: RFC 3376 §9.1
  | 'igmp-bad-destination' // a general query to another group than 224.0.0.1
  | 'igmp-bad-query' // a general query with sources, or about no group
  | 'mld-no-alert' // RFC 3810 §6.2
  | 'mld-bad-destination'
  | 'mld-bad-query'
  | 'multicast-loop-full' // too many own datagrams wait to come back to this host
  | 'ip-ttl-exceeded' // of a packet to forward
  | 'ip-too-big' // to forward: more than the next link carries
  | 'ip-not-forwarded' // loopback, link-local, multicast, broadcast: RFC 1812 §5.3
  | 'ip-reverse-path' // RFC 3704: the way back leads elsewhere
  | 'ip-bad-offload' // a super-segment that cannot be cut
  | 'nd-ignored' // an advertisement or redirect where routers are not listened to, a solicitation where none is
  | 'nd-not-ours' // asks for somebody else
  | 'nd-unsolicited' // an advertisement of a neighbour that is of no interest: RFC 4861 §7.2.5
  | 'nd-conflict' // another host advertises our address
  | 'nd-looped' // our own probe for duplicates: RFC 7527
  | 'nd-redirect-refused' // not from the first hop, or not wanted: RFC 4861 §8.1
  | 'nd-bad-prefix' // no address can be made of it: RFC 4862 §5.5.3
  | 'nd-table-full' // more routers, prefixes, routes or addresses than are remembered
  | 'ip-fragment-truncated' // no room for the fragment header: RFC 8200 §4.5
  | 'ip-fragment-bad-length' // not a multiple of 8 although more follow
  | 'ip-fragment-empty'
  | 'ip-fragment-too-long' // the whole would be above 65535 bytes
  | 'ip-fragment-tiny' // made to get past filters: RFC 1858, RFC 3128
  | 'ip-fragment-header-chain' // the first one does not hold all headers: RFC 7112
  | 'ip-fragment-nested' // fragments of a fragment
  | 'ip-fragment-overlap' // RFC 5722: all of the datagram goes, and what still comes of it
  | 'ip-fragment-duplicate'
  | 'ip-fragment-ecn' // a mixture that no path makes: RFC 3168 §5.3
  | 'ip-fragment-shed' // too many incomplete datagrams
  | 'ip-fragment-timeout'
  | 'fragment-queue-full' // cut packets that wait for room
  | 'ip-unknown-protocol'
  | 'dhcp-other-client' // of another exchange: its transaction, link address or client identifier is not ours
  | 'dhcp-other-server' // not from the server that was chosen
  | 'dhcp-unexpected' // a message that nobody waits for in this state
  | 'dhcp-bad-lease' // an address, a mask or a time that cannot be
  | 'dhcp-no-lease' // our server has no address left
  | 'arp-conflict' // another host claims our address
  | 'dns-wrong-id' // an answer to nothing we asked: RFC 5452 §9
  | 'dns-wrong-question'
  | 'dns-not-an-answer' // a query where an answer was due
  | 'dns-not-a-query'
  | 'dns-wrong-source' // mDNS from beyond the link: RFC 6762 §11
  | 'dns-server-busy' // more queries at once than our server takes
  | 'icmp-unknown-type'
  | 'icmp-ignored-type' // a request or a reply that no host needs: RFC 6918, RFC 1122 §3.2.2.7 to §3.2.2.9
  | 'icmp-redirect-refused' // not from the first hop, not to a neighbour, or not wanted: RFC 1122 §3.2.2.2
  | 'icmp-error-queue-full' // errors that nobody takes
  | 'raw-queue-full'
  | 'icmp-no-socket'
  | 'icmp-source-quench' // RFC 9293 MUST-55
  | 'icmp-bad-mtu' // a path MTU that cannot be: RFC 5927 §7.2
  | 'icmp-queue-full'
  | 'icmp-group-address' // a ping to everybody
  | 'no-route' // an answer that has no way to go
  | 'ip-empty'
  | 'icmp-rate-limited'
  | 'neighbour-queue-full'
  | 'neighbour-unreachable'
  | 'device-full'
  | 'no-memory'
  | 'udp-no-socket'
  | 'udp-queue-full'
  | 'tcp-no-socket' // answered with RST
  | 'tcp-min-ttl' // from farther away than the socket takes: RFC 5082
  | 'tcp-bad-flags'
  | 'tcp-not-acceptable' // outside the window: answered with an ACK
  | 'tcp-paws' // RFC 7323 §5.3
  | 'tcp-bad-ack'
  | 'tcp-reset-ignored' // outside the window, or for nobody
  | 'tcp-reset-challenged' // RFC 5961 §3.2
  | 'tcp-syn-queue-full'
  | 'tcp-bad-cookie' // an acknowledgement that fits no SYN cookie; without text it is answered with RST
  | 'tcp-accept-queue-full'
  | 'tcp-no-buffer' // data in the window that memory could not hold
  | 'tcp-group-address' // RFC 9293 MUST-57
  | 'tcp-time-wait';

/** Every reason for which a packet is dropped. */
export type DropReason = WireDrop | StackDrop;

/** @param isInput - whether it is the frame that a device gave last; else one that waited, or one of our own */
export type DropListener = (reason: DropReason, isInput: boolean) => void;

export class Stats {
  /** Packets dropped, by reason; a reason that never happened is absent. */
  readonly drops: Partial<Record<DropReason, number>> = {};
  framesIn = 0;
  framesOut = 0;
  // They pass 2^31 soon. Beginning above it they are doubles to V8 from the first; otherwise the whole data path was
  // thrown out of its optimized code at that point, with 0.6 MB of garbage (measured: test/runtime/allocation.test.ts).
  bytesIn = 2 ** 40;
  bytesOut = 2 ** 40;
  /** Messages of neighbour discovery, redirects followed, addresses of ours that another host had. */
  ndIn = 0;
  ndOut = 0;
  ndRedirects = 0;
  ndDuplicates = 0;
  /** Fragments in and out; datagrams put together of the ones and cut into the others. */
  fragmentsIn = 0;
  fragmentsOut = 0;
  datagramsReassembled = 0;
  datagramsFragmented = 0;
  icmpErrorsOut = 0;
  icmpErrorsIn = 0;
  /** Redirects of IPv4 that were followed. */
  icmpRedirects = 0;
  /** Messages of IGMP and MLD, for routers too. */
  igmpIn = 0;
  igmpOut = 0;
  mldIn = 0;
  mldOut = 0;
  /** Packets passed on from one interface to another; a super-segment is one. */
  ipForwarded = 0;
  ipRedirectsOut = 0;
  udpIn = 0;
  udpOut = 0;
  tcpSegmentsIn = 0;
  tcpSegmentsOut = 0;
  tcpRetransmits = 0;
  tcpTimeouts = 0;
  tcpFastRetransmits = 0;
  /** Segments the peer reported to have received twice: RFC 2883. */
  tcpDsacksIn = 0;
  /** Times reordering was seen, the peer dropped what it had SACKed, a probe repaired a loss. */
  tcpReorderings = 0;
  tcpRenegings = 0;
  tcpProbesRecovered = 0;
  /** Reductions of the window because the network marked packets; reductions taken back; timeouts among them that were for nothing. */
  tcpEcnReductions = 0;
  tcpUndone = 0;
  tcpSpuriousTimeouts = 0;
  tcpResetsIn = 0;
  tcpResetsOut = 0;
  tcpActiveOpens = 0;
  tcpPassiveOpens = 0;
  tcpFailures = 0;
  tcpChallengeAcks = 0;
  /** Challenges not sent: RFC 5961 §7. */
  tcpChallengeAcksLimited = 0;
  tcpSynCookiesSent = 0;
  tcpSynCookiesReceived = 0;
  tcpSynCookiesFailed = 0;
  /** Fast Open, RFC 7413: text of a SYN taken by the peer, and not; taken by us, refused for its cookie or for want of room; cookies asked for. */
  tcpFastOpenActive = 0;
  tcpFastOpenActiveFailed = 0;
  tcpFastOpenPassive = 0;
  tcpFastOpenPassiveFailed = 0;
  tcpFastOpenOverflows = 0;
  tcpFastOpenCookiesAsked = 0;
  /** SYNs that `onSyn` was told of, and those of them rejected. */
  tcpSynsHeld = 0;
  tcpSynsRejected = 0;
  /** Connections reset when their user let go, because there were too many without one. */
  tcpOrphansReset = 0;
  /** Path MTUs lowered because a router said so, about datagrams; about TCP's segments. */
  pathMtuChanges = 0;
  tcpPathMtuChanges = 0;
  /** Times full-sized segments were taken for lost on account of their size; larger ones tried, and those that arrived. */
  tcpBlackHoles = 0;
  tcpMtuProbes = 0;
  tcpMtuProbesPassed = 0;
  /** TIME-WAIT records given up early because the table was full. */
  tcpTimeWaitOverflows = 0;

  /** Whether what is dropped now is the frame that a device gave last. */
  isInput = false;
  #onDrop: DropListener | null = null;

  constructor() {
    this.bytesIn = 0;
    this.bytesOut = 0;
  }

  /** @param count - packets dropped at once */
  drop(reason: DropReason, count = 1): void {
    this.drops[reason] = (this.drops[reason] ?? 0) + count;
    this.#onDrop?.(reason, this.isInput);
  }

  /** The same of a packet of ours that does not leave, whatever was being taken in. See {@link Interface.refuse}. */
  dropOut(reason: DropReason): void {
    this.drops[reason] = (this.drops[reason] ?? 0) + 1;
    this.#onDrop?.(reason, false);
  }

  /** For tools: told of each drop as it happens, one listener; it must do nothing with the stack. See PcapWriter.explain. */
  get onDrop(): DropListener | null {
    return this.#onDrop;
  }

  set onDrop(listener: DropListener | null) {
    this.#onDrop = listener;
  }
}
