/**
 * ICMP of both families: answers echo requests, makes errors about packets we refuse, hands on errors about packets we
 * sent, and serves ping sockets. RFC 792, RFC 1122 §3.2.2, RFC 4443. @module
 */
import { type ErrorCode, NetError } from '../errors.ts';
import type { Changed, Context } from '../iface/context.ts';
import { type ErrorReporter, type Ip, TTL_DEFAULT } from '../iface/ip.ts';
import type { Packet } from '../iface/packet.ts';
import type { Path } from '../iface/routes.ts';
import { allocFrame } from '../memory/frame.ts';
import { inputMld } from '../multicast/mld.ts';
import { DatagramQueue, type Source } from '../udp/datagram-queue.ts';
import type { IpAddress } from '../wire/address.ts';
import * as v4 from '../wire/icmpv4.ts';
import * as v6 from '../wire/icmpv6.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { isMld } from '../wire/mld.ts';

/** RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f): errors made a second, and at once. */
const ERRORS_PER_SECOND = 1000;
const ERRORS_BURST = 50;
/** RFC 1812 §4.3.2.3: an IPv4 error is at most 576 bytes long; RFC 4443 §2.4 (c): an IPv6 one 1280. */
const ERROR_BYTES_V4 = 576;
const ERROR_BYTES_V6 = ipv6.MTU_MIN;
const HEADER = v4.HEADER_LENGTH;
/** Random identifiers tried before the bind fails. */
const IDENTIFIER_DRAWS = 64;
/** Bytes of replies that wait for a ping socket's reader. */
const RECEIVE_BYTES = 1 << 16;

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

/** A socket that sends echo requests under one identifier and gets the replies. */
export class IcmpSocket implements Changed {
  isChanged = false;
  owner: unknown = null;
  /** The identifier, once bound; 0: not bound. */
  identifier = 0;
  ttl = TTL_DEFAULT;
  readonly #icmp: Icmp;
  readonly #queue: DatagramQueue;

  /** Usually made by `stack.icmpSocket()`. */
  constructor(icmp: Icmp) {
    this.#icmp = icmp;
    this.#queue = new DatagramQueue(icmp.context.memory, RECEIVE_BYTES);
  }

  /** Takes an echo identifier; 0: a random free one. @throws NetError EADDRINUSE */
  bind(identifier = 0): void {
    this.identifier = this.#icmp.bind(this, identifier);
    if (this.identifier === 0) throw new NetError('EADDRINUSE', 'bind');
  }

  /**
   * Sends an echo request with `data` now.
   * @returns false when the device or the memory has no room
   * @throws NetError ENETUNREACH, EMSGSIZE
   */
  sendEcho(to: IpAddress, sequence: number, data: Uint8Array): boolean {
    if (this.identifier === 0) this.bind();
    const context = { address: to.toString() };
    const path = this.#icmp.ip.path(to, null);
    if (path === null) throw new NetError('ENETUNREACH', 'send', context);
    const mtu = to.isV4 ? path.iface.mtu : path.mtu; // routers may fragment what IPv4 sends
    if (data.length + HEADER + (to.isV4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH) > mtu)
      throw new NetError('EMSGSIZE', 'send', context);
    return this.#icmp.sendEcho(path, to, this.identifier, sequence, data, this.ttl);
  }

  /**
   * Takes the oldest reply: `source.port` is its sequence number, the bytes are its data.
   * @returns bytes copied, or -1 when there is none
   */
  recv(target: Uint8Array, source: Source): number {
    return this.#queue.shift(target, source);
  }

  close(): void {
    this.#icmp.unbind(this);
    this.#queue.clear();
  }

  /** Called by the stack. */
  deliver(packet: Packet, sequence: number, p: number, length: number): void {
    if (this.#queue.push(packet, sequence, p, length)) this.#icmp.context.changed(this);
    else this.#icmp.context.stats.drop('icmp-queue-full');
  }

  /** Readiness is all this socket reports. */
  takeEvents(): number {
    return 1;
  }
}

export class Icmp implements ErrorReporter {
  readonly context: Context;
  readonly ip: Ip;
  readonly #sockets = new Map<number, IcmpSocket>();
  #tokens = ERRORS_BURST;
  #tokensAt = 0;

  constructor(context: Context, ip: Ip) {
    this.context = context;
    this.ip = ip;
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
    else if (isV4 && type === v4.SOURCE_QUENCH)
      stats.drop('icmp-source-quench'); // MUST-55: discarded silently
    else if (!(isV4 ? this.#inputErrorV4(packet, type) : this.#inputErrorV6(packet, type)))
      stats.drop('icmp-unknown-type');
  }

  /** RFC 1122 §3.2.2.6: every host answers; the data comes back as it was. A ping to a group is not answered. */
  #reply(packet: Packet): void {
    const { memory } = this.context;
    if (packet.toGroup) {
      this.context.stats.drop('icmp-group-address');
      return;
    }
    const length = packet.end - packet.payload;
    const path = this.ip.path(packet.source, packet.destination);
    if (path === null) {
      this.context.stats.drop('no-route');
      return;
    }
    const rest = v4.rest(memory.dv, packet.payload);
    this.#send(path, packet.source, packet.version === 4 ? v4.ECHO_REPLY : v6.ECHO_REPLY, 0, rest, length, (p) =>
      memory.copy(p, packet.payload + HEADER, length - HEADER),
    );
  }

  #deliver(packet: Packet): void {
    const { dv } = this.context.memory;
    const p = packet.payload;
    const socket = this.#sockets.get(v4.identifier(dv, p));
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

  #inputError(packet: Packet, error: ErrorCode, endsHandshake: boolean, isTransient = false): void {
    this.context.stats.icmpErrorsIn++;
    if (packet.toGroup) return;
    this.ip.deliverError(packet.payload + HEADER, packet.end, packet.iface.index, error, endsHandshake, isTransient);
  }

  #inputTooBig(packet: Packet, mtu: number): void {
    this.context.stats.icmpErrorsIn++;
    if (!packet.toGroup) this.ip.deliverTooBig(packet.payload + HEADER, packet.end, packet.iface.index, mtu);
  }

  /** Tells the sender of `packet` that nobody serves its protocol or port: RFC 1122 §3.2.2.1, RFC 4443 §3.1. */
  unreachable(packet: Packet, what: 'protocol' | 'port'): void {
    const { memory, stats } = this.context;
    const isV4 = packet.version === 4;
    if (!isV4 && what === 'protocol') return; // that is a parameter problem in IPv6
    if (packet.toGroup || packet.source.isUnspecified) return; // RFC 1122 §3.2.2
    const path = this.ip.path(packet.source, packet.destination);
    if (path === null) return;
    if (!this.#takeToken()) {
      stats.drop('icmp-rate-limited');
      return;
    }
    const most = (isV4 ? ERROR_BYTES_V4 - ipv4.HEADER_LENGTH : ERROR_BYTES_V6 - ipv6.HEADER_LENGTH) - HEADER;
    const quoted = Math.min(packet.end - packet.header, most);
    const code = isV4 ? (what === 'port' ? v4.CODE_PORT : v4.CODE_PROTOCOL) : v6.CODE_PORT;
    stats.icmpErrorsOut++;
    this.#send(path, packet.source, isV4 ? v4.UNREACHABLE : v6.UNREACHABLE, code, 0, HEADER + quoted, (p) =>
      memory.copy(p, packet.header, quoted),
    );
  }

  hostUnreachable(from: IpAddress, to: IpAddress, quote: Uint8Array): void {
    const { memory, stats } = this.context;
    const path = this.ip.path(to, from);
    if (path === null) return;
    if (!this.#takeToken()) {
      stats.drop('icmp-rate-limited');
      return;
    }
    stats.icmpErrorsOut++;
    const isV4 = to.isV4;
    const code = isV4 ? v4.CODE_HOST : v6.CODE_ADDRESS;
    this.#send(path, to, isV4 ? v4.UNREACHABLE : v6.UNREACHABLE, code, 0, HEADER + quote.length, (p) =>
      memory.u8.set(quote, p),
    );
  }

  /** RFC 4443 §2.4 (f): a token bucket. */
  #takeToken(): boolean {
    const { nowMs } = this.context;
    this.#tokens = Math.min(ERRORS_BURST, this.#tokens + ((nowMs - this.#tokensAt) * ERRORS_PER_SECOND) / 1000);
    this.#tokensAt = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  sendEcho(path: Path, to: IpAddress, identifier: number, sequence: number, data: Uint8Array, ttl: number): boolean {
    if (path.iface.device.room() <= 0) return false;
    const rest = (identifier << 16) | sequence;
    const type = to.isV4 ? v4.ECHO_REQUEST : v6.ECHO_REQUEST;
    const { u8 } = this.context.memory;
    return this.#send(path, to, type, 0, rest, HEADER + data.length, (p) => u8.set(data, p), ttl);
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
    ttl = TTL_DEFAULT,
  ): boolean {
    const { memory } = this.context;
    const frame = allocFrame(memory, ipv6.HEADER_LENGTH + length);
    if (frame === 0) {
      this.context.stats.drop('no-memory');
      return false;
    }
    const p = this.ip.payloadOffset(frame, to);
    fill(p + HEADER);
    if (to.isV4) v4.emit(memory, p, type, code, rest, length);
    else v6.emit(memory, p, type, code, rest, length, pseudoHeaderSum(path.source, to, PROTOCOL_ICMPV6));
    this.ip.send(path, frame, length, to.isV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6, to, ttl, 0);
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

  closeAll(): void {
    for (const socket of [...this.#sockets.values()]) socket.close();
  }
}
