/**
 * A raw socket behind a descriptor, raw(7): of IPv4 whole packets are read, of IPv6 what follows their headers. @module
 */
import { type ErrorCode, NetError } from '../errors.ts';
import type { RawSocket as CoreRawSocket } from '../raw/raw.ts';
import { Source } from '../udp/datagram-queue.ts';
import type { IpAddress } from '../wire/address.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { contextOf, readAddress, type SockAddr, sockAddr } from './address.ts';
import { LINUX as L } from './constants.ts';
import { readError, wantsErrors } from './error-queue.ts';
import { gather, type Reading, scatter, type Writing } from './message.ts';
import { DATAGRAM_BUFFER, type Option, OptionStore, type OptionValue } from './options.ts';
import { BOTH, type PosixSocket, RECEIVING, SENDING } from './socket.ts';
import type { Shared } from './stream.ts';
import { tellTime } from './timestamps.ts';
import type { Call } from './waits.ts';

const PACKET_MAX = 65_575;
const RECEIVE_MIN = 1 << 11;
const RECEIVE_MAX = 1 << 24;

export class RawSocket implements PosixSocket {
  readonly domain: number;
  readonly type = L.SOCK_RAW;
  readonly protocol: number;
  readonly isListening = false;
  readonly isConnecting = false;
  readonly isConnected = true;
  readonly isClosing = false;
  readonly sendsAtOnce = true;
  readonly calls = new Set<Call>();
  readonly options: OptionStore;
  readonly #shared: Shared;
  readonly #core: CoreRawSocket;
  readonly #source = new Source();
  readonly #bytes = new Uint8Array(PACKET_MAX);
  #port = 0;
  #shut = 0;

  /** @throws NetError EMFILE */
  constructor(shared: Shared, domain: number, protocol: number) {
    this.#shared = shared;
    this.domain = domain;
    this.protocol = protocol;
    this.options = new OptionStore(domain, 'raw');
    const family = domain === L.AF_INET ? 4 : 6;
    // IPPROTO_RAW is for sending whole packets; nothing is ever received on it.
    this.#core = shared.stack.rawSocket({ family, protocol, headerIncluded: protocol === L.IPPROTO_RAW });
    this.#core.owner = this;
  }

  takeError(): ErrorCode | null {
    const code = this.#core.takeError();
    if (!this.#core.receiveErrors) this.#forgetDetails();
    return code;
  }

  #forgetDetails(): void {
    while (this.#core.takeErrorDetail() !== null);
  }

  bind(to: SockAddr): void {
    const address = readAddress('bind', this.domain, to);
    try {
      this.#core.bind(address);
    } catch (error) {
      throw error instanceof NetError ? new NetError(error.code, 'bind', contextOf(to)) : error;
    }
  }

  /** The port of a raw socket's name is its protocol. */
  name(): SockAddr {
    return sockAddr(this.domain, this.#core.local, this.protocol);
  }

  peer(): SockAddr {
    const { remote } = this.#core;
    if (remote === null || this.#port === 0) throw new NetError('ENOTCONN', 'getpeername');
    return sockAddr(this.domain, remote, this.#port);
  }

  connect(to: SockAddr): boolean {
    const isReset = to.family === L.AF_UNSPEC;
    this.#core.connect(isReset ? null : readAddress('connect', this.domain, to));
    this.#port = isReset ? 0 : to.port;
    return true;
  }

  listen(): void {
    throw new NetError('EOPNOTSUPP', 'listen');
  }

  accept(): null {
    throw new NetError('EOPNOTSUPP', 'accept');
  }

  send(writing: Writing): boolean {
    const data = gather(writing.buffers);
    if ((writing.flags & L.MSG_OOB) !== 0) throw new NetError('EOPNOTSUPP', 'send');
    let to: IpAddress | null = this.#core.remote;
    if (writing.address !== null) to = readAddress('send', this.domain, writing.address);
    if (to === null) throw new NetError('EDESTADDRREQ', 'send');
    const error = this.takeError();
    if (error !== null) throw new NetError(error, 'send');
    if ((this.#shut & SENDING) !== 0) throw new NetError('EPIPE', 'send');
    if (!this.#core.send(data, to)) return false;
    writing.count = data.length;
    return true;
  }

  receive(reading: Reading): boolean {
    if ((reading.flags & L.MSG_ERRQUEUE) !== 0) return this.#readError(reading);
    const error = this.takeError();
    if (error !== null) throw new NetError(error, 'recv');
    if (!this.#core.canRecv()) return reading.isBlocking && (this.#shut & RECEIVING) !== 0;
    const isPeek = (reading.flags & L.MSG_PEEK) !== 0;
    const source = this.#source;
    const length = isPeek ? this.#core.peek(this.#bytes, source) : this.#core.recv(this.#bytes, source);
    const data = this.#bytes.subarray(this.#skipped, length);
    const copied = scatter(data, reading.buffers);
    if (copied < data.length) reading.outFlags |= L.MSG_TRUNC;
    reading.count = (reading.flags & L.MSG_TRUNC) !== 0 ? data.length : copied;
    reading.address = sockAddr(this.domain, source.address, 0);
    tellTime(reading, this.options, source.atMs, this.#shared.epochMs);
    return true;
  }

  /** The last one read is told by no other call any more. */
  #readError(reading: Reading): true {
    readError(reading, this.domain, this.#core.receiveErrors ? this.#core.takeErrorDetail() : null);
    if (!this.#core.hasErrorDetail) this.#core.takeError();
    return true;
  }

  /** RFC 3542 §3: of IPv6 the header is not read. */
  get #skipped(): number {
    return this.domain === L.AF_INET ? 0 : ipv6.HEADER_LENGTH;
  }

  shutdown(bits: number): void {
    this.#shut |= bits;
    if (this.#core.remote === null) throw new NetError('ENOTCONN', 'shutdown');
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
    const { error, receiveErrors, hasErrorDetail } = this.#core;
    if (error !== null || (receiveErrors && hasErrorDetail)) mask |= L.POLLERR;
    if ((this.#shut & RECEIVING) !== 0) mask |= L.POLLIN | L.POLLRDNORM | L.POLLRDHUP;
    if (this.#shut === BOTH) mask |= L.POLLHUP;
    if (this.#core.canRecv()) mask |= L.POLLIN | L.POLLRDNORM;
    return mask;
  }

  wantRoom(): void {}

  queued(request: number): number {
    if (request === L.FIONREAD) return Math.max(0, this.#core.peekLength() - this.#skipped);
    if (request === L.SIOCOUTQ) return 0;
    throw new NetError('ENOTTY', 'ioctl');
  }

  applied(option: Option, value: OptionValue): void {
    const core = this.#core;
    if (option.level === L.SOL_IP && option.name === L.IP_HDRINCL) core.headerIncluded = value !== 0;
    else if (option.setting === 'ttl') core.ttl = value as number;
    else if (option.setting === 'tos') core.tos = value as number;
    else if (option.setting === 'receiveBufferBytes') {
      const bytes = 1 << (32 - Math.clz32((value as number) - 1));
      core.setReceiveBytes(Math.min(RECEIVE_MAX, Math.max(RECEIVE_MIN, bytes)));
    }
    core.receiveErrors = wantsErrors(this.options);
    if (!core.receiveErrors) this.#forgetDetails();
  }

  accepts(): void {}

  readOption(option: Option): OptionValue | undefined {
    const isBuffer = option.name === L.SO_RCVBUF || option.name === L.SO_SNDBUF;
    if (option.level === L.SOL_SOCKET && isBuffer) return this.options.get(option) ?? DATAGRAM_BUFFER;
    if (option.level === L.SOL_IP && option.name === L.IP_HDRINCL) return this.#core.headerIncluded ? 1 : 0;
    return undefined;
  }
}
