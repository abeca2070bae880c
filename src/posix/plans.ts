/** The calls that may have to wait, each as a plan that both forms of it run: see waits.ts. @module */
import { NetError } from '../errors.ts';
import { contextOf, type SockAddr } from './address.ts';
import { LINUX as L } from './constants.ts';
import type { Description } from './descriptors.ts';
import type { Reading, Writing } from './message.ts';
import type { PosixSocket } from './socket.ts';
import type { StreamSocket } from './stream.ts';
import type { Plan } from './waits.ts';

/** One entry of poll(): `revents` is written. */
export interface PollFd {
  /** Negative: the entry is passed over. */
  readonly fd: number;
  readonly events: number;
  revents: number;
}

/** How long a call may wait on `description`; 0: O_NONBLOCK. */
const timeoutOf = ({ socket, isNonBlocking }: Description, option: number): number =>
  isNonBlocking ? 0 : socket.options.timeoutMs(option);

export function acceptPlan(description: Description): Plan<StreamSocket> {
  const { socket } = description;
  return {
    sockets: [socket],
    timeoutMs: timeoutOf(description, L.SO_RCVTIMEO),
    attempt: () => socket.accept() ?? undefined,
    late: () => {
      throw new NetError('EAGAIN', 'accept');
    },
  };
}

export function connectPlan(description: Description, to: SockAddr): Plan<0> {
  const { socket } = description;
  const wasConnecting = socket.isConnecting;
  let hasBegun = false;
  return {
    sockets: [socket],
    timeoutMs: timeoutOf(description, L.SO_SNDTIMEO),
    attempt: () => {
      // Whoever waits goes on with what he began: another call may have ended it meanwhile, and nothing begins anew.
      if (hasBegun && socket.isConnected) return 0;
      if (hasBegun && !socket.isConnecting) {
        throw new NetError(socket.takeError() ?? 'ECONNABORTED', 'connect', contextOf(to));
      }
      hasBegun = true;
      return socket.connect(to) ? 0 : undefined;
    },
    late: () => {
      throw new NetError(wasConnecting ? 'EALREADY' : 'EINPROGRESS', 'connect', contextOf(to));
    },
  };
}

export function receivePlan(description: Description, reading: Reading): Plan<Reading> {
  const { socket } = description;
  const timeoutMs = (reading.flags & L.MSG_DONTWAIT) !== 0 ? 0 : timeoutOf(description, L.SO_RCVTIMEO);
  return {
    sockets: [socket],
    timeoutMs,
    attempt: () => (socket.receive(reading) ? reading : undefined),
    late: () => {
      if (reading.count === 0) throw new NetError('EAGAIN', 'recv');
      return reading;
    },
  };
}

export function sendPlan(description: Description, writing: Writing): Plan<number> {
  const { socket } = description;
  const timeoutMs = (writing.flags & L.MSG_DONTWAIT) !== 0 ? 0 : timeoutOf(description, L.SO_SNDTIMEO);
  writing.isBlocking = timeoutMs > 0;
  return {
    sockets: [socket],
    timeoutMs,
    everyTurn: socket.sendsAtOnce,
    attempt: () => (socket.send(writing) ? writing.count : undefined),
    late: () => {
      const begins = socket.isConnecting && (writing.flags & L.MSG_FASTOPEN) !== 0;
      if (writing.count === 0) throw new NetError(begins ? 'EINPROGRESS' : 'EAGAIN', 'send');
      return writing.count;
    },
  };
}

/** @param find - the socket of a descriptor, or null @param timeoutMs - negative: for ever */
export function pollPlan(
  fds: readonly PollFd[],
  timeoutMs: number,
  find: (fd: number) => PosixSocket | null,
): Plan<number> {
  const sockets = fds.map(({ fd }) => (fd < 0 ? null : find(fd)));
  const look = (): number => {
    let count = 0;
    for (const [i, entry] of fds.entries()) {
      entry.revents = eventsOf(entry, sockets[i]!);
      if (entry.revents !== 0) count++;
    }
    return count;
  };
  return {
    sockets: sockets.filter((socket) => socket !== null),
    timeoutMs: timeoutMs < 0 ? Number.POSITIVE_INFINITY : timeoutMs,
    attempt: () => look() || undefined,
    late: look,
  };
}

function eventsOf({ fd, events }: PollFd, socket: PosixSocket | null): number {
  if (fd < 0) return 0;
  if (socket === null) return L.POLLNVAL;
  const found = socket.events() & (events | L.POLLERR | L.POLLHUP);
  if ((events & (L.POLLOUT | L.POLLWRNORM)) !== 0 && (found & L.POLLOUT) === 0) socket.wantRoom();
  return found;
}

/** SO_LINGER of a socket whose descriptor is gone: until all is acknowledged, or the time is over. */
export function closePlan(socket: PosixSocket): Plan<0> {
  const close = (): 0 => {
    socket.close();
    return 0;
  };
  return {
    sockets: [socket],
    // Linux lingers whether the descriptor blocks or not.
    timeoutMs: socket.beginClose() ? socket.options.linger.linger * 1000 : 0,
    attempt: () => (socket.isClosing ? undefined : close()),
    late: close,
  };
}
