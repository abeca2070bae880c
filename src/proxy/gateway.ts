/**
 * A whole network behind one wire: a router that takes every flow and relays it, DHCP, router advertisements and names.
 * What `ethertype run` puts a program into. @module
 */
import { createServer, type Server, type Socket } from 'node:net';
import { DhcpServer } from '../dhcp/index.ts';
import { DnsServer, type HostsTable, type RecordType, type Resolution, type Resolver } from '../dns/index.ts';
import { NetError } from '../errors.ts';
import { RouterAdvertiser } from '../iface/router-advertiser.ts';
import type { Device } from '../phy/device.ts';
import { createHost, type Host } from '../sockets/host.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import { NXDOMAIN } from '../wire/dns.ts';
import { endpoint, OpenFlow } from './flow-log.ts';
import { reset } from './machine.ts';
import { LearnedNames } from './names.ts';
import { Policy, type PolicyFunction } from './policy.ts';
import type { Publication } from './publication.ts';
import { PublishedDatagrams } from './published-datagrams.ts';
import { Relay, type RelayOptions } from './relay.ts';
import { machineResolver } from './resolver.ts';

/** The addresses of the network, as slirp has had them for decades. */
export const NETWORK = {
  guest: ['10.0.2.100', 'fd00:2::64'],
  router: ['10.0.2.2', 'fd00:2::2'],
  resolver: ['10.0.2.3', 'fd00:2::3'],
  prefixLengths: [24, 64],
} as const;

/**
 * Who the router is on the link: always the same, so that a guest that outlives its router knows the next one, by its cache
 * of neighbours and its list of routers.
 */
const ROUTER_MAC = '52:55:0a:00:02:02';
const ROUTER_LINK_LOCAL = 'fe80::2';

const LOOPBACK = ['127.0.0.1', '::1'];
const PUBLISH_MS = 10_000;
const MEMORY_BYTES = 128 << 20;

/** What a gateway has in use. All of it is 0 once it is closed. */
export interface GatewayUse {
  /** Connections, held ones included. What comes to published ports counts here too, as in `udp`. */
  readonly tcp: number;
  readonly udp: number;
  readonly echo: number;
  /** Bytes of the stack's memory: frames and buffers. */
  readonly bytes: number;
}

export interface GatewayOptions extends Pick<RelayOptions, 'onFlow' | 'limits' | 'tcp' | 'udp' | 'upstream'> {
  /** The wire to the guest. On Ethernet it is served DHCP and router advertisements. */
  readonly device: Device;
  readonly policy?: Policy | PolicyFunction | undefined;
  /** Whether the router's address leads to the machine's own loopback. Default false: it is refused there. */
  readonly hostLoopback?: boolean | undefined;
  /** Who is asked for names; by default whom the machine asks. */
  readonly nameServers?: readonly string[] | undefined;
  /** Names beside those of the machine's own table of hosts. */
  readonly hosts?: HostsTable | undefined;
  /** Beside those of a {@link Policy}. */
  readonly publish?: readonly Publication[] | undefined;
  /** Bytes the stack may use. Default 128 MiB. */
  readonly memory?: number | undefined;
}

/**
 * A guest that has forgotten a connection, and whose reset was lost (Linux drops what a busy TAP has no room for), says so
 * to the next probe; one that is silent, as a machine that is halted, has two hours.
 */
const GUEST_TCP: Partial<TcpSettings> = {
  noDelay: true,
  keepAliveMs: 60_000,
  keepAliveIntervalMs: 60_000,
  keepAliveProbesMax: 120,
};

export class Gateway {
  readonly host: Host;
  readonly relay: Relay;
  /** Ports of the machine that lead to the guest. */
  readonly published: Required<Publication>[] = [];
  readonly #options: GatewayOptions;
  readonly #names = new LearnedNames();
  readonly #servers: DnsServer[] = [];
  readonly #listeners: Server[] = [];
  readonly #datagrams: PublishedDatagrams[] = [];
  readonly #closers: (() => void)[] = [];
  /** Connections to published ports. */
  readonly #led = new Map<Socket, Promise<void>>();

  private constructor(options: GatewayOptions) {
    this.#options = options;
    const { device, policy, onFlow, limits, tcp, udp, upstream } = options;
    const own = [...NETWORK.router, ...NETWORK.resolver].map((text) => `${text}/${text.includes(':') ? 64 : 24}`);
    const isEthernet = device.medium === 'ethernet';
    this.host = createHost({
      device,
      addresses: isEthernet ? [...own, `${ROUTER_LINK_LOCAL}/64`] : own,
      ...(isEthernet ? { mac: ROUTER_MAC } : {}),
      anyIp: true,
      probe: false,
      ipv6: { dadTransmits: 0 },
      memory: options.memory ?? MEMORY_BYTES,
      tcp: GUEST_TCP,
    });
    this.relay = new Relay(this.host, {
      policy,
      names: this.#names,
      redirect: (address) => this.#redirect(address),
      onFlow,
      limits,
      tcp,
      udp,
      upstream,
    });
  }

  /**
   * Serves the wire from now on.
   * @throws NetError, or what node:net says where a port cannot be published; TypeError for options that are none
   */
  static async start(options: GatewayOptions): Promise<Gateway> {
    const gateway = new Gateway(options);
    try {
      gateway.#configure();
      await gateway.#serveNames(machineResolver(options));
      const ofPolicy = options.policy instanceof Policy ? options.policy.publish : [];
      for (const publication of [...ofPolicy, ...(options.publish ?? [])]) await gateway.#publish(publication);
    } catch (error) {
      await gateway.close();
      throw error;
    }
    return gateway;
  }

  /** Whether a flow to `address` goes there, to the machine itself, or nowhere. */
  #redirect(address: IpAddress): string | null {
    const text = `${address}`;
    const at = (NETWORK.router as readonly string[]).indexOf(text);
    if (at >= 0) return this.#options.hostLoopback === true ? LOOPBACK[at]! : null;
    return this.host.stack.ip.isLocalAddress(address) || text === ROUTER_LINK_LOCAL ? null : text;
  }

  /** Tells the guest who it is, by DHCP and by router advertisements. */
  #configure(): void {
    const { stack, iface } = this.host;
    if (iface === null || iface.device.medium !== 'ethernet') return;
    const [guest, router, resolver] = [NETWORK.guest, NETWORK.router, NETWORK.resolver].map((pair) =>
      pair.map((text) => IpAddress.parse(text)),
    );
    const dhcp = new DhcpServer(stack, iface, {
      pool: [guest![0]!, IpAddress.parse('10.0.2.199')],
      routers: [router![0]!],
      dnsServers: [resolver![0]!],
    });
    const advertiser = new RouterAdvertiser(iface, {
      prefixes: [{ prefix: new Cidr(router![1]!, NETWORK.prefixLengths[1]) }],
      nameServers: [resolver![1]!],
    });
    advertiser.start();
    this.#closers.push(
      () => dhcp.close(),
      () => advertiser.stop(),
    );
  }

  async #serveNames(resolver: Resolver): Promise<void> {
    const forward = { follow: (name: string, type: RecordType) => this.#follow(resolver, name, type) };
    for (const host of NETWORK.resolver) this.#servers.push(await DnsServer.start(this.host, { host, forward }));
  }

  /** Asks for the guest, and remembers which names its addresses have. */
  async #follow(resolver: Resolver, name: string, type: RecordType): Promise<Resolution> {
    const { policy } = this.#options;
    if (policy instanceof Policy && !policy.mayResolve(name)) {
      return { name, aliases: [], rcode: NXDOMAIN, records: [] };
    }
    const found = await resolver.follow(name, type);
    const now = this.host.clock.now();
    for (const record of found.records) {
      if (record.type !== 'A' && record.type !== 'AAAA') continue;
      // Last the one that was asked for: it is what the flow is called by.
      for (const alias of found.aliases) this.#names.learn(`${record.address}`, alias.target, record.ttl, now);
      this.#names.learn(`${record.address}`, name, record.ttl, now);
    }
    return found;
  }

  async #publish({ host = LOOPBACK[0]!, port, guestPort, protocol = 'tcp' }: Publication): Promise<void> {
    const guest = NETWORK.guest[host.includes(':') ? 1 : 0];
    const place = { host, port, guestPort };
    const bound = await (protocol === 'udp' ? this.#publishUdp(place, guest) : this.#publishTcp(place, guest));
    this.published.push({ host, port: bound, guestPort, protocol });
  }

  async #publishUdp(publication: Publication & { host: string }, guest: string): Promise<number> {
    const { onFlow = () => {}, udp } = this.#options;
    const { host, relay } = this;
    const limits = { flowsMax: udp?.flowsMax, idleMs: udp?.idleMs };
    const published = await PublishedDatagrams.start(publication, { host, relay, guest, onFlow, ...limits });
    this.#datagrams.push(published);
    return published.port;
  }

  async #publishTcp({ host, port, guestPort }: Publication, guest: string): Promise<number> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    server.on('connection', (socket) => {
      const source = endpoint(socket.remoteAddress ?? '', socket.remotePort ?? 0);
      const destination = endpoint(guest, guestPort);
      const { onFlow = () => {} } = this.#options;
      const open = new OpenFlow({ protocol: 'tcp', direction: 'in', source, destination }, onFlow);
      open.reason = 'published';
      socket.on('error', () => {});
      const over = this.#lead(socket, open, { host: guest, port: guestPort });
      this.#led.set(
        socket,
        over.finally(() => this.#led.delete(socket)),
      );
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      // One family only: the other may be published beside it, and leads to another address.
      server.listen({ port, host, ipv6Only: true }, resolve);
    });
    server.on('error', () => {});
    this.#listeners.push(server);
    return (server.address() as { port: number }).port;
  }

  async #lead(socket: Socket, open: OpenFlow, to: { host: string; port: number }): Promise<void> {
    try {
      const stream = await this.host.tcp.connect({ ...to, timeout: PUBLISH_MS });
      await this.relay.join(stream, socket, open);
    } catch (error) {
      reset(socket);
      open.end(error instanceof NetError ? error.code : 'EIO');
    }
  }

  /** What is in use now. */
  get use(): GatewayUse {
    const { tcp, udp, echo } = this.relay;
    const bytes = this.host.memory.usedBytes;
    const published = this.#datagrams.reduce((sum, { count }) => sum + count, 0);
    return { tcp: tcp.count + this.#led.size, udp: udp.count + published, echo: echo.pending, bytes };
  }

  /** Ends every flow, and gives back all memory, ports and the device. */
  async close(): Promise<void> {
    for (const server of this.#listeners) server.close();
    for (const close of this.#closers.splice(0)) close();
    await this.relay.close();
    await Promise.all(this.#datagrams.map((published) => published.close()));
    await Promise.all(this.#servers.map((server) => server.close()));
    await this.host.close();
    const led = [...this.#led];
    for (const [socket] of led) reset(socket);
    await Promise.all(led.map(([, over]) => over));
  }
}
