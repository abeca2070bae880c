/**
 * A SYN that waits for the application's decision before it is answered: what a proxy needs, which accepts a client
 * only once the other side has accepted it. @module
 */
import type { Packet } from '../iface/packet.ts';
import type { Segment } from '../wire/tcp.ts';
import { ACK, RST } from '../wire/tcp.ts';
import { type Connection, UNSET } from './connection.ts';
import { emitSegment } from './emit.ts';
import type { Seq } from './seq.ts';
import type { Endpoint } from './socket.ts';
import { CLOSED } from './state.ts';

/** Bytes of a SYN that an ICMP error about it quotes: all of it, as a rule. */
const QUOTED_BYTES = 128;

/**
 * Called with each new SYN, inside `poll`. It may decide at once, or keep the request and decide later; a SYN nobody
 * decides on is rejected after `synDeadlineMs`. What it throws rejects the SYN.
 */
export type OnSyn = (request: SynRequest) => void;

export class SynRequest {
  /** Who asks, and for which address and port of ours. */
  readonly remote: Endpoint;
  readonly local: Endpoint;
  /** The options of the SYN; an MSS of 0 and a scale of -1 where it had none. */
  readonly mss: number;
  readonly windowScale: number;
  readonly sackPermitted: boolean;
  readonly timestamps: boolean;
  /** What the SYN has opened; for who counts connections. */
  readonly connection: Connection;
  readonly #quote: Uint8Array;

  /** Made by the listener. */
  constructor(c: Connection, packet: Packet, segment: Segment) {
    this.connection = c;
    this.remote = { address: c.remote, port: c.remotePort };
    this.local = { address: c.local, port: c.localPort };
    this.mss = segment.mss;
    this.windowScale = segment.windowScale;
    this.sackPermitted = segment.sackPermitted;
    this.timestamps = segment.hasTimestamps;
    const end = Math.min(packet.end, packet.header + QUOTED_BYTES);
    this.#quote = c.context.memory.u8.slice(packet.header, end);
  }

  /** Whether it still waits: not decided, not too late, and the peer has not reset it. */
  get isPending(): boolean {
    return this.connection.state !== CLOSED && this.connection.handshakeAt !== UNSET;
  }

  /** Answers the SYN; the connection is accepted as any other when the handshake is done. False when it is too late. */
  accept(): boolean {
    const c = this.connection;
    if (!this.isPending) return false;
    c.handshakeAt = UNSET;
    c.listener?.answered(c);
    c.tcp.unhold(c);
    return true;
  }

  /** Refuses it: with a RST, or as a host that cannot be reached (ICMP). False when it is too late. */
  reject(how: 'reset' | 'unreachable' = 'reset'): boolean {
    const c = this.connection;
    if (!this.isPending) return false;
    if (how === 'reset') {
      refuseHeld(c);
      return true;
    }
    c.context.stats.tcpSynsRejected++;
    c.tcp.remove(c, null);
    c.tcp.ip.icmp.hostUnreachable(c.local, c.remote, this.#quote);
    return true;
  }
}

/** RFC 9293 §3.10.7.1: <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>, as for a port where nobody listens. */
export function refuseHeld(c: Connection): void {
  const { stats } = c.context;
  stats.tcpSynsRejected++;
  stats.tcpResetsOut++;
  emitSegment(c, 0 as Seq, 0, RST | ACK);
  c.tcp.remove(c, null);
}
