/**
 * The only door of the core: a stack with its interfaces and sockets, driven by `poll(now)`. It reads no clock and no
 * device by itself, so it runs the same under a real loop and under virtual time.
 *
 * The loop of whoever drives it: `poll(now)`; take `nextChanged()` until it is null and serve those sockets; wait until
 * `pollAt()`, or until a device says that it has something; again. @module
 */

import { Icmp, IcmpSocket } from './icmp/icmp.ts';
import type { Changed } from './iface/context.ts';
import { Context } from './iface/context.ts';
import { Forwarder, type ForwardOptions } from './iface/forward.ts';
import { Interface, type InterfaceOptions } from './iface/interface.ts';
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
import { Udp, UdpSocket } from './udp/udp.ts';
import { Cidr, IpAddress, MacAddress } from './wire/address.ts';

/** Frames taken from one device before the sockets send: what arrived in one go is acknowledged in one go. */
const BATCH_FRAMES = 64;
/** Rounds of one poll; then it returns, and says that there is more. */
const ROUNDS_MAX = 16;
/** Addresses a stack may have: look-ups walk them. */
const ADDRESSES_MAX = 64;

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
    lo.addresses.push(new Cidr(IpAddress.v4(0x7f000001), 8), new Cidr(new IpAddress(0, 0, 0, 1), 128));
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
    for (const cidr of options.addresses ?? []) this.addAddress(iface, cidr);
    return iface;
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

  /** Adds an address and the route to its network. */
  addAddress(iface: Interface, cidr: Cidr): void {
    const count = this.ip.interfaces.reduce((n, other) => n + other.addresses.length, 0);
    if (count >= ADDRESSES_MAX) throw new RangeError(`addresses: expected at most ${ADDRESSES_MAX}, got one more`);
    if (iface.hasAddress(cidr.address)) {
      throw new RangeError(`address: expected one that the interface does not have, got ${cidr}`);
    }
    iface.addresses.push(cidr);
    this.ip.routes.add({ prefix: cidr, iface, gateway: null });
  }

  /** Removes an address and the route to its network; its connections end when they next time out. */
  removeAddress(iface: Interface, address: IpAddress): boolean {
    const index = iface.addresses.findIndex((cidr) => cidr.address.equals(address));
    const cidr = iface.addresses[index];
    if (cidr === undefined) return false;
    iface.addresses.splice(index, 1);
    this.ip.routes.remove((route) => route.prefix === cidr);
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
    let at = this.tcp.hasReady || this.ip.fragmenter.hasReady ? this.context.now : this.context.timers.nextAt;
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
    this.raw.closeAll();
    this.ip.reassembly.clear();
    this.ip.fragmenter.clear();
    for (const iface of this.ip.interfaces) {
      iface.neighbours.close();
      iface.device.close();
    }
    this.onWake = null;
  }
}
