/** A TCP connection of a client: calls that wait for it, or the rings that it shares with the client. @module */
import { NetError } from '../errors.ts';
import { CLOSED_EVENT, CONNECTED, READABLE, WRITABLE } from '../tcp/events.ts';
import type { TcpSocket } from '../tcp/socket.ts';
import type { Call, Client, Entry } from './client.ts';
import type { StreamOpened, TcpCommand } from './commands.ts';
import type { StreamRings } from './stream-rings.ts';
import type { TraceBuffer } from './trace-buffer.ts';

type Connect = Call<Extract<TcpCommand, { kind: 'tcp-connect' }>>;
type Send = Call<Extract<TcpCommand, { kind: 'tcp-send' }>>;
type Receive = Call<Extract<TcpCommand, { kind: 'tcp-receive' }>>;
type NextTraces = Call<Extract<TcpCommand, { kind: 'tcp-next-traces' }>>;

/** The most bytes one command sends or receives. */
export const BYTES_MAX = 1 << 20;

export class StreamEntry implements Entry {
  readonly kind = 'stream';
  handle = 0;
  readonly client: Client;
  readonly socket: TcpSocket;
  rings: StreamRings | null = null;
  #connecting: Connect | null = null;
  #receiving: Receive | null = null;
  #sending: Send | null = null;
  #sent = 0;
  #isClosed = false;
  #isLingering = false;
  #traces: TraceBuffer | null = null;

  constructor(client: Client, socket: TcpSocket) {
    this.client = client;
    this.socket = socket;
    socket.owner = this;
  }

  /** The connection is there: it gets a handle, and rings where they may be. */
  open(): StreamOpened {
    const { client, socket } = this;
    const handle = client.add(this, 'open');
    this.rings = client.makeRings?.() ?? null;
    this.rings?.serve(this);
    const [local, remote] = [socket.local!, socket.remote!];
    return {
      handle,
      local: { address: local.address.toString(), port: local.port },
      remote: { address: remote.address.toString(), port: remote.port },
      rings: this.rings?.place,
    };
  }

  /** Answers once the handshake is done; cancelled before, it leaves nothing behind. */
  connect(call: Connect): void {
    this.#connecting = call;
    call.waits(() => {
      if (this.#connecting === null) return;
      this.#connecting = null;
      this.socket.owner = null;
      this.socket.abort();
      this.socket.release();
    });
  }

  send(call: Send): void {
    const { data } = call.command;
    this.#assertPlain('send');
    if (this.#sending !== null) throw new NetError('EBUSY', 'send', { detail: 'another send waits on this socket' });
    if (data.length > BYTES_MAX) throw new NetError('EMSGSIZE', 'send', { detail: `at most ${BYTES_MAX} bytes` });
    const taken = this.socket.send(data);
    if (taken === data.length) {
      call.answer({ kind: 'sent', count: taken });
      return;
    }
    this.#sent = taken;
    this.#sending = call;
    call.waits(() => {
      this.#sending = null;
    });
  }

  /** Bytes in rings keep their order only if none go another way. */
  #assertPlain(syscall: string): void {
    if (this.rings !== null)
      throw new NetError('EBUSY', syscall, { detail: 'the rings of this stream carry its bytes' });
  }

  receive(call: Receive): void {
    const { max } = call.command;
    if (!(Number.isInteger(max) && max >= 1 && max <= BYTES_MAX)) {
      throw new NetError('EINVAL', 'receive', { detail: `max: expected 1 to ${BYTES_MAX} bytes, got ${max}` });
    }
    this.#assertPlain('receive');
    if (this.#receiving !== null) throw new NetError('EBUSY', 'receive', { detail: 'another receive waits already' });
    if (this.#answerReceive(call)) return;
    this.#receiving = call;
    call.waits(() => {
      this.#receiving = null;
    });
  }

  #answerReceive(call: Receive): boolean {
    const { socket } = this;
    const queued = socket.recvQueue();
    if (queued > 0) {
      const data = new Uint8Array(Math.min(queued, call.command.max));
      socket.recv(data);
      call.answer({ kind: 'received', data });
    } else if (socket.error !== null) {
      call.fail(this.#error('read'));
    } else if (socket.mayRecv()) {
      return false;
    } else {
      call.answer({ kind: 'finished' });
    }
    return true;
  }

  /** Closes the sending half, after what waits to be sent. */
  shutdown(): void {
    if (this.#sending !== null) throw new NetError('EBUSY', 'shutdown', { detail: 'a send waits on this socket' });
    if (this.rings === null) this.socket.close();
    else this.rings.shutdown();
  }

  notify(events: number): void {
    if (this.#connecting !== null && (events & (CONNECTED | CLOSED_EVENT)) !== 0) this.#connected();
    if (this.#receiving !== null && (events & (READABLE | CLOSED_EVENT)) !== 0) this.#answerReceive(this.#receiving);
    if (this.#sending !== null && (events & (WRITABLE | CLOSED_EVENT)) !== 0) this.#goOnSending(this.#sending);
    this.rings?.move();
    if (this.#isLingering) this.#goOnLingering();
  }

  #connected(): void {
    const call = this.#connecting!;
    this.#connecting = null;
    if (this.socket.error === null) {
      try {
        call.answer({ kind: 'connected', ...this.open() });
        return;
      } catch (error) {
        call.fail(error);
      }
    } else {
      call.fail(this.#error('connect'));
    }
    this.abort();
  }

  #goOnSending(call: Send): void {
    const { data } = call.command;
    try {
      this.#sent += this.socket.send(data, this.#sent);
      if (this.#sent === data.length) call.answer({ kind: 'sent', count: data.length });
    } catch (error) {
      call.fail(error);
    }
  }

  #error(syscall: string): NetError {
    const { remote, error } = this.socket;
    return new NetError(error!, syscall, { address: remote?.address.toString(), port: remote?.port });
  }

  /** The number of what ended the connection, as Linux has it. */
  errno(): number {
    return -this.#error('read').errno;
  }

  /** What was taken is still sent, then a FIN; bytes unread, or still to come, are answered with a reset. */
  close(): void {
    if (this.#isClosed) return;
    const { rings, socket } = this;
    if (rings !== null) {
      rings.shutdown();
      // Bytes that the client did not read are lost, and the peer must know: RFC 2525 §2.17.
      if (!rings.isRead) socket.abort();
      if (!rings.isSent && socket.maySend()) {
        this.#linger();
        return;
      }
    }
    if (socket.recvQueue() === 0 && socket.maySend()) socket.close();
    this.#end();
  }

  /** The client is done with it, but what it wrote waits for room: the rings go on until all is taken. */
  #linger(): void {
    this.#isLingering = true;
    this.trace(null);
    this.client.entries.remove(this.handle);
  }

  #goOnLingering(): void {
    if (!this.rings!.isSent && this.socket.maySend()) return;
    if (this.socket.maySend()) this.socket.close();
    this.#end();
  }

  /** Records what happens to the connection, or no more. */
  trace(traces: TraceBuffer | null): void {
    this.#traces?.close();
    this.#traces = traces;
    this.socket.trace(traces?.look ?? null);
  }

  /** @throws NetError EINVAL where nothing is recorded */
  nextTraces(call: NextTraces): void {
    if (this.#traces === null) throw new NetError('EINVAL', 'trace', { detail: 'nothing is recorded' });
    this.#traces.next(call);
  }

  /** Whether, once closed, everything has been acknowledged. */
  get isDone(): boolean {
    return this.#isClosed && this.socket.isDrained();
  }

  abort(): void {
    if (this.#isClosed) return;
    this.socket.abort();
    this.#end();
  }

  #end(): void {
    this.#isClosed = true;
    this.trace(null);
    this.socket.owner = null;
    this.socket.release();
    this.client.entries.remove(this.handle);
    this.rings?.free();
    const error = new NetError('ECANCELED', 'close', { detail: 'the socket was closed' });
    for (const call of [this.#connecting, this.#receiving, this.#sending]) call?.fail(error);
  }
}
