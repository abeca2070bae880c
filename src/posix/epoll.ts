/**
 * epoll over the sockets of this layer: sets of descriptors that remember which of them changed, level- and edge-triggered,
 * once or for ever. An edge is a change that a socket reports. Nested sets are refused. @module
 */
import { NetError } from '../errors.ts';
import { LINUX as L } from './constants.ts';
import type { Description } from './descriptors.ts';
import { OptionStore } from './options.ts';
import type { PosixSocket } from './socket.ts';
import type { Call, Plan, Waitable } from './waits.ts';

/** `struct epoll_event`: what is waited for, and a number of the caller's. */
export interface EpollEvent {
  readonly events: number;
  readonly data: number;
}

/** Descriptors of one set; one more is ENOSPC. */
const ENTRIES_MAX = 1 << 16;
/** Bits of the caller that say how, not what. */
const MODES = L.EPOLLET | L.EPOLLONESHOT | L.EPOLLWAKEUP | L.EPOLLEXCLUSIVE;

const refuse = (): never => {
  throw new NetError('ENOTSOCK', 'epoll');
};

class Entry implements Call {
  readonly fd: number;
  readonly socket: PosixSocket;
  wanted: EpollEvent;
  /** Something has changed since it was last told of, or it is asked for anew. */
  isChanged = true;
  readonly #changed: () => void;
  readonly #gone: (entry: Entry) => void;

  constructor(fd: number, socket: PosixSocket, wanted: EpollEvent, changed: () => void, gone: (e: Entry) => void) {
    this.fd = fd;
    this.socket = socket;
    this.wanted = wanted;
    this.#changed = changed;
    this.#gone = gone;
  }

  /** The socket has changed. */
  retry(): void {
    this.isChanged = true;
    this.#changed();
  }

  /** The last descriptor of the socket is closed. */
  fail(): void {
    this.#gone(this);
  }

  /** What is to be told of it now; 0: nothing. */
  look(): number {
    const { events } = this.wanted;
    const what = events & ~MODES;
    if (what === 0 || ((events & L.EPOLLET) !== 0 && !this.isChanged)) return 0;
    const mask = this.socket.events();
    if ((what & L.EPOLLOUT) !== 0 && (mask & L.EPOLLOUT) === 0) this.socket.wantRoom();
    return mask & (what | L.EPOLLERR | L.EPOLLHUP);
  }

  told(): void {
    this.isChanged = false;
    if ((this.wanted.events & L.EPOLLONESHOT) !== 0) this.wanted = { ...this.wanted, events: 0 };
  }
}

/** One set. As a socket it refuses everything. */
export class EpollSet implements PosixSocket {
  readonly domain = 0;
  readonly type = 0;
  readonly protocol = 0;
  readonly isListening = false;
  readonly isConnecting = false;
  readonly isConnected = false;
  readonly isClosing = false;
  readonly sendsAtOnce = false;
  readonly calls = new Set<Call>();
  readonly options = new OptionStore(L.AF_INET, 'datagram');
  /** In the order in which they are told of: who was, goes to the back. */
  readonly #entries = new Map<string, Entry>();
  readonly #serve: (socket: Waitable) => void;

  /** @param serve - lets those that wait for the set try again */
  constructor(serve: (socket: Waitable) => void) {
    this.#serve = serve;
  }

  /** @throws NetError EEXIST, ENOENT, ENOSPC, EINVAL: a set in a set, or another operation */
  control(operation: number, fd: number, { socket }: Description, event: EpollEvent): void {
    if (socket instanceof EpollSet) throw new NetError('EINVAL', 'epoll_ctl');
    const key = `${fd}`;
    const entry = this.#entries.get(key);
    const known = entry?.socket === socket ? entry : undefined;
    if (operation === L.EPOLL_CTL_ADD) this.#add(key, fd, socket, event, known);
    else if (operation !== L.EPOLL_CTL_DEL && operation !== L.EPOLL_CTL_MOD) throw new NetError('EINVAL', 'epoll_ctl');
    else if (known === undefined) throw new NetError('ENOENT', 'epoll_ctl');
    else if (operation === L.EPOLL_CTL_DEL) this.#remove(known);
    else {
      known.wanted = event;
      known.retry();
    }
  }

  #add(key: string, fd: number, socket: PosixSocket, event: EpollEvent, known: Entry | undefined): void {
    if (known !== undefined) throw new NetError('EEXIST', 'epoll_ctl');
    if (this.#entries.size >= ENTRIES_MAX) throw new NetError('ENOSPC', 'epoll_ctl');
    const entry = new Entry(
      fd,
      socket,
      event,
      () => this.#serve(this),
      (gone) => this.#remove(gone),
    );
    this.#entries.set(key, entry);
    socket.calls.add(entry);
    entry.retry();
  }

  #remove(entry: Entry): void {
    entry.socket.calls.delete(entry);
    this.#entries.delete(`${entry.fd}`);
  }

  /** Takes up to `most` events. */
  take(most: number): EpollEvent[] {
    const found: EpollEvent[] = [];
    for (const [key, entry] of [...this.#entries]) {
      if (found.length === most) break;
      const events = entry.look();
      if (events === 0) continue;
      found.push({ events, data: entry.wanted.data });
      entry.told();
      this.#entries.delete(key);
      this.#entries.set(key, entry);
    }
    return found;
  }

  close(): void {
    for (const entry of [...this.#entries.values()]) this.#remove(entry);
  }

  events(): number {
    return [...this.#entries.values()].some((entry) => entry.look() !== 0) ? L.POLLIN | L.POLLRDNORM : 0;
  }

  wantRoom(): void {}
  bind = refuse;
  listen = refuse;
  accept = refuse;
  connect = refuse;
  receive = refuse;
  send = refuse;
  shutdown = refuse;
  name = refuse;
  peer = refuse;
  takeError = refuse;
  queued = refuse;
  applied = refuse;
  readOption = refuse;
  accepts = refuse;
  beginClose = (): boolean => false;
}

/** @param timeoutMs - negative: for ever */
export function epollPlan(set: EpollSet, most: number, timeoutMs: number): Plan<EpollEvent[]> {
  return {
    sockets: [set],
    timeoutMs: timeoutMs < 0 ? Number.POSITIVE_INFINITY : timeoutMs,
    attempt: () => {
      const found = set.take(most);
      return found.length > 0 ? found : undefined;
    },
    late: () => [],
  };
}
