/** SYNs of a listener behind a channel, of which its `onSyn` decides. @module */
import { IncomingSyn, type SynHandler, type SynRequestLike } from '../sockets/incoming-syn.ts';
import type { Endpoint } from '../tcp/socket.ts';
import type { Caller } from './caller.ts';
import { endpointOf } from './command-stream.ts';
import type { Handle, HeldSyn } from './commands.ts';

/** What is decided here is told to the stack, which may find it too late: that is not known on this side. */
class ChannelSyn implements SynRequestLike {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly mss: number;
  readonly windowScale: number;
  readonly sackPermitted: boolean;
  readonly timestamps: boolean;
  isPending = true;
  readonly #decide: (decision: 'accept' | 'reject' | 'unreachable') => void;

  constructor(held: HeldSyn, decide: (decision: 'accept' | 'reject' | 'unreachable') => void) {
    this.local = endpointOf(held.local);
    this.remote = endpointOf(held.remote);
    this.mss = held.mss;
    this.windowScale = held.windowScale;
    this.sackPermitted = held.sackPermitted;
    this.timestamps = held.timestamps;
    this.#decide = decide;
  }

  accept(): boolean {
    return this.#once('accept');
  }

  reject(how: 'reset' | 'unreachable' = 'reset'): boolean {
    return this.#once(how === 'reset' ? 'reject' : how);
  }

  #once(decision: 'accept' | 'reject' | 'unreachable'): boolean {
    if (!this.isPending) return false;
    this.isPending = false;
    this.#decide(decision);
    return true;
  }
}

/** Asks for one SYN after the other, and has `handler` decide. */
export class SynAsker {
  readonly #caller: Caller;
  readonly #handle: Handle;
  readonly #handler: SynHandler;
  #isOver = false;

  constructor(caller: Caller, handle: Handle, handler: SynHandler) {
    this.#caller = caller;
    this.#handle = handle;
    this.#handler = handler;
    // Answers are listened to as long as the listener is open; but it does not keep the process alive.
    caller.attend(1);
    this.#ask();
  }

  #ask(): void {
    const handle = this.#handle;
    this.#caller.call({ kind: 'tcp-next-syn', handle }, (response) => {
      if (response.kind !== 'syn') {
        this.close();
        return;
      }
      const { syn } = response;
      const request = new ChannelSyn(response, (decision) => {
        this.#caller.call({ kind: 'tcp-decide', handle, syn, decision }, () => {});
      });
      const loop = { touch: () => {}, wake: () => this.#caller.ringSoon() };
      const incoming = new IncomingSyn(loop, request);
      this.#caller.later(() => {
        if (this.#isOver) return;
        incoming.askNow(this.#handler);
        this.#ask();
      });
    });
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#caller.attend(-1);
  }
}
