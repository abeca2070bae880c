/**
 * A ping socket behind a descriptor (SOCK_DGRAM with IPPROTO_ICMP or IPPROTO_ICMPV6): what is written and read is an
 * ICMP echo message, whose identifier is the bound port. @module
 */
import { type ErrorCode, NetError } from '../errors.ts';
import type { IcmpSocket } from '../icmp/icmp.ts';
import { PATH_MTU_MODES } from '../iface/path-mtu.ts';
import { Source } from '../udp/datagram-queue.ts';
import type { IpAddress } from '../wire/address.ts';
import * as v4 from '../wire/icmpv4.ts';
import * as v6 from '../wire/icmpv6.ts';
import { octetsOf } from '../wire/octets.ts';
import { readAddress, type SockAddr, sockAddr, unspecifiedOf } from './address.ts';
import { LINUX as L } from './constants.ts';
import { readError, wantsErrors } from './error-queue.ts';
import { gather, type Reading, scatter, type Writing } from './message.ts';
import { DATAGRAM_BUFFER, type Option, OptionStore, type OptionValue } from './options.ts';
import { BOTH, type PosixSocket, RECEIVING, SENDING } from './socket.ts';
import type { Shared } from './stream.ts';
import { tellTime } from './timestamps.ts';
import type { Call } from './waits.ts';

const HEADER = v4.HEADER_LENGTH;
const LENGTH_MAX = 65_535;

interface Reply {
  readonly message: Uint8Array;
  readonly from: IpAddress;
  readonly atMs: number;
}

export class PingSocket implements PosixSocket {
  readonly domain: number;
  readonly type = L.SOCK_DGRAM;
  readonly protocol: number;
  readonly isListening = false;
  readonly isConnecting = false;
  readonly isConnected = true;
  readonly isClosing = false;
  readonly sendsAtOnce = true;
  readonly calls = new Set<Call>();
  readonly options: OptionStore;
  readonly #epochMs: number;
  readonly #core: IcmpSocket;
  readonly #source = new Source();
  readonly #bytes = new Uint8Array(LENGTH_MAX);
  /** The oldest reply, taken from the core to be looked at. */
  #first: Reply | null = null;
  #remote: IpAddress | null = null;
  #shut = 0;

  constructor(shared: Shared, domain: number) {
    this.#epochMs = shared.epochMs;
    this.domain = domain;
    this.protocol = domain === L.AF_INET ? L.IPPROTO_ICMP : L.IPPROTO_ICMPV6;
    this.options = new OptionStore(domain, 'datagram');
    this.#core = shared.stack.icmpSocket();
    this.#core.owner = this;
    this.#core.receiveErrors = false;
  }

  get #isV4(): boolean {
    return this.domain === L.AF_INET;
  }

  takeError(): ErrorCode | null {
    return null;
  }

  /** The port is the identifier. */
  bind(to: SockAddr): void {
    readAddress('bind', this.domain, to);
    if (this.#core.identifier !== 0) throw new NetError('EINVAL', 'bind');
    this.#core.bind(to.port);
  }

  name(): SockAddr {
    return sockAddr(this.domain, unspecifiedOf(this.domain), this.#core.identifier);
  }

  peer(): SockAddr {
    if (this.#remote === null) throw new NetError('ENOTCONN', 'getpeername');
    return sockAddr(this.domain, this.#remote, 0);
  }

  connect(to: SockAddr): boolean {
    this.#remote = to.family === L.AF_UNSPEC ? null : readAddress('connect', this.domain, to);
    return true;
  }

  listen(): void {
    throw new NetError('EOPNOTSUPP', 'listen');
  }

  accept(): null {
    throw new NetError('EOPNOTSUPP', 'accept');
  }

  send(writing: Writing): boolean {
    const message = gather(writing.buffers);
    const to = writing.address === null ? this.#remote : readAddress('send', this.domain, writing.address);
    if (to === null) throw new NetError('EDESTADDRREQ', 'send');
    if ((this.#shut & SENDING) !== 0) throw new NetError('EPIPE', 'send');
    // Only echo requests may be sent, and no shorter than their header.
    const isRequest = message[0] === (this.#isV4 ? v4.ECHO_REQUEST : v6.ECHO_REQUEST) && message[1] === 0;
    if (message.length < HEADER || !isRequest) throw new NetError('EINVAL', 'send');
    const sequence = (message[6]! << 8) | message[7]!;
    if (!this.#core.sendEcho(to, sequence, message.subarray(HEADER))) return false;
    writing.count = message.length;
    return true;
  }

  receive(reading: Reading): boolean {
    if ((reading.flags & L.MSG_ERRQUEUE) !== 0) {
      const detail = this.#core.takeErrorDetail();
      // What a request has for a port is its number, which Linux leaves out here.
      return readError(reading, this.domain, detail === null ? null : { ...detail, port: 0 });
    }
    const first = this.#look();
    if (first === null) return reading.isBlocking && (this.#shut & RECEIVING) !== 0;
    const copied = scatter(first.message, reading.buffers);
    if ((reading.flags & L.MSG_PEEK) === 0) this.#first = null;
    if (copied < first.message.length) reading.outFlags |= L.MSG_TRUNC;
    reading.count = (reading.flags & L.MSG_TRUNC) !== 0 ? first.message.length : copied;
    reading.address = sockAddr(this.domain, first.from, 0);
    tellTime(reading, this.options, first.atMs, this.#epochMs);
    return true;
  }

  /** The oldest reply from the peer, or null. */
  #look(): Reply | null {
    while (this.#first === null) {
      const length = this.#core.recv(this.#bytes, this.#source);
      if (length < 0) return null;
      const from = this.#source.address;
      if (this.#remote !== null && !this.#remote.equals(from)) continue;
      this.#first = { message: this.#messageOf(length), from, atMs: this.#source.atMs };
    }
    return this.#first;
  }

  /** The reply as it came, its checksum aside, which has been verified: IPv6 would need the addresses for it. */
  #messageOf(length: number): Uint8Array {
    const message = new Uint8Array(HEADER + length);
    message.set(this.#bytes.subarray(0, length), HEADER);
    const octets = octetsOf(message);
    const rest = (this.#core.identifier << 16) | this.#source.port;
    const type = this.#isV4 ? v4.ECHO_REPLY : v6.ECHO_REPLY;
    v4.emit(octets, 0, type, 0, rest, message.length);
    return message;
  }

  shutdown(bits: number): void {
    this.#shut |= bits;
    if (this.#remote === null) throw new NetError('ENOTCONN', 'shutdown');
  }

  close(): void {
    this.#core.owner = null;
    this.#core.close();
  }

  beginClose(): boolean {
    return false;
  }

  events(): number {
    let mask = L.POLLOUT | L.POLLWRNORM | L.POLLWRBAND;
    if ((this.#shut & RECEIVING) !== 0) mask |= L.POLLIN | L.POLLRDNORM | L.POLLRDHUP;
    if (this.#shut === BOTH) mask |= L.POLLHUP;
    if (this.#core.hasErrorDetail) mask |= L.POLLERR;
    if (this.#look() !== null) mask |= L.POLLIN | L.POLLRDNORM;
    return mask;
  }

  wantRoom(): void {}

  queued(request: number): number {
    if (request === L.FIONREAD) return this.#look()?.message.length ?? 0;
    if (request === L.SIOCOUTQ) return 0;
    throw new NetError('ENOTTY', 'ioctl');
  }

  applied(option: Option, value: OptionValue): void {
    this.#core.receiveErrors = wantsErrors(this.options);
    if (!this.#core.receiveErrors) while (this.#core.takeErrorDetail() !== null);
    if (option.setting === 'ttl') this.#core.ttl = value as number;
    else if (option.setting === 'pathMtuDiscovery') this.#core.pathMtuDiscovery = PATH_MTU_MODES[value as number]!;
  }

  accepts(): void {}

  readOption(option: Option): OptionValue | undefined {
    const isBuffer = option.name === L.SO_RCVBUF || option.name === L.SO_SNDBUF;
    if (option.level === L.SOL_SOCKET && isBuffer) return this.options.get(option) ?? DATAGRAM_BUFFER;
    return undefined;
  }
}
