/** What the sockets of a channel have in common: the loop that the classes of `sockets/` expect. @module */
import type { BlockingOptions, SocketLoop } from '../sockets/backend.ts';
import type { Notified } from '../sockets/loop.ts';
import { realClock } from '../sockets/real-clock.ts';
import { type IpAddress, parseIp } from '../wire/address.ts';
import type { Caller } from './caller.ts';

/** Closes sockets whose objects nobody holds any more. */
const dropped = new FinalizationRegistry<ChannelSocket>((socket) => socket.drop());

export abstract class ChannelSocket implements SocketLoop {
  readonly clock = realClock;
  readonly caller: Caller;
  protected isReleased = false;
  #owner: WeakRef<Notified> | null = null;
  /** The owner, while somebody waits for it: a promise does not keep it. */
  #waitedFor: Notified | null = null;
  #waits = 0;
  readonly #mourn = (): void => this.stackIsGone();

  constructor(caller: Caller) {
    this.caller = caller;
    caller.mourners.add(this.#mourn);
  }

  /** The socket itself, for which it is the loop. */
  get loop(): SocketLoop {
    return this;
  }

  set owner(owner: unknown) {
    this.#owner = new WeakRef(owner as Notified);
    dropped.register(owner as Notified, this, this);
  }

  get owner(): unknown {
    return this.#owner?.deref() ?? null;
  }

  get isClosed(): boolean {
    return this.caller.isDead;
  }

  /** Nothing is kept: a socket whose stack ends is told by {@link stackIsGone}. */
  get closers(): Set<() => void> {
    return new Set();
  }

  wake(): void {
    this.caller.ringSoon();
  }

  /** The stack knows the names of its interfaces: here one stands for any zone. */
  parseAddress(text: string): IpAddress | null {
    return parseIp(text) ?? parseIp(text.replace(/%.*$/s, ''));
  }

  /** A zone is the index of an interface, not its name. */
  formatAddress(address: IpAddress): string {
    return address.toString();
  }

  touch(): void {
    // The stack's own thread knows the time.
  }

  hold(change: 1 | -1): void {
    this.#waits += change;
    this.#waitedFor = this.#waits > 0 ? (this.#owner?.deref() ?? null) : null;
    this.caller.listen(change);
  }

  block<T>(syscall: string, attempt: () => T | undefined, options?: BlockingOptions): T {
    return this.caller.block(syscall, attempt, options);
  }

  protected notifyOwner(events: number): void {
    (this.#waitedFor ?? this.#owner?.deref())?.notify(events);
  }

  /** Nothing more will be reported. */
  protected forget(): void {
    this.isReleased = true;
    this.caller.mourners.delete(this.#mourn);
    dropped.unregister(this);
  }

  /** The owner was collected. */
  abstract drop(): void;

  protected abstract stackIsGone(): void;
}
