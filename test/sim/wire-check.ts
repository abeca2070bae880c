/**
 * A tap between a stack and its link: sees every frame that goes either way, and checks what a sender promises on the
 * wire whatever the network does. @module
 */
import { CHECKSUM_FULL, frameChecksum, frameEnd, frameLength, frameStart } from '../../src/memory/frame.ts';
import type { Memory } from '../../src/memory/memory.ts';
import type { Device, Medium } from '../../src/phy/device.ts';
import * as ethernet from '../../src/wire/ethernet.ts';
import { PROTOCOL_TCP } from '../../src/wire/ip.ts';
import * as ipv4 from '../../src/wire/ipv4.ts';
import * as ipv6 from '../../src/wire/ipv6.ts';
import { fold, halves } from '../../src/wire/octets.ts';
import { formatFrame } from '../../src/wire/packet.ts';
import * as tcp from '../../src/wire/tcp.ts';

const { ACK, FIN, RST, SYN } = tcp;
const ETHERNET = ethernet.HEADER_LENGTH;
const diff = (a: number, b: number): number => (a - b) | 0;

/** What the tap knows of one connection, as the stack above it must see it. */
class FlowView {
  /** Options of the SYNs, as sent and as received; -1: no such option. */
  sentScale = -1;
  gotScale = -1;
  mss = 536;
  sentSyn = false;
  gotSyn = false;
  /** The furthest right edge ever received: nothing may be sent beyond it. */
  edge = 0;
  hasEdge = false;
  /** The furthest right edge ever sent, and the last acknowledgement sent. */
  ownEdge = 0;
  ownAck = 0;
  hasOwn = false;
  /** A FIN was sent, at this number: no byte may ever be sent at or behind it. */
  finSeq = 0;
  finSent = false;
}

export interface TapHooks {
  /** A line for the trace; not called when null. */
  readonly trace: ((line: string) => void) | null;
  /** Something was sent that must not be. */
  readonly fail: (what: string) => void;
  /** Whether this frame is lost, decided here where the link below takes super-segments. */
  readonly loses: () => boolean;
  /** Whether the stack has a connection with these ports (remote high, local low), or had one lately. */
  readonly isLive: (ports: number) => boolean;
}

export class Tap implements Device {
  readonly medium: Medium;
  readonly mtu: number;
  readonly offload: boolean;
  readonly memory: Memory | null;
  readonly name: string;
  readonly #inner: Device;
  readonly #hooks: TapHooks;
  readonly #flows = new Map<string, FlowView>();
  readonly #segment = new tcp.Segment();
  #memory: Memory | null = null;

  constructor(name: string, inner: Device, hooks: TapHooks) {
    this.name = name;
    this.#inner = inner;
    this.#hooks = hooks;
    this.medium = inner.medium;
    this.mtu = inner.mtu;
    this.offload = inner.offload;
    this.memory = inner.memory;
  }

  attach(memory: Memory, wake: () => void): void {
    this.#memory = memory;
    this.#inner.attach(memory, wake);
  }

  receive(now: number): number {
    const frame = this.#inner.receive(now);
    if (frame !== 0) this.#see(frame, now, false);
    return frame;
  }

  room(): number {
    return this.#inner.room();
  }

  transmit(frame: number, now: number): void {
    this.#see(frame, now, true);
    if (this.#hooks.loses()) this.#memory!.free(frame);
    else this.#inner.transmit(frame, now);
  }

  pollAt(): number {
    return this.#inner.pollAt();
  }

  close(): void {
    this.#inner.close();
  }

  #see(frame: number, now: number, isSent: boolean): void {
    const memory = this.#memory!;
    const start = frameStart(memory, frame);
    const end = frameEnd(memory, frame);
    if (this.#hooks.trace !== null) {
      const line = formatFrame(memory, start, end, this.medium);
      this.#hooks.trace(`${now.toFixed(3).padStart(12)} ${this.name} ${isSent ? '>' : '<'} ${line}`);
    }
    if (
      isSent &&
      !this.offload &&
      frameLength(memory, frame) > this.mtu + (this.medium === 'ethernet' ? ETHERNET : 0)
    ) {
      this.#hooks.fail(`${this.name}: sent ${frameLength(memory, frame)} bytes over an MTU of ${this.mtu}`);
    }
    let p = start;
    if (this.medium === 'ethernet') {
      const type = ethernet.check(memory.dv, start, end) === null ? ethernet.etherType(memory.dv, start) : 0;
      if (type !== ethernet.ETHERTYPE_IPV4 && type !== ethernet.ETHERTYPE_IPV6) return;
      p += ETHERNET;
    }
    this.#seePacket(p, end, isSent, frameChecksum(memory, frame) === CHECKSUM_FULL);
  }

  #seePacket(p: number, end: number, isSent: boolean, isSummed: boolean): void {
    const memory = this.#memory!;
    const { dv } = memory;
    const isV6 = p < end && ipv6.version(dv, p) === 6;
    const drop = isV6 ? ipv6.check(dv, p, end) : ipv4.check(memory, p, end);
    if (drop !== null) {
      if (isSent) this.#hooks.fail(`${this.name}: sent a packet that is ${drop}`);
      return;
    }
    const protocol = isV6 ? ipv6.nextHeader(dv, p) : ipv4.protocol(dv, p);
    if (protocol !== PROTOCOL_TCP) return;
    const t = p + (isV6 ? ipv6.HEADER_LENGTH : ipv4.headerLength(dv, p));
    const e = isV6 ? t + ipv6.payloadLength(dv, p) : p + ipv4.totalLength(dv, p);
    const addresses = isV6 ? [8, 12, 16, 20, 24, 28, 32, 36] : [12, 16];
    const pseudo = fold(addresses.reduce((s, at) => s + halves(dv.getInt32(p + at)), PROTOCOL_TCP));
    const bad = tcp.check(memory, t, e, isSummed ? pseudo : -1);
    if (bad !== null) {
      if (isSent) this.#hooks.fail(`${this.name}: sent a segment that is ${bad}`);
      return;
    }
    tcp.parse(dv, t, e, this.#segment);
    // Both directions of a flow meet under the local port, then the remote one.
    const local = isSent ? tcp.sourcePort(dv, t) : tcp.destinationPort(dv, t);
    const remote = isSent ? tcp.destinationPort(dv, t) : tcp.sourcePort(dv, t);
    const key = `${local} ${remote}`;
    let flow = this.#flows.get(key);
    if (flow === undefined) {
      flow = new FlowView();
      this.#flows.set(key, flow);
    }
    if (isSent) {
      this.#checkLive((remote << 16) | local, key);
      this.#checkSent(flow, key);
    } else this.#learn(flow);
  }

  /** After the end of a connection nothing is sent for it but RST; a SYN-ACK may come before there is one (RFC 4987). */
  #checkLive(ports: number, key: string): void {
    const { flags } = this.#segment;
    if ((flags & (RST | SYN)) !== 0 || this.#hooks.isLive(ports)) return;
    this.#hooks.fail(`${this.name} ${key}: sent a segment after the end`);
  }

  #learn(flow: FlowView): void {
    const { flags, seq, ack, wnd, mss, windowScale } = this.#segment;
    if ((flags & RST) !== 0) return;
    if ((flags & SYN) !== 0) {
      flow.gotSyn = true;
      flow.gotScale = windowScale;
      if (mss > 0) flow.mss = mss;
      if ((flags & ACK) === 0) return;
    }
    if ((flags & ACK) === 0 || !flow.sentSyn) return;
    const scaled = (flags & SYN) === 0 && flow.sentScale >= 0 && flow.gotScale >= 0;
    const edge = (ack + (wnd << (scaled ? flow.gotScale : 0))) | 0;
    if (!flow.hasEdge || diff(edge, flow.edge) > 0) flow.edge = edge;
    flow.hasEdge = true;
    void seq;
  }

  #checkSent(flow: FlowView, key: string): void {
    const { flags, seq, ack, wnd, length, windowScale } = this.#segment;
    const fail = (what: string): void => this.#hooks.fail(`${this.name} ${key}: ${what}`);
    if ((flags & RST) !== 0) return;
    if ((flags & SYN) !== 0) {
      flow.sentSyn = true;
      flow.sentScale = windowScale;
      flow.hasOwn = false;
      return;
    }
    if ((flags & ACK) === 0) fail('sent a segment without ACK');
    const occupied = length + ((flags & FIN) !== 0 ? 1 : 0);
    const last = (seq + occupied) | 0;
    if (occupied > 0) {
      if (!flow.hasEdge) fail('sent data before any window was offered');
      else if (diff(last, flow.edge) > 0) fail(`sent ${diff(last, flow.edge)} bytes beyond the window`);
    }
    if (!this.offload && length > flow.mss) fail(`sent ${length} bytes over an MSS of ${flow.mss}`);
    if (flow.finSent && length > 0 && diff((seq + length) | 0, flow.finSeq) > 0) fail('sent data behind its FIN');
    if ((flags & FIN) !== 0) {
      const finSeq = (seq + length) | 0;
      if (flow.finSent && finSeq !== flow.finSeq) fail('sent two FINs with different numbers');
      flow.finSent = true;
      flow.finSeq = finSeq;
    }
    const shift = flow.sentScale >= 0 && flow.gotScale >= 0 ? flow.sentScale : 0;
    const edge = (ack + (wnd << shift)) | 0;
    if (flow.hasOwn) {
      if (diff(ack, flow.ownAck) < 0) fail(`acknowledgement went back by ${diff(flow.ownAck, ack)}`);
      // RFC 9293 §3.8.6: no shrinking; what scaling rounds off (RFC 7323 §2.4) may come and go.
      const back = diff(flow.ownEdge, edge);
      if (back >= 1 << shift && wnd !== 0xffff) fail(`right edge of the window went back by ${back}`);
    }
    if (!flow.hasOwn || diff(edge, flow.ownEdge) > 0) flow.ownEdge = edge;
    flow.ownAck = ack;
    flow.hasOwn = true;
  }
}
