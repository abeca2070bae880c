/** The system calls of scripts, made on Linux's own sockets. @module */
import { readFileSync } from 'node:fs';
import { type EpollEvent, LINUX as L, type OptionInput, type PollFd, type SockAddr } from '../../src/posix/index.ts';
import type { ScriptCalls } from '../../src/sim/drill/scene.ts';
import { addressOf, type CallName, call, callWaiting } from './libc.ts';
import { decodeAddress, decodeOption, encodeAddress, encodeOption, OPTION_MAX, SOCKADDR_MAX } from './structs.ts';

/** Whatever waits goes into a thread, unless the descriptor does not wait. */
function perhapsWaiting(fd: number, name: CallName, ...args: (number | Uint8Array | null)[]): Promise<number> {
  const isPrompt = (call('fcntl', fd, L.F_GETFL, 0) & L.O_NONBLOCK) !== 0;
  return isPrompt ? Promise.resolve(call(name, fd, ...args)) : callWaiting(name, fd, ...args);
}

const lengthWord = (length: number): Uint8Array => new Uint8Array(Int32Array.of(length).buffer);
const wordOf = (bytes: Uint8Array): number => new DataView(bytes.buffer).getInt32(0, true);

// struct msghdr and struct iovec
const MSGHDR = 56;
const MSG_FLAGS = 48;
const IOVEC = 16;

interface MessageBytes {
  readonly header: Uint8Array;
  /** What the header points to: kept as long as the call runs. */
  readonly parts: readonly Uint8Array[];
}

function message(buffers: readonly Uint8Array[], address: Uint8Array | null): MessageBytes {
  const header = new Uint8Array(MSGHDR);
  const vector = new Uint8Array(Math.max(1, buffers.length) * IOVEC);
  const vectorView = new DataView(vector.buffer);
  for (const [i, buffer] of buffers.entries()) {
    vectorView.setBigUint64(i * IOVEC, buffer.length === 0 ? 0n : addressOf(buffer), true);
    vectorView.setBigUint64(i * IOVEC + 8, BigInt(buffer.length), true);
  }
  const dv = new DataView(header.buffer);
  dv.setBigUint64(0, address === null ? 0n : addressOf(address), true);
  dv.setUint32(8, address?.length ?? 0, true);
  dv.setBigUint64(16, addressOf(vector), true);
  dv.setBigUint64(24, BigInt(buffers.length), true);
  return { header, parts: [vector, ...buffers, ...(address === null ? [] : [address])] };
}

async function sendMessage(
  fd: number,
  buffers: readonly Uint8Array[],
  address: SockAddr | null,
  flags: number,
): Promise<number> {
  const bytes = message(buffers, address === null ? null : encodeAddress(address));
  const count = await perhapsWaiting(fd, 'sendmsg', bytes.header, flags);
  return bytes.parts.length > 0 ? count : 0; // the parts live until here
}

async function receiveMessage(fd: number, buffers: readonly Uint8Array[], flags: number) {
  const name = new Uint8Array(SOCKADDR_MAX);
  const bytes = message(buffers, name);
  const count = await perhapsWaiting(fd, 'recvmsg', bytes.header, flags);
  const outFlags = new DataView(bytes.header.buffer).getInt32(MSG_FLAGS, true);
  return { count: bytes.parts.length > 0 ? count : 0, address: null, flags: outFlags, control: [] };
}

async function accept(fd: number, flags = 0) {
  const address = new Uint8Array(SOCKADDR_MAX);
  const accepted = await perhapsWaiting(fd, 'accept4', address, lengthWord(SOCKADDR_MAX), flags);
  return { fd: accepted, address: decodeAddress(address) };
}

async function poll(fds: readonly PollFd[], timeoutMs = -1): Promise<number> {
  const bytes = new Uint8Array(8 * fds.length);
  const dv = new DataView(bytes.buffer);
  for (const [i, { fd, events }] of fds.entries()) {
    dv.setInt32(8 * i, fd, true);
    dv.setInt16(8 * i + 4, events, true);
  }
  const count = await (timeoutMs === 0
    ? call('poll', bytes, fds.length, 0)
    : callWaiting('poll', bytes, fds.length, timeoutMs));
  for (const [i, entry] of fds.entries()) entry.revents = dv.getInt16(8 * i + 6, true);
  return count;
}

async function connect(fd: number, address: SockAddr): Promise<0> {
  const bytes = encodeAddress(address);
  await perhapsWaiting(fd, 'connect', bytes, bytes.length);
  return 0;
}

/** struct epoll_event, packed as on x86-64. */
const EPOLL_EVENT = 12;

async function epollWait(epfd: number, most: number, timeoutMs = -1): Promise<EpollEvent[]> {
  const bytes = new Uint8Array(EPOLL_EVENT * most);
  const dv = new DataView(bytes.buffer);
  const name = 'epoll_wait';
  const count = await (timeoutMs === 0
    ? call(name, epfd, bytes, most, 0)
    : callWaiting(name, epfd, bytes, most, timeoutMs));
  return Array.from({ length: count }, (_, i) => ({
    events: dv.getInt32(EPOLL_EVENT * i, true),
    data: dv.getInt32(EPOLL_EVENT * i + 4, true),
  }));
}

function epollCtl(epfd: number, operation: number, fd: number, event: EpollEvent = { events: 0, data: fd }): 0 {
  const bytes = new Uint8Array(EPOLL_EVENT);
  const dv = new DataView(bytes.buffer);
  dv.setInt32(0, event.events, true);
  dv.setInt32(4, event.data, true);
  call('epoll_ctl', epfd, operation, fd, bytes);
  return 0;
}

const blocking: ScriptCalls['blocking'] = {
  accept,
  connect,
  read: async (fd, buffer) => perhapsWaiting(fd, 'read', buffer, buffer.length),
  readv: async (fd, buffers) => (await receiveMessage(fd, buffers, 0)).count,
  recv: async (fd, buffer, flags = 0) => perhapsWaiting(fd, 'recvfrom', buffer, buffer.length, flags, null, null),
  recvfrom: async (fd, buffer, flags = 0) => ({
    count: await perhapsWaiting(fd, 'recvfrom', buffer, buffer.length, flags, null, null),
    address: null,
  }),
  recvmsg: async (fd, buffers, flags = 0) => receiveMessage(fd, buffers, flags),
  write: async (fd, bytes) => perhapsWaiting(fd, 'write', bytes, bytes.length),
  writev: async (fd, buffers) => sendMessage(fd, buffers, null, 0),
  send: async (fd, bytes, flags = 0) => perhapsWaiting(fd, 'sendto', bytes, bytes.length, flags, null, 0),
  sendto: async (fd, bytes, flags, address) => sendMessage(fd, [bytes], address, flags),
  sendmsg: async (fd, { buffers, address = null }, flags = 0) => sendMessage(fd, buffers, address, flags),
  close: async (fd) => {
    await callWaiting('close', fd); // SO_LINGER waits even where nothing else does
    return 0;
  },
  poll,
  epollWait,
};

function setsockopt(fd: number, level: number, name: number, value: OptionInput): 0 {
  const bytes = encodeOption(value);
  call('setsockopt', fd, level, name, bytes, bytes.length);
  return 0;
}

const CONGESTION = '/proc/sys/net/ipv4/tcp_congestion_control';
const congestionAtFirst = readFileSync(CONGESTION, 'utf8');

/** A namespace cannot make a restricted algorithm its default, but root can choose it for a socket. */
function socket(domain: number, type: number, protocol = 0): number {
  const fd = call('socket', domain, type, protocol);
  const isStream = (type & 0xf) === L.SOCK_STREAM;
  const isChosen = readFileSync(CONGESTION, 'utf8') !== congestionAtFirst; // by the script
  if (isStream && !isChosen) setsockopt(fd, L.SOL_TCP, L.TCP_CONGESTION, 'cubic');
  return fd;
}

/** The calls of a script, on sockets of this process. */
export const linuxCalls: ScriptCalls = {
  socket,
  bind: (fd, address) => {
    const bytes = encodeAddress(address);
    call('bind', fd, bytes, bytes.length);
    return 0;
  },
  listen: (fd, backlog) => {
    call('listen', fd, backlog);
    return 0;
  },
  shutdown: (fd, how) => {
    call('shutdown', fd, how);
    return 0;
  },
  fcntl: (fd, command, argument = 0) => call('fcntl', fd, command, argument),
  ioctl: (fd, request, argument = 0) => {
    const word = lengthWord(argument);
    call('ioctl', fd, request, word);
    return wordOf(word);
  },
  epollCreate: (flags = 0) => call('epoll_create1', flags),
  epollCtl,
  setsockopt,
  getsockopt: (fd, level, name) => {
    const bytes = new Uint8Array(OPTION_MAX);
    const length = lengthWord(OPTION_MAX);
    call('getsockopt', fd, level, name, bytes, length);
    return decodeOption(level, name, bytes.subarray(0, wordOf(length)));
  },
  tcpSocket: () => null,
  blocking,
};
