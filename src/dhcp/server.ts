/**
 * A small DHCP server for one network: RFC 2131 §4.3, with RFC 4039, RFC 6842 and RFC 3396. Its leases live in memory.
 * Missing on purpose: relays (giaddr), several networks on a link, probing an address before it is offered (clients do
 * that, and decline), BOOTP. @module
 */
import type { ConfigPort } from '../iface/config-port.ts';
import type { Interface } from '../iface/interface.ts';
import type { Packet } from '../iface/packet.ts';
import type { Stack } from '../stack.ts';
import { type Cidr, IpAddress, MacAddress } from '../wire/address.ts';
import * as dhcp from '../wire/dhcpv4.ts';
import { type Binding, type BindingState, Bindings } from './bindings.ts';
import { HEADERS } from './messages.ts';
import { BROADCAST, linkPath, sendDatagram } from './transport.ts';

const { OPTION } = dhcp;

const LEASE_S = 3600;
const LEASE_MIN_S = 5;
/** How long an offer is kept for its client: RFC 2131 §3.1.2 leaves it open. */
const OFFER_MS = 30_000;
/** How long an address is left alone that somebody declined. */
const QUARANTINE_MS = 600_000;

export interface DhcpServerOptions {
  /** First and last address to give, on a network of the interface. */
  readonly pool: readonly [from: IpAddress, to: IpAddress];
  /** Seconds of a lease; a client may ask for fewer. Default an hour. */
  readonly leaseS?: number;
  readonly routers?: readonly IpAddress[];
  readonly routes?: readonly dhcp.ClasslessRoute[];
  readonly dnsServers?: readonly IpAddress[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly ntpServers?: readonly IpAddress[];
  readonly mtu?: number;
  /** Further options; they go to every client. */
  readonly options?: readonly dhcp.Option[];
  /** Addresses that are kept: by link address (`02:00:00:00:00:01`), or by client identifier in hexadecimal (`ff00...`). */
  readonly reservations?: Readonly<Record<string, IpAddress>>;
  /** Whether clients that this server does not know are refused (NAK), so that they begin anew. Default true. */
  readonly authoritative?: boolean;
  readonly rapidCommit?: boolean;
  /** An address was given, renewed, given back or declined. */
  onBinding?(binding: Binding, message: string): void;
}

/** A message of a client. */
interface Query {
  readonly type: number;
  readonly xid: number;
  readonly mac: MacAddress;
  readonly client: string;
  readonly broadcast: boolean;
  readonly ciaddr: IpAddress;
  readonly requested: IpAddress | null;
  readonly serverId: IpAddress | null;
  readonly options: dhcp.Options;
}

const hexOf = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

export class DhcpServer {
  readonly #stack: Stack;
  readonly #iface: Interface;
  readonly #options: DhcpServerOptions;
  readonly #own: Cidr;
  readonly #bindings: Bindings;
  readonly #settings: readonly dhcp.Option[];
  readonly #leaseS: number;
  readonly #port: ConfigPort;

  /**
   * Serves from now on.
   * @param iface - has an IPv4 address in whose network the pool lies
   * @throws RangeError or TypeError for what cannot be served
   */
  constructor(stack: Stack, iface: Interface, options: DhcpServerOptions) {
    const [from, to] = options.pool;
    const own = iface.addresses.find((cidr) => cidr.address.isV4 && cidr.contains(from) && cidr.contains(to));
    if (own === undefined)
      throw new RangeError(`pool: expected one on a network of ${iface.name}, got ${from} to ${to}`);
    const { leaseS = LEASE_S } = options;
    if (!(Number.isInteger(leaseS) && leaseS >= LEASE_MIN_S && leaseS <= dhcp.INFINITE)) {
      throw new RangeError(`leaseS: expected ${LEASE_MIN_S} to ${dhcp.INFINITE} seconds, got ${leaseS}`);
    }
    this.#stack = stack;
    this.#iface = iface;
    this.#options = options;
    this.#own = own;
    this.#leaseS = leaseS;
    const taken = [...(options.routers ?? []), ...(options.dnsServers ?? [])];
    this.#bindings = new Bindings({
      from,
      to,
      isTaken: (address) =>
        stack.ip.isLocalAddress(address) ||
        taken.some((other) => other.equals(address)) ||
        (own.broadcast !== null && (own.broadcast.equals(address) || this.#isNetwork(address))),
      reservations: readReservations(options.reservations ?? {}, own),
    });
    this.#settings = settingsOptions(options, own);
    this.#port = {
      port: dhcp.SERVER_PORT,
      takes: () => false,
      input: (packet, _port, p, end) => this.#input(packet, p, end),
    };
    iface.configPorts.push(this.#port);
  }

  /** What was given, and to whom; what is over too. */
  get bindings(): readonly Binding[] {
    return this.#bindings.all;
  }

  /** Serves no more. */
  close(): void {
    const { configPorts } = this.#iface;
    if (configPorts.includes(this.#port)) configPorts.splice(configPorts.indexOf(this.#port), 1);
  }

  /** The address of the network itself: all host bits zero. */
  #isNetwork(address: IpAddress): boolean {
    return this.#own.contains(address) && this.#own.contains(IpAddress.v4(address.d - 1)) === false;
  }

  get #now(): number {
    return this.#stack.context.nowMs;
  }

  #input(packet: Packet, p: number, end: number): void {
    const { memory, stats } = this.#stack.context;
    const { dv } = memory;
    const drop = packet.version === 4 ? dhcp.check(dv, p, end) : 'dhcp-unexpected';
    if (drop !== null) {
      stats.drop(drop);
      return;
    }
    const options = dhcp.parseOptions(dv, p, end);
    const mac = new MacAddress(dhcp.chaddrHigh(dv, p), dhcp.chaddrLow(dv, p));
    const id = options.get(OPTION.clientId);
    const query: Query = {
      type: dhcp.messageType(options),
      xid: dhcp.xid(dv, p),
      mac,
      // RFC 2131 §4.2: by its identifier where it has one, else by its link address.
      client: id === undefined || id.length === 0 ? `${mac}` : hexOf(id),
      broadcast: dhcp.isBroadcast(dv, p),
      ciaddr: IpAddress.v4(dhcp.ciaddr(dv, p)),
      requested: dhcp.readIp(options, OPTION.requestedAddress),
      serverId: dhcp.readIp(options, OPTION.serverId),
      options,
    };
    const isRequest = dhcp.op(dv, p) === dhcp.BOOTREQUEST && dhcp.giaddr(dv, p) === 0 && !mac.isGroup;
    if (!isRequest || !this.#answer(query)) stats.drop('dhcp-unexpected');
  }

  /** False: a message of no use here. */
  #answer(query: Query): boolean {
    switch (query.type) {
      case dhcp.DISCOVER:
        this.#discover(query);
        return true;
      case dhcp.REQUEST:
        this.#request(query);
        return true;
      case dhcp.DECLINE:
        return this.#decline(query);
      case dhcp.RELEASE:
        return this.#release(query);
      case dhcp.INFORM:
        // RFC 2131 §4.3.5: no lease time, no address; to the address the client has.
        if (query.ciaddr.isUnspecified) return false;
        this.#reply(query, dhcp.ACK, null, this.#settings);
        return true;
      default:
        return false;
    }
  }

  #discover(query: Query): void {
    const address = this.#bindings.choose(query.client, `${query.mac}`, query.requested, this.#now);
    if (address === null) {
      this.#stack.context.stats.drop('dhcp-no-lease');
      return;
    }
    if (this.#options.rapidCommit === true && query.options.has(OPTION.rapidCommit)) {
      this.#grant(query, address, [[OPTION.rapidCommit, new Uint8Array(0)]]);
      return;
    }
    const held = this.#bindings.of(query.client);
    // Who has the address and asks anew keeps its lease until it takes the offer.
    if (held === null || held.state !== 'bound' || !held.address.equals(address) || held.until <= this.#now) {
      this.#note(query, address, 'offered', this.#now + OFFER_MS);
    }
    this.#reply(query, dhcp.OFFER, address, this.#leaseOptions(query));
  }

  /** RFC 2131 §4.3.2. */
  #request(query: Query): void {
    const { client, mac, serverId, requested, ciaddr } = query;
    const { authoritative = true } = this.#options;
    const held = this.#bindings.of(client);
    if (serverId !== null && !serverId.equals(this.#own.address)) {
      // It has chosen another server: the offer is free again.
      if (held?.state === 'offered') this.#note(query, held.address, 'free', this.#now);
      return;
    }
    const address = ciaddr.isUnspecified ? requested : ciaddr;
    if (address === null) return;
    const isKnown = held?.address.equals(address) === true;
    if (isKnown && this.#bindings.isFree(address, client, `${mac}`, this.#now)) this.#grant(query, address, []);
    // "If the network is incorrect, the server SHOULD send a DHCPNAK"; of a client it knows nothing of it may keep silent.
    else if (serverId !== null || held !== null || authoritative || !this.#own.contains(address)) {
      this.#reply(query, dhcp.NAK, null, []);
    }
  }

  #grant(query: Query, address: IpAddress, more: readonly dhcp.Option[]): void {
    const seconds = this.#leaseSeconds(query);
    const until = seconds === dhcp.INFINITE ? Number.POSITIVE_INFINITY : this.#now + seconds * 1000;
    this.#note(query, address, 'bound', until);
    this.#reply(query, dhcp.ACK, address, [...more, ...this.#leaseOptions(query)]);
  }

  /** RFC 2131 §4.3.3. */
  #decline(query: Query): boolean {
    const held = this.#bindings.of(query.client);
    if (query.requested === null || held?.address.equals(query.requested) !== true) return false;
    this.#note(query, held.address, 'declined', this.#now + QUARANTINE_MS);
    return true;
  }

  /** RFC 2131 §4.3.4: the client is remembered, so that it gets its address again. */
  #release(query: Query): boolean {
    const held = this.#bindings.of(query.client);
    if (held?.state !== 'bound' || !held.address.equals(query.ciaddr)) return false;
    this.#note(query, held.address, 'free', this.#now);
    return true;
  }

  #note(query: Query, address: IpAddress, state: BindingState, until: number): void {
    const hostName = dhcp.readText(query.options, OPTION.hostName);
    const binding: Binding = { address, client: query.client, mac: `${query.mac}`, hostName, state, until };
    this.#bindings.set(binding);
    this.#options.onBinding?.(binding, dhcp.typeName(query.type));
  }

  #leaseSeconds(query: Query): number {
    const wanted = dhcp.readNumber(query.options, OPTION.leaseTime, 4) ?? this.#leaseS;
    return Math.max(LEASE_MIN_S, Math.min(wanted, this.#leaseS));
  }

  #leaseOptions(query: Query): dhcp.Option[] {
    const seconds = this.#leaseSeconds(query);
    const times = [dhcp.numberOption(OPTION.leaseTime, seconds, 4)];
    if (seconds !== dhcp.INFINITE) {
      times.push(dhcp.numberOption(OPTION.renewalTime, Math.floor(seconds / 2), 4));
      times.push(dhcp.numberOption(OPTION.rebindingTime, Math.floor((seconds * 7) / 8), 4));
    }
    return [...times, ...this.#settings];
  }

  #reply(query: Query, type: number, address: IpAddress | null, options: readonly dhcp.Option[]): void {
    const own = this.#own.address;
    const list = [dhcp.numberOption(OPTION.messageType, type, 1), dhcp.ipOption(OPTION.serverId, own), ...options];
    const id = query.options.get(OPTION.clientId);
    // RFC 6842 §3: it goes back as it came.
    if (id !== undefined && id.length > 0) list.push([OPTION.clientId, id]);
    const { ciaddr } = query;
    // RFC 2131 §4.1: a NAK to everybody; else where the client is reached, or will be.
    const isUnicast = type !== dhcp.NAK && (!ciaddr.isUnspecified || !query.broadcast);
    const to = !isUnicast ? BROADCAST : ciaddr.isUnspecified ? address! : ciaddr;
    const size = dhcp.readNumber(query.options, OPTION.maxMessageSize, 2) ?? 0;
    const data = dhcp.encode(
      {
        op: dhcp.BOOTREPLY,
        xid: query.xid,
        mac: query.mac,
        broadcast: query.broadcast,
        ciaddr: type === dhcp.NAK || type === dhcp.OFFER ? 0 : ciaddr.d,
        yiaddr: address?.d ?? 0,
      },
      list,
      Math.min(size, this.#iface.mtu) - HEADERS,
    );
    const path = linkPath(this.#iface, own, to, isUnicast ? query.mac : null);
    sendDatagram(this.#stack, path, to, dhcp.SERVER_PORT, dhcp.CLIENT_PORT, data);
  }
}

function readReservations(given: Readonly<Record<string, IpAddress>>, own: Cidr): Map<string, IpAddress> {
  const found = new Map<string, IpAddress>();
  for (const [key, address] of Object.entries(given)) {
    if (!own.contains(address)) throw new RangeError(`reservation: expected an address in ${own}, got ${address}`);
    found.set(key.includes(':') || key.includes('-') ? `${MacAddress.parse(key)}` : key.toLowerCase(), address);
  }
  return found;
}

/** What every client is told, the weightier first: what does not fit is left out from the end. */
function settingsOptions(options: DhcpServerOptions, own: Cidr): dhcp.Option[] {
  const list: dhcp.Option[] = [];
  const mask = own.prefixLength === 0 ? 0 : -1 << (32 - own.prefixLength);
  list.push(dhcp.ipOption(OPTION.subnetMask, IpAddress.v4(mask)));
  const { routers = [], routes = [], dnsServers = [], search = [], ntpServers = [], domain, mtu } = options;
  if (routes.length > 0) list.push(dhcp.routesOption(routes));
  if (routers.length > 0) list.push(dhcp.ipOption(OPTION.routers, ...routers));
  if (dnsServers.length > 0) list.push(dhcp.ipOption(OPTION.dnsServers, ...dnsServers));
  if (own.broadcast !== null) list.push(dhcp.ipOption(OPTION.broadcast, own.broadcast));
  if (domain !== undefined) list.push(dhcp.textOption(OPTION.domainName, domain));
  if (search.length > 0) list.push(dhcp.domainsOption(search));
  if (mtu !== undefined) list.push(dhcp.numberOption(OPTION.mtu, mtu, 2));
  if (ntpServers.length > 0) list.push(dhcp.ipOption(OPTION.ntpServers, ...ntpServers));
  return [...list, ...(options.options ?? [])];
}
