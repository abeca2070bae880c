/**
 * A device that tells what passes: every frame of the device inside as one line, the way tcpdump prints it. It makes a
 * string a frame, so it is for people and tests and not for the data path. @module
 */
import { frameEnd, frameStart } from '../memory/frame.ts';
import type { Memory } from '../memory/memory.ts';
import { formatFrame } from '../wire/packet.ts';
import type { Device, FrameNotes, Medium } from './device.ts';

/** From the stack's view: `rx` came from the wire, `tx` goes to it. */
export type Direction = 'rx' | 'tx';

/** Gets one line a frame, in order, with the `now` of the call in milliseconds. It must not poll the stack. */
export type Trace = (line: string, direction: Direction, now: number) => void;

/**
 * Wraps `inner` and traces it; all else passes through unchanged.
 * @example new Tracer(device, (line, direction) => console.log(direction, line))
 */
export class Tracer implements Device {
  readonly medium: Medium;
  readonly mtu: number;
  readonly offload: boolean;
  readonly memory: Memory | null;
  readonly notes: FrameNotes | null;
  readonly #inner: Device;
  readonly #trace: Trace;
  #memory: Memory | null = null;

  constructor(inner: Device, trace: Trace) {
    this.medium = inner.medium;
    this.mtu = inner.mtu;
    this.offload = inner.offload;
    this.memory = inner.memory;
    this.notes = inner.notes ?? null;
    this.#inner = inner;
    this.#trace = trace;
  }

  attach(memory: Memory, wake: () => void): void {
    this.#memory = memory;
    this.#inner.attach(memory, wake);
  }

  receive(now: number): number {
    const frame = this.#inner.receive(now);
    if (frame !== 0) this.#tell(frame, 'rx', now);
    return frame;
  }

  room(): number {
    return this.#inner.room();
  }

  transmit(frame: number, now: number): void {
    this.#tell(frame, 'tx', now);
    this.#inner.transmit(frame, now);
  }

  pollAt(): number {
    return this.#inner.pollAt();
  }

  close(): void {
    this.#inner.close();
  }

  #tell(frame: number, direction: Direction, now: number): void {
    const memory = this.#memory!;
    const line = formatFrame(memory, frameStart(memory, frame), frameEnd(memory, frame), this.medium);
    this.#trace(line, direction, now);
  }
}
