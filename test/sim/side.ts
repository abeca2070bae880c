/** One end of a connection in a simulation: an application that only acts when it is told of something. @module */
import { NetError } from '../../src/errors.ts';
import { seqDiff } from '../../src/tcp/seq.ts';
import type { TcpSocket } from '../../src/tcp/socket.ts';
import type { SidePlan } from './plan.ts';

/** Byte `at` of stream `stream`: told apart from its neighbours and from other streams. */
const patternByte = (stream: number, at: number): number =>
  (at + (at >>> 8) * 7 + (at >>> 16) * 13 + stream * 57) & 0xff;

const scratch = new Uint8Array(65_536);

export class Side {
  readonly name: string;
  readonly plan: SidePlan;
  /** What the other end means to send. */
  readonly peer: SidePlan;
  readonly #stream: number;
  readonly #peerStream: number;
  readonly #fail: (what: string) => void;
  socket: TcpSocket | null = null;
  sent = 0;
  received = 0;
  eof = false;
  closed = false;
  done = false;
  error: string | null = null;
  #hasPaused = false;
  #writes = 0;
  /** When the application next acts by itself. */
  readAt = Number.POSITIVE_INFINITY;
  writeAt = Number.POSITIVE_INFINITY;

  constructor(name: string, plan: SidePlan, peer: SidePlan, stream: number, fail: (what: string) => void) {
    this.name = name;
    this.plan = plan;
    this.peer = peer;
    this.#stream = stream;
    this.#peerStream = stream ^ 1;
    this.#fail = fail;
  }

  get wakeAt(): number {
    return this.done ? Number.POSITIVE_INFINITY : Math.min(this.readAt, this.writeAt);
  }

  /** The attempt to connect failed for want of a neighbour: everything from the beginning. */
  reset(): void {
    this.socket = null;
    this.sent = 0;
    this.done = false;
    this.error = null;
    this.readAt = this.writeAt = Number.POSITIVE_INFINITY;
  }

  /** The socket is connected. */
  start(socket: TcpSocket, now: number): void {
    this.socket = socket;
    socket.owner = this;
    socket.urgentInline = this.plan.urgentInline;
    this.act(now, true, true);
  }

  /** Does what may be done now: after an event, or because the application's own time has come. */
  act(now: number, mayRead: boolean, mayWrite: boolean): void {
    const { socket } = this;
    if (socket === null || this.done) return;
    try {
      // A slow end keeps to its own pace, whatever happens.
      if (now >= this.readAt || (mayRead && this.readAt === Number.POSITIVE_INFINITY)) this.#read(socket, now);
      if (now >= this.writeAt || (mayWrite && this.writeAt === Number.POSITIVE_INFINITY)) this.#write(socket, now);
      if (!this.done) this.#finish(socket);
    } catch (error) {
      if (!(error instanceof NetError)) throw error;
      this.error = error.code;
      this.#end(socket);
    }
  }

  #read(socket: TcpSocket, now: number): void {
    this.readAt = Number.POSITIVE_INFINITY;
    for (;;) {
      this.#lookAtMark(socket);
      const count = socket.recv(scratch, 0, Math.min(this.plan.readBytes, scratch.length));
      this.#passUrgent(socket, count);
      if (count === 0) break;
      this.#verify(count);
      if (this.#endsEarly(socket)) return;
      if (!this.#hasPaused && this.received > this.plan.pauseAfterBytes) {
        this.#hasPaused = true;
        this.readAt = now + this.plan.pauseMs;
        return;
      }
      if (this.plan.readEveryMs > 0) {
        this.readAt = now + this.plan.readEveryMs;
        return;
      }
    }
    if (!socket.mayRecv()) this.eof = true;
  }

  /** The urgent byte is that of the stream at the mark. */
  #lookAtMark(socket: TcpSocket): void {
    this.#passUrgent(socket, 0); // what arrived meanwhile may have moved the mark, and the reader with it
    const at = this.received + socket.urgentQueue() - 1;
    const byte = socket.takeUrgent();
    if (byte >= 0 && byte !== patternByte(this.#peerStream, at)) this.#fail(`${this.name}: urgent byte ${at} is wrong`);
  }

  /** Where urgent bytes are no part of what is read, they are left out of it, and nothing else is. */
  #passUrgent(socket: TcpSocket, count: number): void {
    const c = socket.connection;
    if (c === null || this.plan.urgentInline || c.rcvNxt === c.irs) return; // no SYN of the peer's yet
    const position = seqDiff(c.rcvNxt, c.irs) - 1 - c.readable - (c.peerEnded ? 1 : 0);
    const left = position - count - this.received;
    if (left === 0) return;
    if (left < 0 || this.peer.urgentEvery === 0) this.#fail(`${this.name}: ${left} bytes were left out`);
    this.received += left;
  }

  #verify(count: number): void {
    for (let i = 0; i < count; i++) {
      if (scratch[i] === patternByte(this.#peerStream, this.received + i)) continue;
      this.#fail(`${this.name}: byte ${this.received + i} is wrong`);
      return;
    }
    this.received += count;
    if (this.received > this.peer.bytes) this.#fail(`${this.name}: more bytes than were sent`);
  }

  #write(socket: TcpSocket, now: number): void {
    this.writeAt = Number.POSITIVE_INFINITY;
    while (this.sent < this.plan.bytes) {
      const count = Math.min(this.plan.writeBytes, this.plan.bytes - this.sent, scratch.length);
      for (let i = 0; i < count; i++) scratch[i] = patternByte(this.#stream, this.sent + i);
      const { urgentEvery } = this.plan;
      const isUrgent = urgentEvery > 0 && ++this.#writes % urgentEvery === 0;
      const taken = isUrgent ? socket.sendUrgent(scratch, 0, count) : socket.send(scratch, 0, count);
      this.sent += taken;
      if (this.#endsEarly(socket)) return;
      if (taken < count) return; // until WRITABLE
      if (this.plan.writeEveryMs > 0) {
        this.writeAt = now + this.plan.writeEveryMs;
        return;
      }
    }
  }

  #endsEarly(socket: TcpSocket): boolean {
    const { end, endAfterBytes } = this.plan;
    if (end === 'close' || this.sent + this.received < endAfterBytes) return false;
    if (end === 'abort') socket.abort();
    this.#end(socket);
    return true;
  }

  #finish(socket: TcpSocket): void {
    if (
      !this.closed &&
      socket.state() !== 'SYN-SENT' &&
      this.sent === this.plan.bytes &&
      (!this.plan.closesLast || this.eof)
    ) {
      socket.close();
      this.closed = true;
    }
    if (this.eof && this.closed) this.#end(socket);
  }

  #end(socket: TcpSocket): void {
    this.done = true;
    socket.release();
  }
}
