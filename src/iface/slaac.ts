/**
 * Addresses an interface gives itself: the link-local one, and by the prefixes that routers tell of: RFC 4862 §5.3, §5.5,
 * with stable opaque identifiers (RFC 7217) and temporary addresses (RFC 8981). @module
 */
import { Cidr, IpAddress, LINK_LOCAL, UNSPECIFIED_V6 } from '../wire/address.ts';
import type { Prefix } from '../wire/ndp-options.ts';
import type { AddressOrigin, LocalAddress } from './addresses.ts';
import { InterfaceIds } from './interface-id.ts';
import type { Nd } from './nd.ts';
import { endOf, prefixOf } from './nd-routers.ts';
import type { Timed } from './timers.ts';

/** RFC 4862 §5.5.3 (d): with Ethernet's identifiers of 64 bits nothing else makes an address. */
const PREFIX_BITS = 64;
/** RFC 4862 §5.5.3 (e): an advertisement cannot shorten a valid lifetime below this. */
const TWO_HOURS_MS = 7_200_000;
/** Addresses of prefixes on one interface, temporary ones included; beyond, prefixes are not used. */
const ADDRESSES_MAX = 16;
/** RFC 4862 §5.4.2: MAX_RTR_SOLICITATION_DELAY. */
const DELAY_MS = 1000;
/** RFC 7217 §7: IDGEN_RETRIES, and RFC 8981 §3.8: TEMP_IDGEN_RETRIES. */
const RETRIES_MAX = 3;
/** RFC 8981 §3.8: TEMP_VALID_LIFETIME, TEMP_PREFERRED_LIFETIME, MAX_DESYNC_FACTOR. */
const TEMPORARY_VALID_MS = 2 * 86_400_000;
const TEMPORARY_PREFERRED_MS = 86_400_000;
const DESYNC_SHARE = 0.4;

/** One address made of a prefix. */
interface Made {
  readonly prefix: Cidr;
  readonly local: LocalAddress;
  /** When it was made, and by how much less than a day a temporary one is preferred. */
  readonly madeAt: number;
  readonly desyncMs: number;
  /** Another one has taken the place of a temporary one. */
  isReplaced: boolean;
}

export class Slaac implements Timed {
  timerAt = 0;
  timerIndex = -1;
  readonly #nd: Nd;
  readonly #ids: InterfaceIds;
  /** What stands for the interface where identifiers are made. */
  readonly #name: readonly number[];
  #made: Made[] = [];

  constructor(nd: Nd) {
    this.#nd = nd;
    this.#ids = new InterfaceIds(nd.context.random, nd.options.secret);
    const { name, index } = nd.iface;
    this.#name = [index, ...Array.from(name, (letter) => letter.codePointAt(0)!)];
  }

  /** The link-local address, null while it is being asked about. */
  get linkLocal(): IpAddress | null {
    const { ip, iface } = this.#nd;
    const isOwn = ({ isAssigned, address, iface: of }: LocalAddress): boolean =>
      isAssigned && of === iface && address.a === LINK_LOCAL;
    return ip.addresses.all.find(isOwn)?.address ?? null;
  }

  get sourceOfSolicitations(): IpAddress {
    return this.linkLocal ?? UNSPECIFIED_V6;
  }

  /** RFC 4862 §5.3: the link-local address, and its network. */
  start(): void {
    const { ip, iface } = this.#nd;
    const prefix = new Cidr(new IpAddress(LINK_LOCAL, iface.index, 0, 0), PREFIX_BITS);
    ip.routes.add({ prefix, iface, gateway: null });
    if (this.#nd.options.linkLocal ?? true) this.#makeLinkLocal(prefix, 0);
  }

  #makeLinkLocal(prefix: Cidr, conflicts: number): void {
    const { iface } = this.#nd;
    const address = this.#ids.stable(prefix.address.withZone(0), this.#name, conflicts).withZone(iface.index);
    const local = this.#list(address, 'link-local');
    if (local === null) return;
    const again = (): void => {
      this.#nd.ip.addresses.remove(local);
      if (conflicts < RETRIES_MAX) this.#makeLinkLocal(prefix, conflicts + 1);
    };
    this.#nd.claim(local, again, DELAY_MS);
  }

  /** A tentative address in the table of all, or null where it cannot be. */
  #list(address: IpAddress, origin: AddressOrigin): LocalAddress | null {
    const { ip, iface, context } = this.#nd;
    if (ip.addresses.hasRoom && ip.addresses.find(address) === null) {
      return ip.addresses.add(iface, new Cidr(address, PREFIX_BITS), origin);
    }
    context.stats.drop('nd-table-full');
    return null;
  }

  /** `local` can be used from now on. */
  assigned(local: LocalAddress): void {
    if (local.address.a === LINK_LOCAL && this.#nd.options.autoconfigure && !this.#nd.isRouter) {
      this.#nd.routers.solicitor.start(this.#nd.isEthernet);
    }
    if (local.preferredUntil <= this.#nd.context.nowMs) this.#nd.ip.addresses.deprecate(local);
  }

  /** A router told of an autonomous prefix: RFC 4862 §5.5.3. */
  input(prefix: Prefix, router: IpAddress): void {
    const { stats, nowMs } = this.#nd.context;
    // (c), and (d): "If the sum of the prefix length and interface identifier length does not equal 128 bits"
    if (prefix.preferredSeconds > prefix.validSeconds || prefix.prefixLength !== PREFIX_BITS) {
      stats.drop('nd-bad-prefix');
      return;
    }
    const cidr = prefixOf(prefix.prefix, PREFIX_BITS);
    const known = this.#made.filter((made) => made.prefix.address.equals(cidr.address));
    if (known.length === 0 && prefix.validSeconds !== 0) this.#make(cidr, prefix, router, 0);
    const preferredUntil = endOf(prefix.preferredSeconds, nowMs);
    for (const made of known) {
      made.local.router = router;
      this.#renew(made, preferredUntil, endOf(prefix.validSeconds, nowMs));
    }
    if (this.#nd.options.temporary) this.#makeTemporary(cidr, router);
    this.expire();
  }

  #make(prefix: Cidr, { preferredSeconds, validSeconds }: Prefix, router: IpAddress, conflicts: number): void {
    const { nowMs } = this.#nd.context;
    const until = { preferred: endOf(preferredSeconds, nowMs), valid: endOf(validSeconds, nowMs) };
    this.#makeStable(prefix, until.preferred, until.valid, router, conflicts);
  }

  #makeStable(prefix: Cidr, preferredUntil: number, validUntil: number, router: IpAddress, conflicts: number): void {
    const address = this.#ids.stable(prefix.address, this.#name, conflicts);
    const made = this.#begin(prefix, address, 'slaac', router, 0);
    if (made === null) return;
    made.local.preferredUntil = preferredUntil;
    made.local.validUntil = validUntil;
    const again = (): void => {
      this.#remove(made);
      const { local } = made;
      // RFC 7217 §6: another identifier, a few times.
      if (conflicts < RETRIES_MAX) {
        this.#makeStable(prefix, local.preferredUntil, local.validUntil, router, conflicts + 1);
      }
    };
    this.#nd.claim(made.local, again, DELAY_MS);
  }

  #begin(prefix: Cidr, address: IpAddress, origin: AddressOrigin, router: IpAddress, desyncMs: number): Made | null {
    if (this.#made.length >= ADDRESSES_MAX) {
      this.#nd.context.stats.drop('nd-table-full');
      return null;
    }
    const local = this.#list(address, origin);
    if (local === null) return null;
    local.router = router;
    const made: Made = { prefix, local, madeAt: this.#nd.context.nowMs, desyncMs, isReplaced: false };
    this.#made.push(made);
    return made;
  }

  /** RFC 4862 §5.5.3 (e), RFC 8981 §3.4. */
  #renew(made: Made, preferredUntil: number, validUntil: number): void {
    const { nowMs } = this.#nd.context;
    const { local } = made;
    const isTemporary = local.origin === 'temporary';
    const preferredMost = isTemporary ? made.madeAt + TEMPORARY_PREFERRED_MS - made.desyncMs : Number.POSITIVE_INFINITY;
    const validMost = isTemporary ? made.madeAt + TEMPORARY_VALID_MS : Number.POSITIVE_INFINITY;
    local.preferredUntil = Math.min(preferredUntil, preferredMost);
    // "greater than 2 hours or greater than RemainingLifetime": as told; "2 hours or less": left alone; else 2 hours.
    if (validUntil - nowMs > TWO_HOURS_MS || validUntil > local.validUntil)
      local.validUntil = Math.min(validUntil, validMost);
    else if (local.validUntil - nowMs > TWO_HOURS_MS) local.validUntil = nowMs + TWO_HOURS_MS;
    if (local.preferredUntil > nowMs) this.#nd.ip.addresses.prefer(local);
  }

  /** RFC 8981 §3.8: so long before the end of the old one the next temporary address is made. */
  get #advanceMs(): number {
    return 2000 + RETRIES_MAX * (this.#nd.options.dadTransmits ?? 1) * this.#nd.retransMs;
  }

  /** Makes a temporary address of `prefix` where there is none that will last: RFC 8981 §3.4. */
  #makeTemporary(prefix: Cidr, router: IpAddress, conflicts = 0): void {
    const { nowMs } = this.#nd.context;
    const isOf = (made: Made): boolean => made.prefix.address.equals(prefix.address);
    const stable = this.#made.find((made) => isOf(made) && made.local.origin === 'slaac');
    const current = this.#made.find((made) => isOf(made) && made.local.origin === 'temporary' && !made.isReplaced);
    if (stable === undefined) return;
    if (current !== undefined && current.local.preferredUntil - nowMs > this.#advanceMs) return;
    const desyncMs = Math.floor(TEMPORARY_PREFERRED_MS * DESYNC_SHARE * this.#nd.chance());
    const preferredUntil = Math.min(stable.local.preferredUntil, nowMs + TEMPORARY_PREFERRED_MS - desyncMs);
    // "A temporary address is created only if this calculated preferred lifetime is greater than REGEN_ADVANCE time units".
    if (preferredUntil - nowMs <= this.#advanceMs) return;
    const made = this.#begin(prefix, this.#ids.temporary(prefix.address), 'temporary', router, desyncMs);
    if (made === null) return;
    if (current !== undefined) current.isReplaced = true;
    made.local.preferredUntil = preferredUntil;
    made.local.validUntil = Math.min(stable.local.validUntil, nowMs + TEMPORARY_VALID_MS);
    const again = (): void => {
      this.#remove(made);
      if (conflicts < RETRIES_MAX) this.#makeTemporary(prefix, router, conflicts + 1);
    };
    this.#nd.claim(made.local, again, DELAY_MS);
  }

  #remove(made: Made): void {
    this.#made = this.#made.filter((other) => other !== made);
    this.#nd.ip.addresses.remove(made.local);
  }

  /** Ends what has ended, and makes temporary addresses anew. */
  expire(): void {
    const { context, ip, options } = this.#nd;
    const { nowMs } = context;
    for (const made of [...this.#made]) {
      const { local } = made;
      if (local.validUntil <= nowMs) {
        this.#nd.release(local);
        this.#remove(made);
        continue;
      }
      if (local.preferredUntil <= nowMs) ip.addresses.deprecate(local);
      if (!options.temporary || local.origin !== 'temporary' || made.isReplaced) continue;
      if (local.preferredUntil - nowMs <= this.#advanceMs) this.#makeTemporary(made.prefix, local.router!);
    }
    this.#arm();
  }

  #arm(): void {
    const { nowMs, timers } = this.#nd.context;
    let at = Number.POSITIVE_INFINITY;
    for (const { local, isReplaced } of this.#made) {
      at = Math.min(at, local.validUntil);
      if (local.preferredUntil > nowMs) at = Math.min(at, local.preferredUntil);
      const regenerateAt = local.preferredUntil - this.#advanceMs;
      if (local.origin === 'temporary' && !isReplaced && regenerateAt > nowMs) at = Math.min(at, regenerateAt);
    }
    if (at !== Number.POSITIVE_INFINITY) timers.atMost(this, Math.max(at, nowMs + 1));
  }

  close(): void {
    this.#nd.context.timers.cancel(this);
  }
}
