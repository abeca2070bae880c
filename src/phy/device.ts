/**
 * What a device is: something that gives and takes frames. Loopback, pipes, TUN, and the wrappers that trace, capture
 * or spoil traffic are all this one interface. @module
 */
import type { Memory } from '../memory/memory.ts';
import type { Medium } from '../wire/link-type.ts';

export type { Medium };

/**
 * Told of frames that go no further, for whoever records them (`PcapWriter.explain`). Frames stay the caller's, and
 * nothing is done with them.
 */
export interface FrameNotes {
  /** A frame of `length` bytes did not leave, and why. @param frame - 0: there was no memory to make it in */
  refused(frame: number, length: number, why: string, now: number): void;
  /** A frame that the device gave was lost between it and the stack. */
  lost(frame: number, why: string): void;
  /** The stack looks at `frame` now, which the device gave some time ago; 0: at none. */
  handed(frame: number): void;
}

/** Told what a device does with frames, for whoever records them outside of it. Frames stay the device's. */
export interface DeviceWatch {
  /** The device is done with a frame that `transmit` took, once each. @param dropped - why it goes no further; null: it does */
  done(frame: number, dropped: string | null): void;
  /** A frame was lost before `receive` gave it. */
  lost(frame: number, why: string, now: number): void;
}

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
  /** Where to tell of frames that go no further; most devices have none. A wrapper has that of the device inside. */
  readonly notes?: FrameNotes | null;

  /**
   * Set by whoever records (`PcapWriter.explain`); devices that never lose a frame by themselves do not have it, nor
   * have wrappers that only look on.
   */
  watch?: DeviceWatch | null;

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
