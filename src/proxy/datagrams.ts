/** Datagrams between a socket of the stack and a peer of the machine's network, both ways, under limits. @module */
import type { UdpSocket } from '../sockets/udp-socket.ts';
import type { OpenFlow } from './flow-log.ts';
import { type FlowGate, type Limiter, OVER_LIMIT, type Way } from './limits.ts';
import { type FarDatagrams, refusalOf } from './machine.ts';
import { type Clock, Shaper } from './shaper.ts';

/** Answers of one flow that wait for the device; more are dropped, as a router drops them. */
const ANSWERS_MAX = 64;

export interface DatagramFlow {
  /** A connected socket of the stack. */
  readonly near: UdpSocket;
  readonly far: FarDatagrams;
  /** Gets the bytes, and its line at the end. */
  readonly open: OpenFlow;
  readonly gate: FlowGate | null;
  readonly limiter: Limiter;
  readonly clock: Clock;
  /** Ends the side of the stack; why it does is told its peer where that can be: `port`, nobody is there, `host`, no way. */
  readonly end: (why: 'port' | 'host' | null) => void;
}

const codeOf = (error: unknown): string => (error as { code?: string }).code ?? 'EIO';

/** Relays until either side ends. */
export class DatagramSplice {
  readonly #flow: DatagramFlow;
  readonly #out: Shaper;
  readonly #in: Shaper;
  #answers = 0;
  #isOver = false;

  constructor(flow: DatagramFlow) {
    const { gate, clock, limiter, far, near } = flow;
    this.#flow = flow;
    this.#out = new Shaper(gate, 'out', clock, limiter, (data) => {
      if (this.#counts('out', data.length)) far.send(data);
    });
    this.#in = new Shaper(gate, 'in', clock, limiter, (data) => {
      if (!this.#counts('in', data.length)) return;
      this.#answers++;
      near
        .send(data)
        .catch(() => {})
        .finally(() => this.#answers--);
    });
    far.onMessage = (data) => {
      if (!this.#isOver && this.#answers < ANSWERS_MAX) this.#in.push(data);
    };
    far.onError = (error) => {
      if (!('errno' in error)) flow.open.reason = error.message; // of a proxy: what it says is not in the code
      this.#over(codeOf(error), refusalOf(error) === 'reset' ? 'port' : 'host');
    };
  }

  /** Begins; resolves when it is over. Called once. */
  async run(): Promise<void> {
    try {
      for await (const { data } of this.#flow.near) this.#out.push(data);
      this.#over('closed', null);
    } catch (error) {
      this.#over(codeOf(error), null);
    }
  }

  /** Counts a datagram that is to go; false: it is not, for the flow is over, or is now. */
  #counts(way: Way, bytes: number): boolean {
    if (this.#isOver) return false;
    const { gate, limiter, open } = this.#flow;
    const limit = gate?.pass(way, bytes) ?? null;
    if (limit === null) {
      open.counts[way] += bytes;
      return true;
    }
    limiter.stats.ended++;
    open.reason = limit;
    this.#over(OVER_LIMIT, 'port');
    return false;
  }

  #over(result: string, why: 'port' | 'host' | null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { far, open, gate, end } = this.#flow;
    this.#out.close();
    this.#in.close();
    gate?.close();
    far.close();
    open.end(result);
    end(why);
  }
}
