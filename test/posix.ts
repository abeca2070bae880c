/** Two stacks on a wire with descriptors, under virtual time: for tests of src/posix. @module */

import assert from 'node:assert/strict';
import { NetError } from '../src/errors.ts';
import { pipePair } from '../src/phy/pipe.ts';
import { Random } from '../src/phy/random.ts';
import { LINUX as L, Posix, type PosixOptions, type SockAddr } from '../src/posix/index.ts';
import { Stack } from '../src/stack.ts';
import { ALGORITHMS } from '../src/tcp/congestion/index.ts';
import type { TcpSettings } from '../src/tcp/settings.ts';
import { Cidr } from '../src/wire/address.ts';

export const SERVER = '10.0.0.1';
export const CLIENT = '10.0.0.2';
/** An address of the network that nobody has. */
export const NOBODY = '10.0.0.99';
export const PORT = 80;

export const at = (address: string, port: number): SockAddr => ({
  family: address.includes(':') ? L.AF_INET6 : L.AF_INET,
  address,
  port,
});
export const UNSPECIFIED: SockAddr = { family: L.AF_UNSPEC, address: '0.0.0.0', port: 0 };
export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
export const textOf = (bytes: Uint8Array, count = bytes.length): string =>
  new TextDecoder().decode(bytes.subarray(0, count));

/** What a call gives: its result, or the code it throws. */
export function codeOf<T>(call: () => T): T | string {
  try {
    return call();
  } catch (error) {
    if (error instanceof NetError) return error.code;
    throw error;
  }
}

const microtasks = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export interface PairOptions {
  readonly tcp?: Partial<TcpSettings>;
  readonly posix?: PosixOptions;
}

export class PosixPair {
  readonly server: Posix;
  readonly client: Posix;
  now = 1000;

  constructor(options: PairOptions = {}) {
    const random = new Random(3);
    const [left, right] = pipePair();
    const make = (device: typeof left, addresses: readonly string[]): Posix => {
      const stack = new Stack({
        memory: device.memory,
        random: () => random.next(),
        tcp: options.tcp,
        congestion: ALGORITHMS,
      });
      stack.addInterface(device, { addresses: addresses.map((text) => Cidr.parse(text)) });
      return new Posix(stack, options.posix);
    };
    this.server = make(left, [`${SERVER}/24`, 'fd00::1/64']);
    this.client = make(right, [`${CLIENT}/24`, 'fd00::2/64']);
    this.settle();
  }

  /** Everything that can happen at this moment happens. */
  settle(): void {
    for (let i = 0; i < 1000; i++) {
      let isBusy = false;
      for (const posix of [this.client, this.server]) {
        isBusy = posix.stack.poll(this.now) || isBusy;
        posix.turn(this.now);
      }
      isBusy ||= this.#nextAt() <= this.now;
      if (!isBusy) return;
    }
    assert.fail('it never settles');
  }

  #nextAt(): number {
    const { client, server } = this;
    return Math.min(client.stack.pollAt(), server.stack.pollAt(), client.nextAt(), server.nextAt());
  }

  /** Lets `ms` pass, stopping at every deadline. */
  pass(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      this.settle();
      const at = this.#nextAt();
      if (at > until) break;
      this.now = Math.max(this.now, at);
    }
    this.now = until;
    this.settle();
  }

  /** Lets time run until `promise` settles; gives its value or the code of its error, and the ms it took. */
  async wait<T>(promise: Promise<T>, maxMs = 600_000): Promise<{ result: T | string; ms: number }> {
    const start = this.now;
    let outcome: { result: T | string } | null = null;
    promise.then(
      (value) => {
        outcome = { result: value };
      },
      (error) => {
        outcome = { result: error instanceof NetError ? error.code : String(error) };
      },
    );
    for (;;) {
      this.settle();
      await microtasks();
      if (outcome !== null) return { ...(outcome as { result: T | string }), ms: this.now - start };
      const at = this.#nextAt();
      assert.ok(at < start + maxMs, `nothing came of it in ${maxMs} ms`);
      this.now = Math.max(this.now, at);
    }
  }

  /** Whether `promise` has settled at this moment. */
  async hasSettled(promise: Promise<unknown>): Promise<boolean> {
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    promise.then(done, done);
    this.settle();
    await microtasks();
    return settled;
  }

  /** A descriptor of the client's, not blocking. */
  stream(): number {
    return this.client.socket(L.AF_INET, L.SOCK_STREAM | L.SOCK_NONBLOCK, 0);
  }

  /** A listener of the server's at {@link PORT}, not blocking. */
  listener(backlog = 5, port = PORT): number {
    const fd = this.server.socket(L.AF_INET, L.SOCK_STREAM | L.SOCK_NONBLOCK, 0);
    this.server.setsockopt(fd, L.SOL_SOCKET, L.SO_REUSEADDR, 1);
    this.server.bind(fd, at('0.0.0.0', port));
    this.server.listen(fd, backlog);
    return fd;
  }

  /** A connection: the client's descriptor and the server's, neither blocking; no listener is left. */
  connected(): { fd: number; peer: number } {
    const listener = this.listener();
    const fd = this.stream();
    assert.equal(
      codeOf(() => this.client.connect(fd, at(SERVER, PORT))),
      'EINPROGRESS',
    );
    this.settle();
    assert.equal(this.client.connect(fd, at(SERVER, PORT)), 0);
    const peer = this.server.accept(listener, L.SOCK_NONBLOCK).fd;
    this.server.close(listener);
    return { fd, peer };
  }

  /** Resets `fd` of the server's. */
  reset(fd: number): void {
    this.server.setsockopt(fd, L.SOL_SOCKET, L.SO_LINGER, { onoff: 1, linger: 0 });
    this.server.close(fd);
    this.settle();
  }

  /** Closes everything and asserts that all memory came back. */
  close(): void {
    this.client.closeAll();
    this.server.closeAll();
    this.settle();
    this.client.stack.close();
    this.server.stack.close();
    assert.equal(this.client.stack.memory.usedBytes, 0, 'memory is still held');
  }
}
