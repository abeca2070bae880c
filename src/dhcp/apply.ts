/** Puts what a lease says on an interface, and takes it off again. @module */
import type { Interface } from '../iface/interface.ts';
import type { Route } from '../iface/routes.ts';
import type { Stack } from '../stack.ts';
import type { Cidr, IpAddress } from '../wire/address.ts';
import type { Settings } from './lease.ts';

export class AppliedSettings {
  readonly #stack: Stack;
  readonly #iface: Interface;
  readonly #routes = new Set<Route>();
  #address: Cidr | null = null;
  #mtu = Number.POSITIVE_INFINITY;

  constructor(stack: Stack, iface: Interface) {
    this.#stack = stack;
    this.#iface = iface;
  }

  /** The address that is on the interface because of this. */
  get address(): Cidr | null {
    return this.#address;
  }

  /** Makes the interface as `settings` say; what it had from here before and is not said any more goes. */
  apply(address: Cidr, settings: Settings): void {
    const old = this.#address;
    if (old === null || !old.address.equals(address.address) || old.bits !== address.bits) {
      if (old !== null) this.#removeAddress(old);
      if (this.#stack.putAddress(this.#iface, address, 'dhcp')) this.#address = address;
    }
    this.#setRoutes(address, settings);
    this.#mtu = settings.mtu ?? Number.POSITIVE_INFINITY;
    this.#iface.mtuMax = this.#mtu;
    this.#iface.pathsChanged();
  }

  /** Takes everything off. The claim of the address is released with it. */
  clear(): void {
    this.#dropRoutes();
    if (this.#address !== null) this.#stack.removeAddress(this.#iface, this.#address.address);
    this.#address = null;
    if (this.#iface.mtuMax === this.#mtu) this.#iface.mtuMax = Number.POSITIVE_INFINITY;
    this.#iface.pathsChanged();
  }

  /** Another prefix for the same address keeps its claim. */
  #removeAddress({ address }: Cidr): void {
    const { ip } = this.#stack;
    const local = ip.addresses.find(address, this.#iface);
    if (local === null) return;
    ip.routes.remove((route) => route.prefix === local.cidr);
    ip.addresses.remove(local);
  }

  #dropRoutes(): void {
    this.#stack.ip.routes.remove((route) => this.#routes.has(route));
    this.#routes.clear();
  }

  #setRoutes(address: Cidr, { routes }: Settings): void {
    this.#dropRoutes();
    const onLink: Cidr[] = [address];
    for (const { prefix, router } of routes) if (router.isUnspecified) onLink.push(prefix);
    for (const { prefix, router } of routes) {
      const gateway = router.isUnspecified ? null : router;
      if (gateway !== null && !this.#isRouter(gateway, address, onLink)) continue;
      const route = { prefix, iface: this.#iface, gateway };
      this.#routes.add(route);
      this.#stack.addRoute(route);
    }
  }

  /** A router is another host on the link. */
  #isRouter(router: IpAddress, own: Cidr, onLink: readonly Cidr[]): boolean {
    if (router.equals(own.address) || router.isMulticast || router.isLoopback || router.isLimitedBroadcast)
      return false;
    return onLink.some((prefix) => prefix.contains(router));
  }
}
