/** The limit of challenge ACKs over the whole stack: RFC 5961 §7. @module */
import type { Context } from '../iface/context.ts';

/**
 * So many a second, about: a limit that could be counted would tell an attacker whether his guess at another's connection
 * was answered (Cao et al., "Off-Path TCP Exploits", 2016), so each second draws its own.
 */
export class ChallengeLimit {
  #second = -1;
  #left = 0;

  take({ nowMs, random }: Context, perSecond: number): boolean {
    const second = Math.floor(nowMs / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#left = Math.ceil(perSecond / 2) + (random() % Math.max(1, perSecond));
    }
    if (this.#left <= 0) return false;
    this.#left--;
    return true;
  }
}
