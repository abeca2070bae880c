/**
 * TUN and TAP interfaces (Documentation/networking/tuntap.rst): a wire whose other end is Linux's own stack. With
 * offload, TCP crosses it in super-segments of up to 64 KiB and checksums stay unmade. @module
 */
import { NetError } from '../errors.ts';
import { MacAddress } from '../wire/address.ts';
import { FdDevice, type FdDeviceOptions } from './fd-device.ts';
import { checkName, IFREQ_VALUE, InterfaceControl, ifreq, ifreqName, parseHostAddresses, Struct } from './ifreq.ts';
import * as c from './libc.ts';
import { VNET_LENGTH } from './vnet.ts';

const DEVICE = '/dev/net/tun';

// linux/if_tun.h
const TUNSETIFF = 0x400454ca;
const TUNGETFEATURES = 0x800454cf;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETVNETHDRSZ = 0x400454d8;
const IFF_TUN = 0x0001;
const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_TSO_ECN = 0x08;

/** Queues of one interface at most; the kernel takes 256 (MAX_TAP_QUEUES). */
const QUEUES_MAX = 64;

export interface TunOptions {
  /** The interface's name, at most 15 bytes; made if it does not exist. A `%d` in it becomes the first free number. */
  readonly name: string;
  /** The largest IP packet, set on the interface; without it the interface's own (1500 for a new one). */
  readonly mtu?: number;
  /** Super-segments and partial checksums, both ways. Default true. */
  readonly offload?: boolean;
  /** Addresses of the Linux side, like `10.0.0.1/24`: at most one IPv4 and any number of IPv6. */
  readonly hostAddress?: string | readonly string[];
  /** Whether to bring the interface up. Default: if this call made it. */
  readonly up?: boolean;
}

/** An open TUN or TAP interface. One that this made disappears with {@link TunDevice.close}. */
export class TunDevice extends FdDevice {
  readonly name: string;
  /** The Linux side's own Ethernet address; null for TUN. The stack must use another one. */
  readonly hostMac: MacAddress | null;

  constructor(options: FdDeviceOptions, name: string, hostMac: MacAddress | null) {
    super(options);
    this.name = name;
    this.hostMac = hostMac;
  }
}

/**
 * Opens a TUN interface: IP packets without a link layer.
 * @throws NetError EPERM, EBUSY (another process has it), EINVAL (bad name, or one of another kind), ENOENT (no TUN driver),
 *   ENOSYS (koffi is not installed)
 * @example
 * const device = await openTun({ name: 'tun0', hostAddress: '10.0.0.1/24' });
 * const host = createHost({ device, addresses: ['10.0.0.2/24'] });
 */
export function openTun(options: TunOptions): Promise<TunDevice> {
  return open('openTun', IFF_TUN, options);
}

/** Opens a TAP interface: Ethernet frames; otherwise as {@link openTun}. */
export function openTap(options: TunOptions): Promise<TunDevice> {
  return open('openTap', IFF_TAP, options);
}

async function open(syscall: string, kind: number, options: TunOptions): Promise<TunDevice> {
  const [queue] = await openQueues(syscall, kind, options, 1);
  return attachTunQueue(queue!);
}

export interface TunQueuesOptions extends TunOptions {
  /** How many, 1 to 64. */
  readonly queues: number;
}

/** One queue of a TUN interface, not yet a device: plain values, which `postMessage` and `workerData` take. */
export interface TunQueue {
  /** The descriptor; of the process, so that any of its threads may use it. */
  readonly fd: number;
  readonly name: string;
  readonly medium: 'ethernet' | 'ip';
  readonly mtu: number;
  readonly offload: boolean;
  readonly vnet: boolean;
  readonly hostMac: string | null;
}

/**
 * Opens a TUN interface with several queues (IFF_MULTI_QUEUE), for a stack a thread. Linux spreads flows over them by
 * a hash of addresses and ports that is the same in both directions, and answers a flow on the queue that last sent for
 * it; so whatever Linux begins stays on one queue. A flow that a stack here begins is answered there while something
 * passes at least every 3 seconds, and then by the hash: queues are for servers. An ICMP error has another hash than
 * the flow it is about, and so may reach another stack.
 *
 * Each queue is to be made a device with {@link attachTunQueue}, once, in the thread that has its stack; closing that
 * closes the queue. While one is open but not read, the flows Linux gives it are lost.
 * @returns as many as asked for, the interface up only when all are there
 * @throws RangeError for a number of queues out of its range
 * @throws NetError as {@link openTun}; EINVAL also where the interface exists and has one queue
 * @example
 * const queues = await openTunQueues({ name: 'tun0', queues: 2, hostAddress: '10.0.0.1/24' });
 * for (const queue of queues) new Worker('./stack.js', { workerData: queue });
 * // in each worker: const host = createHost({ device: await attachTunQueue(workerData), addresses: ['10.0.0.2/24'] });
 */
export async function openTunQueues(options: TunQueuesOptions): Promise<TunQueue[]> {
  const { queues } = options;
  if (!(Number.isInteger(queues) && queues >= 1 && queues <= QUEUES_MAX)) {
    throw new RangeError(`openTunQueues: queues: expected 1 to ${QUEUES_MAX}, got ${queues}`);
  }
  return openQueues('openTunQueues', IFF_TUN, options, queues);
}

/**
 * Makes a device of a queue, which it owns from now on.
 * @throws NetError ENOSYS (koffi is not installed)
 */
export async function attachTunQueue(queue: TunQueue): Promise<TunDevice> {
  const { fd, medium, mtu, offload, vnet, name, hostMac } = queue;
  const libc = await c.loadLibc();
  const mac = hostMac === null ? null : MacAddress.parse(hostMac);
  return new TunDevice({ libc, fd, medium, mtu, offload, vnet }, name, mac);
}

/** Opens a TAP interface as {@link openTap} does, for another process to make a device of. */
export async function openTapQueue(options: TunOptions): Promise<TunQueue> {
  const [queue] = await openQueues('openTap', IFF_TAP, options, 1);
  return queue!;
}

async function openQueues(syscall: string, kind: number, options: TunOptions, count: number): Promise<TunQueue[]> {
  checkName(options.name, syscall);
  const addresses = parseHostAddresses(options.hostAddress, syscall);
  const libc = await loadAndCheck(syscall, options);
  const existed = exists(libc, options.name, syscall);
  const flags = kind | (count > 1 ? IFF_MULTI_QUEUE : 0);
  const fds: number[] = [];
  let control: InterfaceControl | undefined;
  try {
    let { name } = options;
    let vnet = false;
    while (fds.length < count) {
      const fd = openDriver(libc, syscall);
      fds.push(fd);
      ({ name, vnet } = claim(libc, fd, flags, name, existed, syscall));
    }
    const offload = vnet && setOffload(libc, fds[0]!, options.offload ?? true);
    control = new InterfaceControl(libc, name, syscall);
    if (options.mtu !== undefined && options.mtu !== control.mtu()) control.setMtu(options.mtu);
    for (const address of addresses) control.setAddress(address);
    if ((options.up ?? !existed) && !control.isUp()) control.setUp();
    const medium = kind === IFF_TAP ? 'ethernet' : 'ip';
    const hostMac = kind === IFF_TAP ? String(control.mac()) : null;
    const mtu = control.mtu();
    return fds.map((fd) => ({ fd, name, medium, mtu, offload, vnet, hostMac }));
  } catch (error) {
    for (const fd of fds) libc.close(fd);
    throw error;
  } finally {
    control?.close();
  }
}

function loadAndCheck(syscall: string, { mtu }: TunOptions): Promise<c.Libc> {
  if (mtu !== undefined && !(Number.isInteger(mtu) && mtu >= 68 && mtu <= 65535)) {
    throw new RangeError(`${syscall}: mtu: expected 68 to 65535 bytes, got ${mtu}`);
  }
  return c.loadLibc();
}

function exists(libc: c.Libc, name: string, syscall: string): boolean {
  const control = new InterfaceControl(libc, name, syscall);
  const index = control.index();
  control.close();
  return index !== 0;
}

function openDriver(libc: c.Libc, syscall: string): number {
  const fd = libc.open(DEVICE, c.O_RDWR | c.O_NONBLOCK | c.O_CLOEXEC);
  if (fd >= 0) return fd;
  const errno = libc.errno();
  if (errno === c.EPERM || errno === c.EACCES) {
    const detail = `no permission to open ${DEVICE}: run as root, or give the user the interface with ip tuntap add`;
    throw new NetError('EPERM', syscall, { detail });
  }
  if (errno === c.ENOENT || errno === c.ENODEV || errno === c.ENXIO) {
    const detail = `no ${DEVICE}: load the driver with modprobe tun, or pass the device into the container`;
    throw new NetError('ENOENT', syscall, { detail });
  }
  throw new NetError(c.codeOf(errno), syscall, { detail: `cannot open ${DEVICE} (errno ${errno})` });
}

const setInterface = (libc: c.Libc, fd: number, name: string, flags: number): { result: number; name: string } => {
  const request = ifreq(libc, name);
  request.dv.setUint16(IFREQ_VALUE, flags | IFF_NO_PI, true);
  return { result: libc.ioctl(fd, TUNSETIFF, request.address), name: ifreqName(request) };
};

/** Ties the descriptor to the interface, which is made if need be. */
function claim(
  libc: c.Libc,
  fd: number,
  flags: number,
  name: string,
  existed: boolean,
  syscall: string,
): { name: string; vnet: boolean } {
  const features = new Struct(libc, 4);
  const known = libc.ioctl(fd, TUNGETFEATURES, features.address) >= 0;
  const vnet = known && (features.dv.getUint32(0, true) & IFF_VNET_HDR) !== 0;
  const claimed = setInterface(libc, fd, name, flags | (vnet ? IFF_VNET_HDR : 0));
  if (claimed.result < 0) {
    const errno = libc.errno();
    throw claimError(libc, fd, flags, name, existed, syscall, errno);
  }
  // A persistent interface may remember another header size from its last owner.
  const size = new Struct(libc, 4);
  size.dv.setInt32(0, VNET_LENGTH, true);
  if (vnet) libc.ioctl(fd, TUNSETVNETHDRSZ, size.address);
  return { name: claimed.name, vnet };
}

function claimError(
  libc: c.Libc,
  fd: number,
  flags: number,
  name: string,
  existed: boolean,
  syscall: string,
  errno: number,
): NetError {
  const kind = flags & (IFF_TUN | IFF_TAP);
  const isMulti = (flags & IFF_MULTI_QUEUE) !== 0;
  const error = (code: 'EPERM' | 'EBUSY' | 'EINVAL', detail: string) => new NetError(code, syscall, { detail });
  const [mine, other] = kind === IFF_TAP ? (['tap', 'tun'] as const) : (['tun', 'tap'] as const);
  if (errno === c.EBUSY)
    return error('EBUSY', `interface ${name} is in use by another process: end that one, or choose another name`);
  if (errno === c.EPERM || errno === c.EACCES) {
    const command = `ip tuntap add mode ${mine} user "$USER" name ${name}`;
    if (existed) return error('EPERM', `no permission for interface ${name}: run as root, or make it with ${command}`);
    return error(
      'EPERM',
      `no permission to make interface ${name}: run as root, or make it beforehand with ${command}`,
    );
  }
  if (errno !== c.EINVAL || !existed) {
    return new NetError(c.codeOf(errno), syscall, { detail: `cannot make interface ${name} (errno ${errno})` });
  }
  // It exists and is something else. Whether it is the other kind is found by trying; closing lets go of it.
  const tried = setInterface(libc, fd, name, flags ^ (IFF_TUN | IFF_TAP));
  if (tried.result >= 0 || libc.errno() === c.EBUSY) {
    const opener = other === 'tap' ? 'openTap' : 'openTun';
    return error(
      'EINVAL',
      `interface ${name} is a ${other} interface, not a ${mine} one: use ${opener} or another name`,
    );
  }
  const has = isMulti ? 'several queues (ip tuntap add ... multi_queue)' : 'one queue';
  return error('EINVAL', `interface ${name} exists and is no TUN or TAP interface of ${has}: choose another name`);
}

/** Says what the device will hand over: super-segments, or only what fits the MTU with its checksums made. */
function setOffload(libc: c.Libc, fd: number, wanted: boolean): boolean {
  const flags = wanted ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN : 0;
  return libc.ioctl(fd, TUNSETOFFLOAD, flags) >= 0 && wanted;
}
