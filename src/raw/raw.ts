/**
 * Raw sockets: packets of one IP protocol, with their headers. Every socket of a protocol gets a copy of each packet, and
 * the protocol itself is served as if there was none, as on Linux, raw(7). @module
 */
import { type ErrorCode, NetError } from '../errors.ts';
import type { Changed, Context } from '../iface/context.ts';
import { type ErrorDetail, ErrorQueue } from '../iface/error-detail.ts';
import type { Interface } from '../iface/interface.ts';
import { type Ip, TTL_DEFAULT } from '../iface/ip.ts';
import type { Packet } from '../iface/packet.ts';
import type { Path } from '../iface/routes.ts';
import type { RawTransport } from '../iface/transport.ts';
import { allocFrame, HEADROOM, setFrameBounds } from '../memory/frame.ts';
import { Memberships } from '../multicast/memberships.ts';
import { joinInterface, sendToGroup } from '../multicast/output.ts';
import { DatagramQueue, type Source } from '../udp/datagram-queue.ts';
import type { MembershipOptions } from '../udp/socket.ts';
import { IpAddress, UNSPECIFIED_V4, UNSPECIFIED_V6 } from '../wire/address.ts';
import * as icmpv6 from '../wire/icmpv6.ts';
import { PROTOCOL_ICMPV6, pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { octetsOf } from '../wire/octets.ts';

/** Bytes that wait for a reader by default; a packet counts 56 more than it is long. */
const RECEIVE_BYTES_DEFAULT = 1 << 17;
const RECEIVE_BYTES_MIN = 1 << 11;
const RECEIVE_BYTES_MAX = 1 << 24;
/** Raw sockets of a stack: every packet of a protocol is offered to each. One more is refused with EMFILE. */
const SOCKETS_MAX = 64;
/** RFC 791 §3.1: the total length is a u16; so is the payload length of RFC 8200 §3. */
const PACKET_MAX = 65_535;
/** Where the source stands in an IPv4 header. */
const SOURCE = 12;

export interface RawSocketOptions {
  /** 4 or 6. */
  readonly family: 4 | 6;
  /** The protocol or next header, 0 to 255. */
  readonly protocol: number;
  /** Whether {@link RawSocket.send} is given whole packets, IP header included. Default false. */
  readonly headerIncluded?: boolean | undefined;
  /** What may wait for the reader: a power of two from 2 KiB to 16 MiB, 128 KiB by default. */
  readonly receiveBytes?: number | undefined;
}

export class RawSocket implements Changed {
  isChanged = false;
  owner: unknown = null;
  readonly family: 4 | 6;
  readonly protocol: number;
  /** Whether {@link send} is given whole packets; may be changed at any time. */
  headerIncluded: boolean;
  /** Time to live of what is sent without a header of its own, 1 to 255. */
  ttl = TTL_DEFAULT;
  /** The DS field of the same. */
  tos = 0;
  /** Time to live of what goes to multicast groups without a header of its own, 0 to 255; 0 stays on this host. */
  multicastTtl = 1;
  /** Whether this host gets what the socket sends to groups that it is in itself. */
  multicastLoopback = true;
  /** Where what goes to groups leaves; null: the bound address or the routes decide. */
  multicastInterface: Interface | null = null;
  readonly #raw: Raw;
  readonly #queue: DatagramQueue;
  /**
   * Whether every error about what was sent from here is kept with its origin, for {@link takeErrorDetail}: also without a
   * peer, as IP_RECVERR has it on Linux.
   */
  receiveErrors = false;
  #error: ErrorCode | null = null;
  readonly #errors = new ErrorQueue();
  #local: IpAddress;
  #remote: IpAddress | null = null;
  #isClosed = false;
  readonly #memberships = new Memberships();

  /** Usually made by `stack.rawSocket()`; it gets packets from now on. */
  constructor(raw: Raw, options: RawSocketOptions) {
    const { family, protocol, headerIncluded = false, receiveBytes = RECEIVE_BYTES_DEFAULT } = options;
    if (family !== 4 && family !== 6) throw new TypeError(`family: expected 4 or 6, got ${family}`);
    if (!Number.isInteger(protocol) || protocol < 0 || protocol > 255) {
      throw new RangeError(`protocol: expected 0 to 255, got ${protocol}`);
    }
    const isPower = (receiveBytes & (receiveBytes - 1)) === 0;
    if (!isPower || receiveBytes < RECEIVE_BYTES_MIN || receiveBytes > RECEIVE_BYTES_MAX) {
      throw new RangeError(`receiveBytes: expected a power of two from 2 KiB to 16 MiB, got ${receiveBytes}`);
    }
    this.#raw = raw;
    this.family = family;
    this.protocol = protocol;
    this.headerIncluded = headerIncluded;
    this.#local = family === 4 ? UNSPECIFIED_V4 : UNSPECIFIED_V6;
    this.#queue = new DatagramQueue(raw.context, receiveBytes);
    // A raw socket sees a whole protocol: also what others on this host have joined, as on Linux.
    this.#memberships.all = true;
    raw.add(this);
  }

  /**
   * Joins a multicast group, as `UdpSocket.join`. What others on this host joined comes too, unless the socket has a
   * filter of its own for it.
   * @throws NetError EINVAL, EADDRINUSE, EADDRNOTAVAIL, ENOBUFS, ENODEV
   */
  join(group: IpAddress, options: MembershipOptions = {}): void {
    this.#memberships.join(this.#interfaceFor(group, options, 'join'), group, options.source ?? null);
  }

  /** Leaves a group, or gives up one source of it. @throws NetError EADDRNOTAVAIL, EINVAL, ENODEV */
  leave(group: IpAddress, options: MembershipOptions = {}): void {
    this.#memberships.leave(this.#interfaceFor(group, options, 'leave'), group, options.source ?? null);
  }

  #interfaceFor(group: IpAddress, options: MembershipOptions, syscall: string): Interface {
    if (options.interface !== undefined) return options.interface;
    const joined = syscall === 'join' ? null : this.#memberships.interfaceOf(group);
    const chosen = joined ?? this.multicastInterface;
    return joinInterface(this.#raw.ip, group, this.#ownAddress, chosen, syscall);
  }

  /** The address of ours it is bound to, null: none. */
  get #ownAddress(): IpAddress | null {
    return this.#local.isUnspecified || this.#local.isMulticast ? null : this.#local;
  }

  /** The address it is bound to; unspecified: none. */
  get local(): IpAddress {
    return this.#local;
  }

  /** The peer, null without one. */
  get remote(): IpAddress | null {
    return this.#remote;
  }

  /** Takes only packets to `address`, and sends from it. @throws NetError EADDRNOTAVAIL, EAFNOSUPPORT */
  bind(address: IpAddress): void {
    this.#assertFamily('bind', address);
    if (!address.isUnspecified && !address.isMulticast && !this.#raw.ip.isLocalAddress(address)) {
      throw new NetError('EADDRNOTAVAIL', 'bind', { address: address.toString() });
    }
    this.#local = address;
  }

  /** Takes only packets from `address`, which {@link send} goes to by default; null: from everybody again. */
  connect(address: IpAddress | null): void {
    if (address !== null) this.#assertFamily('connect', address);
    this.#remote = address;
  }

  #assertFamily(syscall: string, address: IpAddress): void {
    if (address.family !== this.family) throw new NetError('EAFNOSUPPORT', syscall, { address: address.toString() });
  }

  /**
   * Sends one packet now; the bytes are copied. Without `headerIncluded` they are what follows the IP header; of ICMPv6
   * the checksum is made here (RFC 3542 §3.1). With it they are the whole packet, whose lengths and IPv4 checksum are
   * filled in, and whose IPv4 source and identification are where they are 0, as on Linux.
   * @returns false when the device or the memory has no room
   * @throws NetError EDESTADDRREQ, ENETUNREACH, EMSGSIZE, EINVAL for a header that is none
   */
  send(data: Uint8Array, to: IpAddress | null = this.#remote): boolean {
    const address = to ?? (this.headerIncluded ? this.#destinationOf(data) : null);
    if (address === null) throw new NetError('EDESTADDRREQ', 'send');
    this.#assertFamily('send', address);
    const context = { address: address.toString() };
    const path = this.#raw.ip.path(address, this.#ownAddress, this.multicastInterface);
    if (path === null) throw new NetError('ENETUNREACH', 'send', context);
    const header = this.headerIncluded ? 0 : this.family === 4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH;
    if (header + data.length > Math.min(path.iface.mtu, PACKET_MAX)) throw new NetError('EMSGSIZE', 'send', context);
    const loops = this.multicastLoopback;
    if (this.headerIncluded) return this.#raw.sendWhole(path, address, data, loops);
    const ttl = address.isMulticast ? this.multicastTtl : this.ttl;
    return this.#raw.send(path, address, data, this.protocol, ttl, this.tos, loops);
  }

  /** Where a whole packet says it goes. */
  #destinationOf(data: Uint8Array): IpAddress {
    const { dv } = octetsOf(data);
    const least = this.family === 4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH;
    if (data.length < least || ipv4.version(dv, 0) !== this.family) throw new NetError('EINVAL', 'send');
    if (this.family === 4) return IpAddress.v4(ipv4.destination(dv, 0));
    const word = (i: number): number => ipv6.destinationWord(dv, 0, i);
    return new IpAddress(word(0), word(1), word(2), word(3));
  }

  /**
   * Takes the oldest packet, from its IP header on; bytes beyond the end of `target` are lost (`source.length` tells).
   * @returns bytes copied, or -1 when there is none
   */
  recv(target: Uint8Array, source: Source): number {
    return this.#queue.shift(target, source);
  }

  /** As {@link recv}, but the packet stays. */
  peek(target: Uint8Array, source: Source): number {
    return this.#queue.peek(target, source);
  }

  /** Length of the oldest packet, -1 when there is none. */
  peekLength(): number {
    return this.#queue.peekLength();
  }

  canRecv(): boolean {
    return this.#queue.count > 0;
  }

  /** What may wait for the reader. @param bytes - a power of two */
  setReceiveBytes(bytes: number): void {
    this.#queue.setCapacity(bytes);
  }

  /** The oldest error reported about a packet to the peer of a connected socket, or null; see {@link receiveErrors}. */
  takeErrorDetail(): ErrorDetail | null {
    return this.#errors.shift();
  }

  /** Whether {@link takeErrorDetail} has one. */
  get hasErrorDetail(): boolean {
    return !this.#errors.isEmpty;
  }

  /** The last error that did not pass, or any where {@link receiveErrors} is set; null: none since it was last taken. */
  get error(): ErrorCode | null {
    return this.#error;
  }

  /** The same, which counts as told from now on. */
  takeError(): ErrorCode | null {
    const code = this.#error;
    this.#error = null;
    return code;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#raw.remove(this);
    this.#memberships.close();
    this.#queue.clear();
    this.#errors.clear();
  }

  /** Called by the stack: whether it wants packets between these. */
  wants(packet: Packet): boolean {
    if (packet.protocol !== this.protocol || packet.version !== this.family) return false;
    const local = this.#local;
    const remote = this.#remote;
    const isTo =
      local.isUnspecified ||
      (local.d === packet.dstD && local.c === packet.dstC && local.b === packet.dstB && local.a === packet.dstA);
    const isFrom =
      remote === null ||
      (remote.d === packet.srcD && remote.c === packet.srcC && remote.b === packet.srcB && remote.a === packet.srcA);
    if (!isTo || !isFrom) return false;
    const isGroup = packet.version === 4 ? packet.dstD >>> 28 === 0xe : packet.dstA >>> 24 === 0xff;
    return !isGroup || this.#memberships.accepts(packet);
  }

  /** Called by the stack. */
  deliver(packet: Packet): void {
    const { context } = this.#raw;
    if (this.#queue.push(packet, 0, packet.header, packet.end - packet.header)) context.changed(this);
    else context.stats.drop('raw-queue-full');
  }

  /**
   * Called by the stack: an error about a packet from here, whose payload is quoted in `[p, end)`, with its IP header from
   * `head` on.
   */
  fail(code: ErrorCode, to: IpAddress, head: number, transport: number, end: number, isTransient: boolean): void {
    const { context, ip } = this.#raw;
    // raw_err() of Linux: what passes is told to those who asked.
    if (this.receiveErrors || !isTransient) this.#error = code;
    const p = this.headerIncluded ? head : transport; // who makes headers is shown them
    if (this.#errors.push(ip.cause, code, to, 0, context.memory, p, end)) context.changed(this);
    else context.stats.drop('icmp-error-queue-full');
  }

  /** Readiness is all this socket reports. */
  takeEvents(): number {
    return 1;
  }
}

export class Raw implements RawTransport {
  readonly context: Context;
  readonly ip: Ip;
  #sockets: readonly RawSocket[] = [];

  constructor(context: Context, ip: Ip) {
    this.context = context;
    this.ip = ip;
  }

  /** @throws NetError EMFILE */
  add(socket: RawSocket): void {
    if (this.#sockets.length >= SOCKETS_MAX) throw new NetError('EMFILE', 'socket');
    this.#sockets = [...this.#sockets, socket];
    this.ip.raw = this;
  }

  /** Without any the IP layer does not ask. */
  remove(socket: RawSocket): void {
    this.#sockets = this.#sockets.filter((other) => other !== socket);
    if (this.#sockets.length === 0) this.ip.raw = null;
  }

  input(packet: Packet): boolean {
    let any = false;
    for (const socket of this.#sockets) {
      if (!socket.wants(packet)) continue;
      any = true;
      socket.deliver(packet);
    }
    return any;
  }

  error(
    protocol: number,
    local: IpAddress,
    remote: IpAddress,
    head: number,
    p: number,
    code: ErrorCode,
    end: number,
    isTransient: boolean,
  ): void {
    for (const socket of this.#sockets) {
      if (socket.protocol !== protocol || socket.family !== remote.family) continue;
      // raw(7): without IP_RECVERR only of a peer.
      const isOfPeer = socket.remote === null ? socket.receiveErrors : socket.remote.equals(remote);
      if (!isOfPeer || !(socket.local.isUnspecified || socket.local.equals(local))) continue;
      socket.fail(code, remote, head, p, end, isTransient);
    }
  }

  /** Sends `data` behind a header of ours; false when there is no room for it now. */
  send(
    path: Path,
    to: IpAddress,
    data: Uint8Array,
    protocol: number,
    ttl: number,
    tos: number,
    loops: boolean,
  ): boolean {
    const { memory } = this.context;
    const frame = this.#frame(path, ipv6.HEADER_LENGTH + data.length);
    if (frame === 0) return false;
    const p = this.ip.payloadOffset(frame, to);
    memory.u8.set(data, p);
    if (!to.isV4 && protocol === PROTOCOL_ICMPV6 && data.length >= icmpv6.HEADER_LENGTH) {
      const { dv } = memory;
      const pseudo = pseudoHeaderSum(path.source, to, PROTOCOL_ICMPV6);
      icmpv6.emit(memory, p, icmpv6.type(dv, p), icmpv6.code(dv, p), dv.getInt32(p + 4), data.length, pseudo);
    }
    this.ip.send(path, frame, data.length, protocol, to, ttl, tos, loops);
    return true;
  }

  /** Sends a packet that brings its header; false when there is no room for it now. @throws NetError EINVAL */
  sendWhole(path: Path, to: IpAddress, data: Uint8Array, loops: boolean): boolean {
    const { memory } = this.context;
    this.#checkHeader(data, to.isV4);
    const frame = this.#frame(path, data.length);
    if (frame === 0) return false;
    const { dv } = memory;
    const p = frame + HEADROOM;
    memory.u8.set(data, p);
    if (to.isV4) {
      if (ipv4.source(dv, p) === 0) dv.setInt32(p + SOURCE, path.source.d);
      const id = ipv4.identification(dv, p);
      ipv4.patchLength(memory, p, data.length, id === 0 ? this.context.random() & 0xffff : id);
    } else {
      ipv6.patchLength(dv, p, data.length - ipv6.HEADER_LENGTH);
    }
    setFrameBounds(memory, frame, p, p + data.length);
    const { iface } = path;
    const ttl = to.isV4 ? ipv4.ttl(dv, p) : ipv6.hopLimit(dv, p);
    if (to.isMulticast) sendToGroup(this.context, this.ip.looped, iface, frame, to, ttl, loops);
    else if (iface.isBroadcast(to.a, to.b, to.c, to.d)) iface.broadcast(frame);
    else iface.transmit(frame, path.neighbour);
    return true;
  }

  #checkHeader(data: Uint8Array, isV4: boolean): void {
    const { dv } = octetsOf(data);
    const least = isV4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH;
    const isHeader = data.length >= least && ipv4.version(dv, 0) === (isV4 ? 4 : 6);
    if (isHeader && (!isV4 || (ipv4.headerLength(dv, 0) >= least && ipv4.headerLength(dv, 0) <= data.length))) return;
    throw new NetError('EINVAL', 'send', { detail: 'the packet does not begin with a sound IP header' });
  }

  #frame(path: Path, length: number): number {
    if (path.iface.device.room() <= 0) return 0;
    const frame = allocFrame(this.context.memory, length);
    if (frame === 0) path.iface.refuse('no-memory', length);
    return frame;
  }

  closeAll(): void {
    for (const socket of this.#sockets) socket.close();
  }
}
