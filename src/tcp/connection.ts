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
import { LENGTH_MAX as ACCECN_LENGTH } from '../wire/accecn.ts';
import type { IpAddress } from '../wire/address.ts';
import { PROTOCOL_TCP, pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import * as wire from '../wire/tcp.ts';
import { type CongestionControl, SSTHRESH_MAX } from './congestion/controller.ts';
import type { Ecn } from './ecn.ts';
import type { FastOpenState } from './fast-open.ts';
import type { Listener } from './listener.ts';
import { type Losses, NO_LOSSES } from './losses.ts';
import { beginProbing, type MtuProbe } from './mtu-probe.ts';
import { AckState } from './quick-ack.ts';
import type { Reassembly } from './reassembly.ts';
import type { Scoreboard } from './scoreboard.ts';
import { type Seq, seqAdd, seqDiff } from './seq.ts';
import type { TcpSettings } from './settings.ts';
import type { TcpSocket } from './socket.ts';
import { CLOSED, nextState, type StateEvent } from './state.ts';
import type { Tcp } from './tcp.ts';
import { expireConnection } from './timers.ts';
import type { Trace } from './trace.ts';
import type { Urgent } from './urgent.ts';

/** RFC 9293 §3.7.1 MUST-15: the send MSS where the peer names none, IPv4 and IPv6. */
export const MSS_DEFAULT_V4 = 536;
export const MSS_DEFAULT_V6 = 1220;
/** The least MSS believed of a peer; what Linux does. Less would make a flood of tiny segments. */
const MSS_MIN = 48;

// Where `recovery` stands, in Linux's order: see recovery.ts.
export const OPEN = 0;
/** Something was SACKed, or acknowledged twice, and nothing is taken for lost yet. */
export const DISORDER = 1;
/** The window is being reduced because the network said so (ECN), not for a loss. */
export const CWR = 2;
export const RECOVERY = 3;
/** A timeout has struck. */
export const LOSS = 4;

/** Segments that may arrive out of order before a hole counts as a loss, to begin with: RFC 5681 §3.2, RFC 6675 §2. */
export const DUP_THRESH = 3;

const ZERO = 0 as Seq;
const SEGMENT_MAX = 0xffff;

/** Acknowledgements sent at once when a connection begins; Linux has as many. */
const QUICK_ACKS = 16;
/** RFC 5961 §7: empty segments that are not acceptable are answered at most once in this time. */
export const ANSWER_MS = 500;

/** A deadline that is not set: all deadlines are ms of the stack's clock, above 0. */
export const UNSET = 0;

const ipHeaderOf = (isV4: boolean): number => (isV4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH);

/** Payload of a segment without options in a packet of `mtu` bytes. @param mssMax - the user's limit, 0: none */
export const mssOf = (mtu: number, isV4: boolean, mssMax: number): number =>
  Math.min(mtu - ipHeaderOf(isV4) - wire.HEADER_LENGTH, mssMax === 0 ? mtu : mssMax);

/**
 * Linux's tcp_bound_to_half_wnd: of a peer with a small window no segment takes more than half, so that two are under way; of
 * a tiny one not even that.
 */
export function withinHalfWindow(mss: number, sndWndMax: number): number {
  const most = sndWndMax > MSS_DEFAULT_V4 ? sndWndMax >> 1 : sndWndMax;
  return sndWndMax > 0 && mss > most ? Math.max(most, MSS_MIN) : mss;
}

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
  /** Changed by `TcpSocket.configure`. */
  settings: TcpSettings;
  congestion: CongestionControl;
  /** The algorithm's own memory of this connection; null where it needs none. */
  congestionState: unknown = null;
  path: Path;
  /** The user's handle; null before accept, and once the user has let go. */
  socket: TcpSocket | null = null;
  /** Who looks on: trace.ts. */
  trace: Trace | null = null;
  /** The listener this came from, while it waits to be accepted. */
  listener: Listener | null = null;
  /** Fast Open, where it was asked for: fast-open.ts. */
  fastOpen: FastOpenState | null = null;
  /** Urgent data either way, while there is some: urgent.ts. */
  urgent: Urgent | null = null;
  /** Called once when the connection leaves the stack's table: closed, in TIME-WAIT, or never accepted. */
  onGone: (() => void) | null = null;
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
  /** Snd.Sml: end of the last segment that was not full: Minshall's variant of Nagle, where the settings ask for it. */
  sndSml = ZERO;
  /** Where the packet buffer of Linux begins that the next write fills, and how far writes were pushed: burst.ts. */
  tailStart = ZERO;
  pushedEnd = ZERO;
  /** What is sent next does not belong to the record before it. */
  beginsBurst = false;
  /** Shift of the windows the peer sends (Snd.Wind.Shift) and of those we send (Rcv.Wind.Shift). */
  sndShift = 0;
  rcvShift = 0;
  /** The peer's SYN had a window scale option: RFC 7323 §2.2, both or neither scale. */
  peerScales = false;
  /** The handshake is done but for text that the listener waits for. */
  isDeferred = false;
  /** SendMSS: what the peer's SYN said, or the default. */
  peerMss = MSS_DEFAULT_V4;
  /** Eff.snd.MSS: payload bytes of a full segment, the options of every segment taken off. */
  mss = MSS_DEFAULT_V4;
  /** Path MTU without ICMP: mtu-probe.ts; null where the path is not in doubt. */
  mtuProbe: MtuProbe | null = null;
  /** Bytes not yet acknowledged; the oldest has sequence number `txSeq`. Null until the first byte. */
  tx: Ring | null = null;
  /** What the send buffer may hold now; see autotune.ts. */
  txBytes: number;
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
  /** What the receive buffer may hold now; see autotune.ts. */
  rxBytes: number;
  reassembly: Reassembly | null = null;
  rcvOutOfOrder = 0;
  /** Bytes that came with a SYN which crossed ours: they lie in `rx`, and count once the connection is established. */
  earlyBytes = 0;
  /** Bytes received twice, to be told in the next acknowledgement: RFC 2883 §4. Nothing when equal. */
  dsackStart = ZERO;
  dsackEnd = ZERO;
  /** The peer's FIN was seen, with this sequence number; maybe not in order yet. */
  finSeen = false;
  finSeq = ZERO;
  /** The peer's FIN has come in order: it stays so whatever becomes of the connection. */
  peerEnded = false;
  /** The user wants no more bytes: what still comes is answered with RST. */
  rcvClosed = false;
  /** Payload of the largest segment lately received: two of them call for an acknowledgement. */
  rcvMss = MSS_DEFAULT_V4;
  /** Round-trip time as the receiver sees it, 0: unknown; the window's worth that is timed ends at `rcvRoundEnd`. */
  rcvRttUs = 0;
  rcvRoundEnd = ZERO;
  rcvRoundAtUs = 0;
  /** Where the reader stood at `readFromUs`, and how much he read in the round trip before that. */
  readFrom = ZERO;
  readFromUs = 0;
  readBytes = 0;
  /** Bytes received since the last acknowledgement went out. */
  unackedBytes = 0;
  /** Acknowledgements still sent at once, while the peer is in slow start. */
  quickAcks: number;
  ackNow = false;
  /** How Linux decides on acknowledgements; null where the settings do not ask for it. */
  readonly acks: AckState | null;

  // Options.
  useTimestamps = false;
  useSack = false;
  tsOffset = 0;
  tsRecent = 0;
  /** Last.ACK.sent: RFC 7323 §4.3. */
  lastAckSent = ZERO;

  // Round-trip time: rtt.ts. SRTT in us, and in eighths of it; four deviations, and the most of them in this round.
  srttUs = 0;
  srtt8Us = 0;
  mdev4Us = 0;
  mdevMaxUs = 0;
  rttvarUs = 0;
  rttSeq = ZERO;
  /** The least round trip lately: RFC 8985 §6.2 step 1. -1: none yet. */
  minRttUs = -1;
  minRttAtMs = 0;
  rtoMs: number;
  /** Doublings of the timeout; a measurement ends them (Karn's algorithm). */
  backoff = 0;
  /** Timeouts since the peer last acknowledged something new. */
  retransmits = 0;
  // The handshake is timed by hand, everything later by the records of `sent`.
  isTiming = false;
  timedAtUs = 0;

  // What is under way: scoreboard.ts. Null while nothing is.
  sent: Scoreboard | null = null;
  /** Bytes SACKed; without SACK, those that duplicate acknowledgements speak of. */
  sackedBytes = 0;
  /** Bytes taken for lost, and of those the ones sent again. */
  lostBytes = 0;
  retransBytes = 0;
  /** Records with LOST that wait to be sent again stand at or behind this number. */
  lostFrom = ZERO;
  /** The highest number SACKed: SND.FACK. */
  sndFack = ZERO;

  // Congestion and recovery: recovery.ts.
  cwnd = 0;
  ssthresh = SSTHRESH_MAX;
  avoidanceBytes = 0;
  dupAcks = 0;
  recovery = OPEN;
  /** RecoveryPoint: SND.NXT when the loss was seen. */
  recover = ZERO;
  /** Segments that may overtake each other: grows as reordering is seen. */
  reordering = DUP_THRESH;
  /** To be written to through `lossesOf` only: losses.ts. */
  losses: Readonly<Losses> = NO_LOSSES;

  // RFC 8985: RACK.xmit_ts, RACK.end_seq, RACK.rtt.
  rackUs = 0;
  rackEnd = ZERO;
  rackRttUs = 0;
  hasRackSample = false;
  // TLP: the number sent as probe, whether it was old data, and whether one is to be sent now.
  tlpEnd = ZERO;
  isTlpPending = false;
  isTlpRetrans = false;
  probeDue = false;

  // Delivery: draft-cheng-iccrg-delivery-rate-estimation §3. Counts of bytes pass 2^31: they begin above it, so that V8
  // holds them as doubles from the first; the constructor sets them to 0.
  delivered = 2 ** 40;
  bytesSent = 2 ** 40;
  bytesReceived = 2 ** 40;
  bytesAcked = 2 ** 40;
  lostBytesTotal = 0;
  deliveredUs = 0;
  firstSentUs = 0;
  /** `delivered`, as an int32, at which the lull of the application is over. */
  appLimitedEnd = 0;
  isAppLimited = false;
  /** Whether the window was in use when data last left: RFC 7661 in Linux's form. */
  isCwndLimited = false;
  initialCwnd = 0;
  // For TCP_INFO: info.ts.
  segsIn = 0;
  segsOut = 0;
  dataSegsIn = 0;
  dataSegsOut = 0;
  /** Our SYN counts as delivered. */
  deliveredSegments = 1;
  lastDataInAt = 0;
  /** The last sample of the rate of delivery. */
  rateBytes = 0;
  rateIntervalUs = 0;
  isRateLimited = true;
  chrono = 0;
  chronoAtUs = 0;
  busyUs = 0;
  windowLimitedUs = 0;
  bufferLimitedUs = 0;
  /** When data last left. */
  lastDataAt = 0;
  /** What was agreed on about explicit congestion notification: ecn.ts; null: nothing. */
  ecn: Ecn | null = null;
  maxFlight = 0;
  cwndUsageSeq = ZERO;
  /** Bytes a second; 0: not paced. */
  pacingRate = 0;
  pacedUntilUs = 0;
  /** The window has held a small segment back for long enough: it may go. */
  overrideSws = false;

  // Deadlines in ms, UNSET where not running. The heap holds the earliest, or an earlier one.
  retransmitAt = UNSET;
  /** RFC 8985 §7: the probe timeout; §6.2 step 5: the reordering timer. */
  probeAt = UNSET;
  reorderAt = UNSET;
  /** The pacer lets the next segment go. */
  paceAt = UNSET;
  persistAt = UNSET;
  ackAt = UNSET;
  keepAliveAt = UNSET;
  /** FIN-WAIT-2 without a user. */
  lingerAt = UNSET;
  /** Memory had no send buffer for the user: he is told to try again. */
  roomAt = UNSET;
  /** The handshake must be done, or a held SYN be decided on. */
  handshakeAt = UNSET;
  /** The user timeout, and where SND.UNA stood when it began. */
  userAt = UNSET;
  userUna = ZERO;
  timerAt = 0;
  timerIndex = -1;
  lastReceivedAt = 0;
  /** Window probes, and keep-alive probes, since the peer last answered. */
  probes = 0;
  keepAliveProbes = 0;
  /** When an empty segment that was not acceptable was last answered. */
  answeredAt = -ANSWER_MS;

  /** The user has let go of it, and it is counted as an orphan. Written by Tcp only. */
  isOrphan = false;
  /** Whether it stands in the ready queue, or must not: a held SYN. Written by Tcp only. */
  isReady = false;

  constructor(tcp: Tcp, path: Path, remote: IpAddress, localPort: number, remotePort: number, settings: TcpSettings) {
    this.tcp = tcp;
    this.context = tcp.context;
    this.path = path;
    this.local = path.source;
    this.remote = remote;
    this.portsIn = portsIn(localPort, remotePort);
    this.portsOut = portsIn(remotePort, localPort);
    path.flowLabel = tcp.ip.flowLabel(path.source, remote, this.portsIn);
    this.hash = tcp.connections.hash(this.local, remote, this.portsIn);
    this.pseudoSum = pseudoHeaderSum(this.local, remote, PROTOCOL_TCP);
    this.settings = settings;
    this.congestion = settings.congestion as CongestionControl; // settings hold the object once they are checked
    this.rtoMs = settings.rtoInitialMs;
    this.txBytes = settings.sendBufferBytes;
    this.rxBytes = settings.receiveBufferBytes;
    this.quickAcks = settings.bsd || settings.linux ? 0 : QUICK_ACKS;
    this.acks = settings.linux ? new AckState() : null;
    this.delivered = this.bytesSent = this.bytesReceived = this.bytesAcked = 0;
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

  /** From now on `algorithm` has the window, as it is. */
  congest(algorithm: CongestionControl): void {
    if (algorithm === this.congestion) return;
    const { cwnd, ssthresh } = this;
    this.congestion = algorithm;
    this.congestionState = null;
    if (cwnd === 0) return; // not established yet: init comes then
    this.pacingRate = 0;
    algorithm.init(this);
    this.cwnd = cwnd;
    this.ssthresh = ssthresh;
  }

  /** Bytes under way: RFC 6675 §4 (pipe), as far as is known. */
  inFlight(): number {
    return seqDiff(this.sndNxt, this.sndUna) - this.sackedBytes - this.lostBytes + this.retransBytes;
  }

  /** The records of what is under way, taken from the pool at the first byte. */
  board(): Scoreboard {
    this.sent ??= this.tcp.boards.take(this.sndUna);
    return this.sent;
  }

  /** Sequence number behind the queued bytes: that of our FIN, if there is one. */
  get txEnd(): Seq {
    return this.tx === null ? this.txSeq : seqAdd(this.txSeq, this.tx.length);
  }

  /** The send buffer, made at the first byte. */
  txRing(): Ring {
    this.tx ??= new Ring(this.context.memory, this.txBytes);
    return this.tx;
  }

  rxRing(): Ring {
    // Linux takes all of a segment that begins inside the window.
    const beyond = this.settings.linux ? SEGMENT_MAX : 0;
    this.rx ??= new Ring(this.context.memory, this.rxBytes + beyond);
    return this.rx;
  }

  /** Bytes in order that wait for the reader. */
  get readable(): number {
    return this.rx === null ? 0 : this.rx.length;
  }

  /** RFC 9293 §3.7.1: what we tell the peer, from the MTU of our interface; options are not taken off (RFC 6691). */
  get advertisedMss(): number {
    return mssOf(this.path.iface.mtu, this.local.isV4, this.settings.mssMax);
  }

  /** Options that every segment has, but a SYN. */
  get optionBytes(): number {
    const accEcn = this.ecn?.option?.isSeen ? ACCECN_LENGTH : 0;
    return (this.useTimestamps ? wire.TIMESTAMPS_LENGTH : 0) + accEcn;
  }

  get ipHeaderLength(): number {
    return ipHeaderOf(this.local.isV4);
  }

  /** Takes what the peer's SYN said of its MSS (0: nothing). */
  setMss(fromPeer: number): void {
    const byDefault = this.local.isV4 ? MSS_DEFAULT_V4 : MSS_DEFAULT_V6;
    this.peerMss = fromPeer === 0 ? byDefault : Math.max(fromPeer, MSS_MIN);
    beginProbing(this);
    this.fitMss();
    this.rcvMss = this.settings.linux ? Math.min(this.mss, MSS_DEFAULT_V4) : this.mss; // until a segment says more
    const segment = this.mss + (this.useTimestamps ? wire.TIMESTAMPS_LENGTH : 0);
    // Linux begins with whole segments, options taken off.
    if (this.settings.linux) this.fitWindow(this.advertisedMss - (segment - this.mss));
    if (this.settings.bsd) this.rxBytes = Math.ceil(this.rxBytes / segment) * segment;
  }

  /** Linux: the buffer is offered in whole segments. */
  fitWindow(segment: number): void {
    const bytes = this.settings.receiveBufferBytes;
    this.rxBytes = bytes > segment ? bytes - (bytes % segment) : bytes;
  }

  /**
   * Sets `mss` from what the peer said and from the path as it is now: RFC 9293 §3.7.1,
   * Eff.snd.MSS = min(SendMSS + 20, MMS_S) - TCPhdrsize - IPoptionsize.
   */
  fitMss(): void {
    const mtu = this.mtuProbe === null ? this.path.mtu : Math.min(this.path.mtu, this.mtuProbe.low);
    const most = Math.min(this.peerMss, mssOf(mtu, this.local.isV4, this.settings.mssMax));
    this.mss = most - this.optionBytes;
    if (this.settings.linux) this.mss = withinHalfWindow(this.mss, this.sndWndMax);
  }

  expire(now: number): void {
    expireConnection(this, now);
  }
}
