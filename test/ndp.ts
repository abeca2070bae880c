/** A stack with IPv6 on an Ethernet device, and neighbour discovery played by hand around it. @module */
import type { Ipv6Options } from '../src/iface/nd.ts';
import { Random } from '../src/phy/random.ts';
import { Stack } from '../src/stack.ts';
import { Cidr, IpAddress, MacAddress } from '../src/wire/address.ts';
import * as ethernet from '../src/wire/ethernet.ts';
import { PROTOCOL_ICMPV6, pseudoHeaderSum } from '../src/wire/ip.ts';
import * as ipv6 from '../src/wire/ipv6.ts';
import * as ndp from '../src/wire/ndp.ts';
import type { Options } from '../src/wire/ndp-options.ts';
import { octetsOf } from '../src/wire/octets.ts';
import { formatFrame } from '../src/wire/packet.ts';
import { LOCAL_MAC, PeerDevice } from './peer.ts';

export const ip = (text: string): IpAddress => IpAddress.parse(text);
/** Two routers and a host of the link. */
export const ROUTER = 'fe80::1';
export const ROUTER_MAC = MacAddress.parse('02:00:00:00:00:11');
export const ROUTER2 = 'fe80::2';
export const ROUTER2_MAC = MacAddress.parse('02:00:00:00:00:12');

/** Where a message comes from and goes to. */
export interface From {
  readonly from?: string;
  readonly to?: string;
  readonly mac?: MacAddress;
  readonly hopLimit?: number;
}

/** `emit` writes one message of `length` bytes at most; what comes of it, in its frame. */
function frameOf(
  { from = ROUTER, to = 'ff02::1', mac = ROUTER_MAC, hopLimit = 255 }: From,
  emit: (o: ReturnType<typeof octetsOf>, p: number, pseudo: number) => number,
): Uint8Array {
  const bytes = new Uint8Array(1500);
  const o = octetsOf(bytes);
  const [source, destination] = [ip(from), ip(to)];
  const p = ethernet.HEADER_LENGTH;
  const length = emit(o, p + ipv6.HEADER_LENGTH, pseudoHeaderSum(source, destination, PROTOCOL_ICMPV6));
  ipv6.emit(o.dv, p, length, 0, hopLimit, PROTOCOL_ICMPV6, source, destination);
  const group = new MacAddress(ethernet.GROUP_HIGH_V6, destination.d);
  ethernet.emit(o.dv, 0, destination.isMulticast ? group : LOCAL_MAC, mac, ethernet.ETHERTYPE_IPV6);
  return bytes.slice(0, p + ipv6.HEADER_LENGTH + length);
}

export interface RouterSays extends Partial<Omit<ndp.RouterAdvertisement, 'prefixes'>>, Partial<Options> {}

/** A router advertisement; by default of a default router for half an hour. */
export function advertisement(says: RouterSays = {}, from: From = {}): Uint8Array {
  const router: ndp.RouterAdvertisement = {
    hopLimit: 0,
    managed: false,
    other: false,
    preference: 'medium',
    lifetimeSeconds: 1800,
    reachableMs: 0,
    retransMs: 0,
    ...says,
  };
  const options = { sourceMac: from.mac ?? ROUTER_MAC, ...says };
  return frameOf(from, (o, p, pseudo) => ndp.emitRouterAdvertisement(o, p, router, options, pseudo));
}

/** A prefix option: on the link and autonomous, valid for a day and preferred for an hour. */
export const prefix = (
  text: string,
  changes: Partial<Options['prefixes'][number]> = {},
): Options['prefixes'][number] => {
  const { address, prefixLength } = Cidr.parse(text);
  const lifetimes = { validSeconds: 86_400, preferredSeconds: 3600 };
  return { prefix: address, prefixLength, onLink: true, autonomous: true, ...lifetimes, ...changes };
};

export function solicitation(target: string, from: From & Partial<Options> = {}): Uint8Array {
  const to = from.to ?? ndp.solicitedNode(ip(target)).toString();
  return frameOf({ ...from, to }, (o, p, pseudo) => ndp.emitNeighbourSolicitation(o, p, ip(target), from, pseudo));
}

/** @param flags - `FLAG_...` of `ndp`; by default solicited and override */
export function neighbourAdvertisement(
  target: string,
  from: From & Partial<Options> & { readonly flags?: number } = {},
): Uint8Array {
  const { flags = ndp.FLAG_SOLICITED | ndp.FLAG_OVERRIDE } = from;
  const options = { targetMac: from.mac ?? ROUTER_MAC, ...from };
  return frameOf({ from: target, to: 'ff02::1', ...from }, (o, p, pseudo) =>
    ndp.emitNeighbourAdvertisement(o, p, ip(target), flags, options, pseudo),
  );
}

export function redirect(target: string, destination: string, from: From & Partial<Options> = {}): Uint8Array {
  return frameOf(from, (o, p, pseudo) => ndp.emitRedirect(o, p, ip(target), ip(destination), from, pseudo));
}

export function routerSolicitation(from: From & Partial<Options> = {}): Uint8Array {
  return frameOf({ to: 'ff02::2', ...from }, (o, p, pseudo) => ndp.emitRouterSolicitation(o, p, from, pseudo));
}

export interface NdPeerOptions extends Ipv6Options {
  readonly addresses?: readonly string[];
  readonly seed?: number;
}

export class NdPeer {
  readonly device = new PeerDevice('ethernet');
  readonly stack: Stack;
  now = 1000;

  constructor({ addresses = [], seed = 1, ...ipv6Options }: NdPeerOptions = {}) {
    const random = new Random(seed);
    this.stack = new Stack({ random: () => random.next(), memory: 4 << 20 });
    this.stack.setNow(this.now);
    this.stack.addInterface(this.device, {
      mac: LOCAL_MAC,
      ipv6: ipv6Options,
      addresses: addresses.map((text) => Cidr.parse(text)),
    });
    this.stack.poll(this.now);
  }

  get iface() {
    return this.stack.interfaces[1]!;
  }

  get nd() {
    return this.iface.nd!;
  }

  get drops(): Record<string, number> {
    return this.stack.stats.drops;
  }

  /** The address as the stack holds it: with its zone. */
  zoned(text: string): IpAddress {
    return ip(text).withZone(this.iface.index);
  }

  send(...frames: Uint8Array[]): void {
    for (const bytes of frames) this.device.deliver(bytes);
    this.stack.poll(this.now);
  }

  /** Lets `ms` pass, stopping at every deadline of the stack. */
  pass(ms: number): void {
    const until = this.now + ms;
    for (let at = this.stack.pollAt(); at <= until; at = this.stack.pollAt()) {
      this.now = Math.max(this.now, at);
      this.stack.poll(this.now);
    }
    this.now = until;
    this.stack.poll(this.now);
  }

  /** Lets time pass as {@link pass} does, and gives `[ms, line]` for each line that matches. */
  watch(ms: number, pattern: RegExp): [number, string][] {
    const from = this.now;
    const until = from + ms;
    const seen: [number, string][] = [];
    const note = (): void => {
      for (const line of this.lines()) if (pattern.test(line)) seen.push([this.now - from, line]);
    };
    note();
    for (let at = this.stack.pollAt(); at <= until; at = this.stack.pollAt()) {
      this.now = Math.max(this.now, at);
      this.stack.poll(this.now);
      note();
    }
    this.now = until;
    this.stack.poll(this.now);
    note();
    return seen;
  }

  /** What the stack has sent since the last look, as tcpdump would show it; reports of groups are left out. */
  lines(): string[] {
    return this.device.sent
      .splice(0)
      .map((bytes) => formatFrame(octetsOf(bytes), 0, bytes.length, 'ethernet'))
      .filter((line) => !line.includes('multicast listener'));
  }

  /** Addresses in use, without zones: `fe80::... link-local preferred`. */
  addresses(): string[] {
    return this.stack.ip.addresses.all
      .filter(({ iface, address }) => iface === this.iface && !address.isV4)
      .map(({ address, origin, state }) => `${address.withZone(0)} ${origin} ${state}`);
  }

  /** What no link-local address is: `slaac preferred`, ... */
  states(): string[] {
    return this.addresses()
      .filter((line) => !line.startsWith('fe80'))
      .map((line) => line.replace(/^\S+ /, ''));
  }

  /** Ends the stack, whose memory must all have come back. */
  end(): void {
    this.stack.close();
    if (this.stack.memory.usedBytes !== 0) throw new Error(`${this.stack.memory.usedBytes} bytes are still held`);
  }
}
