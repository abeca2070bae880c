/**
 * A declared network, built: hosts and routers on switches and links, in one memory, in virtual time. Its routers lease
 * addresses, advertise prefixes and know names; hosts that find their addresses by themselves are registered there. @module
 */
import { RouterAdvertiser } from '../../core.ts';
import { DhcpServer } from '../../dhcp/index.ts';
import { DnsServer } from '../../dns/index.ts';
import type { Interface } from '../../iface/interface.ts';
import {
  type AddressChange,
  Cidr,
  createHost,
  type Host,
  type HostOptions,
  IpAddress,
  MacAddress,
  type TcpSettings,
} from '../../index.ts';
import { Memory } from '../../memory/memory.ts';
import type { Device } from '../../phy/device.ts';
import { FaultInjector } from '../../phy/fault-injector.ts';
import { type FaultStats, noFaultStats } from '../../phy/faults.ts';
import { type Capture, PcapWriter } from '../../phy/pcap-writer.ts';
import { Switch } from '../../phy/switch.ts';
import { Link, type Random, type VirtualClock } from '../../sim/index.ts';
import type {
  AttachmentDeclaration,
  DnsDeclaration,
  HostDeclaration,
  LabDeclaration,
  RouterDeclaration,
  RouterInterfaceDeclaration,
} from './declaration.ts';
import { pass } from './virtual.ts';

/** Memory that a network may use, all hosts together. */
const MEMORY_BYTES = 64 << 20;
/** Virtual time that hosts may take to find their addresses, and between two looks. */
const READY_MS_MAX = 60_000;
const LOOK_MS = 10;
const LEASE_SECONDS = 86_400;
/** The longest a router may say it is one: RFC 4861 §6.2.1; so that a bad link does not end it. */
const ROUTER_SECONDS = 9000;

export interface NetworkOptions {
  readonly clock: VirtualClock;
  readonly random: Random;
  /** Where traffic is recorded: each frame as its sender hands it over, and once more where it is dropped; null: nowhere. */
  readonly capture: Capture | null;
  /** What is built of the declaration's hosts; by default all. */
  readonly hosts?: readonly string[];
  readonly tcp?: Partial<TcpSettings>;
  /** Whether cables without faults can get some later. Default false. */
  readonly allCables?: boolean;
  /** Wraps the device of a host, or of a router's interface `router.switch`; then there is no `host`. */
  wrap?(name: string, device: Device, host: string | null): Device;
}

/** What a network leaves behind. */
export interface NetworkAccount {
  readonly peakBytes: number;
  /** In use after everything was closed: 0, or something was lost. */
  readonly usedBytes: number;
  /** Packets dropped by all stacks, by reason. */
  readonly drops: Record<string, number>;
}

/** What a host has found out, when, in ms of the network's clock. */
export interface Found {
  readonly host: string;
  readonly address: string;
  readonly origin: 'dhcp' | 'slaac';
  readonly atMs: number;
}

/** A lease as its router gave it. */
export interface GivenLease {
  readonly router: string;
  readonly host: string | null;
  readonly address: string;
  readonly mac: string;
}

export class Network {
  readonly memory = new Memory({ bytes: MEMORY_BYTES });
  readonly clock: VirtualClock;
  readonly switches = new Map<string, Switch>();
  readonly links = new Map<string, Link>();
  readonly hosts = new Map<string, Host>();
  readonly routers = new Map<string, Host>();
  /** The cables that do something to frames, by `host`, or `router.switch`. */
  readonly cables = new Map<string, FaultInjector>();
  readonly leases: GivenLease[] = [];
  readonly found: Found[] = [];
  readonly #declaration: LabDeclaration;
  readonly #options: NetworkOptions;
  readonly #nameServers = new Map<string, DnsServer>();
  readonly #closers: (() => void)[] = [];
  /** Ends of links that are plugged in. */
  readonly #plugged = new Map<string, number>();
  /** Of the host that is being made: they are to say why it drops what it drops. */
  readonly #writers: PcapWriter[] = [];
  #macs = 0;

  private constructor(declaration: LabDeclaration, options: NetworkOptions) {
    this.#declaration = declaration;
    this.#options = options;
    this.clock = options.clock;
  }

  /**
   * Builds it, and begins: routers first. Who waits for `ready` has hosts with addresses.
   * @throws NetError, TypeError, RangeError for what a declaration cannot have
   */
  static async build(declaration: LabDeclaration, options: NetworkOptions): Promise<Network> {
    const network = new Network(declaration, options);
    const { memory } = network;
    for (const [name, { mtu }] of Object.entries(declaration.switches)) {
      network.switches.set(name, new Switch({ memory, ...(mtu === undefined ? {} : { mtu }) }));
    }
    for (const [name, { mtu, ...faults }] of Object.entries(declaration.links)) {
      const seed = options.random.next();
      network.links.set(
        name,
        new Link({ memory, seed, medium: 'ethernet', ...(mtu === undefined ? {} : { mtu }), ...faults }),
      );
    }
    for (const [name, router] of Object.entries(declaration.routers)) await network.#addRouter(name, router);
    for (const [name, host] of Object.entries(declaration.hosts)) {
      if (options.hosts?.includes(name) ?? true) await network.#addHost(name, host);
    }
    return network;
  }

  /** A host by its name. */
  host(name: string): Host {
    return this.hosts.get(name)!;
  }

  /** The address of a host in a family, as it stands on its interface. */
  addressOf(name: string, family: 4 | 6): string {
    const { addresses } = this.host(name).iface!;
    const isWanted = ({ address }: Cidr): boolean => address.family === family && !address.isLinkLocal;
    return `${addresses.find(isWanted)!.address}`;
  }

  /** The families that a host can be reached by. */
  familiesOf(name: string): (4 | 6)[] {
    const { addresses } = this.host(name).iface!;
    const reachable = addresses.filter(({ address }) => !address.isLinkLocal);
    return [...new Set(reachable.map(({ address }) => address.family))];
  }

  /** Waits until every host has what its declaration says it finds. @throws Error if one does not */
  async ready(): Promise<void> {
    const until = this.clock.now() + READY_MS_MAX;
    for (let missing = this.#missing(); missing !== null; missing = this.#missing()) {
      if (this.clock.now() >= until) throw new Error(`${missing} after ${READY_MS_MAX / 1000} s`);
      await pass(this.clock, LOOK_MS);
    }
  }

  /** What a host waits for, or null. */
  #missing(): string | null {
    for (const [name, host] of this.hosts) {
      const { addresses: wanted } = this.#declaration.hosts[name]!;
      const has = (origin: string): boolean =>
        host.stack.ip.addresses.all.some((one) => one.origin === origin && one.isAssigned);
      if (wanted.includes('dhcp') && !has('dhcp')) return `${name}: no lease`;
      if (wanted.includes('slaac') && !has('slaac')) return `${name}: no prefix advertised`;
      const own = host.stack.ip.addresses.all.filter((one) => one.origin === 'static');
      if (own.some((one) => !one.isAssigned)) return `${name}: an address is not assigned`;
    }
    return null;
  }

  async #addHost(name: string, declared: HostDeclaration): Promise<void> {
    const { addresses, gateway, nameServers, dns, tcp } = declared;
    const host = createHost({
      ...this.#common(name, name, declared),
      addresses,
      ...(gateway === undefined ? {} : { gateway }),
      ...(nameServers === undefined ? {} : { nameServers }),
      tcp: { ...this.#options.tcp, ...tcp },
      dhcp: { hostName: name },
      onAddress: (change) => this.#noteAddress(name, change),
    });
    this.#explain(host);
    this.hosts.set(name, host);
    if (dns !== undefined) await this.#serveNames(name, host, dns);
  }

  async #addRouter(name: string, { interfaces, gateway, routes = [], dns }: RouterDeclaration): Promise<void> {
    const [first, ...others] = interfaces;
    const forward = dns?.forward ?? [];
    const router = createHost({
      ...this.#common(`${name}.${first!.on}`, null, first!),
      addresses: first!.addresses,
      forward: true,
      nameServers: forward,
    });
    this.routers.set(name, router);
    this.#explain(router);
    const ifaces: Interface[] = [router.iface!];
    for (const one of others) {
      const { device, mac } = this.#common(`${name}.${one.on}`, null, one);
      ifaces.push(router.addInterface(device!, { name: `${name}.${one.on}`, mac: mac!, addresses: one.addresses }));
      this.#explain(router);
    }
    for (const to of gateway ?? []) router.stack.addDefaultRoute(IpAddress.parse(to));
    for (const { to, via } of routes) {
      const next = IpAddress.parse(via);
      const iface = router.stack.ip.routes.lookup(next)!.iface;
      router.stack.addRoute({ prefix: Cidr.parse(to), iface, gateway: next });
    }
    if (dns !== undefined) await this.#serveNames(name, router, dns);
    for (const [i, one] of interfaces.entries()) {
      this.#serveNetwork(name, router, ifaces[i]!, one, dns?.domains ?? []);
    }
  }

  /** What hosts and routers are made with alike. */
  #common(name: string, host: string | null, attachment: AttachmentDeclaration): HostOptions {
    const { clock, random, capture } = this.#options;
    const cable = this.#plug(name, attachment);
    // Right at the cable, which tells it what it loses.
    const writer = capture === null ? null : new PcapWriter(cable, capture, { mode: 'tx+dropped', name });
    if (writer !== null) this.#writers.push(writer);
    const wire = writer ?? cable;
    const device = this.#options.wrap?.(name, wire, host) ?? wire;
    const mac = attachment.mac ?? `${new MacAddress(0x0200, ++this.#macs)}`;
    return { device, name, mac, clock, random: () => random.next(), memory: this.memory };
  }

  #explain({ stack }: Host): void {
    for (const writer of this.#writers.splice(0)) writer.explain(stack.stats);
  }

  /** The end of a cable, with what the cable does to frames. */
  #plug(name: string, { on, faults }: AttachmentDeclaration): Device {
    const link = this.links.get(on);
    const count = this.#plugged.get(on) ?? 0;
    this.#plugged.set(on, count + 1);
    if (link !== undefined) return count === 0 ? link.left : link.right;
    const port = this.switches.get(on)!.port();
    if (faults === undefined && this.#options.allCables !== true) return port;
    const cable = new FaultInjector(port, { seed: this.#options.random.next(), ...faults });
    this.cables.set(name, cable);
    return cable;
  }

  async #serveNames(name: string, host: Host, { domains, hosts = {}, forward = [] }: DnsDeclaration): Promise<void> {
    const server = await DnsServer.start(host, {
      domains,
      hosts,
      ...(forward.length === 0 ? {} : { forward: host.resolver }),
    });
    this.#nameServers.set(name, server);
  }

  /** Leases and advertisements on one of a router's interfaces. */
  #serveNetwork(
    name: string,
    router: Host,
    iface: Interface,
    { dhcp, advertise, addresses }: RouterInterfaceDeclaration,
    domains: readonly string[],
  ): void {
    const fixed = addresses.map((text) => Cidr.parse(text).address);
    const own = (family: 4 | 6): IpAddress[] => fixed.filter((one) => one.family === family && !one.isLinkLocal);
    const [domain] = domains;
    if (dhcp !== undefined) {
      const server = new DhcpServer(router.stack, iface, {
        pool: [IpAddress.parse(dhcp.pool[0]), IpAddress.parse(dhcp.pool[1])],
        leaseS: dhcp.leaseSeconds ?? LEASE_SECONDS,
        routers: own(4),
        ...(domain === undefined ? {} : { dnsServers: own(4), search: [domain], domain }),
        reservations: this.#reservations(dhcp.reservations ?? {}),
        onBinding: ({ state, hostName, address, mac }) => {
          if (state === 'bound') this.#noteLease({ router: name, host: hostName, address: `${address}`, mac });
        },
      });
      this.#closers.push(() => server.close());
    }
    if (advertise === undefined) return;
    const advertiser = new RouterAdvertiser(iface, {
      prefixes: advertise.map((text) => ({ prefix: Cidr.parse(text) })),
      lifetimeSeconds: ROUTER_SECONDS,
      ...(domain === undefined ? {} : { nameServers: own(6), searchDomains: [domain] }),
    });
    advertiser.start();
    this.#closers.push(() => advertiser.stop());
  }

  /** Reservations by link address. */
  #reservations(byHost: Readonly<Record<string, string>>): Record<string, IpAddress> {
    return Object.fromEntries(
      Object.entries(byHost).map(([name, address]) => [
        this.#declaration.hosts[name]!.mac!.toLowerCase(),
        IpAddress.parse(address),
      ]),
    );
  }

  #noteLease(lease: GivenLease): void {
    if (lease.host !== null) this.#register(lease.host, IpAddress.parse(lease.address));
    // A renewal is nothing new.
    const isKnown = this.leases.some(({ mac, address }) => mac === lease.mac && address === lease.address);
    if (!isKnown) this.leases.push(lease);
  }

  #noteAddress(host: string, { address, origin, event }: AddressChange): void {
    if (event !== 'assigned' || (origin !== 'dhcp' && origin !== 'slaac')) return;
    this.found.push({ host, address, origin, atMs: this.clock.now() });
    // No server hears of an address that a host has made by itself: it is entered by hand, as an operator would.
    if (origin === 'slaac') this.#register(host, Cidr.parse(address).address);
  }

  /** Enters a host into the table of its routers. */
  #register(host: string, address: IpAddress): void {
    const { on } = this.#declaration.hosts[host] ?? {};
    for (const [name, { dns, interfaces }] of Object.entries(this.#declaration.routers)) {
      const server = this.#nameServers.get(name);
      if (server === undefined || !interfaces.some((one) => one.on === on)) continue;
      const full = `${host}.${dns!.domains[0]}`;
      server.zone.remove(full, address.isV4 ? 'A' : 'AAAA');
      server.zone.addHost(full, address);
    }
  }

  /** Closes everything, leases given back first, and counts what is left. Repeated calls only count. */
  async close(): Promise<NetworkAccount> {
    await Promise.all([...this.hosts.values()].map((host) => host.close()));
    for (const closer of this.#closers.splice(0)) closer();
    for (const server of this.#nameServers.values()) await server.close();
    await Promise.all([...this.routers.values()].map((router) => router.close()));
    for (const link of this.links.values()) link.close();
    for (const one of this.switches.values()) one.close();
    const drops: Record<string, number> = {};
    for (const host of [...this.hosts.values(), ...this.routers.values()]) addCounts(drops, host.stats.drops);
    const { peakBytes, usedBytes } = this.memory;
    return { peakBytes, usedBytes, drops };
  }

  /** What all cables and links did to frames. */
  get faults(): FaultStats {
    const total = noFaultStats();
    const all = [...this.cables.values()].map(({ stats }) => stats);
    for (const { stats } of this.links.values()) all.push(stats.forward, stats.backward);
    for (const stats of all) addCounts(total as unknown as Record<string, number>, { ...stats });
    return total;
  }
}

/** Adds each of `counts` to what `total` has under its name. */
export function addCounts(total: Record<string, number>, counts: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(counts)) total[name] = (total[name] ?? 0) + count;
}
