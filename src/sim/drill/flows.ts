/** Which connection a packet is of: the socket under test, or one that the script tells apart by ports. @module */
import type { SockAddr } from '../../posix/index.ts';
import type { Ports, ScriptPacket } from './ast.ts';
import { Flow } from './flow.ts';
import type { DrillOptions } from './options.ts';
import { type Address, type Decoded, SYN } from './wire.ts';

/** First port of peers that connect to us. */
const EPHEMERAL_FIRST = 50_000;

export class Flows {
  readonly #options: DrillOptions;
  readonly #local: Address;
  readonly #remote: Address;
  readonly #all: Flow[] = []; // newest first
  readonly #boundPorts = new Map<number, number>();
  readonly #datagrams = new Set<number>();
  #underTest: Flow | null = null;
  #nextPort = EPHEMERAL_FIRST;
  /** The descriptor whose TCP_INFO is asked for; -1: none yet. */
  fd = -1;

  constructor(options: DrillOptions, local: Address, remote: Address) {
    this.#options = options;
    this.#local = local;
    this.#remote = remote;
  }

  opened(fd: number, isStream: boolean): void {
    if (isStream) this.fd = fd;
    else this.#datagrams.add(fd);
  }

  bound(fd: number, port: number): void {
    this.#boundPorts.set(fd, port);
  }

  /** The next packet of a peer opens a connection of its own. */
  listening(): void {
    this.#underTest = null;
  }

  connecting(fd: number, address: SockAddr): void {
    const protocol = this.#datagrams.has(fd) ? 'udp' : 'tcp';
    // Asked again whether the connection is there, or for the next datagram.
    const known = this.#all.find((flow) => flow.fd === fd && flow.remotePort === address.port);
    if (known !== undefined) return;
    this.#add(new Flow(this.#ends(protocol, this.#boundPorts.get(fd) ?? 0, address.port), null, fd));
  }

  accepted(fd: number, address: SockAddr): void {
    this.fd = fd;
    const flow = this.#all.find((other) => other.remotePort === address.port && other.protocol === 'tcp');
    if (flow === undefined) return;
    flow.fd = fd;
    this.#underTest = flow;
  }

  closing(fd: number): void {
    this.#boundPorts.delete(fd);
    this.#datagrams.delete(fd);
    for (const flow of this.#all) if (flow.fd === fd) flow.fd = -1;
  }

  /** The flow of an injected packet; a new one where it opens one. ICMP is about the socket under test, if there is one. */
  forInjected(packet: ScriptPacket): Flow | null {
    const { body, ports } = packet;
    const named = ports === null ? null : this.#named({ source: ports.destination, destination: ports.source });
    if (named !== null) return named;
    if (body.kind === 'icmp') return this.#underTest;
    const isFor = this.#underTest?.protocol === body.kind && ports === null;
    if (isFor) return this.#withPort(this.#underTest!);
    const remotePort = ports?.source ?? this.#nextPort++;
    const flow = new Flow(
      this.#ends(body.kind, ports?.destination ?? this.#options.bindPort, remotePort),
      ports === null ? null : { source: ports.destination, destination: ports.source },
      -1,
    );
    return this.#add(flow);
  }

  /** A datagram socket that has sent nothing yet: the port it was bound to. */
  #withPort(flow: Flow): Flow {
    if (flow.localPort === 0) flow.localPort = this.#options.bindPort;
    return flow;
  }

  /** The flow an expected packet should be of; null: any. */
  forExpected(packet: ScriptPacket): Flow | null {
    if (packet.ports !== null) return this.#named(packet.ports);
    return packet.body.kind === 'icmp' || this.#underTest?.protocol !== packet.body.kind ? null : this.#underTest;
  }

  /** The flow of a packet of the stack; one that opens a connection, or is a first datagram, is given its port. */
  forSent(packet: Decoded): Flow | null {
    const protocol = packet.tcp === null ? 'udp' : 'tcp';
    const header = packet.tcp ?? packet.udp;
    if (header === null) return null;
    const { sourcePort, destinationPort } = header;
    const { destination } = packet.ip;
    const flow = this.#all.find((other) => other.owns(protocol, sourcePort, destinationPort, destination));
    if (flow === undefined) return null;
    const isOpening = packet.tcp === null || (packet.tcp.flags & SYN) !== 0;
    if (flow.localPort === 0 && !isOpening) return null;
    flow.localPort = sourcePort;
    return flow;
  }

  #named(ports: Ports): Flow | null {
    const isSame = (flow: Flow): boolean =>
      flow.scriptPorts?.source === ports.source && flow.scriptPorts.destination === ports.destination;
    return this.#all.find(isSame) ?? null;
  }

  #ends(protocol: 'tcp' | 'udp', localPort: number, remotePort: number) {
    return { protocol, local: this.#local, remote: this.#remote, localPort, remotePort };
  }

  #add(flow: Flow): Flow {
    this.#all.unshift(flow);
    this.#underTest = flow;
    return flow;
  }
}
