/** A listening TCP port of a client. @module */
import { NetError } from '../errors.ts';
import type { SynDecision } from '../sockets/incoming-syn.ts';
import type { TcpSocket } from '../tcp/socket.ts';
import type { SynRequest } from '../tcp/syn-request.ts';
import type { Call, Client, Entry } from './client.ts';
import type { Response, TcpCommand } from './commands.ts';
import { StreamEntry } from './stream-entry.ts';

type Accept = Call<Extract<TcpCommand, { kind: 'tcp-accept' }>>;
type NextSyn = Call<Extract<TcpCommand, { kind: 'tcp-next-syn' }>>;

/** SYNs that may wait for a client's decision; one more is refused, as it would be by a full backlog. */
const SYNS_MAX = 1024;

export class ListenerEntry implements Entry {
  readonly kind = 'listener';
  handle = 0;
  readonly client: Client;
  readonly socket: TcpSocket;
  #accepting: Accept | null = null;
  #asking: NextSyn | null = null;
  /** SYNs by their numbers, until they are decided about. */
  readonly #syns = new Map<number, SynRequest>();
  /** Those that the client was not told of. */
  #untold: number[] = [];
  #nextSyn = 1;

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

  /** For `listen`: keeps a SYN until the client decides, or its deadline rejects it. */
  readonly onSyn = (request: SynRequest): void => {
    if (this.#syns.size >= SYNS_MAX) this.#forgetOver();
    if (this.#syns.size >= SYNS_MAX) {
      request.reject();
      return;
    }
    this.#syns.set(this.#nextSyn, request);
    this.#untold.push(this.#nextSyn++);
    if (this.#asking !== null) this.#tellSyn(this.#asking);
  };

  /** Those that were reset, or are too late. */
  #forgetOver(): void {
    for (const [syn, request] of this.#syns) if (!request.isPending) this.#syns.delete(syn);
    this.#untold = this.#untold.filter((syn) => this.#syns.has(syn));
  }

  nextSyn(call: NextSyn): void {
    if (this.#asking !== null) throw new NetError('EBUSY', 'accept', { detail: 'the next SYN is waited for already' });
    if (this.#tellSyn(call)) return;
    this.#asking = call;
    call.waits(() => {
      this.#asking = null;
    });
  }

  #tellSyn(call: NextSyn): boolean {
    for (let syn = this.#untold.shift(); syn !== undefined; syn = this.#untold.shift()) {
      const request = this.#syns.get(syn)!;
      if (!request.isPending) {
        this.#syns.delete(syn);
        continue;
      }
      const { local, remote, mss, windowScale, sackPermitted, timestamps } = request;
      const [to, from] = [local, remote].map(({ address, port }) => ({ address: `${address}`, port }));
      call.answer({ kind: 'syn', syn, local: to!, remote: from!, mss, windowScale, sackPermitted, timestamps });
      return true;
    }
    return false;
  }

  /** Whether it was in time. @throws TypeError for a decision that is none */
  decide(syn: number, decision: SynDecision): boolean {
    if (decision !== 'accept' && decision !== 'reject' && decision !== 'unreachable') {
      throw new TypeError(`decision: expected accept, reject or unreachable, got ${decision}`);
    }
    const request = this.#syns.get(syn);
    this.#syns.delete(syn);
    if (request === undefined) return false;
    if (decision === 'accept') return request.accept();
    return request.reject(decision === 'reject' ? 'reset' : 'unreachable');
  }

  notify(): void {
    if (this.#accepting !== null) this.#answer(this.#accepting);
  }

  close(): void {
    this.socket.owner = null;
    this.socket.close();
    this.client.entries.remove(this.handle);
    this.#syns.clear();
    this.#asking?.fail(new NetError('ECANCELED', 'accept', { detail: 'the listener was closed' }));
    this.#accepting?.fail(new NetError('ECANCELED', 'accept', { detail: 'the listener was closed' }));
  }
}
