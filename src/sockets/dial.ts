/** Connecting to one address. By name: `happy-eyeballs.ts`. @module */
import { NetError } from '../errors.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import type { TcpSocket } from '../tcp/socket.ts';
import type { IpAddress } from '../wire/address.ts';
import type { StackLoop } from './loop.ts';
import { TcpStream } from './tcp-stream.ts';

/** How to connect; what is left out is the stack's choice. */
export interface DialOptions {
  readonly signal?: AbortSignal | undefined;
  readonly localAddress?: IpAddress | undefined;
  readonly localPort?: number | undefined;
  /** Milliseconds. */
  readonly timeout?: number | undefined;
  readonly tcp?: Partial<TcpSettings> | undefined;
  /** The first bytes to send, see `ConnectOptions`. */
  readonly data?: Uint8Array | undefined;
}

/** Connects; cancelling, or the timeout, leaves nothing behind. @throws NetError, or the signal's reason */
export async function dial(
  loop: StackLoop,
  address: IpAddress,
  port: number,
  options: DialOptions,
): Promise<TcpStream> {
  loop.touch();
  const socket = loop.stack.tcpSocket(options.tcp);
  const { localAddress, localPort } = options;
  socket.connect(
    { address, port },
    {
      ...(localAddress === undefined ? {} : { address: localAddress }),
      ...(localPort === undefined ? {} : { port: localPort }),
    },
  );
  if (options.data !== undefined) queueAll(socket, options.data);
  const stream = new TcpStream(loop, socket);
  loop.wake();
  await established(loop, stream, options.timeout, options.signal);
  return stream;
}

/** Queues the first bytes. @throws RangeError where the send buffer has no room for all of it: the socket is gone then */
export function queueAll(socket: TcpSocket, data: Uint8Array): void {
  const taken = socket.send(data);
  if (taken === data.length) return;
  socket.abort();
  socket.release();
  throw new RangeError(`connect: expected data of at most ${taken} bytes, the send buffer, got ${data.length}`);
}

function established(
  loop: StackLoop,
  stream: TcpStream,
  timeout: number | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { clock } = loop;
  loop.hold(1);
  return new Promise((resolve, reject) => {
    let timer = 0;
    const settle = (error: unknown): void => {
      loop.hold(-1);
      if (timer !== 0) clock.clearTimer(timer);
      signal?.removeEventListener('abort', onAbort);
      if (error === null) resolve();
      else reject(error);
    };
    const cancel = (error: unknown): void => {
      stream.connected(() => {});
      stream.abort();
      settle(error);
    };
    const onAbort = (): void => cancel(signal!.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (timeout !== undefined) {
      const { remoteAddress, remotePort } = stream;
      const late = (): void =>
        cancel(new NetError('ETIMEDOUT', 'connect', { address: remoteAddress, port: remotePort }));
      timer = clock.setTimer(clock.now() + timeout, late);
    }
    stream.connected(settle);
  });
}
