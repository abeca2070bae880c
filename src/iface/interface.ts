/**
 * One interface: a device with addresses. Frames come in here and leave here; above it are packets only. @module
 */
import {
  allocFrame,
  CHECKSUM_FULL,
  frameChecksum,
  frameEnd,
  frameGsoSize,
  frameStart,
  HEADROOM,
  setFrameBounds,
} from '../memory/frame.ts';
import { Groups } from '../multicast/groups.ts';
import type { Device } from '../phy/device.ts';
import { BROADCAST_MAC, type Cidr, IpAddress, MacAddress } from '../wire/address.ts';
import * as arp from '../wire/arp.ts';
import * as ethernet from '../wire/ethernet.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { Claims } from './acd.ts';
import { selectSource } from './address-selection.ts';
import { mayBeAnyone } from './any-ip.ts';
import type { ConfigPort } from './config-port.ts';
import type { Context } from './context.ts';
import { localUnreachable } from './error-delivery.ts';
import type { Ip } from './ip.ts';
import { type Ipv6Options, Nd } from './nd.ts';
import { GONE, type Neighbour, Neighbours, PROBE, REACHABLE } from './neighbours.ts';
import { Redirects } from './redirects.ts';
import type { DropReason } from './stats.ts';

/** The group bit of an Ethernet address, in its 16 high bits. */
const GROUP_BIT = 0x100;

export interface InterfaceOptions {
  /** Shown in traces and errors; `eth0`, `eth1`, ... by default. */
  readonly name?: string;
  /** Addresses with their prefix, `10.0.0.1/24`. */
  readonly addresses?: readonly Cidr[];
  /** The link address on Ethernet; random and locally administered by default. */
  readonly mac?: MacAddress;
  /** How IPv6 behaves; it is on where this is given, or from the first IPv6 address on. */
  readonly ipv6?: Ipv6Options | undefined;
  /**
   * Whether it takes what is sent to any address and answers as that address; it is asked for the link address of a host
   * beyond its networks, too. A network of its own stays with the hosts that are there. Default false.
   */
  readonly anyIp?: boolean | undefined;
  /** What is done with its IPv4 addresses on Ethernet before they are used and after; see {@link AddressOptions}. */
  readonly probe?: boolean | undefined;
  readonly announce?: boolean | undefined;
  /** Whether ICMP redirects of IPv4 are followed (RFC 1122 §3.2.2.2); a router never does. Default true. */
  readonly acceptRedirects?: boolean | undefined;
}

/** How an address is added on Ethernet: RFC 5227, RFC 4862. */
export interface AddressOptions {
  /**
   * Whether other hosts are asked for it first, which takes 4 to 7 seconds, of IPv6 one: it is added when nobody has it.
   * Default false, and true of IPv6.
   */
  readonly probe?: boolean | undefined;
  /** Whether it is announced by gratuitous ARP. Default true. */
  readonly announce?: boolean | undefined;
  /** Another host has the IPv4 address; it is kept and defended, unless it was still being probed. */
  readonly onConflict?: ((mac: MacAddress) => void) | undefined;
  /** Another host has the IPv6 address, which is not used therefore: RFC 4862 §5.4.5. */
  readonly onDuplicate?: (() => void) | undefined;
  /** It can be used from now on; called at once where nothing is probed. */
  readonly onAdded?: (() => void) | undefined;
}

export class Interface {
  readonly name: string;
  /** Small, from 1 on, and never given again: the zone of link-local addresses (RFC 4007 §6). */
  readonly index: number;
  readonly device: Device;
  readonly mac: MacAddress;
  /** Addresses with their prefixes; change them through the stack. */
  readonly addresses: Cidr[] = [];
  readonly neighbours: Neighbours;
  /** Neighbour discovery, from the first IPv6 address on; null before, and on the loopback. */
  nd: Nd | null = null;
  /** Hops that IPv6 packets get where their socket has no wish: RFC 4861 §6.3.2. */
  hopLimit = 64;
  /** Destinations that a router sent elsewhere. */
  readonly redirects: Redirects;
  /** Whether redirects of IPv4 are followed. */
  acceptRedirects = true;
  /** The multicast groups it is in. */
  readonly groups: Groups;
  /** The IPv4 addresses that are probed, announced and defended here. */
  readonly claims: Claims;
  /** Ports of the protocols that configure the interface. */
  readonly configPorts: ConfigPort[] = [];
  /** The largest IP packet the link was said to carry, by DHCP or a router; the device's MTU where that is less. */
  mtuMax = Number.POSITIVE_INFINITY;
  /** See {@link InterfaceOptions}; set at creation. */
  anyIp = false;
  /** Whether this is the stack's own loopback. */
  readonly isLoopback: boolean;
  readonly #context: Context;
  readonly #ip: Ip;
  readonly #ethernet: boolean;

  constructor(context: Context, ip: Ip, device: Device, name: string, mac: MacAddress, isLoopback: boolean) {
    this.#context = context;
    this.#ip = ip;
    this.device = device;
    this.name = name;
    this.index = ip.nextIndex();
    this.mac = mac;
    this.isLoopback = isLoopback;
    this.#ethernet = device.medium === 'ethernet';
    this.neighbours = new Neighbours(context, this);
    this.redirects = new Redirects(ip, this);
    this.groups = new Groups(context, this);
    this.claims = new Claims(context, this);
  }

  /** Turns IPv6 on: the interface gets its link-local address. Nothing happens where it is on, or has no use for it. */
  enableV6(options: Ipv6Options = {}): void {
    if (this.nd !== null || this.isLoopback) return;
    this.nd = new Nd(this.#context, this.#ip, this, options);
    this.nd.start();
  }

  get mtu(): number {
    return Math.min(this.device.mtu, this.mtuMax);
  }

  /** Whether super-segments and partial checksums may leave here. */
  get offload(): boolean {
    return this.device.offload;
  }

  /** Takes in one frame from the device. The caller keeps the frame and gives it back afterwards. */
  input(frame: number): void {
    const { memory, stats } = this.#context;
    const start = frameStart(memory, frame);
    const end = frameEnd(memory, frame);
    stats.framesIn++;
    stats.bytesIn += end - start;
    const trusted = frameChecksum(memory, frame) !== CHECKSUM_FULL;
    const gsoSize = frameGsoSize(memory, frame);
    if (this.#ethernet) this.#inputEthernet(start, end, trusted, gsoSize);
    else this.#ip.input(this, start, end, trusted, gsoSize, false);
  }

  #inputEthernet(start: number, end: number, trusted: boolean, gsoSize: number): void {
    const { stats } = this.#context;
    const { dv } = this.#context.memory;
    const drop = ethernet.check(dv, start, end);
    if (drop !== null) {
      stats.drop(drop);
      return;
    }
    const group = ethernet.isGroup(dv, start);
    const ours =
      ethernet.destinationLow(dv, start) === this.mac.low && ethernet.destinationHigh(dv, start) === this.mac.high;
    if (!group && !ours) {
      stats.drop('link-not-ours');
      return;
    }
    const body = start + ethernet.HEADER_LENGTH;
    switch (ethernet.etherType(dv, start)) {
      case ethernet.ETHERTYPE_IPV4:
      case ethernet.ETHERTYPE_IPV6:
        this.#ip.input(this, body, end, trusted, gsoSize, group);
        return;
      case ethernet.ETHERTYPE_ARP:
        this.#inputArp(body, end);
        return;
      default:
        stats.drop('link-unknown-type');
    }
  }

  /** RFC 826, "Packet Reception". */
  #inputArp(p: number, end: number): void {
    const { memory, stats } = this.#context;
    const { dv } = memory;
    const drop = arp.check(dv, p, end);
    if (drop !== null) {
      stats.drop(drop);
      return;
    }
    const sender = IpAddress.v4(arp.senderIp(dv, p));
    const macHigh = arp.senderMacHigh(dv, p);
    const macLow = arp.senderMacLow(dv, p);
    // Our own frame may come back, and is no conflict.
    if (macLow === this.mac.low && macHigh === this.mac.high) return;
    const isConflict = this.claims.input(arp.operation(dv, p), sender.d, arp.targetIp(dv, p), macHigh, macLow);
    if (isConflict || this.hasAddress(sender)) {
      stats.drop('arp-conflict');
      return;
    }
    const target = IpAddress.v4(arp.targetIp(dv, p));
    const forUs = this.hasAddress(target) || (!sender.isUnspecified && this.standsFor(target));
    // A sender is one host on this link: no group address, and no address of another network.
    const usable = (macHigh & GROUP_BIT) === 0 && this.addresses.some((cidr) => cidr.contains(sender));
    const isReply = arp.operation(dv, p) === arp.REPLY;
    const known = forUs && usable ? this.neighbours.get(sender) : this.neighbours.find(sender);
    // "Merge_flag": a sender in the cache is updated whatever the packet asks; a new one only if it asks for us.
    if (known !== null && usable) this.neighbours.learn(known, macHigh, macLow, isReply);
    if (
      forUs &&
      !isReply &&
      (usable || (sender.isUnspecified && (macHigh & GROUP_BIT) === 0)) &&
      arp.operation(dv, p) === arp.REQUEST
    ) {
      this.emitArp(arp.REPLY, target, sender, new MacAddress(macHigh, macLow), true);
    }
  }

  /** Asks for the link address of `neighbour`: to everybody, or to itself when it is only being confirmed. */
  solicit(neighbour: Neighbour): void {
    if (!neighbour.address.isV4) {
      this.nd?.solicit(neighbour);
      return;
    }
    const source = this.sourceFor(neighbour.address, neighbour.address);
    if (source === null) return;
    const direct = neighbour.state === PROBE;
    const target = direct ? new MacAddress(neighbour.macHigh, neighbour.macLow) : new MacAddress(0, 0);
    this.emitArp(arp.REQUEST, source, neighbour.address, target, direct);
  }

  /**
   * Sends an ARP packet.
   * @param direct - to `targetMac`, else to everybody
   */
  emitArp(operation: number, sender: IpAddress, target: IpAddress, targetMac: MacAddress, direct: boolean): void {
    const { memory } = this.#context;
    const frame = allocFrame(memory, arp.PACKET_LENGTH);
    if (frame === 0) {
      this.refuse('no-memory', arp.PACKET_LENGTH);
      return;
    }
    const p = frame + HEADROOM;
    arp.emit(memory.dv, p, operation, this.mac, sender, targetMac, target);
    setFrameBounds(memory, frame, p - ethernet.HEADER_LENGTH, p + arp.PACKET_LENGTH);
    // RFC 3927 §2.5: what has a link-local sender goes to everybody, replies too: so both sides hear of a conflict.
    const destination = direct && !sender.isLinkLocal ? targetMac : BROADCAST_MAC;
    ethernet.emit(memory.dv, p - ethernet.HEADER_LENGTH, destination, this.mac, ethernet.ETHERTYPE_ARP);
    this.#send(frame);
  }

  /**
   * Sends the packet in `frame`, which it owns from now on.
   * @param neighbour - the next hop on Ethernet; null on an IP medium, and for a packet to a multicast group
   */
  transmit(frame: number, neighbour: Neighbour | null): void {
    if (this.#ethernet && neighbour !== null) {
      if (neighbour.state !== REACHABLE) {
        const current = neighbour.state === GONE ? this.neighbours.get(neighbour.address) : neighbour;
        if (!this.neighbours.admit(current, frame)) return;
        this.#emitHeader(frame, current.macHigh, current.macLow);
      } else {
        this.#emitHeader(frame, neighbour.macHigh, neighbour.macLow);
      }
    } else if (this.#ethernet) this.#emitGroupHeader(frame);
    this.#send(frame);
  }

  /** The link address of a group is made from its address: RFC 1112 §6.4, RFC 2464 §7. */
  #emitGroupHeader(frame: number): void {
    const { memory } = this.#context;
    const { dv } = memory;
    const p = frameStart(memory, frame);
    if (ipv6.version(dv, p) === 6) this.#emitHeader(frame, ethernet.GROUP_HIGH_V6, ipv6.destinationWord(dv, p, 3));
    else this.#emitHeader(frame, ethernet.GROUP_HIGH_V4, ethernet.groupLowV4(ipv4.destination(dv, p)));
  }

  /** Sends the packet in `frame` to everybody on the link. */
  broadcast(frame: number): void {
    if (this.#ethernet) this.#emitHeader(frame, BROADCAST_MAC.high, BROADCAST_MAC.low);
    this.#send(frame);
  }

  #emitHeader(frame: number, macHigh: number, macLow: number): void {
    const { memory } = this.#context;
    const { dv } = memory;
    const ip = frameStart(memory, frame);
    const p = ip - ethernet.HEADER_LENGTH;
    const type = dv.getUint8(ip) >>> 4 === 6 ? ethernet.ETHERTYPE_IPV6 : ethernet.ETHERTYPE_IPV4;
    ethernet.emitWords(dv, p, macHigh, macLow, this.mac, type);
    setFrameBounds(memory, frame, p, frameEnd(memory, frame));
  }

  #send(frame: number): void {
    const { memory, stats, now } = this.#context;
    if (this.device.room() <= 0) {
      stats.dropOut('device-full');
      this.device.notes?.refused(frame, frameEnd(memory, frame) - frameStart(memory, frame), 'device-full', now);
      memory.free(frame);
      return;
    }
    stats.framesOut++;
    stats.bytesOut += frameEnd(memory, frame) - frameStart(memory, frame);
    this.device.transmit(frame, now);
  }

  /**
   * Counts a packet of ours that does not leave by this interface, and tells whoever records it.
   * @param length - of the packet   @param frame - which holds it; 0: there was no memory for it
   */
  refuse(reason: DropReason, length: number, frame = 0): void {
    const { memory, stats, now } = this.#context;
    stats.dropOut(reason);
    const { notes } = this.device;
    if (!notes) return;
    if (!this.#ethernet || frame === 0) {
      notes.refused(frame, this.#ethernet ? length + ethernet.HEADER_LENGTH : length, reason, now);
      return;
    }
    // It has no header of the link yet, and perhaps nobody knows where to: the destination stays empty.
    const [start, end] = [frameStart(memory, frame), frameEnd(memory, frame)];
    this.#emitHeader(frame, 0, 0);
    notes.refused(frame, length + ethernet.HEADER_LENGTH, reason, now);
    setFrameBounds(memory, frame, start, end);
  }

  /** A next hop is gone: whoever remembers a path looks again. */
  pathsChanged(): void {
    this.#ip.routes.generation++;
  }

  /** A frame that could not reach its neighbour: the socket it came from is told. */
  unreachable(frame: number): void {
    const { memory } = this.#context;
    localUnreachable(this.#context, this.#ip, frameStart(memory, frame), frameEnd(memory, frame), this.index);
  }

  /** RFC 1027, RFC 4861 §7.2.8: whether the link address of `address`, which is not ours, is asked of us as of a proxy. */
  standsFor(address: IpAddress): boolean {
    return (
      this.anyIp &&
      mayBeAnyone(address) &&
      !address.isLinkLocal &&
      !this.addresses.some((cidr) => cidr.contains(address))
    );
  }

  hasAddress(address: IpAddress): boolean {
    for (const cidr of this.addresses) if (cidr.address.equals(address)) return true;
    return false;
  }

  /** Whether a packet to these words is broadcast on this interface's networks. */
  isBroadcast(a: number, b: number, c: number, d: number): boolean {
    if (a !== 0 || b !== 0 || c !== 0xffff) return false;
    if (d === -1) return true;
    for (const { broadcast } of this.addresses) if (broadcast !== null && broadcast.d === d) return true;
    return false;
  }

  /**
   * Our address to use towards `destination`, or null. Of IPv4: one whose prefix holds `nextHop`, else the first; of
   * IPv6: RFC 6724 §5.
   */
  sourceFor(destination: IpAddress, nextHop: IpAddress): IpAddress | null {
    if (!destination.isV4) return selectSource(this.#ip, this, destination, nextHop);
    let first: IpAddress | null = null;
    for (const cidr of this.addresses) {
      if (!cidr.address.isV4) continue;
      if (cidr.contains(nextHop)) return cidr.address;
      first ??= cidr.address;
    }
    return first;
  }
}
