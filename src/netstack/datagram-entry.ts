/** UDP and raw sockets of a client: both move whole packets. @module */
import { NetError } from '../errors.ts';
import type { RawSocket } from '../raw/raw.ts';
import { Source } from '../udp/datagram-queue.ts';
import type { UdpSocket } from '../udp/socket.ts';
import type { Call, Client, Entry } from './client.ts';
import type { RawCommand, UdpCommand } from './commands.ts';

type Receive = Call<Extract<UdpCommand | RawCommand, { kind: 'udp-receive' | 'raw-receive' }>>;
type Send = Call<Extract<UdpCommand | RawCommand, { kind: 'udp-send' | 'raw-send' }>>;

const source = new Source();

export class DatagramEntry<S extends UdpSocket | RawSocket> implements Entry {
  readonly kind: 'udp' | 'raw';
  handle = 0;
  readonly client: Client;
  readonly socket: S;
  #receiving: Receive | null = null;
  /** Why nothing is sent and received any more: what it stood for is over. */
  #ended: NetError | null = null;
  #sending: { readonly call: Send; readonly attempt: () => boolean } | null = null;

  constructor(client: Client, socket: S, kind: S extends UdpSocket ? 'udp' : 'raw') {
    this.client = client;
    this.socket = socket;
    this.kind = kind;
    socket.owner = this;
  }

  /** @returns whether the device had room; if not, {@link retry} is to be called when it may have */
  send(call: Send, attempt: () => boolean): boolean {
    if (this.#ended !== null) throw this.#ended;
    if (this.#sending !== null) throw new NetError('EBUSY', 'send', { detail: 'another send waits on this socket' });
    if (attempt()) {
      this.#sent(call);
      return true;
    }
    this.#sending = { call, attempt };
    call.waits(() => {
      this.#sending = null;
    });
    return false;
  }

  /** Whether the datagram that waited for room has left, or is given up. */
  retry(): boolean {
    if (this.#sending === null) return true;
    const { call, attempt } = this.#sending;
    try {
      if (!attempt()) return false;
      this.#sent(call);
    } catch (error) {
      call.fail(error);
    }
    return true;
  }

  #sent(call: Send): void {
    const { socket } = this;
    const pathMtu = 'pathMtu' in socket ? socket.pathMtu : null;
    call.answer({ kind: 'sent', count: call.command.data.length, pathMtu });
  }

  receive(call: Receive): void {
    const { max } = call.command;
    if (this.#ended !== null) throw this.#ended;
    if (this.#receiving !== null) throw new NetError('EBUSY', 'receive', { detail: 'another receive waits already' });
    if (max !== undefined && !(Number.isInteger(max) && max >= 1)) {
      throw new NetError('EINVAL', 'receive', { detail: `max: expected at least 1 byte, got ${max}` });
    }
    if (this.#answer(call)) return;
    this.#receiving = call;
    call.waits(() => {
      this.#receiving = null;
    });
  }

  #answer(call: Receive): boolean {
    const { socket } = this;
    const { max = 65_535 } = call.command;
    const data = new Uint8Array(Math.min(max, Math.max(0, socket.peekLength())));
    if (socket.recv(data, source) < 0) return false;
    const { length, port, ttl } = source;
    const [address, localAddress] = [source.address.toString(), source.local.toString()];
    call.answer({ kind: 'datagram', data, address, port, localAddress, length, ttl });
    return true;
  }

  notify(): void {
    if (this.#receiving === null) return;
    try {
      this.#answer(this.#receiving);
    } catch (error) {
      this.#receiving?.fail(error);
    }
  }

  /** The stack has done with the socket; the client keeps its handle until it closes it. */
  end(error: NetError): void {
    this.#ended = error;
    this.socket.owner = null;
    this.#receiving?.fail(error);
    this.#sending?.call.fail(error);
  }

  close(): void {
    this.end(new NetError('ECANCELED', 'close', { detail: 'the socket was closed' }));
    this.socket.close();
    this.client.entries.remove(this.handle);
  }
}
