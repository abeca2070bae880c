/**
 * A device that records what passes: every frame of the device inside goes to a capture file that Wireshark and tcpdump
 * read. A file may hold several devices ({@link Capture}), one interface each.
 *
 * What is recorded is what a wire would show: a checksum left to the device is completed in the copy, the frame itself
 * stays as it is. A super-segment is recorded as the one large packet it is. @module
 */
import { frameLength, frameStart } from '../memory/frame.ts';
import type { Memory } from '../memory/memory.ts';
import { type CaptureFormat, FLAGS_INBOUND, FLAGS_OUTBOUND } from '../pcap/format.ts';
import { type CaptureSink, CaptureWriter } from '../pcap/writer.ts';
import { linkTypeOf } from '../wire/link-type.ts';
import { checksumField, needsChecksum, wireChecksum } from './checksum.ts';
import type { Device, FrameNotes, Medium } from './device.ts';

/** Records that wait at most for what becomes of received frames; beyond it the oldest is written as it is. */
const HELD_MAX = 4096;
const NO_COMMENTS: readonly string[] = [];
const NO_BYTES = new Uint8Array(0);

export interface CaptureOptions {
  /** Default `pcapng`. Classic pcap has no names, directions or comments, and one link type a file. */
  readonly format?: CaptureFormat;
  /** Bytes kept of a packet, 1 to 262144; default 262144, which is more than any packet. */
  readonly snaplen?: number;
  /** Unix time in milliseconds at which `now` is 0; default 0, so that captures of a simulation are repeatable. */
  readonly epochMs?: number;
}

/** A capture file under way, which several {@link PcapWriter}s may write to. Its header is written at once. */
export class Capture {
  readonly #writer: CaptureWriter;
  readonly #epochSeconds: number;
  readonly #epochRestMs: number; // the part of the epoch under a second: apart, so that sums keep their nanoseconds
  #seconds = 0; // of the packet being written
  #nanoseconds = 0;

  /** @throws RangeError if `format` or `snaplen` is none. */
  constructor(sink: CaptureSink, options: CaptureOptions = {}) {
    const { epochMs = 0 } = options;
    this.#writer = new CaptureWriter(sink, options);
    this.#epochSeconds = Math.floor(epochMs / 1000);
    this.#epochRestMs = epochMs - this.#epochSeconds * 1000;
  }

  get format(): CaptureFormat {
    return this.#writer.format;
  }

  get snaplen(): number {
    return this.#writer.snaplen;
  }

  /** Packets written. */
  get packets(): number {
    return this.#writer.packets;
  }

  /**
   * Adds an interface and returns its id.
   * @throws RangeError if the file is a classic one and has another link type already.
   */
  addInterface(medium: Medium, name: string): number {
    return this.#writer.addInterface({ linkType: linkTypeOf(medium), name });
  }

  /**
   * Writes `frame`, which stays the caller's, as seen at `now` by interface `id`.
   * @param comments - packet comments of a pcapng file
   */
  write(
    memory: Memory,
    frame: number,
    medium: Medium,
    id: number,
    inbound: boolean,
    now: number,
    comments: readonly string[] = NO_COMMENTS,
  ): void {
    const original = frameLength(memory, frame);
    const captured = Math.min(original, this.snaplen);
    const at = this.#begin(id, inbound, now, captured, original, comments);
    copyFrame(memory, frame, medium, captured, this.#writer.slab, at);
    this.#writer.end();
  }

  /** Writes a frame that was kept. */
  writeKept(kept: KeptFrame, id: number): void {
    const { bytes, original, inbound, now, comments } = kept;
    const at = this.#begin(id, inbound, now, bytes.length, original, comments);
    this.#writer.slab.set(bytes, at); // begun first: it may be another slab
    this.#writer.end();
  }

  #begin(
    id: number,
    inbound: boolean,
    now: number,
    captured: number,
    original: number,
    comments: readonly string[],
  ): number {
    this.#setTime(now);
    const flags = inbound ? FLAGS_INBOUND : FLAGS_OUTBOUND;
    return this.#writer.begin(id, this.#seconds, this.#nanoseconds, captured, original, flags, comments);
  }

  #setTime(now: number): void {
    const seconds = Math.floor(now / 1000);
    const nanoseconds = Math.round((now - seconds * 1000 + this.#epochRestMs) * 1e6);
    const carry = Math.floor(nanoseconds / 1e9);
    this.#seconds = this.#epochSeconds + seconds + carry;
    this.#nanoseconds = nanoseconds - carry * 1e9;
  }
}

/** Copies the first `captured` bytes of `frame` to `at` of `to`, the checksum completed. */
function copyFrame(memory: Memory, frame: number, medium: Medium, captured: number, to: Uint8Array, at: number): void {
  const start = frameStart(memory, frame);
  to.set(memory.u8.subarray(start, start + captured), at);
  if (!needsChecksum(memory, frame)) return;
  const field = checksumField(memory, frame, medium);
  if (field === 0 || field + 2 > start + captured) return;
  const checksum = wireChecksum(memory, frame, medium, field);
  to[at + field - start] = checksum; // in the kernel's order, as the sum is: the low byte first
  to[at + field - start + 1] = checksum >>> 8;
}

/** A frame that waits to be written: a copy of what the wire shows of it. */
interface KeptFrame {
  /** The frame itself while it is under way, to the stack or out of the device inside; 0: nothing more is heard of it. */
  frame: number;
  readonly bytes: Uint8Array;
  readonly original: number;
  readonly inbound: boolean;
  readonly now: number;
  readonly comments: string[];
}

/** Tells of each packet that is dropped, and whether it is the frame a device gave last: the `stats` of a stack. */
export interface DropReporter<Reason extends string = string> {
  onDrop: ((reason: Reason, isInput: boolean) => void) | null;
}

/**
 * Which frames are recorded, from the stack's view. `tx+dropped`: those that are sent, and of those received the ones that
 * go no further, as soon as that is known and so in the order of time: where all interfaces of a network are recorded in one
 * file, each frame stands there once, and once more where it was dropped. That needs {@link PcapWriter.explain}; frames for
 * other hosts, which all see that are on a link, are not told of.
 */
export type CaptureMode = 'both' | 'rx' | 'tx' | 'tx+dropped';
const MODES: readonly CaptureMode[] = ['both', 'rx', 'tx', 'tx+dropped'];
/** Why a host drops what is for others. */
const FOR_OTHERS: readonly string[] = ['link-not-ours', 'ip-no-member'];

export interface PcapWriterOptions extends CaptureOptions {
  /** Default `both`. */
  readonly mode?: CaptureMode;
  /** The interface's name in a pcapng file; default `eth0` or `tun0` by medium. */
  readonly name?: string;
}

/**
 * Wraps `inner` and records it; all else passes through unchanged. Transmitted frames are recorded as they are handed
 * to the device, received ones as they are taken from it.
 * @example new PcapWriter(device, { write: (bytes) => writeSync(fd, bytes) }, { epochMs: Date.now() - performance.now() })
 */
export class PcapWriter implements Device {
  readonly medium: Medium;
  readonly mtu: number;
  readonly offload: boolean;
  readonly memory: Memory | null;
  readonly notes: FrameNotes | null;
  readonly capture: Capture;
  readonly #inner: Device;
  readonly #id: number;
  readonly #rx: boolean;
  readonly #rxDropped: boolean;
  readonly #tx: boolean;
  #memory: Memory | null = null;
  #watch: (() => void) | null = null; // asks to be told of drops
  readonly #kept: KeptFrame[] = [];
  #current: KeptFrame | null = null; // what the stack looks at
  #hearsDone = false; // whether the device inside tells what became of frames it took
  #isHanded = false; // whether somebody outside tells what the stack looks at, since he holds frames back

  /**
   * @param to - a sink, which gets a file of its own, or a {@link Capture} under way, whose options then hold
   * @throws RangeError if an option is out of its range or a classic file would need a second link type.
   */
  constructor(inner: Device, to: CaptureSink | Capture, options: PcapWriterOptions = {}) {
    const { mode = 'both', name = inner.medium === 'ethernet' ? 'eth0' : 'tun0' } = options;
    if (!MODES.includes(mode)) {
      throw new RangeError(`pcap: expected mode both, rx, tx or tx+dropped, got ${String(mode)}`);
    }
    this.medium = inner.medium;
    this.mtu = inner.mtu;
    this.offload = inner.offload;
    this.memory = inner.memory;
    this.#inner = inner;
    this.#rx = mode === 'both' || mode === 'rx';
    this.#rxDropped = mode === 'tx+dropped';
    this.#tx = mode !== 'rx';
    this.capture = to instanceof Capture ? to : new Capture(to, options);
    this.#id = this.capture.addInterface(inner.medium, name);
    this.notes = this.capture.format === 'pcap' ? null : this.#takeNotes();
  }

  attach(memory: Memory, wake: () => void): void {
    this.#memory = memory;
    this.#inner.attach(memory, wake);
  }

  /**
   * From now on writes into the capture what the stack drops and why, as packet comments (`dropped: udp-no-socket`) that
   * Wireshark shows: of frames received, and of frames that it could not send, which stand there as outgoing ones although
   * no wire has seen them; one that there was no memory for is a record without bytes. What the device inside took and then
   * lost says so as well, where it tells ({@link Device.watch}). Faults in front of this device say
   * `fault-lost` and the like. Frames are written a little later then: when it is known what became of those before. Nothing
   * happens in a classic file, which has no comments.
   * @param stats - the `stats` of the stack that has this device; its `onDrop` is used
   * @example writer.explain(host.stack.stats)
   */
  explain<Reason extends string>(stats: DropReporter<Reason>): void {
    if (this.capture.format === 'pcap') return;
    const note = (reason: Reason, isInput: boolean): void => {
      if (isInput && (!this.#rxDropped || !FOR_OTHERS.includes(reason))) this.#comment(reason);
    };
    this.#watch = () => {
      stats.onDrop = note;
    };
    if (this.#inner.watch === undefined) return;
    this.#hearsDone = true;
    this.#inner.watch = {
      done: (frame, dropped) => this.#settle(frame, dropped),
      lost: (frame, why, now) => this.#recordLost(frame, why, now),
    };
  }

  /** Of the frame that the stack looks at. */
  #comment(reason: string): void {
    const current = this.#current;
    if (current === null) return;
    current.comments.push(`dropped: ${reason}`);
    if (!this.#rxDropped) return;
    this.#current = null;
    this.capture.writeKept(current, this.#id);
  }

  #takeNotes(): FrameNotes {
    return {
      refused: (frame, length, why, now) => this.#recordRefused(frame, length, why, now),
      lost: (frame, why) => {
        const kept = this.#find(frame);
        if (kept === null) return;
        kept.comments.push(`dropped: ${why}`);
        kept.frame = 0;
        this.#release();
      },
      handed: (frame) => {
        this.#isHanded = true;
        if (this.#current !== null) this.#current.frame = 0;
        this.#release();
        this.#current = this.#find(frame);
        if (this.#current !== null) this.#watch!();
      },
    };
  }

  #find(frame: number): KeptFrame | null {
    return frame === 0 ? null : (this.#kept.find((kept) => kept.frame === frame && kept.inbound) ?? null);
  }

  /** The device inside is done with a frame that was sent. Its number may be that of one received and given back since. */
  #settle(frame: number, dropped: string | null): void {
    const kept = this.#kept.findLast((kept) => kept.frame === frame && !kept.inbound);
    if (kept === undefined) return;
    if (dropped !== null) kept.comments.push(`dropped: ${dropped}`);
    kept.frame = 0;
    this.#release();
  }

  receive(now: number): number {
    if (!this.#isHanded && this.#current !== null) {
      this.#current.frame = 0;
      this.#release();
    }
    const frame = this.#inner.receive(now);
    if (frame === 0) return 0;
    if (this.#rx) this.#record(frame, true, now);
    else if (this.#rxDropped) this.#look(this.#copied(frame, true, now));
    return frame;
  }

  room(): number {
    return this.#inner.room();
  }

  transmit(frame: number, now: number): void {
    if (this.#tx) this.#record(frame, false, now);
    this.#inner.transmit(frame, now);
  }

  #record(frame: number, inbound: boolean, now: number): void {
    const memory = this.#memory!;
    if (this.#watch === null || (!inbound && !this.#hearsDone && this.#kept.length === 0)) {
      this.capture.write(memory, frame, this.medium, this.#id, inbound, now);
      return;
    }
    const kept = this.#copied(frame, inbound, now);
    if (!inbound && !this.#hearsDone) kept.frame = 0;
    this.#keep(kept);
    if (inbound && !this.#isHanded) this.#look(kept);
  }

  /** The stack looks at this frame from now on: what it drops is this. */
  #look(kept: KeptFrame): void {
    if (this.#watch === null) return;
    this.#current = kept;
    this.#watch();
  }

  #recordLost(frame: number, why: string, now: number): void {
    if (!this.#rx && !this.#rxDropped) return;
    const kept = this.#copied(frame, true, now);
    kept.frame = 0;
    kept.comments.push(`dropped: ${why}`);
    this.#keep(kept);
    this.#release();
  }

  #recordRefused(frame: number, original: number, why: string, now: number): void {
    if (this.#watch === null || !this.#tx) return;
    const bytes = frame === 0 ? NO_BYTES : this.#copy(frame);
    this.#keep({ frame: 0, bytes, original, inbound: false, now, comments: [`dropped: ${why}`] });
    this.#release();
  }

  #copied(frame: number, inbound: boolean, now: number): KeptFrame {
    const original = frameLength(this.#memory!, frame);
    return { frame, bytes: this.#copy(frame), original, inbound, now, comments: [] };
  }

  #copy(frame: number): Uint8Array {
    const memory = this.#memory!;
    const bytes = new Uint8Array(Math.min(frameLength(memory, frame), this.capture.snaplen));
    copyFrame(memory, frame, this.medium, bytes.length, bytes, 0);
    return bytes;
  }

  #keep(kept: KeptFrame): void {
    if (this.#kept.length === HELD_MAX) this.capture.writeKept(this.#kept.shift()!, this.#id);
    this.#kept.push(kept);
  }

  /** Writes what nothing more is heard of, in order. */
  #release(all = false): void {
    const { length } = this.#kept;
    let count = 0;
    while (count < length && (all || this.#kept[count]!.frame === 0)) {
      this.capture.writeKept(this.#kept[count++]!, this.#id);
    }
    if (count === length) this.#kept.length = 0;
    else if (count > 0) this.#kept.splice(0, count);
    if (this.#current?.frame === 0) this.#current = null;
  }

  pollAt(): number {
    return this.#inner.pollAt();
  }

  close(): void {
    this.#inner.close(); // which may tell of frames that it still had
    this.#release(true);
  }
}
