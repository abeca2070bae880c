/** Two hosts on a wire, in the machine's time or in virtual time. @module */
import assert from 'node:assert/strict';
import { createHost, type Host, type HostOptions, type TcpListener, type TcpStream } from '../src/index.ts';
import { FaultInjector, type FaultInjectorOptions } from '../src/phy/fault-injector.ts';
import { type PipeOptions, pipePair } from '../src/phy/pipe.ts';
import { Random } from '../src/phy/random.ts';
import type { VirtualClock } from '../src/sim/clock.ts';

export const CLIENT = '10.0.0.2';
export const SERVER = '10.0.0.1';

export interface PairOptions {
  readonly pipe?: PipeOptions;
  readonly tcp?: HostOptions['tcp'];
  readonly clock?: VirtualClock;
  /** Faults on what the client sends and receives. */
  readonly faults?: FaultInjectorOptions;
}

export interface Pair {
  readonly server: Host;
  readonly client: Host;
  /** Closes both and asserts that all memory came back. */
  close(): Promise<void>;
}

export function hostPair(options: PairOptions = {}): Pair {
  const [left, right] = pipePair(options.pipe ?? {});
  const random = new Random(1);
  const common = {
    random: () => random.next(),
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    ...(options.tcp === undefined ? {} : { tcp: options.tcp }),
  };
  const server = createHost({ device: left, addresses: [`${SERVER}/24`, 'fd00::1/64'], ...common });
  const device = options.faults === undefined ? right : new FaultInjector(right, options.faults);
  const client = createHost({ device, addresses: [`${CLIENT}/24`, 'fd00::2/64'], ...common });
  const close = async (): Promise<void> => {
    await Promise.all([client.close(), server.close()]);
    assert.equal(client.memory.usedBytes, 0, 'memory is still held');
  };
  return { server, client, close };
}

export interface Connected extends Pair {
  readonly listener: TcpListener;
  /** The client's end and the server's. */
  readonly stream: TcpStream;
  readonly peer: TcpStream;
}

/** A pair with a connection between them. */
export async function connectedPair(options: PairOptions = {}): Promise<Connected> {
  const pair = hostPair(options);
  const listener = await pair.server.tcp.listen({ port: 80 });
  const stream = await pair.client.tcp.connect({ host: SERVER, port: 80 });
  const peer = await listener.accept();
  return { ...pair, listener, stream, peer };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Lets virtual time run until `promise` settles, and gives what came of it. */
export async function inTime<T>(clock: VirtualClock, promise: Promise<T>, maxMs = 3_600_000): Promise<T> {
  let isSettled = false;
  const done = (): void => {
    isSettled = true;
  };
  promise.then(done, done);
  const settled = await clock.run({ settle, until: () => isSettled, maxMs });
  assert.ok(settled, `nothing came of it in ${maxMs} ms`);
  return promise;
}

/** Whether `promise` has settled once everything that can go on at this moment has gone on. */
export async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let answer = false;
  const done = (): void => {
    answer = true;
  };
  promise.then(done, done);
  for (let i = 0; i < 20; i++) await settle();
  return answer;
}

export const text = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : new TextDecoder().decode(bytes);
export const bytesOf = (s: string): Uint8Array => new TextEncoder().encode(s);

/** Everything of a stream, as one array. */
export async function readAll(stream: TcpStream): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (let chunk = await stream.read(); chunk !== null; chunk = await stream.read()) {
    chunks.push(chunk);
    length += chunk.length;
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}
