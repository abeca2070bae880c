/** UDP: RFC 768, RFC 1122 §4.1, RFC 8085. Finds the sockets that datagrams and errors are for, and sends. @module */
import type { ErrorCode } from '../errors.ts';
import { deliverConfig } from '../iface/config-port.ts';
import type { Context } from '../iface/context.ts';
import { FlowTable, portsIn } from '../iface/flow-table.ts';
import type { Ip } from '../iface/ip.ts';
import type { Packet } from '../iface/packet.ts';
import type { PathMtuDiscovery } from '../iface/path-mtu.ts';
import { collide, drawPort, serves } from '../iface/ports.ts';
import type { Path } from '../iface/routes.ts';
import type { UdpTransport } from '../iface/transport.ts';
import { allocFrame, CHECKSUM_PARTIAL, HEADROOM, setFrameOffload } from '../memory/frame.ts';
import type { IpAddress } from '../wire/address.ts';
import { PROTOCOL_UDP, pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { fold } from '../wire/octets.ts';
import * as wire from '../wire/udp.ts';
import type { UdpSocket } from './socket.ts';

/** Whether the packet comes from the peer of a connected socket. */
const isFrom = ({ srcA, srcB, srcC, srcD }: Packet, ports: number, { remote, remotePort }: UdpSocket): boolean =>
  ports >>> 16 === remotePort && remote.d === srcD && remote.c === srcC && remote.b === srcB && remote.a === srcA;

export class Udp implements UdpTransport {
  readonly context: Context;
  readonly ip: Ip;
  readonly #connected: FlowTable<UdpSocket>;
  readonly #bound = new Map<number, UdpSocket[]>();
  /**
   * Told of each datagram of an any-IP interface that nobody takes; its data are `length` bytes at `p`. Whether it takes it.
   */
  interceptor: ((packet: Packet, sourcePort: number, port: number, p: number, length: number) => boolean) | null = null;

  constructor(context: Context, ip: Ip) {
    this.context = context;
    this.ip = ip;
    this.#connected = new FlowTable(context.random);
  }

  input(packet: Packet): void {
    const { memory, stats } = this.context;
    const p = packet.payload;
    const drop = wire.check(memory, p, packet.end, packet.pseudoSum, packet.version === 6);
    if (drop !== null) {
      stats.drop(drop);
      return;
    }
    stats.udpIn++;
    const ports = memory.dv.getInt32(p);
    const length = wire.length(memory.dv, p) - wire.HEADER_LENGTH;
    const data = p + wire.HEADER_LENGTH;
    if (packet.toGroup ? this.#deliverGroup(packet, ports, data, length) : this.#deliver(packet, ports, data, length)) {
      return;
    }
    if (deliverConfig(packet, ports >>> 16, ports & 0xffff, data, data + length)) return;
    const isForAny = this.interceptor !== null && packet.iface.anyIp && !packet.toGroup;
    if (isForAny && this.interceptor!(packet, ports >>> 16, ports & 0xffff, data, length)) return;
    stats.drop('udp-no-socket');
    // RFC 1122 §4.1.3.1: port unreachable; icmp makes none for what was sent to a group.
    if (packet.trusted) this.#complete(packet);
    this.ip.icmp.unreachable(packet, 'port');
  }

  /** Makes the checksum that was left to the device, so that an error quotes what a wire would show. */
  #complete(packet: Packet): void {
    const { memory } = this.context;
    const { dv } = memory;
    const p = packet.payload;
    packet.trusted = false;
    wire.emit(memory, p, wire.sourcePort(dv, p), wire.destinationPort(dv, p), wire.length(dv, p), packet.pseudoSum);
  }

  /** To the socket connected to the peer, else to that of the port with the most specific address. */
  #deliver(packet: Packet, ports: number, p: number, length: number): boolean {
    const connected = this.#connected.count === 0 ? null : this.#connected.find(packet, ports);
    if (connected !== null) {
      connected.deliver(packet, ports >>> 16, p, length);
      return true;
    }
    const sockets = this.#bound.get(ports & 0xffff);
    if (sockets === undefined) return false;
    const { destination } = packet;
    let chosen: UdpSocket | null = null;
    for (const socket of sockets) {
      if (socket.isConnected || !serves(socket, destination)) continue;
      if (chosen === null || !socket.local.isUnspecified || chosen.local.isUnspecified) chosen = socket;
    }
    // A socket for all of our addresses does not mean those that are not ours.
    if (this.interceptor !== null && chosen?.local.isUnspecified && !this.ip.isLocalAddress(destination)) return false;
    chosen?.deliver(packet, ports >>> 16, p, length);
    return chosen !== null;
  }

  /** RFC 1122 §4.1.3.1, RFC 1112 §7.1: a broadcast or a packet to a group goes to every socket that is to get it. */
  #deliverGroup(packet: Packet, ports: number, p: number, length: number): boolean {
    const sockets = this.#bound.get(ports & 0xffff) ?? [];
    const isMulticast = packet.version === 4 ? packet.dstD >>> 28 === 0xe : packet.dstA >>> 24 === 0xff;
    const { destination } = packet;
    const unzoned = destination.withZone(0);
    let any = false;
    for (const socket of sockets) {
      // Bound to a group without a zone, a socket gets it on every link.
      if (!serves(socket, destination) && !socket.local.equals(unzoned)) continue;
      if (socket.isConnected && !isFrom(packet, ports, socket)) continue;
      if (isMulticast && !socket.acceptsGroup(packet)) continue;
      socket.deliver(packet, ports >>> 16, p, length);
      any = true;
    }
    return any;
  }

  /** Takes a port for `socket`; returns it, or 0 when it is taken. */
  bind(socket: UdpSocket, address: IpAddress, wanted: number): number {
    const bound = { local: address, ipv6Only: socket.ipv6Only };
    const isTaken = (port: number): boolean =>
      (this.#bound.get(port) ?? []).some((other) => collide(other, bound) && !(other.reuse && socket.reuse));
    const port = wanted !== 0 ? wanted : drawPort(this.context.random, (candidate) => !this.#bound.has(candidate));
    if (port === 0 || isTaken(port)) return 0;
    const sockets = this.#bound.get(port) ?? [];
    sockets.push(socket);
    this.#bound.set(port, sockets);
    return port;
  }

  /** Lists `socket` under its peer; its local address is from now on `local`. */
  connect(socket: UdpSocket, local: IpAddress): ErrorCode | null {
    if (this.#connected.get(local, socket.remote, socket.portsIn) !== null) return 'EADDRINUSE';
    socket.local = local;
    socket.hash = this.#connected.hash(local, socket.remote, socket.portsIn);
    this.#connected.add(socket);
    return null;
  }

  disconnect(socket: UdpSocket): void {
    this.#connected.remove(socket);
  }

  close(socket: UdpSocket): void {
    if (socket.isConnected) this.#connected.remove(socket);
    const left = (this.#bound.get(socket.port) ?? []).filter((other) => other !== socket);
    if (left.length > 0) this.#bound.set(socket.port, left);
    else this.#bound.delete(socket.port);
  }

  /** Sends `data`; false when there is no room for it now. @param loops, discovery - see `Ip.send`   @param fits - whether it leaves in one piece */
  output(
    path: Path,
    data: Uint8Array,
    to: IpAddress,
    port: number,
    toPort: number,
    ttl: number,
    tos: number,
    loops = false,
    discovery: PathMtuDiscovery = 'dont',
    fits = true,
  ): boolean {
    const { memory, stats } = this.context;
    const { iface } = path;
    const total = wire.HEADER_LENGTH + data.length;
    if (iface.device.room() <= 0 || (!fits && this.ip.fragmenter.isBusy(iface))) return false;
    const frame = allocFrame(memory, ipv6.HEADER_LENGTH + total);
    if (frame === 0) {
      iface.refuse('no-memory', this.ip.payloadOffset(0, to) - HEADROOM + total);
      return false;
    }
    const p = this.ip.payloadOffset(frame, to);
    memory.u8.set(data, p + wire.HEADER_LENGTH);
    const pseudo = pseudoHeaderSum(path.source, to, PROTOCOL_UDP);
    // A device completes the checksums of whole datagrams only.
    if (iface.offload && fits) {
      wire.emitPartial(memory.dv, p, port, toPort, total, fold(pseudo + total));
      setFrameOffload(memory, frame, CHECKSUM_PARTIAL, 0, p);
    } else {
      wire.emit(memory, p, port, toPort, total, pseudo);
    }
    stats.udpOut++;
    this.ip.send(path, frame, total, PROTOCOL_UDP, to, ttl, tos, loops, discovery);
    return true;
  }

  /**
   * RFC 1122 §4.1.3.3: errors go to the socket they are about. A connected one fails by those that do not pass; one that
   * is not connected has to ask, since it could not tell which peer is meant.
   */
  error(local: IpAddress, remote: IpAddress, p: number, code: ErrorCode, end: number, isTransient: boolean): void {
    const { dv } = this.context.memory;
    const port = wire.sourcePort(dv, p);
    const toPort = wire.destinationPort(dv, p);
    const connected = this.#connected.get(local, remote, portsIn(port, toPort));
    const payload = p + wire.HEADER_LENGTH;
    if (connected !== null) {
      if (!isTransient) connected.fail(code);
      if (connected.receiveErrors) connected.keepError(code, remote, toPort, payload, end);
      return;
    }
    for (const socket of this.#bound.get(port) ?? []) {
      if (socket.isConnected || !socket.receiveErrors || !serves(socket, local)) continue;
      socket.keepError(code, remote, toPort, payload, end);
    }
  }

  /**
   * RFC 1122 §4.1.3.3, RFC 8201 §5.4: whoever made a datagram that was too big learns of it, as on Linux: a connected
   * socket, unless it has routers cut.
   */
  tooBig(local: IpAddress, remote: IpAddress, p: number): void {
    const { dv } = this.context.memory;
    const ports = portsIn(wire.sourcePort(dv, p), wire.destinationPort(dv, p));
    const socket = this.#connected.get(local, remote, ports);
    if (socket !== null && socket.pathMtuDiscovery !== 'dont') socket.fail('EMSGSIZE');
  }

  closeAll(): void {
    for (const socket of this.#connected.values()) socket.close();
    for (const sockets of [...this.#bound.values()]) for (const socket of [...sockets]) socket.close();
  }
}
