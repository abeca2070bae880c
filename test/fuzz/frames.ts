/** Frames that nobody should send: built, then spoiled, every one from a seed. @module */
import { allocFrame, frameEnd, frameStart, HEADROOM, setFrameBounds, setFrameOffload } from '../../src/memory/frame.ts';
import type { Memory } from '../../src/memory/memory.ts';
import type { Medium } from '../../src/phy/device.ts';
import type { Random } from '../../src/phy/random.ts';
import type { Stack } from '../../src/stack.ts';
import { type IpAddress, MacAddress } from '../../src/wire/address.ts';
import * as arp from '../../src/wire/arp.ts';
import * as ethernet from '../../src/wire/ethernet.ts';
import * as icmpv4 from '../../src/wire/icmpv4.ts';
import * as icmpv6 from '../../src/wire/icmpv6.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, pseudoHeaderSum } from '../../src/wire/ip.ts';
import * as ipv4 from '../../src/wire/ipv4.ts';
import * as ipv6 from '../../src/wire/ipv6.ts';
import * as tcp from '../../src/wire/tcp.ts';
import * as udp from '../../src/wire/udp.ts';

const ROOM = 2200;
const ETHERNET = ethernet.HEADER_LENGTH;
/** Values at which fields turn over. */
const EDGES = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xfffe, 0xffff];

/** The link a fuzzer plays, as the stack sees it. */
export interface Target {
  readonly stack: Stack;
  readonly medium: Medium;
  readonly mac: MacAddress;
  readonly peerMac: MacAddress;
  /** Our addresses and the peers', one pair a family. */
  readonly local: readonly IpAddress[];
  readonly remote: readonly IpAddress[];
  readonly tcpPorts: readonly number[];
  readonly udpPorts: readonly number[];
}

export class FrameFuzzer {
  readonly #r: Random;
  readonly #target: Target;
  readonly #memory: Memory;

  constructor(random: Random, target: Target) {
    this.#r = random;
    this.#target = target;
    this.#memory = target.stack.memory;
  }

  /** The next frame, the caller's; 0 when memory is exhausted. */
  next(): number {
    const frame = allocFrame(this.#memory, ROOM);
    if (frame === 0) return 0;
    const r = this.#r;
    const what = r.below(100);
    if (what < 6) this.#garbage(frame);
    else if (what < 12 && this.#target.medium === 'ethernet') this.#arp(frame);
    else if (what < 22) this.#icmp(frame);
    else if (what < 36) this.#udp(frame);
    else this.#tcp(frame);
    if (r.chance(0.1)) {
      const transport = r.chance(0.5) ? frame + HEADROOM + r.below(80) : r.next() | 0;
      setFrameOffload(this.#memory, frame, r.below(4), r.chance(0.5) ? r.below(3000) : r.next() | 0, transport);
    }
    return frame;
  }

  #garbage(frame: number): void {
    const r = this.#r;
    const p = frame + HEADROOM - (this.#target.medium === 'ethernet' ? ETHERNET : 0);
    const length = r.chance(0.7) ? r.below(80) : r.below(1600);
    r.bytes(this.#memory.u8.subarray(p, p + length));
    if (this.#target.medium === 'ethernet' && length >= ETHERNET && r.chance(0.8))
      this.#link(frame + HEADROOM, [0x0800, 0x86dd, 0x0806][r.below(3)]!);
    setFrameBounds(this.#memory, frame, p, p + length);
  }

  #link(ip: number, type: number): void {
    const destination = this.#r.chance(0.9) ? this.#target.mac : new MacAddress(0xffff, -1);
    ethernet.emit(this.#memory.dv, ip - ETHERNET, destination, this.#target.peerMac, type);
  }

  #arp(frame: number): void {
    const r = this.#r;
    const { mac, peerMac, local, remote } = this.#target;
    const p = frame + HEADROOM;
    const sender = r.chance(0.8) ? remote[0]! : local[0]!;
    const target = r.chance(0.8) ? local[0]! : remote[0]!;
    arp.emit(this.#memory.dv, p, 1 + r.below(2), peerMac, sender, mac, target);
    if (r.chance(0.3)) this.#memory.dv.setInt32(p + 14, r.next() | 0); // a sender out of the blue
    this.#link(p, ethernet.ETHERTYPE_ARP);
    setFrameBounds(this.#memory, frame, p - ETHERNET, p + arp.PACKET_LENGTH);
    if (r.chance(0.5)) this.#mutate(frame);
  }

  /** Puts the IP header before `length` bytes at `t`, spoils the packet, and repairs checksums in half of the cases. */
  #finish(frame: number, family: 0 | 1, protocol: number, t: number, length: number): void {
    const r = this.#r;
    const { dv } = this.#memory;
    const { local, remote, medium } = this.#target;
    const p = t - (family === 0 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH);
    const source = remote[family]!;
    const destination = local[family]!;
    if (family === 0)
      ipv4.emit(dv, p, t + length - p, r.below(256), 7, ipv4.DONT_FRAGMENT, 64, protocol, source.d, destination.d);
    else ipv6.emit(dv, p, length, 0, 64, protocol, source, destination);
    if (medium === 'ethernet') this.#link(p, family === 0 ? ethernet.ETHERTYPE_IPV4 : ethernet.ETHERTYPE_IPV6);
    setFrameBounds(this.#memory, frame, medium === 'ethernet' ? p - ETHERNET : p, t + length);
    const spoiled = r.chance(0.5);
    if (spoiled) this.#mutate(frame);
    if (!spoiled || r.chance(0.5)) this.#repair(frame, family, protocol, p, t);
  }

  /** Makes the checksums right, as far as the packet still is one. */
  #repair(frame: number, family: 0 | 1, protocol: number, p: number, t: number): void {
    const { dv } = this.#memory;
    const { local, remote } = this.#target;
    const end = frameEnd(this.#memory, frame);
    if (end < t + 8) return;
    const pseudo = pseudoHeaderSum(remote[family]!, local[family]!, protocol);
    if (protocol === PROTOCOL_TCP && end >= t + tcp.HEADER_LENGTH) tcp.complete(this.#memory, t, end, pseudo);
    if (protocol === PROTOCOL_UDP) {
      udp.emit(this.#memory, t, udp.sourcePort(dv, t), udp.destinationPort(dv, t), end - t, pseudo);
    }
    if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
      const rest = dv.getInt32(t + 4);
      if (family === 0) icmpv4.emit(this.#memory, t, icmpv4.type(dv, t), icmpv4.code(dv, t), rest, end - t);
      else icmpv6.emit(this.#memory, t, icmpv4.type(dv, t), icmpv4.code(dv, t), rest, end - t, pseudo);
    }
    if (family === 1) return;
    dv.setUint16(p + 2, end - p);
    dv.setUint16(p + 10, 0);
    const header = Math.min(ipv4.headerLength(dv, p), end - p);
    let s = this.#memory.sum(p, header, 0);
    s = (s & 0xffff) + (s >>> 16);
    dv.setUint16(p + 10, ~s & 0xffff, true);
  }

  #family(): 0 | 1 {
    return this.#r.chance(0.7) ? 0 : 1;
  }

  #transport(frame: number, family: 0 | 1): number {
    return frame + HEADROOM + (family === 0 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH);
  }

  #fill(p: number, length: number): void {
    // Most bytes of a payload are of no interest.
    this.#r.bytes(this.#memory.u8.subarray(p, p + Math.min(length, 16)));
  }

  #icmp(frame: number): void {
    const r = this.#r;
    const { dv } = this.#memory;
    const family = this.#family();
    const t = this.#transport(frame, family);
    let length = icmpv4.HEADER_LENGTH + r.below(r.chance(0.9) ? 60 : 1400);
    this.#fill(t, length);
    dv.setUint8(
      t,
      r.chance(0.8) ? (family === 0 ? [0, 3, 3, 8, 11, 12] : [1, 1, 2, 3, 128, 129])[r.below(6)]! : r.below(256),
    );
    dv.setUint8(t + 1, r.below(6));
    // An error quotes a packet of ours: half the time one of a live connection.
    if (r.chance(0.5)) length = icmpv4.HEADER_LENGTH + this.#quote(t + icmpv4.HEADER_LENGTH, family);
    this.#finish(frame, family, family === 0 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6, t, length);
  }

  #quote(p: number, family: 0 | 1): number {
    const r = this.#r;
    const { dv } = this.#memory;
    const { local, remote, udpPorts } = this.#target;
    const t = p + (family === 0 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH);
    const isTcp = r.chance(0.6);
    const protocol = isTcp ? PROTOCOL_TCP : PROTOCOL_UDP;
    if (family === 0) ipv4.emit(dv, p, 60, 0, 1, 0, 64, protocol, local[0]!.d, remote[0]!.d);
    else ipv6.emit(dv, p, 20, 0, 64, protocol, local[1]!, remote[1]!);
    const c = this.#connection();
    if (isTcp && c !== null) {
      dv.setInt32(t, c.portsOut);
      dv.setInt32(t + 4, (c.sndUna + r.below(3)) | 0);
    } else {
      dv.setUint16(t, r.chance(0.5) ? udpPorts[r.below(udpPorts.length)]! : r.below(65_536));
      dv.setUint16(t + 2, 5000);
    }
    return t + (r.chance(0.8) ? 8 : r.below(12)) - p;
  }

  #udp(frame: number): void {
    const r = this.#r;
    const { udpPorts } = this.#target;
    const family = this.#family();
    const t = this.#transport(frame, family);
    const length = udp.HEADER_LENGTH + r.below(r.chance(0.9) ? 60 : 1400);
    this.#fill(t + udp.HEADER_LENGTH, length);
    const port = r.chance(0.8) ? udpPorts[r.below(udpPorts.length)]! : r.below(65_536);
    udp.emitPartial(this.#memory.dv, t, r.chance(0.5) ? 5000 : r.below(65_536), port, length, 0);
    this.#finish(frame, family, PROTOCOL_UDP, t, length);
  }

  /** A connection of the stack, or null where there is none. */
  #connection() {
    const all = this.#connections;
    return all.length === 0 ? null : all[this.#r.below(all.length)]!;
  }

  #known: ReturnType<Stack['tcp']['connections']['values']> = [];
  #age = 0;

  /** The connections there are, looked up now and then. */
  get #connections() {
    if (this.#age-- <= 0) {
      this.#age = 64;
      this.#known = this.#target.stack.tcp.connections.values();
    }
    return this.#known;
  }

  #tcp(frame: number): void {
    const r = this.#r;
    const { dv } = this.#memory;
    const { tcpPorts, local } = this.#target;
    const c = r.chance(0.85) ? this.#connection() : null;
    const mine = c?.local.equals(local[0]!) ? 0 : c?.local.equals(local[1]!) ? 1 : -1;
    const family = mine < 0 ? this.#family() : (mine as 0 | 1);
    const t = this.#transport(frame, family);
    let ports = ((1024 + r.below(64)) << 16) | tcpPorts[r.below(tcpPorts.length)]!;
    let seq = r.next() | 0;
    let ack = r.next() | 0;
    let flags = r.chance(0.5) ? tcp.SYN : r.below(256);
    if (c !== null && mine >= 0) {
      ports = c.portsIn;
      const near = r.chance(0.6) ? 0 : r.chance(0.5) ? r.below(4000) - 2000 : (r.next() | 0) >> r.below(31);
      seq = (c.rcvNxt + near) | 0;
      ack = ((r.chance(0.5) ? c.sndUna : c.sndMax) + (r.chance(0.8) ? 0 : r.below(5000) - 2500)) | 0;
      // Mostly what keeps a connection going: the deep states are where it is interesting.
      const { ACK, FIN, PSH, RST, SYN } = tcp;
      const rare = [SYN, SYN | ACK, RST, RST | ACK, FIN, 0];
      const usual = [ACK, ACK, ACK, ACK | PSH, ACK | FIN, ACK, ACK, ACK, rare[r.below(rare.length)]!];
      flags = r.chance(0.9) ? usual[r.below(usual.length)]! : r.below(256);
      if (c.state === 2 /* SYN-SENT */) {
        seq = r.next() | 0;
        flags = r.chance(0.8) ? tcp.SYN | tcp.ACK : flags;
      }
    }
    const options = this.#options(t + tcp.HEADER_LENGTH, flags, c?.tsRecent ?? 0);
    const header = tcp.HEADER_LENGTH + options;
    const length = r.chance(0.4) ? 0 : r.below(r.chance(0.8) ? 100 : 1400);
    this.#fill(t + header, length);
    tcp.emit(dv, t, ports, seq, ack, header, flags, r.chance(0.7) ? 65_535 : r.below(2000));
    this.#finish(frame, family, PROTOCOL_TCP, t, header + length);
  }

  /** Options at `p`: none, sound ones, or anything; their length, a multiple of 4 up to 40. */
  #options(p: number, flags: number, tsRecent: number): number {
    const r = this.#r;
    const { dv } = this.#memory;
    const what = r.below(10);
    if (what < 4) return 0;
    if (what < 7) {
      if ((flags & tcp.SYN) !== 0) {
        const scale = r.chance(0.5) ? -1 : r.below(20);
        return tcp.emitSynOptions(
          dv,
          p,
          r.chance(0.7) ? 1460 : r.below(65_536),
          scale,
          r.chance(0.5),
          r.chance(0.5),
          r.next() | 0,
          0,
        );
      }
      tcp.emitTimestamps(dv, p, (tsRecent + r.below(20) - 5) | 0, r.next() | 0);
      return tcp.TIMESTAMPS_LENGTH;
    }
    const length = 4 * r.below(11);
    r.bytes(this.#memory.u8.subarray(p, p + length));
    if (length > 2) dv.setUint16(p, (r.below(10) << 8) | r.below(length + 4));
    return length;
  }

  #mutate(frame: number): void {
    const r = this.#r;
    const { u8, dv } = this.#memory;
    const start = frameStart(this.#memory, frame);
    let end = frameEnd(this.#memory, frame);
    for (let n = 1 + r.below(3); n > 0; n--) {
      const length = end - start;
      if (length < 2) return;
      // Headers are where it hurts.
      const at = start + r.below(r.chance(0.8) ? Math.min(length, 80) : length);
      switch (r.below(5)) {
        case 0:
          u8[at] = u8[at]! ^ (1 << r.below(8));
          break;
        case 1:
          u8[at] = r.below(256);
          break;
        case 2:
          if (at + 2 <= end) dv.setUint16(at, EDGES[r.below(EDGES.length)]!);
          break;
        case 3:
          end = start + r.below(length);
          break;
        default:
          end = Math.min(end + r.below(40), frame + HEADROOM + ROOM);
      }
      setFrameBounds(this.#memory, frame, start, end);
    }
  }
}
