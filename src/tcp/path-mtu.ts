/**
 * The path takes smaller packets than the interface: RFC 1191, RFC 8201, with the checks of RFC 5927 §7. What was
 * learned stands in iface/path-mtu.ts, for all connections to one destination; when it expires they try again.
 * Missing: search by probes (RFC 4821), and packets below the floor, which routers would have to fragment. @module
 */
import type { IpAddress } from '../wire/address.ts';
import * as ipv6 from '../wire/ipv6.ts';
import type { Connection } from './connection.ts';
import { resendAll } from './recovery.ts';
import { type Seq, seqDiff } from './seq.ts';
import { isSynchronized } from './state.ts';

/** The least path MTU believed of IPv4, Linux's; less would make anybody's ICMP a way to have us send tiny segments. */
const FLOOR_V4 = 552;
/** RFC 791: every module must take so much, so no router reports less. */
const LEAST_V4 = 68;
/** RFC 1191 §7, table 7-1: MTUs in common use, for routers that name none. */
const PLATEAUS = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];

/**
 * The path MTU that a report gives, or 0 where it cannot be true.
 * @param current - the MTU used so far   @param reported - 0: none   @param length - of the packet that was too big
 */
export function believedMtu(isV4: boolean, current: number, reported: number, length: number): number {
  let mtu = reported;
  if (isV4) {
    // RFC 1191 §5: a router of before this protocol; the next lower plateau is tried.
    if (reported === 0) mtu = PLATEAUS.find((plateau) => plateau < Math.min(length, current)) ?? 0;
    if (mtu < LEAST_V4) return 0;
    // RFC 5927 §7.2: the packet must have been larger than what the router says it takes.
    if (mtu >= length) return 0;
    mtu = Math.max(mtu, FLOOR_V4);
  } else if (mtu < ipv6.MTU_MIN || mtu >= length) {
    return 0; // RFC 8201 §4: a report below the minimum of IPv6 "MUST be discarded"
  }
  // RFC 1191 §6.3, RFC 8201 §4: a report never raises the estimate.
  return mtu < current ? mtu : 0;
}

/** A router dropped a packet of `length` bytes of ours that began with sequence number `quoted`. */
export function packetTooBig(c: Connection, remote: IpAddress, quoted: Seq, reported: number, length: number): void {
  const { stats } = c.context;
  const { ip } = c.tcp;
  const offset = seqDiff(quoted, c.sndUna);
  // RFC 5927 §4.1: SND.UNA =< SEG.SEQ < SND.NXT: only what is under way can have been too big.
  const inFlight = offset >= 0 && offset < seqDiff(c.sndMax, c.sndUna);
  const told = reported === 0 && c.settings.linux ? FLOOR_V4 : reported; // Linux guesses no plateau
  const mtu = inFlight ? believedMtu(remote.isV4, ip.pathMtus.get(remote, c.path.mtu), told, length) : 0;
  if (mtu === 0) {
    stats.drop('icmp-bad-mtu');
    return;
  }
  stats.tcpPathMtuChanges++;
  ip.pathMtus.set(remote, mtu);
  if (!c.tcp.refreshPath(c)) return; // all others see it when they next send
  resendAfterMtuChange(c);
}

/**
 * What is under way was too big and is sent again in smaller segments. RFC 1191 §6.5, RFC 8201 §5.4: nothing was lost to
 * congestion, so the window stays as it is.
 */
export function resendAfterMtuChange(c: Connection): void {
  if (!isSynchronized(c.state) || c.sndUna === c.sndMax) return;
  resendAll(c);
}
