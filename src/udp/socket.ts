/** A UDP socket of the core: the user's handle. RFC 768, RFC 1122 §4.1, RFC 8085. @module */
import { type ErrorCode, NetError } from '../errors.ts';
import type { Changed } from '../iface/context.ts';
import { type ErrorDetail, ErrorQueue } from '../iface/error-detail.ts';
import { type Flow, portsIn } from '../iface/flow-table.ts';
import type { Interface } from '../iface/interface.ts';
import { TTL_DEFAULT } from '../iface/ip.ts';
import type { Packet } from '../iface/packet.ts';
import { mayFragment, type PathMtuDiscovery, packetLimit } from '../iface/path-mtu.ts';
import type { Path } from '../iface/routes.ts';
import type { Filter } from '../multicast/filter.ts';
import { isBuiltIn } from '../multicast/groups.ts';
import { Memberships } from '../multicast/memberships.ts';
import { joinInterface } from '../multicast/output.ts';
import { type IpAddress, UNSPECIFIED_V6 } from '../wire/address.ts';
import { checkPort } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import * as wire from '../wire/udp.ts';
import { DatagramQueue, type SharedBytes, type Source } from './datagram-queue.ts';
import type { Udp } from './udp.ts';

/** What a UDP socket reports: datagrams to read or an error to take; room to send after there was none. */
export const READABLE = 1;
export const WRITABLE = 2;

/** Bytes that wait for a reader, at most; a datagram counts its payload and 56 more. */
const RECEIVE_BYTES_DEFAULT = 1 << 18;
/** RFC 768: what the length field can say, less the header; IPv4's own length field counts its header too. */
const PAYLOAD_MAX_V6 = 65_535 - wire.HEADER_LENGTH;
const PAYLOAD_MAX_V4 = PAYLOAD_MAX_V6 - ipv4.HEADER_LENGTH;

/** Which membership: of which interface, and of which source of the group. */
export interface MembershipOptions {
  readonly interface?: Interface | undefined;
  readonly source?: IpAddress | undefined;
}

const isSameSource = (one: IpAddress | null, other: IpAddress | null): boolean =>
  one === other || (one !== null && other !== null && one.equals(other));

export class UdpSocket implements Changed, Flow {
  isChanged = false;
  /** Whatever the user of the core wants to find again when the socket is reported. */
  owner: unknown = null;
  local: IpAddress = UNSPECIFIED_V6;
  remote: IpAddress = UNSPECIFIED_V6;
  portsIn = 0;
  hash = 0;
  /** Time to live, 1 to 255. */
  ttl = TTL_DEFAULT;
  /** The DS field of what is sent, its two low bits ECN. */
  tos = 0;
  /** What becomes of datagrams that the path does not carry whole: {@link PathMtuDiscovery}. */
  pathMtuDiscovery: PathMtuDiscovery = 'want';
  /** Whether the port may be shared with others that say so too; the last one bound then gets what is not for a group. */
  reuse = false;
  /** Whether a socket bound to `::` is for IPv6 only; set before {@link bind}. RFC 3493 §5.3. */
  ipv6Only = false;
  /** Whether datagrams to everybody on a network may be sent; otherwise EACCES. */
  broadcast = true;
  /** Time to live of what goes to multicast groups, 0 to 255; 0 stays on this host. RFC 1112 §6.1. */
  multicastTtl = 1;
  /** Whether this host gets what the socket sends to groups that it is in itself. */
  multicastLoopback = true;
  /**
   * Whether every error about what was sent from here is kept with its origin, for {@link takeErrorDetail}: also those
   * about a socket that is not connected, and those that pass, as IP_RECVERR has it on Linux.
   */
  receiveErrors = false;
  readonly #errors = new ErrorQueue();
  readonly #udp: Udp;
  readonly #queue: DatagramQueue;
  #port = 0;
  #isConnected = false;
  #error: ErrorCode | null = null;
  #events = 0;
  /** Called once, when the socket is closed. */
  onClose: (() => void) | null = null;
  /** Changes with each datagram in or out, for who looks whether there are any. */
  traffic = 0;
  #path: Path | null = null;
  #pathTo: IpAddress | null = null;
  #pathFrom: IpAddress | null = null;
  #multicastInterface: Interface | null = null;
  #memberships: Memberships | null = null;

  /** Usually made by `stack.udpSocket()`. */
  constructor(udp: Udp, receiveBytes = RECEIVE_BYTES_DEFAULT) {
    this.#udp = udp;
    this.#queue = new DatagramQueue(udp.context, receiveBytes);
  }

  /** The bound port, 0 before {@link bind}. */
  get port(): number {
    return this.#port;
  }

  get remotePort(): number {
    return this.portsIn >>> 16;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /**
   * Takes datagrams to `port` (0: a random free one: RFC 6056) on `address`, by default on all of both families. Bound
   * to the address of a group, it gets what is sent to that group only.
   * @throws NetError EADDRINUSE, EADDRNOTAVAIL, EINVAL when already bound
   */
  bind(options: { port?: number | undefined; address?: IpAddress | undefined } = {}): void {
    const address = this.#udp.ip.zoned(options.address ?? UNSPECIFIED_V6);
    const context = { address: address.toString(), port: checkPort(options.port ?? 0, 0) };
    if (this.#port !== 0) throw new NetError('EINVAL', 'bind', context);
    const isOurs = address.isUnspecified || address.isMulticast || this.#udp.ip.isLocalAddress(address);
    if (!isOurs) throw new NetError('EADDRNOTAVAIL', 'bind', context);
    const port = this.#udp.bind(this, address, options.port ?? 0);
    if (port === 0) throw new NetError('EADDRINUSE', 'bind', context);
    this.#port = port;
    this.local = address;
  }

  /**
   * Fixes the peer: only its datagrams are taken, errors about it are reported, and {@link send} needs no endpoint.
   * @throws NetError ENETUNREACH, EADDRINUSE, EISCONN
   */
  connect(remote: { address: IpAddress; port: number }): void {
    const address = this.#udp.ip.zoned(remote.address, this.local);
    const context = { address: address.toString(), port: checkPort(remote.port, 1) };
    if (this.#isConnected) throw new NetError('EISCONN', 'connect', context);
    const path = this.#pathFor(address);
    if (path === null) throw new NetError('ENETUNREACH', 'connect', context);
    this.#checkBroadcast(address, 'connect');
    if (this.#port === 0) this.bind();
    this.remote = address;
    this.portsIn = portsIn(this.#port, remote.port);
    path.flowLabel = this.#udp.ip.flowLabel(path.source, address, this.#port);
    // As Linux: a socket bound to a group stays with it, and gets what the peer sends there.
    const error = this.#udp.connect(this, this.local.isMulticast ? this.local : path.source);
    if (error !== null) throw new NetError(error, 'connect', context);
    this.#isConnected = true;
  }

  /**
   * Sends one datagram now; the bytes are copied.
   * @param from - the address of ours to send from, by default the one that is bound, or that the routes give; a group's or
   *   everybody's counts as none. Who serves a port on all addresses answers from the one that was asked: RFC 1122 §4.1.3.5
   * @returns false when the device or the memory has no room: try again later
   * @throws NetError EMSGSIZE, ENETUNREACH, EADDRNOTAVAIL, EINVAL, EACCES: see {@link broadcast}; and an error that the peer or the
   *   network reported before
   */
  send(
    data: Uint8Array,
    to: { address: IpAddress; port: number } | null = null,
    from: IpAddress | null = null,
  ): boolean {
    this.#throwError('send');
    if (to === null && !this.#isConnected) throw new NetError('ENOTCONN', 'send');
    const port = to?.port ?? this.remotePort;
    checkPort(port, 1);
    const own = from === null ? null : this.#checkSource(from);
    const address = to === null ? this.remote : this.#udp.ip.zoned(to.address, own ?? this.local);
    if (own !== null && own.isV4 !== address.isV4) {
      const detail = `${own} and ${address} are of two families`;
      throw new NetError('EINVAL', 'send', { address: address.toString(), port, detail });
    }
    if (this.ipv6Only && address.isV4)
      throw new NetError('EAFNOSUPPORT', 'send', { address: address.toString(), port });
    if (this.#port === 0) this.bind();
    const path = this.#pathFor(address, own);
    if (path === null) throw new NetError('ENETUNREACH', 'send', { address: address.toString(), port });
    this.#checkBroadcast(address, 'send');
    const header = (address.isV4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH) + wire.HEADER_LENGTH;
    const mode = this.pathMtuDiscovery;
    const fits = data.length + header <= packetLimit(path, mode);
    if (data.length > (address.isV4 ? PAYLOAD_MAX_V4 : PAYLOAD_MAX_V6) || !(fits || mayFragment(mode))) {
      throw new NetError('EMSGSIZE', 'send', { address: address.toString(), port });
    }
    const ttl = address.isMulticast ? this.multicastTtl : this.ttl;
    this.traffic = (this.traffic + 1) | 0;
    return this.#udp.output(path, data, address, this.#port, port, ttl, this.tos, this.multicastLoopback, mode, fits);
  }

  /** Nobody sends from no address, a group's or everybody's: RFC 1122 §3.2.1.3. Then it is as if none were named. */
  #checkSource(from: IpAddress): IpAddress | null {
    const { ip } = this.#udp;
    const own = ip.zoned(from);
    if (ip.isLocalAddress(own)) return own;
    if (from.isUnspecified || from.isMulticast || from.isLimitedBroadcast || ip.isBroadcast(from)) return null;
    throw new NetError('EADDRNOTAVAIL', 'send', { address: from.toString() });
  }

  /** SO_BROADCAST: RFC 1122 §4.1.3.6 lets the host guard against broadcasts by mistake. */
  #checkBroadcast(address: IpAddress, syscall: string): void {
    if (this.broadcast || !address.isV4 || !(address.isLimitedBroadcast || this.#udp.ip.isBroadcast(address))) return;
    const detail = `${address} goes to everybody: allow it first`;
    throw new NetError('EACCES', syscall, { address: address.toString(), detail });
  }

  /**
   * Joins a multicast group; the socket gets what is sent to it and to the socket's port. Without `source` from
   * everybody; with it from that source, and further calls add sources.
   * @param options - `interface`: where to join; by default where packets to the group would leave
   * @throws NetError EINVAL no group, or joined the other way; EADDRINUSE a member already; EADDRNOTAVAIL the source is
   *   there already; ENOBUFS too many groups or sources; ENODEV no interface to join on
   */
  join(group: IpAddress, options: MembershipOptions = {}): void {
    const iface = this.#interfaceFor(group, options, 'join');
    this.#members.join(iface, group, options.source ?? null);
  }

  /**
   * Leaves a group, or gives up one source of it; the last one leaves it.
   * @throws NetError EADDRNOTAVAIL not a member, or not of this source; EINVAL, ENODEV
   */
  leave(group: IpAddress, options: MembershipOptions = {}): void {
    const iface = this.#interfaceFor(group, options, 'leave');
    this.#members.leave(iface, group, options.source ?? null);
  }

  /** Keeps out the datagrams of one source of a group joined from everybody. @throws NetError EINVAL, EADDRNOTAVAIL, ENOBUFS */
  blockSource(group: IpAddress, source: IpAddress, options: { interface?: Interface | undefined } = {}): void {
    this.#members.block(this.#interfaceFor(group, options, 'block'), group, source);
  }

  /** Takes {@link blockSource} back. @throws NetError EINVAL, EADDRNOTAVAIL not blocked */
  unblockSource(group: IpAddress, source: IpAddress, options: { interface?: Interface | undefined } = {}): void {
    this.#members.unblock(this.#interfaceFor(group, options, 'unblock'), group, source);
  }

  /**
   * Sets the whole source filter of a group, joining or leaving it as need be.
   * @throws NetError EINVAL, ENOBUFS, ENODEV
   */
  setSourceFilter(group: IpAddress, filter: Filter, options: { interface?: Interface | undefined } = {}): void {
    this.#members.setFilter(this.#interfaceFor(group, options, 'setFilter'), group, filter);
  }

  /** The source filter of a group, null: not a member. */
  sourceFilter(group: IpAddress, options: { interface?: Interface | undefined } = {}): Filter | null {
    return this.#memberships?.filterOf(this.#interfaceFor(group, options, 'sourceFilter'), group) ?? null;
  }

  /** Where what goes to groups leaves; null, the default: the bound address or the routes decide. */
  get multicastInterface(): Interface | null {
    return this.#multicastInterface;
  }

  set multicastInterface(iface: Interface | null) {
    this.#multicastInterface = iface;
    this.#path = null;
  }

  /**
   * Whether the socket also gets what is sent to groups that it has not joined but another socket of this host has, as
   * Linux does by default. Off, it gets what it joined, and what goes to all hosts: RFC 3376 §3.1.
   */
  get multicastAll(): boolean {
    return this.#memberships?.all ?? false;
  }

  set multicastAll(all: boolean) {
    this.#members.all = all;
  }

  get #members(): Memberships {
    this.#memberships ??= new Memberships();
    return this.#memberships;
  }

  #interfaceFor(group: IpAddress, options: MembershipOptions, syscall: string): Interface {
    if (options.interface !== undefined) return options.interface;
    const joined = syscall === 'join' ? null : (this.#memberships?.interfaceOf(group) ?? null);
    return joinInterface(this.#udp.ip, group, this.#ownAddress, joined ?? this.#multicastInterface, syscall);
  }

  /** The address of ours that is bound to, null: none is. */
  get #ownAddress(): IpAddress | null {
    return this.local.isUnspecified || this.local.isMulticast ? null : this.local;
  }

  /** Called by the stack: whether the socket wants the packet, which was sent to a multicast group. */
  acceptsGroup(packet: Packet): boolean {
    if (this.#memberships !== null) return this.#memberships.accepts(packet);
    return isBuiltIn(packet.dstA, packet.dstB, packet.dstC, packet.dstD);
  }

  /**
   * Bytes of the largest IP packet that the path to the peer is known to carry, or that to `address`; null where no way
   * leads there, or there is no peer. A datagram may have 28 less in IPv4, 48 in IPv6, to stay whole.
   */
  pathMtuTo(address: IpAddress): number | null {
    const path = this.#pathFor(address);
    return path === null ? null : packetLimit(path, this.pathMtuDiscovery);
  }

  get pathMtu(): number | null {
    return this.#isConnected ? this.pathMtuTo(this.remote) : null;
  }

  /**
   * Becomes the end of a flow that another host began: sends from `local`, to which it sent, ours or not, and gets what
   * more it sends there. Only on a new socket.
   * @throws NetError ENETUNREACH where no way leads back, EADDRINUSE, EINVAL
   */
  adopt(local: { address: IpAddress; port: number }, remote: { address: IpAddress; port: number }): void {
    if (this.#port !== 0 || this.#isConnected) throw new NetError('EINVAL', 'adopt');
    const { address, port } = remote;
    this.local = local.address;
    const path = this.#pathFor(address);
    if (path === null) throw new NetError('ENETUNREACH', 'adopt', { address: `${address}`, port });
    this.#port = local.port;
    this.remote = address;
    this.portsIn = portsIn(local.port, port);
    const error = this.#udp.connect(this, local.address);
    if (error !== null) {
      this.#port = 0;
      throw new NetError(error, 'adopt', { address: `${address}`, port });
    }
    this.#isConnected = true;
  }

  /** Lets go of the peer. @param local - the address that was bound, if one was */
  disconnect(local: IpAddress = UNSPECIFIED_V6): void {
    if (!this.#isConnected) return;
    this.#udp.disconnect(this);
    this.#isConnected = false;
    this.local = local;
    this.remote = UNSPECIFIED_V6;
    this.portsIn = 0;
    this.#path = null;
  }

  /** Gives the port back; what waits for the reader stays. */
  unbind(): void {
    this.#udp.close(this);
    this.#port = 0;
  }

  /** The path is found once for datagrams that go the same way. */
  #pathFor(address: IpAddress, from: IpAddress | null = null): Path | null {
    const { ip } = this.#udp;
    const isSame = this.#path !== null && ip.isCurrent(this.#path) && this.#pathTo!.equals(address);
    if (isSame && isSameSource(from, this.#pathFrom)) return this.#path;
    this.#path = ip.path(address, from ?? this.#ownAddress, this.#multicastInterface);
    this.#pathTo = address;
    this.#pathFrom = from;
    // RFC 6437 §3: a flow is what a socket sends to one address.
    if (this.#path !== null) this.#path.flowLabel = ip.flowLabel(this.#path.source, address, this.#port);
    return this.#path;
  }

  /**
   * Takes the oldest datagram into `target`; bytes beyond its end are lost (`source.length` tells the whole length).
   * @returns bytes copied, or -1 when there is none
   * @throws NetError ECONNREFUSED, EHOSTUNREACH, ...: what was reported about a connected peer, once
   */
  recv(target: Uint8Array, source: Source): number {
    this.#throwError('recv');
    return this.#queue.shift(target, source);
  }

  /** Like {@link recv}, but the datagram stays; errors stay too. */
  peek(target: Uint8Array, source: Source): number {
    return this.#queue.peek(target, source);
  }

  /** What may wait for the reader. @param bytes - a power of two */
  setReceiveBytes(bytes: number): void {
    this.#queue.setCapacity(bytes);
  }

  /** Has what waits count to what several sockets may hold; called before the first datagram. */
  shareBytes(shared: SharedBytes): void {
    this.#queue.shared = shared;
  }

  /** Memory that waiting datagrams hold. */
  get heldBytes(): number {
    return this.#queue.heldBytes;
  }

  /** What was reported about the peer and not told yet, or null. */
  get error(): ErrorCode | null {
    return this.#error;
  }

  /** The same, which counts as told from now on. */
  takeError(): ErrorCode | null {
    const code = this.#error;
    this.#error = null;
    return code;
  }

  /** The oldest error with its origin, or null; see {@link receiveErrors}. At most 32 wait, later ones are lost. */
  takeErrorDetail(): ErrorDetail | null {
    return this.#errors.shift();
  }

  /** Whether {@link takeErrorDetail} has one. */
  get hasErrorDetail(): boolean {
    return !this.#errors.isEmpty;
  }

  /** Payload length of the oldest datagram, -1 when there is none. */
  peekLength(): number {
    return this.#queue.peekLength();
  }

  canRecv(): boolean {
    return this.#queue.count > 0;
  }

  #throwError(syscall: string): void {
    const code = this.takeError();
    if (code === null) return;
    throw new NetError(code, syscall, { address: this.remote.toString(), port: this.remotePort });
  }

  close(): void {
    this.#udp.close(this);
    this.#memberships?.close();
    this.#queue.clear();
    this.#errors.clear();
    this.#port = 0;
    this.#isConnected = false;
    const { onClose } = this;
    this.onClose = null;
    onClose?.();
  }

  /** Called by the stack: an error about a datagram to `port` of `to`, whose payload is quoted in `[p, end)`. */
  keepError(code: ErrorCode, to: IpAddress, port: number, p: number, end: number): void {
    const { context, ip } = this.#udp;
    if (this.#errors.push(ip.cause, code, to, port, context.memory, p, end)) this.report(READABLE);
    else context.stats.drop('icmp-error-queue-full');
  }

  /** Called by the stack. */
  deliver(packet: Packet, port: number, p: number, length: number): void {
    this.traffic = (this.traffic + 1) | 0;
    if (this.#queue.push(packet, port, p, length)) this.report(READABLE);
    else this.#udp.context.stats.drop('udp-queue-full');
  }

  /** Called by the stack: an error for a connected socket. */
  fail(code: ErrorCode): void {
    this.#error = code;
    this.report(READABLE);
  }

  report(events: number): void {
    this.#events |= events;
    this.#udp.context.changed(this);
  }

  /** What changed since the last call. */
  takeEvents(): number {
    const events = this.#events;
    this.#events = 0;
    return events;
  }
}
