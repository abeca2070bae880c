/**
 * Packet sockets, packet(7): Ethernet frames of an interface that Linux uses too. With PACKET_VNET_HDR, since a frame
 * from this machine itself (a veth pair, a bridge) has no checksum yet and may be a super-segment. @module
 */
import { NetError } from '../errors.ts';
import type { MacAddress } from '../wire/address.ts';
import { FdDevice, type FdDeviceOptions } from './fd-device.ts';
import { checkName, InterfaceControl, Struct } from './ifreq.ts';
import * as c from './libc.ts';

// linux/if_packet.h, linux/if_ether.h, linux/socket.h, asm-generic/socket.h
const ETH_P_ALL = 0x0003;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_STATISTICS = 6;
const PACKET_VNET_HDR = 15;
const PACKET_IGNORE_OUTGOING = 23;
const PACKET_MR_PROMISC = 1;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;

/** What the kernel may queue for us: some 5000 full frames. Without the privilege its default serves. */
const RECEIVE_BUFFER_BYTES = 8 << 20;

export interface PacketSocketOptions {
  /** The interface to share, like `eth0`. */
  readonly interface: string;
  /** Whether to get frames for every Ethernet address: needed for a stack that has one of its own. Default true. */
  readonly promiscuous?: boolean;
  /** Whether to see too what this machine sends through the interface, as a sniffer does. Default false. */
  readonly outgoing?: boolean;
  /** Whether to hand super-segments to the interface too; it may always give some. Default true. */
  readonly offload?: boolean;
}

/** What the kernel did with frames for a packet socket. */
export interface PacketSocketStats {
  /** Frames seen, those below included. */
  readonly packets: number;
  /** Frames dropped because nobody had read those before them. */
  readonly drops: number;
}

/**
 * An open packet socket. It sees what arrives at the interface, and where asked what Linux sends through it; what it
 * transmits itself goes out as it is, and is never seen.
 */
export class PacketSocketDevice extends FdDevice {
  readonly name: string;
  /** The interface's Ethernet address, which Linux's own stack answers to. */
  readonly hostMac: MacAddress;
  readonly #libc: c.Libc;
  readonly #fd: number;
  #packets = 0;
  #drops = 0;
  #isClosed = false;

  constructor(options: FdDeviceOptions, name: string, hostMac: MacAddress) {
    super(options);
    this.name = name;
    this.hostMac = hostMac;
    this.#libc = options.libc;
    this.#fd = options.fd;
  }

  /** What the kernel has counted since the socket was opened; from its close on what was asked for last. */
  kernelStats(): PacketSocketStats {
    if (!this.#isClosed) this.#readStats();
    return { packets: this.#packets, drops: this.#drops };
  }

  /** struct tpacket_stats: u32 packets, u32 drops; the kernel begins anew after each look. */
  #readStats(): void {
    const answer = new Struct(this.#libc, 12);
    answer.dv.setUint32(8, 8, true);
    const { address } = answer;
    if (this.#libc.getsockopt(this.#fd, SOL_PACKET, PACKET_STATISTICS, address, address + 8) < 0) return;
    this.#packets += answer.dv.getUint32(0, true);
    this.#drops += answer.dv.getUint32(4, true);
  }

  override close(): void {
    if (!this.#isClosed) this.#readStats();
    this.#isClosed = true;
    super.close();
  }
}

/**
 * Opens a packet socket on an existing Ethernet interface that is up.
 * @throws NetError EPERM, ENODEV (no such interface), EINVAL (bad name), ENOSYS (koffi is not installed)
 */
export async function openPacketSocket(options: PacketSocketOptions): Promise<PacketSocketDevice> {
  const syscall = 'openPacketSocket';
  const name = options.interface;
  checkName(name, syscall);
  const libc = await c.loadLibc();
  const control = new InterfaceControl(libc, name, syscall);
  let fd = -1;
  try {
    const index = control.index();
    if (index === 0)
      throw new NetError('ENODEV', syscall, { detail: `no interface ${name}: ip link shows which exist` });
    fd = openRawSocket(libc, syscall);
    bindPacketSocket(libc, fd, index, name, syscall);
    if (options.outgoing !== true) setSocketOption(libc, fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    setSocketOption(libc, fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES);
    if (options.promiscuous ?? true) setPromiscuous(libc, fd, index, name, syscall);
    const vnet = setSocketOption(libc, fd, SOL_PACKET, PACKET_VNET_HDR, 1);
    const offload = vnet && (options.offload ?? true);
    const device = { libc, fd, medium: 'ethernet', mtu: control.mtu(), offload, vnet } as const;
    return new PacketSocketDevice(device, name, control.mac());
  } catch (error) {
    if (fd >= 0) libc.close(fd);
    throw error;
  } finally {
    control.close();
  }
}

/** A socket that gets nothing before it is bound; shared with the capture. */
export function openRawSocket(libc: c.Libc, syscall: string): number {
  // Protocol 0: nothing arrives before bind names interface and protocol.
  const fd = libc.socket(c.AF_PACKET, c.SOCK_RAW | c.SOCK_NONBLOCK | c.SOCK_CLOEXEC, 0);
  if (fd >= 0) return fd;
  const errno = libc.errno();
  if (errno === c.EPERM || errno === c.EACCES) {
    throw new NetError('EPERM', syscall, {
      detail: 'no permission to open a packet socket: run as root or with CAP_NET_RAW',
    });
  }
  throw new NetError(c.codeOf(errno), syscall, { detail: `cannot open a packet socket (errno ${errno})` });
}

/** struct sockaddr_ll: u16 family, u16 protocol in network order, i32 interface. */
export function bindPacketSocket(libc: c.Libc, fd: number, index: number, name: string, syscall: string): void {
  const address = new Struct(libc, 20);
  address.dv.setUint16(0, c.AF_PACKET, true);
  address.dv.setUint16(2, ETH_P_ALL);
  address.dv.setInt32(4, index, true);
  if (libc.bind(fd, address.address, 20) >= 0) return;
  const errno = libc.errno();
  const detail =
    errno === c.ENETDOWN ? `interface ${name} is down: ip link set ${name} up` : `cannot use ${name} (errno ${errno})`;
  throw new NetError(c.codeOf(errno), syscall, { detail });
}

/** struct packet_mreq: i32 interface, u16 type, u16 address length, u8 address[8]. */
export function setPromiscuous(libc: c.Libc, fd: number, index: number, name: string, syscall: string): void {
  const request = new Struct(libc, 16);
  request.dv.setInt32(0, index, true);
  request.dv.setUint16(4, PACKET_MR_PROMISC, true);
  if (libc.setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, request.address, 16) >= 0) return;
  const errno = libc.errno();
  throw new NetError(c.codeOf(errno), syscall, {
    detail: `interface ${name} does not become promiscuous (errno ${errno})`,
  });
}

/** Sets an integer option; false where the kernel does not know or allow it. */
export function setSocketOption(libc: c.Libc, fd: number, level: number, option: number, value: number): boolean {
  const argument = new Struct(libc, 4);
  argument.dv.setInt32(0, value, true);
  return libc.setsockopt(fd, level, option, argument.address, 4) >= 0;
}
