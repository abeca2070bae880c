/**
 * Redirects that were followed, on one interface: destinations that have a first hop of their own. RFC 1122 §3.2.2.2 of
 * IPv4, whose messages are read here; RFC 4861 §8.3 of IPv6, see `nd-routers.ts`. @module
 */
import { Cidr, IpAddress } from '../wire/address.ts';
import * as icmpv4 from '../wire/icmpv4.ts';
import * as ipv4 from '../wire/ipv4.ts';
import type { Context } from './context.ts';
import type { Interface } from './interface.ts';
import type { Ip } from './ip.ts';
import type { Packet } from './packet.ts';
import type { Route } from './routes.ts';

/** Redirected destinations; beyond, the oldest is forgotten, and its packets go to the router again. */
const REDIRECTS_MAX = 256;
/** Behind what was set by hand, before what routers told of. */
const METRIC = 1022;
/** The codes of a redirect: net, host, and the same of one type of service. RFC 792. */
const CODE_MAX = 3;

export class Redirects {
  readonly #ip: Ip;
  readonly #iface: Interface;
  readonly #routes: Route[] = [];

  constructor(ip: Ip, iface: Interface) {
    this.#ip = ip;
    this.#iface = iface;
  }

  get count(): number {
    return this.#routes.length;
  }

  /** Packets to `destination` go to `target` from now on, which is the destination itself where it is on the link. */
  follow(destination: IpAddress, target: IpAddress): void {
    this.#forget(({ prefix }) => prefix.address.equals(destination));
    if (this.#routes.length >= REDIRECTS_MAX) this.#ip.routes.delete(this.#routes.shift()!);
    const gateway = target.equals(destination) ? null : target;
    const route: Route = {
      prefix: new Cidr(destination, destination.isV4 ? 32 : 128),
      iface: this.#iface,
      gateway,
      metric: METRIC,
    };
    this.#ip.routes.add(route);
    this.#routes.push(route);
  }

  /** `address` does not answer, or is no router any more: what goes to it takes the way of before. RFC 1122 §3.3.1.4. */
  lost(address: IpAddress): void {
    this.#forget(({ gateway, prefix }) => (gateway ?? prefix.address).equals(address));
  }

  /** The network is ours no longer, and with it the first hops on it. */
  left(network: Cidr): void {
    this.#forget(({ gateway, prefix }) => network.contains(gateway ?? prefix.address));
  }

  #forget(isMeant: (route: Route) => boolean): void {
    for (let i = this.#routes.length - 1; i >= 0; i--) {
      if (isMeant(this.#routes[i]!)) this.#ip.routes.delete(this.#routes.splice(i, 1)[0]!);
    }
  }

  /** Takes in an ICMP redirect of IPv4 whose checksum is good. */
  input(packet: Packet, { memory, stats }: Context): void {
    if (this.#iface.acceptRedirects && this.#heed(packet, memory.dv)) stats.icmpRedirects++;
    else stats.drop('icmp-redirect-refused');
  }

  /** RFC 1122 §3.2.2.2; false: it must not be followed. */
  #heed(packet: Packet, dv: DataView): boolean {
    const p = packet.payload;
    const quote = p + icmpv4.HEADER_LENGTH;
    if (packet.end - quote < ipv4.HEADER_LENGTH || dv.getUint8(quote) >>> 4 !== 4) return false;
    const target = IpAddress.v4(icmpv4.rest(dv, p));
    const destination = IpAddress.v4(ipv4.destination(dv, quote));
    const ip = this.#ip;
    const first = ip.routes.lookup(destination);
    // "... if the source of the Redirect is not the current first-hop gateway for the specified destination".
    const isFirstHop = first?.iface === this.#iface && first.gateway?.equals(packet.source) === true;
    const isAbout = ip.isLocalAddress(IpAddress.v4(ipv4.source(dv, quote))) && !ip.isLocalAddress(destination);
    // RFC 1812 §5.2.7.2: routers do not heed them.
    if (ip.forwarder !== null || icmpv4.code(dv, p) > CODE_MAX || !isFirstHop || !isAbout) return false;
    // A redirect of a network tells nothing of its mask, so it is taken for one of the host, as Linux does.
    if (!this.#isNextHop(target) || target.equals(packet.source)) return false;
    this.follow(destination, target);
    return true;
  }

  /** "the new gateway address it specifies is not on the same connected (sub-) net": then it is not followed. */
  #isNextHop(target: IpAddress): boolean {
    const { addresses } = this.#iface;
    const isBroadcast = this.#iface.isBroadcast(target.a, target.b, target.c, target.d);
    return addresses.some((cidr) => cidr.contains(target)) && !isBroadcast && !this.#ip.isLocalAddress(target);
  }
}
