/**
 * The few functions of libc the Linux devices need, through the optional package koffi, loaded at first use. Addresses
 * are plain numbers, so that a call makes no view and no object: 0.17 us a call, 0.6 us a TUN read. @module
 */
import { type ErrorCode, NetError } from '../errors.ts';

// asm-generic/fcntl.h, sys/socket.h, poll.h
export const O_RDWR = 0x2;
export const O_NONBLOCK = 0x800;
export const O_CLOEXEC = 0x80000;
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_PACKET = 17;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_SEQPACKET = 5;
export const SOCK_NONBLOCK = O_NONBLOCK;
export const SOCK_CLOEXEC = O_CLOEXEC;
export const POLLIN = 1;

// sys/mman.h
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MAP_FAILED = 2n ** 64n - 1n;

// asm-generic/errno-base.h, asm-generic/errno.h
export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const ENXIO = 6;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EBUSY = 16;
export const ENODEV = 19;
export const EINVAL = 22;
export const EBADFD = 77;
export const EMSGSIZE = 90;
export const ENOPROTOOPT = 92;
export const EADDRNOTAVAIL = 99;
export const ENETDOWN = 100;
export const ENOBUFS = 105;

const CODES: Readonly<Record<number, ErrorCode>> = {
  [EPERM]: 'EPERM',
  [ENOENT]: 'ENOENT',
  [EBADF]: 'EBADF',
  [EAGAIN]: 'EAGAIN',
  [ENOMEM]: 'ENOMEM',
  [EACCES]: 'EACCES',
  [EBUSY]: 'EBUSY',
  [ENODEV]: 'ENODEV',
  [ENXIO]: 'ENODEV',
  [EBADFD]: 'ENODEV', // what a TUN descriptor gives once its interface was deleted
  [EINVAL]: 'EINVAL',
  [EMSGSIZE]: 'EMSGSIZE',
  [ENOPROTOOPT]: 'ENOPROTOOPT',
  [EADDRNOTAVAIL]: 'EADDRNOTAVAIL',
  [ENOBUFS]: 'ENOBUFS',
};

/** The name of an errno; the few that no caller tells apart come out as EINVAL. */
export const codeOf = (errno: number): ErrorCode => CODES[errno] ?? 'EINVAL';

/** An event source of Node's own loop (uv_poll): no thread, and the process stays alive while one is started. */
export interface Watch {
  start(readable: () => void): void;
  stop(): void;
  /** Must come before the descriptor is closed. */
  close(): void;
  ref(): void;
  unref(): void;
}

/**
 * System calls as C has them: -1 on failure, then {@link Libc.errno} at once. Every `address` is a pointer as a number:
 * {@link Libc.address} of an array, plus an offset.
 */
export interface Libc {
  open(path: string, flags: number): number;
  close(fd: number): number;
  readv(fd: number, vector: number, count: number): number;
  write(fd: number, address: number, length: number): number;
  writev(fd: number, vector: number, count: number): number;
  poll(pollfd: number, count: number, timeoutMs: number): number;
  /** `argument` is an address or a plain value, as the request wants it. */
  ioctl(fd: number, request: number, argument: number): number;
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: number, length: number): number;
  setsockopt(fd: number, level: number, name: number, address: number, length: number): number;
  /** `length` is the address of the room there is, a u32, which the kernel changes. */
  getsockopt(fd: number, level: number, name: number, address: number, length: number): number;
  /** `vector` is where `count` struct mmsghdr stand; returns how many were filled. */
  recvmmsg(fd: number, vector: number, count: number, flags: number, timeout: number): number;
  connect(fd: number, address: number, length: number): number;
  recv(fd: number, address: number, length: number, flags: number): number;
  /** `offset` is the address of an i64, where to read from, which the kernel moves on. */
  sendfile(to: number, from: number, offset: number, length: number): number;
  socketpair(domain: number, type: number, protocol: number, fds: number): number;
  /** `message` is where a struct msghdr stands. */
  sendmsg(fd: number, message: number, flags: number): number;
  recvmsg(fd: number, message: number, flags: number): number;
  /** Memory that the kernel shares through `fd`; null: it does not. To be given back to {@link unmap}, then never touched. */
  map(fd: number, length: number): Uint8Array | null;
  unmap(bytes: Uint8Array): void;
  mount(source: string, target: string, type: string, flags: number, data: number): number;
  umount2(target: string, flags: number): number;
  /** `handler`: 0, the default; 1, ignored. */
  signal(signal: number, handler: number): number;
  /** `info` is where a siginfo_t goes. */
  waitid(type: number, id: number, info: number, options: number): number;
  /** _exit(2): at once, nothing is done before. */
  exit(code: number): never;
  errno(): number;
  /** Where the first byte of `bytes` lies; stable as long as the array lives. */
  address(bytes: Uint8Array): number;
  /** Watches `fd` from now on, not yet started. */
  watch(fd: number): Watch;
}

/** What is used of koffi 3.3: its own types would make every user install it. */
interface Koffi {
  load(path: string | null): { func(prototype: string): (...values: never[]) => unknown };
  address(value: Uint8Array): bigint;
  errno(): number;
  /** Memory that is not the engine's. */
  view(pointer: bigint, length: number): ArrayBuffer;
  node: { poll(fd: number, readable: () => void): Watch };
}

let loaded: Promise<Libc> | undefined;

/**
 * Loads koffi and binds the functions, once a process (or worker).
 * @throws NetError ENOSYS where koffi is not installed or this is not Linux.
 */
export function loadLibc(): Promise<Libc> {
  loaded ??= bindLibc();
  return loaded;
}

async function bindLibc(): Promise<Libc> {
  if (process.platform !== 'linux') {
    throw new NetError('ENOSYS', 'load', { detail: `ethertype/linux needs Linux, this is ${process.platform}` });
  }
  const koffi = await importKoffi();
  const library = koffi.load(null); // the process itself: whichever libc Node runs on
  const bind = <F>(prototype: string): F => library.func(prototype) as F;
  const mmap = bind<
    (address: number, length: number, protection: number, flags: number, fd: number, at: number) => number | bigint
  >('uintptr_t mmap(uintptr_t, size_t, int, int, int, int64_t)');
  const munmap = bind<(address: number, length: number) => number>('int munmap(uintptr_t, size_t)');
  return {
    map: (fd, length) => {
      const address = BigInt(mmap(0, length, PROT_READ_WRITE, MAP_SHARED, fd, 0));
      return address === MAP_FAILED ? null : new Uint8Array(koffi.view(address, length));
    },
    unmap: (bytes) => void munmap(Number(koffi.address(bytes)), bytes.length),
    open: bind<Libc['open']>('int open(const char *, int)'),
    close: bind<Libc['close']>('int close(int)'),
    readv: bind<Libc['readv']>('int64_t readv(int, uintptr_t, int)'),
    write: bind<Libc['write']>('int64_t write(int, uintptr_t, size_t)'),
    writev: bind<Libc['writev']>('int64_t writev(int, uintptr_t, int)'),
    poll: bind<Libc['poll']>('int poll(uintptr_t, unsigned long, int)'),
    ioctl: bind<Libc['ioctl']>('int ioctl(int, unsigned long, uintptr_t)'),
    socket: bind<Libc['socket']>('int socket(int, int, int)'),
    bind: bind<Libc['bind']>('int bind(int, uintptr_t, uint32_t)'),
    setsockopt: bind<Libc['setsockopt']>('int setsockopt(int, int, int, uintptr_t, uint32_t)'),
    getsockopt: bind<Libc['getsockopt']>('int getsockopt(int, int, int, uintptr_t, uintptr_t)'),
    recvmmsg: bind<Libc['recvmmsg']>('int recvmmsg(int, uintptr_t, unsigned int, int, uintptr_t)'),
    connect: bind<Libc['connect']>('int connect(int, uintptr_t, uint32_t)'),
    recv: bind<Libc['recv']>('int64_t recv(int, uintptr_t, size_t, int)'),
    sendfile: bind<Libc['sendfile']>('int64_t sendfile(int, int, uintptr_t, size_t)'),
    socketpair: bind<Libc['socketpair']>('int socketpair(int, int, int, uintptr_t)'),
    sendmsg: bind<Libc['sendmsg']>('int64_t sendmsg(int, uintptr_t, int)'),
    recvmsg: bind<Libc['recvmsg']>('int64_t recvmsg(int, uintptr_t, int)'),
    mount: bind<Libc['mount']>('int mount(const char *, const char *, const char *, unsigned long, uintptr_t)'),
    umount2: bind<Libc['umount2']>('int umount2(const char *, int)'),
    signal: bind<Libc['signal']>('intptr_t signal(int, intptr_t)'),
    waitid: bind<Libc['waitid']>('int waitid(int, uint32_t, uintptr_t, int)'),
    exit: bind<Libc['exit']>('void _exit(int)'),
    errno: () => koffi.errno(),
    address: (bytes) => Number(koffi.address(bytes)),
    watch: (fd) => {
      const watch = koffi.node.poll(fd, () => {}); // starts at once
      watch.stop();
      return watch;
    },
  };
}

async function importKoffi(): Promise<Koffi> {
  const name = 'koffi'; // not a literal: bundlers and type checkers shall not look for an optional package
  let koffi: Koffi;
  try {
    koffi = ((await import(name)) as { default: Koffi }).default;
  } catch (cause) {
    const why =
      (cause as { code?: string }).code === 'ERR_MODULE_NOT_FOUND' ? 'is not installed' : 'does not load here';
    const detail = `the optional package koffi ${why}; ethertype/linux calls the kernel through it: npm install koffi`;
    throw Object.assign(new NetError('ENOSYS', 'load', { detail }), { cause });
  }
  if (typeof koffi.node?.poll !== 'function') {
    throw new NetError('ENOSYS', 'load', { detail: 'koffi is older than 3.3: npm install koffi@latest' });
  }
  return koffi;
}
