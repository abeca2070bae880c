/**
 * Watches an interface of Linux as tcpdump does: packet(7) sockets that see what comes and what goes, with the kernel's
 * own time of each packet, and what it had to drop. Packets come from a ring that the kernel shares, or where it has none in
 * batches. @module
 */
import { NetError } from '../errors.ts';
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from '../wire/link-type.ts';
import { checkName, InterfaceControl, Struct } from './ifreq.ts';
import * as c from './libc.ts';
import { PacketBatches } from './packet-batches.ts';
import { PacketRing } from './packet-ring.ts';
import { bindPacketSocket, openRawSocket, setPromiscuous, setSocketOption } from './packet-socket.ts';
import { type PacketSource, type SeenPacket, SOL_PACKET } from './packet-source.ts';

export type { SeenPacket };

// linux/if_packet.h, asm-generic/socket.h, linux/if_arp.h
const PACKET_STATISTICS = 6;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const ARPHRD_ETHER = 1;
const ARPHRD_LOOPBACK = 772;

/** What the kernel may queue where there is no ring. Without the privilege its default serves. */
const RECEIVE_BUFFER_BYTES = 16 << 20;

export interface PacketCaptureOptions {
  /** The interface to watch, like `eth0`. */
  readonly interface: string;
  /** Whether to see frames for every Ethernet address. Default true. */
  readonly promiscuous?: boolean;
  /** Whether to share a ring with the kernel, where it can. Default true. */
  readonly ring?: boolean;
}

/** What the kernel counted since the capture began. */
export interface CaptureCounts {
  /** Packets that came to the socket, those dropped among them. */
  readonly received: number;
  /** Of them, those for which there was no room. */
  readonly dropped: number;
}

/** A capture under way. */
export class PacketCapture {
  readonly name: string;
  /** What packets begin with: LINKTYPE_ETHERNET or LINKTYPE_RAW. */
  readonly linkType: number;
  /** Whether packets come from a ring. */
  readonly isRing: boolean;
  readonly #libc: c.Libc;
  readonly #fd: number;
  readonly #watch: c.Watch;
  readonly #source: PacketSource;
  #received = 0;
  #dropped = 0;
  #closed = false;

  /** @internal */
  constructor(libc: c.Libc, fd: number, source: PacketSource, name: string, linkType: number) {
    this.name = name;
    this.linkType = linkType;
    this.isRing = source instanceof PacketRing;
    this.#libc = libc;
    this.#fd = fd;
    this.#source = source;
    this.#watch = libc.watch(fd);
  }

  /**
   * Calls `take` for each packet from now on, until {@link close}.
   * @param batch - called behind the packets of one turn
   * @param failed - called once where the interface went away; the capture is closed then
   */
  start(take: (packet: SeenPacket) => void, batch: () => void, failed: (error: NetError) => void): void {
    this.#watch.start(() => {
      const error = this.#errorOf(this.#source.drain(take));
      if (!this.#closed) batch();
      if (error === null) return;
      this.close();
      failed(error);
    });
  }

  /** What the kernel counted; also after {@link close}, as it was then. */
  counts(): CaptureCounts {
    if (!this.#closed) this.#count();
    return { received: this.#received, dropped: this.#dropped };
  }

  /** Ends the capture; may be called from `take`. */
  close(): void {
    if (this.#closed) return;
    this.#count();
    this.#closed = true;
    this.#watch.close();
    this.#source.close();
    this.#libc.close(this.#fd);
  }

  /** struct tpacket_stats: u32 packets, u32 drops; reading sets both to zero. */
  #count(): void {
    const stats = new Struct(this.#libc, 16);
    stats.dv.setUint32(8, 8, true); // the length, behind it
    if (this.#libc.getsockopt(this.#fd, SOL_PACKET, PACKET_STATISTICS, stats.address, stats.address + 8) < 0) return;
    this.#received += stats.dv.getUint32(0, true);
    this.#dropped += stats.dv.getUint32(4, true);
  }

  #errorOf(errno: number): NetError | null {
    if (errno === 0) return null;
    const detail = errno === c.ENETDOWN ? `interface ${this.name} went down` : `cannot read (errno ${errno})`;
    return new NetError(c.codeOf(errno), 'capture', { detail });
  }
}

/**
 * Begins to watch an interface that is up: Ethernet, loopback, or one of plain IP packets.
 * @throws NetError EPERM, ENODEV (no such interface), EINVAL (bad name), ENOSYS (koffi is not installed)
 * @example
 * const capture = await openPacketCapture({ interface: 'eth0' });
 * capture.start((packet) => count++, () => {}, (error) => console.error(error.message));
 */
export async function openPacketCapture(options: PacketCaptureOptions): Promise<PacketCapture> {
  const syscall = 'openPacketCapture';
  const name = options.interface;
  checkName(name, syscall);
  const libc = await c.loadLibc();
  const control = new InterfaceControl(libc, name, syscall);
  let fd = -1;
  let source: PacketSource | null = null;
  try {
    const index = control.index();
    if (index === 0) {
      throw new NetError('ENODEV', syscall, { detail: `no interface ${name}: ip link shows which exist` });
    }
    const hardware = control.hardwareType();
    const isEthernet = hardware === ARPHRD_ETHER || hardware === ARPHRD_LOOPBACK;
    fd = openRawSocket(libc, syscall);
    source = options.ring === false ? null : PacketRing.open(libc, fd);
    source ??= new PacketBatches(libc, fd);
    setSocketOption(libc, fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES);
    bindPacketSocket(libc, fd, index, name, syscall);
    if ((options.promiscuous ?? true) && hardware === ARPHRD_ETHER) setPromiscuous(libc, fd, index, name, syscall);
    return new PacketCapture(libc, fd, source, name, isEthernet ? LINKTYPE_ETHERNET : LINKTYPE_RAW);
  } catch (error) {
    source?.close();
    if (fd >= 0) libc.close(fd);
    throw error;
  } finally {
    control.close();
  }
}
