/** A stack with open sockets of every kind, and a fuzzer at its device. @module */
import assert from 'node:assert/strict';
import { NetError } from '../../src/errors.ts';
import { allocFrame, frameEnd, frameStart, HEADROOM, setFrameBounds } from '../../src/memory/frame.ts';
import type { Memory } from '../../src/memory/memory.ts';
import { completeChecksum } from '../../src/phy/checksum.ts';
import type { Device, Medium } from '../../src/phy/device.ts';
import { Random } from '../../src/phy/random.ts';
import { Stack } from '../../src/stack.ts';
import type { TcpSocket } from '../../src/tcp/socket.ts';
import { Source } from '../../src/udp/datagram-queue.ts';
import type { UdpSocket } from '../../src/udp/socket.ts';
import { Cidr, IpAddress, MacAddress } from '../../src/wire/address.ts';
import * as arp from '../../src/wire/arp.ts';
import * as ethernet from '../../src/wire/ethernet.ts';
import * as icmpv4 from '../../src/wire/icmpv4.ts';
import { PROTOCOL_ICMP } from '../../src/wire/ip.ts';
import * as ipv4 from '../../src/wire/ipv4.ts';
import { formatFrame } from '../../src/wire/packet.ts';
import { FrameFuzzer, type Target } from './frames.ts';

const LOCAL = [IpAddress.parse('10.0.0.1'), IpAddress.parse('fd00::1')];
const REMOTE = [IpAddress.parse('10.0.0.2'), IpAddress.parse('fd00::2')];
const MAC = MacAddress.parse('02:00:00:00:00:01');
const PEER_MAC = MacAddress.parse('02:00:00:00:00:02');
const TCP_PORTS = [80, 81];
const UDP_PORTS = [53, 54];
/** Frames between two polls. */
const BATCH = 16;
/** Streams up to which the host connects to others by itself. */
const STREAMS = 12;

/** Gives what the fuzzer put in and forgets what the stack sends, but for the last frame of a kind. */
class FuzzDevice implements Device {
  readonly medium: Medium;
  readonly mtu = 1500;
  readonly offload: boolean;
  readonly memory = null;
  readonly arrived: number[] = [];
  sent = 0;
  /** Whether an echo reply was among what was sent. */
  sawReply = false;
  #memory: Memory | null = null;

  constructor(medium: Medium, offload: boolean) {
    this.medium = medium;
    this.offload = offload;
  }

  attach(memory: Memory): void {
    this.#memory = memory;
  }

  receive(): number {
    return this.arrived.shift() ?? 0;
  }

  room(): number {
    return 64;
  }

  transmit(frame: number): void {
    const memory = this.#memory!;
    this.sent++;
    if (formatFrame(memory, frameStart(memory, frame), frameEnd(memory, frame), this.medium).includes('echo reply')) {
      this.sawReply = true;
    }
    memory.free(frame);
  }

  pollAt(): number {
    return Number.POSITIVE_INFINITY;
  }

  close(): void {
    for (const frame of this.arrived.splice(0)) this.#memory!.free(frame);
  }
}

export class FuzzHost {
  readonly stack: Stack;
  readonly device: FuzzDevice;
  readonly #r: Random;
  readonly #fuzzer: FrameFuzzer;
  readonly #listeners: TcpSocket[] = [];
  readonly #streams: TcpSocket[] = [];
  readonly #datagrams: UdpSocket[] = [];
  readonly #buffer = new Uint8Array(4096);
  readonly #source = new Source();
  #now = 1;

  constructor(seed: number, medium: Medium) {
    const r = new Random(seed);
    this.#r = r;
    this.device = new FuzzDevice(medium, r.chance(0.3));
    const secrets = r.fork();
    this.stack = new Stack({ memory: 8 << 20, random: () => secrets.next(), tcp: { receiveBufferBytes: 1 << 14 } });
    const addresses = [Cidr.parse('10.0.0.1/24'), Cidr.parse('fd00::1/64')];
    this.stack.addInterface(this.device, { addresses, mac: MAC });
    for (const port of TCP_PORTS) {
      const listener = this.stack.tcpSocket();
      listener.listen({ port, backlog: 8 });
      this.#listeners.push(listener);
    }
    for (const port of UDP_PORTS) {
      const socket = this.stack.udpSocket(1 << 13);
      socket.bind({ port });
      this.#datagrams.push(socket);
    }
    this.#datagrams[1]!.connect({ address: REMOTE[0]!, port: 5000 });
    const target: Target = {
      stack: this.stack,
      medium,
      mac: MAC,
      peerMac: PEER_MAC,
      local: LOCAL,
      remote: REMOTE,
      tcpPorts: TCP_PORTS,
      udpPorts: UDP_PORTS,
    };
    this.#fuzzer = new FrameFuzzer(r.fork(), target);
  }

  /** Feeds `count` frames. */
  run(count: number): void {
    const { memory } = this.stack;
    for (let done = 0; done < count; done += BATCH) {
      for (let i = 0; i < BATCH; i++) {
        const frame = this.#fuzzer.next();
        if (frame === 0) break;
        if (this.#r.chance(0.05)) completeChecksum(memory, frame, this.device.medium);
        if (this.#r.chance(0.05))
          formatFrame(memory, frameStart(memory, frame), frameEnd(memory, frame), this.device.medium);
        this.device.arrived.push(frame);
      }
      this.#now += this.#r.chance(0.01) ? this.#r.below(100_000) : this.#r.below(10);
      this.stack.poll(this.#now);
      this.#applications();
    }
  }

  /** Applications that do anything at any time. */
  #applications(): void {
    while (this.stack.nextChanged() !== null);
    const r = this.#r;
    for (const listener of this.#listeners) {
      const socket = listener.accept();
      if (socket !== null) this.#streams.push(socket);
    }
    if (this.#streams.length < STREAMS && r.chance(0.1)) this.#connect();
    if (this.#streams.length > 0) {
      const i = r.below(this.#streams.length);
      if (this.#act(this.#streams[i]!)) this.#streams.splice(i, 1);
    }
    for (const socket of this.#datagrams) this.#ignoring(() => void socket.recv(this.#buffer, this.#source));
    if (r.chance(0.05)) this.#ignoring(() => void this.#datagrams[1]!.send(this.#buffer.subarray(0, r.below(100))));
  }

  #connect(): void {
    const socket = this.stack.tcpSocket();
    this.#ignoring(() =>
      socket.connect({ address: REMOTE[this.device.medium === 'ip' ? this.#r.below(2) : 0]!, port: 7 }),
    );
    this.#streams.push(socket);
  }

  /** One thing a user may do; true when he is done with the socket. */
  #act(socket: TcpSocket): boolean {
    const r = this.#r;
    switch (r.below(8)) {
      case 0:
      case 1:
      case 2:
        this.#ignoring(() => void socket.recv(this.#buffer, 0, 1 + r.below(4000)));
        return false;
      case 3:
      case 4:
        this.#ignoring(() => void socket.send(this.#buffer, 0, r.below(4000)));
        return false;
      case 5:
        socket.close();
        return false;
      case 6:
        if (this.#streams.length < 20 && r.chance(0.9)) return false;
        socket.release();
        return true;
      default:
        if (this.#streams.length < 20 && r.chance(0.9)) return false;
        socket.abort();
        socket.release();
        return true;
    }
  }

  /** Errors that a user is told of are no failures here; anything else is. */
  #ignoring(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof NetError)) throw error;
    }
  }

  /** Ends everything, shows that the host still answers, closes it, and checks that all memory came back. */
  finish(): void {
    const { stack } = this;
    const { memory } = stack;
    for (const listener of this.#listeners) {
      for (let socket = listener.accept(); socket !== null; socket = listener.accept()) this.#streams.push(socket);
    }
    for (const socket of this.#streams.splice(0)) {
      socket.abort();
      socket.release();
    }
    for (const socket of this.#datagrams) while (this.#drained(socket) >= 0);
    this.#toQuiet();
    assert.equal(stack.tcp.connections.count, 0, 'connections are left');
    assert.equal(stack.tcp.timeWait.count, 0, 'TIME-WAIT records are left');
    assert.equal(memory.usedBytes, 0, 'memory is held by nobody');
    this.#ping();
    assert.ok(this.device.sawReply, 'the host does not answer a ping any more');
    const client = stack.tcpSocket();
    client.connect({ address: IpAddress.parse('127.0.0.1'), port: TCP_PORTS[0]! });
    for (let i = 0; i < 5; i++) stack.poll(this.#now);
    assert.equal(client.state(), 'ESTABLISHED', 'the host does not serve any more');
    stack.close();
    assert.equal(memory.usedBytes, 0, 'memory is held after close');
  }

  #drained(socket: UdpSocket): number {
    try {
      return socket.recv(this.#buffer, this.#source);
    } catch {
      return 0; // an error told once
    }
  }

  #toQuiet(): void {
    for (let i = 0; i < 100_000; i++) {
      this.stack.poll(this.#now);
      while (this.stack.nextChanged() !== null);
      const at = this.stack.pollAt();
      if (at === Number.POSITIVE_INFINITY) return;
      this.#now = Math.max(this.#now, at);
    }
    throw new Error('the stack never comes to rest');
  }

  #ping(): void {
    const { stack, device } = this;
    const { memory } = stack;
    const frame = allocFrame(memory, 64);
    const p = frame + HEADROOM;
    icmpv4.emit(memory, p + 20, icmpv4.ECHO_REQUEST, 0, 0x00010001, 16);
    ipv4.emit(memory.dv, p, 36, 0, 1, 0, 64, PROTOCOL_ICMP, REMOTE[0]!.d, LOCAL[0]!.d);
    ethernet.emit(memory.dv, p - 14, MAC, PEER_MAC, ethernet.ETHERTYPE_IPV4);
    setFrameBounds(memory, frame, device.medium === 'ethernet' ? p - 14 : p, p + 36);
    device.sawReply = false;
    device.arrived.push(frame);
    stack.poll(this.#now);
    if (device.medium === 'ethernet') this.#answerArp();
  }

  /** The reply may wait for the neighbour, whom the fuzzer has made unknown or known wrongly: tells where it is. */
  #answerArp(): void {
    const { memory } = this.stack;
    const frame = allocFrame(memory, arp.PACKET_LENGTH);
    const p = frame + HEADROOM;
    arp.emit(memory.dv, p, arp.REPLY, PEER_MAC, REMOTE[0]!, MAC, LOCAL[0]!);
    ethernet.emit(memory.dv, p - 14, MAC, PEER_MAC, ethernet.ETHERTYPE_ARP);
    setFrameBounds(memory, frame, p - 14, p + arp.PACKET_LENGTH);
    this.device.arrived.push(frame);
    this.stack.poll(this.#now);
  }
}
