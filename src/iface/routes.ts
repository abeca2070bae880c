/** The routing table of a stack, and the path a flow takes out. @module */
import type { Cidr, IpAddress } from '../wire/address.ts';
import type { Interface } from './interface.ts';
import type { Neighbour } from './neighbours.ts';

export interface Route {
  readonly prefix: Cidr;
  readonly iface: Interface;
  /** The router to send to, null where the prefix is on the link. */
  readonly gateway: IpAddress | null;
}

/** Routes by longest prefix; among equals the first added wins. */
export class Routes {
  readonly #routes: Route[] = []; // longest prefix first
  /** Grows at every change, so that cached paths know when they are old. */
  generation = 0;

  get all(): readonly Route[] {
    return this.#routes;
  }

  add(route: Route): void {
    const { prefix } = route;
    const same = (r: Route): boolean => r.prefix.address.isV4 === prefix.address.isV4 && r.prefix.bits < prefix.bits;
    let at = this.#routes.findIndex(same);
    if (at < 0) at = this.#routes.length;
    this.#routes.splice(at, 0, route);
    this.generation++;
  }

  /** Removes the routes for which `gone` holds; says how many. */
  remove(gone: (route: Route) => boolean): number {
    const kept = this.#routes.filter((route) => !gone(route));
    const count = this.#routes.length - kept.length;
    this.#routes.splice(0, this.#routes.length, ...kept);
    if (count > 0) this.generation++;
    return count;
  }

  /** The best route to `destination`, or null. */
  lookup(destination: IpAddress): Route | null {
    for (const route of this.#routes) {
      if (route.prefix.address.isV4 === destination.isV4 && route.prefix.contains(destination)) return route;
    }
    return null;
  }
}

/** Where packets to one destination leave; found once, kept by each flow until the routes change. */
export interface Path {
  readonly iface: Interface;
  /** The next hop on an Ethernet interface; null on an IP one. */
  readonly neighbour: Neighbour | null;
  /** Our address towards the destination. */
  readonly source: IpAddress;
  /** Bytes of IP packet the path carries. */
  readonly mtu: number;
  readonly generation: number;
}
