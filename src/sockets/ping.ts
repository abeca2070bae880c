/** One echo request and its reply. @module */
import { NetError } from '../errors.ts';
import { Source } from '../udp/datagram-queue.ts';
import type { IpAddress } from '../wire/address.ts';
import type { Loop } from './loop.ts';
import { Waiters } from './waiters.ts';

export interface PingOptions {
  /** Bytes of data, default 56 as ping(8) sends. */
  readonly size?: number;
  /** Milliseconds to wait, default 5000. */
  readonly timeout?: number;
  /** Default 1. */
  readonly sequence?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface PingReply {
  readonly address: string;
  /** Bytes of data that came back. */
  readonly size: number;
  readonly sequence: number;
  readonly ttl: number;
  /** Milliseconds there and back. */
  readonly timeMs: number;
}

const SIZE_DEFAULT = 56;
const TIMEOUT_DEFAULT_MS = 5000;

function checkWhole(name: string, value: number, most: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= most) return;
  throw new RangeError(`${name}: expected 0 to ${most}, got ${value}`);
}

/** Sends an echo request to `to` and waits for the reply with the same data. */
export async function ping(loop: Loop, to: IpAddress, options: PingOptions): Promise<PingReply> {
  const { clock, stack } = loop;
  const { size = SIZE_DEFAULT, sequence = 1, timeout = TIMEOUT_DEFAULT_MS, signal } = options;
  checkWhole('size', size, 65_535);
  checkWhole('sequence', sequence, 0xffff);
  const data = new Uint8Array(size).map((_, i) => i);
  const reply = new Uint8Array(size);
  const source = new Source();
  const socket = stack.icmpSocket();
  const waiters = new Waiters<PingReply>(loop);
  const startedAt = clock.now();
  socket.owner = {
    notify: (): void => {
      for (let n = socket.recv(reply, source); n >= 0; n = socket.recv(reply, source)) {
        const isOurs = source.port === sequence && source.length === size && reply.every((byte, i) => byte === data[i]);
        if (!isOurs) continue;
        const timeMs = clock.now() - startedAt;
        waiters.resolve({ address: source.address.toString(), size, sequence, ttl: source.ttl, timeMs });
      }
    },
  };
  const closed = (): void => waiters.reject(new NetError('ECANCELED', 'ping', { detail: 'the host was closed' }));
  loop.closers.add(closed);
  const late = new NetError('ETIMEDOUT', 'ping', { address: to.toString() });
  const timer = clock.setTimer(startedAt + timeout, () => waiters.reject(late));
  try {
    signal?.throwIfAborted();
    socket.bind();
    loop.touch();
    // Without room in the device the request is lost like any other: the timeout tells.
    socket.sendEcho(to, sequence, data);
    loop.wake();
    return await waiters.wait({ signal });
  } finally {
    clock.clearTimer(timer);
    loop.closers.delete(closed);
    socket.close();
  }
}
