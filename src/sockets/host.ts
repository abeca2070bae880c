/** A host: a stack, the loop that drives it, and sockets with promises. What most programs use. @module */
import type { RecordType, Resolver } from '../dns/index.ts';
import { NetError } from '../errors.ts';
import type { ForwardOptions } from '../iface/forward.ts';
import type { Interface } from '../iface/interface.ts';
import type { Ipv6Options } from '../iface/nd.ts';
import type { Stats } from '../iface/stats.ts';
import type { Memory } from '../memory/memory.ts';
import type { Device } from '../phy/device.ts';
import type { Clock } from '../sim/clock.ts';
import { Stack } from '../stack.ts';
import { ALGORITHMS } from '../tcp/congestion/index.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import { isDrained } from '../tcp/socket.ts';
import { IpAddress } from '../wire/address.ts';
import { checkPort } from '../wire/ip.ts';
import type { Autoconfig, AutoconfigOptions, ConfiguredOptions } from './autoconfig.ts';
import { addConfigured, learnServers } from './configured-interface.ts';
import { asyncDispose } from './dispose.ts';
import { HostIcmp, HostRaw, HostTcp, HostUdp } from './host-sockets.ts';
import { Loop } from './loop.ts';
import { HostMdns, type HostMdnsOptions } from './mdns.ts';
import { Names, type NamesOptions, type Resolved, type ResolveOptions } from './names.ts';
import { type PingManyOptions, type PingOptions, type PingReply, type PingStatistics, ping, pingMany } from './ping.ts';
import { realClock, secureRandom } from './real-clock.ts';
import { type TraceHop, type TraceOptions, trace } from './trace.ts';

/** How long `close` lets connections whose streams were closed finish. */
const LINGER_MS = 1000;
const LINGER_STEP_MS = 5;

export interface HostOptions extends AutoconfigOptions, NamesOptions {
  /** The device of the first interface. A host without one can still talk to itself. */
  readonly device?: Device;
  /**
   * Addresses with prefixes: `10.0.0.1/24`, `fd00::1/64`; or what finds one: `slaac` by what IPv6 routers tell, and on
   * Ethernet `dhcp`, and `link-local`, which beside `dhcp` is for when no server answers. See {@link Host.configured}.
   */
  readonly addresses?: readonly string[];
  /** Whether other hosts are asked for IPv4 addresses before they are used, which takes 4 to 7 seconds: RFC 5227. Default false. */
  readonly probe?: boolean;
  /** Whether IPv4 addresses are announced by gratuitous ARP. Default true. */
  readonly announce?: boolean;
  /**
   * Whether the interface takes what is sent to any address and port, and answers as that address: see
   * {@link HostTcp.intercept}. Hosts beyond its own networks are asked for by ARP and neighbour discovery, too. Default false.
   */
  readonly anyIp?: boolean;
  /** Whether ICMP redirects of IPv4 are followed; a router never does. Default true. */
  readonly acceptRedirects?: boolean;
  /** How IPv6 behaves: temporary addresses, a secret for stable ones, probes for duplicates, whether routers are listened to. */
  readonly ipv6?: Omit<Ipv6Options, 'onDns' | 'onManaged' | 'autoconfigure'>;
  /** Routers for what no network of ours holds, at most one a family. */
  readonly gateway?: string | readonly string[];
  /** The Ethernet address; random by default. */
  readonly mac?: string;
  /** Shown in traces. */
  readonly name?: string;
  /** Bytes of memory the host may use, in all; or a memory to share. Default: the device's, else 64 MiB. */
  readonly memory?: number | Memory;
  /** Whether packets for others are passed on between the interfaces, as a router does. Default false. */
  readonly forward?: boolean | ForwardOptions;
  /** What TCP sockets start with. */
  readonly tcp?: Partial<TcpSettings>;
  /** Answers and asks on the link by mDNS (RFC 6762), on the interface of `device`; default false. */
  readonly mdns?: boolean | HostMdnsOptions;
  /** Virtual time for simulations; by default the machine's. */
  readonly clock?: Clock;
  /** Uniform uint32; by default the engine's cryptographic source. */
  readonly random?: () => number;
}

/** What {@link Host.addInterface} takes. */
export type InterfaceSettings = Pick<
  HostOptions,
  'addresses' | 'mac' | 'name' | 'probe' | 'announce' | 'ipv6' | 'anyIp'
> &
  AutoconfigOptions;

/** A stack and the loop that drives it. */
export class Host {
  readonly stack: Stack;
  readonly tcp: HostTcp;
  readonly udp: HostUdp;
  readonly icmp: HostIcmp;
  readonly raw: HostRaw;
  /** The interface of the device given at creation, null without one. */
  readonly iface: Interface | null;
  /** Services and names of the link, null unless the host was made with `mdns`. */
  readonly mdns: HostMdns | null;
  readonly #loop: Loop;
  readonly #autoconfigs: Autoconfig[] = [];
  readonly #names: Names;

  /** Use {@link createHost}. */
  constructor(options: HostOptions) {
    if (options.device === undefined && (options.addresses !== undefined || options.mac !== undefined)) {
      throw new TypeError('addresses, mac: expected a device to put them on, got none');
    }
    const memory = options.memory ?? options.device?.memory ?? undefined;
    this.stack = new Stack({
      random: options.random ?? secureRandom(),
      memory,
      tcp: options.tcp,
      forward: options.forward,
      congestion: ALGORITHMS,
    });
    this.#loop = new Loop(this.stack, options.clock ?? realClock);
    this.#names = new Names(this.#loop, options);
    this.tcp = new HostTcp(this.#loop, this.#names);
    this.udp = new HostUdp(this.#loop, this.#names);
    this.icmp = new HostIcmp(this.#loop);
    this.raw = new HostRaw(this.#loop);
    this.#loop.touch(); // what begins now counts its times from now
    this.stack.ip.addresses.onChange = (local, event) => {
      this.autoconfig(local.iface)?.addressChanged(local, event);
    };
    this.iface = options.device === undefined ? null : this.#addInterface(options.device, options);
    const gateways = typeof options.gateway === 'string' ? [options.gateway] : (options.gateway ?? []);
    for (const gateway of gateways) this.stack.addDefaultRoute(IpAddress.parse(gateway));
    this.mdns = this.#startMdns(options.mdns ?? false);
    this.#loop.wake();
  }

  #startMdns(options: boolean | HostMdnsOptions): HostMdns | null {
    if (options === false) return null;
    if (this.iface === null) throw new TypeError('mdns: expected a device whose link to speak on, got none');
    const mdns = new HostMdns(this.#loop, this.iface, options === true ? {} : options);
    this.#names.resolver.setLink(mdns);
    return mdns;
  }

  #addInterface(device: Device, options: HostOptions): Interface {
    const { iface } = addConfigured(this.#loop, device, options, {
      made: (autoconfig) => this.#autoconfigs.push(autoconfig),
      configured: (found) => {
        const isFirst = this.#autoconfigs[0]?.iface.name === found.interface;
        learnServers(this.#names.resolver, this.#loop, found, isFirst);
      },
    });
    return iface;
  }

  /**
   * Waits until an interface has an address to be reached by, and each that was written out was found to be nobody else's:
   * at once where none is probed.
   * @param iface - by default the one of the device given at creation
   * @returns its addresses with their prefixes
   * @throws NetError ETIMEDOUT; EADDRNOTAVAIL where another host has all that were written out, and nothing looks for more;
   * ENODEV for a host without the interface; RangeError for a timeout that is none
   * @example
   * const host = createHost({ device, addresses: ['dhcp'] })
   * const [address] = await host.configured({ timeout: 10_000 })
   */
  async configured(options: ConfiguredOptions = {}, iface: Interface | null = this.iface): Promise<readonly string[]> {
    this.#loop.assertOpen('configured');
    const autoconfig = this.autoconfig(iface);
    if (autoconfig === null) throw new NetError('ENODEV', 'configured');
    await autoconfig.configured(options);
    return autoconfig.iface.addresses.map(String);
  }

  /** What finds the addresses of an interface, by default of the first; null: the host has no such interface. */
  autoconfig(iface: Interface | null = this.iface): Autoconfig | null {
    return this.#autoconfigs.find((one) => one.iface === iface) ?? null;
  }

  /** Counters of the stack. */
  get stats(): Stats {
    return this.stack.stats;
  }

  /** The memory in use. */
  get memory(): Memory {
    return this.stack.memory;
  }

  /** Adds another interface. */
  addInterface(device: Device, options: InterfaceSettings = {}): Interface {
    this.#loop.assertOpen('addInterface');
    this.#loop.touch();
    const iface = this.#addInterface(device, options);
    this.#loop.wake();
    return iface;
  }

  /** The clock the host runs by. */
  get clock(): Clock {
    return this.#loop.clock;
  }

  /** The resolver: its servers, its cache, aliases. */
  get resolver(): Resolver {
    return this.#names.resolver;
  }

  /**
   * Addresses of a name, those to try first first; or, with `type`, its records: strings for A and AAAA. Answers come
   * from the table of hosts, from the cache, or from the name servers; an address with `type: 'PTR'` gives its names.
   * @throws NetError ENOTFOUND where there is no such name, or no address; ENODATA no record of the type; ETIMEDOUT no
   * server answers; EAI_AGAIN none knows
   * @example const [address] = await host.resolve('example.org', { family: 6 })
   * @example for (const { exchange } of await host.resolve('example.org', { type: 'MX' })) console.log(exchange)
   */
  resolve<T extends RecordType | undefined = undefined>(
    name: string,
    options: ResolveOptions<T> = {},
  ): Promise<Resolved<T>[]> {
    return this.#names.resolve(name, options);
  }

  /** A name and a port as a peer's address: the first one to try. @throws NetError as {@link resolve} */
  async resolveSocketAddress(name: string, port: number): Promise<{ address: string; port: number }> {
    this.#loop.assertOpen('resolve');
    checkPort(port, 1);
    return { address: `${await this.#names.address(name, 'resolve')}`, port };
  }

  /**
   * Sends one echo request and waits for its reply; or, with `count`, so many at an interval, and counts what comes back.
   * @throws NetError ETIMEDOUT, ENETUNREACH, EMSGSIZE, ENOTFOUND; what the network reports about a single one:
   *   EHOSTUNREACH, ... With `count`, lost replies and reported errors are counted, and the signal ends it without an error.
   * @example const { timeMs } = await host.ping('10.0.0.1')
   * @example const { received } = await host.ping('10.0.0.1', { count: 5, interval: 200 })
   */
  async ping(host: string, options: PingManyOptions): Promise<PingStatistics>;
  async ping(host: string, options?: PingOptions): Promise<PingReply>;
  async ping(host: string, options: PingOptions | PingManyOptions = {}): Promise<PingReply | PingStatistics> {
    this.#loop.assertOpen('ping');
    const address = this.stack.ip.zoned(await this.#names.address(host, 'ping', options.signal));
    return 'count' in options ? pingMany(this.#loop, address, options) : ping(this.#loop, address, options);
  }

  /**
   * Finds the routers on the way to `host`: hop after hop, as soon as each is known.
   * @throws NetError ENETUNREACH, ENOTFOUND, EMSGSIZE
   * @example for await (const { ttl, probes } of client.trace('10.9.0.1')) console.log(ttl, probes[0].address)
   */
  async *trace(host: string, options: TraceOptions = {}): AsyncGenerator<TraceHop, void, undefined> {
    this.#loop.assertOpen('trace');
    yield* trace(this.#loop, this.stack.ip.zoned(await this.#names.address(host, 'trace')), options);
  }

  /**
   * Closes everything. Connections whose streams were closed may finish for up to a second; all others are reset.
   * A lease is given back, and so is all memory.
   */
  async close(): Promise<void> {
    if (this.#loop.isClosed) return;
    this.mdns?.close(); // its goodbye leaves with what lingers
    await this.#linger();
    await Promise.all(this.#autoconfigs.map((one) => one.release()));
    this.#loop.touch();
    for (const one of this.#autoconfigs) one.close();
    this.stack.close();
    this.#loop.notify();
    this.#loop.close();
  }

  /** Waits while connections that no stream holds any more have bytes or a FIN under way. */
  async #linger(): Promise<void> {
    const { clock } = this.#loop;
    const until = clock.now() + LINGER_MS;
    const isFinishing = (): boolean =>
      this.stack.tcp.connections.values().some((c) => c.socket === null && c.listener === null && !isDrained(c));
    // First a turn, so that what was just queued is under way.
    this.stack.poll(clock.now());
    this.#loop.hold(1); // or the process could end before this does
    while (isFinishing() && clock.now() < until) {
      await new Promise<void>((resolve) => {
        clock.setTimer(Math.min(until, clock.now() + LINGER_STEP_MS), resolve);
      });
    }
    this.#loop.hold(-1);
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Makes a host: a TCP/IP stack on `device`, and the loop that drives it.
 * @throws TypeError or RangeError for an address, gateway or memory size that is none
 * @example
 * const [left, right] = pipePair({ medium: 'ip', mtu: 1500 })
 * const host = createHost({ device: left, addresses: ['10.0.0.1/24', 'fd00::1/64'] })
 */
export const createHost = (options: HostOptions = {}): Host => new Host(options);
