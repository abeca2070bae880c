/**
 * A stack behind a command channel, after the netcore that Tailscale builds on smoltcp: one thread owns the stack and gives
 * it time and device; sockets live on any thread, and ask for what they need. @module
 */
import { NetError } from '../errors.ts';
import type { Interface } from '../iface/interface.ts';
import type { Memory } from '../memory/memory.ts';
import type { Device } from '../phy/device.ts';
import { Posix } from '../posix/index.ts';
import { dispose } from '../sockets/dispose.ts';
import { secureRandom } from '../sockets/real-clock.ts';
import { Stack } from '../stack.ts';
import { ALGORITHMS } from '../tcp/congestion/index.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import { Caller } from './caller.ts';
import { Channel, type ChannelData, type HasChannel } from './channel.ts';
import { type Call, Client } from './client.ts';
import type { PlainRoute, PosixCommand } from './commands.ts';
import { type Control, DEAD, DOORBELL, PING, PONG, STACK_WAITS, WAITS } from './control.ts';
import type { DatagramEntry } from './datagram-entry.ts';
import { DeviceSlot } from './device-slot.ts';
import { rung, whenRung } from './doorbell.ts';
import { type ChannelStats, type Executed, Executor } from './executor.ts';
import { LocalLink, Mailbox, type Request } from './mailbox.ts';
import { capacityOf, makeSlots, memoryOf, type NetstackConfig } from './netstack-config.ts';
import { type Joined, joining, PortServer, WatchedPort } from './port.ts';
import { runPosixCall } from './posix-calls.ts';
import { Services } from './services.ts';
import type { Slots } from './slots.ts';
import type { Teller } from './trace-buffer.ts';

/** Rounds of one `pollDeviceIo`; then it returns, and says that there is more. */
const ROUNDS_MAX = 16;
/** Commands of one `processCommands`; then it returns, so that packets have their turn. */
const COMMANDS_MAX = 1024;
/** Threads that may have sockets at once over ports. */
const PORTS_MAX = 1024;
const MTU_DEFAULT = 1500;
/** How long `waitForCommandBlocking` waits at once where it may wait for ever. */
const WAIT_FOREVER = Number.POSITIVE_INFINITY;
/** The longest it waits in one go, whoever has not rung. */
const WAIT_MAX_MS = 1000;

/** A channel without a way of its own. */
const NOWHERE = { slot: -1, port: null, lease: '' } as const;

export class Netstack implements HasChannel, Executed {
  readonly stack: Stack;
  /** The first interface. */
  readonly iface: Interface;
  /** Called when there may be something to do: a command, a frame. It only schedules. Set by whoever drives the stack. */
  onWork: (() => void) | null = null;
  readonly #slot: DeviceSlot;
  readonly #mailbox: Mailbox;
  readonly #slots: Slots | null;
  readonly #executor: Executor;
  readonly services: Services;
  readonly #clients = new Set<Client>();
  readonly #ports = new Set<PortServer>();
  readonly #watched = new Set<WatchedPort>();
  readonly #waitingForRoom = new Set<DatagramEntry<never>>();
  readonly #extra = new Map<Device, Interface>();
  readonly #tellers = new Set<Teller>();
  #foreignMessages = 0;
  #recordsLost = 0;
  readonly onLost = (): void => void this.#recordsLost++;
  #channel: Channel | null = null;
  #posix: Posix | null = null;
  #now: number;
  #waiters: (() => void)[] = [];
  #isClosed = false;

  /**
   * @param now - ms of the clock that the polls will be given
   * @throws TypeError, RangeError for a setting that is none
   */
  constructor(config: NetstackConfig = {}, now = 0) {
    this.#now = now;
    this.stack = new Stack({
      random: config.random ?? secureRandom(),
      memory: memoryOf(config),
      tcp: config.tcp,
      forward: config.forward,
      congestion: ALGORITHMS,
    });
    this.stack.setNow(now);
    const { memory } = this.stack;
    const capacity = capacityOf(config);
    this.#mailbox = new Mailbox(capacity);
    this.#mailbox.onPost = wakes(new WeakRef(this));
    gone.register(this, this.#mailbox);
    this.#slots = memory.shared ? makeSlots(config, memory, capacity) : null;
    this.#executor = new Executor(this);
    this.#slot = new DeviceSlot(config.medium ?? 'ip', config.mtu ?? MTU_DEFAULT);
    const onWork = (): void => this.wake();
    const onAnswered = (): void => this.#answered();
    this.services = new Services(this.stack, this.#slot, config, () => this.#now, onWork, onAnswered, this.onLost);
    this.iface = this.services.autoconfig.iface;
    const { gateway = [] } = config;
    for (const router of typeof gateway === 'string' ? [gateway] : gateway) {
      this.stack.addDefaultRoute(IpAddress.parse(router));
    }
    this.stack.onWake = () => this.wake();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get memory(): Memory {
    return this.stack.memory;
  }

  /** Sockets that clients have open. */
  get socketCount(): number {
    const local = [...this.#clients].reduce((count, client) => count + client.entries.count, 0);
    const ported = [...this.#ports].reduce((count, { client }) => count + client.entries.count, 0);
    return local + ported + (this.#slots?.socketCount ?? 0);
  }

  /** The words that other threads share with the stack, or null. */
  get control(): Control | null {
    return this.#slots?.control ?? null;
  }

  // Channels.

  /** The channel of this thread. Its sockets never keep the stack alive; {@link Channel.share} gives one for a worker. */
  commandChannel(): Channel {
    this.#channel ??= this.openChannel();
    return this.#channel;
  }

  /** Another channel of this thread, with sockets of its own that end with it. */
  openChannel(): Channel {
    const channel = localChannel(new WeakRef(this), this.#mailbox, this.#clients, this.#data(NOWHERE));
    if (this.#isClosed) channel.caller.die(new NetError('ENETDOWN', 'request', { detail: 'the stack is closed' }));
    return channel;
  }

  /** What a worker needs: see {@link Channel.share}. */
  share(): ChannelData {
    if (this.#isClosed) throw new NetError('ENETDOWN', 'share', { detail: 'the stack is closed' });
    if (this.#ports.size >= PORTS_MAX) throw new NetError('EMFILE', 'share', { detail: `at most ${PORTS_MAX} ports` });
    const { given, kept } = joining(this.control?.reserve() ?? -1);
    if (this.#slots !== null && given.slot < 0) {
      throw new NetError('EMFILE', 'share', { detail: 'no slot is free: see clients' });
    }
    this.#join(kept);
    return this.#data(given);
  }

  /** Serves the other end of a channel that was shared, here or by a client. */
  #join({ port, lease, slot }: Joined): void {
    const onJoin = (joined: Joined): void => this.#join(joined);
    if (this.#slots !== null) {
      this.#watch(port, lease, slot, onJoin);
      return;
    }
    const server = new PortServer(port, lease, this.#mailbox, {
      onEnd: (ended) => this.#ports.delete(ended),
      onJoin,
      onForeign: () => void this.#foreignMessages++,
    });
    if (this.#isClosed || this.#ports.size >= PORTS_MAX) server.close();
    else this.#ports.add(server);
  }

  #watch(port: MessagePort, lease: string, slot: number, onJoin: (joined: Joined) => void): void {
    const watched = new WatchedPort(port, lease, 'stack', () => {
      watched.close();
      this.#watched.delete(watched);
      end?.();
      this.wake();
    });
    const end = this.#slots!.watch(slot, () => watched.ring());
    if (end === null || this.#isClosed) {
      watched.close();
      return;
    }
    const { bell } = this.control!;
    watched.onRing = () => rung(bell);
    watched.onJoin = onJoin;
    this.#watched.add(watched);
  }

  #data({ slot, port, lease }: Pick<ChannelData, 'slot' | 'port' | 'lease'>): ChannelData {
    const control = this.control?.buffer ?? null;
    const memory = control === null ? null : (this.memory.wasm.buffer as unknown as SharedArrayBuffer);
    const bell = (this.control?.bell.buffer ?? null) as SharedArrayBuffer | null;
    return { ethertype: 'channel', control, bell, memory, slot, port, lease, capacity: this.#mailbox.capacity };
  }

  // Commands.

  /** Something may be there to do. */
  wake(): void {
    this.onWork?.();
    for (const waiter of this.#waiters.splice(0)) waiter();
  }

  /** Tells the time, for what commands send right now. */
  setNow(now: number): void {
    this.#now = now;
    this.stack.setNow(now);
  }

  #take(): Request | null {
    return this.#mailbox.take() ?? this.#slots?.take() ?? null;
  }

  /** Processes the commands that wait, 1024 at most; returns how many. */
  processCommands(): number {
    let count = 0;
    while (count < COMMANDS_MAX) {
      const request = this.#take();
      if (request === null) break;
      this.#execute(request);
      count++;
    }
    this.#serve();
    this.#flush();
    return count;
  }

  /** Processes one command that {@link waitForCommand} gave. */
  processOneCommand(request: Request): void {
    this.#execute(request);
    this.#serve();
    this.#flush();
  }

  #execute({ client, id, command }: Request): void {
    this.#executor.execute(client, id, command);
    if (client.isGone) this.#clients.delete(client);
  }

  /** The next command, when there is one. @throws NetError ENETDOWN once the stack is closed */
  async waitForCommand(): Promise<Request> {
    for (;;) {
      if (this.#isClosed) throw new NetError('ENETDOWN', 'wait', { detail: 'the stack is closed' });
      const request = this.#take();
      if (request !== null) return request;
      await new Promise<void>((resolve) => {
        this.#waiters.push(resolve);
        this.#listen();
      });
    }
  }

  /** Has the doorbell wake this thread, once. */
  #listen(): void {
    if (this.control === null) return;
    whenRung(this.control.bell, () => this.wake());
    if (this.#slots!.hasRequests) this.wake();
  }

  /**
   * The next command; stops the thread for it, so only other threads' commands can come. null: the time is over.
   * @throws NetError EDEADLK where no other thread can have the channel: the memory is not shared
   */
  waitForCommandBlocking(timeoutMs: number = WAIT_FOREVER): Request | null {
    const { control } = this;
    const own = this.#take();
    if (own !== null) return own;
    if (control === null) {
      throw new NetError('EDEADLK', 'wait', {
        detail: 'the memory is not shared, so no other thread can ask anything',
      });
    }
    const until = performance.now() + timeoutMs;
    for (;;) {
      const seen = Atomics.load(control.bell, DOORBELL);
      const request = this.#take();
      if (request !== null) return request;
      const left = until - performance.now();
      if (left <= 0) return null;
      Atomics.store(control.bell, STACK_WAITS, WAITS);
      Atomics.wait(control.bell, DOORBELL, seen, Math.min(left, WAIT_MAX_MS));
      Atomics.store(control.bell, STACK_WAITS, 0);
    }
  }

  // Packets and time.

  /**
   * Does everything that can be done at `now`: takes frames of `device`, fires timers, serves sockets, sends. The first
   * device seen becomes the first interface's; others become interfaces without addresses.
   * @param now - ms of a clock that never goes back
   * @returns whether there is more to do at once
   */
  pollDeviceIo(now: number, device: Device | null = null): boolean {
    if (device !== null && device !== this.#slot.device && !this.#extra.has(device)) this.#takeDevice(device);
    this.#now = now;
    const { stack } = this;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const more = stack.poll(now);
      const served = this.#serve();
      if (!more && !served && !stack.tcp.hasReady) break;
    }
    if (this.services.hasFlows()) this.onWork?.();
    this.#retrySends();
    this.#posix?.turn(now);
    this.#flush();
    this.#pong();
    return stack.pollAt() <= now && (stack.tcp.hasReady || this.#hasFrames());
  }

  #hasFrames(): boolean {
    return this.stack.interfaces.some(({ device }) => device.pollAt() <= this.#now && device.room() > 0);
  }

  #takeDevice(device: Device): void {
    if (this.#slot.device === null) this.#slot.take(device);
    else this.#extra.set(device, this.stack.addInterface(device));
  }

  /** Tells each changed socket; says whether there was any. */
  #serve(): boolean {
    const { stack } = this;
    let any = false;
    for (let socket = stack.nextChanged(); socket !== null; socket = stack.nextChanged()) {
      any = true;
      const { owner } = socket as unknown as { owner: { notify?: (events: number) => void } | null };
      if (owner !== null && typeof owner.notify === 'function') {
        owner.notify((socket as unknown as { takeEvents(): number }).takeEvents());
      } else {
        this.#posix?.notify(socket);
      }
    }
    if (any && this.hasPromises) this.onWork?.();
    return any;
  }

  waitsForRoom(entry: DatagramEntry<never>): void {
    this.#waitingForRoom.add(entry);
  }

  /** In turn, until one finds no room. */
  #retrySends(): void {
    for (const entry of this.#waitingForRoom) {
      if (!entry.retry()) return;
      this.#waitingForRoom.delete(entry);
    }
  }

  /**
   * Whether news of a few bytes among many may wait for {@link tellHeldBack}: for a driver, which calls it before it waits
   * itself. Each wake-up of a thread costs both sides more than the bytes do.
   */
  set holdsBack(holds: boolean) {
    if (this.#slots !== null) this.#slots.holdsBack = holds;
  }

  /** Tells clients what was held back. */
  tellHeldBack(): void {
    if (this.#slots?.tellHeldBack()) this.#slots.flush();
  }

  tellsSoon(teller: Teller): void {
    this.#tellers.add(teller);
  }

  channelStats(): ChannelStats {
    const clientsDamaged = this.#slots?.damagedCount ?? 0;
    return { clientsDamaged, foreignMessages: this.#foreignMessages, recordsLost: this.#recordsLost };
  }

  #flush(): void {
    if (this.#tellers.size > 0) {
      for (const teller of this.#tellers) teller.tell();
      this.#tellers.clear();
    }
    this.#slots?.flush(this.#now);
    for (const port of this.#ports) port.flush();
  }

  /** Whoever asks whether the stack still runs is answered. */
  #pong(): void {
    const { control } = this;
    if (control === null) return;
    const asked = Atomics.load(control.i32, PING);
    if (Atomics.load(control.i32, PONG) !== asked) Atomics.store(control.i32, PONG, asked);
  }

  /** Whether somebody has asked, and {@link pollDeviceIo} is to answer. */
  get isAsked(): boolean {
    const { control } = this;
    return control !== null && Atomics.load(control.i32, PING) !== Atomics.load(control.i32, PONG);
  }

  /** When {@link pollDeviceIo} should next be called: ms of the same clock; `now`: at once; Infinity: only on work. */
  pollAt(now: number): number {
    if (this.#mailbox.length > 0 || this.#slots?.hasRequests) return now;
    const at = Math.min(this.stack.pollAt(), this.#posix?.nextAt() ?? Number.POSITIVE_INFINITY);
    return this.#waitingForRoom.size > 0 ? Math.min(at, now + 1) : at;
  }

  /** The same as a delay in ms. */
  pollDelay(now: number): number {
    return Math.max(0, this.pollAt(now) - now);
  }

  // Control.

  /** Addresses of the first interface. */
  addresses(): readonly string[] {
    return this.iface.addresses.map((cidr) => cidr.toString());
  }

  /** Replaces the addresses of the first interface and the routes to their networks: all, or none where one is wrong. */
  setAddresses(addresses: readonly string[]): void {
    const wanted = addresses.map((text) => Cidr.parse(text));
    const double = wanted.find((cidr, i) => wanted.slice(0, i).some((other) => other.address.equals(cidr.address)));
    if (double !== undefined) throw new RangeError(`addresses: expected each once, got ${double} twice`);
    const { iface, stack } = this;
    // Link-local addresses of IPv6 are the interface's own: RFC 4291 §2.1 requires one.
    const isOwn = ({ address }: Cidr): boolean => !address.isV4 && address.isLinkLocal;
    const before = iface.addresses.filter((cidr) => !isOwn(cidr));
    const others = stack.interfaces.reduce((n, other) => n + (other === iface ? 0 : other.addresses.length), 0);
    if (others + wanted.length > ADDRESSES_MAX) {
      throw new RangeError(`addresses: expected at most ${ADDRESSES_MAX - others}, got ${wanted.length}`);
    }
    const same = (a: Cidr, b: Cidr): boolean => a.address.equals(b.address) && a.bits === b.bits;
    for (const cidr of before) {
      if (!wanted.some((other) => same(cidr, other))) stack.removeAddress(iface, cidr.address);
    }
    for (const cidr of wanted) {
      if (!before.some((other) => same(cidr, other))) stack.addAddress(iface, cidr);
    }
  }

  addRoute(prefix: string, gateway: string | null): void {
    const cidr = Cidr.parse(prefix);
    const router = gateway === null ? null : IpAddress.parse(gateway);
    const way = router === null ? this.iface : this.stack.ip.routes.lookup(router)?.iface;
    if (way === undefined) throw new RangeError(`gateway: expected an address on a network of ours, got ${gateway}`);
    this.stack.addRoute({ prefix: cidr, iface: way, gateway: router });
  }

  routes(): readonly PlainRoute[] {
    return this.stack.ip.routes.all.map(({ prefix, gateway }) => ({
      prefix: `${networkOf(prefix)}`,
      gateway: gateway === null ? null : `${gateway}`,
    }));
  }

  removeRoute(prefix: string): void {
    const cidr = Cidr.parse(prefix);
    const count = this.stack.ip.routes.remove(
      (route) => route.prefix.bits === cidr.bits && route.prefix.contains(cidr.address),
    );
    if (count === 0) throw new NetError('ENOENT', 'remove-route', { detail: `no route to ${prefix}` });
  }

  runPosix(call: Call<PosixCommand>): void {
    this.#posix ??= new Posix(this.stack);
    call.client.onAnswered ??= () => this.#answered();
    runPosixCall(this.stack, call);
  }

  /** Whether calls may be under way that go on in microtasks. */
  get hasPromises(): boolean {
    return this.#posix !== null || this.services.underWay > 0;
  }

  #answered(): void {
    this.#flush();
    this.wake();
  }

  /** Ends the stack: connections are reset, callers told, memory given back. Repeated calls do nothing. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { control } = this;
    if (control !== null) Atomics.store(control.i32, DEAD, 1);
    this.#slots?.close();
    for (const port of this.#ports) port.close();
    for (const port of this.#watched) port.close();
    this.#mailbox.die();
    this.services.close();
    this.stack.close();
    this.wake();
  }

  [dispose](): void {
    this.close();
  }
}

// Outside of the class: a closure beside one that names `this` would hold the stack, and channels must not.

const wakes = (stack: WeakRef<Netstack>) => (): void => stack.deref()?.wake();

function localChannel(stack: WeakRef<Netstack>, mailbox: Mailbox, clients: Set<Client>, data: ChannelData): Channel {
  const caller = new Caller((made) => {
    const client = new Client({ answer: (id, response) => made.settle(id, response) });
    clients.add(client);
    return new LocalLink(made, mailbox, client);
  });
  return new Channel(caller, data, () => {
    const alive = stack.deref();
    if (alive === undefined) throw new NetError('ENETDOWN', 'share', { detail: 'the stack is gone' });
    return alive.share();
  });
}

/** The prefix alone: routes to our own networks keep our address in them. */
function networkOf({ address, bits, prefixLength }: Cidr): Cidr {
  const mask = (n: number): number => (n <= 0 ? 0 : n >= 32 ? -1 : -1 << (32 - n));
  const { a, b, c, d } = address;
  const network = new IpAddress(a & mask(bits), b & mask(bits - 32), c & mask(bits - 64), d & mask(bits - 96));
  return new Cidr(network, prefixLength);
}

/** Addresses a stack may have, as `stack.ts` has it. */
const ADDRESSES_MAX = 64;

/** Stacks that nobody holds any more: those who wait for them are told. */
const gone = new FinalizationRegistry<Mailbox>((mailbox) => mailbox.die());
