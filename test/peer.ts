/**
 * A peer played by hand: it puts segments that a test wrote before a stack, and shows what the stack answers. Sequence
 * numbers are relative, as tcpdump shows them: 0 is a SYN, 1 the first byte. @module
 */
import assert from 'node:assert/strict';
import { frameBytes, frameFrom } from '../src/memory/frame.ts';
import type { Memory } from '../src/memory/memory.ts';
import type { Device, Medium } from '../src/phy/device.ts';
import { Random } from '../src/phy/random.ts';
import { Stack } from '../src/stack.ts';
import { ALGORITHMS } from '../src/tcp/congestion/index.ts';
import type { Connection } from '../src/tcp/connection.ts';
import type { TcpSettings } from '../src/tcp/settings.ts';
import type { TcpSocket } from '../src/tcp/socket.ts';
import { STATE_NAMES, type TcpState } from '../src/tcp/state.ts';
import { Cidr, IpAddress, MacAddress } from '../src/wire/address.ts';
import { PROTOCOL_TCP, pseudoHeaderSum } from '../src/wire/ip.ts';
import * as ipv4 from '../src/wire/ipv4.ts';
import { octetsOf } from '../src/wire/octets.ts';
import { formatFrame } from '../src/wire/packet.ts';
import * as tcp from '../src/wire/tcp.ts';

/** The stack, and the peer. */
export const LOCAL = IpAddress.parse('10.0.0.1');
export const REMOTE = IpAddress.parse('10.0.0.2');
export const LOCAL_MAC = MacAddress.parse('02:00:00:00:00:01');
export const REMOTE_MAC = MacAddress.parse('02:00:00:00:00:02');
/** The port the stack listens on, and the peer's own. */
export const PORT = 80;
export const PEER_PORT = 4000;
/** The peer's initial sequence number: near the top, so that every test crosses the wrap. */
const PEER_ISS = 0xffff_fff0 | 0;

/** A device that a test holds in its hands. */
export class PeerDevice implements Device {
  readonly medium: Medium;
  readonly mtu: number;
  readonly offload: boolean;
  readonly memory = null;
  readonly arrived: number[] = [];
  /** Frames the stack sent, as bytes of their own. */
  readonly sent: Uint8Array[] = [];
  roomFrames = 1000;
  wake: () => void = () => {};
  #memory: Memory | null = null;

  constructor(medium: Medium = 'ip', mtu = 1500, offload = false) {
    this.medium = medium;
    this.mtu = mtu;
    this.offload = offload;
  }

  attach(memory: Memory, wake: () => void): void {
    this.#memory = memory;
    this.wake = wake;
  }

  receive(): number {
    return this.arrived.shift() ?? 0;
  }

  room(): number {
    return this.roomFrames;
  }

  transmit(frame: number): void {
    this.sent.push(frameBytes(this.#memory!, frame));
    this.#memory!.free(frame);
  }

  pollAt(): number {
    return Number.POSITIVE_INFINITY;
  }

  close(): void {
    for (const frame of this.arrived.splice(0)) this.#memory!.free(frame);
  }

  /** Has the stack receive `bytes` at its next poll. */
  deliver(bytes: Uint8Array): void {
    const frame = frameFrom(this.#memory!, bytes);
    assert.notEqual(frame, 0, 'no memory for the frame that arrives');
    this.arrived.push(frame);
  }
}

/** One segment that the stack sent. */
export interface Sent {
  readonly flags: string;
  readonly seq: number;
  readonly ack: number;
  readonly wnd: number;
  readonly length: number;
  readonly payload: Uint8Array;
  /** Options: 0, -1, false, null where absent. */
  readonly mss: number;
  readonly windowScale: number;
  readonly sackPermitted: boolean;
  readonly timestamps: { readonly val: number; readonly ecr: number } | null;
  readonly urgent: number;
  /** SACK blocks, relative. */
  readonly sacks: readonly (readonly [number, number])[];
  /** As on the wire. */
  readonly rawSeq: number;
  readonly localPort: number;
  readonly remotePort: number;
}

/** What a test may say of a segment of the peer's. */
export interface SegmentOptions {
  readonly seq?: number;
  readonly ack?: number;
  /** Text, or so many bytes of the pattern 0 1 2 ... that begins at `seq` 1. */
  readonly data?: string | number;
  /** Default 65535. */
  readonly wnd?: number;
  readonly mss?: number;
  readonly windowScale?: number;
  readonly sackPermitted?: boolean;
  readonly timestamps?: { readonly val: number; readonly ecr: number };
  readonly peerPort?: number;
  readonly port?: number;
  /** The urgent pointer. */
  readonly urgent?: number;
}

export interface PeerOptions {
  readonly tcp?: Partial<TcpSettings>;
  readonly memory?: number;
  readonly mtu?: number;
  readonly offload?: boolean;
  readonly seed?: number;
  readonly backlog?: number;
  /** Options of the peer's SYN; default an MSS of 1460 and nothing else. */
  readonly syn?: Pick<SegmentOptions, 'mss' | 'windowScale' | 'sackPermitted' | 'timestamps' | 'wnd'>;
}

const FLAGS: Record<string, number> = {
  F: tcp.FIN,
  S: tcp.SYN,
  R: tcp.RST,
  P: tcp.PSH,
  '.': tcp.ACK,
  U: tcp.URG,
  E: tcp.ECE,
  W: tcp.CWR,
  e: tcp.AE,
};

/** Byte `at` (from 0) of what either side sends where a test gives a length only. */
export const pattern = (at: number): number => (at * 7 + (at >> 8)) & 0xff;
export const patternBytes = (from: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => pattern(from + i));

export class TestPeer {
  readonly stack: Stack;
  readonly device: PeerDevice;
  readonly options: PeerOptions;
  now = 1000;
  /** The socket under test: a listener until a connection is accepted. */
  socket!: TcpSocket;
  /** Where relative numbers count from; the stack's is learned from its SYN. */
  peerIss = PEER_ISS;
  stackIss = 0;
  peerPort = PEER_PORT;
  port = PORT;
  readonly #segment = new tcp.Segment();

  constructor(options: PeerOptions = {}) {
    this.options = options;
    this.device = new PeerDevice('ip', options.mtu ?? 1500, options.offload ?? false);
    const random = new Random(options.seed ?? 1);
    this.stack = new Stack({
      memory: options.memory ?? 4 << 20,
      random: () => random.next(),
      tcp: options.tcp,
      congestion: ALGORITHMS,
    });
    this.stack.addInterface(this.device, { addresses: [Cidr.parse('10.0.0.1/24')], mac: LOCAL_MAC });
    this.poll();
  }

  /** Polls the stack now. */
  poll(): void {
    this.stack.poll(this.now);
  }

  /** Lets `ms` pass, stopping at every deadline of the stack. */
  pass(ms: number): void {
    const until = this.now + ms;
    for (let i = 0; i < 100_000; i++) {
      const at = this.stack.pollAt();
      if (at > until) break;
      this.now = Math.max(this.now, at);
      this.poll();
    }
    this.now = until;
    this.poll();
  }

  /** Sends a segment to the stack and polls it. `flags` as tcpdump writes them: `S`, `.`, `P.`, `F.`, `R`, `` for none. */
  send(flags: string, options: SegmentOptions = {}): void {
    this.device.deliver(this.segment(flags, options));
    this.poll();
  }

  /** The packet that {@link send} would send. */
  segment(flags: string, options: SegmentOptions = {}): Uint8Array {
    const { seq = 0, ack = 0, data = '', wnd = 65_535, urgent = 0 } = options;
    const payload = typeof data === 'string' ? new TextEncoder().encode(data) : patternBytes(seq - 1, data);
    const bytes = new Uint8Array(20 + 60 + payload.length);
    const octets = octetsOf(bytes);
    const p = ipv4.HEADER_LENGTH;
    const header = tcp.HEADER_LENGTH + this.#emitOptions(octets.dv, p + tcp.HEADER_LENGTH, options);
    const bits = [...flags].reduce((all, letter) => all | FLAGS[letter]!, 0);
    const ports = ((options.peerPort ?? this.peerPort) << 16) | (options.port ?? this.port);
    const isAck = (bits & tcp.ACK) !== 0;
    tcp.emit(octets.dv, p, ports, this.peerIss + seq, isAck ? this.stackIss + ack : 0, header, bits, wnd, urgent);
    bytes.set(payload, p + header);
    const end = p + header + payload.length;
    tcp.complete(octets, p, end, pseudoHeaderSum(REMOTE, LOCAL, PROTOCOL_TCP));
    ipv4.emit(octets.dv, 0, end, 0, 1, ipv4.DONT_FRAGMENT, 64, PROTOCOL_TCP, REMOTE.d, LOCAL.d);
    return bytes.slice(0, end);
  }

  #emitOptions(dv: DataView, p: number, options: SegmentOptions): number {
    const { mss, windowScale, sackPermitted = false, timestamps } = options;
    const start = p;
    if (mss !== undefined) {
      dv.setUint32(p, 0x02040000 | mss);
      p += 4;
    }
    if (sackPermitted) {
      dv.setUint32(p, 0x01010402);
      p += 4;
    }
    if (windowScale !== undefined) {
      dv.setUint32(p, 0x01030300 | windowScale);
      p += 4;
    }
    if (timestamps !== undefined) {
      tcp.emitTimestamps(dv, p, timestamps.val, timestamps.ecr);
      p += tcp.TIMESTAMPS_LENGTH;
    }
    return p - start;
  }

  /** Takes the segments the stack has sent since the last call. */
  take(): Sent[] {
    return this.device.sent.splice(0).map((bytes) => this.#read(bytes));
  }

  #read(bytes: Uint8Array): Sent {
    const octets = octetsOf(bytes);
    const { dv } = octets;
    assert.equal(ipv4.check(octets, 0, bytes.length), null);
    assert.equal(
      ipv4.protocol(dv, 0),
      PROTOCOL_TCP,
      `expected a segment, got ${formatFrame(octets, 0, bytes.length, 'ip')}`,
    );
    const p = ipv4.headerLength(dv, 0);
    const trusted = this.device.offload ? -1 : pseudoHeaderSum(LOCAL, REMOTE, PROTOCOL_TCP);
    assert.equal(tcp.check(octets, p, bytes.length, trusted), null);
    const s = this.#segment;
    tcp.parse(dv, p, bytes.length, s);
    if ((s.flags & tcp.SYN) !== 0) this.stackIss = s.seq;
    const sacks = Array.from({ length: s.sackCount }, (_, i): [number, number] => {
      const block = s.sackBlocks + 8 * i;
      return [(dv.getInt32(block) - this.peerIss) | 0, (dv.getInt32(block + 4) - this.peerIss) | 0];
    });
    return {
      flags: tcp.formatFlags(s.flags),
      seq: (s.seq - this.stackIss) | 0,
      ack: (s.flags & tcp.ACK) === 0 ? 0 : (s.ack - this.peerIss) | 0,
      wnd: s.wnd,
      length: s.length,
      payload: bytes.slice(s.payload, s.payload + s.length),
      mss: s.mss,
      windowScale: s.windowScale,
      sackPermitted: s.sackPermitted,
      timestamps: s.hasTimestamps ? { val: s.tsVal, ecr: s.tsEcr } : null,
      urgent: tcp.urgent(dv, p),
      sacks,
      rawSeq: s.seq >>> 0,
      localPort: tcp.sourcePort(dv, p),
      remotePort: tcp.destinationPort(dv, p),
    };
  }

  /** The same as short lines: `S. 0 ack 1`, `P. 1:5 ack 1`, `. 5 ack 1`, `R 5`, `.U 5 ack 1 urg 3`. */
  lines(): string[] {
    return this.take().map((s) => {
      const range = s.length > 0 ? `${s.seq}:${s.seq + s.length}` : `${s.seq}`;
      const urgent = s.flags.includes('U') ? ` urg ${s.urgent}` : '';
      return `${s.flags} ${range}${s.flags.includes('.') ? ` ack ${s.ack}` : ''}${urgent}`;
    });
  }

  /** Asserts what the stack has sent since the last look. */
  expect(...lines: string[]): void {
    assert.deepEqual(this.lines(), lines);
  }

  /** The only connection of the stack; null when there is none. */
  get connection(): Connection | null {
    return this.stack.tcp.connections.values()[0] ?? null;
  }

  get state(): TcpState {
    if (this.stack.tcp.timeWait.count > 0) return 'TIME-WAIT';
    const c = this.connection;
    return c === null ? 'CLOSED' : STATE_NAMES[c.state]!;
  }

  /** Everything that waits for the reader, as text or as numbers. */
  read(): string {
    const target = new Uint8Array(65_536);
    let text = '';
    for (let n = this.socket.recv(target); n > 0; n = this.socket.recv(target)) {
      text += String.fromCharCode(...target.subarray(0, n));
    }
    return text;
  }

  /** Queues text, or so many bytes of the pattern that continues, and polls. */
  write(data: string | number): number {
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : patternBytes(this.written, data);
    const taken = this.socket.send(bytes);
    this.written += taken;
    this.poll();
    return taken;
  }

  written = 0;

  /** Closes everything and asserts that all memory came back. */
  end(): void {
    this.stack.close();
    this.device.close();
    assert.equal(this.stack.memory.usedBytes, 0, 'memory is still held');
  }
}

const SYN_OPTIONS = { mss: 1460 };

/** A stack that listens. */
export function listening(options: PeerOptions = {}): TestPeer {
  const peer = new TestPeer(options);
  peer.socket = peer.stack.tcpSocket();
  peer.socket.listen({ port: PORT, backlog: options.backlog });
  return peer;
}

/** The peer's SYN has come and was answered. */
export function synReceived(options: PeerOptions = {}): TestPeer {
  const peer = listening(options);
  peer.send('S', { seq: 0, ...(options.syn ?? SYN_OPTIONS) });
  peer.expect('S. 0 ack 1');
  return peer;
}

/** The stack has sent its SYN. */
export function synSent(options: PeerOptions = {}): TestPeer {
  const peer = new TestPeer(options);
  peer.peerPort = PORT;
  peer.socket = peer.stack.tcpSocket();
  peer.socket.connect({ address: REMOTE, port: PORT });
  peer.port = peer.socket.local!.port;
  peer.poll();
  peer.expect('S 0');
  return peer;
}

/** A connection that the peer opened. */
export function established(options: PeerOptions = {}): TestPeer {
  const peer = synReceived(options);
  const { timestamps } = options.syn ?? {};
  const wnd = options.syn?.wnd === undefined ? {} : { wnd: options.syn.wnd };
  peer.send('.', { seq: 1, ack: 1, ...wnd, ...(timestamps === undefined ? {} : { timestamps }) });
  peer.expect();
  const listener = peer.socket;
  peer.socket = listener.accept()!;
  assert.equal(peer.state, 'ESTABLISHED');
  return peer;
}

export function finWait1(options: PeerOptions = {}): TestPeer {
  const peer = established(options);
  peer.socket.close();
  peer.poll();
  peer.expect('F. 1 ack 1');
  return peer;
}

export function finWait2(options: PeerOptions = {}): TestPeer {
  const peer = finWait1(options);
  peer.send('.', { seq: 1, ack: 2 });
  peer.expect();
  return peer;
}

export function closeWait(options: PeerOptions = {}): TestPeer {
  const peer = established(options);
  peer.send('F.', { seq: 1, ack: 1 });
  peer.expect('. 1 ack 2');
  return peer;
}

export function closing(options: PeerOptions = {}): TestPeer {
  const peer = finWait1(options);
  peer.send('F.', { seq: 1, ack: 1 });
  peer.expect('. 2 ack 2');
  return peer;
}

export function lastAck(options: PeerOptions = {}): TestPeer {
  const peer = closeWait(options);
  peer.socket.close();
  peer.poll();
  peer.expect('F. 1 ack 2');
  return peer;
}

export function timeWait(options: PeerOptions = {}): TestPeer {
  const peer = finWait2(options);
  peer.send('F.', { seq: 1, ack: 2 });
  peer.expect('. 2 ack 2');
  return peer;
}
