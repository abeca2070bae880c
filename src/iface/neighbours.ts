/**
 * The neighbour cache of an Ethernet interface: RFC 826 (ARP), with the reachability states of RFC 4861 §7.3, which
 * serve ARP and neighbour discovery alike (RFC 1122 §2.3.2.1 asks ARP for some such thing). Packets wait in a queue per
 * neighbour, so a dead one never holds up a live one. @module
 */
import { frameLength } from '../memory/frame.ts';
import type { IpAddress, MacAddress } from '../wire/address.ts';
import type { Context } from './context.ts';
import type { Interface } from './interface.ts';
import type { DropReason } from './stats.ts';
import type { Timed } from './timers.ts';

export const INCOMPLETE = 0; // being asked for; packets wait
export const REACHABLE = 1;
export const STALE = 2; // known, not confirmed lately; used as it is
export const DELAY = 3; // used while stale: an upper layer has a moment to confirm it
export const PROBE = 4; // asked directly
export const GONE = 5; // no longer in the cache: whoever still holds it must look it up again

/** RFC 4861 §10: REACHABLE_TIME, DELAY_FIRST_PROBE_TIME, RETRANS_TIMER. */
const REACHABLE_MS = 30_000;
const DELAY_MS = 5000;
const RETRANSMIT_MS = 1000;
/** RFC 4861 §10: MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT; then the neighbour is unreachable. */
const SOLICIT_MAX = 3;
/** Packets that wait for one neighbour; the oldest is dropped beyond (RFC 1122 §2.3.2.2 asks for at least one). */
const QUEUE_MAX = 32;
/** Packets that wait in all, and the part of the memory they may hold: one sixteenth. Beyond, new ones are dropped. */
const WAITING_MAX = 1024;
const WAITING_SHIFT = 4;
/** Bytes a waiting frame is counted with. */
const FRAME_BYTES = 2048;
/** Neighbours remembered; beyond, the one unused for longest is forgotten. Half of them may be set by hand. */
const NEIGHBOURS_MAX = 1 << 14;
const STATIC_MAX = NEIGHBOURS_MAX / 2;
/** Of so many, the oldest ones, the one to forget is chosen: all of them would be too many to look at for each packet. */
const EVICT_SAMPLE = 64;

export class Neighbour implements Timed {
  readonly address: IpAddress;
  readonly #cache: Neighbours;
  state = INCOMPLETE;
  macHigh = 0;
  macLow = 0;
  /** Frames waiting, owned by the neighbour. */
  readonly queue: number[] = [];
  confirmedAt = 0;
  usedAt = 0;
  solicits = 0;
  /** Whether it forwards packets: RFC 4861 §5.1. */
  isRouter = false;
  /** The next one with the same key. Written by the cache only. */
  next: Neighbour | null = null;
  /** Set by hand: it stays REACHABLE, whatever is heard. */
  isStatic = false;
  timerAt = 0;
  timerIndex = -1;

  constructor(cache: Neighbours, address: IpAddress) {
    this.#cache = cache;
    this.address = address;
  }

  expire(nowMs: number): void {
    this.#cache.expire(this, nowMs);
  }

  /** Upper-layer evidence that the neighbour answers: RFC 4861 §7.3.1. */
  confirm(): void {
    if (this.state !== INCOMPLETE && this.state !== GONE) this.#cache.confirm(this);
  }
}

/** Flags of a neighbour advertisement: RFC 4861 §4.4. */
export interface AdvertisedFlags {
  readonly isRouter: boolean;
  readonly isSolicited: boolean;
  readonly isOverride: boolean;
}

/** Whether `one` is missed less than `other`: what nobody confirms goes first, so that a flood of claims pushes out its own. */
const isSparer = (one: Neighbour, other: Neighbour): boolean =>
  one.state === other.state || (one.state !== STALE && other.state !== STALE)
    ? one.usedAt < other.usedAt
    : one.state === STALE;

export class Neighbours {
  readonly #context: Context;
  readonly #iface: Interface;
  readonly #entries = new Map<number, Neighbour>();
  /** Of the keys of IPv6 addresses; drawn when the first is needed. */
  #secrets: Int32Array | null = null;
  #count = 0;
  readonly #waitingMax: number;
  #waiting = 0;
  #statics = 0;

  constructor(context: Context, iface: Interface) {
    this.#context = context;
    this.#iface = iface;
    this.#waitingMax = Math.min(WAITING_MAX, Math.floor((context.memory.bytes >>> WAITING_SHIFT) / FRAME_BYTES));
  }

  get count(): number {
    return this.#count;
  }

  /** An IPv4 address is its own key; of an IPv6 one it is a keyed hash, so that nobody can choose many with one key. */
  #keyOf({ a, b, c, d, isV4 }: IpAddress): number {
    if (isV4) return d;
    this.#secrets ??= Int32Array.from({ length: 8 }, () => this.#context.random() | 1);
    const k = this.#secrets;
    return (
      (Math.imul(a & 0xffff, k[0]!) +
        Math.imul(a >>> 16, k[1]!) +
        Math.imul(b & 0xffff, k[2]!) +
        Math.imul(b >>> 16, k[3]!) +
        Math.imul(c & 0xffff, k[4]!) +
        Math.imul(c >>> 16, k[5]!) +
        Math.imul(d & 0xffff, k[6]!) +
        Math.imul(d >>> 16, k[7]!)) |
      0
    );
  }

  #insert(neighbour: Neighbour): void {
    const key = this.#keyOf(neighbour.address);
    neighbour.next = this.#entries.get(key) ?? null;
    this.#entries.set(key, neighbour);
    this.#count++;
  }

  #remove(neighbour: Neighbour): void {
    const key = this.#keyOf(neighbour.address);
    let at = this.#entries.get(key) ?? null;
    if (at === neighbour) {
      if (neighbour.next === null) this.#entries.delete(key);
      else this.#entries.set(key, neighbour.next);
      this.#count--;
      return;
    }
    while (at !== null && at.next !== neighbour) at = at.next;
    if (at === null) return;
    at.next = neighbour.next;
    this.#count--;
  }

  /** All neighbours. */
  *values(): Generator<Neighbour, void, undefined> {
    for (const head of this.#entries.values())
      for (let at: Neighbour | null = head; at !== null; at = at.next) yield at;
  }

  /** The neighbour of this address, made if need be. Nothing is sent until a frame waits for it. */
  get(address: IpAddress): Neighbour {
    const known = this.find(address);
    if (known !== null) return known;
    if (this.#count >= NEIGHBOURS_MAX) this.#evict();
    const made = new Neighbour(this, address);
    made.usedAt = this.#context.nowMs;
    this.#insert(made);
    return made;
  }

  find(address: IpAddress): Neighbour | null {
    let at = this.#entries.get(this.#keyOf(address)) ?? null;
    while (at !== null && !at.address.equals(address)) at = at.next;
    return at;
  }

  /**
   * Sets the link address of a neighbour by hand: it is never asked for, and nothing heard changes it.
   * @throws RangeError for one too many
   */
  set(address: IpAddress, mac: MacAddress): void {
    const neighbour = this.get(address);
    if (!neighbour.isStatic) {
      if (this.#statics >= STATIC_MAX) {
        throw new RangeError(`neighbours: expected at most ${STATIC_MAX} set by hand, got one more`);
      }
      this.#statics++;
    }
    neighbour.isStatic = false;
    this.learn(neighbour, mac.high, mac.low, true);
    neighbour.isStatic = true;
    neighbour.state = REACHABLE;
    this.#context.timers.cancel(neighbour);
  }

  /** Forgets a neighbour, set by hand or not; it is asked for when next needed. False: there was none. */
  delete(address: IpAddress): boolean {
    const neighbour = this.find(address);
    if (neighbour === null) return false;
    this.#remove(neighbour);
    this.#forget(neighbour);
    return true;
  }

  /**
   * Called with a frame for a neighbour that is not REACHABLE: says whether to send it now. Where not, the cache owns
   * the frame.
   */
  admit(neighbour: Neighbour, frame: number): boolean {
    const { nowMs, timers } = this.#context;
    neighbour.usedAt = nowMs;
    if (neighbour.state === STALE) {
      neighbour.state = DELAY;
      timers.cancel(neighbour); // of an earlier state
      timers.atMost(neighbour, nowMs + DELAY_MS);
    }
    if (neighbour.state !== INCOMPLETE) return true;
    neighbour.queue.push(frame);
    this.#waiting++;
    if (neighbour.queue.length > QUEUE_MAX || this.#waiting > this.#waitingMax) {
      const oldest = neighbour.queue.shift()!;
      this.#waiting--;
      this.#refuse('neighbour-queue-full', oldest);
      this.#context.memory.free(oldest);
    }
    if (neighbour.timerIndex < 0) this.#solicit(neighbour, nowMs);
    return false;
  }

  /**
   * Somebody told his own link address by the way, in a message that asks for something: RFC 4861 §6.2.6, §6.3.4,
   * §7.2.3, §8.3. What is new about him is used, and confirmed when it is.
   */
  heard(address: IpAddress, mac: MacAddress): Neighbour | null {
    if (mac.isGroup || (mac.high === 0 && mac.low === 0)) return null;
    const neighbour = this.get(address);
    this.learn(neighbour, mac.high, mac.low, false);
    return neighbour;
  }

  /**
   * A neighbour advertisement came: RFC 4861 §7.2.5.
   * @param mac - the target link address, null where it has none   @returns whether the neighbour ceased to be a router
   */
  advertised(neighbour: Neighbour, mac: MacAddress | null, flags: AdvertisedFlags): boolean {
    if (neighbour.isStatic) return false;
    const { state, isRouter } = neighbour;
    if (state === INCOMPLETE) {
      if (mac === null) return false; // "the receiving node SHOULD silently discard the received advertisement"
      neighbour.isRouter = flags.isRouter;
      this.learn(neighbour, mac.high, mac.low, flags.isSolicited);
      return false;
    }
    const isSame = mac === null || (mac.high === neighbour.macHigh && mac.low === neighbour.macLow);
    if (!isSame && !flags.isOverride) {
      // (a) of its second rule: another address without the Override flag is doubt enough, and no more.
      if (state === REACHABLE) neighbour.state = STALE;
      return false;
    }
    neighbour.isRouter = flags.isRouter;
    if (!isSame) {
      neighbour.macHigh = mac.high;
      neighbour.macLow = mac.low;
    }
    if (flags.isSolicited) this.confirm(neighbour);
    else if (!isSame) neighbour.state = STALE;
    return isRouter && !flags.isRouter;
  }

  /** Asks a neighbour whether it is there, although nothing is to be sent to it: RFC 4191 §3.5. */
  probe(address: IpAddress): void {
    const neighbour = this.get(address);
    if (neighbour.state === INCOMPLETE && neighbour.timerIndex < 0) this.#solicit(neighbour, this.#context.nowMs);
  }

  /** RFC 4861 §6.3.2: how long what was confirmed stays so, in ms. */
  #reachableMs({ address }: Neighbour): number {
    return address.isV4 ? REACHABLE_MS : (this.#iface.nd?.reachableMs ?? REACHABLE_MS);
  }

  #retransmitMs({ address }: Neighbour): number {
    return address.isV4 ? RETRANSMIT_MS : (this.#iface.nd?.retransMs ?? RETRANSMIT_MS);
  }

  /**
   * Learns that `neighbour` has this link address, and sends what waited for it.
   * @param isAnswer - whether it answers us; else the address is used, but not taken for confirmed (RFC 4861 §7.2.5)
   */
  learn(neighbour: Neighbour, macHigh: number, macLow: number, isAnswer: boolean): void {
    if (neighbour.isStatic) return;
    const { state } = neighbour;
    const isSame = state !== INCOMPLETE && neighbour.macHigh === macHigh && neighbour.macLow === macLow;
    neighbour.macHigh = macHigh;
    neighbour.macLow = macLow;
    if (isAnswer && (state === INCOMPLETE || state === DELAY || state === PROBE)) this.confirm(neighbour);
    else if (!isSame) neighbour.state = STALE;
    if (state === INCOMPLETE) {
      this.#context.timers.cancel(neighbour);
      if (neighbour.state === REACHABLE)
        this.#context.timers.atMost(neighbour, this.#context.nowMs + this.#reachableMs(neighbour));
      this.#iface.nd?.appeared(neighbour);
    }
    const waiting = neighbour.queue.splice(0);
    this.#waiting -= waiting.length;
    for (const frame of waiting) this.#iface.transmit(frame, neighbour);
  }

  confirm(neighbour: Neighbour): void {
    if (neighbour.isStatic) return;
    const { nowMs, timers } = this.#context;
    neighbour.state = REACHABLE;
    neighbour.confirmedAt = nowMs;
    neighbour.usedAt = nowMs;
    neighbour.solicits = 0;
    timers.atMost(neighbour, nowMs + this.#reachableMs(neighbour));
  }

  expire(neighbour: Neighbour, nowMs: number): void {
    const { timers } = this.#context;
    switch (neighbour.state) {
      case REACHABLE: {
        const until = neighbour.confirmedAt + this.#reachableMs(neighbour);
        if (until > nowMs) timers.atMost(neighbour, until);
        else neighbour.state = STALE;
        return;
      }
      case DELAY:
        neighbour.state = PROBE;
        neighbour.solicits = 0;
        this.#solicit(neighbour, nowMs);
        return;
      case INCOMPLETE:
      case PROBE:
        if (neighbour.solicits < SOLICIT_MAX) this.#solicit(neighbour, nowMs);
        else this.#fail(neighbour);
        return;
      default:
    }
  }

  /** Gives back every waiting frame and forgets all neighbours. */
  close(): void {
    for (const neighbour of this.values()) this.#forget(neighbour);
    this.#entries.clear();
    this.#count = 0;
  }

  #solicit(neighbour: Neighbour, nowMs: number): void {
    neighbour.solicits++;
    this.#iface.solicit(neighbour);
    this.#context.timers.atMost(neighbour, nowMs + this.#retransmitMs(neighbour));
  }

  /** RFC 1122 §2.3.2.2, RFC 4861 §7.2.2: what waited is told that the host is unreachable. */
  #fail(neighbour: Neighbour): void {
    this.#remove(neighbour);
    const waiting = neighbour.queue.splice(0);
    this.#waiting -= waiting.length;
    this.#iface.redirects.lost(neighbour.address);
    this.#iface.nd?.vanished(neighbour);
    this.#forget(neighbour);
    for (const frame of waiting) {
      this.#refuse('neighbour-unreachable', frame);
      this.#iface.unreachable(frame);
      this.#context.memory.free(frame);
    }
  }

  #refuse(reason: DropReason, frame: number): void {
    this.#iface.refuse(reason, frameLength(this.#context.memory, frame), frame);
  }

  /** Paths that lead over it are found anew. */
  #forget(neighbour: Neighbour): void {
    neighbour.state = GONE;
    if (neighbour.isStatic) this.#statics--;
    this.#context.timers.cancel(neighbour);
    const waiting = neighbour.queue.splice(0);
    this.#waiting -= waiting.length;
    for (const frame of waiting) this.#context.memory.free(frame);
    this.#iface.pathsChanged();
  }

  /** Forgets one: best one that was only looked up, else the one not used or confirmed for longest. */
  #evict(): void {
    let chosen: Neighbour | null = null;
    let seen = 0;
    for (const entry of this.values()) {
      if (seen++ >= EVICT_SAMPLE && chosen !== null) break;
      if (entry.isStatic) continue;
      if (entry.state === INCOMPLETE && entry.queue.length === 0) {
        chosen = entry;
        break;
      }
      if (chosen === null || isSparer(entry, chosen)) chosen = entry;
    }
    if (chosen === null) return;
    this.#remove(chosen);
    this.#forget(chosen);
  }
}
