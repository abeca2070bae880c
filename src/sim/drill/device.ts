/** The wire of a script: what the stack sends is kept with its time, what the script injects is received. @module */
import { frameBytes, frameFrom } from '../../memory/frame.ts';
import type { Memory } from '../../memory/memory.ts';
import type { Device } from '../../phy/device.ts';

/** Packets kept for the script to look at; beyond, the stack's device has no room. */
const SENT_MAX = 1 << 16;

/** A packet of the stack. */
export interface Sent {
  readonly bytes: Uint8Array;
  readonly atUs: number;
}

export class ScriptDevice implements Device {
  readonly medium = 'ip';
  readonly mtu: number;
  readonly offload = false;
  readonly memory = null;
  readonly sent: Sent[] = [];
  readonly #injected: Uint8Array[] = [];
  readonly #nowUs: () => number;
  #memory: Memory | null = null;

  constructor(mtu: number, nowUs: () => number) {
    this.mtu = mtu;
    this.#nowUs = nowUs;
  }

  /** Puts a packet on the wire; the stack takes it at its next poll. */
  inject(bytes: Uint8Array): void {
    this.#injected.push(bytes);
  }

  attach(memory: Memory): void {
    this.#memory = memory;
  }

  receive(): number {
    const bytes = this.#injected.shift();
    return bytes === undefined ? 0 : frameFrom(this.#memory!, bytes);
  }

  room(): number {
    return SENT_MAX - this.sent.length;
  }

  transmit(frame: number): void {
    if (this.room() > 0) this.sent.push({ bytes: frameBytes(this.#memory!, frame), atUs: this.#nowUs() });
    this.#memory!.free(frame);
  }

  pollAt(): number {
    return this.#injected.length > 0 ? 0 : Number.POSITIVE_INFINITY;
  }

  close(): void {
    this.#injected.length = 0;
  }
}
