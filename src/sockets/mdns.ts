/** mDNS and DNS-SD of a host on one interface: its socket, its timer, and calls with promises. @module */
import { type Answer, decodeText, type LinkResolver, Mdns, type RecordOf, type RecordType } from '../dns/index.ts';
import { instanceOf, type Published, type Service, type ServiceInstance, typeDomain } from '../dns/mdns/index.ts';
import { GROUP_V4, GROUP_V6, MDNS_PORT, type MdnsPeer, MESSAGE_BYTES_MAX } from '../dns/mdns/types.ts';
import { NetError } from '../errors.ts';
import type { Interface } from '../iface/interface.ts';
import { Source } from '../udp/datagram-queue.ts';
import type { UdpSocket } from '../udp/socket.ts';
import { IpAddress } from '../wire/address.ts';
import { emit, NOERROR, type ResourceRecord } from '../wire/dns.ts';
import { LinkQuery } from './link-query.ts';
import type { StackLoop } from './loop.ts';

/** RFC 6762 §11. */
const TTL = 255;
/** How often the addresses of the interface are looked at. */
const ADDRESSES_MS = 2000;
/** Events of a search that may wait to be read; the oldest go first. */
const EVENTS_MAX = 1024;

export interface HostMdnsOptions {
  /** The host's name, without `.local`; by default `ethertype-` and chance. A conflict puts a number behind it. */
  readonly name?: string;
}

/** What a search found, or lost. */
export interface ServiceEvent extends ServiceInstance {
  readonly event: 'up' | 'down';
}

/** Where a service is. */
export interface ResolvedService {
  readonly host: string;
  readonly port: number;
  readonly addresses: readonly string[];
  readonly text: Readonly<Record<string, string | true>>;
}

/** A service that is published. */
export interface Publication {
  /** Its name, which a conflict may have changed. */
  readonly name: string;
  /** Takes it back. */
  close(): void;
}

export class HostMdns implements LinkResolver {
  readonly #loop: StackLoop;
  readonly #iface: Interface;
  readonly #mdns: Mdns;
  readonly #socket: UdpSocket;
  readonly #groups: readonly MdnsPeer[];
  readonly #source = new Source();
  readonly #named: (() => void)[] = [];
  /** Ends the questions that are under way. */
  readonly #enders = new Set<() => void>();
  #timer = 0;
  #timerAt = Number.POSITIVE_INFINITY;
  #addressTimer = 0;
  #isClosed = false;

  /** Use the option `mdns` of `createHost`. @throws NetError EADDRINUSE, ENOBUFS; TypeError for a name that is none */
  constructor(loop: StackLoop, iface: Interface, options: HostMdnsOptions) {
    this.#loop = loop;
    this.#iface = iface;
    const { stack } = loop;
    const chance = (stack.context.random() & 0xffff).toString(16).padStart(4, '0');
    this.#mdns = new Mdns({
      random: () => stack.context.random(),
      drop: (reason) => stack.stats.drop(reason),
      name: options.name ?? `ethertype-${chance}`,
      onHostName: () => {
        for (const resolve of this.#named.splice(0)) resolve();
      },
    });
    this.#groups = [GROUP_V4, GROUP_V6].map((text) => ({ address: IpAddress.parse(text), port: MDNS_PORT }));
    this.#socket = this.#open();
    this.#lookAtAddresses();
  }

  #open(): UdpSocket {
    const socket = this.#loop.stack.udpSocket();
    socket.reuse = true;
    socket.bind({ port: MDNS_PORT });
    socket.ttl = TTL;
    socket.multicastTtl = TTL;
    socket.multicastLoopback = false;
    socket.multicastInterface = this.#iface;
    for (const { address } of this.#groups) socket.join(address, { interface: this.#iface });
    socket.owner = { notify: () => this.#read() };
    return socket;
  }

  /** `name.local`, as it stands now. */
  get hostName(): string {
    return this.#mdns.hostName;
  }

  /** Resolves when the host's name has been probed for and is its own. */
  ready(): Promise<string> {
    if (this.#mdns.isNamed) return Promise.resolve(this.hostName);
    return new Promise((resolve) => this.#named.push(() => resolve(this.hostName)));
  }

  #now(): number {
    return this.#loop.clock.now();
  }

  /** Addresses come and go with DHCP and router advertisements, which nobody reports here. */
  #lookAtAddresses(): void {
    if (this.#isClosed) return;
    const own = this.#iface.addresses.map(({ address }) => address);
    this.#mdns.setAddresses(own, this.#now());
    this.#turn();
    const { clock } = this.#loop;
    this.#addressTimer = clock.setTimer(clock.now() + ADDRESSES_MS, () => this.#lookAtAddresses());
  }

  #read(): void {
    try {
      for (;;) {
        const data = new Uint8Array(Math.max(0, this.#socket.peekLength()));
        if (this.#socket.recv(data, this.#source) < 0) break;
        const { address, port } = this.#source;
        const isOnLink = address.isLinkLocal || this.#iface.addresses.some((cidr) => cidr.contains(address));
        this.#mdns.input(data, { address, port }, isOnLink, this.#now());
      }
    } catch (error) {
      if (!(error instanceof NetError)) throw error; // what the network says of one datagram
    }
    this.#turn();
  }

  /** Does what is due, sends what came of it, and sets the timer. */
  #turn(): void {
    if (this.#isClosed) return;
    this.#mdns.poll(this.#now());
    this.#send();
    this.#arm();
  }

  #send(): void {
    this.#loop.touch();
    for (let output = this.#mdns.next(); output !== null; output = this.#mdns.next()) {
      const data = emit(output.message, { bytesMax: MESSAGE_BYTES_MAX, compressAll: true });
      for (const peer of output.to === null ? this.#groups : [output.to]) this.#sendTo(data, peer);
    }
    this.#loop.wake();
  }

  /** A family without an address or a route is left out; without room it is lost, and asked or said again. */
  #sendTo(data: Uint8Array, peer: MdnsPeer): void {
    try {
      this.#socket.send(data, peer);
    } catch (error) {
      if (!(error instanceof NetError)) throw error;
    }
  }

  #arm(): void {
    const { clock } = this.#loop;
    const at = this.#mdns.pollAt();
    if (at === this.#timerAt) return;
    if (this.#timer !== 0) clock.clearTimer(this.#timer);
    this.#timer = 0;
    this.#timerAt = at;
    if (at === Number.POSITIVE_INFINITY) return;
    this.#timer = clock.setTimer(at, () => {
      this.#timer = 0;
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.#turn();
    });
  }

  /** The records of a name of the link: what is known, or comes within a short while. */
  query(name: string, type: RecordType, signal: AbortSignal): Promise<Answer> {
    if (this.#isClosed) return Promise.reject(closed());
    const { responder, querier } = this.#mdns;
    const own = responder.own(name, type).map(({ record }) => record);
    // What is ours nobody else answers for.
    const isOurs = responder.own(name, 'ANY').some(({ isProbed }) => isProbed);
    if (own.length > 0 || isOurs) return Promise.resolve({ rcode: NOERROR, records: own });
    const query = new LinkQuery(this.#loop.clock, type, this.#iface.index, {
      watch: (listener) => querier.watch(name, type, listener, this.#now()),
      hasOther: (other) => querier.cache.entries(name, other).length > 0,
    });
    const onAbort = (): void => query.fail(signal.reason);
    const onClose = (): void => query.fail(closed());
    signal.addEventListener('abort', onAbort, { once: true });
    this.#enders.add(onClose);
    this.#turn();
    return query.answer.finally(() => {
      signal.removeEventListener('abort', onAbort);
      this.#enders.delete(onClose);
      this.#turn();
    });
  }

  /**
   * Services of a type as they appear and vanish, until the signal is aborted or the loop left.
   * @param type - `_http._tcp`; `_services._dns-sd._udp` finds the types there are
   * @throws TypeError for a type that is none; NetError ENOBUFS with too many searches
   * @example for await (const { event, name } of host.mdns.browse('_http._tcp')) console.log(event, name)
   */
  async *browse(type: string, options: { signal?: AbortSignal } = {}): AsyncGenerator<ServiceEvent, void, undefined> {
    const { signal } = options;
    const events: ServiceEvent[] = [];
    let wake = (): void => {};
    const domain = typeDomain(type);
    const listener = (event: 'added' | 'removed' | 'denied', record: ResourceRecord): void => {
      const instance = record.type === 'PTR' ? instanceOf(record as RecordOf<'PTR'>, type) : null;
      if (instance === null || event === 'denied') return;
      if (events.length >= EVENTS_MAX) events.shift();
      events.push({ event: event === 'added' ? 'up' : 'down', ...instance });
      wake();
    };
    let isEnded = false;
    const stop = (): void => {
      isEnded = true;
      wake();
    };
    const unwatch = this.#mdns.querier.watch(domain, 'PTR', listener, this.#now());
    this.#turn();
    signal?.addEventListener('abort', stop, { once: true });
    this.#loop.closers.add(stop);
    this.#loop.hold(1);
    try {
      while (!isEnded && signal?.aborted !== true) {
        const event = events.shift();
        if (event !== undefined) yield event;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      this.#loop.hold(-1);
      this.#loop.closers.delete(stop);
      signal?.removeEventListener('abort', stop);
      unwatch();
      this.#turn();
    }
  }

  /**
   * Where a service is: its host, port, addresses and text.
   * @param fullName - as {@link browse} gives it
   * @throws NetError ENOTFOUND when nobody answers; the signal's reason
   */
  async resolveService(fullName: string, options: { signal?: AbortSignal } = {}): Promise<ResolvedService> {
    const signal = options.signal ?? new AbortController().signal;
    signal.throwIfAborted();
    const [found, texts] = await Promise.all([
      this.query(fullName, 'SRV', signal),
      this.query(fullName, 'TXT', signal),
    ]);
    const service = found.records.find((record): record is RecordOf<'SRV'> => record.type === 'SRV');
    if (service === undefined) throw new NetError('ENOTFOUND', 'resolve', { address: fullName });
    const families = await Promise.all(
      (['AAAA', 'A'] as const).map((type) => this.query(service.target, type, signal)),
    );
    const addresses = families
      .flatMap(({ records }) => records)
      .flatMap((r) => ('address' in r ? [`${r.address}`] : []));
    const text = texts.records.find((record): record is RecordOf<'TXT'> => record.type === 'TXT');
    return { host: service.target, port: service.port, addresses, text: decodeText(text?.strings ?? []) };
  }

  /**
   * Publishes a service on this host; resolves once its name has been probed for and announced.
   * @throws TypeError, RangeError for a service that cannot be; NetError ENOBUFS with too many
   * @example await host.mdns.publish({ type: '_http._tcp', name: 'Our site', port: 80, text: { path: '/' } })
   */
  async publish(service: Service): Promise<Publication> {
    let ready = (): void => {};
    const isReady = new Promise<void>((resolve) => {
      ready = resolve;
    });
    const published = this.#mdns.publish(service, () => ready(), this.#now());
    if (published === null) throw new NetError('ENOBUFS', 'publish', { detail: 'too many services are published' });
    this.#turn();
    await isReady;
    return this.#publication(published);
  }

  #publication(published: Published): Publication {
    return {
      get name() {
        return published.name();
      },
      close: () => {
        if (this.#isClosed) return;
        this.#mdns.unpublish(published);
        this.#turn();
      },
    };
  }

  /** Says goodbye and ends; called by the host before it closes. */
  close(): void {
    if (this.#isClosed) return;
    this.#mdns.close();
    this.#send();
    this.#isClosed = true;
    for (const end of [...this.#enders]) end();
    const { clock } = this.#loop;
    if (this.#timer !== 0) clock.clearTimer(this.#timer);
    clock.clearTimer(this.#addressTimer);
    this.#socket.close();
  }
}

const closed = (): NetError => new NetError('ECANCELED', 'resolve', { detail: 'the host is closed' });
