/**
 * Segments on their way out: one allocation of a frame, one copy of the payload with its sum taken on the way, thirteen
 * stores for the headers, and no look at the bytes again. @module
 */
import type { Ip } from '../iface/ip.ts';
import { TTL_DEFAULT } from '../iface/ip.ts';
import type { Packet } from '../iface/packet.ts';
import { allocFrame, CHECKSUM_PARTIAL, HEADROOM, setFrameBounds, setFrameOffload } from '../memory/frame.ts';
import { lengthOf } from '../wire/accecn.ts';
import { PROTOCOL_TCP, pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { fold, swap } from '../wire/octets.ts';
import * as wire from '../wire/tcp.ts';
import { accEcnFields, accEcnFieldsOfSyn } from './accecn.ts';
import { type Connection, UNSET } from './connection.ts';
import { codepoint, segmentFlags, synAckFlags, synFlags } from './ecn.ts';
import { type FastOpenState, isEarly } from './fast-open.ts';
import { ackSent } from './quick-ack.ts';
import { offeredWindow } from './receive.ts';
import { timestampNow } from './rtt.ts';
import { type Seq, seqAdd, seqDiff, seqMax } from './seq.ts';
import { shiftOf } from './settings.ts';
import type { Tcp } from './tcp.ts';
import { traceOut } from './trace.ts';
import { urgentPointer } from './urgent.ts';

/** RFC 2018 §3: with timestamps three blocks fit, without four. */
const SACK_BLOCKS_MAX = 3;

/**
 * Sends one segment, or one super-segment where `length` is above the MSS, of the bytes at `seq`. Returns false when
 * memory has no frame for it: nothing was sent then.
 */
export function emitSegment(c: Connection, seq: Seq, length: number, flags: number): boolean {
  const { memory } = c.context;
  const { dv } = memory;
  const isV4 = c.local.isV4;
  const ipLength = isV4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH;
  const hasBlocks = c.reassembly !== null || c.dsackStart !== c.dsackEnd;
  const sacks = hasBlocks && c.useSack ? sackBlocks(c, length) : 0;
  let header = wire.HEADER_LENGTH + (c.useTimestamps ? wire.TIMESTAMPS_LENGTH : 0) + (sacks > 0 ? 4 + 8 * sacks : 0);
  // RFC 9768 §3.2.3.3: SACK has precedence.
  const { ecn } = c;
  const accEcn = ecn === null ? null : ecn.option;
  const counters = accEcn === null ? -1 : accEcnFields(c, accEcn, header - wire.HEADER_LENGTH, length);
  if (counters >= 0) header += lengthOf(counters);
  const frame = allocFrame(memory, ipLength + header + length);
  if (frame === 0) {
    c.path.iface.refuse('no-memory', ipLength + header + length);
    return false;
  }
  const ip = frame + HEADROOM;
  const p = ip + ipLength;
  const payload = p + header;
  const end = payload + length;
  const wnd = offeredWindow(c);
  let ds = c.settings.tos & ~3;
  if (ecn !== null) {
    const isNew = length > 0 && seq === c.sndNxt;
    flags |= segmentFlags(ecn, isNew, length === 0 && sacks === 0 && flags === wire.ACK);
    ds |= codepoint(c, ecn, isNew, length);
  }
  let urgent = 0;
  if (c.urgent !== null) {
    urgent = urgentPointer(c, seq);
    if (urgent > 0) flags |= wire.URG;
  }
  wire.emit(dv, p, c.portsOut, seq, c.rcvNxt, header, flags, wnd, urgent);
  let s = c.pseudoSum + header + length + urgent + wire.sumHeader(c.portsOut, seq, c.rcvNxt, header, flags, wnd);
  if (c.useTimestamps) {
    const tsVal = timestampNow(c);
    wire.emitTimestamps(dv, p + wire.HEADER_LENGTH, tsVal, c.tsRecent);
    s += wire.sumTimestamps(tsVal, c.tsRecent);
  }
  if (counters >= 0) {
    const option = p + wire.HEADER_LENGTH + (c.useTimestamps ? wire.TIMESTAMPS_LENGTH : 0);
    s += swap(memory.sum(option, accEcn!.emit(dv, option, counters), 0));
  }
  if (sacks > 0) {
    const option = payload - 4 - 8 * sacks;
    emitSacks(c, option, sacks);
    s += swap(memory.sum(option, 4 + 8 * sacks, 0));
  }
  if (c.path.iface.offload) {
    if (length > 0) c.tx!.copyOut(seqDiff(seq, c.txSeq), payload, length);
    wire.setChecksum(dv, p, fold(c.pseudoSum + header + length));
    setFrameOffload(memory, frame, CHECKSUM_PARTIAL, length > c.mss ? c.mss : 0, p);
  } else {
    if (length > 0) s += swap(c.tx!.copySumOut(seqDiff(seq, c.txSeq), payload, length));
    wire.setChecksum(dv, p, ~fold(s) & 0xffff);
  }
  if (isV4) {
    const { local, remote } = c;
    // RFC 6864 §4.1: with DF set the identification means nothing, and 0 tells nothing.
    ipv4.emit(dv, ip, end - ip, ds, 0, ipv4.DONT_FRAGMENT, c.settings.ttl, PROTOCOL_TCP, local.d, remote.d);
  } else {
    const { ttl } = c.settings;
    const { iface, flowLabel } = c.path;
    const hops = ttl === TTL_DEFAULT ? iface.hopLimit : ttl;
    ipv6.emit(dv, ip, end - p, ds, hops, PROTOCOL_TCP, c.local, c.remote, flowLabel);
  }
  setFrameBounds(memory, frame, ip, end);
  acknowledged(c);
  countOut(c, length);
  if (c.trace !== null) traceOut(c, seq, flags, length, wnd);
  c.path.iface.transmit(frame, c.path.neighbour);
  return true;
}

function countOut(c: Connection, length: number): void {
  const segments = length > c.mss ? Math.ceil(length / c.mss) : 1;
  c.segsOut += segments;
  if (length > 0) c.dataSegsOut += segments;
  c.context.stats.tcpSegmentsOut++;
}

/** What was just sent acknowledges all there is: RFC 9293 §3.8.6.3. */
function acknowledged(c: Connection): void {
  if (c.acks !== null) ackSent(c);
  c.ackNow = false;
  c.ackAt = UNSET;
  c.unackedBytes = 0;
  c.lastAckSent = c.rcvNxt;
}

/** Blocks that fit beside `length` bytes: RFC 6691 §2, options must not make a segment larger than the path takes. */
function sackBlocks(c: Connection, length: number): number {
  const count = (c.reassembly === null ? 0 : c.reassembly.sackCount) + (c.dsackStart === c.dsackEnd ? 0 : 1);
  const most = c.useTimestamps ? SACK_BLOCKS_MAX : SACK_BLOCKS_MAX + 1;
  return Math.max(0, Math.min(count, most, (c.mss - length - 4) >> 3));
}

/** RFC 2883 §4: the duplicate first, once; then RFC 2018 §4. */
function emitSacks(c: Connection, option: number, count: number): void {
  const { dv } = c.context.memory;
  const { reassembly } = c;
  wire.emitSackHead(dv, option, count);
  let p = option + 4;
  const isDuplicate = c.dsackStart !== c.dsackEnd;
  if (isDuplicate) {
    dv.setInt32(p, c.dsackStart);
    dv.setInt32(p + 4, c.dsackEnd);
    c.dsackEnd = c.dsackStart;
    p += 8;
  }
  for (let i = 0; i < count - (isDuplicate ? 1 : 0); i++, p += 8) {
    const index = reassembly!.sackIndex(i);
    dv.setInt32(p, reassembly!.start(index));
    dv.setInt32(p + 4, reassembly!.end(index));
  }
}

/** Sends our SYN, or with ACK in `flags` our SYN-ACK, with its options. False when memory has no frame. */
export function emitSyn(c: Connection, flags: number): boolean {
  const { memory } = c.context;
  const ipLength = c.ipHeaderLength;
  const fast = fastOpenOf(c, flags);
  const text = fast === null || (flags & wire.ACK) !== 0 ? 0 : fast.synBytes;
  const frame = allocFrame(memory, ipLength + wire.HEADER_LENGTH_MAX + text);
  if (frame === 0) {
    c.path.iface.refuse('no-memory', ipLength + wire.HEADER_LENGTH);
    return false;
  }
  const p = frame + HEADROOM + ipLength;
  const isAnswer = (flags & wire.ACK) !== 0;
  // Linux sends the SYN that crossed another again, with an ACK: all it offered.
  const isPassive = c.listener !== null || isEarly(c);
  const isReply = isAnswer && (isPassive || !c.settings.linux);
  // RFC 7323 §2.2, §3.2, RFC 2018 §2: a SYN-ACK carries an option only if the SYN did.
  const { settings } = c;
  const timestamps = isReply ? c.useTimestamps : settings.timestamps;
  const sack = isReply ? c.useSack : settings.sack;
  const scale = (isReply ? c.peerScales : settings.windowScaling) ? (isReply ? c.rcvShift : shiftOf(settings)) : -1;
  let header =
    wire.HEADER_LENGTH +
    (settings.synOptions === 'freebsd' ? wire.emitSynOptionsPadded : wire.emitSynOptions)(
      memory.dv,
      p + wire.HEADER_LENGTH,
      c.advertisedMss,
      scale,
      sack,
      timestamps,
      timestampNow(c),
      isAnswer ? c.tsRecent : 0,
    );
  if (fast !== null && fast.option !== null) {
    const padding = settings.synOptions === 'freebsd' ? wire.PAD_END : wire.PAD_NOP;
    header += wire.emitFastOpen(memory.dv, p + header, fast.option, fast.isExperimental, padding);
  }
  const accEcn = isReply && c.ecn !== null ? c.ecn.option : null;
  const counters = accEcn === null ? -1 : accEcnFieldsOfSyn(c, accEcn, header - wire.HEADER_LENGTH);
  if (counters >= 0) header += accEcn!.emit(memory.dv, p + header, counters);
  if (text > 0) {
    c.tx!.copyOut(0, p + header, text);
    c.bytesSent += text;
    c.dataSegsOut++;
  }
  // RFC 7323 §2.2: the window of a SYN is never scaled.
  // What came with the peer's SYN takes room already; Linux has more than it offers.
  const room = settings.linux ? c.rxBytes : Math.max(0, settings.receiveBufferBytes - c.readable);
  const wnd = Math.min(room, 0xffff);
  const ecn = isAnswer ? synAckFlags(c) : synFlags(c);
  wire.emit(memory.dv, p, c.portsOut, c.iss, isAnswer ? c.rcvNxt : 0, header, flags | ecn, wnd);
  const edge = seqAdd(c.rcvNxt, settings.linux && !isPassive ? c.rxBytes : wnd);
  // RFC 9293 §3.8.6, SHLD-14: data sent before the handshake was done may have offered more.
  c.rcvAdv = isEarly(c) ? seqMax(c.rcvAdv, edge) : edge;
  acknowledged(c);
  if (!isPassive || !settings.linux) c.segsOut++; // Linux counts no SYN-ACK of a listener's
  if (c.trace !== null) traceOut(c, c.iss, flags | ecn, text, wnd);
  c.context.stats.tcpSegmentsOut++;
  finish(c.tcp.ip, c, frame, header, text);
  return true;
}

/** Only the first SYN or SYN-ACK speaks of Fast Open: who did not answer it may have choked on that. */
function fastOpenOf(c: Connection, flags: number): FastOpenState | null {
  if (c.sndMax !== c.iss) return null;
  if ((flags & wire.ACK) === 0 && c.settings.fastOpen) c.fastOpen = c.tcp.fastOpen.begin(c);
  return c.fastOpen;
}

/** Completes the checksum of a SYN with `text` bytes behind its header, and sends it. */
function finish(ip: Ip, c: Connection, frame: number, header: number, text: number): void {
  const p = frame + HEADROOM + c.ipHeaderLength;
  wire.complete(c.context.memory, p, p + header + text, c.pseudoSum);
  ip.send(c.path, frame, header + text, PROTOCOL_TCP, c.remote, c.settings.ttl, c.settings.tos & ~3);
}

/** Sends a RST for a connection we give up: RFC 9293 §3.10.5, <SEQ=SND.NXT><CTL=RST>, with an ACK. */
export function emitReset(c: Connection): void {
  c.context.stats.tcpResetsOut++;
  emitSegment(c, c.sndMax, 0, wire.RST | wire.ACK);
}

/**
 * Answers a segment that belongs to no connection with a RST: RFC 9293 §3.10.7.1. Never answers a RST, nor what was
 * sent to a group.
 */
export function resetStray(tcp: Tcp, packet: Packet, segment: wire.Segment, marks: Marks = UNMARKED): void {
  if ((segment.flags & wire.RST) !== 0 || packet.toGroup) return;
  const hasAck = (segment.flags & wire.ACK) !== 0;
  const occupied = segment.length + (segment.flags & wire.SYN ? 1 : 0) + (segment.flags & wire.FIN ? 1 : 0);
  const seq = hasAck ? segment.ack : 0;
  const ack = hasAck ? 0 : segment.seq + occupied;
  tcp.context.stats.tcpResetsOut++;
  emitBare(tcp, packet, seq, ack, hasAck ? wire.RST : wire.RST | wire.ACK, 0, null, marks);
}

/** What IP_TOS and IP_TTL say of a socket: whoever has one answers with them. */
interface Marks {
  readonly tos: number;
  readonly ttl: number;
}

const UNMARKED: Marks = { tos: 0, ttl: TTL_DEFAULT };

/** Timestamps for a segment without a connection. */
export interface BareTimestamps {
  readonly tsVal: number;
  readonly tsEcr: number;
}

/** Answers `packet` with a segment that has no connection behind it. */
export function emitBare(
  tcp: Tcp,
  packet: Packet,
  seq: number,
  ack: number,
  flags: number,
  wnd: number,
  timestamps: BareTimestamps | null = null,
  { tos, ttl }: Marks = UNMARKED,
): void {
  const { memory } = tcp.context;
  const remote = packet.source;
  const local = packet.destination;
  const path = tcp.ip.path(remote, local);
  if (path === null) {
    tcp.context.stats.drop('no-route');
    return;
  }
  const frame = allocFrame(memory, ipv6.HEADER_LENGTH + wire.HEADER_LENGTH_MAX);
  if (frame === 0) {
    path.iface.refuse('no-memory', (remote.isV4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH) + wire.HEADER_LENGTH);
    return;
  }
  const p = tcp.ip.payloadOffset(frame, remote);
  const ports = memory.dv.getInt32(packet.payload);
  let header = wire.HEADER_LENGTH;
  if (timestamps !== null) {
    wire.emitTimestamps(memory.dv, p + header, timestamps.tsVal, timestamps.tsEcr);
    header += wire.TIMESTAMPS_LENGTH;
  }
  wire.emit(memory.dv, p, (ports << 16) | (ports >>> 16), seq, ack, header, flags, wnd);
  wire.complete(memory, p, p + header, pseudoHeaderSum(local, remote, PROTOCOL_TCP));
  tcp.context.stats.tcpSegmentsOut++;
  tcp.ip.send(path, frame, header, PROTOCOL_TCP, remote, ttl, tos & ~3);
}
