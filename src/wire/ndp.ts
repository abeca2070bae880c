/**
 * Neighbour discovery: RFC 4861 §4 and its validity checks §6.1, §7.1, §8.1; RFC 4191 §2.1 (router preference). Messages
 * are ICMPv6, and `icmpv6.check` comes first; `p` is the ICMPv6 header. Options are in `ndp-options.ts`. @module
 */
import { formatV6, IpAddress, wireWord } from './address.ts';
import * as icmpv6 from './icmpv6.ts';
import {
  checkOptions,
  emitOptions,
  formatOptions,
  type Options,
  type Preference,
  parseOptions,
  preferenceFlags,
  preferenceOf,
} from './ndp-options.ts';
import type { Octets } from './octets.ts';

// Router advertisement: §4.2.
const HOP_LIMIT_SUGGESTED = 4; // u8: 0, unspecified
const ROUTER_FLAGS = 5; // u8: managed, other, home agent, u2 preference
const ROUTER_LIFETIME = 6; // u16: seconds
const REACHABLE_TIME = 8; // u32: milliseconds, 0: unspecified
const RETRANS_TIMER = 12; // u32: milliseconds, 0: unspecified
const MANAGED = 0x80;
const OTHER = 0x40;

const NEIGHBOUR_FLAGS = 4; // u8: §4.4
const TARGET = 8; // u128: solicitation, advertisement, redirect
const DESTINATION = 24; // u128: redirect

export const ROUTER_SOLICITATION = 133;
export const ROUTER_ADVERTISEMENT = 134;
export const NEIGHBOUR_SOLICITATION = 135;
export const NEIGHBOUR_ADVERTISEMENT = 136;
export const REDIRECT = 137;

/** Where the options begin, which is the least length of the message too. */
const OPTIONS_AT: Readonly<Record<number, number>> = {
  [ROUTER_SOLICITATION]: 8,
  [ROUTER_ADVERTISEMENT]: 16,
  [NEIGHBOUR_SOLICITATION]: 24,
  [NEIGHBOUR_ADVERTISEMENT]: 24,
  [REDIRECT]: 40,
};

/** Flags of a neighbour advertisement, in their place. */
export const FLAG_ROUTER = 0x80;
export const FLAG_SOLICITED = 0x40;
export const FLAG_OVERRIDE = 0x20;

/** RFC 4861 §6.1, §7.1, §8.1: proof that no router has forwarded a message. */
export const HOP_LIMIT = 255;

/** ff02::1 and ff02::2. */
export const ALL_NODES = new IpAddress(0xff020000, 0, 0, 1);
export const ALL_ROUTERS = new IpAddress(0xff020000, 0, 0, 2);

/** The solicited-node group of an address: RFC 4291 §2.7.1. */
export const solicitedNode = (address: IpAddress): IpAddress =>
  new IpAddress(0xff020000, 0, 1, 0xff000000 | (address.d & 0xffffff));

/** Why a message was dropped. */
export type Drop =
  | 'ndp-truncated'
  | 'ndp-bad-hop-limit'
  | 'ndp-bad-code'
  | 'ndp-bad-option'
  | 'ndp-bad-target'
  | 'ndp-bad-source'
  | 'ndp-bad-destination';

/** Whether an ICMPv6 type is one of these five. */
export const isNdp = (type: number): boolean => type >= ROUTER_SOLICITATION && type <= REDIRECT;

/** Where the options of a message of this type begin. */
export const optionsAt = (dv: DataView, p: number): number => p + OPTIONS_AT[icmpv6.type(dv, p)]!;

/** Of a solicitation, an advertisement or a redirect. */
export const target = (dv: DataView, p: number): IpAddress => readAddress(dv, p + TARGET);
/** Of a redirect. */
export const destination = (dv: DataView, p: number): IpAddress => readAddress(dv, p + DESTINATION);
/** Of a neighbour advertisement: {@link FLAG_ROUTER} and the like. */
export const neighbourFlags = (dv: DataView, p: number): number => dv.getUint8(p + NEIGHBOUR_FLAGS);
/** The options of a message that {@link check} found good. */
export const options = (dv: DataView, p: number, end: number): Options => parseOptions(dv, optionsAt(dv, p), end);

const readAddress = (dv: DataView, p: number): IpAddress =>
  new IpAddress(dv.getInt32(p), dv.getInt32(p + 4), dv.getInt32(p + 8), dv.getInt32(p + 12));

function emitAddress(dv: DataView, p: number, { a, b, c, d }: IpAddress): void {
  dv.setInt32(p, a);
  dv.setInt32(p + 4, wireWord(a, b));
  dv.setInt32(p + 8, c);
  dv.setInt32(p + 12, d);
}

/**
 * Says why the message in `[p, end)` must be dropped, or null. After null nothing here reads out of bounds. What a host
 * knows of its neighbours is not asked here (§8.1: a redirect comes from the current first hop).
 * @param hopLimit - of the IPv6 header   @param source - its addresses, as `dest`
 */
export function check(
  dv: DataView,
  p: number,
  end: number,
  hopLimit: number,
  source: IpAddress,
  dest: IpAddress,
): Drop | null {
  if (hopLimit !== HOP_LIMIT) return 'ndp-bad-hop-limit';
  return checkMessage(dv, p, end) ?? checkAddresses(dv, p, end, source, dest);
}

/** As {@link check}, of the message alone: for tools, which know no more. */
export function checkMessage(dv: DataView, p: number, end: number): Drop | null {
  if (end - p < icmpv6.HEADER_LENGTH) return 'ndp-truncated';
  const optionsFrom = OPTIONS_AT[icmpv6.type(dv, p)] ?? icmpv6.HEADER_LENGTH;
  if (end - p < optionsFrom) return 'ndp-truncated';
  if (icmpv6.code(dv, p) !== 0) return 'ndp-bad-code';
  return checkOptions(dv, p + optionsFrom, end) ? null : 'ndp-bad-option';
}

/** Bytes of the longest common start of all solicited-node groups: ff02::1:ff00:0/104. */
const isSolicitedNode = ({ a, b, c, d }: IpAddress): boolean =>
  a === (0xff020000 | 0) && b === 0 && c === 1 && d >>> 24 === 0xff;

function checkAddresses(dv: DataView, p: number, end: number, source: IpAddress, dest: IpAddress): Drop | null {
  switch (icmpv6.type(dv, p)) {
    case ROUTER_SOLICITATION:
      // §6.1.1: "If the IP source address is the unspecified address, there is no source link-layer address option".
      return source.isUnspecified && options(dv, p, end).sourceMac !== null ? 'ndp-bad-option' : null;
    case ROUTER_ADVERTISEMENT:
      return source.isLinkLocal ? null : 'ndp-bad-source'; // §6.1.2
    case NEIGHBOUR_SOLICITATION:
      if (target(dv, p).isMulticast) return 'ndp-bad-target';
      if (!source.isUnspecified) return null;
      // §7.1.1: for duplicate address detection.
      if (!isSolicitedNode(dest)) return 'ndp-bad-destination';
      return options(dv, p, end).sourceMac !== null ? 'ndp-bad-option' : null;
    case NEIGHBOUR_ADVERTISEMENT:
      if (target(dv, p).isMulticast) return 'ndp-bad-target';
      // §7.1.2: "If the IP Destination Address is a multicast address the Solicited flag is zero."
      return dest.isMulticast && (neighbourFlags(dv, p) & FLAG_SOLICITED) !== 0 ? 'ndp-bad-destination' : null;
    default:
      return checkRedirect(dv, p, source);
  }
}

/** §8.1. */
function checkRedirect(dv: DataView, p: number, source: IpAddress): Drop | null {
  if (!source.isLinkLocal) return 'ndp-bad-source';
  const to = target(dv, p);
  const about = destination(dv, p);
  if (about.isMulticast) return 'ndp-bad-destination';
  return to.isLinkLocal || to.equals(about) ? null : 'ndp-bad-target';
}

/** What a router advertisement says beside its options. */
export interface RouterAdvertisement {
  /** 0: unspecified. */
  readonly hopLimit: number;
  /** Addresses by DHCPv6; other things by DHCPv6. */
  readonly managed: boolean;
  readonly other: boolean;
  readonly preference: Preference;
  /** 0: not a default router. */
  readonly lifetimeSeconds: number;
  /** 0: unspecified, as `retransMs`. */
  readonly reachableMs: number;
  readonly retransMs: number;
}

/** Reads an advertisement that {@link check} found good. */
export function routerAdvertisement(dv: DataView, p: number): RouterAdvertisement {
  const flags = dv.getUint8(p + ROUTER_FLAGS);
  return {
    hopLimit: dv.getUint8(p + HOP_LIMIT_SUGGESTED),
    managed: (flags & MANAGED) !== 0,
    other: (flags & OTHER) !== 0,
    // RFC 4191 §2.2: the reserved value MUST be treated as medium.
    preference: preferenceOf(flags) ?? 'medium',
    lifetimeSeconds: dv.getUint16(p + ROUTER_LIFETIME),
    reachableMs: dv.getUint32(p + REACHABLE_TIME),
    retransMs: dv.getUint32(p + RETRANS_TIMER),
  };
}

/**
 * Each emitter writes a whole message at `p`, checksum included, and returns its length, which is the length of the
 * fixed part and `optionsLength(options)`.
 * @param pseudo - sum of the pseudo-header without the length
 */
export function emitRouterSolicitation(o: Octets, p: number, opts: Partial<Options>, pseudo: number): number {
  return finish(o, p, ROUTER_SOLICITATION, 0, opts, pseudo);
}

/** See {@link emitRouterSolicitation}. */
export function emitRouterAdvertisement(
  o: Octets,
  p: number,
  router: RouterAdvertisement,
  opts: Partial<Options>,
  pseudo: number,
): number {
  const flags = (router.managed ? MANAGED : 0) | (router.other ? OTHER : 0) | preferenceFlags(router.preference);
  o.dv.setUint32(p + REACHABLE_TIME, router.reachableMs);
  o.dv.setUint32(p + RETRANS_TIMER, router.retransMs);
  const rest = (router.hopLimit << 24) | (flags << 16) | router.lifetimeSeconds;
  return finish(o, p, ROUTER_ADVERTISEMENT, rest, opts, pseudo);
}

/** See {@link emitRouterSolicitation}. */
export function emitNeighbourSolicitation(
  o: Octets,
  p: number,
  about: IpAddress,
  opts: Partial<Options>,
  pseudo: number,
): number {
  emitAddress(o.dv, p + TARGET, about);
  return finish(o, p, NEIGHBOUR_SOLICITATION, 0, opts, pseudo);
}

/** See {@link emitRouterSolicitation}. @param flags - {@link FLAG_ROUTER} and the like */
export function emitNeighbourAdvertisement(
  o: Octets,
  p: number,
  about: IpAddress,
  flags: number,
  opts: Partial<Options>,
  pseudo: number,
): number {
  emitAddress(o.dv, p + TARGET, about);
  return finish(o, p, NEIGHBOUR_ADVERTISEMENT, flags << 24, opts, pseudo);
}

/** See {@link emitRouterSolicitation}. @param to - the better first hop, or `about` itself where it is on the link */
export function emitRedirect(
  o: Octets,
  p: number,
  to: IpAddress,
  about: IpAddress,
  opts: Partial<Options>,
  pseudo: number,
): number {
  emitAddress(o.dv, p + TARGET, to);
  emitAddress(o.dv, p + DESTINATION, about);
  return finish(o, p, REDIRECT, 0, opts, pseudo);
}

function finish(o: Octets, p: number, type: number, rest: number, opts: Partial<Options>, pseudo: number): number {
  const end = emitOptions(o.dv, p + OPTIONS_AT[type]!, opts);
  icmpv6.emit(o, p, type, 0, rest, end - p, pseudo);
  return end - p;
}

const formatTarget = (dv: DataView, p: number): string =>
  formatV6(dv.getInt32(p), dv.getInt32(p + 4), dv.getInt32(p + 8), dv.getInt32(p + 12));

/** `neighbor solicitation, who has fd00::2, source link-address 02:00:00:00:00:01`, for a good message. */
export function format(dv: DataView, p: number, end: number): string {
  return `${formatHead(dv, p)}${formatOptions(options(dv, p, end))}`;
}

function formatHead(dv: DataView, p: number): string {
  switch (icmpv6.type(dv, p)) {
    case ROUTER_SOLICITATION:
      return 'router solicitation';
    case ROUTER_ADVERTISEMENT: {
      const router = routerAdvertisement(dv, p);
      const flags = `${router.managed ? ', managed' : ''}${router.other ? ', other stateful' : ''}`;
      return `router advertisement, hop limit ${router.hopLimit}${flags}, pref ${router.preference}, router lifetime ${router.lifetimeSeconds}s`;
    }
    case NEIGHBOUR_SOLICITATION:
      return `neighbor solicitation, who has ${formatTarget(dv, p + TARGET)}`;
    case NEIGHBOUR_ADVERTISEMENT: {
      const flags = neighbourFlags(dv, p);
      const names = [
        (flags & FLAG_ROUTER) !== 0 ? ', router' : '',
        (flags & FLAG_SOLICITED) !== 0 ? ', solicited' : '',
        (flags & FLAG_OVERRIDE) !== 0 ? ', override' : '',
      ];
      return `neighbor advertisement, tgt is ${formatTarget(dv, p + TARGET)}${names.join('')}`;
    }
    default:
      return `redirect, ${formatTarget(dv, p + DESTINATION)} to ${formatTarget(dv, p + TARGET)}`;
  }
}
