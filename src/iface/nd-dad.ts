/**
 * Duplicate address detection: RFC 4862 §5.4, with the nonces of RFC 7527, by which a probe that the link sends back is
 * known for our own. An address is tentative until its probes have gone unanswered. @module
 */
import { UNSPECIFIED_V6 } from '../wire/address.ts';
import * as ndp from '../wire/ndp.ts';
import type { LocalAddress } from './addresses.ts';
import type { Nd } from './nd.ts';
import type { Timed } from './timers.ts';

/** RFC 3971 §5.3.2: a nonce has at least 6 bytes. */
const NONCE_BYTES = 6;
/** RFC 7527 §4.1: further probes once the link was found to send them back; then the address is taken. */
const LOOPED_TRANSMITS = 3;
/** Nonces remembered, to know our own probes by; the oldest is forgotten. */
const NONCES_MAX = 64;

/** One address whose probes are under way. */
class Probing implements Timed {
  readonly local: LocalAddress;
  readonly onDuplicate: () => void;
  readonly #dad: Dad;
  /** Probes still to be sent. */
  left: number;
  isLooped = false;
  timerAt = 0;
  timerIndex = -1;

  constructor(dad: Dad, local: LocalAddress, transmits: number, onDuplicate: () => void) {
    this.#dad = dad;
    this.local = local;
    this.left = transmits;
    this.onDuplicate = onDuplicate;
  }

  expire(): void {
    this.#dad.step(this);
  }
}

export class Dad {
  readonly #nd: Nd;
  readonly #probing = new Map<LocalAddress, Probing>();
  #nonces: string[] = [];

  constructor(nd: Nd) {
    this.#nd = nd;
  }

  /** Addresses that are being asked about. */
  get count(): number {
    return this.#probing.size;
  }

  /**
   * Probes for `local`, which is assigned when nobody answers.
   * @param delayMs - the first probe leaves at random within this time: RFC 4862 §5.4.2
   * @param onDuplicate - called when another host has the address, which is a duplicate then
   */
  start(local: LocalAddress, transmits: number, delayMs: number, onDuplicate: () => void): void {
    const { context } = this.#nd;
    const probing = new Probing(this, local, transmits, onDuplicate);
    this.#probing.set(local, probing);
    // "the node MUST join the all-nodes multicast address and the solicited-node multicast address of the tentative address"
    this.#nd.joinSolicitedNode(local.address);
    if (delayMs === 0) this.step(probing);
    else context.timers.atMost(probing, context.nowMs + 1 + Math.floor(delayMs * this.#nd.chance()));
  }

  /** The next probe is due, or the last one has gone unanswered for RetransTimer ms. */
  step(probing: Probing): void {
    const { context, retransMs } = this.#nd;
    if (probing.left === 0) {
      this.#probing.delete(probing.local);
      this.#nd.ip.addresses.assign(probing.local);
      this.#nd.slaac.assigned(probing.local);
      // RFC 9131 §4.1: routers on the link know the address before anybody sends to it.
      this.#nd.advertise(probing.local.address, ndp.ALL_ROUTERS, false, false);
      return;
    }
    probing.left--;
    const { address } = probing.local;
    const nonce = this.#nonce();
    this.#nd.sendSolicitation(address, UNSPECIFIED_V6, ndp.solicitedNode(address), { nonce }, null);
    context.timers.atMost(probing, context.nowMs + retransMs);
  }

  #nonce(): Uint8Array {
    const { random } = this.#nd.context;
    const nonce = Uint8Array.from({ length: NONCE_BYTES }, () => random() & 0xff);
    this.#nonces.push(nonce.join());
    if (this.#nonces.length > NONCES_MAX) this.#nonces.shift();
    return nonce;
  }

  /** Whether a solicitation with this nonce is one of ours. */
  isOwnNonce(nonce: Uint8Array | null): boolean {
    return nonce !== null && this.#nonces.includes(nonce.join());
  }

  /** Somebody probes for an address that we are probing for: RFC 4862 §5.4.3. */
  solicited(local: LocalAddress, nonce: Uint8Array | null): void {
    const probing = this.#probing.get(local);
    if (probing === undefined) return;
    if (!this.isOwnNonce(nonce)) {
      this.#fail(probing);
      return;
    }
    this.#nd.context.stats.drop('nd-looped');
    if (probing.isLooped) return;
    probing.isLooped = true;
    probing.left += LOOPED_TRANSMITS;
  }

  /** Somebody says that he has an address that we are probing for: RFC 4862 §5.4.4. */
  advertised(local: LocalAddress): void {
    const probing = this.#probing.get(local);
    if (probing !== undefined) this.#fail(probing);
  }

  #fail(probing: Probing): void {
    const { local } = probing;
    this.#nd.context.stats.ndDuplicates++;
    this.#nd.release(local);
    this.#nd.ip.addresses.fail(local);
    probing.onDuplicate();
  }

  /** Probes no longer for `local`. */
  stop(local: LocalAddress): void {
    const probing = this.#probing.get(local);
    if (probing === undefined) return;
    this.#probing.delete(local);
    this.#nd.context.timers.cancel(probing);
  }

  close(): void {
    for (const local of [...this.#probing.keys()]) this.stop(local);
  }
}
