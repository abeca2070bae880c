/**
 * Neighbour discovery of one interface: RFC 4861 for hosts. This file takes messages in and sends them; neighbours stand
 * in `neighbours.ts`, routers and prefixes in `nd-routers.ts`, duplicate address detection in `nd-dad.ts`, addresses
 * made of prefixes in `slaac.ts`. Missing on purpose: proxies, anycast targets, SEND. @module
 */
import { allocFrame, frameStart, HEADROOM, setFrameBounds } from '../memory/frame.ts';
import { IpAddress } from '../wire/address.ts';
import * as icmpv6 from '../wire/icmpv6.ts';
import { PROTOCOL_ICMPV6, pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv6 from '../wire/ipv6.ts';
import * as ndp from '../wire/ndp.ts';
import { type Options, optionsLength } from '../wire/ndp-options.ts';
import type { LocalAddress } from './addresses.ts';
import type { Context } from './context.ts';
import type { Interface } from './interface.ts';
import type { Ip } from './ip.ts';
import { Dad } from './nd-dad.ts';
import { Routers } from './nd-routers.ts';
import { type Neighbour, PROBE } from './neighbours.ts';
import type { Packet } from './packet.ts';
import { Slaac } from './slaac.ts';

/** RFC 4861 §10: REACHABLE_TIME, MIN_RANDOM_FACTOR, MAX_RANDOM_FACTOR, RETRANS_TIMER. */
const REACHABLE_MS = 30_000;
const RANDOM_MIN = 0.5;
const RANDOM_MAX = 1.5;
const RETRANS_MS = 1000;
/** RFC 4861 §6.2.1: a router must not advertise more. */
const REACHABLE_MS_MAX = 3_600_000;
/** What an advertisement may set the timer to: below, each loss would end a neighbour, and above none would be found dead. */
const RETRANS_MS_MIN = 100;
const RETRANS_MS_MAX = 60_000;
/** RFC 4861 §6.3.4: a new random time "at least every few hours". */
const RANDOM_AGAIN_MS = 7_200_000;

/** How IPv6 behaves on an interface. */
export interface Ipv6Options {
  /** Whether routers are asked, and addresses made of the prefixes they tell of: SLAAC. Default false. */
  readonly autoconfigure?: boolean | undefined;
  /** Whether advertisements and redirects of routers are listened to; by default where `autoconfigure` is set. */
  readonly acceptRouters?: boolean | undefined;
  /** Whether redirects are followed; by default, where routers are listened to. RFC 4861 §8.3. */
  readonly acceptRedirects?: boolean | undefined;
  /** Whether addresses that change every day are made too, and preferred: RFC 8981. Default false. */
  readonly temporary?: boolean | undefined;
  /** Whether a link-local address is made; by default, where none is given. */
  readonly linkLocal?: boolean | undefined;
  /** Probes for each new address on Ethernet; 0: none. Default 1: RFC 4862 §5.1. */
  readonly dadTransmits?: number | undefined;
  /** 16 bytes that interface identifiers are made from: RFC 7217. With the same ones a host keeps its addresses. Default: random. */
  readonly secret?: Uint8Array | undefined;
  /** Name servers and search domains that routers told of, after each change: RFC 8106. */
  readonly onDns?: ((servers: readonly IpAddress[], search: readonly string[]) => void) | undefined;
  /** Whether routers say that DHCPv6 has addresses, and other configuration: RFC 4861 §4.2. Called after each change. */
  readonly onManaged?: ((managed: boolean, other: boolean) => void) | undefined;
}

/** What answers router solicitations where this stack is a router. */
export interface SolicitationListener {
  solicited(source: IpAddress): void;
}

export class Nd {
  readonly context: Context;
  readonly ip: Ip;
  readonly iface: Interface;
  readonly options: Ipv6Options;
  readonly dad: Dad;
  readonly routers: Routers;
  readonly slaac: Slaac;
  /** RFC 4861 §6.3.2: ReachableTime and RetransTimer, in ms. */
  reachableMs = REACHABLE_MS;
  retransMs = RETRANS_MS;
  /** Set by a router advertiser on this interface. */
  listener: SolicitationListener | null = null;
  #baseReachableMs = 0;
  #randomAt = Number.NEGATIVE_INFINITY;

  constructor(context: Context, ip: Ip, iface: Interface, options: Ipv6Options) {
    this.context = context;
    this.ip = ip;
    this.iface = iface;
    this.options = options;
    this.setReachable(REACHABLE_MS);
    this.dad = new Dad(this);
    this.routers = new Routers(this);
    this.slaac = new Slaac(this);
  }

  /** Whether this stack forwards, and therefore is no host: RFC 4861 §6.3.4 is about hosts only. */
  get isRouter(): boolean {
    return this.ip.forwarder !== null || this.listener !== null;
  }

  get acceptsRouters(): boolean {
    return !this.isRouter && (this.options.acceptRouters ?? this.options.autoconfigure ?? false);
  }

  /** Gives the interface its link-local address, and asks for routers where that is wanted. */
  start(): void {
    this.slaac.start();
  }

  /** Takes in one message whose checksum is good. */
  input(packet: Packet): void {
    const { memory, stats } = this.context;
    const { dv } = memory;
    const p = packet.payload;
    const source = packet.source;
    const drop = ndp.check(dv, p, packet.end, packet.ttl, source, packet.destination);
    if (drop !== null) {
      stats.drop(drop);
      return;
    }
    stats.ndIn++;
    const options = ndp.options(dv, p, packet.end);
    switch (icmpv6.type(dv, p)) {
      case ndp.NEIGHBOUR_SOLICITATION:
        this.#inputSolicitation(this.#target(p), source, options);
        return;
      case ndp.NEIGHBOUR_ADVERTISEMENT:
        this.#inputAdvertisement(this.#target(p), ndp.neighbourFlags(dv, p), options);
        return;
      case ndp.ROUTER_ADVERTISEMENT:
        if (this.acceptsRouters) this.routers.input(ndp.routerAdvertisement(dv, p), options, source);
        else stats.drop('nd-ignored');
        return;
      case ndp.REDIRECT:
        this.routers.redirected(this.#target(p), ndp.destination(dv, p).withZone(this.iface.index), source, options);
        return;
      default:
        this.#inputRouterSolicitation(source, options);
    }
  }

  #target(p: number): IpAddress {
    return ndp.target(this.context.memory.dv, p).withZone(this.iface.index);
  }

  /** RFC 4861 §7.2.3, §7.2.4; RFC 4862 §5.4.3. */
  #inputSolicitation(target: IpAddress, source: IpAddress, options: Options): void {
    const local = this.ip.addresses.find(target, this.iface);
    if (local === null) {
      this.#answerAsProxy(target, source, options);
      return;
    }
    if (!local.isAssigned) {
      // "a node performing address resolution on the target": its own business, and no answer from us.
      if (source.isUnspecified) this.dad.solicited(local, options.nonce);
      return;
    }
    if (source.isUnspecified) {
      // Another node is about to take our address; all hear that it is ours.
      if (this.dad.isOwnNonce(options.nonce)) return; // RFC 7527 §4.2: our own probe came back
      this.advertise(target, ndp.ALL_NODES, false);
      return;
    }
    if (options.sourceMac !== null) this.iface.neighbours.heard(source, options.sourceMac);
    this.advertise(target, source, true);
  }

  /** RFC 4861 §7.2.8: without the override flag, so that the host itself has precedence; who only probes is not answered. */
  #answerAsProxy(target: IpAddress, source: IpAddress, options: Options): void {
    if (source.isUnspecified || !this.iface.standsFor(target)) {
      this.context.stats.drop('nd-not-ours');
      return;
    }
    if (options.sourceMac !== null) this.iface.neighbours.heard(source, options.sourceMac);
    this.advertise(target, source, true, false);
  }

  /** RFC 4861 §7.2.5; RFC 4862 §5.4.4. */
  #inputAdvertisement(target: IpAddress, bits: number, options: Options): void {
    const { stats } = this.context;
    const local = this.ip.addresses.find(target, this.iface);
    if (local !== null) {
      if (local.state === 'tentative') this.dad.advertised(local);
      else stats.drop('nd-conflict');
      return;
    }
    const neighbour = this.iface.neighbours.find(target);
    if (neighbour === null) {
      stats.drop('nd-unsolicited'); // "no need to create an entry if none exists"
      return;
    }
    const { targetMac } = options;
    if (targetMac?.isGroup) {
      stats.drop('ndp-bad-option');
      return;
    }
    const flags = {
      isRouter: (bits & ndp.FLAG_ROUTER) !== 0,
      isSolicited: (bits & ndp.FLAG_SOLICITED) !== 0,
      isOverride: (bits & ndp.FLAG_OVERRIDE) !== 0,
    };
    if (this.iface.neighbours.advertised(neighbour, targetMac, flags)) this.routers.lost(target);
  }

  /** RFC 4861 §6.2.6: of concern to routers only. */
  #inputRouterSolicitation(source: IpAddress, options: Options): void {
    if (this.listener === null) {
      this.context.stats.drop('nd-ignored');
      return;
    }
    if (options.sourceMac !== null && !source.isUnspecified) {
      const neighbour = this.iface.neighbours.heard(source, options.sourceMac);
      if (neighbour !== null) neighbour.isRouter = false;
    }
    this.listener.solicited(source);
  }

  /** RFC 4861 §6.3.4: what an advertisement says of this link's timers. */
  setTimers(reachableMs: number, retransMs: number): void {
    if (reachableMs !== 0 && reachableMs <= REACHABLE_MS_MAX) this.setReachable(reachableMs);
    if (retransMs !== 0) this.retransMs = Math.min(Math.max(retransMs, RETRANS_MS_MIN), RETRANS_MS_MAX);
  }

  /** RFC 4861 §6.3.2: uniformly distributed around the base, so that hosts do not probe all at once. */
  setReachable(baseMs: number): void {
    const { nowMs } = this.context;
    if (baseMs === this.#baseReachableMs && nowMs - this.#randomAt < RANDOM_AGAIN_MS) return;
    this.#baseReachableMs = baseMs;
    this.#randomAt = nowMs;
    this.reachableMs = Math.round(baseMs * (RANDOM_MIN + (RANDOM_MAX - RANDOM_MIN) * this.chance()));
  }

  /** Uniform from 0 to below 1. */
  chance(): number {
    return (this.context.random() >>> 0) / 2 ** 32;
  }

  /** A neighbour that was unknown has a link address now. */
  appeared(neighbour: Neighbour): void {
    if (!neighbour.address.isV4) this.routers.revived(neighbour.address);
  }

  /** A neighbour does not answer any more. */
  vanished(neighbour: Neighbour): void {
    if (!neighbour.address.isV4) this.routers.failed(neighbour.address);
  }

  /** Asks for a neighbour: to its solicited-node group, or to itself when it is only being confirmed. RFC 4861 §7.2.2. */
  solicit(neighbour: Neighbour): void {
    const target = neighbour.address;
    const source = this.#waitingSource(neighbour) ?? this.iface.sourceFor(target, target);
    if (source === null) return;
    const isProbe = neighbour.state === PROBE;
    const to = isProbe ? target : ndp.solicitedNode(target);
    this.sendSolicitation(target, source, to, { sourceMac: this.iface.mac }, isProbe ? neighbour : null);
  }

  /** "If the source address of the packet prompting the solicitation is the same as one of the addresses assigned": that one. */
  #waitingSource({ queue }: Neighbour): IpAddress | null {
    const frame = queue[0];
    if (frame === undefined) return null;
    const { memory } = this.context;
    const { dv } = memory;
    const p = frameStart(memory, frame);
    const word = (i: number): number => ipv6.sourceWord(dv, p, i);
    const source = new IpAddress(word(0), word(1), word(2), word(3)).withZone(this.iface.index);
    return this.iface.hasAddress(source) ? source : null;
  }

  sendSolicitation(
    target: IpAddress,
    source: IpAddress,
    to: IpAddress,
    options: Partial<Options>,
    neighbour: Neighbour | null,
  ): void {
    this.send(source, to, 24 + optionsLength(options), neighbour, (p, pseudo) =>
      ndp.emitNeighbourSolicitation(this.context.memory, p, target, options, pseudo),
    );
  }

  /** RFC 4861 §7.2.4, §7.2.6: says that `target` is here. */
  advertise(target: IpAddress, to: IpAddress, isSolicited: boolean, isOverride = true): void {
    const options = { targetMac: this.iface.mac };
    const flags =
      (this.isRouter ? ndp.FLAG_ROUTER : 0) |
      (isSolicited ? ndp.FLAG_SOLICITED : 0) |
      (isOverride ? ndp.FLAG_OVERRIDE : 0);
    this.send(target, to, 24 + optionsLength(options), null, (p, pseudo) =>
      ndp.emitNeighbourAdvertisement(this.context.memory, p, target, flags, options, pseudo),
    );
  }

  /** RFC 4861 §6.3.7: with our link address, unless we have no address yet. */
  solicitRouters(source: IpAddress): void {
    const options: Partial<Options> = source.isUnspecified || !this.isEthernet ? {} : { sourceMac: this.iface.mac };
    this.send(source, ndp.ALL_ROUTERS, 8 + optionsLength(options), null, (p, pseudo) =>
      ndp.emitRouterSolicitation(this.context.memory, p, options, pseudo),
    );
  }

  get isEthernet(): boolean {
    return this.iface.device.medium === 'ethernet';
  }

  /**
   * Sends one message of `length` bytes, which `emit` writes.
   * @param neighbour - where a message to one host goes; null: looked up
   */
  send(
    source: IpAddress,
    to: IpAddress,
    length: number,
    neighbour: Neighbour | null,
    emit: (p: number, pseudo: number) => void,
  ): void {
    const { memory, stats } = this.context;
    const frame = allocFrame(memory, ipv6.HEADER_LENGTH + length);
    if (frame === 0) {
      this.iface.refuse('no-memory', ipv6.HEADER_LENGTH + length);
      return;
    }
    stats.ndOut++;
    const p = frame + HEADROOM;
    emit(p + ipv6.HEADER_LENGTH, pseudoHeaderSum(source, to, PROTOCOL_ICMPV6));
    ipv6.emit(memory.dv, p, length, 0, ndp.HOP_LIMIT, PROTOCOL_ICMPV6, source, to);
    setFrameBounds(memory, frame, p, p + ipv6.HEADER_LENGTH + length);
    const isGroup = to.isMulticast || !this.isEthernet;
    this.iface.transmit(frame, isGroup ? null : (neighbour ?? this.iface.neighbours.get(to)));
  }

  /** Begins to use `local`: at once, or when nobody else has it. */
  claim(local: LocalAddress, onDuplicate: () => void, delayMs = 0): void {
    const transmits = this.options.dadTransmits ?? 1;
    if (!this.isEthernet || transmits === 0) {
      this.joinSolicitedNode(local.address);
      this.ip.addresses.assign(local);
      this.slaac.assigned(local);
    } else {
      this.dad.start(local, transmits, delayMs, onDuplicate);
    }
  }

  /** On a medium without link addresses nobody asks for one, and no router need know of the group. */
  joinSolicitedNode(address: IpAddress): void {
    if (!this.isEthernet) return;
    this.iface.groups.join(ndp.solicitedNode(address));
  }

  /** `local` is gone, or never was ours. */
  release(local: LocalAddress): void {
    this.dad.stop(local);
    this.iface.groups.leave(ndp.solicitedNode(local.address));
  }

  close(): void {
    this.dad.close();
    this.routers.close();
    this.slaac.close();
  }
}
