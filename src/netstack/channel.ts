/** The way to a stack, from its own thread or another. @module */
import { NetError } from '../errors.ts';
import type { BlockingOptions } from '../sockets/backend.ts';
import { dispose } from '../sockets/dispose.ts';
import type { WaitOptions } from '../sockets/waiters.ts';
import { Caller, goneError } from './caller.ts';
import type { Command, PlainRoute, ResponseTo } from './commands.ts';
import { Control, DEAD, STATE_FREE, STATE_RESERVED } from './control.ts';
import { hasWaitAsync } from './doorbell.ts';
import { PortLink, WatchedPort } from './port.ts';
import { SharedLink } from './shared-link.ts';

/** A channel as it is posted: a plain record. */
export interface ChannelData {
  readonly ethertype: 'channel';
  /** The words of the channel, null without shared memory. */
  readonly control: SharedArrayBuffer | null;
  /** The words with the doorbell of its stack. */
  readonly bell: SharedArrayBuffer | null;
  /** The stack's memory. */
  readonly memory: SharedArrayBuffer | null;
  /** The slot that is kept for whoever gets it, -1: any. */
  readonly slot: number;
  readonly port: MessagePort | null;
  /** Names the locks by which each side learns of the other's end. */
  readonly lease: string;
  /** Commands that may be under way. */
  readonly capacity: number;
}

/** Anything that has a channel. */
export interface HasChannel {
  commandChannel(): Channel;
}

/** What {@link Channel.share} gives. */
export interface SharedChannel {
  readonly channel: ChannelData;
  /** To be given to `postMessage`, or `new Worker`, beside the channel. */
  readonly transferList: MessagePort[];
}

/**
 * Commands to a stack, and sockets made of them. It keeps no stack alive, and fails with ENETDOWN once its stack is gone.
 *
 * A channel may be posted as it is where the stack's memory is shared; {@link share} is for one worker, whose end the
 * stack learns of.
 * @example
 * const { channel, transferList } = netstack.commandChannel().share()
 * worker.postMessage(channel, transferList) // there: Channel.from(message)
 */
export class Channel implements HasChannel {
  // What a structured clone takes along.
  readonly ethertype = 'channel';
  readonly control: SharedArrayBuffer | null;
  readonly bell: SharedArrayBuffer | null;
  readonly memory: SharedArrayBuffer | null;
  readonly slot = -1;
  readonly port = null;
  readonly lease = '';
  readonly capacity: number;
  readonly #caller: Caller;
  readonly #share: () => ChannelData;

  /** Made by `netstack.commandChannel()` and {@link from}. */
  constructor(caller: Caller, data: ChannelData, share: () => ChannelData) {
    this.#caller = caller;
    this.#share = share;
    this.control = data.control;
    this.bell = data.bell;
    this.memory = data.memory;
    this.capacity = data.capacity;
  }

  /**
   * The channel that was posted to this thread.
   * @throws TypeError for anything else; NetError ENETDOWN, EMFILE when all slots are taken, EOPNOTSUPP for a channel that
   *   was posted as it was, without shared memory or where an engine lacks Atomics.waitAsync
   */
  static from(data: unknown): Channel {
    if (data instanceof Channel) return data;
    const given = data as ChannelData | null;
    if (typeof given !== 'object' || given === null || given.ethertype !== 'channel') {
      throw new TypeError(`channel: expected one that was posted, got ${given === null ? 'null' : typeof given}`);
    }
    const { control, memory, port } = given;
    if (control === null || memory === null) return fromPort(given);
    const words = new Control(control, given.bell ?? control);
    if (Atomics.load(words.i32, DEAD) === 1) throw goneError('attach');
    if (port === null && !hasWaitAsync) {
      const detail = 'this engine has no Atomics.waitAsync: a channel is posted by share()';
      throw new NetError('EOPNOTSUPP', 'attach', { detail });
    }
    const index = claim(words, given.slot);
    let link: SharedLink | null = null;
    const caller = new Caller((made) => {
      const watched = port === null ? null : new WatchedPort(port, given.lease, 'client', () => made.die(goneError()));
      link = new SharedLink(made, words, words.slot(index), memory, watched);
      return link;
    });
    const plain = { ...given, slot: -1, port: null, lease: '' };
    return new Channel(caller, plain, () => ({ ...plain, ...link!.share() }));
  }

  /** What sockets are made over. */
  get caller(): Caller {
    return this.#caller;
  }

  get isClosed(): boolean {
    return this.#caller.isDead;
  }

  commandChannel(): Channel {
    return this;
  }

  /**
   * A channel for one worker, given by the stack's thread or by another one's, with a port on which each side learns of the
   * other's end.
   * @throws NetError ENETDOWN, EMFILE
   */
  share(): SharedChannel {
    if (this.isClosed) throw goneError('share');
    const channel = this.#share();
    return { channel, transferList: channel.port === null ? [] : [channel.port] };
  }

  /**
   * The answer to a command. A signal cancels it; what was answered before the cancelling came through is the result.
   * @throws NetError what the command failed with; ENETDOWN, ENOBUFS
   */
  request<C extends Command>(command: C, options?: WaitOptions): Promise<ResponseTo<C>> {
    return this.#caller.request(command, options) as Promise<ResponseTo<C>>;
  }

  /**
   * The answer to a command; stops the thread until it is there.
   * @throws NetError EDEADLK on the stack's own thread, EOPNOTSUPP where a thread may not wait, ETIMEDOUT, and as {@link request}
   */
  requestBlocking<C extends Command>(command: C, options?: BlockingOptions): ResponseTo<C> {
    return this.#caller.requestBlocking(command, options) as ResponseTo<C>;
  }

  /** Sends a command whose answer nobody needs. @throws NetError EAGAIN when the channel is full; ENETDOWN */
  requestNonblocking(command: Command): void {
    this.#caller.post(command);
    this.#caller.flush();
  }

  /** Replaces the addresses of the stack's first interface, all or none. */
  async setAddresses(addresses: readonly string[]): Promise<void> {
    await this.request({ kind: 'set-addresses', addresses });
  }

  async addRoute(route: PlainRoute): Promise<void> {
    await this.request({ kind: 'add-route', route });
  }

  /** Counters of the stack. */
  async stats(): Promise<Readonly<Record<string, unknown>>> {
    return (await this.request({ kind: 'get-stats' })).stats;
  }

  /** Closes every socket made of it; pending calls fail with ECANCELED. */
  close(): void {
    if (this.isClosed) return;
    this.#caller.tell({ kind: 'leave' });
    this.#caller.flush();
    this.#caller.die(new NetError('ECANCELED', 'request', { detail: 'the channel is closed' }));
  }

  [dispose](): void {
    this.close();
  }
}

function fromPort(data: ChannelData): Channel {
  const { port, capacity, lease } = data;
  if (port === null) {
    const detail = 'without shared memory a channel is posted by share()';
    throw new NetError('EOPNOTSUPP', 'attach', { detail });
  }
  let link: PortLink | null = null;
  const caller = new Caller((made) => {
    link = new PortLink(made, port, lease, capacity);
    return link;
  });
  return new Channel(caller, { ...data, port: null }, () => ({ ...data, ...link!.share() }));
}

/** A slot: the one that was kept, or else any that is free. */
function claim(control: Control, reserved: number): number {
  if (reserved >= 0 && control.claim(reserved, STATE_RESERVED)) return reserved;
  for (let index = 0; index < control.slotCount; index++) if (control.claim(index, STATE_FREE)) return index;
  throw new NetError('EMFILE', 'attach', { detail: 'no slot is free: see clients of the netstack' });
}
