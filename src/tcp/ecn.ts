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
/** §3.2.2.5.1: so many marks are told at once, with text to acknowledge and without. */
const MARKS_WITH_TEXT = 2;
const MARKS_ALONE = 3;
/** Appendix A.2.1: "well below 8"; and what the newest counts for in the average, as its inverse. */
const STRETCH_USUAL = 4;
const STRETCH_WEIGHT = 16;
/** §3.2.3.2.2: a SYN-ACK that was sent so often without an answer agrees on nothing any more. */
const SYN_ACK_RETRIES_MAX = 1;

/** RFC 9768 §3.1.2, table 2: what a SYN-ACK, and the ACK of it, say of the codepoint that the other one arrived with. */
const ACE_OF_CODEPOINT = [0b010, 0b011, 0b100, 0b110] as const;

/** Of a SYN-ACK, or a SYN: nothing; RFC 3168; what was asked, sent back as it was. */
const ACE_NONE = 0;
const ACE_CLASSIC = 0b001;
const ACE_CLASSIC_SYN = 0b011;
const ACE_RESERVED = 0b101;
const ACE_REFLECTED = 0b111;

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
  /** The codepoint our peer's last SYN or SYN-ACK came with; whether the next segment tells it, if it is an ACK alone. */
  handshake: number;
  acksHandshake = false;
  /** A SYN-ACK that was marked has been counted, which is done once. */
  countsSynAck = false;
  /** RFC 9768 §3.1.5, table 4: whether our packets may be marked, and whether we believe what is said of marks. */
  isCapable = true;
  believes = true;
  /** The three bits of this segment are those of a handshake, and no counter. */
  isAceOfHandshake = false;
  /** The three bits of the segment that is being taken in; -1: they count nothing. */
  ace = -1;
  /** Packets that one acknowledgement of the peer's is of, as a rule. */
  stretch = 0;
  /** Whether the packet before was marked, and how many were since our last segment: §3.2.2.5.1. */
  wasMarked = false;
  untold = 0;
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

/** RFC 9768 §3.1.3: whether a SYN asks for AccECN: all combinations but that of RFC 3168, and none, do. */
const asksForAccurate = (flags: number): boolean => aceOf(flags) !== ACE_NONE && aceOf(flags) !== ACE_CLASSIC_SYN;

/** The peer's SYN came in, in a packet of codepoint `ds & 3`: agrees, if both want. */
export function agreeOnSyn(c: Connection, flags: number, ds: number): void {
  const { ecn } = c.settings;
  if (ecn === 'off') return;
  if (ecn === 'accurate' && asksForAccurate(flags)) c.ecn = accurate(c, ds);
  else if ((flags & (ECE | CWR_FLAG)) === (ECE | CWR_FLAG)) c.ecn = classic();
}

/**
 * RFC 9768 §3.1.5: the peer's SYN came again. What was agreed on stays, and the SYN-ACK tells how the last one arrived. False where
 * it asks for the other kind: nobody would know then which one is used, and the connection is to be reset.
 */
export function synAgain(c: Connection, flags: number, ds: number): boolean {
  const { ecn } = c;
  if (ecn === null || c.settings.ecn !== 'accurate') return true;
  const ace = aceOf(flags);
  if (ace !== ACE_NONE && asksForAccurate(flags) !== ecn.isAccurate) return false;
  ecn.handshake = ds & ECN_MASK;
  if (ace === ACE_NONE) ecn.isCapable = false; // "MUST NOT set ECT on any packet for the rest of the connection"
  return true;
}

/** Flags of our SYN-ACK. */
export function synAckFlags({ ecn, retransmits }: Connection): number {
  if (ecn === null) return 0;
  if (!ecn.isAccurate) return ECE;
  if (retransmits > SYN_ACK_RETRIES_MAX) {
    ecn.isCapable = false;
    return 0;
  }
  return flagsOf(ACE_OF_CODEPOINT[ecn.handshake]!);
}

/** RFC 9768 §3.2.2.1, table 4: the ACK of our SYN-ACK, alone, tells how that arrived; no counter stands there. */
export function synAckAcked(c: Connection, ecn: Ecn, segment: wire.Segment): void {
  if (!ecn.isAccurate || segment.length > 0 || (segment.flags & wire.FIN) !== 0 || segment.sackCount > 0) return;
  ecn.isAceOfHandshake = true;
  const ace = aceOf(segment.flags);
  if (ace === ACE_NONE) {
    ecn.isCapable = ecn.believes = false; // the peer may know nothing of it
  } else if (ace === ACE_OF_CODEPOINT[CE]) {
    ecn.sndCep++;
    reduceForMark(c, ecn);
  }
}

/** §3.2.2.1: the SYN-ACK came again, and its acknowledgement tells how. §3.2.2.2: of marked ones one is counted. */
export function synAckAgain(ecn: Ecn, segment: wire.Segment, packet: Packet): void {
  const ace = aceOf(segment.flags);
  if (!ecn.isAccurate || ace === ACE_NONE || ace === ACE_REFLECTED || ace === ACE_CLASSIC) return;
  synAckArrives(ecn, packet.ds & ECN_MASK);
}

function synAckArrives(ecn: Ecn, codepoint: number): void {
  ecn.handshake = codepoint;
  ecn.acksHandshake = true;
  if (codepoint !== CE || ecn.countsSynAck) return;
  ecn.countsSynAck = true;
  ecn.rcvCep++;
}

/** The peer's SYN-ACK came in: RFC 3168 §6.1.1, RFC 9768 §3.1.2. */
export function agreeOnSynAck(c: Connection, segment: wire.Segment, packet: Packet): void {
  const { flags } = segment;
  const ace = aceOf(flags);
  // §3.1.4.1: by the first SYN-ACK, whichever of our SYNs it answers.
  if (c.settings.ecn === 'accurate') {
    if (ace === ACE_NONE || ace === ACE_REFLECTED) return; // not understood, or sent back as it was
    // §3.1.3: what is reserved counts as yes; Linux takes it for an answer of the ECN nonce, and that for one of RFC 3168.
    if (ace !== ACE_CLASSIC && (ace !== ACE_RESERVED || !c.settings.linux)) {
      const ecn = accurate(c, packet.ds);
      synAckArrives(ecn, ecn.handshake);
      c.ecn = ecn;
      if (ecn.option !== null) accEcnArrives(c, ecn.option, segment, packet);
      c.fitMss();
      return;
    }
    c.ecn = classic();
  } else if (synFlags(c) !== 0 && (ace & 3) === ACE_CLASSIC) c.ecn = classic();
}

/** Flags that a segment carries beside its own; `isNew`: it has data never sent before, `isPure`: it is an ACK alone. */
export function segmentFlags(ecn: Ecn, isNew: boolean, isPure: boolean): number {
  if (ecn.isAccurate) {
    ecn.untold = 0;
    // RFC 9768 §3.2.2.1: the acknowledgement that ends the handshake tells how the SYN-ACK arrived.
    const ace = ecn.acksHandshake && isPure ? ACE_OF_CODEPOINT[ecn.handshake]! : ecn.rcvCep & ACE_MASK;
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

/**
 * The codepoint of a segment: RFC 3168 §6.1.4, §6.1.5: new data only. As Linux does, all of an AccECN connection; but RFC 9768
 * §3.2.2.5.1 wants marked ACKs acknowledged, which without SACK would look like duplicates: there ACKs alone are not capable.
 */
export function codepoint(c: Connection, ecn: Ecn, isNew: boolean, length: number): number {
  if (!ecn.isAccurate) return isNew ? ECT_0 : 0;
  return ecn.isCapable && (length > 0 || c.useSack) ? ECT_0 : 0;
}

/**
 * A segment was accepted: notes how its packet arrived. RFC 3168 §6.1.3, RFC 9768 §3.2.2.2. Returns whether the peer is to know at
 * once.
 */
export function arriveCodepoint(c: Connection, ecn: Ecn, segment: wire.Segment, packet: Packet): boolean {
  const mark = packet.ds & ECN_MASK;
  if (mark !== 0) ecn.isSeen = true;
  if (ecn.isAccurate) {
    ecn.ace = ecn.isAceOfHandshake || !ecn.believes ? -1 : aceOf(segment.flags);
    ecn.isAceOfHandshake = false;
    const isChange = ecn.option !== null && arriveCounters(c, ecn.option, mark, segment, packet);
    const isNews = mark === CE && countMarks(c, ecn, segment);
    ecn.wasMarked = mark === CE;
    return isNews || isChange;
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

/**
 * A marked packet. RFC 9768 §3.2.2.5.1: told at once where text is the first to be marked, and after two of them; ACKs that nothing
 * is to be acknowledged of only by threes, or two peers could acknowledge each other's acknowledgements for ever.
 */
function countMarks(c: Connection, ecn: Ecn, { length, gsoSize }: wire.Segment): boolean {
  const packets = gsoSize > 0 ? Math.ceil(length / gsoSize) : 1;
  ecn.rcvCep += packets;
  ecn.untold += packets;
  if (length > 0 && !ecn.wasMarked) return true;
  return ecn.untold >= (length > 0 || c.rcvNxt !== c.lastAckSent ? MARKS_WITH_TEXT : MARKS_ALONE);
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
  if (ecn.ace < 0) return;
  const markedBytes = option === null ? 0 : option.newlyMarked;
  const marks = marksOf(c, ecn, ecn.ace, acked, markedBytes);
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
 * RFC 9768 §3.2.2.5.2: packets newly marked, by three bits: where the acknowledgement is of more than seven packets they may have
 * gone round. Then the bytes say how often (Appendix A.2.2). Without them, as often as could be (A.2.1), for acknowledgements were
 * lost; but not of a peer whose acknowledgements are of many packets as a rule.
 */
function marksOf(c: Connection, ecn: Ecn, ace: number, acked: Acked, markedBytes: number): number {
  const marks = (ace - ecn.sndCep) & ACE_MASK;
  const packets = Math.ceil(acked.newlyDelivered / c.mss);
  noteStretch(ecn, packets);
  if (packets <= ACE_MASK) return marks;
  if (!knowsBytes(ecn)) return ecn.stretch < STRETCH_USUAL ? packets - ((packets - marks) & ACE_MASK) : marks;
  const least = Math.ceil(markedBytes / c.mss);
  const rounds = Math.max(0, Math.ceil((least - marks) / (ACE_MASK + 1)));
  return Math.min(marks + rounds * (ACE_MASK + 1), packets);
}

/** The moving average of packets that one acknowledgement is of. */
function noteStretch(ecn: Ecn, packets: number): void {
  if (packets > 0) ecn.stretch += ecn.stretch === 0 ? packets : (packets - ecn.stretch) / STRETCH_WEIGHT;
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
