/**
 * The path takes smaller packets than the interface: RFC 1191, RFC 8201, with the checks of RFC 5927 §7. What was
 * learned stands in iface/path-mtu.ts, for all connections to one destination; when it expires they try again.
 * Where no router tells, mtu-probe.ts finds out. Missing: packets below the floor, which routers would have to fragment.
 * @module
 */
import { believedMtu, FLOOR_V4 } from '../iface/path-mtu.ts';
import type { IpAddress } from '../wire/address.ts';
import type { Connection } from './connection.ts';
import { isEarly } from './fast-open.ts';
import { resendAll } from './recovery.ts';
import { repeatSyn } from './send.ts';
import { type Seq, seqDiff } from './seq.ts';
import { isSynchronized, SYN_SENT } from './state.ts';

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
  if (c.sndUna === c.sndMax) return;
  if (isSynchronized(c.state) || isEarly(c)) resendAll(c);
  // The text of a SYN: RFC 7413 §4.2.1: the SYN goes again alone, at once as on Linux.
  else if (c.state === SYN_SENT && c.fastOpen !== null && c.fastOpen.synBytes > 0 && c.retransmits === 0) {
    c.isTiming = false; // Karn's algorithm
    repeatSyn(c);
  }
}
