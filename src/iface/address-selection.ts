/**
 * Which of our addresses to send from, and which of a peer's to try first: RFC 6724. Rule 4 (mobile IPv6) and rule 7 of
 * the destinations (transition mechanisms) have nothing to decide here. @module
 */
import { Cidr, IpAddress } from '../wire/address.ts';
import type { LocalAddress } from './addresses.ts';
import type { Interface } from './interface.ts';
import type { Ip } from './ip.ts';

/** Scopes: RFC 4291 §2.7, and RFC 6724 §3.1, §3.2 for unicast and IPv4. */
const SCOPE_LINK = 2;
const SCOPE_SITE = 5;
const SCOPE_GLOBAL = 14;

interface Policy {
  readonly prefix: Cidr;
  readonly precedence: number;
  readonly label: number;
}

const policy = (prefix: string, precedence: number, label: number): Policy => ({
  prefix: Cidr.parse(prefix),
  precedence,
  label,
});

/** RFC 6724 §2.1: the default policy table, longest prefix first. */
const POLICIES: readonly Policy[] = [
  policy('::1/128', 50, 0),
  { prefix: new Cidr(IpAddress.v4(0), 0), precedence: 35, label: 4 },
  policy('::/96', 1, 3),
  policy('2001::/32', 5, 5),
  policy('2002::/16', 30, 2),
  policy('3ffe::/16', 1, 12),
  policy('fec0::/10', 1, 11),
  policy('fc00::/7', 3, 13),
  policy('::/0', 40, 1),
];

const policyOf = (address: IpAddress): Policy => POLICIES.find(({ prefix }) => prefix.contains(address))!;

/** The scope of an address, unicast or group. */
export function scopeOf(address: IpAddress): number {
  if (address.isMulticast)
    return address.isV4 ? (address.d >>> 8 === 0xe00000 ? SCOPE_LINK : SCOPE_GLOBAL) : (address.a >>> 16) & 0xf;
  if (address.isLinkLocal || address.isLoopback) return SCOPE_LINK;
  return address.a >>> 22 === 0x3fb ? SCOPE_SITE : SCOPE_GLOBAL;
}

/** Leading bits that two addresses share, zones aside, `most` at most. */
function commonBits(one: IpAddress, other: IpAddress, most: number): number {
  const differences = [one.a ^ other.a, one.zone !== 0 ? 0 : one.b ^ other.b, one.c ^ other.c, one.d ^ other.d];
  const at = differences.findIndex((bits) => bits !== 0);
  return at < 0 ? most : Math.min(most, 32 * at + Math.clz32(differences[at]!));
}

/** What the rules look at of one source. */
interface Towards {
  readonly destination: IpAddress;
  readonly scope: number;
  readonly label: number;
  readonly iface: Interface;
  readonly nextHop: IpAddress;
}

/** Above 0 where `x` is the better source, below 0 where `y` is, 0 where no rule decides: RFC 6724 §5. */
function compareSources(x: LocalAddress, y: LocalAddress, to: Towards): number {
  const [p, q] = [x.address, y.address];
  // Rule 1: prefer the same address.
  if (p.equals(to.destination)) return 1;
  if (q.equals(to.destination)) return -1;
  // Rule 2: prefer the appropriate scope: the smallest that is large enough.
  const [ps, qs] = [scopeOf(p), scopeOf(q)];
  if (ps < qs) return ps < to.scope ? -1 : 1;
  if (qs < ps) return qs < to.scope ? 1 : -1;
  // Rule 3: avoid deprecated addresses.
  if (x.state !== y.state) return x.state === 'deprecated' ? -1 : 1;
  // Rule 5: prefer the outgoing interface.
  if (x.iface !== y.iface) return x.iface === to.iface ? 1 : y.iface === to.iface ? -1 : 0;
  // Rule 5.5: prefer a prefix that the next hop told of.
  const [xr, yr] = [x.router?.equals(to.nextHop) ?? false, y.router?.equals(to.nextHop) ?? false];
  if (xr !== yr) return xr ? 1 : -1;
  // Rule 6: prefer the matching label.
  const [xl, yl] = [policyOf(p).label === to.label, policyOf(q).label === to.label];
  if (xl !== yl) return xl ? 1 : -1;
  // Rule 7: prefer temporary addresses.
  const [xt, yt] = [x.origin === 'temporary', y.origin === 'temporary'];
  if (xt !== yt) return xt ? 1 : -1;
  // Rule 8: the longest matching prefix, of the source's own prefix at most.
  return commonBits(p, to.destination, x.cidr.bits) - commonBits(q, to.destination, y.cidr.bits);
}

/**
 * Our IPv6 address towards `destination`, or null. Candidates are those of the outgoing interface, as RFC 6724 §4 wants
 * for hosts; where it has none of any use, those of the others, as Linux does, but for destinations of the link.
 */
export function selectSource(ip: Ip, iface: Interface, destination: IpAddress, nextHop: IpAddress): IpAddress | null {
  const scope = scopeOf(destination);
  const to: Towards = { destination, scope, label: policyOf(destination).label, iface, nextHop };
  return best(ip, to, true) ?? (scope > SCOPE_LINK ? best(ip, to, false) : null);
}

function best(ip: Ip, to: Towards, isOwn: boolean): IpAddress | null {
  let found: LocalAddress | null = null;
  for (const local of ip.addresses.all) {
    const { address } = local;
    if (!local.isAssigned || address.isV4 || (local.iface === to.iface) !== isOwn) continue;
    // Of other interfaces nothing that is valid there only.
    if (!isOwn && (local.iface.isLoopback || address.isLinkLocal)) continue;
    if (found === null || compareSources(local, found, to) > 0) found = local;
  }
  return found?.address ?? null;
}

interface Destination {
  readonly address: IpAddress;
  /** Null: there is no way there. */
  readonly source: IpAddress | null;
  readonly isDeprecated: boolean;
}

/** Below 0 where `x` is to be tried first: RFC 6724 §6. */
function compareDestinations(x: Destination, y: Destination): number {
  // Rule 1: avoid unusable destinations.
  if (x.source === null || y.source === null) return Number(x.source === null) - Number(y.source === null);
  const [p, q] = [x.address, y.address];
  const [ps, qs] = [scopeOf(p), scopeOf(q)];
  // Rule 2: prefer the matching scope.
  const [xs, ys] = [ps === scopeOf(x.source), qs === scopeOf(y.source)];
  if (xs !== ys) return xs ? -1 : 1;
  // Rule 3: avoid deprecated sources.
  if (x.isDeprecated !== y.isDeprecated) return x.isDeprecated ? 1 : -1;
  const [pp, qp] = [policyOf(p), policyOf(q)];
  // Rule 5: prefer the matching label.
  const [xl, yl] = [policyOf(x.source).label === pp.label, policyOf(y.source).label === qp.label];
  if (xl !== yl) return xl ? -1 : 1;
  // Rule 6: prefer the higher precedence.
  if (pp.precedence !== qp.precedence) return qp.precedence - pp.precedence;
  // Rule 8: prefer the smaller scope.
  if (ps !== qs) return ps - qs;
  // Rule 9: the longest matching prefix. Of IPv4 it would only undo what servers do by changing the order.
  if (p.isV4 || q.isV4) return 0;
  return commonBits(q, y.source, 64) - commonBits(p, x.source, 64);
}

/** The addresses of a peer in the order in which to try them; equals keep theirs (rule 10). RFC 6724 §6. */
export function sortDestinations(ip: Ip, addresses: readonly IpAddress[]): IpAddress[] {
  const destinations = addresses.map((written): Destination => {
    const address = ip.zoned(written);
    const source = ip.sourceFor(address);
    const local = source === null ? null : ip.addresses.get(source.a, source.b, source.c, source.d);
    return { address, source, isDeprecated: local?.state === 'deprecated' };
  });
  return destinations.sort(compareDestinations).map(({ address }) => address);
}
