/**
 * SYN cookies: RFC 4987 §3.6. The SYN-ACK carries in its sequence number, and in the low bits of its timestamp, all that
 * is needed to make the connection when the acknowledgement comes, so that a flood of SYNs leaves nothing behind.
 *
 * The number is F(flow) + SEG.SEQ + (count << 24) + ((G(flow, count) + (mss << 21)) mod 2^24), after Bernstein; `count`
 * goes up every 64 s. As on Linux, TSval carries the peer's window scale in 4 bits (15: none) and SACK permitted in the next; the
 * bit above that one is ECN (RFC 3168; what RFC 9768 would agree on besides is not kept).
 *
 * What cookies cost, and why they are not always sent: a SYN-ACK or an ACK that is lost is not repaired by us (a client that
 * waits for our first word then waits in vain), and an old ACK that comes again may open a connection nobody asks for. @module
 */
import { TTL_DEFAULT } from '../iface/ip.ts';
import type { Packet } from '../iface/packet.ts';
import { allocFrame } from '../memory/frame.ts';
import type { IpAddress } from '../wire/address.ts';
import { PROTOCOL_TCP, pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import * as wire from '../wire/tcp.ts';
import { MSS_DEFAULT_V4, MSS_DEFAULT_V6, mssOf } from './connection.ts';
import { SipHash } from './isn.ts';
import { shiftOf, type TcpSettings } from './settings.ts';
import type { Tcp } from './tcp.ts';

/** RFC 4987 §3.6: the counter's step, and how many steps a cookie is good for: two minutes at most. */
const STEP_MS = 64_000;
const STEPS = 2;
/** For so long after the last cookie an acknowledgement may be of one. */
export const COOKIE_MS = STEP_MS * STEPS;

/** MSS values that a cookie can say, eight of a family; the largest one not above the peer's is taken: RFC 9293 §3.7.1. */
const MSS_V4 = [48, 216, 456, 536, 1220, 1300, 1440, 1460];
const MSS_V6 = [48, 536, 1220, 1280, 1360, 1420, 1440, 8940];

/** Low bits of a timestamp. */
const SCALE_MASK = 0x0f;
const SCALE_NONE = 0x0f;
const SACK_BIT = 0x10;
const ECN_BIT = 0x20;
const ECN_FLAGS = wire.ECE | wire.CWR;
const TIMESTAMP_BITS = 6;

const LOW_24 = 0xffffff;
/** The index of the MSS stands on top of the 24 bits: a number that is off by a little is no other cookie. */
const MSS_SHIFT = 21;

export class SynCookies {
  readonly #tcp: Tcp;
  readonly #flowHash: SipHash;
  readonly #countHash: SipHash;
  readonly #words = new Int32Array(10);

  constructor(tcp: Tcp) {
    this.#tcp = tcp;
    this.#flowHash = new SipHash(tcp.context.random);
    this.#countHash = new SipHash(tcp.context.random);
  }

  /** Answers a SYN with a cookie, and remembers nothing. */
  answer(packet: Packet, segment: wire.Segment, settings: TcpSettings): void {
    const { context, ip } = this.#tcp;
    const { memory, stats } = context;
    const { source: remote, destination: local } = packet;
    const path = ip.path(remote, local);
    if (path === null) {
      stats.drop('no-route');
      return;
    }
    const frame = allocFrame(memory, ipv6.HEADER_LENGTH + wire.HEADER_LENGTH_MAX);
    if (frame === 0) {
      path.iface.refuse('no-memory', (remote.isV4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH) + wire.HEADER_LENGTH);
      return;
    }
    // Without timestamps there is no place for the other options, so they are not agreed on.
    const timestamps = settings.timestamps && segment.hasTimestamps;
    const scales = timestamps && settings.windowScaling && segment.windowScale >= 0;
    const sack = timestamps && settings.sack && segment.sackPermitted;
    const ecn = timestamps && settings.ecn !== 'off' && (segment.flags & ECN_FLAGS) === ECN_FLAGS;
    const bits = (scales ? segment.windowScale : SCALE_NONE) | (sack ? SACK_BIT : 0) | (ecn ? ECN_BIT : 0);
    const ports = wire.ports(memory.dv, packet.payload);
    const iss = this.#number(local, remote, ports, segment.seq, this.#count, mssIndex(local.isV4, segment.mss));
    const p = ip.payloadOffset(frame, remote);
    const header =
      wire.HEADER_LENGTH +
      wire.emitSynOptions(
        memory.dv,
        p + wire.HEADER_LENGTH,
        mssOf(path.iface.mtu, local.isV4, settings.mssMax),
        scales ? shiftOf(settings) : -1,
        sack,
        timestamps,
        this.#timestamp(local, remote, bits),
        segment.tsVal,
      );
    const wnd = Math.min(settings.receiveBufferBytes, 0xffff);
    const bothPorts = (ports << 16) | (ports >>> 16);
    wire.emit(memory.dv, p, bothPorts, iss, segment.seq + 1, header, wire.SYN | wire.ACK | (ecn ? wire.ECE : 0), wnd);
    wire.complete(memory, p, p + header, pseudoHeaderSum(local, remote, PROTOCOL_TCP));
    stats.tcpSegmentsOut++;
    stats.tcpSynCookiesSent++;
    ip.send(path, frame, header, PROTOCOL_TCP, remote, TTL_DEFAULT, 0);
  }

  /** The SYN whose cookie `segment` acknowledges, put together again; or null: it is none of ours, or too old. */
  check(packet: Packet, segment: wire.Segment, settings: TcpSettings): wire.Segment | null {
    const { source: remote, destination: local } = packet;
    const ports = wire.ports(this.#tcp.context.memory.dv, packet.payload);
    const seq = (segment.seq - 1) | 0;
    const rest = (segment.ack - 1 - this.#flow(local, remote, ports) - seq) | 0;
    const age = (this.#count - (rest >>> 24)) & 0xff;
    if (age >= STEPS) return null;
    const low = (rest - this.#counted(local, remote, ports, this.#count - age)) & LOW_24;
    if ((low & ((1 << MSS_SHIFT) - 1)) !== 0) return null;
    const mss = (local.isV4 ? MSS_V4 : MSS_V6)[low >>> MSS_SHIFT]!;
    const syn = new wire.Segment();
    syn.seq = seq;
    syn.flags = wire.SYN;
    syn.wnd = segment.wnd;
    syn.mss = mss;
    if (!settings.timestamps || !segment.hasTimestamps) return syn;
    const bits = segment.tsEcr - this.#tcp.timestampOffset(local, remote);
    const scale = bits & SCALE_MASK;
    syn.hasTimestamps = true;
    syn.tsVal = segment.tsVal;
    syn.windowScale = scale === SCALE_NONE ? -1 : scale;
    syn.sackPermitted = (bits & SACK_BIT) !== 0;
    if ((bits & ECN_BIT) !== 0) syn.flags |= ECN_FLAGS;
    return syn;
  }

  get #count(): number {
    return Math.floor(this.#tcp.context.nowMs / STEP_MS) & 0xff;
  }

  /** The time now, its low bits replaced: never in the future, for the connection's own timestamps must not go back. */
  #timestamp(local: IpAddress, remote: IpAddress, bits: number): number {
    const { nowMs } = this.#tcp.context;
    const step = 1 << TIMESTAMP_BITS;
    const base = nowMs - (nowMs % step);
    const ts = base + bits > nowMs ? base + bits - step : base + bits;
    return (ts + this.#tcp.timestampOffset(local, remote)) | 0;
  }

  #number(local: IpAddress, remote: IpAddress, ports: number, seq: number, count: number, index: number): number {
    const low = (this.#counted(local, remote, ports, count) + (index << MSS_SHIFT)) & LOW_24;
    return (this.#flow(local, remote, ports) + seq + (count << 24) + low) | 0;
  }

  #flow(local: IpAddress, remote: IpAddress, ports: number): number {
    return this.#flowHash.hash(this.#fill(local, remote, ports, 0));
  }

  #counted(local: IpAddress, remote: IpAddress, ports: number, count: number): number {
    return this.#countHash.hash(this.#fill(local, remote, ports, count & 0xff));
  }

  #fill(local: IpAddress, remote: IpAddress, ports: number, count: number): Int32Array {
    const w = this.#words;
    w.set([local.a, local.b, local.c, local.d, remote.a, remote.b, remote.c, remote.d, ports, count]);
    return w;
  }
}

/** Place in the table of the largest MSS that is not above the peer's (0: it named none, MUST-15). */
function mssIndex(isV4: boolean, mss: number): number {
  const table = isV4 ? MSS_V4 : MSS_V6;
  const most = mss || (isV4 ? MSS_DEFAULT_V4 : MSS_DEFAULT_V6);
  let index = table.length - 1;
  while (index > 0 && table[index]! > most) index--;
  return index;
}
