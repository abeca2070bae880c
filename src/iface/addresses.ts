/** The addresses of a stack: whose they are, what state they are in, and whether four words are one of them. @module */
import type { Cidr, IpAddress } from '../wire/address.ts';
import type { Interface } from './interface.ts';
import type { Routes } from './routes.ts';

/** Addresses a stack may have; one more is refused. */
const ADDRESSES_MAX = 256;
const SIZE_MIN = 16;

/** Where an address comes from. */
export type AddressOrigin = 'static' | 'link-local' | 'slaac' | 'temporary' | 'dhcp';

/** RFC 4862 §2. A tentative or duplicate address is not assigned: nothing is sent from it or taken in for it. */
export type AddressState = 'tentative' | 'preferred' | 'deprecated' | 'duplicate';

/** One address of an interface. */
export class LocalAddress {
  readonly iface: Interface;
  readonly cidr: Cidr;
  readonly origin: AddressOrigin;
  state: AddressState = 'tentative';
  /** When it becomes deprecated, and when it ends: ms of the stack's clock. */
  preferredUntil = Number.POSITIVE_INFINITY;
  validUntil = Number.POSITIVE_INFINITY;
  /** Called once, when it is assigned. */
  onAssigned: (() => void) | null = null;
  /** The router that told of its prefix last: RFC 6724 §5 rule 5.5. */
  router: IpAddress | null = null;

  constructor(iface: Interface, cidr: Cidr, origin: AddressOrigin) {
    this.iface = iface;
    this.cidr = cidr;
    this.origin = origin;
  }

  get address(): IpAddress {
    return this.cidr.address;
  }

  /** Whether packets may be sent from it and are taken in for it. */
  get isAssigned(): boolean {
    return this.state === 'preferred' || this.state === 'deprecated';
  }
}

/** What happened to an address. */
export type AddressEvent = 'assigned' | 'deprecated' | 'removed' | 'duplicate';

export class LocalAddresses {
  readonly #routes: Routes;
  readonly #all: LocalAddress[] = [];
  /** Assigned ones, in an open-addressing table. */
  #table: (LocalAddress | null)[] = new Array<LocalAddress | null>(SIZE_MIN).fill(null);
  #mask = SIZE_MIN - 1;
  /** Called after each change. */
  onChange: ((address: LocalAddress, event: AddressEvent) => void) | null = null;

  constructor(routes: Routes) {
    this.#routes = routes;
  }

  /** All addresses, tentative ones too. */
  get all(): readonly LocalAddress[] {
    return this.#all;
  }

  /**
   * Lists a tentative address.
   * @throws RangeError if there are too many, or the interface has it already
   */
  add(iface: Interface, cidr: Cidr, origin: AddressOrigin): LocalAddress {
    this.assertRoom(0);
    if (this.find(cidr.address, iface) !== null) {
      throw new RangeError(`address: expected one that the interface does not have, got ${cidr}`);
    }
    const made = new LocalAddress(iface, cidr, origin);
    this.#all.push(made);
    return made;
  }

  /** @param more - addresses that are on their way  @throws RangeError where there is no room for one more */
  assertRoom(more: number): void {
    if (this.#all.length + more < ADDRESSES_MAX) return;
    throw new RangeError(`addresses: expected at most ${ADDRESSES_MAX}, got one more`);
  }

  get hasRoom(): boolean {
    return this.#all.length < ADDRESSES_MAX;
  }

  /** Makes a tentative address one of ours. */
  assign(local: LocalAddress): void {
    local.state = 'preferred';
    local.iface.addresses.push(local.cidr);
    local.iface.groups.addressAdded(local.address);
    this.#changed(local, 'assigned');
    const { onAssigned } = local;
    local.onAssigned = null;
    onAssigned?.();
  }

  /** Changes the state of an address that is not to be used for what is new. */
  deprecate(local: LocalAddress): void {
    if (local.state !== 'preferred') return;
    local.state = 'deprecated';
    this.#changed(local, 'deprecated');
  }

  /** The opposite of {@link deprecate}. */
  prefer(local: LocalAddress): void {
    if (local.state !== 'deprecated') return;
    local.state = 'preferred';
    this.#changed(local, 'assigned');
  }

  /** Another host has it: it stays in the list as a duplicate, so that it is not made again. */
  fail(local: LocalAddress): void {
    this.#unassign(local);
    local.state = 'duplicate';
    this.#changed(local, 'duplicate');
  }

  remove(local: LocalAddress): void {
    const at = this.#all.indexOf(local);
    if (at < 0) return;
    this.#all.splice(at, 1);
    this.#unassign(local);
    local.state = 'duplicate';
    this.#changed(local, 'removed');
  }

  #unassign({ iface, cidr }: LocalAddress): void {
    const at = iface.addresses.indexOf(cidr);
    if (at >= 0) iface.addresses.splice(at, 1);
  }

  #changed(local: LocalAddress, event: AddressEvent): void {
    this.#rebuild();
    this.#routes.generation++;
    this.onChange?.(local, event);
  }

  /** Addresses change seldom: the table is made anew. */
  #rebuild(): void {
    const assigned = this.#all.filter((local) => local.isAssigned);
    let size = SIZE_MIN;
    while (size < 2 * assigned.length) size *= 2;
    this.#mask = size - 1;
    this.#table = new Array<LocalAddress | null>(size).fill(null);
    for (const local of assigned) {
      const { a, b, c, d } = local.address;
      let i = mix(a, b, c, d) & this.#mask;
      while (this.#table[i] !== null) i = (i + 1) & this.#mask;
      this.#table[i] = local;
    }
  }

  /** The assigned address of these words, or null: one look-up however many there are. */
  get(a: number, b: number, c: number, d: number): LocalAddress | null {
    for (let i = mix(a, b, c, d) & this.#mask; ; i = (i + 1) & this.#mask) {
      const local = this.#table[i]!;
      if (local === null) return null;
      const { address } = local.cidr;
      if (address.d === d && address.c === c && address.b === b && address.a === a) return local;
    }
  }

  /** The address, in whatever state, or null. @param iface - the interface that must have it */
  find(address: IpAddress, iface: Interface | null = null): LocalAddress | null {
    for (const local of this.#all) {
      if (local.address.equals(address) && (iface === null || local.iface === iface)) return local;
    }
    return null;
  }

  /** The index of the interface that has this address without its zone, or 0; of the first one where several have it. */
  zoneOf(a: number, c: number, d: number): number {
    for (const { address, isAssigned } of this.#all) {
      if (isAssigned && address.d === d && address.c === c && address.a === a) return address.zone;
    }
    return 0;
  }
}

function mix(a: number, b: number, c: number, d: number): number {
  const h = Math.imul(d ^ Math.imul(c, 0x85ebca6b), 0x9e3779b1) + Math.imul(b ^ Math.imul(a, 0xc2b2ae35), 0x27d4eb2f);
  return (h ^ (h >>> 15)) | 0;
}
