/**
 * What a device is: something that gives and takes frames. Loopback, pipes, TUN, and the wrappers that trace, capture
 * or spoil traffic are all this one interface. @module
 */
import type { Memory } from '../memory/memory.ts';
import type { Medium } from '../wire/link-type.ts';

export type { Medium };

export interface Device {
  /** Whether frames begin with an Ethernet header or with the IP header. */
  readonly medium: Medium;
  /** The largest IP packet, in bytes; an Ethernet header comes on top. */
  readonly mtu: number;
  /**
   * Whether the device takes and gives super-segments (GSO_SIZE set, up to 64 KiB) and partial checksums. Where false,
   * every frame it is given fits the MTU and is complete.
   */
  readonly offload: boolean;
  /** The memory the device's frames live in, where it brings one; a stack without one of its own adopts it. */
  readonly memory: Memory | null;

  /**
   * Called once, when a stack takes the device: all its frames live in `memory` from now on.
   * @param wake - called by the device, at any time but inside `receive` and `transmit` of the same stack, when frames
   *   became available or room came back. It only schedules; it never polls.
   */
  attach(memory: Memory, wake: () => void): void;

  /** The next received frame, which the caller now owns, or 0. */
  receive(now: number): number;

  /** How many frames `transmit` would accept now. */
  room(): number;

  /** Takes `frame` and owns it from now on. A device without room drops it and counts. */
  transmit(frame: number, now: number): void;

  /** When the device next has something to do by itself, in milliseconds; Infinity: never. */
  pollAt(): number;

  /** Ends the device and gives back every frame it holds; repeated calls do nothing. */
  close(): void;
}
