/**
 * The wire of a virtual machine: QEMU's `-netdev stream`, Ethernet frames with their length in front over a UNIX or TCP
 * socket (`-netdev stream,id=n,server=off,addr.type=unix,addr.path=PATH`), as passt and gvproxy speak it, too. @module
 */
import { lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { QueueDevice } from '../phy/queue-device.ts';

/** A u32 in network order. */
const LENGTH_BYTES = 4;
/** No frame is longer: the largest IP packet, an Ethernet header and a tag. */
const FRAME_MAX = 65_535 + 18;
/** How long until a virtual machine that is not there, or is gone, is called again. */
const RETRY_MS = 200;
/** Bytes that may wait in the socket; then the stack waits. */
const WAITING_MAX = 1 << 20;

export interface QemuOptions {
  /** The largest IP packet, which must be the guest's too. Default 1500. */
  readonly mtu?: number | undefined;
}

/**
 * Carries the frames of a device over a connected socket, until either ends. A frame of an impossible length ends the
 * socket: what follows could not be read.
 * @param onEnd - called once, when the socket has closed
 * @example createServer((socket) => createHost({ device: qemuDevice(socket), addresses: ['10.0.2.2/24'] }))
 */
export function qemuDevice(socket: Socket, options: QemuOptions = {}, onEnd: () => void = () => {}): QueueDevice {
  const device = new QueueDevice({ medium: 'ethernet', mtu: options.mtu ?? 1500 });
  const reader = new FrameReader((frame) => device.inject(frame));
  let isSending = false;
  const send = (): void => {
    isSending = false;
    if (socket.destroyed || socket.writableLength > WAITING_MAX) return; // `drain` goes on
    socket.cork();
    for (let frame = device.drain(); frame !== null; frame = device.drain()) {
      const length = Buffer.alloc(LENGTH_BYTES);
      length.writeUInt32BE(frame.length);
      socket.write(length);
      socket.write(frame);
      if (socket.writableLength > WAITING_MAX) break;
    }
    socket.uncork();
  };
  const soon = (): void => {
    if (isSending) return;
    isSending = true;
    queueMicrotask(send);
  };
  const take = (chunk: Uint8Array): void => {
    const state = reader.push(chunk);
    if (state === 'bad') socket.destroy();
    else if (state === 'full') socket.pause();
  };
  device.onPacket = soon;
  device.onRoom = () =>
    queueMicrotask(() => {
      take(new Uint8Array(0));
      if (!reader.isFull) socket.resume();
    });
  socket.on('drain', soon);
  socket.on('data', take);
  socket.on('error', () => {}); // its close follows
  socket.once('close', onEnd);
  return device;
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  readonly #take: (frame: Uint8Array) => boolean;
  #rest: Uint8Array = new Uint8Array(0);
  isFull = false;

  /** @param take - gets each frame, valid during the call; false: it comes again with the next push */
  constructor(take: (frame: Uint8Array) => boolean) {
    this.#take = take;
  }

  /** `full`: no more until a frame was taken; `bad`: a length that cannot be. */
  push(chunk: Uint8Array): 'ok' | 'full' | 'bad' {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    this.isFull = false;
    while (at + LENGTH_BYTES <= bytes.length) {
      const length = dv.getUint32(at);
      if (length === 0 || length > FRAME_MAX) return 'bad';
      const end = at + LENGTH_BYTES + length;
      if (end > bytes.length) break;
      if (!this.#take(bytes.subarray(at + LENGTH_BYTES, end))) {
        this.isFull = true;
        break;
      }
      at = end;
    }
    this.#rest = bytes.slice(at);
    return this.isFull ? 'full' : 'ok';
  }
}

/** Where a socket stands: the path of a UNIX one, or a TCP port; 127.0.0.1 where no host is named. */
export type QemuPlace = string | { readonly host?: string; readonly port: number };

const placeOf = (place: QemuPlace): { path: string } | { host: string; port: number } =>
  typeof place === 'string' ? { path: place } : { host: place.host ?? '127.0.0.1', port: place.port };

/**
 * Waits for virtual machines on a UNIX or TCP socket; one that comes anew, after its own restart, gets a wire of its own. A socket
 * that somebody left behind, who was killed, is taken over.
 * @throws what node:net says: EADDRINUSE where another listens there
 */
export async function listenQemu(place: QemuPlace, onSocket: (socket: Socket) => void): Promise<Server> {
  try {
    return await listen(place, onSocket);
  } catch (error) {
    const isTaken = (error as { code?: string }).code === 'EADDRINUSE';
    if (typeof place !== 'string' || !isTaken) throw error;
    // A file that is no socket refuses connections too, and is not ours to remove.
    if (!lstatSync(place).isSocket() || (await failureAt(place)) !== 'ECONNREFUSED') throw error;
    unlinkSync(place);
    return listen(place, onSocket);
  }
}

function listen(place: QemuPlace, onSocket: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    // A frame is to leave at once; on a UNIX socket it always does.
    const server = createServer({ noDelay: typeof place !== 'string' }, onSocket);
    server.once('error', reject);
    server.listen(placeOf(place), () => resolve(server));
  });
}

/** Why nobody answers there; null: somebody does. */
function failureAt(path: string): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(null);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}

/**
 * Connects to a virtual machine that waits on a UNIX or TCP socket itself (`-netdev stream,server=on`), and again whenever it is
 * gone, five times a second: so either may be started first, and each survives the other's restart.
 * @param onSocket - called with each connection
 * @param onFailure - told why nobody answers, once for each reason in a row; the calls go on
 * @returns what ends it; the connection there is stays
 */
export function connectQemu(
  place: QemuPlace,
  onSocket: (socket: Socket) => void,
  onFailure: (code: string) => void = () => {},
): { close(): void } {
  let timer: NodeJS.Timeout | null = null;
  let told = '';
  let isClosed = false;
  const call = (): void => {
    const socket = connect({ ...placeOf(place), noDelay: typeof place !== 'string' });
    let isConnected = false;
    socket.once('connect', () => {
      isConnected = true;
      told = '';
      if (isClosed) socket.destroy();
      else onSocket(socket);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const code = error.code ?? error.message;
      if (isConnected || isClosed || code === told) return; // its close follows
      told = code;
      onFailure(code);
    });
    socket.once('close', () => {
      if (!isClosed) timer = setTimeout(call, RETRY_MS);
    });
  };
  call();
  return {
    close: () => {
      isClosed = true;
      if (timer !== null) clearTimeout(timer);
    },
  };
}
