/**
 * A path for congestion control alone: senders without TCP around them, one bottleneck with a queue, a delay, an
 * acknowledgement for each segment. It drives the algorithms through their seam, in virtual time, the same at every run.
 * @module
 */
import type { CongestionControl, RateSample } from '../src/tcp/congestion/controller.ts';
import type { Connection } from '../src/tcp/connection.ts';
import { randomOf } from './random.ts';

export const MSS = 1448;
/** RACK and RFC 6675 alike: a segment is lost once the third one behind it has arrived. */
const REORDER_SEGMENTS = 3;

export interface LinkOptions {
  readonly mbps: number;
  /** Of the queue; default: no limit. */
  readonly bufferBytes?: number;
  /** Part of the segments that is lost, by chance. */
  readonly loss?: number;
  /** Instead: every so many segments one is lost. */
  readonly lossEvery?: number;
  /** Segments that find a longer queue are marked CE. */
  readonly markAboveBytes?: number;
  readonly seed?: number;
}

/** The bottleneck, shared by flows. */
export class Link {
  bytesPerUs: number;
  bufferBytes: number;
  loss: number;
  isMarked = false;
  readonly #lossEvery: number;
  readonly #markAboveBytes: number;
  readonly #random: () => number;
  #freeUs = 0;
  #segments = 0;

  constructor(options: LinkOptions) {
    this.bytesPerUs = options.mbps / 8;
    this.bufferBytes = options.bufferBytes ?? Number.POSITIVE_INFINITY;
    this.loss = options.loss ?? 0;
    this.#lossEvery = options.lossEvery ?? 0;
    this.#markAboveBytes = options.markAboveBytes ?? Number.POSITIVE_INFINITY;
    this.#random = randomOf(options.seed ?? 1).next;
  }

  /** Another rate from now on: what is queued takes `factor` times as long. */
  slow(nowUs: number, factor: number): void {
    this.bytesPerUs /= factor;
    this.#freeUs = nowUs + Math.max(0, this.#freeUs - nowUs) * factor;
  }

  queueBytes(nowUs: number): number {
    return Math.max(0, this.#freeUs - nowUs) * this.bytesPerUs;
  }

  /** When a segment given now has left, or -1 where it is lost. */
  send(nowUs: number): number {
    const queued = this.queueBytes(nowUs);
    this.#segments++;
    if (queued + MSS > this.bufferBytes) return -1;
    this.isMarked = queued > this.#markAboveBytes;
    this.#freeUs = Math.max(nowUs, this.#freeUs) + MSS / this.bytesPerUs;
    if (this.#lossEvery > 0 && this.#segments % this.#lossEvery === 0) return -1;
    return this.#random() < this.loss ? -1 : this.#freeUs;
  }
}

interface Sent {
  readonly number: number;
  readonly sentUs: number;
  /** -1: never. */
  ackUs: number;
  readonly isMarked: boolean;
  readonly delivered: number;
  readonly deliveredUs: number;
  readonly firstSentUs: number;
  readonly priorLost: number;
  readonly inFlight: number;
  readonly isAppLimited: boolean;
  isDone: boolean;
}

export interface FlowOptions {
  readonly rttMs: number;
  readonly startMs?: number;
  /** Paces algorithms that set no rate: at two, later 1.2 windows a round trip. */
  readonly isPaced?: boolean;
  /** Acknowledgements come in bursts, so many ms apart. */
  readonly aggregationMs?: number;
  readonly useSack?: boolean;
  /** Losses are told one by one, as the scoreboard of TCP does; default true. */
  readonly tellsLosses?: boolean;
  readonly seed?: number;
}

/** What the algorithms see of a connection, with a round-trip time of `rttUs`; times are set with {@link setTime}. */
export function fakeConnection(rttUs: number, seed = 1): Connection {
  const random = randomOf(seed);
  const context = { nowMs: 0, nowUs: 0, random: () => Math.floor(random.next() * 0x100000000) };
  const fake = {
    context,
    mss: MSS,
    srttUs: rttUs,
    rtoMs: Math.max(200, (rttUs * 3) / 1000),
    minRttUs: rttUs,
    cwnd: 0,
    ssthresh: 0,
    avoidanceBytes: 0,
    pacingRate: 0,
    delivered: 0,
    lostBytesTotal: 0,
    isCwndLimited: false,
    useSack: true,
    sndUna: 0,
    sndNxt: 0,
    sndMax: 0,
    congestionState: null,
    inFlight: () => 0,
  };
  return fake as unknown as Connection;
}

/** Sets the clock of `c`. */
export function setTime(c: Connection, us: number): void {
  const context = c.context as { nowMs: number; nowUs: number };
  context.nowMs = Math.floor(us / 1000);
  context.nowUs = Math.floor(us % 4294967296) | 0;
}

/** One sender that has always something to send, or as much as `appBytesPerMs` allows. */
export class Flow {
  readonly c: Connection;
  readonly control: CongestionControl;
  readonly link: Link;
  rttUs: number;
  appBytesPerMs = Number.POSITIVE_INFINITY;
  nowUs = 0;
  readonly #options: FlowOptions;
  readonly #startUs: number;
  /** Everything not yet acknowledged or given up, in order. */
  #out: Sent[] = [];
  #outHead = 0;
  /** What will be acknowledged, in order. */
  #acks: Sent[] = [];
  #ackHead = 0;
  #next = 0;
  #inFlight = 0;
  #deliveredUs = 0;
  #firstSentUs = 0;
  #appLimitedUntil = 0;
  #appBytes = MSS;
  #appAtUs = 0;
  #sendAtUs = 0;
  #paceUs = 0;
  #recover = -1;
  #limitedUntil = -1;
  #idleSinceUs = 0;
  #lossesTold = 0;

  constructor(control: CongestionControl, link: Link, options: FlowOptions) {
    this.control = control;
    this.link = link;
    this.#options = options;
    this.rttUs = options.rttMs * 1000;
    this.#startUs = (options.startMs ?? 0) * 1000;
    this.c = fakeConnection(this.rttUs, options.seed);
    Object.assign(this.c, { useSack: options.useSack ?? true, inFlight: () => this.#inFlight });
    this.#at(this.#startUs);
    control.init(this.c);
    this.#sendAtUs = this.#startUs;
  }

  /** Virtual time of what happens next. */
  get nextUs(): number {
    const ack = this.#acks[this.#ackHead];
    const first = Math.min(this.#sendAtUs, ack === undefined ? Number.POSITIVE_INFINITY : ack.ackUs);
    if (first < Number.POSITIVE_INFINITY) return first;
    return this.#inFlight > 0 ? this.nowUs + this.c.rtoMs * 1000 : first; // everything was lost
  }

  step(): void {
    const us = this.nextUs;
    const ack = this.#acks[this.#ackHead];
    const isTimeout = ack === undefined && this.#sendAtUs === Number.POSITIVE_INFINITY;
    this.#at(us);
    if (isTimeout) this.#timeout();
    else if (ack !== undefined && ack.ackUs <= us) this.#acknowledge(ack);
    this.#send();
  }

  /** The link of this flow, which has it alone, is `factor` times slower from now on; so is what waits in its queue. */
  slow(factor: number): void {
    this.link.slow(this.nowUs, factor);
    for (const sent of this.#acks.slice(this.#ackHead)) {
      sent.ackUs += Math.max(0, sent.ackUs - this.rttUs - this.nowUs) * (factor - 1);
    }
  }

  /** The application goes on, or stops (0). */
  setApp(bytesPerMs: number, nowUs: number): void {
    this.#at(Math.max(nowUs, this.nowUs));
    this.#earn();
    this.#appBytes = Math.min(this.#appBytes, MSS);
    this.appBytesPerMs = bytesPerMs;
    this.#send();
  }

  #at(us: number): void {
    this.nowUs = us;
    setTime(this.c, us);
  }

  #earn(): void {
    const { appBytesPerMs } = this;
    if (appBytesPerMs < Number.POSITIVE_INFINITY) {
      this.#appBytes += (appBytesPerMs * (this.nowUs - this.#appAtUs)) / 1000;
    }
    this.#appAtUs = this.nowUs;
  }

  #rate(): number {
    const { c } = this;
    if (this.control.ownsWindow || this.#options.isPaced !== true) return c.pacingRate;
    c.pacingRate = ((c.cwnd < c.ssthresh ? 2 : 1.2) * c.cwnd * 1e6) / c.srttUs;
    return c.pacingRate;
  }

  #send(): void {
    const { c } = this;
    this.#earn();
    this.#sendAtUs = Number.POSITIVE_INFINITY;
    for (;;) {
      if (this.appBytesPerMs < Number.POSITIVE_INFINITY && this.#appBytes < MSS) {
        this.#appLimitedUntil = Math.max(c.delivered + this.#inFlight, 1);
        if (this.appBytesPerMs > 0) {
          this.#sendAtUs = this.nowUs + Math.max(1, ((MSS - this.#appBytes) * 1000) / this.appBytesPerMs);
        }
        return;
      }
      if (this.#inFlight + MSS > c.cwnd) {
        c.isCwndLimited = true;
        this.#limitedUntil = this.#next;
        return;
      }
      if (this.#inFlight === 0 && this.#appLimitedUntil > 0 && this.#next > 0) {
        this.control.restart?.(c, Math.floor((this.nowUs - this.#idleSinceUs) / 1000));
      }
      const rate = this.#rate();
      if (rate > 0 && this.#paceUs > this.nowUs) {
        this.#sendAtUs = this.#paceUs;
        return;
      }
      if (rate > 0) this.#paceUs = Math.max(this.nowUs, this.#paceUs) + (MSS * 1e6) / rate;
      this.#emit();
    }
  }

  #emit(): void {
    const { c, nowUs } = this;
    if (this.#inFlight === 0) {
      this.#firstSentUs = nowUs;
      this.#deliveredUs = nowUs;
    }
    this.#appBytes -= this.appBytesPerMs < Number.POSITIVE_INFINITY ? MSS : 0;
    this.#inFlight += MSS;
    const left = this.link.send(nowUs);
    const aggregationUs = (this.#options.aggregationMs ?? 0) * 1000;
    const back = left + this.rttUs;
    const sent: Sent = {
      number: this.#next++,
      sentUs: nowUs,
      ackUs: left < 0 ? -1 : aggregationUs > 0 ? Math.ceil(back / aggregationUs) * aggregationUs : back,
      isMarked: this.link.isMarked,
      delivered: c.delivered,
      deliveredUs: this.#deliveredUs,
      firstSentUs: this.#firstSentUs,
      priorLost: c.lostBytesTotal,
      inFlight: this.#inFlight,
      isAppLimited: this.#appLimitedUntil > 0,
      isDone: false,
    };
    this.#out.push(sent);
    if (left >= 0) this.#acks.push(sent);
    this.#moveEdges();
  }

  #moveEdges(): void {
    while (this.#out[this.#outHead]?.isDone === true) this.#outHead++;
    if (this.#outHead > 4096) {
      this.#out = this.#out.slice(this.#outHead);
      this.#outHead = 0;
    }
    if (this.#ackHead > 4096) {
      this.#acks = this.#acks.slice(this.#ackHead);
      this.#ackHead = 0;
    }
    const { c } = this;
    const una = this.#out[this.#outHead]?.number ?? this.#next;
    c.sndUna = ((una * MSS) | 0) as typeof c.sndUna;
    c.sndNxt = ((this.#next * MSS) | 0) as typeof c.sndNxt;
    c.sndMax = c.sndNxt;
  }

  /** Gives up what is older than `number`; returns how many bytes that was. */
  #lose(number: number): number {
    const { c } = this;
    let bytes = 0;
    for (let i = this.#outHead; i < this.#out.length && this.#out[i]!.number <= number; i++) {
      const sent = this.#out[i]!;
      if (sent.isDone || sent.ackUs >= 0) continue;
      sent.isDone = true;
      bytes += MSS;
      c.lostBytesTotal += MSS;
      this.#inFlight -= MSS;
      this.#lossesTold++;
      if (this.#options.tellsLosses === false) continue;
      this.control.lost?.(c, MSS, sent.inFlight, sent.priorLost, sent.isAppLimited);
    }
    return bytes;
  }

  #reduce(flight: number, cause: 'loss' | 'ecn'): void {
    const { c } = this;
    if (this.#recover >= 0) return;
    this.control.reduce(c, flight, cause);
    this.#recover = this.#next;
    if (!this.control.ownsWindow) c.cwnd = Math.min(c.cwnd, c.ssthresh);
  }

  #acknowledge(sent: Sent): void {
    const { c } = this;
    this.#ackHead++;
    const priorInFlight = this.#inFlight;
    sent.isDone = true;
    this.#inFlight -= MSS;
    c.delivered += MSS;
    this.#deliveredUs = this.nowUs;
    const ackElapsed = this.nowUs - sent.deliveredUs;
    const sendElapsed = sent.sentUs - sent.firstSentUs;
    this.#firstSentUs = sent.sentUs;
    if (c.delivered > this.#appLimitedUntil) this.#appLimitedUntil = 0;
    if (sent.number >= this.#limitedUntil) c.isCwndLimited = false;
    if (this.#inFlight + MSS > c.cwnd) c.isCwndLimited = true;
    const rttUs = Math.floor(this.nowUs - sent.sentUs);
    c.srttUs += (rttUs - c.srttUs) >> 3;
    const wasLimited = c.isCwndLimited || priorInFlight + MSS > c.cwnd;
    const newlyLost = this.#lose(sent.number - REORDER_SEGMENTS);
    this.#moveEdges();
    if (this.#inFlight === 0) this.#idleSinceUs = this.nowUs;
    if (this.#recover >= 0 && (this.#out[this.#outHead]?.number ?? this.#next) >= this.#recover) this.#recover = -1;
    if (newlyLost > 0) this.#reduce(priorInFlight, 'loss');
    else if (sent.isMarked) this.#reduce(priorInFlight, 'ecn');
    if (this.#recover < 0 && wasLimited) this.control.acked(c, MSS, rttUs);
    const sample: RateSample = {
      newlyDelivered: MSS,
      newlyLost,
      delivered: c.delivered - sent.delivered,
      intervalUs: Math.max(sendElapsed, ackElapsed),
      rttUs,
      priorDelivered: sent.delivered,
      priorLost: sent.priorLost,
      inFlightAtSend: sent.inFlight,
      isAppLimited: sent.isAppLimited,
      priorInFlight,
      newlyMarked: sent.isMarked ? MSS : 0,
    };
    this.control.sample?.(c, sample);
  }

  #timeout(): void {
    const flight = this.#inFlight;
    this.#lose(this.#next);
    this.#moveEdges();
    this.control.timedOut(this.c, flight, true);
    this.#recover = this.#next;
  }

  /** Segments lost so far. */
  get losses(): number {
    return this.#lossesTold;
  }
}

/** Runs flows until `untilMs`, the earliest event first; `watch` is called after each event. */
export function run(flows: readonly Flow[], untilMs: number, watch: (flow: Flow) => void = () => {}): void {
  for (;;) {
    let first = flows[0]!;
    for (const flow of flows) if (flow.nextUs < first.nextUs) first = flow;
    if (first.nextUs > untilMs * 1000) return;
    first.step();
    watch(first);
  }
}

/** The mean of `value` over virtual time, from now until `untilMs`, of one flow. */
export function mean(flow: Flow, untilMs: number, value: (flow: Flow) => number): number {
  let [sum, last, lastUs] = [0, value(flow), flow.nowUs];
  const fromUs = flow.nowUs;
  run([flow], untilMs, () => {
    sum += last * (flow.nowUs - lastUs);
    last = value(flow);
    lastUs = flow.nowUs;
  });
  return sum / (lastUs - fromUs);
}

/** Mbit/s that arrive from now until `untilMs`. */
export function throughput(flow: Flow, untilMs: number): number {
  const [delivered, us] = [flow.c.delivered, flow.nowUs];
  run([flow], untilMs);
  return ((flow.c.delivered - delivered) * 8) / (flow.nowUs - us);
}
