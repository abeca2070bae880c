/**
 * A TCP connection behind a channel without shared memory: bytes go in commands. One send and one receive are under way at
 * a time; what was received and not read waits here, so that a cancelled read loses nothing. @module
 */
import { type ErrorCode, NetError } from '../errors.ts';
import type { StreamBackend } from '../sockets/backend.ts';
import { CLOSED_EVENT, READABLE, WRITABLE } from '../tcp/events.ts';
import type { Endpoint } from '../tcp/socket.ts';
import type { TcpState } from '../tcp/state.ts';
import { IpAddress } from '../wire/address.ts';
import type { Caller } from './caller.ts';
import { errorOf, type Handle, type Local, type Response, type StreamOpened } from './commands.ts';
import { InspectedSocket } from './stream-inspector.ts';

/** Bytes of one command: what may be under way. */
const SEND_BYTES = 1 << 16;
const RECEIVE_BYTES = 1 << 16;
const EMPTY: Uint8Array = new Uint8Array(0);

export const endpointOf = ({ address, port }: Local): Endpoint => ({ address: IpAddress.parse(address), port });

export class CommandStream extends InspectedSocket implements StreamBackend {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly connection = null;
  error: ErrorCode | null = null;
  readonly #handle: Handle;
  #received: Uint8Array = EMPTY; // what is left of the last answer
  #isReceiving = false;
  #isSending = false;
  #wantsRoom = false;
  #isFinished = false; // the peer has closed its half
  #isShut = false; // we have
  #mustClose = false; // when the send under way is answered
  #afterSend: (() => void)[] = [];

  constructor(caller: Caller, { handle, local, remote }: StreamOpened) {
    super(caller, handle);
    this.#handle = handle;
    this.local = endpointOf(local);
    this.remote = endpointOf(remote);
  }

  /** As far as it is known on this side. */
  state(): TcpState {
    if (this.error !== null || this.isReleased) return 'CLOSED';
    if (this.#isShut) return this.#isFinished ? 'LAST-ACK' : 'FIN-WAIT-1';
    return this.#isFinished ? 'CLOSE-WAIT' : 'ESTABLISHED';
  }

  send(data: Uint8Array, from = 0): number {
    if (this.#isShut || this.error !== null) throw this.#fault('write', 'EPIPE');
    const count = Math.min(data.length - from, SEND_BYTES);
    if (count === 0) return 0;
    if (this.#isSending) {
      this.#wantsRoom = true;
      return 0;
    }
    this.#isSending = true;
    const copy = data.slice(from, from + count);
    this.caller.listen(1); // what follows it, a FIN perhaps, is sent when it is answered
    this.caller.call({ kind: 'tcp-send', handle: this.#handle, data: copy }, (response) => this.#sent(response));
    this.#wantsRoom = count < data.length - from;
    return count;
  }

  #sent(response: Response): void {
    this.#isSending = false;
    this.caller.listen(-1);
    if (response.kind === 'error') this.#fail(response);
    if (this.#mustClose) this.#close();
    if (this.#isShut && !this.isReleased) this.#shut();
    if (this.#wantsRoom) this.notifyOwner(WRITABLE);
    for (const resolve of this.#afterSend.splice(0)) resolve();
  }

  #fail(response: Extract<Response, { kind: 'error' }>): void {
    if ((response.code === 'ECANCELED' && !this.caller.isDead) || this.error !== null) return;
    const error = errorOf(response);
    this.error = error instanceof NetError ? error.code : 'EPROTO';
    this.notifyOwner(CLOSED_EVENT);
  }

  recvQueue(): number {
    return this.#received.length;
  }

  recv(target: Uint8Array): number {
    const count = Math.min(this.#received.length, target.length);
    target.set(this.#received.subarray(0, count));
    this.#received = count === this.#received.length ? EMPTY : this.#received.subarray(count);
    return count;
  }

  mayRecv(): boolean {
    return this.#received.length > 0 || !(this.#isFinished || this.error !== null);
  }

  /** Somebody waits for bytes. */
  wantRecv(): boolean {
    if (this.#isReceiving || this.isReleased) return false;
    this.#isReceiving = true;
    const command = { kind: 'tcp-receive', handle: this.#handle, max: RECEIVE_BYTES } as const;
    this.caller.call(command, (response) => {
      this.#isReceiving = false;
      if (response.kind === 'received') this.#received = response.data;
      else if (response.kind === 'finished') this.#isFinished = true;
      else if (response.kind === 'error') this.#fail(response);
      this.notifyOwner(READABLE);
    });
    return false;
  }

  close(): void {
    if (this.#isShut || this.isReleased) return;
    this.#isShut = true;
    if (!this.#isSending) this.#shut();
  }

  #shut(): void {
    this.caller.tell({ kind: 'tcp-shutdown', handle: this.#handle });
  }

  release(): void {
    if (this.isReleased) return;
    this.forget();
    if (this.#received.length > 0) this.caller.tell({ kind: 'tcp-abort', handle: this.#handle });
    else if (this.#isSending) this.#mustClose = true;
    else this.#close();
  }

  async releaseLingering(lingerMs: number): Promise<void> {
    if (this.isReleased) return;
    while (this.#isSending) await new Promise<void>((resolve) => this.#afterSend.push(resolve));
    if (this.#received.length > 0) {
      this.release();
      return;
    }
    this.forget();
    await this.caller.request({ kind: 'tcp-close', handle: this.#handle, lingerMs }).catch(() => {});
  }

  #close(): void {
    this.#mustClose = false;
    this.caller.tell({ kind: 'tcp-close', handle: this.#handle });
  }

  abort(): void {
    if (this.isReleased) return;
    this.forget();
    this.caller.tell({ kind: 'tcp-abort', handle: this.#handle });
  }

  /** Whether the stack has taken everything. */
  isDrained(): boolean {
    return !this.#isSending;
  }

  drop(): void {
    this.release();
  }

  protected stackIsGone(): void {
    this.error ??= 'ENETDOWN';
    this.notifyOwner(CLOSED_EVENT);
  }

  #fault(syscall: string, code: ErrorCode): NetError {
    const { address, port } = this.remote;
    return new NetError(this.error ?? code, syscall, { address: address.toString(), port });
  }
}
