/** Asking for routers until one answers: RFC 4861 §6.3.7, with the backoff of RFC 7559. @module */
import type { Nd } from './nd.ts';
import type { Timed } from './timers.ts';

/** RFC 4861 §10: MAX_RTR_SOLICITATION_DELAY. */
const DELAY_MS = 1000;
/** RFC 7559 §2: IRT is RTR_SOLICITATION_INTERVAL, MRT 3600 s; MRC and MRD are 0: it never gives up. */
const FIRST_MS = 4000;
const MOST_MS = 3_600_000;

export class RouterSolicitor implements Timed {
  timerAt = 0;
  timerIndex = -1;
  /** Solicitations sent since the last start. */
  sent = 0;
  readonly #nd: Nd;
  #lastMs = 0;
  #isActive = false;

  constructor(nd: Nd) {
    this.#nd = nd;
  }

  /**
   * The first leaves at random within a second, for all hosts of a link may begin at once; at once where `hasWaited` so
   * already, for the probes of the address (RFC 4861 §6.3.7).
   */
  start(hasWaited = false): void {
    if (this.#isActive) return;
    const { context } = this.#nd;
    this.#isActive = true;
    this.sent = 0;
    context.timers.atMost(this, context.nowMs + 1 + (hasWaited ? 0 : Math.floor(DELAY_MS * this.#nd.chance())));
  }

  expire(nowMs: number): void {
    if (!this.#isActive) return;
    this.#nd.solicitRouters(this.#nd.slaac.sourceOfSolicitations);
    // RFC 8415 §15, to which RFC 7559 §2 refers: RT = 2*RTprev + RAND*RTprev, RAND from -0.1 to 0.1.
    const spread = this.#nd.chance() * 0.2 - 0.1;
    const next = this.sent === 0 ? FIRST_MS * (1 + spread) : this.#lastMs * (2 + spread);
    this.#lastMs = next > MOST_MS ? MOST_MS * (1 + spread) : next;
    this.sent++;
    this.#nd.context.timers.atMost(this, nowMs + this.#lastMs);
  }

  /** A router has answered. */
  stop(): void {
    this.#isActive = false;
    this.#nd.context.timers.cancel(this);
  }
}
