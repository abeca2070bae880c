/**
 * One TCP connection of the stack joined to one of the machine: bytes, half-closes and resets go through both ways, and
 * who reads slowly holds up who writes. It works on the socket of the core itself: a promise a chunk would cost a small
 * flow more than the bytes do. @module
 */
import type { Socket } from 'node:net';
import type { SocketLoop } from '../sockets/backend.ts';
import { dispose } from '../sockets/dispose.ts';
import type { TcpStream } from '../sockets/tcp-stream.ts';
import type { TcpSocket } from '../tcp/socket.ts';
import { type FlowGate, OVER_LIMIT, type Way } from './limits.ts';
import { type Intake, reset } from './machine.ts';

/** Bytes that went through, both ways. */
export interface ByteCounts {
  /** From the stack's side to the machine's, and back. */
  out: number;
  in: number;
}

export interface SpliceOptions {
  /** What limits it; null: nothing. */
  readonly gate?: FlowGate | null | undefined;
  /** What was read of the stream before, and goes to the socket first. */
  readonly first?: Uint8Array | undefined;
  /** Where the socket's bytes come in, if it was made with one; else it is read as a stream. */
  readonly intake?: Intake | null | undefined;
}

const codeOf = (error: unknown): string => (error as { code?: string }).code ?? String(error);

/** The most that is read of the stack at once. */
const CHUNK_BYTES = 1 << 16;
/**
 * What is read is written at once, as a rule whole: then the same bytes serve the next read of any flow. Where the
 * machine took only a part, the rest is node:net's and the chunk with it.
 */
let spare: Buffer | null = null;

/**
 * Joins them until both halves are closed, or one side is reset, which resets the other.
 * @param socket - connected, made with `allowHalfOpen`, not read from yet
 * @returns null for an orderly end, or the code of what ended it
 */
export function splice(
  stream: TcpStream,
  socket: Socket,
  counts: ByteCounts,
  options: SpliceOptions = {},
): Promise<string | null> {
  return new Promise((resolve) => new Splice(stream, socket, counts, options, resolve).start());
}

export class Splice {
  /** Why a limit ended it, or null. */
  limit: string | null = null;
  readonly #stream: TcpStream;
  readonly #core: TcpSocket;
  readonly #loop: SocketLoop;
  readonly #socket: Socket;
  readonly #counts: ByteCounts;
  readonly #gate: FlowGate | null;
  readonly #onEnd: (result: string | null) => void;
  readonly #first: Uint8Array | undefined;
  readonly #intake: Intake | null;
  /** Came of the machine, and has no room in the stack yet. */
  #rest: Uint8Array | null = null;
  #isOver = false;
  /** The stack's half is at its end and said so to the machine; and the machine has taken it all. */
  #isOutEnded = false;
  #isOutDone = false;
  /** The machine's half has ended; and the stack has taken it all. */
  #isInEnded = false;
  #isInDone = false;
  /** Waits for room in the machine's socket. */
  #isOutBlocked = false;
  /** Timers of what a rate holds up; 0: none. */
  #outTimer = 0;
  #inTimer = 0;

  /** @param onEnd - called once, with what {@link splice} returns */
  constructor(
    stream: TcpStream,
    socket: Socket,
    counts: ByteCounts,
    { gate = null, first, intake }: SpliceOptions,
    onEnd: (result: string | null) => void,
  ) {
    this.#stream = stream;
    this.#socket = socket;
    this.#counts = counts;
    this.#gate = gate;
    this.#onEnd = onEnd;
    this.#first = first;
    this.#intake = intake ?? null;
    const { socket: core, loop } = stream.handOver(this);
    this.#core = core;
    this.#loop = loop;
  }

  /** Begins; called once. */
  start(): void {
    const socket = this.#socket;
    const first = this.#first;
    socket.on('error', (error) => this.#fail(codeOf(error)));
    socket.on('end', () => this.#endIn());
    socket.on('close', () => this.#closed());
    socket.on('drain', () => this.#drained());
    if (this.#intake !== null) this.#intake.sink = this;
    else socket.on('data', (chunk: Uint8Array) => void (this.take(chunk, false) || socket.pause()));
    if (socket.errored) this.#fail(codeOf(socket.errored));
    if (first !== undefined && !this.#isOver && this.#pass('out', first.length)) {
      this.#isOutBlocked = !socket.write(first) && socket.writableLength > 0;
    }
    this.notify();
    if (!this.#isOver) socket.resume();
  }

  /** Called by the loop: something of the stack's side has changed. */
  notify(): void {
    if (this.#isOver) return;
    if (this.#stream.isReleased) {
      this.#fail('ECANCELED'); // evicted, idle, or the gateway closes
      return;
    }
    const { error } = this.#core;
    if (error !== null && (this.#isOutEnded || this.#isOutBlocked || this.#core.recvQueue() === 0)) {
      this.#fail(error);
      return;
    }
    if (this.#rest !== null) this.#pumpIn();
    this.#pumpOut();
  }

  /** Counts bytes; false: a limit has ended the flow. */
  #pass(way: Way, bytes: number): boolean {
    this.limit = this.#gate?.pass(way, bytes) ?? null;
    if (this.limit !== null) {
      this.#fail(OVER_LIMIT);
      return false;
    }
    this.#counts[way] += bytes;
    return true;
  }

  // From the stack to the machine.

  #pumpOut(): void {
    const core = this.#core;
    while (!this.#isOver && !this.#isOutEnded && !this.#isOutBlocked && this.#outTimer === 0) {
      const queued = core.recvQueue();
      if (queued === 0) {
        if (!core.mayRecv()) this.#endOut();
        return;
      }
      const room = this.#gate === null ? CHUNK_BYTES : this.#gate.claim('out');
      if (room === 0) {
        this.#outTimer = this.#later('out', () => {
          this.#outTimer = 0;
          this.#pumpOut();
        });
        return;
      }
      this.#move(Math.min(queued, room, CHUNK_BYTES));
    }
  }

  /** Moves bytes that are there. */
  #move(length: number): void {
    if (!this.#pass('out', length)) return;
    const chunk = spare ?? Buffer.allocUnsafeSlow(CHUNK_BYTES);
    spare = null;
    this.#core.recv(chunk, 0, length);
    if (this.#core.connection?.isReady) this.#loop.wake(); // the window has opened
    const socket = this.#socket;
    const hasRoom = socket.write(length === CHUNK_BYTES ? chunk : chunk.subarray(0, length));
    if (socket.writableLength === 0) spare = chunk;
    else this.#isOutBlocked = !hasRoom; // `drain` follows
  }

  #drained(): void {
    this.#isOutBlocked = false;
    if (this.#isOver) return;
    if (this.#core.error !== null && this.#core.recvQueue() === 0) this.#fail(this.#core.error);
    else this.#pumpOut();
  }

  #endOut(): void {
    if (this.#core.error !== null) {
      this.#fail(this.#core.error);
      return;
    }
    this.#isOutEnded = true;
    this.#socket.end(() => {
      this.#isOutDone = true;
      this.#finish();
    });
  }

  // From the machine to the stack.

  /**
   * Bytes of the machine.
   * @param isLent - they are the caller's again afterwards
   * @returns whether there is room for more now; else `resume` follows
   */
  take(chunk: Uint8Array, isLent: boolean): boolean {
    if (this.#isOver || !this.#pass('in', chunk.length)) return true;
    let taken: number;
    try {
      taken = this.#core.send(chunk);
    } catch (error) {
      this.#fail(codeOf(error));
      return true;
    }
    if (taken > 0) this.#loop.wake();
    if (taken < chunk.length) {
      const rest = chunk.subarray(taken);
      this.#rest = isLent ? Buffer.from(rest) : rest;
      return false;
    }
    return !this.#waitsIn();
  }

  /** Whether a rate holds up what comes next. */
  #waitsIn(): boolean {
    const gate = this.#gate;
    if (gate === null || gate.claim('in') > 0) return false;
    this.#inTimer ||= this.#later('in', () => {
      this.#inTimer = 0;
      this.#resumeIn();
    });
    return true;
  }

  /** What had no room has some now. */
  #pumpIn(): void {
    const rest = this.#rest!;
    try {
      const taken = this.#core.send(rest);
      if (taken > 0) this.#loop.wake();
      this.#rest = taken < rest.length ? rest.subarray(taken) : null;
    } catch (error) {
      this.#fail(codeOf(error));
      return;
    }
    this.#resumeIn();
  }

  #resumeIn(): void {
    if (this.#isOver || this.#rest !== null || this.#inTimer !== 0 || this.#waitsIn()) return;
    if (this.#isInEnded) this.#endIn();
    else this.#socket.resume();
  }

  #endIn(): void {
    this.#isInEnded = true;
    if (this.#isOver || this.#rest !== null || this.#isInDone) return;
    this.#isInDone = true;
    this.#core.close();
    this.#loop.wake();
    this.#finish();
  }

  // The end.

  #later(way: Way, run: () => void): number {
    const { clock } = this.#loop;
    return clock.setTimer(clock.now() + this.#gate!.waitMs(way), run);
  }

  #finish(): void {
    if (!this.#isOutDone || !this.#isInDone || this.#isOver) return;
    this.#over();
    this.#stream[dispose]();
    this.#socket.destroy();
    this.#onEnd(null);
  }

  #closed(): void {
    // Both ends may have come in the same turn as the close; what they lead to has been done then.
    if (!this.#isOver && !(this.#isInEnded && this.#isOutDone)) this.#fail('ECONNRESET');
  }

  #fail(code: string): void {
    if (this.#isOver) return;
    this.#over();
    this.#stream.abort();
    reset(this.#socket);
    this.#onEnd(code);
  }

  #over(): void {
    this.#isOver = true;
    this.#rest = null;
    this.#gate?.close();
    const { clock } = this.#loop;
    for (const timer of [this.#outTimer, this.#inTimer]) if (timer !== 0) clock.clearTimer(timer);
  }
}
