/** A UDP socket behind a descriptor: Linux's rules over a `UdpSocket` of the core. @module */
import { type ErrorCode, NetError } from '../errors.ts';
import { PATH_MTU_MODES } from '../iface/path-mtu.ts';
import { Source } from '../udp/datagram-queue.ts';
import type { UdpSocket } from '../udp/socket.ts';
import type { IpAddress } from '../wire/address.ts';
import { contextOf, readAddress, type SockAddr, sockAddr, unspecifiedOf } from './address.ts';
import { LINUX as L } from './constants.ts';
import { readError, wantsErrors } from './error-queue.ts';
import { gather, type PacketInfo, type Reading, scatter, type Writing } from './message.ts';
import { type Membership, memberInterface, setMembership } from './multicast-options.ts';
import { DATAGRAM_BUFFER, type Option, OptionStore, type OptionValue } from './options.ts';
import { PORT_FIRST, PORT_LAST } from './ports.ts';
import { BOTH, type PosixSocket, RECEIVING, SENDING } from './socket.ts';
import type { Shared } from './stream.ts';
import { isMtu } from './tcp-options.ts';
import { tellTime } from './timestamps.ts';
import type { Call } from './waits.ts';

/** What the length field of UDP can say, with its header. */
const LENGTH_MAX = 65_535;
/** Ports drawn before the core chooses from the whole upper half. */
const DRAWS = 64;

const powerOfTwo = (bytes: number): number => 1 << (32 - Math.clz32(bytes - 1));

export class DatagramSocket implements PosixSocket {
  readonly domain: number;
  readonly type = L.SOCK_DGRAM;
  readonly protocol = L.IPPROTO_UDP;
  readonly isListening = false;
  readonly isConnecting = false;
  readonly isConnected = true;
  readonly isClosing = false;
  readonly sendsAtOnce = true;
  readonly calls = new Set<Call>();
  readonly options: OptionStore;
  readonly #shared: Shared;
  readonly #source = new Source();
  readonly #core: UdpSocket;
  #shut = 0;
  /** What bind() named. */
  #boundAddress: IpAddress;
  #isPortBound = false;
  /** Datagrams that wait for the last part, sent without MSG_MORE; null: none does. */
  #parts: { readonly to: Target | null; readonly buffers: Uint8Array[]; length: number } | null = null;

  constructor(shared: Shared, domain: number) {
    this.#shared = shared;
    this.domain = domain;
    this.options = new OptionStore(domain, 'datagram');
    this.#boundAddress = unspecifiedOf(domain);
    this.#core = shared.stack.udpSocket();
    this.#core.owner = this;
    this.#core.multicastAll = true; // as Linux has it
  }

  takeError(): ErrorCode | null {
    return this.#core.takeError();
  }

  #throwError(syscall: string): void {
    const code = this.#core.takeError();
    if (code !== null) throw new NetError(code, syscall);
  }

  bind(to: SockAddr): void {
    const address = readAddress('bind', this.domain, to);
    const { ip } = this.#shared.stack;
    const isForeign = !address.isUnspecified && !address.isMulticast && !ip.isLocalAddress(address);
    if (isForeign && !ip.isBroadcast(address)) throw new NetError('EADDRNOTAVAIL', 'bind', contextOf(to));
    if (this.#core.port !== 0) throw new NetError('EINVAL', 'bind', contextOf(to));
    this.#bindCore(address, to.port);
    this.#boundAddress = address;
    this.#isPortBound = to.port !== 0;
  }

  /** Takes `port`, or for 0 one of Linux's range as long as that is easily done. */
  #bindCore(address: IpAddress, port: number): void {
    const { random } = this.#shared.stack.context;
    for (let i = 0; port === 0 && i < DRAWS; i++) {
      try {
        this.#core.bind({ address, port: PORT_FIRST + (random() % (PORT_LAST - PORT_FIRST + 1)) });
        return;
      } catch (error) {
        if (!(error instanceof NetError) || error.code !== 'EADDRINUSE') throw error;
      }
    }
    this.#core.bind({ address, port });
  }

  #autobind(): void {
    if (this.#core.port === 0) this.#bindCore(this.#boundAddress, 0);
  }

  name(): SockAddr {
    return sockAddr(this.domain, this.#core.local, this.#core.port);
  }

  peer(): SockAddr {
    const core = this.#core;
    if (!core.isConnected) throw new NetError('ENOTCONN', 'getpeername');
    return sockAddr(this.domain, core.remote, core.remotePort);
  }

  connect(to: SockAddr): boolean {
    if (to.family === L.AF_UNSPEC) {
      this.#disconnect();
      return true;
    }
    const { address, port } = this.#target('connect', to);
    this.#autobind();
    this.#core.disconnect(this.#boundAddress);
    this.#core.connect({ address, port });
    return true;
  }

  /** @throws NetError as the address is wrong; EACCES: a broadcast that SO_BROADCAST does not allow */
  #target(syscall: string, to: SockAddr): Target {
    const address = readAddress(syscall, this.domain, to);
    if (to.port === 0) throw new NetError('EINVAL', syscall, contextOf(to));
    const isBroadcast = this.#shared.stack.ip.isBroadcast(address) || address.isLimitedBroadcast;
    if (isBroadcast && !this.options.isOn(L.SOL_SOCKET, L.SO_BROADCAST)) {
      throw new NetError('EACCES', syscall, contextOf(to));
    }
    return { address, port: to.port };
  }

  /** A port that bind() did not name is given back. */
  #disconnect(): void {
    this.#core.disconnect(this.#boundAddress);
    if (!this.#isPortBound) this.#core.unbind();
  }

  listen(): void {
    throw new NetError('EOPNOTSUPP', 'listen');
  }

  accept(): null {
    throw new NetError('EOPNOTSUPP', 'accept');
  }

  receive(reading: Reading): boolean {
    const { flags, buffers, room } = reading;
    if ((flags & L.MSG_ERRQUEUE) !== 0) return this.#readError(reading);
    this.#throwError('recv');
    const core = this.#core;
    const length = core.peekLength();
    // What blocks ends with SHUT_RD; what does not has always been told to try again.
    if (length < 0) return reading.isBlocking && (this.#shut & RECEIVING) !== 0;
    const whole = buffers.length === 1 ? buffers[0]! : new Uint8Array(Math.min(length, room));
    const source = this.#source;
    const copied = (flags & L.MSG_PEEK) !== 0 ? core.peek(whole, source) : core.recv(whole, source);
    if (buffers.length !== 1) scatter(whole, buffers);
    reading.count = (flags & L.MSG_TRUNC) !== 0 ? source.length : copied;
    if (copied < source.length) reading.outFlags |= L.MSG_TRUNC;
    reading.address = sockAddr(this.domain, source.address, source.port);
    tellTime(reading, this.options, source.atMs, this.#shared.epochMs);
    this.#tellOrigin(reading);
    return true;
  }

  /** What the options ask to be told of a datagram. */
  #tellOrigin({ control }: Reading): void {
    const { options } = this;
    const { ttl, interfaceIndex, address, local } = this.#source;
    const info = { ifindex: interfaceIndex, address: local };
    if (address.isV4) {
      if (options.isOn(L.SOL_IP, L.IP_RECVTTL)) control.push({ level: L.SOL_IP, type: L.IP_TTL, value: ttl });
      if (options.isOn(L.SOL_IP, L.IP_PKTINFO)) control.push({ level: L.SOL_IP, type: L.IP_PKTINFO, value: 0, info });
      return;
    }
    const level = L.SOL_IPV6;
    if (options.isOn(level, L.IPV6_RECVHOPLIMIT)) control.push({ level, type: L.IPV6_HOPLIMIT, value: ttl });
    if (options.isOn(level, L.IPV6_RECVPKTINFO)) control.push({ level, type: L.IPV6_PKTINFO, value: 0, info });
  }

  /** The last one read is told by no other call any more. */
  #readError(reading: Reading): true {
    readError(reading, this.domain, this.#core.takeErrorDetail());
    if (!this.#core.hasErrorDetail) this.#core.takeError();
    return true;
  }

  send(writing: Writing): boolean {
    const { buffers, flags, length } = writing;
    if (length > LENGTH_MAX) throw new NetError('EMSGSIZE', 'send');
    if ((flags & L.MSG_OOB) !== 0) throw new NetError('EOPNOTSUPP', 'send');
    const to = writing.address === null ? null : this.#target('send', writing.address);
    this.#autobind();
    if (to === null && !this.#core.isConnected) throw new NetError('EDESTADDRREQ', 'send');
    this.#throwError('send');
    if ((this.#shut & SENDING) !== 0) throw new NetError('EPIPE', 'send');
    const isMoreToCome = (flags & L.MSG_MORE) !== 0 || this.options.isOn(L.SOL_UDP, L.UDP_CORK);
    if (isMoreToCome || this.#parts !== null) return this.#sendPart(writing, to, isMoreToCome);
    if (!this.#transmit(gather(buffers), to, writing)) return false;
    writing.count = length;
    return true;
  }

  /** MSG_MORE and UDP_CORK: parts of one datagram, which leaves with the last of them. */
  #sendPart(writing: Writing, to: Target | null, isMoreToCome: boolean): boolean {
    this.#parts ??= { to, buffers: [], length: 0 };
    const parts = this.#parts;
    if (parts.length + writing.length > LENGTH_MAX) throw new NetError('EMSGSIZE', 'send');
    const all = [...parts.buffers, ...writing.buffers];
    if (isMoreToCome) {
      parts.buffers.push(...writing.buffers.map((buffer) => buffer.slice()));
      parts.length += writing.length;
    } else {
      if (!this.#transmit(gather(all), parts.to, writing)) return false;
      this.#parts = null;
    }
    writing.count = writing.length;
    return true;
  }

  /** Sends a datagram, with the TTL, TOS and address of ours that its control messages name. False: no room now. */
  #transmit(bytes: Uint8Array, to: Target | null, { control }: Writing): boolean {
    const core = this.#core;
    const { ttl, tos } = core;
    let from: IpAddress | null = null;
    try {
      for (const { level, type, value, info } of control) {
        const isInfo = level === L.SOL_IPV6 ? type === L.IPV6_PKTINFO : level === L.SOL_IP && type === L.IP_PKTINFO;
        if (level === L.SOL_IP && type === L.IP_TTL && value >= 1 && value <= 255) core.ttl = value;
        else if (level === L.SOL_IPV6 && type === L.IPV6_HOPLIMIT && value >= 0 && value <= 255) core.ttl = value;
        else if (level === L.SOL_IP && type === L.IP_TOS) core.tos = value & 0xff;
        else if (level === L.SOL_IPV6 && type === L.IPV6_TCLASS) core.tos = value & 0xff;
        else if (isInfo && info !== undefined) from = senderOf(info);
        else throw new NetError('EINVAL', 'sendmsg');
      }
      return core.send(bytes, to, from);
    } finally {
      core.ttl = ttl;
      core.tos = tos;
    }
  }

  shutdown(bits: number): void {
    this.#shut |= bits;
    if (!this.#core.isConnected) throw new NetError('ENOTCONN', 'shutdown');
  }

  close(): void {
    this.#core.owner = null;
    this.#core.close();
  }

  beginClose(): boolean {
    return false;
  }

  /** datagram_poll() of Linux. */
  events(): number {
    let mask = L.POLLOUT | L.POLLWRNORM | L.POLLWRBAND;
    if (this.#core.error !== null || this.#core.hasErrorDetail) mask |= L.POLLERR;
    if ((this.#shut & RECEIVING) !== 0) mask |= L.POLLIN | L.POLLRDNORM | L.POLLRDHUP;
    if (this.#shut === BOTH) mask |= L.POLLHUP;
    if (this.#core.canRecv()) mask |= L.POLLIN | L.POLLRDNORM;
    return mask;
  }

  wantRoom(): void {}

  /** FIONREAD: the bytes of the next datagram. A datagram sent is the device's. */
  queued(request: number): number {
    if (request === L.FIONREAD) return Math.max(0, this.#core.peekLength());
    if (request === L.SIOCOUTQ) return 0;
    throw new NetError('ENOTTY', 'ioctl');
  }

  applied(option: Option, value: OptionValue): void {
    const core = this.#core;
    if (option.setting === 'ttl') core.ttl = value as number;
    else if (option.setting === 'tos') core.tos = value as number;
    else if (option.setting === 'pathMtuDiscovery') core.pathMtuDiscovery = PATH_MTU_MODES[value as number]!;
    else if (option.setting === 'multicastTtl') core.multicastTtl = value as number;
    else if (option.setting === 'multicastLoopback') core.multicastLoopback = value !== 0;
    else if (option.setting === 'multicastAll') core.multicastAll = value !== 0;
    else if (option.setting === 'multicastInterface') {
      core.multicastInterface = memberInterface(this.#shared.stack.ip, value as number | string) ?? null;
    } else if (option.setting === 'receiveBufferBytes') core.setReceiveBytes(powerOfTwo(value as number));
    else if (option.level === L.SOL_UDP && value === 0) this.#uncork();
    core.receiveErrors = wantsErrors(this.options);
    if (!core.receiveErrors) while (core.takeErrorDetail() !== null);
    core.reuse = this.options.isOn(L.SOL_SOCKET, L.SO_REUSEADDR) || this.options.isOn(L.SOL_SOCKET, L.SO_REUSEPORT);
  }

  /** UDP_CORK is off: what was held back leaves; without room for it, it is lost as on any way. */
  #uncork(): void {
    const parts = this.#parts;
    this.#parts = null;
    if (parts !== null) this.#core.send(gather(parts.buffers), parts.to);
  }

  /** IP_ADD_MEMBERSHIP and its like. @throws NetError as `UdpSocket.join` and its like */
  changeMembership(option: Option, input: Membership | Uint8Array): void {
    setMembership(this.#core, this.#shared.stack.ip, option.level, option.name, input);
  }

  accepts(option: Option): void {
    if (option.level === L.SOL_IPV6 && option.name === L.IPV6_V6ONLY && this.#core.port !== 0) {
      throw new NetError('EINVAL', 'setsockopt');
    }
  }

  readOption(option: Option): OptionValue | undefined {
    if (option.level === L.SOL_SOCKET) {
      const isBuffer = option.name === L.SO_RCVBUF || option.name === L.SO_SNDBUF;
      if (isBuffer) return this.options.get(option) ?? DATAGRAM_BUFFER;
      if (option.name === L.SO_MEMINFO) return this.#memory();
    }
    if (!isMtu(option)) return undefined;
    const path = this.#core.isConnected ? this.#shared.stack.ip.path(this.#core.remote, this.#core.local) : null;
    if (path === null) throw new NetError('ENOTCONN', 'getsockopt');
    return path.mtu;
  }

  #memory(): number[] {
    const { options } = this;
    const receive = options.number(L.SOL_SOCKET, L.SO_RCVBUF) || DATAGRAM_BUFFER;
    const send = options.number(L.SOL_SOCKET, L.SO_SNDBUF) || DATAGRAM_BUFFER;
    return [Math.max(0, this.#core.peekLength()), receive, 0, send, 0, 0, 0, 0, 0];
  }
}

/** The address that IP_PKTINFO names; that of a link is the one of its interface. Null: none. */
function senderOf({ address, ifindex }: PacketInfo): IpAddress | null {
  if (address.isUnspecified) return null;
  return address.lacksZone && ifindex > 0 ? address.withZone(ifindex) : address;
}

interface Target {
  readonly address: IpAddress;
  readonly port: number;
}
