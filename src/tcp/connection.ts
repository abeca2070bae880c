/**
 * One connection: the transmission control block of RFC 9293 §3.3.1, its variables under the RFC's names. What is done
 * with them stands in receive.ts, send.ts, recovery.ts, timers.ts and input.ts. @module
 */
import type { ErrorCode } from '../errors.ts';
import type { Context } from '../iface/context.ts';
import { type Flow, portsIn } from '../iface/flow-table.ts';
import type { Path } from '../iface/routes.ts';
import type { Timed } from '../iface/timers.ts';
import { Ring } from '../memory/ring.ts';
import type { IpAddress } from '../wire/address.ts';
import { PROTOCOL_TCP, pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import * as wire from '../wire/tcp.ts';
import { type CongestionControl, SSTHRESH_MAX } from './congestion/controller.ts';
import type { Listener } from './listener.ts';
import type { Reassembly } from './reassembly.ts';
import { type Seq, seqAdd } from './seq.ts';
import type { TcpSettings } from './settings.ts';
import type { TcpSocket } from './socket.ts';
import { CLOSED, nextState, type StateEvent } from './state.ts';
import type { Tcp } from './tcp.ts';
import { expireConnection } from './timers.ts';

/** RFC 9293 §3.7.1 MUST-15: the send MSS where the peer names none, IPv4 and IPv6. */
const MSS_DEFAULT_V4 = 536;
const MSS_DEFAULT_V6 = 1220;
/** The least MSS believed of a peer; what Linux does. Less would make a flood of tiny segments. */
const MSS_MIN = 48;

// Where `recovery` stands: see recovery.ts.
export const OPEN = 0;
export const FAST_RECOVERY = 1;
export const LOSS = 2;

const ZERO = 0 as Seq;

/** Acknowledgements sent at once when a connection begins; Linux has as many. */
const QUICK_ACKS = 16;
/** RFC 5961 §7: empty segments that are not acceptable are answered at most once in this time. */
export const ANSWER_MS = 500;

/** A deadline that is not set: all deadlines are ms of the stack's clock, above 0. */
export const UNSET = 0;

/** All fields are set here, integers as 0, so that every connection has one shape: the hot paths depend on it. */
export class Connection implements Flow, Timed {
  readonly tcp: Tcp;
  readonly context: Context;
  readonly local: IpAddress;
  readonly remote: IpAddress;
  /** Ports as they stand in a received header, and in a sent one. */
  readonly portsIn: number;
  readonly portsOut: number;
  readonly hash: number;
  /** Sum of the pseudo-header of what we send, without the length. */
  readonly pseudoSum: number;
  settings: TcpSettings;
  readonly congestion: CongestionControl;
  /** The algorithm's own memory of this connection; null where it needs none. */
  congestionState: unknown = null;
  path: Path;
  /** The user's handle; null before accept, and once the user has let go. */
  socket: TcpSocket | null = null;
  /** The listener this came from, while it waits to be accepted. */
  listener: Listener | null = null;
  state = CLOSED;
  /** Why the connection failed, once it has. */
  error: ErrorCode | null = null;
  /** The last soft error: told if the connection then times out (RFC 9293 §3.9.2.2). */
  softError: ErrorCode | null = null;

  // Send sequence variables.
  iss = ZERO;
  sndUna = ZERO;
  sndNxt = ZERO;
  /** The highest SND.NXT ever was: a timeout takes sndNxt back to sndUna, and this one stays. */
  sndMax = ZERO;
  sndWnd = 0;
  sndWl1 = ZERO;
  sndWl2 = ZERO;
  /** The largest window the peer offered: half of it counts as a segment worth sending (§3.8.6.2.1). */
  sndWndMax = 0;
  /** Shift of the windows the peer sends (Snd.Wind.Shift) and of those we send (Rcv.Wind.Shift). */
  sndShift = 0;
  rcvShift = 0;
  /** The peer's SYN had a window scale option: RFC 7323 §2.2, both or neither scale. */
  peerScales = false;
  /** Eff.snd.MSS: payload bytes of a full segment, the options of every segment taken off. */
  mss = MSS_DEFAULT_V4;
  /** Bytes not yet acknowledged; the oldest has sequence number `txSeq`. Null until the first byte. */
  tx: Ring | null = null;
  txSeq = ZERO;
  /** The user closed the sending half: a FIN follows the queued bytes. */
  finQueued = false;
  /** The user asked for more room than there was: tell him when some comes back. */
  wantsRoom = false;

  // Receive sequence variables.
  irs = ZERO;
  rcvNxt = ZERO;
  /** Right edge of the window last offered: RCV.NXT + RCV.WND. It never moves left. */
  rcvAdv = ZERO;
  /** Bytes in order that wait for the reader, and behind them what came out of order. */
  rx: Ring | null = null;
  reassembly: Reassembly | null = null;
  /** The peer's FIN was seen, with this sequence number; maybe not in order yet. */
  finSeen = false;
  finSeq = ZERO;
  /** The peer's FIN has come in order: it stays so whatever becomes of the connection. */
  peerEnded = false;
  /** The user wants no more bytes: what still comes is answered with RST. */
  rcvClosed = false;
  /** Payload of the largest segment lately received: two of them call for an acknowledgement. */
  rcvMss = MSS_DEFAULT_V4;
  /** Bytes received since the last acknowledgement went out. */
  unackedBytes = 0;
  /** Acknowledgements still sent at once, while the peer is in slow start. */
  quickAcks = QUICK_ACKS;
  ackNow = false;

  // Options.
  useTimestamps = false;
  useSack = false;
  tsOffset = 0;
  tsRecent = 0;
  /** Last.ACK.sent: RFC 7323 §4.3. */
  lastAckSent = ZERO;

  // Round-trip time, retransmission, congestion.
  srttUs = 0;
  rttvarUs = 0;
  rtoMs: number;
  /** Times the timer fired without an answer. */
  backoff = 0;
  isTiming = false;
  timedSeq = ZERO;
  timedAtUs = 0;
  cwnd = 0;
  ssthresh = SSTHRESH_MAX;
  avoidanceBytes = 0;
  dupAcks = 0;
  /** The oldest segment is to be sent again at the next turn. */
  retransmitDue = false;
  /** The window has held a small segment back for long enough: it may go. */
  overrideSws = false;
  recovery = OPEN;
  /** RFC 6582 §3.2: the highest sequence number sent when the loss was seen. */
  recover = ZERO;

  // Deadlines in ms, UNSET where not running. The heap holds the earliest, or an earlier one.
  retransmitAt = UNSET;
  persistAt = UNSET;
  ackAt = UNSET;
  keepAliveAt = UNSET;
  /** FIN-WAIT-2 without a user. */
  lingerAt = UNSET;
  /** Memory had no send buffer for the user: he is told to try again. */
  roomAt = UNSET;
  timerAt = 0;
  timerIndex = -1;
  lastReceivedAt = 0;
  lastSentAt = 0;
  /** Window probes, and keep-alive probes, since the peer last answered. */
  probes = 0;
  keepAliveProbes = 0;
  /** When an empty segment that was not acceptable was last answered. */
  answeredAt = -ANSWER_MS;

  /** Whether it stands in the ready queue. Written by Tcp only. */
  isReady = false;

  constructor(tcp: Tcp, path: Path, remote: IpAddress, localPort: number, remotePort: number, settings: TcpSettings) {
    this.tcp = tcp;
    this.context = tcp.context;
    this.path = path;
    this.local = path.source;
    this.remote = remote;
    this.portsIn = portsIn(localPort, remotePort);
    this.portsOut = portsIn(remotePort, localPort);
    this.hash = tcp.connections.hash(this.local, remote, this.portsIn);
    this.pseudoSum = pseudoHeaderSum(this.local, remote, PROTOCOL_TCP);
    this.settings = settings;
    this.congestion = tcp.congestionNamed(settings.congestion);
    this.rtoMs = settings.rtoInitialMs;
  }

  get localPort(): number {
    return this.portsIn & 0xffff;
  }

  get remotePort(): number {
    return this.portsIn >>> 16;
  }

  /** Moves the state: the only place where it changes. */
  transition(event: StateEvent): void {
    this.state = nextState(this.state, event);
  }

  /** Sequence number behind the queued bytes: that of our FIN, if there is one. */
  get txEnd(): Seq {
    return this.tx === null ? this.txSeq : seqAdd(this.txSeq, this.tx.length);
  }

  /** The send buffer, made at the first byte. */
  txRing(): Ring {
    this.tx ??= new Ring(this.context.memory, this.settings.sendBufferBytes);
    return this.tx;
  }

  rxRing(): Ring {
    this.rx ??= new Ring(this.context.memory, this.settings.receiveBufferBytes);
    return this.rx;
  }

  /** Bytes in order that wait for the reader. */
  get readable(): number {
    return this.rx === null ? 0 : this.rx.length;
  }

  /** RFC 9293 §3.7.1: what we tell the peer, from the MTU of our interface; options are not taken off (RFC 6691). */
  get advertisedMss(): number {
    return this.path.iface.mtu - this.ipHeaderLength - wire.HEADER_LENGTH;
  }

  get ipHeaderLength(): number {
    return this.local.isV4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH;
  }

  /**
   * Sets `mss` from what the peer's SYN said (0: nothing) and from the path: RFC 9293 §3.7.1,
   * Eff.snd.MSS = min(SendMSS + 20, MMS_S) - TCPhdrsize - IPoptionsize.
   */
  setMss(fromPeer: number): void {
    const byDefault = this.local.isV4 ? MSS_DEFAULT_V4 : MSS_DEFAULT_V6;
    const peer = fromPeer === 0 ? byDefault : Math.max(fromPeer, MSS_MIN);
    const own = this.path.mtu - this.ipHeaderLength - wire.HEADER_LENGTH;
    this.mss = Math.min(peer, own) - (this.useTimestamps ? wire.TIMESTAMPS_LENGTH : 0);
    this.rcvMss = this.mss;
  }

  expire(nowMs: number): void {
    expireConnection(this, nowMs);
  }
}
