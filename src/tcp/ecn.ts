/**
 * Explicit congestion notification: RFC 3168, where one mark a round trip is told, and RFC 9768 (AccECN), where the peer
 * counts them, in packets by the three bits of ACE, and in bytes by an option (accecn.ts). @module
 */
import type { Packet } from '../iface/packet.ts';
import * as wire from '../wire/tcp.ts';
import { AccEcn, accEcnArrives } from './accecn.ts';
import type { Acked } from './acked.ts';
import { type Connection, CWR } from './connection.ts';
import { enterCwr } from './recovery.ts';
import { type Seq, seqDiff, seqGe } from './seq.ts';

const { AE, CWR: CWR_FLAG, ECE } = wire;

// The two bits of the IP header: RFC 3168 §5.
const ECN_MASK = 3;
export const ECT_0 = 2;
const CE = 3;

/** RFC 9768 §3.2.1: both counters of marked packets begin at 5, and are told by their three lowest bits. */
const CEP_INITIAL = 5;
const ACE_MASK = 7;

/** RFC 9768 §3.1.2, table 2: what a SYN-ACK, and the ACK of it, say of the codepoint that the other one arrived with. */
const ACE_OF_CODEPOINT = [0b010, 0b011, 0b100, 0b110] as const;

/** The three bits of ACE: AE, CWR and ECE, from the flags of a segment, and the other way. */
const aceOf = (flags: number): number =>
  ((flags & AE) !== 0 ? 4 : 0) | ((flags & CWR_FLAG) !== 0 ? 2 : 0) | ((flags & ECE) !== 0 ? 1 : 0);
const flagsOf = (ace: number): number =>
  ((ace & 4) !== 0 ? AE : 0) | ((ace & 2) !== 0 ? CWR_FLAG : 0) | ((ace & 1) !== 0 ? ECE : 0);

/** What was agreed on, and what marks came and went. */
export class Ecn {
  /** RFC 9768, else RFC 3168. */
  readonly isAccurate: boolean;
  /** The option of AccECN, where it is wanted: accecn.ts. */
  readonly option: AccEcn | null;
  /** A codepoint has been seen. */
  isSeen = false;
  /** The codepoint our peer's SYN or SYN-ACK came with; whether the next segment tells it. */
  readonly handshake: number;
  acksHandshake = false;
  /** RFC 9768 §3.2.1: r.cep and s.cep, packets marked on the way here and there. */
  rcvCep = CEP_INITIAL;
  sndCep = CEP_INITIAL;
  /** RFC 3168 §6.1.3: our ACKs carry ECE until the peer sends CWR; our next new data carries CWR. */
  demandsCwr = false;
  owesCwr = false;
  /** Whether the window was ever reduced for a mark, and SND.NXT when it last was. */
  hasReduced = false;
  recover = 0 as Seq;
  /** Segments delivered with a mark. */
  deliveredSegments = 0;

  /** @param handshake - the codepoint of the peer's SYN or SYN-ACK, of AccECN */
  constructor(isAccurate: boolean, handshake: number, option: AccEcn | null) {
    this.isAccurate = isAccurate;
    this.handshake = handshake;
    this.option = option;
    if (handshake === CE) this.rcvCep++;
  }
}

const classic = (): Ecn => new Ecn(false, 0, null);

const accurate = (c: Connection, ds: number): Ecn =>
  new Ecn(true, ds & ECN_MASK, c.settings.ecnOption ? new AccEcn() : null);

/** Flags of our SYN: RFC 3168 §6.1.1, RFC 9768 §3.1.1. Not of one sent again: something on the way may drop them. */
export function synFlags(c: Connection): number {
  const { ecn } = c.settings;
  if (c.retransmits > (ecn === 'accurate' ? 1 : 0)) return 0;
  return ecn === 'on' ? ECE | CWR_FLAG : ecn === 'accurate' ? AE | ECE | CWR_FLAG : 0;
}

/** The peer's SYN came in, in a packet of codepoint `ds & 3`: agrees, if both want. */
export function agreeOnSyn(c: Connection, flags: number, ds: number): void {
  const { ecn } = c.settings;
  if (ecn === 'off' || (flags & (ECE | CWR_FLAG)) !== (ECE | CWR_FLAG)) return;
  if ((flags & AE) !== 0 && ecn === 'accurate') c.ecn = accurate(c, ds);
  else c.ecn = classic();
}

/** Flags of our SYN-ACK. */
export function synAckFlags({ ecn }: Connection): number {
  if (ecn === null) return 0;
  return ecn.isAccurate ? flagsOf(ACE_OF_CODEPOINT[ecn.handshake]!) : ECE;
}

/** The peer's SYN-ACK came in: RFC 3168 §6.1.1, RFC 9768 §3.1.2. */
export function agreeOnSynAck(c: Connection, segment: wire.Segment, packet: Packet): void {
  const { flags } = segment;
  const { ds } = packet;
  const asked = synFlags(c);
  if (asked === 0) return;
  const ace = aceOf(flags);
  if ((asked & AE) !== 0) {
    if (ace === 0 || ace === 7) return; // not understood, or sent back as it was
    if (ace !== 1 && ace !== 5) {
      const ecn = accurate(c, ds);
      ecn.acksHandshake = true;
      c.ecn = ecn;
      if (ecn.option !== null) accEcnArrives(c, ecn.option, segment, packet);
      c.fitMss();
      return;
    }
    c.ecn = classic();
  } else if ((ace & 3) === 1) c.ecn = classic();
}

/** Flags that a segment carries beside its own; `isNew`: it has data never sent before. */
export function segmentFlags(ecn: Ecn, isNew: boolean): number {
  if (ecn.isAccurate) {
    // RFC 9768 §3.2.2.1: the acknowledgement that ends the handshake tells how the SYN-ACK arrived.
    const ace = ecn.acksHandshake ? ACE_OF_CODEPOINT[ecn.handshake]! : ecn.rcvCep & ACE_MASK;
    ecn.acksHandshake = false;
    return flagsOf(ace);
  }
  let flags = ecn.demandsCwr ? ECE : 0;
  if (isNew && ecn.owesCwr) {
    ecn.owesCwr = false; // RFC 3168 §6.1.2: in the first new data after the reduction
    flags |= CWR_FLAG;
  }
  return flags;
}

/** The codepoint of a segment: RFC 3168 §6.1.4, §6.1.5: new data only. As Linux does, all of an AccECN connection. */
export const codepoint = ({ isAccurate }: Ecn, isNew: boolean): number => (isAccurate || isNew ? ECT_0 : 0);

/**
 * A segment was accepted: notes how its packet arrived. RFC 3168 §6.1.3, RFC 9768 §3.2.2.2. Returns whether the peer is to know at
 * once.
 */
export function arriveCodepoint(c: Connection, ecn: Ecn, segment: wire.Segment, packet: Packet): boolean {
  const mark = packet.ds & ECN_MASK;
  if (mark !== 0) ecn.isSeen = true;
  if (ecn.isAccurate) {
    const isChange = ecn.option !== null && arriveCounters(c, ecn.option, mark, segment, packet);
    if (mark !== CE) return isChange;
    ecn.rcvCep += segment.gsoSize > 0 ? Math.ceil(segment.length / segment.gsoSize) : 1;
    return true;
  }
  let isNews = false;
  if ((segment.flags & CWR_FLAG) !== 0) {
    ecn.demandsCwr = false;
    // The window of the peer may be one segment now: it waits for this acknowledgement.
    isNews = segment.length > 0;
  }
  if (mark === CE && segment.length > 0) {
    if (!ecn.demandsCwr) isNews = true;
    ecn.demandsCwr = true;
  }
  return isNews;
}

/** Counts the text and reads the peer's counters. Returns whether to acknowledge at once. */
function arriveCounters(c: Connection, state: AccEcn, mark: number, segment: wire.Segment, packet: Packet): boolean {
  const { isSeen } = state;
  accEcnArrives(c, state, segment, packet);
  if (state.isSeen !== isSeen) c.fitMss(); // ours goes along from now on
  return state.count(mark, segment.length) && state.isSeen;
}

/** An acknowledgement came in: was anything of ours marked? RFC 3168 §6.1.2, RFC 9768 §3.2.2.5. */
export function arriveEcn(c: Connection, ecn: Ecn, segment: wire.Segment, acked: Acked): void {
  const { option } = ecn;
  if (!ecn.isAccurate) {
    if ((segment.flags & ECE) === 0) return;
    acked.newlyMarked = acked.newlyDelivered;
    if (acked.newlyDelivered > 0) ecn.deliveredSegments += Math.ceil(acked.newlyDelivered / c.mss);
    reduceForMark(c, ecn);
    return;
  }
  const markedBytes = option === null ? 0 : option.newlyMarked;
  const marks = marksOf(c, ecn, aceOf(segment.flags), acked, markedBytes);
  // Marks that an old or reordered acknowledgement speaks of were counted when the later one came.
  if (marks === 0 || (acked.advance === 0 && !acked.isSacking && segment.length === 0 && acked.newlyDelivered === 0))
    return;
  ecn.sndCep += marks;
  ecn.deliveredSegments += marks;
  if (option !== null) option.newlyMarked = 0;
  const bytes = knowsBytes(ecn) ? markedBytes : marks * c.mss;
  acked.newlyMarked = Math.min(bytes, Math.max(acked.newlyDelivered, c.mss));
  reduceForMark(c, ecn);
}

/** Whether the peer's counters tell what was marked. */
const knowsBytes = ({ option }: Ecn): boolean => option?.hasCounters === true && !option.isFailed;

/**
 * RFC 9768 §3.2.2.5: packets newly marked, by three bits: where the acknowledgement is of more than seven packets they may have
 * gone round. Then the bytes say how often (Appendix A.2), and without them no more is assumed than is told.
 */
function marksOf(c: Connection, ecn: Ecn, ace: number, acked: Acked, markedBytes: number): number {
  const marks = (ace - ecn.sndCep) & ACE_MASK;
  const packets = Math.ceil(acked.newlyDelivered / c.mss);
  if (packets <= ACE_MASK || !knowsBytes(ecn)) return marks;
  const least = Math.ceil(markedBytes / c.mss);
  const rounds = Math.max(0, Math.ceil((least - marks) / (ACE_MASK + 1)));
  return Math.min(marks + rounds * (ACE_MASK + 1), packets);
}

/** Once a round trip: what is marked now was sent before the window came down. */
function reduceForMark(c: Connection, ecn: Ecn): void {
  if (c.recovery >= CWR) return;
  if (ecn.hasReduced && !seqGe(c.sndUna, ecn.recover)) return;
  ecn.hasReduced = true;
  ecn.recover = c.sndNxt;
  c.context.stats.tcpEcnReductions++;
  enterCwr(c, 'ecn');
  ecn.owesCwr = !ecn.isAccurate;
  if (seqDiff(c.sndNxt, c.sndUna) > 0) c.tcp.ready(c);
}
