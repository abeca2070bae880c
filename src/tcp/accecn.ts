/**
 * The bytes of AccECN: RFC 9768 §3.2.3. Each end counts the payload that arrives with ECT(0), CE and ECT(1), and tells the
 * counts in an option, which its peer believes as long as nobody on the way seems to have touched it. It goes to a peer from
 * whom one has come, and with the SYN-ACK. §3.2.3.2.1 would have clients send it first, too ("SHOULD"): Linux does not. @module
 */
import type { Packet } from '../iface/packet.ts';
import * as wire from '../wire/accecn.ts';
import { HEADER_LENGTH, NOP_NOP_TIMESTAMPS, type Segment, TIMESTAMPS_LENGTH } from '../wire/tcp.ts';
import type { Connection } from './connection.ts';

// Codepoints of the IP header: RFC 3168 §5.
const ECT_1 = 1;
const ECT_0 = 2;
const CE = 3;

/** Fields begin here, so that one that was zeroed on the way shows: §3.2.3. */
const ECT_INITIAL = 1;
const COUNTER_MASK = 0xffffff;
/** Behind so many bytes a first option could be ambiguous: a counter may have gone round. */
const FIRST_OPTION_BYTES_MAX = 2 ** 23 - 1;
/** Bytes of options a segment can have. */
const OPTIONS_MAX = 40;

export class AccEcn {
  // r.e0b, r.ceb and r.e1b: what arrived, and whether it was told since it last grew.
  e0b = ECT_INITIAL;
  ceb = 0;
  e1b = ECT_INITIAL;
  /** Least fields that tell all which has grown since the last option: §3.2.3.3. */
  fieldsMin = 0;
  /** The codepoint that text last came with. */
  lastMark = -1;
  /** s.ceb, s.e0b, s.e1b: what the peer last told, from 0. */
  toldCeb = 0;
  toldE0b = 0;
  toldE1b = 0;
  /** Bytes newly told to have come marked; whoever answers them sets it back. */
  newlyMarked = 0;
  /** A counter has been told: what is marked is known in bytes. */
  hasCounters = false;
  /** An option has come from the peer: he understands it, and it passes. */
  isSeen = false;
  /** What comes was changed on the way, or came too late: it is not looked at any more. */
  isFailed = false;

  /** Text of `length` bytes arrived with `mark`. Returns whether the peer is to know at once: §3.2.3.3, change-triggered. */
  count(mark: number, length: number): boolean {
    if (length === 0) return false;
    const isChange = this.lastMark >= 0 && this.lastMark !== mark;
    this.lastMark = mark;
    if (mark === ECT_1) {
      this.e1b = (this.e1b + length) & COUNTER_MASK;
      this.#tell(1);
    } else if (mark === CE) {
      this.ceb = (this.ceb + length) & COUNTER_MASK;
      this.#tell(2);
    } else if (mark === ECT_0) {
      this.e0b = (this.e0b + length) & COUNTER_MASK;
      this.#tell(3);
    }
    return isChange;
  }

  #tell(fields: number): void {
    if (fields > this.fieldsMin) this.fieldsMin = fields;
  }

  /** How many fields go into `room` bytes, as many as can, and no fewer than have something new; -1: no option. */
  fieldsFor(room: number): number {
    for (let fields = wire.FIELDS_MAX; fields >= this.fieldsMin; fields--) {
      if (wire.lengthOf(fields) <= room) return fields;
    }
    return -1;
  }

  /** Writes the option at `p`; its length. */
  emit(dv: DataView, p: number, fields: number): number {
    this.fieldsMin = 0;
    return wire.emit(dv, p, fields, this.e1b, this.ceb, this.e0b);
  }

  /** The fields at `p`. */
  arrive(dv: DataView, p: number, fields: number, isZeroFirst: boolean): void {
    if (this.isFailed) return;
    this.isSeen = true;
    if (!this.hasCounters && fields > 0) {
      // §3.2.3.2.4: neither of the counters of ECT is 0 in the first option: somebody has zeroed it.
      const last = fields === wire.FIELDS_MAX ? wire.field(dv, p, 2) : ECT_INITIAL;
      this.isFailed = wire.field(dv, p, 0) === 0 || last === 0;
      if (this.isFailed) return;
      this.hasCounters = true;
    }
    for (let i = 0; i < fields; i++) this.#take(isZeroFirst ? wire.FIELDS_MAX - 1 - i : i, wire.field(dv, p, i));
  }

  /** Counters go up only: what says less was overtaken on its way. */
  #take(index: number, value: number): void {
    if (index === 1) {
      const grown = growth(value, this.toldCeb);
      this.toldCeb = (this.toldCeb + grown) & COUNTER_MASK;
      this.newlyMarked += grown;
    } else if (index === 0) {
      this.toldE1b = (this.toldE1b + growth(value - ECT_INITIAL, this.toldE1b)) & COUNTER_MASK;
    } else {
      this.toldE0b = (this.toldE0b + growth(value - ECT_INITIAL, this.toldE0b)) & COUNTER_MASK;
    }
  }
}

/** By how much a counter of 24 bits has grown; 0 where it is behind. */
function growth(value: number, before: number): number {
  const grown = (value - before) & COUNTER_MASK;
  return grown > COUNTER_MASK >> 1 ? 0 : grown;
}

/** Looks for the option in a segment of the peer's. */
export function accEcnArrives(c: Connection, state: AccEcn, segment: Segment, packet: Packet): void {
  // Where timestamps are all there is, options were not looked through, and the record is that of another segment.
  const { dv } = c.context.memory;
  const options = packet.payload + HEADER_LENGTH;
  const isPlain = segment.payload - options === TIMESTAMPS_LENGTH && dv.getInt32(options) === NOP_NOP_TIMESTAMPS;
  const fields = isPlain ? -1 : segment.accEcnFields;
  if (fields >= 0) state.arrive(dv, segment.accEcn, fields, segment.isAccEcn0);
  else if (!state.isSeen && c.bytesSent >= FIRST_OPTION_BYTES_MAX) state.isFailed = true;
}

/** Fields of the option of a segment with `used` bytes of others and `length` of text; -1: none. */
export function accEcnFields(c: Connection, state: AccEcn, used: number, length: number): number {
  if (!state.isSeen) return -1;
  // RFC 6691 §2: what the MSS leaves; that is less by timestamps and the option already.
  const sacks = used - (c.useTimestamps ? TIMESTAMPS_LENGTH : 0);
  const onPath = c.mss + wire.LENGTH_MAX - Math.min(length, c.mss) - sacks;
  return state.fieldsFor(Math.min(OPTIONS_MAX - used, onPath));
}

/** Fields of that of a SYN-ACK. §3.2.3.2.2: one that is sent again has none, for it may have been lost by it. */
export const accEcnFieldsOfSyn = (c: Connection, state: AccEcn, used: number): number =>
  c.retransmits > 0 ? -1 : state.fieldsFor(OPTIONS_MAX - used);
