/**
 * A channel over a MessagePort, for threads without shared memory: asynchronous only. Also, beside shared memory, how each
 * side learns that the other's thread has ended. @module
 */
import { NetError } from '../errors.ts';
import { type Caller, goneError, type Link } from './caller.ts';
import { Client } from './client.ts';
import { type Command, errorResponse, type Response } from './commands.ts';
import { Lease, leaseName, type Role } from './lease.ts';
import type { Mailbox } from './mailbox.ts';

interface ToStack {
  readonly id: number;
  readonly command: Command;
}

/** What either side may say: it holds its lock; there is something to look at in the shared memory. */
interface Said {
  readonly holds?: true;
  readonly ring?: true;
  /** A client shares the channel: the stack's end of a further one. */
  readonly join?: Joined;
}

/** A channel that a client shares with a further thread. */
export interface Joined {
  readonly port: MessagePort;
  readonly lease: string;
  /** The slot that is kept for that thread; -1 without shared memory. */
  readonly slot: number;
}

/** What the further thread is given. */
export const joining = (slot: number): { given: Joined; kept: Joined } => {
  const { port1, port2 } = new MessageChannel();
  const lease = leaseName();
  return { given: { port: port2, lease, slot }, kept: { port: port1, lease, slot } };
};

/** A message of a client that shares a channel, or null. */
function joinedOf(data: unknown): Joined | null {
  const { join } = (data ?? {}) as Said;
  return join?.port instanceof MessagePort && typeof join.lease === 'string' ? join : null;
}

/** An answer, or how many commands were taken, or that the stack ends. */
interface ToClient {
  readonly id?: number;
  readonly response?: Response;
  readonly taken?: number;
  readonly isGone?: true;
}

/** A port that does not keep the process alive, and tells when the thread at its other end is gone. */
class EndedPort {
  readonly port: MessagePort;
  readonly #lease: Lease;
  #isClosed = false;

  constructor(port: MessagePort, lease: string, role: Role, onMessage: (data: unknown) => void, onEnd: () => void) {
    this.port = port;
    const end = (): void => {
      if (!this.#isClosed) onEnd();
    };
    this.#lease = new Lease(lease, role, () => this.post({ holds: true }), end);
    port.onmessage = ({ data }) => {
      if ((data as Said | null)?.holds === true) this.#lease.heard();
      else onMessage(data);
    };
    // Node tells when the other side's thread has ended.
    port.addEventListener('close', end);
    this.hold(false);
  }

  /** Whether the port keeps the process alive. */
  hold(isWanted: boolean): void {
    const port = this.port as { ref?: () => void; unref?: () => void };
    if (this.#isClosed) return;
    if (isWanted) port.ref?.();
    else port.unref?.();
  }

  post(message: readonly ToStack[] | readonly ToClient[] | Said): void {
    if (!this.#isClosed) this.port.postMessage(message);
  }

  /** Sends the stack its end of a further channel. */
  join(join: Joined): void {
    if (!this.#isClosed) this.port.postMessage({ join } satisfies Said, [join.port]);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#lease.close();
    this.port.close();
  }
}

/**
 * The port beside a channel in shared memory. It tells of the end of the thread on its other side, and carries the rings
 * of engines without Atomics.waitAsync.
 */
export class WatchedPort {
  /** Called when the other side has rung. */
  onRing: (() => void) | null = null;
  /** Called when the other side shares the channel. */
  onJoin: ((joined: Joined) => void) | null = null;
  readonly #port: EndedPort;

  constructor(port: MessagePort, lease: string, role: Role, onEnd: () => void) {
    const onMessage = (data: unknown): void => {
      const joined = joinedOf(data);
      if (joined !== null) this.onJoin?.(joined);
      else if ((data as Said | null)?.ring === true) this.onRing?.();
    };
    this.#port = new EndedPort(port, lease, role, onMessage, onEnd);
  }

  ring(): void {
    this.#port.post({ ring: true });
  }

  join(join: Joined): void {
    this.#port.join(join);
  }

  close(): void {
    this.#port.close();
  }
}

/** The client's side. */
export class PortLink implements Link {
  readonly #port: EndedPort;
  readonly #capacity: number;
  readonly #caller: Caller;
  #underWay = 0;
  /** What leaves together, with the next {@link ring}. */
  #batch: ToStack[] = [];

  constructor(caller: Caller, port: MessagePort, lease: string, capacity: number) {
    this.#capacity = capacity;
    this.#caller = caller;
    const onMessage = (data: unknown): void => {
      for (const message of Array.isArray(data) ? data : [data]) onOne(message as ToClient | null);
    };
    const onOne = (message: ToClient | null): void => {
      if (typeof message !== 'object' || message === null) return; // nobody of ours sent that
      if (message.isGone) caller.die(goneError());
      if (typeof message.taken === 'number') {
        this.#underWay -= message.taken;
        caller.room();
      }
      if (typeof message.id === 'number' && message.response !== undefined) {
        caller.settle(message.id, message.response);
      }
    };
    this.#port = new EndedPort(port, lease, 'client', onMessage, () => caller.die(goneError()));
  }

  /** A channel for a further thread. */
  share(): Joined {
    const { given, kept } = joining(-1);
    this.#port.join(kept);
    return given;
  }

  send(id: number, command: Command): boolean {
    if (this.#underWay >= this.#capacity) return false;
    this.#batch.push({ id, command });
    this.#underWay++;
    return true;
  }

  /** Sends all that was handed over since, in one message: one wake-up. */
  ring(): void {
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    try {
      this.#port.post(batch);
    } catch {
      for (const one of batch) this.#postOne(one); // one of them cannot be posted
    }
  }

  /** @throws what the engine says, where nobody waits for an answer */
  #postOne(one: ToStack): void {
    try {
      this.#port.post([one]);
    } catch (error) {
      this.#underWay--;
      if (one.id === 0) throw error;
      this.#caller.settle(one.id, errorResponse(error, 'request'));
    }
  }

  drain(): void {
    // Answers come as events.
  }

  listen(): void {
    // They always come.
  }

  hold(isWanted: boolean): void {
    this.#port.hold(isWanted);
  }

  wait(): void {
    throw new Error('a channel without shared memory cannot wait');
  }

  refusesBlocking(): { code: 'EOPNOTSUPP'; detail: string } {
    return { code: 'EOPNOTSUPP', detail: 'the channel has no shared memory to wait on: use the call without Blocking' };
  }

  close(): void {
    this.#port.close();
  }
}

/** What the stack is told of a port. */
export interface PortHooks {
  /** Its client is gone. */
  onEnd(server: PortServer): void;
  /** Its client shares the channel. */
  onJoin(joined: Joined): void;
  /** A message is none of ours. */
  onForeign(): void;
}

/** The stack's side: commands of one port go into the mailbox. */
export class PortServer {
  readonly client: Client;
  readonly #port: EndedPort;
  readonly #mailbox: Mailbox;
  /** Commands that the mailbox had no room for; the client's own limit bounds them. */
  readonly #waiting: ToStack[] = [];
  readonly #backlogMax: number;
  readonly #hooks: PortHooks;
  #taken = 0;
  #outgoing: ToClient[] = [];

  constructor(port: MessagePort, lease: string, mailbox: Mailbox, hooks: PortHooks) {
    this.#mailbox = mailbox;
    this.#hooks = hooks;
    this.#backlogMax = 4 * mailbox.capacity;
    this.client = new Client({ answer: (id, response) => this.#answer(id, response) });
    const onMessage = (data: unknown): void => {
      const joined = joinedOf(data);
      if (joined !== null) hooks.onJoin(joined);
      // A client of ours has no more under way than the channel takes; a longer batch could keep the stack busy for ever.
      else if (!Array.isArray(data) || data.length > this.#backlogMax) this.#onMessage(data);
      else for (const message of data) this.#onMessage(message);
    };
    this.#port = new EndedPort(port, lease, 'stack', onMessage, () => this.#end());
  }

  #onMessage(data: unknown): void {
    const message = data as Partial<ToStack> | null;
    const id = typeof message?.id === 'number' ? message.id : 0;
    if (
      typeof message !== 'object' ||
      message === null ||
      typeof message.command !== 'object' ||
      message.command === null ||
      id < 0
    ) {
      this.#hooks.onForeign();
      const detail = `expected a command, got ${message === null ? 'null' : typeof message}`;
      this.#port.post([{ id, response: errorResponse(new NetError('EPROTO', 'request', { detail }), 'request') }]);
      return;
    }
    // A client of ours keeps to the capacity; what somebody else floods the port with ends here.
    if (this.#waiting.length >= this.#backlogMax) {
      const error = new NetError('ENOBUFS', 'request', { detail: 'the channel is full' });
      this.#port.post([{ id, response: errorResponse(error, 'request') }]);
      return;
    }
    this.#waiting.push({ id, command: message.command as Command });
    this.fill();
    this.#mailbox.onPost?.();
  }

  /** Moves into the mailbox what there is room for. */
  fill(): void {
    while (this.#waiting.length > 0 && this.#mailbox.put({ client: this.client, ...this.#waiting[0]! })) {
      this.#waiting.shift();
      this.#taken++;
    }
  }

  /** Sends the client, in one message, its answers and how many commands were taken since the last time. */
  flush(): void {
    this.fill();
    if (this.#taken > 0) this.#outgoing.push({ taken: this.#taken });
    this.#taken = 0;
    if (this.#outgoing.length === 0) return;
    this.#port.post(this.#outgoing);
    this.#outgoing = [];
  }

  #answer(id: number, response: Response): void {
    if (id !== 0) this.#outgoing.push({ id, response });
  }

  #end(): void {
    this.#port.close();
    this.client.leave();
    this.#hooks.onEnd(this);
  }

  /** The stack ends. */
  close(): void {
    this.#outgoing.push({ isGone: true });
    this.flush();
    this.#port.close();
  }
}
