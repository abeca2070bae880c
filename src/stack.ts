/**
 * The only door of the core: a stack with its interfaces and sockets, driven by `poll(now)`. It reads no clock and no
 * device by itself, so it runs the same under a real loop and under virtual time.
 *
 * The loop of whoever drives it: `poll(now)`; take `nextChanged()` until it is null and serve those sockets; wait until
 * `pollAt()`, or until a device says that it has something; again. @module
 */

import { Icmp, IcmpSocket } from './icmp/icmp.ts';
import { PROBES } from './iface/acd.ts';
import type { AddressOrigin } from './iface/addresses.ts';
import type { Changed } from './iface/context.ts';
import { Context } from './iface/context.ts';
import { Forwarder, type ForwardOptions } from './iface/forward.ts';
import { type AddressOptions, Interface, type InterfaceOptions } from './iface/interface.ts';
import { Ip } from './iface/ip.ts';
import type { Route } from './iface/routes.ts';
import type { Stats } from './iface/stats.ts';
import { Memory } from './memory/memory.ts';
import type { Device } from './phy/device.ts';
import { Loopback } from './phy/loopback.ts';
import { Raw, RawSocket, type RawSocketOptions } from './raw/raw.ts';
import type { CongestionControl } from './tcp/congestion/controller.ts';
import type { TcpSettings } from './tcp/settings.ts';
import { TcpSocket } from './tcp/socket.ts';
import { Tcp } from './tcp/tcp.ts';
import { UdpSocket } from './udp/socket.ts';
import { Udp } from './udp/udp.ts';
import { Cidr, IpAddress, MacAddress } from './wire/address.ts';

/** Frames taken from one device before the sockets send: what arrived in one go is acknowledged in one go. */
const BATCH_FRAMES = 64;
/** Above every metric that anybody sets. */
const METRIC_LAST = 0x7fffffff;
/** Rounds of one poll; then it returns, and says that there is more. */
const ROUNDS_MAX = 16;

export interface StackOptions {
  /** Uniform uint32 from a cryptographic source, or a seeded one for runs that must repeat. */
  readonly random: () => number;
  /** A memory to share, or the bytes of one of its own: the stack never uses more. Default 64 MiB. */
  readonly memory?: Memory | number | undefined;
  /** What TCP sockets start with. */
  readonly tcp?: Partial<TcpSettings> | undefined;
  /**
   * Whether packets for others are passed on between interfaces, as a router does; by default they are dropped
   * (`ip-not-ours`). RFC 1122 §3.3.1.1: a host does so only where it was told to.
   */
  readonly forward?: boolean | ForwardOptions | undefined;
  /** The congestion control algorithms that `tcp` may name: all there are in `ethertype/congestion`, or by default `cubic`. */
  readonly congestion?: readonly CongestionControl[] | undefined;
}

export class Stack {
  readonly memory: Memory;
  readonly context: Context;
  readonly ip: Ip;
  readonly tcp: Tcp;
  readonly udp: Udp;
  readonly icmp: Icmp;
  readonly raw: Raw;
  /** Called when a device has something, from outside `poll`: time to poll again. Set by whoever drives the stack. */
  onWake: (() => void) | null = null;
  #isPolling = false;

  constructor(options: StackOptions) {
    const { memory, random } = options;
    this.memory = memory instanceof Memory ? memory : new Memory(memory === undefined ? {} : { bytes: memory });
    this.context = new Context(this.memory, random);
    this.ip = new Ip(this.context);
    this.tcp = new Tcp(this.context, this.ip, options.tcp ?? {}, options.congestion);
    this.udp = new Udp(this.context, this.ip);
    this.icmp = new Icmp(this.context, this.ip);
    this.ip.tcp = this.tcp;
    this.ip.udp = this.udp;
    this.ip.icmp = this.icmp;
    this.raw = new Raw(this.context, this.ip);
    const { forward = false } = options;
    if (forward !== false) this.ip.forwarder = new Forwarder(this.context, this.ip, forward === true ? {} : forward);
    const lo = this.#add(new Loopback(), 'lo', new MacAddress(0, 0), true);
    for (const cidr of [new Cidr(IpAddress.v4(0x7f000001), 8), new Cidr(new IpAddress(0, 0, 0, 1), 128)]) {
      this.ip.addresses.assign(this.ip.addresses.add(lo, cidr, 'static'));
    }
  }

  /** Counters of the whole stack. */
  get stats(): Stats {
    return this.context.stats;
  }

  /** The interfaces, the stack's own loopback first. */
  get interfaces(): readonly Interface[] {
    return this.ip.interfaces;
  }

  /** Takes `device`, which is the stack's from now on. */
  addInterface(device: Device, options: InterfaceOptions = {}): Interface {
    const name = options.name ?? `eth${this.ip.interfaces.length - 1}`;
    const mac = options.mac ?? this.#randomMac();
    const iface = this.#add(device, name, mac, false);
    iface.acceptRedirects = options.acceptRedirects ?? true;
    const { ipv6, addresses = [], anyIp = false } = options;
    iface.anyIp = anyIp;
    if (anyIp && device.medium === 'ip') this.#routeBack(iface);
    if (ipv6 !== undefined || addresses.some(({ address }) => !address.isV4)) {
      const linkLocal = !addresses.some(({ address }) => !address.isV4 && address.isLinkLocal);
      iface.enableV6({ linkLocal, ...ipv6 });
    }
    for (const cidr of addresses) this.addAddress(iface, cidr, options);
    return iface;
  }

  /** Whoever sends through a tunnel is answered through it, unless a better route leads there. */
  #routeBack(iface: Interface): void {
    for (const any of [IpAddress.v4(0), new IpAddress(0, 0, 0, 0)]) {
      this.ip.routes.add({ prefix: new Cidr(any, 0), iface, gateway: null, metric: METRIC_LAST });
    }
  }

  #add(device: Device, name: string, mac: MacAddress, isLoopback: boolean): Interface {
    const iface = new Interface(this.context, this.ip, device, name, mac, isLoopback);
    this.ip.interfaces.push(iface);
    device.attach(this.memory, () => {
      if (!this.#isPolling) this.onWake?.();
    });
    return iface;
  }

  /** IEEE 802: the locally administered bit set, the group bit clear. */
  #randomMac(): MacAddress {
    return new MacAddress((this.context.random() & 0xfcff) | 0x0200, this.context.random());
  }

  /**
   * Adds an address and the route to its network. On Ethernet an IPv4 address is announced, and defended against others
   * that use it (RFC 5227 §2.4 c: it was chosen by hand, and there is no other to take).
   * @throws RangeError for an address the interface has, or one too many
   */
  addAddress(iface: Interface, cidr: Cidr, options: AddressOptions = {}): void {
    const zoned = cidr.withZone(iface.index);
    const isTaken = this.ip.addresses.find(zoned.address, iface) !== null;
    if (isTaken) throw new RangeError(`address: expected one that the interface does not have, got ${cidr}`);
    this.ip.addresses.assertRoom(iface.claims.count);
    const { probe = false, announce = true, onConflict, onAdded } = options;
    const add = (): void => {
      this.putAddress(iface, cidr);
      onAdded?.();
    };
    if (!cidr.address.isV4) {
      this.#addAddressV6(iface, zoned, options);
      return;
    }
    if (iface.device.medium !== 'ethernet') {
      add();
      return;
    }
    iface.claims.claim(cidr.address, {
      probes: probe ? PROBES : null,
      announce,
      defence: 'insist',
      onClaimed: add,
      onConflict: (mac) => onConflict?.(mac),
    });
  }

  /** RFC 4862 §5.4: also an address chosen by hand is probed for before it is used, unless `probe` is false. */
  #addAddressV6(iface: Interface, cidr: Cidr, { probe, onAdded, onDuplicate }: AddressOptions): void {
    iface.enableV6();
    const local = this.ip.addresses.add(iface, cidr, 'static');
    this.ip.routes.add({ prefix: cidr, iface, gateway: null });
    local.onAssigned = onAdded ?? null;
    if (probe === false || iface.nd === null) {
      iface.nd?.joinSolicitedNode(cidr.address);
      this.ip.addresses.assign(local);
    } else {
      iface.nd.claim(local, () => onDuplicate?.());
    }
  }

  /** Adds an address that the caller has claimed by itself: nothing is sent. False, and nothing done, where it is there already. */
  putAddress(iface: Interface, cidr: Cidr, origin: AddressOrigin = 'static'): boolean {
    const zoned = cidr.withZone(iface.index);
    if (this.ip.addresses.find(zoned.address, iface) !== null || !this.ip.addresses.hasRoom) return false;
    const local = this.ip.addresses.add(iface, zoned, origin);
    this.ip.routes.add({ prefix: zoned, iface, gateway: null });
    this.ip.addresses.assign(local);
    return true;
  }

  /** Removes an address and the route to its network; its connections end when they next time out. */
  removeAddress(iface: Interface, address: IpAddress): boolean {
    if (address.isV4) iface.claims.release(address);
    const local = this.ip.addresses.find(address.withZone(iface.index), iface);
    if (local === null) return false;
    this.ip.routes.remove((route) => route.prefix === local.cidr);
    iface.redirects.left(local.cidr);
    if (!address.isV4) iface.nd?.release(local);
    this.ip.addresses.remove(local);
    return true;
  }

  /** Adds a route; among equal prefixes the first one added counts. */
  addRoute(route: Route): void {
    this.ip.routes.add(route);
  }

  /** Routes everything that no other route takes to `gateway`, which must be on the link of an interface. */
  addDefaultRoute(gateway: IpAddress): void {
    const onLink = this.ip.routes.lookup(gateway);
    if (onLink === null) throw new RangeError(`gateway: expected an address on a network of ours, got ${gateway}`);
    const any = gateway.isV4 ? IpAddress.v4(0) : new IpAddress(0, 0, 0, 0);
    this.ip.routes.add({ prefix: new Cidr(any, 0), iface: onLink.iface, gateway });
  }

  /**
   * Tells the time without doing anything: before a call that sends at once, such as a datagram, when the last poll is
   * long ago.
   */
  setNow(now: number): void {
    this.context.setNow(now);
  }

  /**
   * Does everything that is due: takes frames in, fires timers, sends. Early and repeated calls are harmless.
   * @param now - ms of any clock that never goes back; fractions allowed
   * @returns whether work is left although time has not passed: poll again soon
   */
  poll(now: number): boolean {
    this.#isPolling = true;
    this.context.setNow(now);
    this.context.timers.expire(this.context.now);
    const more = this.#rounds();
    this.#isPolling = false;
    return more;
  }

  #rounds(): boolean {
    const { stats } = this.context;
    const { interfaces } = this.ip;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      let taken = 0;
      let mayHoldMore = false;
      const sentBefore = stats.framesOut;
      for (let i = 0; i < interfaces.length; i++) {
        const count = this.ip.drain(interfaces[i]!, BATCH_FRAMES);
        taken += count;
        if (count === BATCH_FRAMES) mayHoldMore = true;
      }
      taken += this.ip.looped.drain();
      if (this.ip.looped.count > 0) mayHoldMore = true;
      if (this.ip.fragmenter.waitingCount > 0) this.ip.fragmenter.flush();
      const more = this.tcp.flush();
      const hasSent = stats.framesOut !== sentBefore;
      // Nothing came, and nothing is left to send, or there is no room for it.
      if (taken === 0 && (!more || !hasSent)) return false;
      // Devices are empty, and nothing was sent that one could have answered at once.
      if (!more && !hasSent && !mayHoldMore) return false;
    }
    return true;
  }

  /** When `poll` should next be called: ms of the same clock, Infinity: only when a device or a socket has something. */
  pollAt(): number {
    const isReady = this.tcp.hasReady || this.ip.looped.count > 0 || this.ip.fragmenter.hasReady;
    let at = isReady ? this.context.now : this.context.timers.nextAt;
    for (const { device } of this.ip.interfaces) at = Math.min(at, device.pollAt());
    return at;
  }

  /** The next socket that has something to report, or null. */
  nextChanged(): Changed | null {
    return this.context.nextChanged();
  }

  /** A TCP socket, neither listening nor connected. @param settings - what it has other than the stack's */
  tcpSocket(settings?: Partial<TcpSettings>): TcpSocket {
    return new TcpSocket(this.tcp, settings);
  }

  /** A UDP socket, not bound. @param receiveBytes - what may wait for its reader; a power of two, 256 KiB by default */
  udpSocket(receiveBytes?: number): UdpSocket {
    return new UdpSocket(this.udp, receiveBytes);
  }

  /** A ping socket, without an identifier yet. */
  icmpSocket(): IcmpSocket {
    return new IcmpSocket(this.icmp);
  }

  /**
   * A socket that gets every packet of a protocol, IP header included, and sends packets of it.
   * @throws RangeError, TypeError for an option that is none
   */
  rawSocket(options: RawSocketOptions): RawSocket {
    return new RawSocket(this.raw, options);
  }

  /** Resets every connection, closes every socket and device, and gives all memory back. */
  close(): void {
    this.tcp.close();
    this.udp.closeAll();
    this.icmp.closeAll();
    this.ip.looped.close();
    this.raw.closeAll();
    this.ip.reassembly.clear();
    this.ip.fragmenter.clear();
    for (const iface of this.ip.interfaces) {
      iface.groups.close();
      iface.neighbours.close();
      iface.claims.close();
      iface.nd?.close();
      iface.device.close();
    }
    this.onWake = null;
  }
}
