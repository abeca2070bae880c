/**
 * A listening port: half-open connections (the SYN queue), connections that wait for the user (the accept queue), and
 * the limits of both. RFC 9293 §3.10.7.2; RFC 4987 §3 on what the limits are for. @module
 */
import type { Packet } from '../iface/packet.ts';
import type { IpAddress } from '../wire/address.ts';
import * as wire from '../wire/tcp.ts';
import { Connection, UNSET } from './connection.ts';
import { COOKIE_MS } from './cookie.ts';
import { agreeOnSyn } from './ecn.ts';
import { ACCEPTABLE } from './events.ts';
import { learnSyn, segmentArrives, takeSynText } from './input.ts';
import { timestampNow } from './rtt.ts';
import { type Seq, seqAdd, seqGt } from './seq.ts';
import type { TcpSettings } from './settings.ts';
import type { TcpSocket } from './socket.ts';
import { CLOSED } from './state.ts';
import { type OnSyn, refuseHeld, SynRequest } from './syn-request.ts';
import type { Tcp } from './tcp.ts';
import { ISS_STEP } from './time-wait.ts';

/** Backlog where the user names none; Node's. */
export const BACKLOG_DEFAULT = 511;
/** Half-open connections of a listener, at least; a SYN beyond the limit is answered with a cookie, or dropped. */
const SYN_QUEUE_MIN = 256;
/**
 * Who intercepts has no cookies: with a queue full of SYNs of nobody, none of anybody would be taken until they are given
 * up, a minute later. So the oldest makes room, once it has been answered for so long that a host on the link would have
 * said so, or has waited for its decision longer than most take. If it was somebody after all, his SYN comes again.
 */
const STALE_ANSWERED_MS = 250;
const STALE_HELD_MS = 3000;
/**
 * RFC 7413 §5.1: the limit guards against SYNs under others' addresses. Those others answer our SYN-ACK with a RST: what it
 * ended counts for so long, or there would be no limit. What Linux does.
 */
const RESET_MS = 60_000;
/** So many of the oldest are looked at for one. */
const STALE_LOOKS = 16;

export class Listener {
  readonly tcp: Tcp;
  /** The address listened on; unspecified: all. */
  readonly local: IpAddress;
  /** 0: all, for who intercepts. */
  readonly port: number;
  backlog: number;
  /** Of connections to come; changed by `TcpSocket.configure`. */
  settings: TcpSettings;
  readonly socket: TcpSocket;
  readonly onSyn: OnSyn | null;
  /** What was reset before it was accepted is handed out all the same, as on Linux. */
  readonly keepsReset: boolean;
  /** See `Bound`. */
  readonly ipv6Only: boolean;
  /** When the last SYN cookie was sent, ms. */
  #cookieAt = Number.NEGATIVE_INFINITY;
  /** With the time when they came, or were answered; in that order. */
  readonly #halfOpen = new Map<Connection, number>();
  /** Handed out, or waiting to be, before their handshake is done. */
  readonly #early = new Set<Connection>();
  /** Until when those count that were reset, ms; the oldest first, and no more than may be handed out. */
  readonly #earlyResets: number[] = [];
  #accepted: Connection[] = [];

  constructor(
    tcp: Tcp,
    socket: TcpSocket,
    local: IpAddress,
    port: number,
    backlog: number,
    settings: TcpSettings,
    onSyn: OnSyn | null,
    keepsReset = false,
    ipv6Only = false,
  ) {
    this.tcp = tcp;
    this.socket = socket;
    this.local = local;
    this.port = port;
    this.backlog = backlog;
    this.settings = settings;
    this.onSyn = onSyn;
    this.keepsReset = keepsReset;
    this.ipv6Only = ipv6Only;
  }

  get pending(): number {
    return this.#accepted.length;
  }

  get halfOpenCount(): number {
    return this.#halfOpen.size;
  }

  /**
   * A SYN came in: RFC 9293 §3.10.7.2 third. @param after - the last number of a connection in TIME-WAIT that it may
   * take over; such a SYN has shown that it is no spoofed one
   * @returns whether there is a connection for it now
   */
  arriveSyn(packet: Packet, segment: wire.Segment, after: Seq | null): boolean {
    const { tcp } = this;
    const { stats } = tcp.context;
    // A full accept queue takes no more SYNs, so that clients wait instead of being reset.
    if (this.#accepted.length >= this.backlog) {
      stats.drop('tcp-accept-queue-full');
      return false;
    }
    const isFull = this.#halfOpen.size >= Math.max(this.backlog, SYN_QUEUE_MIN) && !this.#dropStale();
    if (this.#wantsCookie(isFull) && after === null && !tcp.isMemoryShort()) {
      this.#cookieAt = tcp.context.nowMs;
      tcp.cookies.answer(packet, segment, this.settings);
      return false;
    }
    if (isFull || tcp.isMemoryShort()) {
      stats.drop('tcp-syn-queue-full');
      return false;
    }
    const c = this.#open(packet, segment);
    if (c === null) return false;
    // A sequence number above those of a connection that is in TIME-WAIT: RFC 9293 §3.6.1, MAY-2.
    if (after !== null && !seqGt(c.iss, after)) tcp.setIss(c, seqAdd(after, ISS_STEP));
    if (this.#earlyMax > 0 && this.onSyn === null) this.#openFast(c, segment);
    if (this.onSyn === null) tcp.ready(c);
    else this.#hold(c, this.onSyn, new SynRequest(c, packet, segment));
    return c.state !== CLOSED;
  }

  /** Whether one of the oldest half-open connections has made room. */
  #dropStale(): boolean {
    if (this.port !== 0) return false; // it listens, and has cookies or an application that decides
    const { nowMs, stats } = this.tcp.context;
    let looks = 0;
    for (const [c, at] of this.#halfOpen) {
      if (looks++ === STALE_LOOKS) return false;
      if (nowMs - at < (c.handshakeAt === UNSET ? STALE_ANSWERED_MS : STALE_HELD_MS)) continue;
      stats.drop('tcp-syn-queue-full');
      this.tcp.remove(c, null);
      return true;
    }
    return false;
  }

  /** The SYN of `c` is answered from now on: it is the youngest again. */
  answered(c: Connection): void {
    if (this.#halfOpen.delete(c)) this.#halfOpen.set(c, this.tcp.context.nowMs);
  }

  /** A cookie accepts before the user is asked: a listener that decides about SYNs drops those it has no room for. */
  #wantsCookie(isFull: boolean): boolean {
    const { synCookies } = this.settings;
    return this.onSyn === null && (synCookies === 'always' || (isFull && synCookies === 'auto'));
  }

  /** A half-open connection of what `syn` says, or null where no route leads back. */
  #open(packet: Packet, syn: wire.Segment): Connection | null {
    const { tcp } = this;
    const { memory, stats } = tcp.context;
    const remote = packet.source;
    const path = tcp.ip.path(remote, packet.destination);
    if (path === null) {
      stats.drop('no-route');
      return null;
    }
    const port = this.port || wire.destinationPort(memory.dv, packet.payload);
    const c = new Connection(tcp, path, remote, port, wire.sourcePort(memory.dv, packet.payload), this.settings);
    tcp.begin(c);
    learnSyn(c, syn);
    if (this.settings.linux) c.segsIn = 1; // the SYN
    agreeOnSyn(c, syn.flags, packet.ds);
    c.transition('receive-syn');
    c.listener = this;
    this.#halfOpen.set(c, tcp.context.nowMs);
    stats.tcpPassiveOpens++;
    return c;
  }

  get #earlyMax(): number {
    return Math.min(this.settings.fastOpenBacklog, this.settings.fastOpenBacklogMax);
  }

  /** RFC 7413 §4.2.1: the cookie of a SYN is good: its text is taken, and the connection waits to be accepted at once. */
  #openFast(c: Connection, syn: wire.Segment): void {
    const { fastOpen, context } = this.tcp;
    if (syn.fastOpenLength < 0 && syn.length === 0) return;
    if (this.#isEarlyFull()) {
      context.stats.tcpFastOpenOverflows++; // and nothing else: as if Fast Open had not been asked for
      return;
    }
    if (!fastOpen.judge(c, syn)) return;
    if (!takeSynText(c, syn)) {
      fastOpen.refuse(c);
      return;
    }
    context.stats.tcpFastOpenPassive++;
    c.fastOpen!.early = this;
    this.#early.add(c);
    this.#halfOpen.delete(c);
    this.#accepted.push(c);
    this.socket.report(ACCEPTABLE);
  }

  #isEarlyFull(): boolean {
    const resets = this.#earlyResets;
    while (resets.length > 0 && resets[0]! <= this.tcp.context.nowMs) resets.shift();
    return this.#early.size + resets.length >= this.#earlyMax;
  }

  /** One handed out early is reset: it counts for a while yet. */
  resetEarly(): void {
    this.#earlyResets.push(this.tcp.context.nowMs + RESET_MS);
  }

  /** The handshake of `c` is done, or `c` is gone. */
  leaveEarly(c: Connection): void {
    this.#early.delete(c);
  }

  /** Keeps the SYN unanswered until the user has decided; what comes of it meanwhile is absorbed. */
  #hold(c: Connection, onSyn: OnSyn, request: SynRequest): void {
    const { context } = this.tcp;
    this.tcp.hold(c);
    context.stats.tcpSynsHeld++;
    c.handshakeAt = context.nowMs + this.settings.synDeadlineMs;
    context.timers.atMost(c, c.handshakeAt);
    try {
      onSyn(request);
    } catch {
      request.reject();
    }
  }

  /**
   * An ACK came for which there is no connection: RFC 4987 §3.6: it may acknowledge a cookie.
   * @returns whether it was dealt with; else it is answered with a RST, RFC 9293 §3.10.7.2 second
   */
  arriveAck(packet: Packet, segment: wire.Segment): boolean {
    const { tcp } = this;
    const { nowMs, stats } = tcp.context;
    if ((segment.flags & wire.SYN) !== 0 || nowMs - this.#cookieAt > COOKIE_MS) return false;
    const syn = tcp.cookies.check(packet, segment, this.settings);
    if (syn === null) {
      stats.tcpSynCookiesFailed++;
      stats.drop('tcp-bad-cookie');
      // Text whose first segment was lost does not fit its cookie; the first one comes again, and a RST would end what
      // that one is about to open.
      return segment.length > 0 || (segment.flags & wire.FIN) !== 0;
    }
    stats.tcpSynCookiesReceived++;
    const isFull = this.#accepted.length >= this.backlog;
    if (isFull || tcp.isMemoryShort()) {
      stats.drop(isFull ? 'tcp-accept-queue-full' : 'tcp-syn-queue-full');
      return true;
    }
    const c = this.#open(packet, syn);
    if (c === null) return true;
    tcp.setIss(c, seqAdd(segment.ack as Seq, -1));
    c.sndNxt = c.sndMax = segment.ack as Seq;
    // What the low bits of our timestamp said is no time: an echo from the future measures nothing.
    segment.tsEcr = (timestampNow(c) + 1) | 0;
    segmentArrives(c, segment, packet);
    return true;
  }

  /** The handshake of `c` is done: whether there is room for it. Where not, the peer's ACK is as if lost. */
  admit(c: Connection): boolean {
    if (this.#accepted.length >= this.backlog) {
      this.tcp.context.stats.drop('tcp-accept-queue-full');
      return false;
    }
    this.#halfOpen.delete(c);
    this.#accepted.push(c);
    this.socket.report(ACCEPTABLE);
    return true;
  }

  /** The oldest connection that waits, or null. */
  accept(): Connection | null {
    const c = this.#accepted.shift() ?? null;
    if (c !== null) c.listener = null;
    return c;
  }

  /** `c` is gone before it was accepted. */
  forget(c: Connection): void {
    if (this.#halfOpen.delete(c) || this.keepsReset) return;
    const index = this.#accepted.indexOf(c);
    if (index >= 0) this.#accepted.splice(index, 1);
  }

  /** Resets everything that waits. */
  close(): void {
    const waiting = [...this.#halfOpen.keys(), ...this.#accepted];
    this.#accepted = [];
    this.#halfOpen.clear();
    for (const c of waiting) {
      if (c.handshakeAt === UNSET) this.tcp.abort(c);
      else refuseHeld(c);
    }
  }
}
