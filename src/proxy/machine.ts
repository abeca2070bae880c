/** The machine's own network, as a relay uses it. @module */
import { execFile } from 'node:child_process';
import { createSocket, type Socket as Datagrams } from 'node:dgram';
import { connect, type Socket } from 'node:net';

const CONNECT_MS = 20_000;
const PING_SECONDS = 5;

/** Takes what a socket reads. */
export interface Sink {
  /** See `Splice.take`. */
  take(chunk: Uint8Array, isLent: boolean): boolean;
}

/** Where a socket's bytes come in without a stream between. */
export interface Intake {
  /** Null: nothing is read yet; the socket is paused. */
  sink: Sink | null;
}

export interface Dialed {
  readonly socket: Socket;
  readonly intake: Intake;
}

/** Bytes a socket reads at once. */
const READ_BYTES = 1 << 16;
/**
 * libuv reads and tells of it in one go, so that one buffer serves all sockets; but on Windows, where a read is under way
 * while others are told of theirs.
 */
const shared = process.platform === 'win32' ? null : Buffer.allocUnsafeSlow(READ_BYTES);

/**
 * Connects from the machine, half-open allowed; the socket is paused, and reads into its intake.
 * @param settle - called once, unless it is cancelled: with what node:net says; ETIMEDOUT after 20 s
 * @returns cancels it
 */
export function dial(host: string, port: number, settle: (error: Error | null, dialed: Dialed) => void): () => void {
  const intake: Intake = { sink: null };
  const onread = {
    buffer: shared ?? Buffer.allocUnsafeSlow(READ_BYTES),
    callback: (length: number, buffer: Uint8Array): boolean =>
      intake.sink?.take(buffer.subarray(0, length), true) ?? false,
  };
  const socket = connect({ host, port, allowHalfOpen: true, noDelay: true, onread }).pause();
  const dialed = { socket, intake };
  const cancel = (): void => {
    clearTimeout(timer);
    socket.off('error', failed);
    socket.off('connect', connected);
    socket.on('error', ignore);
    socket.destroy();
  };
  const failed = (error: Error): void => {
    cancel();
    settle(error, dialed);
  };
  const connected = (): void => {
    clearTimeout(timer);
    socket.off('error', failed);
    settle(null, dialed);
  };
  const timer = setTimeout(() => failed(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })), CONNECT_MS);
  socket.once('error', failed);
  socket.once('connect', connected);
  return cancel;
}

const ignore = (): void => {};

/**
 * Connects from the machine, half-open allowed, not reading yet.
 * @throws what node:net says; ETIMEDOUT after 20 s; the signal's reason
 */
export function dialMachine(host: string, port: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
    const settle = (error: Error | null): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      socket.off('error', settle);
      if (error === null) {
        resolve(socket);
        return;
      }
      socket.on('error', ignore);
      socket.destroy();
      reject(error);
    };
    const onAbort = (): void => settle(new Error('the client has given up'));
    const late = (): void => settle(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' }));
    const timer = setTimeout(late, CONNECT_MS);
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', settle);
    socket.once('connect', () => settle(null));
    if (signal.aborted) onAbort();
  });
}

/**
 * Resets a socket. While its FIN is on its way to the kernel libuv refuses to (uv_tcp_close_reset), and Node would then
 * neither close it nor end: it is done as soon as that is over, in the next turn of the loop.
 */
export function reset(socket: Socket): void {
  const isShutting = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
  if (!isShutting || socket.destroyed) socket.resetAndDestroy();
  else socket.once('finish', () => socket.resetAndDestroy());
}

/** Datagrams to one peer, and from it. */
export interface FarDatagrams {
  /** Sends one, as far as that goes: what cannot go is lost. */
  send(data: Uint8Array): void;
  close(): void;
  /** Called with each that comes; its bytes are the callee's. */
  onMessage: (data: Uint8Array) => void;
  /** Called when none will come any more, with the reason. */
  onError: (error: Error) => void;
}

/** A socket of the machine, connected to one peer. @throws what node:dgram says */
export function openDatagrams(host: string, port: number): Promise<Datagrams> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    const fail = (error: Error): void => {
      socket.close();
      reject(error);
    };
    socket.once('error', fail);
    socket.connect(port, host, (error?: Error) => {
      if (error) {
        fail(error);
        return;
      }
      socket.off('error', fail);
      resolve(socket);
    });
  });
}

/** The way of the machine itself to one peer. @throws what node:dgram says */
export async function dialDatagrams(host: string, port: number): Promise<FarDatagrams> {
  const socket = await openDatagrams(host, port);
  const far: FarDatagrams = {
    send: (data) => socket.send(data, ignore),
    close: () => void socket.close(),
    onMessage: ignore,
    onError: ignore,
  };
  socket.on('message', (data) => far.onMessage(data));
  socket.on('error', (error) => far.onError(error));
  return far;
}

/** Whether the machine can ping an address: ping(8) says. Not, where the signal comes first, which ends it. */
export function pingFromMachine(address: string, signal: AbortSignal): Promise<boolean> {
  const args = ['-n', '-q', '-c', '1', '-W', `${PING_SECONDS}`, address];
  return new Promise((resolve) => {
    execFile('ping', args, { timeout: (PING_SECONDS + 2) * 1000, signal, killSignal: 'SIGKILL' }, (error) =>
      resolve(error === null),
    );
  });
}

const UNREACHABLE: readonly string[] = ['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN', 'ETIMEDOUT'];

/** How a failure to connect is told to who asked: as the far side, or the way to it, said it. */
export const refusalOf = (error: unknown): 'reset' | 'unreachable' =>
  UNREACHABLE.includes((error as { code?: string }).code ?? '') ? 'unreachable' : 'reset';
