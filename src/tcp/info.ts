/**
 * What can be asked of a connection: the fields of Linux's TCP_INFO under its names, without the prefix. Counts are in
 * segments and windows in segments or bytes exactly where Linux has them so. @module
 */
import { TIMESTAMPS_LENGTH } from '../wire/tcp.ts';
import { SSTHRESH_MAX } from './congestion/controller.ts';
import type { Connection } from './connection.ts';
import { usualPacingRate } from './pacing.ts';
import { backedOffRto } from './rtt.ts';
import { LOST, RETRANS, SACKED } from './scoreboard.ts';
import { seqDiff } from './seq.ts';

/** `caState`: where recovery stands. */
export const CA_OPEN = 0;
export const CA_DISORDER = 1;
export const CA_CWR = 2;
export const CA_RECOVERY = 3;
export const CA_LOSS = 4;

/** Bits of `options`. */
export const OPT_TIMESTAMPS = 1;
export const OPT_SACK = 2;
export const OPT_WSCALE = 4;
export const OPT_ECN = 8;
export const OPT_ECN_SEEN = 16;
export const OPT_SYN_DATA = 32;

/** What held the sender up, since when something was queued: kinds of {@link setChrono}. */
export const CHRONO_BUSY = 1;
export const CHRONO_WINDOW = 2;
export const CHRONO_BUFFER = 3;

/** From now on `kind` is what the sender spends its time with; 0: nothing queued. RFC 4898's busy and limited times. */
export function setChrono(c: Connection, kind: number): void {
  if (kind === c.chrono) return;
  const { nowUs } = c.context;
  const spentUs = (nowUs - c.chronoAtUs) | 0;
  if (c.chrono !== 0) c.busyUs += spentUs;
  if (c.chrono === CHRONO_WINDOW) c.windowLimitedUs += spentUs;
  if (c.chrono === CHRONO_BUFFER) c.bufferLimitedUs += spentUs;
  c.chrono = kind;
  c.chronoAtUs = nowUs;
}

export interface TcpInfo {
  /** Linux's number of the state: ESTABLISHED 1, SYN-SENT 2, SYN-RECEIVED 3, FIN-WAIT-1 4, FIN-WAIT-2 5, TIME-WAIT 6, CLOSED 7, CLOSE-WAIT 8, LAST-ACK 9, LISTEN 10, CLOSING 11. */
  readonly state: number;
  readonly caState: number;
  /** Timeouts in a row that were not answered. */
  readonly retransmits: number;
  readonly probes: number;
  readonly backoff: number;
  readonly options: number;
  readonly sndWscale: number;
  readonly rcvWscale: number;
  readonly deliveryRateAppLimited: number;
  /** us. */
  readonly rto: number;
  readonly ato: number;
  /** Bytes. */
  readonly sndMss: number;
  readonly rcvMss: number;
  /** Segments. */
  readonly unacked: number;
  readonly sacked: number;
  readonly lost: number;
  readonly retrans: number;
  readonly fackets: number;
  /** ms ago. */
  readonly lastDataSent: number;
  readonly lastAckSent: number;
  readonly lastDataRecv: number;
  readonly lastAckRecv: number;
  /** Bytes. */
  readonly pmtu: number;
  readonly rcvSsthresh: number;
  /** us. */
  readonly rtt: number;
  readonly rttvar: number;
  /** Segments; 0x7fffffff: not limited. */
  readonly sndSsthresh: number;
  readonly sndCwnd: number;
  /** Bytes. */
  readonly advmss: number;
  /** Segments. */
  readonly reordering: number;
  /** us. */
  readonly rcvRtt: number;
  /** Bytes. */
  readonly rcvSpace: number;
  readonly totalRetrans: number;
  /** Bytes a second. */
  readonly pacingRate: number;
  readonly maxPacingRate: number;
  readonly bytesAcked: number;
  readonly bytesReceived: number;
  readonly segsOut: number;
  readonly segsIn: number;
  readonly notsentBytes: number;
  /** us. */
  readonly minRtt: number;
  readonly dataSegsIn: number;
  readonly dataSegsOut: number;
  readonly deliveryRate: number;
  /** us. */
  readonly busyTime: number;
  readonly rwndLimited: number;
  readonly sndbufLimited: number;
  /** Segments. */
  readonly delivered: number;
  readonly deliveredCe: number;
  readonly bytesSent: number;
  readonly bytesRetrans: number;
  readonly dsackDups: number;
  readonly reordSeen: number;
  readonly rcvOoopack: number;
  /** Bytes. */
  readonly sndWnd: number;
  readonly rcvWnd: number;
  readonly totalRto: number;
  readonly totalRtoRecoveries: number;
  /** ms. */
  readonly totalRtoTime: number;
}

/** Linux's numbers of the states, in the order of state.ts. */
const LINUX_STATES = [7, 10, 2, 3, 1, 4, 5, 8, 11, 9, 6];
const NOT_LIMITED = 0x7fffffff;

/** Segments with a flag among `wanted`, or all. */
function countSegments(c: Connection, wanted: number): number {
  const board = c.sent;
  if (board === null) return 0;
  let count = 0;
  for (let i = 0; i < board.count; i++) {
    if (wanted !== 0 && (board.flags(i) & wanted) === 0) continue;
    count += Math.ceil(seqDiff(board.end(i), board.start(i)) / c.mss);
  }
  return count;
}

const optionsOf = (c: Connection): number =>
  (c.useTimestamps ? OPT_TIMESTAMPS : 0) |
  (c.useSack ? OPT_SACK : 0) |
  (c.peerScales ? OPT_WSCALE : 0) |
  (c.ecn === null ? 0 : OPT_ECN) |
  (c.ecn?.isSeen ? OPT_ECN_SEEN : 0) |
  (c.fastOpen?.isAccepted ? OPT_SYN_DATA : 0);

/** What is known of `c` now. Walks what is under way: for tools, not for every segment. */
export function infoOf(c: Connection): TcpInfo {
  const { nowMs, nowUs } = c.context;
  const { mss } = c;
  const ago = (at: number): number => (at === 0 ? nowMs : nowMs - at);
  const spentUs = c.chrono === 0 ? 0 : (nowUs - c.chronoAtUs) | 0;
  return {
    state: LINUX_STATES[c.state]!,
    caState: c.recovery,
    retransmits: c.retransmits,
    probes: c.probes + c.keepAliveProbes,
    backoff: c.backoff,
    options: optionsOf(c),
    sndWscale: c.sndShift,
    rcvWscale: c.rcvShift,
    deliveryRateAppLimited: (c.settings.linux ? c.isRateLimited : c.isAppLimited) ? 1 : 0,
    rto: backedOffRto(c) * 1000,
    ato: (c.acks === null ? c.settings.delayedAckMs : c.acks.atoMs) * 1000,
    sndMss: mss,
    rcvMss: c.rcvMss,
    unacked: countSegments(c, 0),
    sacked: c.useSack ? countSegments(c, SACKED) : Math.ceil(c.sackedBytes / mss),
    lost: countSegments(c, LOST),
    retrans: countSegments(c, RETRANS),
    fackets: 0, // Linux has reported 0 since 4.15
    lastDataSent: ago(c.lastDataAt),
    lastAckSent: 0, // never filled in by Linux
    lastDataRecv: ago(c.lastDataInAt),
    lastAckRecv: ago(c.lastReceivedAt),
    pmtu: c.path.mtu,
    rcvSsthresh: c.settings.linux ? c.rxBytes : c.settings.receiveBufferBytes,
    rtt: c.srttUs,
    rttvar: c.mdev4Us >> 2,
    sndSsthresh: c.ssthresh >= SSTHRESH_MAX ? NOT_LIMITED : Math.floor(c.ssthresh / mss),
    sndCwnd: Math.floor(c.cwnd / mss),
    advmss: c.advertisedMss - (c.useTimestamps ? TIMESTAMPS_LENGTH : 0),
    reordering: c.reordering,
    rcvRtt: c.rcvRttUs,
    rcvSpace: c.readBytes,
    totalRetrans: c.losses.totalRetrans,
    pacingRate: c.settings.linux ? usualPacingRate(c) : c.pacingRate,
    maxPacingRate: c.settings.maxPacingRate,
    bytesAcked: c.bytesAcked,
    bytesReceived: c.bytesReceived,
    segsOut: c.segsOut,
    segsIn: c.segsIn,
    notsentBytes: Math.max(0, seqDiff(c.txEnd, c.sndNxt)),
    minRtt: Math.max(c.minRttUs, 0),
    dataSegsIn: c.dataSegsIn,
    dataSegsOut: c.dataSegsOut,
    deliveryRate: c.rateIntervalUs === 0 ? 0 : Math.floor((c.rateBytes * 1e6) / c.rateIntervalUs),
    busyTime: c.busyUs + spentUs,
    rwndLimited: c.windowLimitedUs + (c.chrono === CHRONO_WINDOW ? spentUs : 0),
    sndbufLimited: c.bufferLimitedUs + (c.chrono === CHRONO_BUFFER ? spentUs : 0),
    delivered: c.deliveredSegments,
    deliveredCe: c.ecn?.deliveredSegments ?? 0,
    bytesSent: c.bytesSent,
    bytesRetrans: c.losses.bytesRetrans,
    dsackDups: c.losses.dsackDups,
    reordSeen: c.losses.reorderSeen,
    rcvOoopack: c.rcvOutOfOrder,
    sndWnd: c.sndWnd,
    rcvWnd: Math.max(0, seqDiff(c.rcvAdv, c.rcvNxt)),
    totalRto: c.losses.totalRto,
    totalRtoRecoveries: c.losses.totalRtoRecoveries,
    totalRtoTime: c.losses.totalRtoMs,
  };
}
