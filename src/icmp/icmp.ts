/**
 * ICMP of both families: answers echo requests, makes errors about packets we refuse, hands on errors about packets we
 * sent, and serves ping sockets. RFC 792, RFC 1122 §3.2.2, RFC 4443. @module
 */
import { type ErrorCode, NetError } from '../errors.ts';
import { mayBeAnyone } from '../iface/any-ip.ts';
import type { Changed, Context } from '../iface/context.ts';
import { deliverError, deliverToDatagrams, deliverTooBig } from '../iface/error-delivery.ts';
import { type ErrorDetail, ErrorQueue } from '../iface/error-detail.ts';
import { type Ip, TTL_DEFAULT } from '../iface/ip.ts';
import type { Packet } from '../iface/packet.ts';
import { mayFragment, type PathMtuDiscovery, packetLimit } from '../iface/path-mtu.ts';
import { covers } from '../iface/ports.ts';
import type { Path } from '../iface/routes.ts';
import type { ErrorReporter } from '../iface/transport.ts';
import { allocFrame, HEADROOM } from '../memory/frame.ts';
import { inputMld } from '../multicast/mld.ts';
import { DatagramQueue, type Source } from '../udp/datagram-queue.ts';
import { type IpAddress, UNSPECIFIED_V6 } from '../wire/address.ts';
import * as v4 from '../wire/icmpv4.ts';
import * as v6 from '../wire/icmpv6.ts';
import { checkPort, PROTOCOL_ICMP, PROTOCOL_ICMPV6, pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { isMld } from '../wire/mld.ts';
import { isNdp } from '../wire/ndp.ts';
import * as udp from '../wire/udp.ts';
import { ErrorLimiter } from './limiter.ts';
import { mayReport, quotedBytes } from './report.ts';

const HEADER = v4.HEADER_LENGTH;
/** RFC 8200 §4.5. */
const PROTOCOL_FRAGMENT = 44;
/** Random identifiers tried before the bind fails. */
const IDENTIFIER_DRAWS = 64;
/** Bytes of replies that wait for a ping socket's reader: more than the largest. */
const RECEIVE_BYTES = 1 << 17;
/** What the length fields of both versions can say; IPv4's counts the header too. */
const LENGTH_MAX = 65_535;
/** DS fields of errors: RFC 1812 §4.3.2.5: a router's have precedence 6; RFC 1122 §3.2.2: a host's are normal. */
const ROUTER_DS = 0xc0;
const SERVICE_BITS = 0x1c;

/** What an unreachable code means for a socket: RFC 1122 §3.2.2.1 and §4.2.3.9, RFC 1812 §5.2.7.1, as Linux maps them. */
const CODES_V4: readonly ErrorCode[] = [
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ENOPROTOOPT',
  'ECONNREFUSED',
  'EMSGSIZE', // fragmentation needed
  'EOPNOTSUPP', // source route failed
  'ENETUNREACH', // network unknown
  'EHOSTDOWN', // host unknown
  'ENONET', // host isolated
  'ENETUNREACH', // network prohibited
  'EHOSTUNREACH', // host prohibited
  'ENETUNREACH', // for this type of service
  'EHOSTUNREACH',
  'EHOSTUNREACH', // communication prohibited
  'EHOSTUNREACH', // precedence
  'EHOSTUNREACH',
];
/** RFC 4443 §3.1. */
const CODES_V6: readonly ErrorCode[] = [
  'ENETUNREACH',
  'EACCES',
  'EHOSTUNREACH',
  'EHOSTUNREACH',
  'ECONNREFUSED',
  'EACCES',
  'EACCES',
];
/** Codes of IPv6 that leave a handshake alone that nobody waits for: no route, beyond scope, no such address. */
const PASSING_V6: readonly number[] = [v6.CODE_NO_ROUTE, 2, v6.CODE_ADDRESS];

/**
 * A socket bound to an echo identifier sends requests and gets the replies; one bound to a UDP port gets the ICMP errors
 * about what was sent from there.
 */
export class IcmpSocket implements Changed {
  isChanged = false;
  owner: unknown = null;
  /** The identifier, once bound; 0: not bound. */
  identifier = 0;
  /** The UDP port whose errors it gets, and the address that was bound with it; 0: none. */
  port = 0;
  local: IpAddress = UNSPECIFIED_V6;
  ttl = TTL_DEFAULT;
  /** What becomes of requests that the path does not carry whole: {@link PathMtuDiscovery}. */
  pathMtuDiscovery: PathMtuDiscovery = 'want';
  /** Whether errors about requests are kept for {@link takeErrorDetail}. */
  receiveErrors = true;
  readonly #icmp: Icmp;
  readonly #queue: DatagramQueue;
  readonly #errors = new ErrorQueue();

  /** Usually made by `stack.icmpSocket()`. */
  constructor(icmp: Icmp) {
    this.#icmp = icmp;
    this.#queue = new DatagramQueue(icmp.context, RECEIVE_BYTES);
  }

  /** Takes an echo identifier; 0: a random free one. @throws NetError EADDRINUSE, EINVAL when already bound */
  bind(identifier = 0): void {
    this.#assertUnbound();
    this.identifier = this.#icmp.bind(this, identifier);
    if (this.identifier === 0) throw new NetError('EADDRINUSE', 'bind');
  }

  /**
   * Takes the errors about UDP datagrams sent from `port` of `address`, by default of any: {@link recv} gives each as the
   * whole ICMP message, from its type on, with `source.port` the port the datagram was sent to.
   * @throws NetError EADDRINUSE, EINVAL when already bound
   */
  bindUdp(options: { port: number; address?: IpAddress | undefined }): void {
    checkPort(options.port, 1);
    this.#assertUnbound();
    if (!this.#icmp.bindPort(this, options.port)) throw new NetError('EADDRINUSE', 'bind', { port: options.port });
    this.port = options.port;
    this.local = options.address ?? UNSPECIFIED_V6;
  }

  #assertUnbound(): void {
    if (this.identifier !== 0 || this.port !== 0) throw new NetError('EINVAL', 'bind');
  }

  /**
   * Sends an echo request with `data` now.
   * @returns false when the device or the memory has no room
   * @throws NetError ENETUNREACH, EMSGSIZE, EINVAL on a socket bound to a UDP port
   */
  sendEcho(destination: IpAddress, sequence: number, data: Uint8Array): boolean {
    if (this.identifier === 0) this.bind();
    const to = this.#icmp.ip.zoned(destination);
    const context = { address: to.toString() };
    const path = this.#icmp.ip.path(to, null);
    if (path === null) throw new NetError('ENETUNREACH', 'send', context);
    const mode = this.pathMtuDiscovery;
    const header = to.isV4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH;
    const length = HEADER + data.length;
    const fits = length + header <= packetLimit(path, mode);
    if (length > LENGTH_MAX - (to.isV4 ? header : 0) || !(fits || mayFragment(mode))) {
      throw new NetError('EMSGSIZE', 'send', context);
    }
    return this.#icmp.sendEcho(path, to, sequence, data, this, fits);
  }

  /**
   * Takes the oldest message: of a reply its data, `source.port` its sequence number; see {@link bindUdp} for errors.
   * @returns bytes copied, or -1 when there is none
   */
  recv(target: Uint8Array, source: Source): number {
    return this.#queue.shift(target, source);
  }

  /** The oldest error that was reported about a request of this socket, or null; `port` is its sequence number. */
  takeErrorDetail(): ErrorDetail | null {
    return this.#errors.shift();
  }

  get hasErrorDetail(): boolean {
    return !this.#errors.isEmpty;
  }

  close(): void {
    if (this.identifier !== 0) this.#icmp.unbind(this);
    if (this.port !== 0) this.#icmp.unbindPort(this, this.port);
    this.port = 0;
    this.#queue.clear();
    this.#errors.clear();
  }

  /** Called by the stack. */
  deliver(packet: Packet, sequence: number, p: number, length: number): void {
    if (this.#queue.push(packet, sequence, p, length)) this.#icmp.context.changed(this);
    else this.#icmp.context.stats.drop('icmp-queue-full');
  }

  /** Called by the stack: an error about the request to `to` whose data is quoted in `[p, end)`. */
  fail(code: ErrorCode, to: IpAddress, sequence: number, p: number, end: number): void {
    if (!this.receiveErrors) return;
    const { context, ip } = this.#icmp;
    if (this.#errors.push(ip.cause, code, to, sequence, context.memory, p, end)) context.changed(this);
    else context.stats.drop('icmp-error-queue-full');
  }

  /** Readiness is all this socket reports. */
  takeEvents(): number {
    return 1;
  }
}

/** RFC 1122 §3.2.2.8, §3.2.2.9, RFC 6918: requests that a host may leave alone, and answers to what it never asks. */
const IGNORED_V4: readonly number[] = [
  v4.TIMESTAMP,
  v4.TIMESTAMP_REPLY,
  v4.INFORMATION,
  v4.INFORMATION + 1,
  v4.ADDRESS_MASK,
  v4.ADDRESS_MASK_REPLY,
];

export class Icmp implements ErrorReporter {
  readonly context: Context;
  readonly ip: Ip;
  readonly #sockets = new Map<number, IcmpSocket>();
  /** Sockets that get the errors about what was sent from a UDP port. */
  readonly #ports = new Map<number, IcmpSocket>();
  readonly #limiter: ErrorLimiter;
  /** Told of each echo request to an address that is not ours, on an any-IP interface; whether it takes it over. */
  interceptor: ((packet: Packet, rest: number, data: Uint8Array) => boolean) | null = null;

  constructor(context: Context, ip: Ip) {
    this.context = context;
    this.ip = ip;
    this.#limiter = new ErrorLimiter(context.random);
  }

  input(packet: Packet): void {
    const { memory, stats } = this.context;
    const isV4 = packet.version === 4;
    const p = packet.payload;
    packet.trusted = false; // no device vouches for ICMP
    const drop = isV4 ? v4.check(memory, p, packet.end) : v6.check(memory, p, packet.end, packet.pseudoSum);
    if (drop !== null) {
      stats.drop(drop);
      return;
    }
    const type = v4.type(memory.dv, p);
    if (!isV4 && isMld(type)) inputMld(this.context, packet);
    else if (type === (isV4 ? v4.ECHO_REQUEST : v6.ECHO_REQUEST)) this.#reply(packet);
    else if (type === (isV4 ? v4.ECHO_REPLY : v6.ECHO_REPLY)) this.#deliver(packet);
    else if (!isV4 && isNdp(type) && packet.iface.nd !== null) packet.iface.nd.input(packet);
    else if (isV4 && type === v4.REDIRECT) packet.iface.redirects.input(packet, this.context);
    else if (isV4 && type === v4.SOURCE_QUENCH)
      stats.drop('icmp-source-quench'); // MUST-55: discarded silently
    else if (!(isV4 ? this.#inputErrorV4(packet, type) : this.#inputErrorV6(packet, type)))
      stats.drop(isV4 && IGNORED_V4.includes(type) ? 'icmp-ignored-type' : 'icmp-unknown-type');
  }

  /**
   * RFC 1122 §3.2.2.6: every host answers; the data comes back as it was. A ping to a group of IPv4 is not answered; one of
   * IPv6 is (RFC 4443 §4.2), from an address of the interface.
   */
  #reply(packet: Packet): void {
    const { memory } = this.context;
    const isGroup = packet.version === 6 && packet.dstA >>> 24 === 0xff;
    if (packet.toGroup && !isGroup) {
      this.context.stats.drop('icmp-group-address');
      return;
    }
    const length = packet.end - packet.payload;
    const path = this.ip.path(packet.source, isGroup ? null : packet.destination);
    if (path === null) {
      this.context.stats.drop('no-route');
      return;
    }
    const rest = v4.rest(memory.dv, packet.payload);
    if (this.interceptor !== null && packet.iface.anyIp && !isGroup && !this.ip.isLocalAddress(packet.destination)) {
      const data = memory.u8.slice(packet.payload + HEADER, packet.end);
      if (this.interceptor(packet, rest, data)) return;
    }
    this.#send(path, packet.source, packet.version === 4 ? v4.ECHO_REPLY : v6.ECHO_REPLY, 0, rest, length, (p) =>
      memory.copy(p, packet.payload + HEADER, length - HEADER),
    );
  }

  #deliver(packet: Packet): void {
    const { dv } = this.context.memory;
    const p = packet.payload;
    const socket = this.#sockets.get(v4.identifier(dv, p));
    if (socket === undefined && packet.isTaken) return; // a raw socket's
    if (socket === undefined) this.context.stats.drop('icmp-no-socket');
    else socket.deliver(packet, v4.sequence(dv, p), p + HEADER, packet.end - p - HEADER);
  }

  /** RFC 1122 §3.2.2: passed to the transport, which finds the socket by the quoted packet. False: no such type. */
  #inputErrorV4(packet: Packet, type: number): boolean {
    const { dv } = this.context.memory;
    const p = packet.payload;
    const code = v4.code(dv, p);
    if (type === v4.UNREACHABLE) {
      if (code > v4.CODE_MAX) return false;
      if (code === v4.CODE_FRAGMENTATION_NEEDED) this.#inputTooBig(packet, v4.nextHopMtu(dv, p));
      // As Linux has it: only these end a handshake that nobody waits for yet.
      else this.#inputError(packet, CODES_V4[code]!, code === v4.CODE_NET || code === v4.CODE_HOST);
    } else if (type === v4.TIME_EXCEEDED) this.#inputError(packet, 'EHOSTUNREACH', true, true);
    else if (type === v4.PARAMETER_PROBLEM) this.#inputError(packet, 'EPROTO', true);
    else return false;
    return true;
  }

  /** The same of RFC 4443 §3. */
  #inputErrorV6(packet: Packet, type: number): boolean {
    const { dv } = this.context.memory;
    const p = packet.payload;
    const code = v6.code(dv, p);
    if (type === v6.UNREACHABLE) this.#inputError(packet, CODES_V6[code] ?? 'EPROTO', !PASSING_V6.includes(code));
    else if (type === v6.PACKET_TOO_BIG) this.#inputTooBig(packet, v6.mtu(dv, p));
    else if (type === v6.TIME_EXCEEDED) this.#inputError(packet, 'EHOSTUNREACH', false, true);
    else if (type === v6.PARAMETER_PROBLEM) this.#inputError(packet, 'EPROTO', true);
    else return false;
    return true;
  }

  /** Remembers who says so, for sockets that ask. */
  #setCause(packet: Packet, info: number): void {
    const { cause } = this.ip;
    const { dv } = this.context.memory;
    cause.origin = packet.version === 4 ? 'icmp' : 'icmp6';
    cause.type = v4.type(dv, packet.payload);
    cause.icmpCode = v4.code(dv, packet.payload);
    cause.info = info;
    cause.offender = packet.source;
    this.#current = packet;
  }

  /** The ICMP message whose quote is being delivered. */
  #current: Packet | null = null;

  #inputError(packet: Packet, error: ErrorCode, endsHandshake: boolean, isTransient = false): void {
    this.context.stats.icmpErrorsIn++;
    if (packet.toGroup) return;
    this.#setCause(packet, error === 'EPROTO' ? this.#pointer(packet) : 0);
    deliverError(
      this.context,
      this.ip,
      packet.payload + HEADER,
      packet.end,
      packet.iface.index,
      error,
      endsHandshake,
      isTransient,
    );
  }

  /** RFC 792, RFC 4443 §3.4: of a parameter problem. */
  #pointer(packet: Packet): number {
    const rest = v4.rest(this.context.memory.dv, packet.payload);
    return packet.version === 4 ? rest >>> 24 : rest >>> 0;
  }

  #inputTooBig(packet: Packet, mtu: number): void {
    this.context.stats.icmpErrorsIn++;
    if (packet.toGroup) return;
    this.#setCause(packet, mtu);
    deliverTooBig(this.context, this.ip, packet.payload + HEADER, packet.end, packet.iface.index, mtu);
    deliverToDatagrams(
      this.context,
      this.ip,
      packet.payload + HEADER,
      packet.end,
      packet.iface.index,
      'EMSGSIZE',
      true,
    );
  }

  /** An error about an ICMP message of ours, whose quote begins at `p`: for the socket that has its identifier. */
  error(local: IpAddress, remote: IpAddress, p: number, code: ErrorCode, end: number): void {
    const { dv } = this.context.memory;
    if (v4.type(dv, p) !== (local.isV4 ? v4.ECHO_REQUEST : v6.ECHO_REQUEST)) return;
    this.#sockets.get(v4.identifier(dv, p))?.fail(code, remote, v4.sequence(dv, p), p + HEADER, end);
  }

  /** An error about a UDP datagram of ours, whose quote begins at `p`: the whole message, for who has bound its port. */
  errorOfUdp(local: IpAddress, p: number): void {
    if (this.#ports.size === 0 || this.#current === null || this.ip.cause.origin === 'local') return;
    const { dv } = this.context.memory;
    const socket = this.#ports.get(udp.sourcePort(dv, p));
    if (socket === undefined || !covers(socket.local, local)) return;
    const { payload, end } = this.#current;
    socket.deliver(this.#current, udp.destinationPort(dv, p), payload, end - payload);
  }

  /** Tells the sender of `packet` that nobody serves its protocol or port. */
  unreachable(packet: Packet, what: 'protocol' | 'port'): void {
    if (packet.version === 4) {
      // RFC 1122 §3.2.2.1
      this.report(packet, v4.UNREACHABLE, what === 'port' ? v4.CODE_PORT : v4.CODE_PROTOCOL, 0);
    } else if (what === 'port') {
      this.report(packet, v6.UNREACHABLE, v6.CODE_PORT, 0); // RFC 4443 §3.1
    } else {
      // RFC 8200 §4, RFC 4443 §3.4: the pointer names the field that holds the unknown value.
      this.report(packet, v6.PARAMETER_PROBLEM, v6.CODE_NEXT_HEADER, this.#nextHeaderAt(packet));
    }
  }

  /** Where the header before the payload names what the payload is. */
  #nextHeaderAt(packet: Packet): number {
    const { dv } = this.context.memory;
    let field = packet.header + ipv6.NEXT_HEADER_OFFSET;
    let p = packet.header + ipv6.HEADER_LENGTH;
    while (p < packet.payload) {
      const isFragment = dv.getUint8(field) === PROTOCOL_FRAGMENT;
      field = p;
      p += isFragment ? 8 : (dv.getUint8(p + 1) + 1) << 3;
    }
    return field - packet.header;
  }

  timeExceeded(packet: Packet, code: number): void {
    this.report(packet, packet.version === 4 ? v4.TIME_EXCEEDED : v6.TIME_EXCEEDED, code, 0);
  }

  parameterProblem(packet: Packet, code: number, pointer: number): void {
    if (packet.version === 6) this.report(packet, v6.PARAMETER_PROBLEM, code, pointer);
  }

  /**
   * Tells the sender of `packet` what became of it, unless the rules forbid it or there were too many.
   * @param rest - the four bytes behind the checksum
   */
  report(packet: Packet, type: number, code: number, rest: number): void {
    const { memory, stats, nowMs } = this.context;
    if (!mayReport(memory.dv, packet, type, code)) return;
    const isV4 = packet.version === 4;
    const to = packet.source;
    const { destination } = packet;
    // RFC 1812 §4.3.2.4, RFC 4443 §2.2: from the address it was sent to, or from one of the way back.
    const isOurs = this.ip.isLocalAddress(destination) || (packet.iface.anyIp && mayBeAnyone(destination));
    const path = this.ip.path(to, isOurs ? destination : null);
    if (path === null) return;
    // Path MTU discovery stands still without these: they are limited all together only, as on Linux.
    const isTooBig = isV4
      ? type === v4.UNREACHABLE && code === v4.CODE_FRAGMENTATION_NEEDED
      : type === v6.PACKET_TOO_BIG;
    if (!this.#limiter.take(to, nowMs, !isTooBig)) {
      stats.drop('icmp-rate-limited');
      return;
    }
    const quoted = quotedBytes(packet);
    const ds = isV4 && !isOurs ? ROUTER_DS | (packet.ds & SERVICE_BITS) : 0;
    const quote = (p: number): void => memory.copy(p, packet.header, quoted);
    stats.icmpErrorsOut++;
    this.#send(path, to, type, code, rest, HEADER + quoted, quote, null, ds);
  }

  hostUnreachable(from: IpAddress, to: IpAddress, quote: Uint8Array, what: 'host' | 'port' = 'host'): void {
    const { memory, stats, nowMs } = this.context;
    const path = this.ip.path(to, from);
    if (path === null) return;
    if (!this.#limiter.take(to, nowMs, true)) {
      stats.drop('icmp-rate-limited');
      return;
    }
    stats.icmpErrorsOut++;
    const isV4 = to.isV4;
    const host = isV4 ? v4.CODE_HOST : v6.CODE_ADDRESS;
    const code = what === 'host' ? host : isV4 ? v4.CODE_PORT : v6.CODE_PORT;
    this.#send(path, to, isV4 ? v4.UNREACHABLE : v6.UNREACHABLE, code, 0, HEADER + quote.length, (p) =>
      memory.u8.set(quote, p),
    );
  }

  /** Answers an echo request that an {@link interceptor} took over. @param rest - its identifier and number */
  replyFor(from: IpAddress, to: IpAddress, rest: number, data: Uint8Array): void {
    const path = this.ip.path(to, from);
    if (path === null) {
      this.context.stats.drop('no-route');
      return;
    }
    const type = to.isV4 ? v4.ECHO_REPLY : v6.ECHO_REPLY;
    this.#send(path, to, type, 0, rest, HEADER + data.length, (p) => this.context.memory.u8.set(data, p));
  }

  sendEcho(path: Path, to: IpAddress, sequence: number, data: Uint8Array, socket: IcmpSocket, fits: boolean): boolean {
    const { iface } = path;
    if (iface.device.room() <= 0 || (!fits && this.ip.fragmenter.isBusy(iface))) return false;
    const rest = (socket.identifier << 16) | sequence;
    const type = to.isV4 ? v4.ECHO_REQUEST : v6.ECHO_REQUEST;
    const { u8 } = this.context.memory;
    return this.#send(path, to, type, 0, rest, HEADER + data.length, (p) => u8.set(data, p), socket);
  }

  /** Sends a message of `length` bytes whose body `fill` writes. */
  #send(
    path: Path,
    to: IpAddress,
    type: number,
    code: number,
    rest: number,
    length: number,
    fill: (p: number) => void,
    socket: IcmpSocket | null = null,
    ds = 0,
  ): boolean {
    const { memory } = this.context;
    const frame = allocFrame(memory, ipv6.HEADER_LENGTH + length);
    if (frame === 0) {
      path.iface.refuse('no-memory', this.ip.payloadOffset(0, to) - HEADROOM + length);
      return false;
    }
    const p = this.ip.payloadOffset(frame, to);
    fill(p + HEADER);
    if (to.isV4) v4.emit(memory, p, type, code, rest, length);
    else v6.emit(memory, p, type, code, rest, length, pseudoHeaderSum(path.source, to, PROTOCOL_ICMPV6));
    const protocol = to.isV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
    // What answers may be cut anywhere, as Linux has it; a ping may find the path's MTU out.
    this.ip.send(path, frame, length, protocol, to, socket?.ttl ?? TTL_DEFAULT, ds, false, socket?.pathMtuDiscovery);
    return true;
  }

  /** Takes an identifier; returns it, or 0 when it is taken. */
  bind(socket: IcmpSocket, wanted: number): number {
    let identifier = wanted;
    for (let draws = 0; identifier === 0 && draws < IDENTIFIER_DRAWS; draws++) {
      const drawn = 1 + (this.context.random() % 0xffff);
      if (!this.#sockets.has(drawn)) identifier = drawn;
    }
    if (identifier === 0 || this.#sockets.has(identifier)) return 0;
    this.#sockets.set(identifier, socket);
    return identifier;
  }

  unbind(socket: IcmpSocket): void {
    if (this.#sockets.get(socket.identifier) === socket) this.#sockets.delete(socket.identifier);
    socket.identifier = 0;
  }

  /** Takes the errors of a UDP port; false when another socket has it. */
  bindPort(socket: IcmpSocket, port: number): boolean {
    if (this.#ports.has(port)) return false;
    this.#ports.set(port, socket);
    return true;
  }

  unbindPort(socket: IcmpSocket, port: number): void {
    if (this.#ports.get(port) === socket) this.#ports.delete(port);
  }

  closeAll(): void {
    for (const socket of [...this.#sockets.values(), ...this.#ports.values()]) socket.close();
  }
}
