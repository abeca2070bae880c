/**
 * Looks at every frame that passes an interface of the lab: makes the lines of a packet list, and sorts segments into
 * flows. @module
 */
import type { TcpStream } from '../../index.ts';
import { frameEnd, frameStart } from '../../memory/frame.ts';
import type { Memory } from '../../memory/memory.ts';
import type { Device, FrameNotes, Medium } from '../../phy/device.ts';
import { Dissection, dissect } from '../../wire/dissect.ts';
import { tcp } from '../../wire/index.ts';
import { PROTOCOL_TCP } from '../../wire/ip.ts';
import { linkTypeOf } from '../../wire/link-type.ts';
import { formatDissected } from '../../wire/packet.ts';
import { LineTools } from '../dump/line-tools.ts';
import { type End, Flow } from './flow.ts';

/** Flows told apart; the segments of later ones are only listed. */
const FLOWS_MAX = 1000;
/** Packets listed; later ones are only counted. */
export const LISTED_MAX = 20_000;

export interface ListedPacket {
  readonly atMs: number;
  /** The interface that sent it. */
  readonly from: string;
  readonly line: string;
  /** 0: none. */
  readonly flow: number;
}

export interface ObserverOptions {
  /** Whether packets are listed. */
  readonly lists: boolean;
}

export class Observer {
  readonly flows: Flow[] = [];
  readonly packets: ListedPacket[] = [];
  /** Frames sent by all interfaces. */
  frames = 0;
  readonly #lists: boolean;
  readonly #byKey = new Map<string, Flow>();
  readonly #d = new Dissection();
  readonly #segment = new tcp.Segment();
  readonly #tools = new LineTools();

  constructor({ lists }: ObserverOptions) {
    this.#lists = lists;
  }

  /** Wraps an interface. @param host - whose it is; null: a router's, where flows only pass */
  tap(name: string, host: string | null, device: Device): Device {
    return new Tap(device, (memory, frame, isOut, now) =>
      this.#see(name, host, device.medium, memory, frame, isOut, now),
    );
  }

  /** Follows the congestion window of a connection, from the side of `host`. @param now - the clock of the hosts */
  watch(stream: TcpStream, now: () => number): void {
    const key = keyOf(stream.localAddress, stream.localPort, stream.remoteAddress, stream.remotePort);
    const flow = this.#byKey.get(key);
    if (flow === undefined) return;
    const isClient = flow.client.port === stream.localPort && flow.client.address === stream.localAddress;
    const half = isClient ? flow.forward : flow.backward;
    stream.socket.trace((event) => half.traced(event, now()));
  }

  #see(
    name: string,
    host: string | null,
    medium: Medium,
    memory: Memory,
    frame: number,
    isOut: boolean,
    now: number,
  ): void {
    if (isOut) this.frames++;
    const isListed = isOut && this.#lists && this.packets.length < LISTED_MAX;
    if (host === null && !isListed) return;
    const d = this.#d;
    const end = frameEnd(memory, frame);
    dissect(memory, frameStart(memory, frame), end, end, linkTypeOf(medium), d);
    const flow = this.#flowOf(memory, d, host, isOut, now);
    if (!isListed) return;
    this.packets.push({
      atMs: now,
      from: name,
      line: formatDissected(memory, d, this.#tools),
      flow: flow?.number ?? 0,
    });
  }

  /** As texts, which are kept: of most packets they are those of the packet before. */
  #addressesOf(dv: DataView, { network, version }: Dissection): [source: string, destination: string] {
    const tools = this.#tools;
    if (version === 4) return [tools.v4(dv.getInt32(network + 12)), tools.v4(dv.getInt32(network + 16))];
    const at = (p: number): string =>
      tools.v6(dv.getInt32(p), dv.getInt32(p + 4), dv.getInt32(p + 8), dv.getInt32(p + 12));
    return [at(network + 8), at(network + 24)];
  }

  /** Finds the flow of a segment, and tells it of the segment where `host` is one of its ends. */
  #flowOf(memory: Memory, d: Dissection, host: string | null, isOut: boolean, now: number): Flow | null {
    const { dv } = memory;
    if (d.protocol !== PROTOCOL_TCP || d.problem !== null || d.fragmentOffset > 0) return null;
    if (tcp.check(memory, d.transport, d.transportEnd, -1) !== null) return null;
    const segment = this.#segment;
    tcp.parse(dv, d.transport, d.transportEnd, segment);
    const [source, destination] = this.#addressesOf(dv, d);
    const from = { address: source, port: tcp.sourcePort(dv, d.transport) };
    const to = { address: destination, port: tcp.destinationPort(dv, d.transport) };
    const key = keyOf(from.address, from.port, to.address, to.port);
    let flow = this.#byKey.get(key);
    const isOpening = (segment.flags & (tcp.SYN | tcp.ACK)) === tcp.SYN;
    const isAgain = flow !== undefined && isOpening && isOut && flow.isOver;
    if ((flow === undefined || isAgain) && isOpening && isOut && host !== null && this.flows.length < FLOWS_MAX) {
      const family = d.version === 6 ? 6 : 4;
      flow = new Flow(this.flows.length + 1, family, { ...from, host }, { ...to, host: '' }, now);
      this.flows.push(flow);
      this.#byKey.set(key, flow);
    }
    if (flow === undefined || host === null) return flow ?? null;
    const isForward = flow.client.address === from.address && flow.client.port === from.port;
    if (isOut === isForward && flow.client.host !== host) return flow;
    if (isOut !== isForward && flow.server.host === '') flow.server = { ...flow.server, host };
    flow.see(segment, isForward, isOut, dv.getUint16(d.transport + tcp.CHECKSUM_OFFSET), now);
    return flow;
  }
}

/** The same for both directions. */
function keyOf(a: string, aPort: number, b: string, bPort: number): string {
  const [one, two] = [`${a} ${aPort}`, `${b} ${bPort}`];
  return one < two ? `${one} ${two}` : `${two} ${one}`;
}

/** How a flow's end is written: `alice:80`. */
export const endText = ({ host, address, port }: End): string => `${host === '' ? address : host}:${port}`;

type Look = (memory: Memory, frame: number, isOut: boolean, now: number) => void;

/** A device that shows each frame before it passes on. */
class Tap implements Device {
  readonly medium: Medium;
  readonly mtu: number;
  readonly offload: boolean;
  readonly memory: Memory | null;
  readonly notes: FrameNotes | null;
  readonly #inner: Device;
  readonly #look: Look;
  #memory: Memory | null = null;

  constructor(inner: Device, look: Look) {
    this.medium = inner.medium;
    this.mtu = inner.mtu;
    this.offload = inner.offload;
    this.memory = inner.memory;
    this.notes = inner.notes ?? null;
    this.#inner = inner;
    this.#look = look;
  }

  attach(memory: Memory, wake: () => void): void {
    this.#memory = memory;
    this.#inner.attach(memory, wake);
  }

  receive(now: number): number {
    const frame = this.#inner.receive(now);
    if (frame !== 0) this.#look(this.#memory!, frame, false, now);
    return frame;
  }

  room(): number {
    return this.#inner.room();
  }

  transmit(frame: number, now: number): void {
    this.#look(this.#memory!, frame, true, now);
    this.#inner.transmit(frame, now);
  }

  pollAt(): number {
    return this.#inner.pollAt();
  }

  close(): void {
    this.#inner.close();
  }
}
