/**
 * TCP of one stack: finds the connection of a segment, keeps those that have something to send in a queue, and makes
 * and removes connections. A packet costs one look-up and a connection that is idle costs nothing. @module
 */
import type { ErrorCode } from '../errors.ts';
import type { Context } from '../iface/context.ts';
import { FlowTable, portsIn } from '../iface/flow-table.ts';
import type { Interface } from '../iface/interface.ts';
import type { Ip } from '../iface/ip.ts';
import type { Packet } from '../iface/packet.ts';
import { collide, drawPort, serves } from '../iface/ports.ts';
import type { Path } from '../iface/routes.ts';
import type { StreamTransport } from '../iface/transport.ts';
import type { IpAddress } from '../wire/address.ts';
import * as wire from '../wire/tcp.ts';
import { Acked } from './acked.ts';
import { ChallengeLimit } from './challenge.ts';
import type { CongestionControl } from './congestion/controller.ts';
import { Connection, UNSET } from './connection.ts';
import { SynCookies } from './cookie.ts';
import { emitReset, emitSegment, resetStray } from './emit.ts';
import { CLOSED_EVENT, READABLE, WRITABLE } from './events.ts';
import { FastOpen, isEarly, leaveEarly } from './fast-open.ts';
import { segmentArrives } from './input.ts';
import { Secrets } from './isn.ts';
import type { Listener } from './listener.ts';
import { packetTooBig } from './path-mtu.ts';
import { ScoreboardPool } from './scoreboard.ts';
import { BLOCKED, MORE, output } from './send.ts';
import { type Seq, seq, seqGe, seqGt, seqLe } from './seq.ts';
import { mergeSettings, shiftOf, TCP_DEFAULTS, type TcpSettings } from './settings.ts';
import {
  CLOSE_WAIT,
  CLOSED,
  ESTABLISHED,
  FIN_WAIT_1,
  FIN_WAIT_2,
  isSynchronized,
  SYN_RECEIVED,
  SYN_SENT,
  TIME_WAIT,
} from './state.ts';
import { TimeWaitTable } from './time-wait.ts';
import { TurnQueue } from './turn-queue.ts';

/** New connections are refused while less than this part of the memory is free: one sixteenth. */
const SHORT_SHIFT = 4;

export class Tcp implements StreamTransport {
  readonly context: Context;
  readonly ip: Ip;
  settings: TcpSettings;
  /** The congestion control algorithms that settings may name. */
  readonly #algorithms: readonly CongestionControl[] | undefined;
  readonly connections: FlowTable<Connection>;
  readonly timeWait: TimeWaitTable;
  readonly boards = new ScoreboardPool();
  /** What the acknowledgement in hand brings. */
  readonly acked = new Acked();
  readonly #listeners = new Map<number, Listener[]>();
  /** Gets the SYNs of any-IP interfaces that no listener is there for. */
  interceptor: Listener | null = null;
  readonly #secrets: Secrets;
  readonly challenges = new ChallengeLimit();
  #cookies: SynCookies | null = null;
  #fastOpen: FastOpen | null = null;
  /** Connections that live on without a user. */
  #orphans = 0;
  /** Somebody has asked for a least TTL. */
  #guardsTtl = false;
  readonly #segment = new wire.Segment();
  /** Connections that have something to send, each in it once. */
  readonly #ready = new TurnQueue();
  /** Those whose device had no room, by interface; they count as ready meanwhile. */
  readonly #blocked: { readonly iface: Interface; readonly queue: TurnQueue }[] = [];
  #blockedCount = 0;
  /** Connections that are over, with bytes that nobody has read yet. */
  readonly unread = new Set<Connection>();

  constructor(context: Context, ip: Ip, settings: Partial<TcpSettings>, algorithms?: readonly CongestionControl[]) {
    this.context = context;
    this.ip = ip;
    this.#algorithms = algorithms;
    this.settings = this.settingsWith(settings, TCP_DEFAULTS);
    this.connections = new FlowTable(context.random);
    this.timeWait = new TimeWaitTable(this);
    this.#secrets = new Secrets(context.random);
  }

  /** Changes what sockets start with from now on. @throws RangeError, TypeError as {@link mergeSettings} does */
  configure(changes: Partial<TcpSettings>): void {
    this.settings = this.settingsWith(changes);
  }

  /** Settings, by default this stack's, changed by `changes`. */
  settingsWith(changes: Partial<TcpSettings>, base = this.settings): TcpSettings {
    const settings = mergeSettings(base, changes, this.#algorithms);
    if (settings.minTtl > 0 || settings.minHopLimit > 0) this.#guardsTtl = true;
    return settings;
  }

  /** Takes in one packet. RFC 9293 §3.10.7. */
  input(packet: Packet): void {
    const { memory, stats } = this.context;
    const { dv } = memory;
    const p = packet.payload;
    stats.tcpSegmentsIn++;
    // MUST-57: what was sent to a group is dropped without a word.
    if (packet.toGroup) {
      stats.drop('tcp-group-address');
      return;
    }
    const drop = wire.check(memory, p, packet.end, packet.pseudoSum);
    if (drop !== null) {
      stats.drop(drop);
      return;
    }
    const segment = this.#segment;
    wire.parse(dv, p, packet.end, segment);
    segment.gsoSize = packet.gsoSize;
    const ports = wire.ports(dv, p);
    const c = this.connections.find(packet, ports);
    if (
      this.#guardsTtl &&
      this.#comesFromAfar(packet, c?.settings ?? this.#listenerFor(packet, ports & 0xffff)?.settings)
    )
      return;
    if (c !== null) segmentArrives(c, segment, packet);
    else this.#inputStray(packet, segment, ports);
  }

  /** RFC 5082 §3: whether the packet has passed more routers than may be; then it is dropped without an answer. */
  #comesFromAfar({ version, ttl }: Packet, settings = this.settings): boolean {
    if (ttl >= (version === 4 ? settings.minTtl : settings.minHopLimit)) return false;
    this.context.stats.drop('tcp-min-ttl');
    return true;
  }

  /** A segment without a connection: for TIME-WAIT, for a listener, or for nobody. */
  #inputStray(packet: Packet, segment: wire.Segment, ports: number): void {
    const after = this.timeWait.input(packet, segment, ports);
    if (after === 'done') return;
    const { flags } = segment;
    const listener = this.#listenerFor(packet, ports & 0xffff);
    if (listener === null) {
      this.context.stats.drop('tcp-no-socket');
      resetStray(this, packet, segment);
      return;
    }
    // RFC 9293 §3.10.7.2: LISTEN. First RST, second ACK, third SYN, and anything else is dropped.
    if ((flags & wire.RST) !== 0) {
      this.context.stats.drop('tcp-reset-ignored');
      return;
    }
    if ((flags & wire.ACK) !== 0) {
      if ((flags & wire.SYN) !== 0 && this.settings.bsd) return;
      if (!listener.arriveAck(packet, segment)) resetStray(this, packet, segment);
    } else if ((flags & wire.SYN) !== 0 && ((flags & wire.FIN) === 0 || !this.settings.dropSynFin)) {
      const isOpened = listener.arriveSyn(packet, segment, after === 'none' ? null : after);
      if (isOpened && after !== 'none') this.timeWait.forget(packet, ports);
    } else {
      this.context.stats.drop('tcp-bad-flags');
    }
  }

  /** The listener with the most specific address; then who takes everything. */
  #listenerFor(packet: Packet, port: number): Listener | null {
    const listener = this.#boundListener(packet, port);
    if (this.interceptor === null || !packet.iface.anyIp) return listener;
    // One for all of our addresses does not mean those that are not ours.
    const isMeant = listener !== null && (!listener.local.isUnspecified || this.ip.isLocalAddress(packet.destination));
    return isMeant ? listener : this.interceptor;
  }

  #boundListener(packet: Packet, port: number): Listener | null {
    const listeners = this.#listeners.get(port);
    if (listeners === undefined) return null;
    const { destination } = packet;
    let found: Listener | null = null;
    for (const listener of listeners) {
      if (listener.local.equals(destination)) return listener;
      if (serves(listener, destination)) found = listener;
    }
    return found;
  }

  /** Adds a listener, or says that the port is taken. */
  listen(listener: Listener): ErrorCode | null {
    const listeners = this.#listeners.get(listener.port) ?? [];
    if (listeners.some((other) => collide(other, listener))) return 'EADDRINUSE';
    listeners.push(listener);
    this.#listeners.set(listener.port, listeners);
    return null;
  }

  unlisten(listener: Listener): void {
    if (this.interceptor === listener) this.interceptor = null;
    const left = (this.#listeners.get(listener.port) ?? []).filter((other) => other !== listener);
    if (left.length > 0) this.#listeners.set(listener.port, left);
    else this.#listeners.delete(listener.port);
    listener.close();
  }

  /** Takes every SYN that no listener is there for; false: another does. */
  intercept(listener: Listener): boolean {
    if (this.interceptor !== null) return false;
    this.interceptor = listener;
    return true;
  }

  /** A free port to listen on, or 0. */
  ephemeralListenPort(): number {
    return drawPort(this.context.random, (port) => !this.#listeners.has(port));
  }

  /**
   * Active OPEN: RFC 9293 §3.10.1. The SYN leaves at the next turn.
   * @param local - null: the address of the path   @param localPort - 0: a random one
   * @returns the connection, or why there is none
   */
  connect(
    remote: IpAddress,
    remotePort: number,
    local: IpAddress | null,
    localPort: number,
    settings: TcpSettings,
  ): Connection | ErrorCode {
    const path = this.ip.path(remote, local);
    if (path === null) return 'ENETUNREACH';
    if (this.isMemoryShort()) return 'ENOBUFS';
    const isUsed = (p: number): boolean => this.connections.get(path.source, remote, portsIn(p, remotePort)) !== null;
    const isWaiting = (p: number): boolean => this.timeWait.has(path.source, remote, portsIn(p, remotePort));
    const mayReuse = (p: number): boolean =>
      settings.timeWaitReuse &&
      settings.timestamps &&
      this.timeWait.mayReuse(path.source, remote, portsIn(p, remotePort));
    const isFree = (p: number): boolean => !this.#listeners.has(p) && !isUsed(p);
    const port =
      localPort ||
      drawPort(this.context.random, (p) => isFree(p) && !isWaiting(p)) ||
      drawPort(this.context.random, (p) => isFree(p) && mayReuse(p));
    if (port === 0) return 'EADDRNOTAVAIL';
    if (isUsed(port) || (isWaiting(port) && !mayReuse(port))) return 'EADDRINUSE';
    const c = new Connection(this, path, remote, port, remotePort, settings);
    this.begin(c);
    this.timeWait.takeOver(c);
    c.transition('open');
    if (settings.connectTimeoutMs > 0) {
      c.handshakeAt = this.context.nowMs + settings.connectTimeoutMs;
      this.context.timers.atMost(c, c.handshakeAt);
    }
    this.context.stats.tcpActiveOpens++;
    this.ready(c);
    return c;
  }

  /** Gives a new connection its secret numbers, and its place in the table. */
  begin(c: Connection): void {
    c.tsOffset = this.timestampOffset(c.local, c.remote);
    this.setIss(c, this.#secrets.isn(c.local, c.remote, c.portsIn, this.context.now));
    c.rcvShift = shiftOf(c.settings);
    if (c.settings.linux) c.fitWindow(c.advertisedMss);
    this.connections.add(c);
  }

  timestampOffset(local: IpAddress, remote: IpAddress): number {
    return this.#secrets.timestampOffset(local, remote);
  }

  /** Made when the first is needed. */
  get cookies(): SynCookies {
    this.#cookies ??= new SynCookies(this);
    return this.#cookies;
  }

  /** Made when the first is needed. */
  get fastOpen(): FastOpen {
    this.#fastOpen ??= new FastOpen(this);
    return this.#fastOpen;
  }

  setIss(c: Connection, iss: Seq): void {
    c.iss = iss;
    c.sndUna = iss;
    c.sndNxt = iss;
    c.sndMax = iss;
    c.txSeq = seq(iss + 1);
  }

  /** Whether new connections should wait until memory is given back. */
  isMemoryShort(): boolean {
    const { memory } = this.context;
    return memory.freeBytes < memory.bytes >>> SHORT_SHIFT;
  }

  /** Queues `c` for its turn to send. */
  ready(c: Connection): void {
    if (c.isReady || c.state === CLOSED) return;
    c.isReady = true;
    this.#ready.push(c);
  }

  /** Keeps `c` from sending anything: its SYN is not decided on. */
  hold(c: Connection): void {
    c.isReady = true; // though it stands in no queue
  }

  unhold(c: Connection): void {
    c.isReady = false;
    this.ready(c);
  }

  /** Whether a connection would send something if it had its turn now. */
  get hasReady(): boolean {
    return this.#ready.length > 0 || (this.#blockedCount > 0 && this.#blocked.some(isUnblocked));
  }

  /** Queues again who waited for room on a device that has some now. */
  #unblock(): void {
    for (const blocked of this.#blocked) {
      if (!isUnblocked(blocked)) continue;
      const { queue } = blocked;
      this.#blockedCount -= queue.length;
      while (queue.length > 0) this.#ready.push(queue.shift());
    }
  }

  #block(c: Connection): void {
    const { iface } = c.path;
    let blocked = this.#blocked.find((other) => other.iface === iface);
    if (blocked === undefined) {
      blocked = { iface, queue: new TurnQueue() };
      this.#blocked.push(blocked);
    }
    c.isReady = true; // one place in either queue
    blocked.queue.push(c);
    this.#blockedCount++;
  }

  /** Gives each queued connection one turn. Returns whether any of them wants another. */
  flush(): boolean {
    if (this.#blockedCount > 0) this.#unblock();
    let more = false;
    for (let turns = this.#ready.length; turns > 0; turns--) {
      const c = this.#ready.shift();
      c.isReady = false;
      if (c.state === CLOSED) continue;
      const stopped = output(c);
      if (stopped === MORE) {
        this.ready(c);
        more = true;
      } else if (stopped === BLOCKED && !c.isReady) {
        this.#block(c);
      }
    }
    return more;
  }

  /** Routes have changed: finds the path anew. False where there is none now; the timers try again. */
  refreshPath(c: Connection): boolean {
    const path: Path | null = this.ip.path(c.remote, c.local);
    if (path === null || !this.ip.maySendFrom(c.local)) return false;
    const hasChanged = path.mtu !== c.path.mtu;
    path.flowLabel = c.path.flowLabel;
    c.path = path;
    if (hasChanged && (isSynchronized(c.state) || isEarly(c))) c.fitMss(); // before, the SYN decides
    return true;
  }

  /** User CLOSE of the sending half: RFC 9293 §3.10.4. What is queued is still sent. */
  shutdown(c: Connection): void {
    if (c.finQueued || c.state === CLOSED) return;
    if (c.state === SYN_SENT && c.txEnd === c.txSeq) {
      this.remove(c, null);
      return;
    }
    c.finQueued = true;
    c.transition('close');
    this.ready(c);
  }

  /** The user lets go of both halves and of the handle; what is queued, and the FIN, are still sent. */
  release(c: Connection): void {
    c.socket = null;
    // RFC 9293 §3.6.1, RFC 2525 §2.17: unread data is lost, and the peer must learn of it.
    const unread = c.readable > 0;
    this.#discardReceived(c);
    if (c.state === CLOSED) return;
    if (unread) {
      this.abort(c);
      return;
    }
    c.rcvClosed = true;
    this.shutdown(c);
    if (c.state === CLOSED) return;
    // Nobody will close what is over the limit, and each may take minutes to end by itself.
    if (this.#orphans >= this.settings.orphansMax) {
      this.context.stats.tcpOrphansReset++;
      this.abort(c);
      return;
    }
    c.isOrphan = true;
    this.#orphans++;
    if (c.state === FIN_WAIT_2) this.startLinger(c);
  }

  /** Connections that live on without a user. */
  get orphans(): number {
    return this.#orphans;
  }

  /** ABORT: RFC 9293 §3.10.5: a RST in the states where the peer still counts on us. */
  abort(c: Connection): void {
    const { state } = c;
    const isOpen = state === ESTABLISHED || state === FIN_WAIT_1 || state === FIN_WAIT_2 || state === CLOSE_WAIT;
    if (isOpen || (state === SYN_RECEIVED && c.sndMax !== c.iss)) emitReset(c);
    if (state !== TIME_WAIT) this.remove(c, 'ECONNABORTED');
    this.#discardReceived(c);
  }

  #discardReceived(c: Connection): void {
    c.rx?.release();
    c.reassembly = null;
    this.unread.delete(c);
  }

  /** FIN-WAIT-2 with nobody there: it ends by itself. */
  startLinger(c: Connection): void {
    c.lingerAt = this.context.nowMs + c.settings.finWait2Ms;
    this.context.timers.atMost(c, c.lingerAt);
  }

  /** Deletes the TCB. Bytes that arrived stay for the reader, if there is one. */
  remove(c: Connection, error: ErrorCode | null): void {
    if (c.state === CLOSED) return;
    this.#detach(c);
    c.transition('delete');
    c.error = error;
    if (error !== null) this.context.stats.tcpFailures++;
    c.listener?.forget(c);
    c.socket?.report(READABLE | WRITABLE | CLOSED_EVENT);
  }

  /** Leaves a record in the TIME-WAIT table; the connection itself is done, but for what the reader has not read. */
  enterTimeWait(c: Connection): void {
    if (c.ackNow) emitSegment(c, c.sndNxt, 0, wire.ACK);
    this.timeWait.add(c);
    this.#detach(c);
    c.socket?.report(CLOSED_EVENT);
  }

  #detach(c: Connection): void {
    this.connections.remove(c);
    this.context.timers.cancel(c);
    c.retransmitAt = c.probeAt = c.reorderAt = c.paceAt = UNSET;
    c.persistAt = c.ackAt = c.keepAliveAt = c.lingerAt = c.roomAt = UNSET;
    c.handshakeAt = c.userAt = UNSET;
    if (c.isOrphan) this.#orphans--;
    c.isOrphan = false;
    if (c.sent !== null) this.boards.give(c.sent);
    c.sent = null;
    c.tx?.release();
    // Out-of-order bytes will never be in order now; in-order ones may still be read.
    c.reassembly = null;
    const isDone = isSynchronized(c.state) || isEarly(c);
    const isHandedOut = c.socket !== null || (c.listener?.keepsReset === true && isDone);
    if (c.fastOpen !== null) leaveEarly(c);
    if (c.readable === 0 || !isHandedOut) c.rx?.release();
    else this.unread.add(c);
    if (c.onGone !== null) c.onGone();
  }

  /** An ICMP error, or no neighbour: RFC 9293 §3.9.2.2, RFC 5461, RFC 5927 §4. */
  error(local: IpAddress, remote: IpAddress, p: number, code: ErrorCode, endsHandshake: boolean): void {
    const { dv } = this.context.memory;
    const c = this.#quoted(local, remote, p);
    if (c === null) return;
    // RFC 5927 §4.1: only an error about data that is under way can be genuine.
    const quoted = seq(wire.sequence(dv, p));
    const isAhead = c.settings.linux ? seqGt(quoted, c.sndMax) : seqGe(quoted, c.sndMax); // Linux takes SND.NXT too
    const isSyn = isEarly(c) && quoted === c.iss; // our SYN-ACK has no part in what is under way
    if (!isSyn && (!seqLe(c.sndUna, quoted) || isAhead)) return;
    // MUST-56 would have unreachables never end a connection. Before the handshake they do here, as RFC 5461 §4.1 allows
    // and Linux does: the user should not wait minutes for what is known. Afterwards they are only remembered.
    // One that was handed out early counts as open once it is accepted, as on Linux.
    if (isSynchronized(c.state) || (isEarly(c) && c.listener === null)) c.softError = code;
    else if (c.listener === null || isEarly(c)) this.remove(c, code);
    else if (endsHandshake) this.remove(c, null);
  }

  /** RFC 1191, RFC 8201: a packet of ours was too big for the path. */
  tooBig(local: IpAddress, remote: IpAddress, p: number, mtu: number, length: number): void {
    const c = this.#quoted(local, remote, p);
    if (c === null) this.context.stats.drop('icmp-no-socket');
    else packetTooBig(c, remote, seq(wire.sequence(this.context.memory.dv, p)), mtu, length);
  }

  /** The connection of the segment of ours whose first 8 bytes stand at `p`. */
  #quoted(local: IpAddress, remote: IpAddress, p: number): Connection | null {
    const { dv } = this.context.memory;
    return this.connections.get(local, remote, portsIn(wire.sourcePort(dv, p), wire.destinationPort(dv, p)));
  }

  /** Aborts everything and gives all memory back. */
  close(): void {
    for (const listeners of this.#listeners.values()) for (const listener of listeners) listener.close();
    this.#listeners.clear();
    this.interceptor?.close();
    this.interceptor = null;
    for (const c of this.connections.values()) {
      // The peer has all of it and need not lose what it has not read yet to a RST.
      if (c.isOrphan && c.state === FIN_WAIT_2) this.remove(c, null);
      else this.abort(c);
    }
    for (const c of [...this.unread]) this.#discardReceived(c);
  }
}

const isUnblocked = ({ iface, queue }: { iface: Interface; queue: TurnQueue }): boolean =>
  queue.length > 0 && iface.device.room() > 0;
