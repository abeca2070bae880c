/**
 * What can be asked of a connection: the fields of Linux's TCP_INFO under its names, without the prefix. Counts are in
 * segments and windows in segments or bytes exactly where Linux has them so. @module
 */

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
