/** A listening TCP port of a client. @module */
import { NetError } from '../errors.ts';
import type { TcpSocket } from '../tcp/socket.ts';
import type { Call, Client, Entry } from './client.ts';
import type { Response, TcpCommand } from './commands.ts';
import { StreamEntry } from './stream-entry.ts';

type Accept = Call<Extract<TcpCommand, { kind: 'tcp-accept' }>>;

export class ListenerEntry implements Entry {
  readonly kind = 'listener';
  handle = 0;
  readonly client: Client;
  readonly socket: TcpSocket;
  #accepting: Accept | null = null;

  constructor(client: Client, socket: TcpSocket) {
    this.client = client;
    this.socket = socket;
    socket.owner = this;
  }

  open(): Response {
    const { address, port } = this.socket.local!;
    const handle = this.client.add(this, 'listen');
    return { kind: 'listening', handle, local: { address: address.toString(), port } };
  }

  accept(call: Accept): void {
    if (this.#accepting !== null) throw new NetError('EBUSY', 'accept', { detail: 'another accept waits already' });
    if (this.#answer(call)) return;
    this.#accepting = call;
    call.waits(() => {
      this.#accepting = null;
    });
  }

  #answer(call: Accept): boolean {
    const socket = this.socket.accept();
    if (socket === null) return false;
    const stream = new StreamEntry(this.client, socket);
    try {
      call.answer({ kind: 'accepted', ...stream.open() });
    } catch (error) {
      stream.abort(); // no handle is free
      call.fail(error);
    }
    return true;
  }

  notify(): void {
    if (this.#accepting !== null) this.#answer(this.#accepting);
  }

  close(): void {
    this.socket.owner = null;
    this.socket.close();
    this.client.entries.remove(this.handle);
    this.#accepting?.fail(new NetError('ECANCELED', 'accept', { detail: 'the listener was closed' }));
  }
}
