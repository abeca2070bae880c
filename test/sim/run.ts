/**
 * Runs one seed: two to eight stacks, a bad network, applications at all ends, all in virtual time that jumps from
 * deadline to deadline. What must hold whatever happens is checked at every step. @module
 */
import type { Changed } from '../../src/iface/context.ts';
import type { Device } from '../../src/phy/device.ts';
import { Random } from '../../src/phy/random.ts';
import { Stack } from '../../src/stack.ts';
import { ALGORITHMS } from '../../src/tcp/congestion/index.ts';
import type { Connection } from '../../src/tcp/connection.ts';
import { UNSET } from '../../src/tcp/connection.ts';
import { CLOSED_EVENT, CONNECTED, READABLE, WRITABLE } from '../../src/tcp/events.ts';
import { type Seq, seqAdd, seqDiff, seqLe, seqMax } from '../../src/tcp/seq.ts';
import { TcpSocket } from '../../src/tcp/socket.ts';
import { isSynchronized, STATE_NAMES } from '../../src/tcp/state.ts';
import { Cidr, IpAddress } from '../../src/wire/address.ts';
import { Datagrams } from './datagrams.ts';
import { addressOf, type Network, networkOf, PREFIX } from './network.ts';
import { type Plan, pairPlanOf, planOf } from './plan.ts';
import { Side } from './side.ts';
import { Tap } from './wire-check.ts';

/** A run that takes longer does not end. */
const VIRTUAL_MS_MAX = 4 * 3600 * 1000;
const STEPS_MAX = 400_000;
/** Time between attempts to connect where memory is short. */
const RETRY_MS = 100;
const PORT = 80;
const FIRST_PORT = 1000;

/** Names of stacks in traces. */
const NAMES = 'ABCDEFGH';

/** Why a run failed, with the command that repeats it. */
export class SimFailure extends Error {
  readonly seed: number;

  constructor(plan: Plan, what: string) {
    const option = plan.topology === 'wire' && plan.seed % 3 !== 0 ? '--pair ' : '';
    super(`seed ${plan.seed}: ${what}\n  repeat with: node dist/test/sim/replay.js ${option}${plan.seed}`);
    this.seed = plan.seed;
  }
}

/** What a run came to. */
export interface Result {
  readonly virtualMs: number;
  readonly steps: number;
  readonly bytes: number;
  readonly segments: number;
  readonly retransmits: number;
  /** Connections that ended with an error, planned or not. */
  readonly errors: number;
}

class Run {
  readonly plan: Plan;
  readonly trace: ((line: string) => void) | null;
  readonly stacks: Stack[] = [];
  readonly listeners: TcpSocket[] = [];
  readonly network: Network;
  readonly datagrams: Datagrams;
  /** Both sides of connection i, opener first. */
  readonly sides: [Side, Side][] = [];
  readonly openAt: number[] = [];
  readonly acceptAt: number[];
  readonly unlistenAt: number[];
  /** The furthest right edge of the send window of each connection. */
  readonly edges = new WeakMap<Connection, Seq>();
  now = 1;
  steps = 0;
  isCut = false;

  constructor(plan: Plan, trace: ((line: string) => void) | null) {
    this.plan = plan;
    this.trace = trace;
    const { link, stacks } = plan;
    const random = new Random(plan.seed ^ 0x5eed);
    // Drawn in this order since there were wires only: what a seed found once is found again.
    const chances = stacks.map(() => {
      const drops = random.fork();
      return { drops, wireSeed: link.offload ? 0 : random.next(), own: random.fork() };
    });
    const wireSeeds = chances.map(({ wireSeed }) => wireSeed);
    this.network = networkOf(plan, random, wireSeeds, this.now);
    for (const [end, { drops, own }] of chances.entries()) {
      const tap = new Tap(NAMES[end]!, this.network.devices[end]!, {
        trace,
        loses: () => (this.isCut && plan.topology === 'wire') || (link.offload && drops.chance(link.drop)),
        fail: (what) => this.fail(what),
        isLive: (ports) => this.#isLive(end, ports),
      });
      this.stacks.push(this.#stack(end, tap, own));
    }
    this.acceptAt = stacks.map(() => Number.POSITIVE_INFINITY);
    this.unlistenAt = plan.unlistenAtMs.map((at) => this.now + at);
    this.datagrams = new Datagrams(plan, this.stacks, this.now, (what) => this.fail(what));
    plan.connections.forEach((connection, i) => {
      const { sides, opener, acceptor } = connection;
      const name = (end: number): string => `connection ${i} ${NAMES[end]}`;
      const fail = (what: string): void => this.fail(what);
      this.sides.push([
        new Side(name(opener), sides[0], sides[1], 2 * i, fail),
        new Side(name(acceptor), sides[1], sides[0], 2 * i + 1, fail),
      ]);
      this.openAt.push(this.now + connection.startMs);
    });
  }

  #stack(end: number, device: Device, random: Random): Stack {
    const { memoryBytes, tcp } = this.plan.stacks[end]!;
    const stack = new Stack({ memory: memoryBytes, random: () => random.next(), tcp, congestion: ALGORITHMS });
    const { family } = this.plan.link;
    stack.addInterface(device, { addresses: [Cidr.parse(`${addressOf(family, end)}/${PREFIX[family]}`)] });
    const listener = stack.tcpSocket();
    listener.listen({ port: PORT, backlog: this.plan.backlog });
    this.listeners.push(listener);
    return stack;
  }

  /**
   * Whether stack `end` has a connection with these ports, or may have it in TIME-WAIT. On Ethernet a frame may wait for
   * a neighbour longer than its connection lives.
   */
  #isLive(end: number, ports: number): boolean {
    if (this.plan.link.medium === 'ethernet') return true;
    const { connections, timeWait } = this.stacks[end]!.tcp;
    if (timeWait.count > 0) return true;
    for (const c of connections.values()) if (c.portsIn === ports) return true;
    return false;
  }

  fail(what: string): never {
    throw new SimFailure(this.plan, `${what} (at ${this.now} ms)`);
  }

  note(line: string): void {
    this.trace?.(`${this.now.toFixed(3).padStart(12)} ${line}`);
  }

  /** Runs until nothing will ever happen again. */
  toTheEnd(): Result {
    for (;;) {
      this.#settle();
      const next = this.#nextAt();
      if (next === Number.POSITIVE_INFINITY) break;
      if (next > VIRTUAL_MS_MAX) this.fail(`no end in sight: ${this.#unfinished()}`);
      this.now = Math.max(this.now, next);
    }
    this.#checkEnd();
    return this.#result();
  }

  /** All that can happen at this moment. */
  #settle(): void {
    for (let busy = true; busy; ) {
      busy = false;
      if (++this.steps > STEPS_MAX) this.fail(`too many steps: ${this.#unfinished()}`);
      if (!this.isCut && this.now >= this.plan.link.cutAtMs) {
        this.isCut = true;
        this.note('the network goes dead');
      }
      this.network.advance(this.now);
      this.#applications();
      for (const stack of this.stacks) {
        if (stack.poll(this.now)) busy = true;
        if (this.#events(stack)) busy = true;
        if (stack.pollAt() <= this.now) busy = true;
      }
      this.#checkAlways();
    }
  }

  /** Tells the applications of `stack` what changed; whether anything did. */
  #events(stack: Stack): boolean {
    let any = false;
    for (let changed: Changed | null = stack.nextChanged(); changed !== null; changed = stack.nextChanged()) {
      any = true;
      if (!(changed instanceof TcpSocket)) {
        this.datagrams.changed(changed);
        continue;
      }
      const socket = changed;
      const events = socket.takeEvents();
      const end = this.listeners.indexOf(socket);
      if (end >= 0) {
        if (this.acceptAt[end] === Number.POSITIVE_INFINITY) this.acceptAt[end] = this.now + this.plan.acceptDelayMs;
        continue;
      }
      const side = socket.owner as Side | null;
      if (side === null) continue;
      if (this.trace !== null) this.note(`${side.name}: events ${events} in ${socket.state()}`);
      const over = (events & CLOSED_EVENT) !== 0;
      side.act(this.now, over || (events & READABLE) !== 0, over || (events & (WRITABLE | CONNECTED)) !== 0);
      this.#tryAgain(side);
    }
    return any;
  }

  /** ARP gives up after three requests, which a bad wire loses now and then: an application tries again. */
  #tryAgain(side: Side): void {
    const i = this.sides.findIndex(([opener]) => opener === side);
    if (i < 0 || side.error !== 'EHOSTUNREACH' || this.sides[i]![1].socket !== null || this.isCut) return;
    side.reset();
    this.openAt[i] = this.now + RETRY_MS;
  }

  #applications(): void {
    this.datagrams.act(this.now);
    for (const [end, listener] of this.listeners.entries()) {
      if (this.now >= this.unlistenAt[end]!) {
        this.unlistenAt[end] = Number.POSITIVE_INFINITY;
        this.note(`${NAMES[end]}: listens no longer`);
        listener.close();
      }
      if (this.now < this.acceptAt[end]!) continue;
      this.acceptAt[end] = Number.POSITIVE_INFINITY;
      for (let socket = listener.accept(); socket !== null; socket = listener.accept()) this.#accepted(socket, end);
    }
    this.sides.forEach(([opener, acceptor], i) => {
      if (this.now >= this.openAt[i]!) this.#open(i, opener);
      if (this.now >= opener.wakeAt) opener.act(this.now, false, false);
      if (this.now >= acceptor.wakeAt) acceptor.act(this.now, false, false);
    });
  }

  #open(i: number, side: Side): void {
    this.openAt[i] = Number.POSITIVE_INFINITY;
    const { opener, acceptor } = this.plan.connections[i]!;
    const socket = this.stacks[opener]!.tcpSocket();
    const address = IpAddress.parse(addressOf(this.plan.link.family, acceptor));
    try {
      socket.connect({ address, port: PORT }, { port: FIRST_PORT + i });
    } catch (error) {
      if ((error as { code?: string }).code !== 'ENOBUFS') throw error;
      this.openAt[i] = this.now + RETRY_MS;
      return;
    }
    this.note(`${side.name}: connects`);
    // Bytes may be queued before the handshake: RFC 9293 §3.10.2.
    side.start(socket, this.now);
  }

  #accepted(socket: TcpSocket, end: number): void {
    const i = socket.remote!.port - FIRST_PORT;
    const side = this.sides[i]?.[1];
    if (side === undefined || this.plan.connections[i]!.acceptor !== end || side.socket !== null) {
      // A duplicated SYN of a connection long gone may open one that its sender resets.
      if (this.plan.mustComplete) this.fail(`accepted a connection from port ${FIRST_PORT + i} that nobody made`);
      socket.abort();
      socket.release();
      return;
    }
    this.note(`${side.name}: accepted`);
    side.start(socket, this.now);
  }

  #nextAt(): number {
    const times = [...this.stacks.map((stack) => stack.pollAt()), ...this.openAt, ...this.acceptAt];
    for (const pair of this.sides) for (const side of pair) times.push(side.wakeAt);
    const next = Math.min(...times, this.datagrams.nextAt);
    // What changes around matters only while something else is going on.
    if (next === Number.POSITIVE_INFINITY) return next;
    const cutAt = this.isCut ? next : this.plan.link.cutAtMs;
    return Math.min(next, cutAt, this.network.nextAt(), ...this.unlistenAt);
  }

  #checkAlways(): void {
    for (const stack of this.stacks) {
      const { memory } = stack;
      if (memory.usedBytes > memory.bytes) this.fail('more memory in use than there is');
      for (const c of stack.tcp.connections.values()) {
        this.#checkConnection(c);
      }
    }
  }

  #checkConnection(c: Connection): void {
    const state = STATE_NAMES[c.state];
    if (!seqLe(c.sndUna, c.sndNxt) || !seqLe(c.sndNxt, c.sndMax)) this.fail(`${state}: SND.UNA <= SND.NXT <= max`);
    if (!seqLe(c.rcvNxt, c.rcvAdv)) this.fail(`${state}: RCV.NXT beyond the window`);
    if (c.readable > c.rxBytes) this.fail(`${state}: more waits than the buffer holds`);
    if ((c.tx?.length ?? 0) > c.txBytes) this.fail(`${state}: more queued than the buffer holds`);
    if (c.cwnd < 0 || c.rtoMs <= 0) this.fail(`${state}: cwnd ${c.cwnd}, RTO ${c.rtoMs}`);
    const flight = seqDiff(c.sndMax, c.sndUna);
    // Up to the furthest edge there was: RFC 9293 §3.10.7.4 takes a smaller window from a segment that was overtaken, for
    // one with the same SEQ and ACK may be the newer one.
    const edge = seqMax(this.edges.get(c) ?? c.sndUna, seqAdd(c.sndUna, c.sndWnd));
    this.edges.set(c, edge);
    if (isSynchronized(c.state) && !seqLe(c.sndMax, edge)) {
      this.fail(`${state}: ${seqDiff(c.sndMax, edge)} bytes sent beyond the window`);
    }
    // Something unanswered without a deadline would wait for ever.
    const deadline = [c.retransmitAt, c.probeAt, c.persistAt].find((at) => at !== UNSET) ?? UNSET;
    if (flight > 0 && !c.isReady && (deadline === UNSET || c.timerIndex < 0 || c.timerAt > deadline)) {
      this.fail(`${state}: ${flight} bytes under way and no timer`);
    }
  }

  #unfinished(): string {
    const waiting = this.sides.flat().filter((side) => !side.done);
    return waiting
      .map((s) => `${s.name} ${s.socket?.state()} sent ${s.sent}/${s.plan.bytes} got ${s.received}/${s.peer.bytes}`)
      .join('; ');
  }

  #checkEnd(): void {
    const { mustComplete } = this.plan;
    for (const [opener, acceptor] of this.sides) {
      if (!opener.done) this.fail(`stuck: ${this.#unfinished()}`);
      // Where the opener gave up early, there may have been nothing to accept.
      if (!acceptor.done && (mustComplete || acceptor.socket !== null)) this.fail(`stuck: ${this.#unfinished()}`);
      for (const side of [opener, acceptor]) {
        if (!mustComplete) continue;
        if (side.error !== null) this.fail(`${side.name} ended with ${side.error}`);
        if (!side.eof || side.received !== side.peer.bytes)
          this.fail(`${side.name} got ${side.received} bytes of ${side.peer.bytes}`);
      }
      this.#checkPrefix(opener, acceptor);
      this.#checkPrefix(acceptor, opener);
    }
    this.datagrams.close();
    for (const [i, stack] of this.stacks.entries()) {
      const name = NAMES[i];
      const { connections, timeWait } = stack.tcp;
      const left = connections.values().map((c) => STATE_NAMES[c.state]);
      if (left.length > 0) this.fail(`${name} still has connections in ${left}`);
      if (timeWait.count > 0) this.fail(`${name} still has ${timeWait.count} in TIME-WAIT`);
      if (stack.memory.usedBytes > 0) this.fail(`${name} still holds ${stack.memory.usedBytes} bytes`);
      stack.close();
      if (stack.memory.usedBytes > 0) this.fail(`${name} holds ${stack.memory.usedBytes} bytes after close`);
    }
    const held = this.network.close();
    if (held > 0) this.fail(`the network still holds ${held} bytes`);
  }

  /** An end without an error and without a reset means all the bytes. */
  #checkPrefix(side: Side, peer: Side): void {
    if (side.received > peer.sent) this.fail(`${side.name} got more than was sent`);
    if (side.eof && side.error === null && peer.closed && side.received !== peer.plan.bytes) {
      this.fail(`${side.name} saw an end after ${side.received} of ${peer.plan.bytes} bytes`);
    }
  }

  #result(): Result {
    const all = this.sides.flat();
    const sum = (of: (stack: Stack) => number): number => this.stacks.reduce((n, stack) => n + of(stack), 0);
    return {
      virtualMs: this.now,
      steps: this.steps,
      bytes: all.reduce((n, side) => n + side.received, 0),
      segments: sum((stack) => stack.stats.tcpSegmentsOut),
      retransmits: sum((stack) => stack.stats.tcpRetransmits),
      errors: all.filter((side) => side.error !== null).length,
    };
  }
}

/**
 * Runs `plan` to its end.
 * @param trace - takes every packet and event as a line
 * @throws SimFailure where something did not hold
 */
function runPlan(plan: Plan, trace: ((line: string) => void) | null): Result {
  try {
    return new Run(plan, trace).toTheEnd();
  } catch (error) {
    if (error instanceof SimFailure) throw error;
    throw new SimFailure(plan, `threw ${error instanceof Error ? error.stack : String(error)}`);
  }
}

/** Runs `seed`. @throws SimFailure where something did not hold */
export const runSeed = (seed: number, trace: ((line: string) => void) | null = null): Result =>
  runPlan(planOf(seed), trace);

/** Runs what `seed` means for two stacks on a wire. @throws SimFailure where something did not hold */
export const runPair = (seed: number, trace: ((line: string) => void) | null = null): Result =>
  runPlan(pairPlanOf(seed), trace);
