/** System calls on real sockets, through koffi: what returns at once directly, what may wait in a thread. @module */
import { constants } from 'node:os';
import koffi from 'koffi';
import { type ErrorCode, NetError } from '../../src/errors.ts';

const NAMES = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));
NAMES.set(constants.errno.EAGAIN, 'EAGAIN'); // which EWOULDBLOCK is too
NAMES.set(constants.errno.EOPNOTSUPP, 'EOPNOTSUPP');

type Argument = number | Uint8Array | null;

interface CFunction {
  (...args: Argument[]): number;
  async(...args: [...Argument[], (error: Error | null, result: number) => void]): void;
}

const library = koffi.load(null);
const declare = (prototype: string): CFunction => library.func(prototype) as unknown as CFunction;

const FUNCTIONS = {
  socket: declare('int socket(int, int, int)'),
  bind: declare('int bind(int, void *, uint32_t)'),
  listen: declare('int listen(int, int)'),
  accept4: declare('int accept4(int, void *, void *, int)'),
  connect: declare('int connect(int, void *, uint32_t)'),
  shutdown: declare('int shutdown(int, int)'),
  close: declare('int close(int)'),
  fcntl: declare('int fcntl(int, int, long)'),
  ioctl: declare('int ioctl(int, unsigned long, void *)'),
  setsockopt: declare('int setsockopt(int, int, int, void *, uint32_t)'),
  getsockopt: declare('int getsockopt(int, int, int, void *, void *)'),
  read: declare('int64_t read(int, void *, size_t)'),
  write: declare('int64_t write(int, void *, size_t)'),
  sendto: declare('int64_t sendto(int, void *, size_t, int, void *, uint32_t)'),
  recvfrom: declare('int64_t recvfrom(int, void *, size_t, int, void *, void *)'),
  sendmsg: declare('int64_t sendmsg(int, void *, int)'),
  recvmsg: declare('int64_t recvmsg(int, void *, int)'),
  epoll_create1: declare('int epoll_create1(int)'),
  epoll_ctl: declare('int epoll_ctl(int, int, int, void *)'),
  epoll_wait: declare('int epoll_wait(int, void *, int, int)'),
  poll: declare('int poll(void *, unsigned long, int)'),
};
export type CallName = keyof typeof FUNCTIONS;

/** @throws NetError where `result` says that the call failed */
function checked(name: CallName, result: number): number {
  if (result >= 0) return result;
  const errno = koffi.errno();
  throw new NetError((NAMES.get(errno) ?? `errno ${errno}`) as ErrorCode, name);
}

/** A call that returns at once. */
export const call = (name: CallName, ...args: Argument[]): number => checked(name, FUNCTIONS[name](...args));

/** A call that may wait: in a thread, so that the script goes on. */
export function callWaiting(name: CallName, ...args: Argument[]): Promise<number> {
  return new Promise((resolve, reject) => {
    FUNCTIONS[name].async(...args, (error, result) => {
      try {
        if (error !== null) throw error;
        resolve(checked(name, Number(result))); // errno is that of the thread in here only
      } catch (failure) {
        reject(failure);
      }
    });
  });
}

/** Where bytes lie, for structures that point to others. */
export const addressOf = (bytes: Uint8Array): bigint => koffi.address(bytes);
