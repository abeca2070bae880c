/**
 * Fast Open: RFC 7413. A client that has been given a cookie sends text with its SYN, and a listener that knows the cookie again
 * hands the connection out before the handshake is done. The cookie is SipHash-2-4 of both addresses under the listener's key, as
 * Linux computes it; servers that share a key (`fastOpenKey`) know each other's.
 *
 * A SYN may arrive twice, so its text may too (RFC 7413 §2.1): only for requests that may be made twice. @module
 */
import type { IpAddress } from '../wire/address.ts';
import * as wire from '../wire/tcp.ts';
import { type Connection, mssOf } from './connection.ts';
import { SipHash, swapBytes } from './isn.ts';
import type { Listener } from './listener.ts';
import type { TcpSettings } from './settings.ts';
import type { Tcp } from './tcp.ts';

/** RFC 7413 §4.1.1: a cookie has 4 to 16 bytes; ours, as Linux's. */
const COOKIE_BYTES = 8;
/** Servers whose cookies are remembered; beyond, the one not used for longest is forgotten. */
const SERVERS_MAX = 1024;
/** Keys of listeners that are kept expanded. */
const KEYS_MAX = 16;
/** Room left in a SYN for options that somebody on the way adds, as Linux leaves it. */
const OPTIONS_ROOM = 40;
/** RFC 7413 §4.1.3.1: after a SYN with text was lost, none is sent to that server for so long, in ms. */
const LOST_MS = 60_000;

const NO_COOKIE = new Uint8Array(0);

/** What one connection knows of its Fast Open. */
export class FastOpenState {
  /** What our SYN or SYN-ACK carries: a cookie, an empty one to ask for it, or none (null). */
  option: Uint8Array | null = null;
  /** As option 254 with RFC 6994's magic number, which came before option 34. */
  isExperimental = false;
  /** Bytes that went with our SYN. */
  synBytes = 0;
  /** The listener that handed the connection out before the handshake was done, until it is. */
  early: Listener | null = null;
  /** The FIN of a shutdown waits for the handshake, as on Linux; that of a close does not. */
  holdsFin = false;
  /** Text of a SYN was taken: by us, or by the peer. */
  isAccepted = false;
}

interface Server {
  cookie: Uint8Array;
  mss: number;
  isExperimental: boolean;
  /** Until then no text goes with a SYN. */
  lostUntil: number;
}

/** Whether `c` was handed out before the handshake was done, and that is not done yet. */
export const isEarly = (c: Connection): boolean => c.fastOpen !== null && c.fastOpen.early !== null;

/** The handshake is done, or will never be. */
export function leaveEarly(c: Connection): void {
  const state = c.fastOpen!;
  state.early?.leaveEarly(c);
  state.early = null;
  state.holdsFin = false;
}

/** The cookies of a stack: those it gives as a server, and those it was given. */
export class FastOpen {
  readonly #tcp: Tcp;
  readonly #own: SipHash;
  readonly #hashes = new Map<string, SipHash[]>();
  readonly #servers = new Map<string, Server>();
  readonly #words = new Int32Array(8);

  constructor(tcp: Tcp) {
    this.#tcp = tcp;
    this.#own = new SipHash(tcp.context.random);
  }

  // A client.

  /** Whether text may go with a SYN to `remote`. */
  knows(remote: IpAddress, settings: TcpSettings): boolean {
    if (!settings.fastOpenCookie) return true;
    const server = this.#servers.get(remote.toString());
    return server !== undefined && server.cookie.length > 0 && server.lostUntil <= this.#tcp.context.nowMs;
  }

  /** How many bytes may go with a SYN to `remote`. */
  room(c: Connection): number {
    if (!this.knows(c.remote, c.settings)) return 0;
    const mss = this.#servers.get(c.remote.toString())?.mss || c.advertisedMss;
    const onPath = mssOf(c.path.mtu, c.local.isV4, c.settings.mssMax);
    return Math.max(0, Math.min(c.advertisedMss, onPath, mss) - OPTIONS_ROOM);
  }

  /** What the SYN of `c` asks for, and how much of what is queued goes with it: RFC 7413 §4.2.1. */
  begin(c: Connection): FastOpenState {
    const state = new FastOpenState();
    const server = this.#servers.get(c.remote.toString());
    const mayCarry = this.knows(c.remote, c.settings);
    const isPaused = server !== undefined && server.lostUntil > this.#tcp.context.nowMs;
    if (c.settings.fastOpenCookie && !isPaused) state.option = mayCarry ? server!.cookie : NO_COOKIE;
    state.isExperimental = server?.isExperimental ?? false;
    if (mayCarry && c.tx !== null) state.synBytes = Math.min(c.tx.length, this.room(c));
    return state;
  }

  /** The SYN-ACK: what it says of cookies, and whether it acknowledges the text. RFC 7413 §4.2.2. */
  synAckArrived(c: Connection, segment: wire.Segment, isTextAcknowledged: boolean): void {
    const state = c.fastOpen!;
    const { stats, nowMs } = this.#tcp.context;
    const hasText = state.synBytes > 0;
    state.isAccepted = hasText && isTextAcknowledged;
    if (hasText) {
      if (isTextAcknowledged) stats.tcpFastOpenActive++;
      else stats.tcpFastOpenActiveFailed++;
    }
    const key = c.remote.toString();
    const known = this.#servers.get(key);
    const server = known ?? { cookie: NO_COOKIE, mss: 0, isExperimental: false, lostUntil: 0 };
    server.mss = segment.mss;
    const given = state.option === null ? 0 : segment.fastOpenLength;
    if (given > 0) {
      server.cookie = wire.fastOpenCookie(this.#tcp.context.memory.u8, segment);
      server.isExperimental = segment.isFastOpenExperimental;
    } else if (state.option !== null && !hasText && c.retransmits === 0 && !c.settings.bsd) {
      // Asked, and none was given: the server may know the other form of the option.
      server.isExperimental = !state.isExperimental;
    }
    // FreeBSD takes a server that gives no cookie, or does not take the text, for one that never will.
    const isRefused = c.settings.bsd ? !state.isAccepted : hasText && !isTextAcknowledged && c.retransmits > 0;
    if (isRefused && given <= 0) server.lostUntil = nowMs + LOST_MS;
    this.#servers.delete(key); // the newest last
    this.#servers.set(key, server);
    if (this.#servers.size > SERVERS_MAX) this.#servers.delete(this.#servers.keys().next().value!);
  }

  // A server.

  /**
   * Judges a SYN with text, or the option: RFC 7413 §4.1.2, §4.2.1, in Linux's order. Says whether the connection may be
   * handed out at once; a cookie for the SYN-ACK stands in the state that it leaves in `c`.
   */
  judge(c: Connection, segment: wire.Segment): boolean {
    const { settings } = c;
    const { stats } = this.#tcp.context;
    const asked = segment.fastOpenLength;
    const state = new FastOpenState();
    c.fastOpen = state;
    state.isExperimental = segment.isFastOpenExperimental;
    if (!settings.fastOpenCookie) return true;
    if (asked < 0) return false;
    const index = asked === 0 ? -1 : this.#match(c, wire.fastOpenCookie(this.#tcp.context.memory.u8, segment));
    if (asked === 0) stats.tcpFastOpenCookiesAsked++;
    else if (index < 0) stats.tcpFastOpenPassiveFailed++;
    // A cookie of the old key is good, and the client is given a new one.
    if (index !== 0) state.option = this.#cookie(c, 0);
    return index >= 0;
  }

  /** The cookie of the SYN's own kind that goes with the SYN-ACK although the text cannot be taken. */
  refuse(c: Connection): void {
    c.fastOpen!.option = c.settings.fastOpenCookie ? this.#cookie(c, 0) : null;
  }

  /** Which of the listener's keys gave this cookie; -1: none. */
  #match(c: Connection, cookie: Uint8Array): number {
    return this.#keys(c.settings.fastOpenKey).findIndex((_, index) => {
      const own = this.#cookie(c, index);
      return own.length === cookie.length && own.every((byte, i) => byte === cookie[i]);
    });
  }

  #cookie(c: Connection, index: number): Uint8Array {
    const hash = this.#keys(c.settings.fastOpenKey)[index]!;
    const words = this.#words;
    const [remote, local] = [c.remote.withZone(0), c.local.withZone(0)];
    const parts = local.isV4
      ? [remote.d, local.d]
      : [remote.a, remote.b, remote.c, remote.d, local.a, local.b, local.c, local.d];
    // Addresses as they stand on the wire, read as little-endian words.
    for (const [i, part] of parts.entries()) words[i] = swapBytes(part);
    const low = hash.hash(words.subarray(0, parts.length));
    const cookie = new Uint8Array(COOKIE_BYTES);
    const dv = new DataView(cookie.buffer);
    dv.setInt32(0, low, true);
    dv.setInt32(4, hash.high, true);
    return cookie;
  }

  #keys(text: string): SipHash[] {
    if (text === '') return [this.#own];
    let hashes = this.#hashes.get(text);
    if (hashes === undefined) {
      hashes = text.split(',').map((key) => SipHash.withKey(key));
      if (this.#hashes.size >= KEYS_MAX) this.#hashes.clear();
      this.#hashes.set(text, hashes);
    }
    return hashes;
  }
}
