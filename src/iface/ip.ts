import { frameEnd, frameStart, HEADROOM, setFrameBounds } from '../memory/frame.ts';
import { inputIgmp } from '../multicast/igmp.ts';
import { LoopQueue } from '../multicast/loop-queue.ts';
import { groupPath, loopToMembers, sendToGroup } from '../multicast/output.ts';
import { SipHash } from '../tcp/isn.ts';
import { type IpAddress, isMapped, LINK_LOCAL, parseIp } from '../wire/address.ts';
import * as fragment from '../wire/fragment.ts';
import * as icmpv4 from '../wire/icmpv4.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_IGMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { Chain, FRAGMENT, isExtension, NO_NEXT } from '../wire/ipv6-extension.ts';
import { halves } from '../wire/octets.ts';
import { LocalAddresses } from './addresses.ts';
import { isSolicitedNode, mayBeAnyone, mayBeAnyones } from './any-ip.ts';
import { isForConfigPort } from './config-port.ts';
import type { Context } from './context.ts';
import { ErrorCause } from './error-detail.ts';
import { passExtensions } from './extension-headers.ts';
import type { Forwarder } from './forward.ts';
import { Fragmenter } from './fragmenter.ts';
import type { Interface } from './interface.ts';
import { Packet } from './packet.ts';
import { forbidsFragments, type PathMtuDiscovery, PathMtus, packetLimit } from './path-mtu.ts';
import { Reassembly } from './reassembly.ts';
import { type Path, Routes } from './routes.ts';
import type { ErrorReporter, RawTransport, StreamTransport, UdpTransport } from './transport.ts';

/** RFC 1700: the recommended initial TTL. */
export const TTL_DEFAULT = 64;
/** RFC 8200 §3. */
const FLOW_LABEL_MASK = 0xfffff;

export class Ip {
  readonly routes = new Routes();
  readonly addresses = new LocalAddresses(this.routes);
  readonly interfaces: Interface[] = [];
  /** Own datagrams on their way back to this host. */
  readonly looped: LoopQueue;
  readonly pathMtus: PathMtus;
  readonly reassembly: Reassembly;
  readonly fragmenter: Fragmenter;
  tcp!: StreamTransport;
  udp!: UdpTransport;
  icmp!: ErrorReporter;
  /** Where there are raw sockets; else null. */
  raw: RawTransport | null = null;
  /** Passes on what is for others; null on a host. */
  forwarder: Forwarder | null = null;
  /** Where the error comes from that is being delivered. */
  readonly cause = new ErrorCause();
  readonly #context: Context;
  readonly #chain = new Chain();
  readonly #packet = new Packet(null as unknown as Interface);
  /** Addresses of the last unicast packet that was let in, and the routes' generation then. */
  readonly #passed = new Packet(null as unknown as Interface);
  #passedGeneration = -1;
  #lastIndex = 0;
  /** Drawn when the first IPv6 flow begins. */
  #flowHash: SipHash | null = null;

  constructor(context: Context) {
    this.#context = context;
    this.looped = new LoopQueue(context, this);
    this.pathMtus = new PathMtus(context, this.routes);
    this.reassembly = new Reassembly(context, () => this.icmp);
    this.fragmenter = new Fragmenter(context, (path, frame, destination) => this.#transmit(path, frame, destination));
  }

  /**
   * Takes in the packet in `[p, end)`.
   * @param linkGroup - whether its frame was sent to a group address of the link
   */
  input(iface: Interface, p: number, end: number, trusted: boolean, gsoSize: number, linkGroup: boolean): void {
    const packet = this.#packet;
    packet.iface = iface;
    packet.header = p;
    packet.trusted = trusted;
    packet.gsoSize = gsoSize;
    packet.toGroup = linkGroup;
    packet.routerAlert = -1;
    packet.looped = false;
    this.#input(packet, p, end);
  }

  /** Takes in a packet of our own in `[p, end)`, sent on `iface` to a group that `iface` is in. */
  inputLooped(iface: Interface, p: number, end: number, trusted: boolean): void {
    const packet = this.#packet;
    packet.iface = iface;
    packet.header = p;
    packet.trusted = trusted;
    packet.gsoSize = 0;
    packet.toGroup = true;
    packet.routerAlert = -1;
    packet.looped = true;
    this.#input(packet, p, end);
  }

  #input(packet: Packet, p: number, end: number): void {
    if (p < end && ipv6.version(this.#context.memory.dv, p) === 6) this.#inputV6(packet, p, end);
    else this.#inputV4(packet, p, end);
  }

  #inputV4(packet: Packet, p: number, end: number): void {
    const { memory, stats } = this.#context;
    const { dv } = memory;
    const drop = ipv4.check(memory, p, end);
    if (drop !== null) {
      stats.drop(drop);
      return;
    }
    packet.version = 4;
    packet.payload = p + ipv4.headerLength(dv, p);
    packet.end = p + ipv4.totalLength(dv, p);
    packet.protocol = ipv4.protocol(dv, p);
    packet.ds = ipv4.dsEcn(dv, p);
    packet.ttl = ipv4.ttl(dv, p);
    packet.srcA = packet.srcB = packet.dstA = packet.dstB = 0;
    packet.srcC = packet.dstC = 0xffff;
    packet.srcD = ipv4.source(dv, p);
    packet.dstD = ipv4.destination(dv, p);
    if (packet.payload - p > ipv4.HEADER_LENGTH && !this.#optionsPass(packet)) return;
    if (!this.#addressed(packet)) return;
    if (ipv4.isFragment(dv, p)) {
      this.#inputFragment(packet, p, 0, PROTOCOL_ICMP);
      return;
    }
    this.#dispatch(packet, PROTOCOL_ICMP);
  }

  #inputV6(packet: Packet, p: number, end: number): void {
    const { memory, stats } = this.#context;
    const { dv } = memory;
    const drop = ipv6.check(dv, p, end);
    if (drop !== null) {
      stats.drop(drop);
      return;
    }
    packet.version = 6;
    packet.payload = p + ipv6.HEADER_LENGTH;
    packet.end = packet.payload + ipv6.payloadLength(dv, p);
    packet.protocol = ipv6.nextHeader(dv, p);
    packet.ds = ipv6.trafficClass(dv, p);
    packet.ttl = ipv6.hopLimit(dv, p);
    packet.srcA = ipv6.sourceWord(dv, p, 0);
    packet.srcB = ipv6.sourceWord(dv, p, 1);
    packet.srcC = ipv6.sourceWord(dv, p, 2);
    packet.srcD = ipv6.sourceWord(dv, p, 3);
    packet.dstA = ipv6.destinationWord(dv, p, 0);
    packet.dstB = ipv6.destinationWord(dv, p, 1);
    packet.dstC = ipv6.destinationWord(dv, p, 2);
    packet.dstD = ipv6.destinationWord(dv, p, 3);
    // A mapped address is our inner form of IPv4 and must not come from a wire: RFC 4942 §2.2.
    if (isMapped(packet.srcA, packet.srcB, packet.srcC) || isMapped(packet.dstA, packet.dstB, packet.dstC)) {
      stats.drop('ip-martian');
      return;
    }
    packet.zoneSum = 0;
    if ((packet.srcA === LINK_LOCAL || packet.dstA === LINK_LOCAL) && !this.#enterZones(packet)) {
      stats.drop('ip-bad-zone');
      return;
    }
    if (this.#addressed(packet)) this.#dispatch(packet, PROTOCOL_ICMPV6);
  }

  /** What a fragment completes goes on as if it had come in one piece. @param nextAt - see {@link Reassembly.input} */
  #inputFragment(packet: Packet, p: number, nextAt: number, icmpProtocol: number): void {
    if (this.reassembly.input(packet, p, nextAt)) {
      if (packet.version === 6 && packet.protocol === fragment.PROTOCOL_FRAGMENT) this.reassembly.input(packet, 0);
      else this.#dispatch(packet, icmpProtocol);
    }
    this.reassembly.release(packet);
  }

  /**
   * Puts the index of the interface into unicast addresses that are valid on its link only; false: no such address.
   * Groups need none: their members stand with the interface.
   */
  #enterZones(packet: Packet): boolean {
    const { iface } = packet;
    if (packet.srcA === LINK_LOCAL) {
      if (packet.srcB !== 0) return false; // RFC 4291 §2.5.6
      packet.srcB = iface.isLoopback ? this.addresses.zoneOf(packet.srcA, packet.srcC, packet.srcD) : iface.index;
      packet.zoneSum += halves(packet.srcB);
    }
    if (packet.dstA === LINK_LOCAL) {
      if (packet.dstB !== 0) return false;
      packet.dstB = iface.isLoopback ? this.addresses.zoneOf(packet.dstA, packet.dstC, packet.dstD) : iface.index;
      packet.zoneSum += halves(packet.dstB);
    }
    return true;
  }

  /** RFC 1122 §3.2.1.8: options that mean nothing to us are skipped. Whether the packet may go on. */
  #optionsPass(packet: Packet): boolean {
    const drop = ipv4.checkOptions(this.#context.memory.dv, packet.header);
    if (drop === null) return true;
    this.#context.stats.drop(drop);
    // RFC 7126 §4.3.5, §4.4.5: source routes are dropped, without a word. RFC 1122 §3.2.2.5: a bad option is reported.
    if (drop === 'ip-bad-option' && this.#badSource(packet) === null) {
      this.icmp.report(packet, icmpv4.PARAMETER_PROBLEM, 0, ipv4.badOption.pointer << 24);
    }
    return false;
  }

  #dispatch(packet: Packet, icmpProtocol: number): void {
    packet.isTaken = this.raw?.input(packet) === true;
    switch (packet.protocol) {
      case PROTOCOL_TCP:
        this.tcp.input(packet);
        return;
      case PROTOCOL_UDP:
        this.udp.input(packet);
        return;
      case icmpProtocol:
        this.icmp.input(packet);
        return;
      default:
        if (packet.version === 4 && packet.protocol === PROTOCOL_IGMP) {
          inputIgmp(this.#context, packet);
          return;
        }
        if (packet.version === 6 && isExtension(packet.protocol)) {
          this.#inputExtended(packet);
          return;
        }
        // RFC 8200 §4.7: nothing follows, and that is no error.
        if (packet.isTaken || (packet.version === 6 && packet.protocol === NO_NEXT)) return;
        this.#context.stats.drop('ip-unknown-protocol');
        this.icmp.unreachable(packet, 'protocol');
    }
  }

  /** Goes past the extension headers to the protocol above. */
  #inputExtended(packet: Packet): void {
    if (packet.protocol === FRAGMENT) {
      this.#inputFragment(packet, packet.payload, packet.header + ipv6.NEXT_HEADER_OFFSET, PROTOCOL_ICMPV6);
      return;
    }
    const drop = passExtensions(this.#context.memory, packet, this.#chain, this.icmp);
    if (drop !== null) this.#context.stats.drop(drop);
    else if (packet.protocol === FRAGMENT)
      this.#inputFragment(packet, packet.payload, this.#chain.nextHeaderAt, PROTOCOL_ICMPV6);
    else this.#dispatch(packet, PROTOCOL_ICMPV6);
  }

  /** Whether the packet may come from where it says and is for us; counts the drop otherwise. */
  #addressed(packet: Packet): boolean {
    // Most packets have the addresses of the one before: what was found out about those still holds.
    if (this.#isAsBefore(packet)) return true;
    if (!this.#mayPass(packet)) return false;
    if (packet.toGroup) return true;
    this.#passed.copyFrom(packet);
    this.#passedGeneration = this.routes.generation;
    return true;
  }

  #isAsBefore(packet: Packet): boolean {
    const passed = this.#passed;
    return (
      packet.srcD === passed.srcD &&
      packet.dstD === passed.dstD &&
      !packet.toGroup &&
      packet.iface === passed.iface &&
      packet.version === passed.version &&
      this.#passedGeneration === this.routes.generation &&
      (packet.version === 4 || packet.sameHighWords(passed))
    );
  }

  #mayPass(packet: Packet): boolean {
    const { iface } = packet;
    if (this.forwarder?.forwardAgain(packet)) return false;
    const bad = this.#badSource(packet);
    if (bad !== null) {
      this.#context.stats.drop(bad);
      return false;
    }
    if (this.isLocal(packet.dstA, packet.dstB, packet.dstC, packet.dstD)) {
      // RFC 1122 §3.2.1.3 (g), RFC 4291 §2.5.3: loopback addresses must not appear outside a host.
      const toLoopback =
        packet.version === 4
          ? packet.dstD >>> 24 === 127
          : packet.dstD === 1 && packet.dstC === 0 && packet.dstB === 0 && packet.dstA === 0;
      if (toLoopback && !iface.isLoopback) {
        this.#context.stats.drop('ip-martian');
        return false;
      }
      // RFC 1122 §3.3.6: what a link broadcast carries must be for a group in IP too.
      return !packet.toGroup || this.#dropLinkGroup();
    }
    if (iface.isBroadcast(packet.dstA, packet.dstB, packet.dstC, packet.dstD)) {
      packet.toGroup = true;
      return true;
    }
    const isMulticast = packet.version === 4 ? packet.dstD >>> 28 === 0xe : packet.dstA >>> 24 === 0xff;
    if (isMulticast) return this.#passesToGroup(packet);
    if (iface.configPorts.length > 0 && isForConfigPort(iface.configPorts, this.#context.memory, packet)) {
      packet.toGroup = true; // it is answered as little as one to a group, and the next is asked about anew
      return true;
    }
    if (iface.anyIp && mayBeAnyones(packet.version, packet.dstA, packet.dstB, packet.dstC, packet.dstD)) {
      return !packet.toGroup || this.#dropLinkGroup();
    }
    if (this.forwarder === null) this.#context.stats.drop('ip-not-ours');
    else this.forwarder.forward(packet);
    return false;
  }

  #dropLinkGroup(): false {
    this.#context.stats.drop('ip-link-group');
    return false;
  }

  /** RFC 1112 §7.2: only groups that the interface is in. */
  #passesToGroup(packet: Packet): boolean {
    const drop = packet.iface.groups.check(packet);
    packet.toGroup = true;
    // An interface that stands for every address is looked for under every address.
    if (drop === null || (packet.iface.anyIp && isSolicitedNode(packet.dstA, packet.dstB, packet.dstC, packet.dstD)))
      return true;
    this.#context.stats.drop(drop);
    return false;
  }

  /** RFC 1122 §3.2.1.3: a source must be one host's address, and not ours when it comes from outside. */
  #badSource(packet: Packet): 'ip-bad-source' | 'ip-martian' | null {
    const { iface, srcA, srcB, srcC, srcD } = packet;
    if (packet.version === 4) {
      if (srcD >>> 28 >= 0xe) return 'ip-bad-source'; // multicast, class E, limited broadcast
      if (srcD === 0 && !packet.toGroup) return 'ip-bad-source';
      if (srcD >>> 24 === 127 && !iface.isLoopback) return 'ip-martian';
      if (iface.isBroadcast(srcA, srcB, srcC, srcD)) return 'ip-bad-source';
    } else {
      if (srcA >>> 24 === 0xff) return 'ip-bad-source';
      // RFC 4291 §2.5.2: the unspecified address is no source but in neighbour discovery.
      if (srcA === 0 && srcB === 0 && srcC === 0 && srcD === 0 && !packet.toGroup) return 'ip-bad-source';
    }
    if (!iface.isLoopback && !packet.looped && this.isLocal(srcA, srcB, srcC, srcD)) return 'ip-martian';
    return null;
  }

  /** Whether these four words are an address of this stack, on any interface (RFC 1122 §3.3.4.2, weak model). */
  isLocal(a: number, b: number, c: number, d: number): boolean {
    if (c === 0xffff && d >>> 24 === 127 && a === 0 && b === 0) return true; // all of 127.0.0.0/8
    return this.addresses.get(a, b, c, d) !== null;
  }

  /**
   * The flow label of packets from `source` to `destination` and these ports: RFC 6437 §3. The same for all packets of a
   * flow, and never 0; nobody who does not know the key can tell the ports by it.
   */
  flowLabel(source: IpAddress, destination: IpAddress, ports: number): number {
    if (destination.isV4) return 0;
    this.#flowHash ??= new SipHash(this.#context.random);
    const { a, b, c, d } = destination;
    const words = Int32Array.of(source.a, source.b, source.c, source.d, a, b, c, d, ports);
    return this.#flowHash.hash(words) & FLOW_LABEL_MASK || 1;
  }

  /** The index of the next interface. */
  nextIndex(): number {
    return ++this.#lastIndex;
  }

  /** The interface with this index, or null. */
  interfaceOf(zone: number): Interface | null {
    return this.interfaces.find(({ index }) => index === zone) ?? null;
  }

  /**
   * An address a user wrote, on a link if it needs one: on `source`'s, on the only one that has it, or on the first:
   * RFC 4007 §6. Others are given back as they are.
   */
  zoned(address: IpAddress, source: IpAddress | null = null): IpAddress {
    // The zone of a group is the interface, which is chosen elsewhere: by the socket, the source or a route.
    if (!address.lacksZone || address.isMulticast) return address;
    if (source !== null && source.zone !== 0) return address.withZone(source.zone);
    const own = this.addresses.zoneOf(address.a, address.c, address.d);
    if (own !== 0) return address.withZone(own);
    const outside = this.interfaces.filter(({ isLoopback }) => !isLoopback);
    const iface = outside.find(({ addresses }) => addresses.some(({ address: own }) => !own.isV4)) ?? outside[0];
    return address.withZone(iface?.index ?? 0);
  }

  /** Reads an address whose zone may be the name of an interface, or gives null. */
  parse(text: string): IpAddress | null {
    const percent = text.indexOf('%');
    if (percent < 0) return parseIp(text);
    const name = text.slice(percent + 1);
    const iface = this.interfaces.find((other) => other.name === name);
    return parseIp(iface === undefined ? text : `${text.slice(0, percent)}%${iface.index}`);
  }

  /** The text of an address, its zone as the name of the interface: RFC 4007 §11. */
  format(address: IpAddress): string {
    const iface = address.zone === 0 ? null : this.interfaceOf(address.zone);
    return iface === null ? address.toString() : `${address.withZone(0)}%${iface.name}`;
  }

  isLocalAddress(address: IpAddress): boolean {
    return this.isLocal(address.a, address.b, address.c, address.d);
  }

  /** Whether packets may be sent from `address`: it is ours, or an interface of ours stands for all addresses. */
  maySendFrom(address: IpAddress): boolean {
    return this.isLocalAddress(address) || (this.interfaces.some(({ anyIp }) => anyIp) && mayBeAnyone(address));
  }

  /** Whether packets to `address` go to everybody on a network of ours. */
  isBroadcast(address: IpAddress): boolean {
    return this.interfaces.some((iface) => iface.isBroadcast(address.a, address.b, address.c, address.d));
  }

  /** Whether `path` may still be used: nothing about routes and addresses has changed since. */
  isCurrent(path: Path): boolean {
    return path.generation === this.routes.generation;
  }

  /** Our address towards `destination`, or null where no way leads there; nobody is asked for anything. */
  sourceFor(destination: IpAddress): IpAddress | null {
    if (this.isLocalAddress(destination)) return destination;
    const route = this.routes.lookup(destination);
    return route === null ? null : route.iface.sourceFor(destination, route.gateway ?? destination);
  }

  /**
   * Finds the way to `destination`.
   * @param source - our address, where the caller has bound one
   * @param iface - where packets to a group leave, where the caller has chosen
   * @returns the path, or null when no route leads there
   */
  path(destination: IpAddress, source: IpAddress | null, iface: Interface | null = null): Path | null {
    if (destination.isMulticast) return groupPath(this, destination, source, iface);
    return this.#pathTo(destination, source);
  }

  /** RFC 4007 §9, RFC 3927 §3.1: what comes from a link-local address leaves by the link of that address only. */
  #linkOf(source: IpAddress): Interface | null {
    if (source.zone !== 0) return this.interfaceOf(source.zone);
    return this.interfaces.find((iface) => iface.hasAddress(source)) ?? null;
  }

  #pathTo(destination: IpAddress, source: IpAddress | null): Path | null {
    const { generation } = this.routes;
    if (this.isLocalAddress(destination)) {
      const loopback = this.interfaces[0]!;
      return {
        iface: loopback,
        neighbour: null,
        source: source ?? destination,
        mtu: loopback.mtu,
        flowLabel: 0,
        generation,
      };
    }
    const bound = source?.isLinkLocal ? this.#linkOf(source) : null;
    const route = this.routes.lookup(destination, bound);
    const iface = route?.iface ?? (source?.isV4 ? bound : null);
    if (iface === null) return null;
    const gateway = route?.gateway ?? null;
    // RFC 3927 §2.6.2: what is to a link-local address is on the link, and no router is given it.
    let nextHop = gateway === null || (destination.isV4 && destination.isLinkLocal) ? destination : gateway;
    const from = source ?? iface.sourceFor(destination, nextHop);
    // The same for what comes from one, wherever it goes.
    if (from?.isV4 && from.isLinkLocal) nextHop = destination;
    // RFC 1122 §3.2.1.3 (g): a loopback source never leaves.
    if (from === null || from.isLoopback) return null;
    const broadcast = iface.isBroadcast(destination.a, destination.b, destination.c, destination.d);
    const resolved = iface.device.medium === 'ethernet' && !broadcast;
    const neighbour = resolved ? iface.neighbours.get(nextHop) : null;
    return { iface, neighbour, source: from, mtu: this.pathMtus.get(destination, iface.mtu), flowLabel: 0, generation };
  }

  /**
   * Puts the IP header in front of `length` payload bytes that stand at {@link payloadOffset} of `frame`, and sends it.
   * The frame is the IP layer's from now on.
   * @param loops - whether this host gets it too, if it goes to a group that the interface is in
   * @param discovery - what becomes of a packet that is too large: see {@link PathMtuDiscovery}
   */
  send(
    path: Path,
    frame: number,
    length: number,
    protocol: number,
    destination: IpAddress,
    ttl: number,
    ds: number,
    loops = false,
    discovery: PathMtuDiscovery = 'dont',
  ): void {
    const { memory } = this.#context;
    const p = frame + HEADROOM;
    const limit = packetLimit(path, discovery);
    // TCP's segments fit: it never lets itself be fragmented.
    const isTcp = protocol === PROTOCOL_TCP;
    let end: number;
    let mark = 0;
    if (destination.isV4) {
      end = p + ipv4.HEADER_LENGTH + length;
      // RFC 6864 §4: what may be fragmented needs an identification, which tells nobody how many packets others are sent
      // (RFC 7739 §3); what may not has one by chance, for routers that do it all the same, and to know it in a report.
      const whole = isTcp || forbidsFragments(discovery, end - p <= limit);
      const { source } = path;
      const flags = whole ? ipv4.DONT_FRAGMENT : 0;
      let id = 0;
      if (!isTcp)
        id = whole ? this.#context.random() & 0xffff : this.fragmenter.identification(source.d, destination.d);
      mark = whole ? (id << 16) | (end - p) : 0;
      ipv4.emit(memory.dv, p, end - p, ds, id, flags, ttl, protocol, path.source.d, destination.d);
    } else {
      end = p + ipv6.HEADER_LENGTH + length;
      const hops = ttl === TTL_DEFAULT ? path.iface.hopLimit : ttl;
      ipv6.emit(memory.dv, p, length, ds, hops, protocol, path.source, destination, path.flowLabel);
      mark = memory.dv.getInt32(p + ipv6.HEADER_LENGTH);
    }
    setFrameBounds(memory, frame, p, end);
    if (!isTcp) {
      if (end - p > limit) {
        // What comes back to this host comes back whole.
        if (loops && destination.isMulticast) loopToMembers(this.looped, path.iface, frame, destination);
        mark = this.fragmenter.send(path, frame, limit, destination);
        if (!destination.isV4) this.pathMtus.noteSent(destination, mark, end - p);
        return;
      }
      if (mark !== 0) this.pathMtus.noteSent(destination, mark, end - p);
    }
    this.#transmit(path, frame, destination, loops);
  }

  #transmit(path: Path, frame: number, destination: IpAddress, loops = false): void {
    const { iface } = path;
    if (destination.isMulticast) {
      const { dv } = this.#context.memory;
      const p = frameStart(this.#context.memory, frame);
      const ttl = destination.isV4 ? ipv4.ttl(dv, p) : ipv6.hopLimit(dv, p);
      sendToGroup(this.#context, this.looped, iface, frame, destination, ttl, loops);
    } else if (iface.isBroadcast(destination.a, destination.b, destination.c, destination.d)) iface.broadcast(frame);
    else iface.transmit(frame, path.neighbour);
  }

  /** Where the payload stands in a frame for {@link send}. */
  payloadOffset(frame: number, destination: IpAddress): number {
    return frame + HEADROOM + (destination.isV4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH);
  }

  /** Drains what the device of `iface` holds, up to `budget` frames; returns how many there were. */
  drain(iface: Interface, budget: number): number {
    if (this.forwarder !== null) return this.forwarder.drain(iface, budget);
    const { memory, now, stats } = this.#context;
    let count = 0;
    stats.isInput = true;
    for (; count < budget; count++) {
      const frame = iface.device.receive(now);
      if (frame === 0) break;
      if (frameEnd(memory, frame) > frameStart(memory, frame)) iface.input(frame);
      else stats.drop('ip-empty');
      memory.free(frame);
    }
    stats.isInput = false;
    return count;
  }
}
