/** A SYN that a listener's `onSyn` decides about. @module */
import type { SynRequest } from '../tcp/syn-request.ts';
import type { SocketLoop } from './backend.ts';

/** `unreachable` answers with ICMP: the host behind this address cannot be reached. */
export type SynDecision = 'accept' | 'reject' | 'unreachable';

/**
 * Decides about each SYN before it is answered. Gives the decision, or a promise of it; undefined leaves it to a later call
 * of {@link IncomingSyn.accept} or {@link IncomingSyn.reject}. What it throws rejects the SYN, and so does the deadline,
 * `synDeadlineMs`. The client waits meanwhile: what it sends again is absorbed.
 */
export type SynHandler = (syn: IncomingSyn) => SynDecision | undefined | Promise<SynDecision | undefined>;

/** The SYN of the core, or of a stack behind a channel. */
export type SynRequestLike = Pick<
  SynRequest,
  'remote' | 'local' | 'mss' | 'windowScale' | 'sackPermitted' | 'timestamps' | 'isPending' | 'accept' | 'reject'
>;

export class IncomingSyn {
  readonly #request: SynRequestLike;
  readonly #loop: Pick<SocketLoop, 'touch' | 'wake'>;

  /** Made by the listener. */
  constructor(loop: Pick<SocketLoop, 'touch' | 'wake'>, request: SynRequestLike) {
    this.#loop = loop;
    this.#request = request;
  }

  get remoteAddress(): string {
    return this.#request.remote.address.toString();
  }

  get remotePort(): number {
    return this.#request.remote.port;
  }

  /** The address of ours it asks for. */
  get localAddress(): string {
    return this.#request.local.address.toString();
  }

  get localPort(): number {
    return this.#request.local.port;
  }

  /** Options of the SYN; an MSS of 0 and a scale of -1 where it had none. */
  get mss(): number {
    return this.#request.mss;
  }

  get windowScale(): number {
    return this.#request.windowScale;
  }

  get sackPermitted(): boolean {
    return this.#request.sackPermitted;
  }

  get timestamps(): boolean {
    return this.#request.timestamps;
  }

  /** Whether it still waits: not decided, not too late, and the client has not given up with a reset. */
  get isPending(): boolean {
    return this.#request.isPending;
  }

  /**
   * Answers it; the listener accepts the connection when the handshake is done. False when it is too late; over a channel
   * only when it was decided here before.
   */
  accept(): boolean {
    return this.#decide('accept');
  }

  /** Refuses it, by default with a RST. False when it is too late. */
  reject(how: 'reset' | 'unreachable' = 'reset'): boolean {
    return this.#decide(how === 'unreachable' ? how : 'reject');
  }

  #decide(decision: SynDecision): boolean {
    this.#loop.touch();
    const isInTime =
      decision === 'accept'
        ? this.#request.accept()
        : this.#request.reject(decision === 'unreachable' ? 'unreachable' : 'reset');
    this.#loop.wake();
    return isInTime;
  }

  /** Asks `handler`, outside the poll that the SYN came in with, and does as it says. */
  async ask(handler: SynHandler): Promise<void> {
    await Promise.resolve();
    this.askNow(handler);
  }

  /** The same, at once. */
  askNow(handler: SynHandler): void {
    try {
      const decision = handler(this);
      if (typeof decision === 'object') decision.then(this.#decided).catch(() => this.reject());
      else this.#decided(decision);
    } catch {
      this.reject();
    }
  }

  readonly #decided = (decision: SynDecision | undefined): void => {
    if (decision !== undefined) this.#decide(decision);
  };
}
