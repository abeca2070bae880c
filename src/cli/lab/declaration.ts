/** What a lab is made of: switches, links, routers, hosts, and what runs on them. A file of `ethertype lab FILE` is one. @module */
import type { CongestionName, TcpSettings } from '../../index.ts';
import type { FaultOptions } from '../../phy/fault-injector.ts';
import type { FaultSettings } from '../../sim/index.ts';

export const SERVICE_NAMES = ['echo', 'discard', 'http'] as const;
export type ServiceName = (typeof SERVICE_NAMES)[number];

/** Names answered with authority, and where all others are asked for. */
export interface DnsDeclaration {
  /** All names under these belong to this server. */
  readonly domains: readonly string[];
  /** Whole names with their addresses. */
  readonly hosts?: Readonly<Record<string, string | readonly string[]>>;
  /** Name servers that are asked for the rest; none: the rest is refused. */
  readonly forward?: readonly string[];
}

/** An interface: what it is plugged into, and its addresses. */
export interface AttachmentDeclaration {
  /** The name of a switch or of a link. */
  readonly on: string;
  /** Addresses with prefixes, or `dhcp`, `slaac`, `link-local`. */
  readonly addresses: readonly string[];
  readonly mac?: string;
  /** What its cable does to frames: `rx` on the way to it, `tx` on the way from it. */
  readonly faults?: FaultOptions;
}

/** What a router's interface offers to its network. */
export interface RouterInterfaceDeclaration extends AttachmentDeclaration {
  readonly dhcp?: {
    readonly pool: readonly [from: string, to: string];
    readonly leaseSeconds?: number;
    /** Addresses kept for hosts, by name of the host. */
    readonly reservations?: Readonly<Record<string, string>>;
  };
  /** Prefixes that hosts make addresses of. */
  readonly advertise?: readonly string[];
}

export interface RouteDeclaration {
  readonly to: string;
  readonly via: string;
}

export interface RouterDeclaration {
  readonly interfaces: readonly RouterInterfaceDeclaration[];
  readonly gateway?: readonly string[];
  readonly routes?: readonly RouteDeclaration[];
  /** Hosts that lease addresses, or make their own, are added under the first of the domains. */
  readonly dns?: DnsDeclaration;
}

export interface TcpDeclaration {
  readonly congestion?: CongestionName;
  readonly ecn?: TcpSettings['ecn'];
  readonly sendBufferBytes?: number;
  readonly receiveBufferBytes?: number;
  readonly noDelay?: boolean;
  readonly retriesMax?: number;
  readonly synRetriesMax?: number;
}

export interface HostDeclaration extends AttachmentDeclaration {
  readonly gateway?: readonly string[];
  readonly nameServers?: readonly string[];
  readonly dns?: DnsDeclaration;
  readonly tcp?: TcpDeclaration;
  readonly serve?: readonly ServiceName[];
  readonly run?: readonly ActivityDeclaration[];
}

/** A cable from one interface to another, with faults in either direction: `forward` is from the first that is plugged in. */
export interface LinkDeclaration extends FaultSettings {
  readonly mtu?: number;
  readonly forward?: FaultSettings;
  readonly backward?: FaultSettings;
}

/** Something a host does; `atMs` counts from when every host has its addresses. */
export type ActivityDeclaration = {
  readonly atMs?: number;
  /** By default the family that the names' addresses are best reached by. */
  readonly family?: 4 | 6;
} & (
  | { readonly do: 'ping'; readonly to: string; readonly count?: number; readonly intervalMs?: number }
  | { readonly do: 'resolve'; readonly name: string }
  | { readonly do: 'get'; readonly from: string; readonly bytes?: number }
  | { readonly do: 'send'; readonly to: string; readonly bytes: number }
  | { readonly do: 'echo'; readonly to: string; readonly count?: number; readonly bytes?: number }
);

export interface LabDeclaration {
  readonly switches: Readonly<Record<string, { readonly mtu?: number }>>;
  readonly links: Readonly<Record<string, LinkDeclaration>>;
  readonly routers: Readonly<Record<string, RouterDeclaration>>;
  readonly hosts: Readonly<Record<string, HostDeclaration>>;
}
