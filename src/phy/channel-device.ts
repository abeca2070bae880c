/**
 * Frames as messages: a device over a MessagePort, to a stack in another worker or window, and one over a WebSocket, a
 * binary message a frame. Both ends copy, for each has a memory of its own. Nothing of a browser is named here: what is
 * given need only look like one. @module
 */
import { allocFrame, frameEnd, frameStart, HEADROOM, setFrameBounds } from '../memory/frame.ts';
import type { Memory } from '../memory/memory.ts';
import { HEADER_LENGTH as ETHERNET_LENGTH } from '../wire/ethernet.ts';
import type { Medium } from '../wire/link-type.ts';
import { HEADER_LENGTH as TAG_LENGTH } from '../wire/vlan.ts';
import type { Device } from './device.ts';
import { checkMtu } from './pipe.ts';

/** Frames that wait for the stack; beyond, they are dropped and counted. A port's sender stops there by itself. */
const QUEUE_FRAMES = 256;
/** Frames taken before the sender at the other end of a port is told that there is room again. */
const CREDIT_FRAMES = 64;
/** Bytes that may wait in a WebSocket; beyond, the stack waits, and looks again so many milliseconds later. */
const BUFFERED_BYTES_MAX = 1 << 20;
const LOOK_AGAIN_MS = 5;

export interface ChannelOptions {
  /** Whether frames have an Ethernet header; both ends say the same. Default `ip`. */
  readonly medium?: Medium | undefined;
  /** The largest IP packet in bytes, 68 to 65535. Default 1500. */
  readonly mtu?: number | undefined;
}

/** What is used of a MessageEvent. */
export interface MessageLike {
  readonly type?: string;
  readonly data?: unknown;
}

/** What is used of a MessagePort, a Worker, or what a worker has of its own. */
export interface PortLike {
  postMessage(message: unknown, transfer: readonly ArrayBuffer[]): void;
  addEventListener(type: 'message', listener: (event: MessageLike) => void): void;
  removeEventListener(type: 'message', listener: (event: MessageLike) => void): void;
  /** Of a MessagePort. */
  start?(): void;
}

/** What is used of a WebSocket. */
export interface SocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  /** 1: open. */
  readonly readyState: number;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(): void;
  addEventListener(type: 'message', listener: (event: MessageLike) => void): void;
  addEventListener(type: 'open', listener: () => void): void;
  removeEventListener(type: 'message', listener: (event: MessageLike) => void): void;
  removeEventListener(type: 'open', listener: () => void): void;
}

/** What carries the frames of one device. */
interface Channel {
  /** Called with the stack's `wake`, once. */
  open(arrived: (data: unknown) => void, wake: () => void): void;
  room(): number;
  /** The bytes are the channel's from now on. */
  send(bytes: Uint8Array<ArrayBuffer>): void;
  /** A frame was taken, or dropped. */
  taken(): void;
  /** Milliseconds after which to look for room again, where nobody tells. */
  readonly lookAgainMs: number;
  close(): void;
}

/** See {@link messagePortDevice} and {@link webSocketDevice}. */
export class ChannelDevice implements Device {
  readonly medium: Medium;
  readonly mtu: number;
  readonly offload = false;
  readonly memory = null;
  /** Frames that came when the queue or the memory was full; messages that are no frames. */
  dropped = 0;
  malformed = 0;
  readonly #channel: Channel;
  readonly #queue: Uint8Array[] = [];
  #memory: Memory | null = null;
  #wake: (() => void) | null = null;
  #now = 0;
  #isBlocked = false;

  /** Made by {@link messagePortDevice} and {@link webSocketDevice}. */
  constructor(channel: Channel, { medium = 'ip', mtu = 1500 }: ChannelOptions) {
    if (medium !== 'ip' && medium !== 'ethernet') {
      throw new TypeError(`medium: expected 'ip' or 'ethernet', got ${JSON.stringify(medium)}`);
    }
    this.medium = medium;
    this.mtu = checkMtu(mtu);
    this.#channel = channel;
  }

  attach(memory: Memory, wake: () => void): void {
    if (this.#memory !== null) throw new TypeError('device: expected one without a stack, got one that a stack has');
    this.#memory = memory;
    this.#wake = wake;
    this.#channel.open((data) => this.#arrived(data), wake);
  }

  #arrived(data: unknown): void {
    const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : data;
    const least = this.medium === 'ethernet' ? ETHERNET_LENGTH : 1;
    const most = this.mtu + (this.medium === 'ethernet' ? ETHERNET_LENGTH + TAG_LENGTH : 0);
    if (!(bytes instanceof Uint8Array) || bytes.length < least || bytes.length > most) {
      this.malformed++;
      this.#channel.taken();
    } else if (this.#queue.length >= QUEUE_FRAMES) {
      this.dropped++;
      this.#channel.taken();
    } else if (this.#queue.push(bytes) === 1) this.#wake?.();
  }

  receive(now: number): number {
    this.#now = now;
    const memory = this.#memory!;
    for (;;) {
      const bytes = this.#queue.shift();
      if (bytes === undefined) return 0;
      this.#channel.taken();
      const frame = allocFrame(memory, bytes.length);
      if (frame === 0) {
        this.dropped++;
        continue;
      }
      const start = frame + HEADROOM - (this.medium === 'ethernet' ? ETHERNET_LENGTH : 0);
      memory.u8.set(bytes, start);
      setFrameBounds(memory, frame, start, start + bytes.length);
      return frame;
    }
  }

  room(): number {
    const room = this.#channel.room();
    this.#isBlocked = room <= 0;
    return room;
  }

  transmit(frame: number, now: number): void {
    this.#now = now;
    const memory = this.#memory!;
    if (this.#channel.room() > 0)
      this.#channel.send(memory.u8.slice(frameStart(memory, frame), frameEnd(memory, frame)));
    else this.dropped++;
    memory.free(frame);
  }

  pollAt(): number {
    if (this.#queue.length > 0) return 0;
    return this.#isBlocked ? this.#now + this.#channel.lookAgainMs : Number.POSITIVE_INFINITY;
  }

  close(): void {
    if (this.#wake !== null) this.#channel.close();
    this.#queue.length = 0;
    this.#wake = null;
  }
}

/** A port tells how many frames were taken, as a number between the frames: so nothing piles up in it. */
class PortChannel implements Channel {
  readonly lookAgainMs = Number.POSITIVE_INFINITY;
  readonly #port: PortLike;
  #listener: ((event: MessageLike) => void) | null = null;
  #room = QUEUE_FRAMES;
  #taken = 0;

  constructor(port: PortLike) {
    this.#port = port;
  }

  open(arrived: (data: unknown) => void, wake: () => void): void {
    this.#listener = ({ data }) => {
      if (typeof data !== 'number') arrived(data);
      else if (Number.isInteger(data) && data > 0) {
        const wasFull = this.#room === 0;
        this.#room = Math.min(QUEUE_FRAMES, this.#room + data);
        if (wasFull) wake();
      }
    };
    this.#port.addEventListener('message', this.#listener);
    this.#port.start?.();
  }

  room(): number {
    return this.#room;
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    this.#room--;
    this.#port.postMessage(bytes, [bytes.buffer]);
  }

  taken(): void {
    if (++this.#taken < CREDIT_FRAMES) return;
    this.#port.postMessage(this.#taken, []);
    this.#taken = 0;
  }

  close(): void {
    if (this.#listener !== null) this.#port.removeEventListener('message', this.#listener);
    this.#listener = null;
  }
}

const OPEN = 1;

class SocketChannel implements Channel {
  readonly lookAgainMs = LOOK_AGAIN_MS;
  readonly #socket: SocketLike;
  #onMessage: ((event: MessageLike) => void) | null = null;
  #onOpen: (() => void) | null = null;

  constructor(socket: SocketLike) {
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
  }

  open(arrived: (data: unknown) => void, wake: () => void): void {
    this.#onMessage = ({ data }) => arrived(data);
    this.#onOpen = wake;
    this.#socket.addEventListener('message', this.#onMessage);
    this.#socket.addEventListener('open', this.#onOpen);
  }

  room(): number {
    return this.#socket.readyState === OPEN && this.#socket.bufferedAmount < BUFFERED_BYTES_MAX ? QUEUE_FRAMES : 0;
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    this.#socket.send(bytes);
  }

  taken(): void {}

  close(): void {
    if (this.#onMessage !== null) this.#socket.removeEventListener('message', this.#onMessage);
    if (this.#onOpen !== null) this.#socket.removeEventListener('open', this.#onOpen);
    this.#socket.close();
  }
}

/**
 * A device whose frames go through `port`, to one made of the port's other end. Closing it leaves the port open.
 * @throws TypeError, RangeError for wrong options
 * @example
 * const { port1, port2 } = new MessageChannel()
 * worker.postMessage(port2, [port2])
 * const host = createHost({ device: messagePortDevice(port1), addresses: ['10.0.0.1/24'] })
 */
export const messagePortDevice = (port: PortLike, options: ChannelOptions = {}): ChannelDevice =>
  new ChannelDevice(new PortChannel(port), options);

/**
 * A device whose frames are binary messages of `socket`, which may still be connecting. Closing it closes the socket; once
 * that is closed the device gives nothing and takes nothing.
 * @throws TypeError, RangeError for wrong options
 * @example
 * const device = webSocketDevice(new WebSocket('wss://example.org/wire'), { medium: 'ethernet' })
 */
export const webSocketDevice = (socket: SocketLike, options: ChannelOptions = {}): ChannelDevice =>
  new ChannelDevice(new SocketChannel(socket), options);
