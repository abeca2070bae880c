/**
 * A listening port: half-open connections (the SYN queue), connections that wait for the user (the accept queue), and
 * the limits of both. RFC 9293 §3.10.7.2; RFC 4987 §3 on what the limits are for. @module
 */
import type { Packet } from '../iface/packet.ts';
import type { IpAddress } from '../wire/address.ts';
import * as wire from '../wire/tcp.ts';
import { Connection } from './connection.ts';
import { ACCEPTABLE } from './events.ts';
import { learnSyn } from './input.ts';
import { type Seq, seqAdd, seqGt } from './seq.ts';
import type { TcpSettings } from './settings.ts';
import type { TcpSocket } from './socket.ts';
import type { Tcp } from './tcp.ts';

/** Backlog where the user names none; Node's. */
export const BACKLOG_DEFAULT = 511;
/** Half-open connections of a listener, at least; a SYN beyond the limit is dropped, and its sender tries again. */
const SYN_QUEUE_MIN = 256;

/** How far above those of a connection in TIME-WAIT the next one's numbers begin: a window without scaling. */
const ISS_STEP = 1 << 16;

export class Listener {
  readonly tcp: Tcp;
  /** The address listened on; unspecified: all. */
  readonly local: IpAddress;
  readonly port: number;
  backlog: number;
  settings: TcpSettings;
  readonly socket: TcpSocket;
  readonly #halfOpen = new Set<Connection>();
  #accepted: Connection[] = [];

  constructor(tcp: Tcp, socket: TcpSocket, local: IpAddress, port: number, backlog: number, settings: TcpSettings) {
    this.tcp = tcp;
    this.socket = socket;
    this.local = local;
    this.port = port;
    this.backlog = backlog;
    this.settings = settings;
  }

  get pending(): number {
    return this.#accepted.length;
  }

  get halfOpenCount(): number {
    return this.#halfOpen.size;
  }

  /** A SYN came in: RFC 9293 §3.10.7.2 third. Returns whether there is a connection for it now. */
  arriveSyn(packet: Packet, segment: wire.Segment, after: Seq | null): boolean {
    const { tcp } = this;
    const { stats } = tcp.context;
    // A full accept queue takes no more SYNs, so that clients wait instead of being reset.
    if (this.#accepted.length >= this.backlog) {
      stats.drop('tcp-accept-queue-full');
      return false;
    }
    if (this.#halfOpen.size >= Math.max(this.backlog, SYN_QUEUE_MIN) || tcp.isMemoryShort()) {
      stats.drop('tcp-syn-queue-full');
      return false;
    }
    const remote = packet.source;
    const path = tcp.ip.path(remote, packet.destination);
    if (path === null) {
      stats.drop('no-route');
      return false;
    }
    const remotePort = wire.sourcePort(tcp.context.memory.dv, packet.payload);
    const c = new Connection(tcp, path, remote, this.port, remotePort, this.settings);
    tcp.begin(c);
    // A sequence number above those of a connection that is in TIME-WAIT: RFC 9293 §3.6.1, MAY-2.
    if (after !== null && !seqGt(c.iss, after)) tcp.setIss(c, seqAdd(after, ISS_STEP));
    learnSyn(c, segment);
    c.transition('receive-syn');
    c.listener = this;
    this.#halfOpen.add(c);
    stats.tcpPassiveOpens++;
    tcp.ready(c);
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
    if (this.#halfOpen.delete(c)) return;
    const index = this.#accepted.indexOf(c);
    if (index >= 0) this.#accepted.splice(index, 1);
  }

  /** Resets everything that waits. */
  close(): void {
    const waiting = [...this.#halfOpen, ...this.#accepted];
    this.#accepted = [];
    this.#halfOpen.clear();
    for (const c of waiting) this.tcp.abort(c);
  }
}
