/** The table of descriptors: the lowest free number first, as POSIX has it, and what several numbers may share. @module */
import { NetError } from '../errors.ts';
import type { PosixSocket } from './socket.ts';

/** Descriptors open at once; one more is EMFILE. */
const DESCRIPTORS_MAX = 1 << 20;

/** An open file description: what dup() shares. */
export interface Description {
  readonly socket: PosixSocket;
  isNonBlocking: boolean;
  /** Descriptors that name it. */
  count: number;
}

interface Entry {
  readonly description: Description;
  closesOnExec: boolean;
}

export class Descriptors {
  readonly #first: number;
  readonly #entries: (Entry | undefined)[] = [];
  /** No index below is free. */
  #freeFrom = 0;

  /** @param first - the lowest descriptor given */
  constructor(first: number) {
    this.#first = first;
  }

  /** A descriptor for `socket`. @throws NetError EMFILE */
  open(socket: PosixSocket, isNonBlocking: boolean, closesOnExec: boolean): number {
    return this.#add({ socket, isNonBlocking, count: 0 }, 0, closesOnExec);
  }

  /** Another one for the same description, `least` or above. @throws NetError EBADF, EMFILE */
  dup(fd: number, least: number, closesOnExec = false): number {
    return this.#add(this.get(fd, 'dup'), least - this.#first, closesOnExec);
  }

  #add(description: Description, least: number, closesOnExec: boolean): number {
    let index = Math.max(least, this.#freeFrom);
    while (this.#entries[index] !== undefined) index++;
    if (index >= DESCRIPTORS_MAX) throw new NetError('EMFILE', 'socket');
    if (least <= this.#freeFrom) this.#freeFrom = index + 1;
    description.count++;
    this.#entries[index] = { description, closesOnExec };
    return this.#first + index;
  }

  has(fd: number): boolean {
    return this.#entries[fd - this.#first] !== undefined;
  }

  /** @throws NetError EBADF */
  get(fd: number, syscall: string): Description {
    return this.#entry(fd, syscall).description;
  }

  #entry(fd: number, syscall: string): Entry {
    const entry = this.#entries[fd - this.#first];
    if (entry === undefined) throw new NetError('EBADF', syscall);
    return entry;
  }

  closesOnExec(fd: number): boolean {
    return this.#entry(fd, 'fcntl').closesOnExec;
  }

  setClosesOnExec(fd: number, closes: boolean): void {
    this.#entry(fd, 'fcntl').closesOnExec = closes;
  }

  /** Frees the number. Returns the description if no other number names it: then its socket is to be closed. */
  close(fd: number): Description | null {
    const { description } = this.#entry(fd, 'close');
    const index = fd - this.#first;
    this.#entries[index] = undefined;
    this.#freeFrom = Math.min(this.#freeFrom, index);
    return --description.count === 0 ? description : null;
  }

  /** Every number in use. */
  all(): number[] {
    return this.#entries.flatMap((entry, index) => (entry === undefined ? [] : [this.#first + index]));
  }
}
