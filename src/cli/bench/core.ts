/** The core driven directly: bulk, round trips, datagrams, idle connections. @module */
import { Cidr, IpAddress, Source, Stack, type TcpSocket, type UdpSocket } from '../../core.ts';
import { type Medium, pipePair, Random } from '../../phy/index.ts';

const CHUNK_BYTES = 1 << 16;
const MESSAGE_BYTES = 64;
const SERVERS = { 4: IpAddress.parse('10.0.0.2'), 6: IpAddress.parse('fd00::2') };
/** Routes and neighbours of a host that has many. */
const TABLE_ENTRIES = 10_000;

/** Two stacks on a pipe, one memory, driven by hand. */
export class CorePair {
  readonly client: Stack;
  readonly server: Stack;
  readonly address: IpAddress;
  readonly #start = performance.now();

  constructor(offload: boolean, memoryBytes: number, family: 4 | 6 = 4, medium: Medium = 'ip') {
    this.address = SERVERS[family];
    const [left, right] = pipePair({ medium, mtu: 1500, offload });
    const random = new Random(1);
    const draw = (): number => random.next();
    this.client = new Stack({ memory: memoryBytes, random: draw });
    this.server = new Stack({ memory: this.client.memory, random: draw });
    // Port 80 of many addresses: more idle connections than one has ports for.
    const addresses = family === 4 ? [0, 1].map((i) => Cidr.parse(`10.0.${i}.1/16`)) : [Cidr.parse('fd00::1/64')];
    // Nobody else is on the link to probe for.
    const ipv6 = family === 6 ? { dadTransmits: 0 } : undefined;
    this.client.addInterface(left, { addresses, ipv6 });
    this.server.addInterface(right, { addresses: [new Cidr(this.address, family === 4 ? 16 : 64)], ipv6 });
  }

  /** Fills the routing tables and neighbour caches of both stacks. */
  fillTables(): void {
    for (const { ip, interfaces } of [this.client, this.server]) {
      const iface = interfaces[1]!;
      for (let i = 0; i < TABLE_ENTRIES; i++) {
        const address = new IpAddress(0x20010000 + (i >>> 8), (i & 0xff) << 24, 0, 0);
        ip.routes.add({ prefix: new Cidr(address, 32 + (i % 5) * 8), iface, gateway: null });
        iface.neighbours.get(address);
      }
    }
  }

  /** One turn of each stack; what changed is looked at by nobody. */
  poll(): void {
    const now = performance.now() - this.#start;
    this.client.poll(now);
    this.server.poll(now);
    while (this.client.nextChanged() !== null);
    while (this.server.nextChanged() !== null);
  }

  /** `count` connections to `port`, as [ours, theirs]. */
  connect(port: number, count: number): [TcpSocket, TcpSocket][] {
    const listener = this.server.tcpSocket();
    listener.listen({ port, backlog: 1024 });
    const pairs: [TcpSocket, TcpSocket][] = [];
    while (pairs.length < count) {
      const batch = Array.from({ length: Math.min(32, count - pairs.length) }, () => this.client.tcpSocket());
      for (const socket of batch) socket.connect({ address: this.address, port });
      for (let turn = 0; turn < 4; turn++) this.poll();
      for (const socket of batch) {
        const peer = listener.accept();
        if (peer === null) throw new Error('a connection was not made');
        pairs.push([socket, peer]);
      }
    }
    return pairs;
  }

  /** Ends both stacks and says whether they gave everything back. */
  close(): boolean {
    this.client.close();
    this.server.close();
    return this.client.memory.usedBytes === 0;
  }
}

/** One connection, one way, for `ms`: Gbit/s and full segments an acknowledgement. */
export function bulk(pair: CorePair, [socket, peer]: [TcpSocket, TcpSocket], ms: number): [number, number] {
  const chunk = new Uint8Array(CHUNK_BYTES).map((_, i) => i);
  const target = new Uint8Array(CHUNK_BYTES);
  const acksBefore = pair.server.stats.tcpSegmentsOut;
  const mss = socket.connection!.mss;
  const start = performance.now();
  let total = 0;
  for (let turn = 0; ; turn++) {
    while (socket.send(chunk) > 0);
    pair.poll();
    for (let n = peer.recv(target); n > 0; n = peer.recv(target)) total += n;
    if ((turn & 31) === 0 && performance.now() - start > ms) break;
  }
  const gbit = (total * 8) / ((performance.now() - start) * 1e6);
  const perAck = total / mss / (pair.server.stats.tcpSegmentsOut - acksBefore);
  // What is still under way must not stand in the way of the next measurement.
  for (; socket.sendQueue() > 0; pair.poll()) while (peer.recv(target) > 0);
  return [gbit, perAck];
}

/** Echoes of 64 bytes on one connection for `ms`: how many a second. */
export function roundTrips(pair: CorePair, [socket, peer]: [TcpSocket, TcpSocket], ms: number): number {
  const message = new Uint8Array(MESSAGE_BYTES);
  const start = performance.now();
  let count = 0;
  for (; (count & 255) !== 0 || performance.now() - start < ms; count++) {
    socket.send(message);
    pair.poll();
    peer.send(message, 0, peer.recv(message));
    pair.server.poll(0);
    pair.client.poll(0);
    if (socket.recv(message) !== MESSAGE_BYTES) throw new Error('an echo did not come back');
  }
  return (count * 1000) / (performance.now() - start);
}

/** Datagrams of 64 bytes, sent and received, for `ms`: how many a second. */
export function datagrams(pair: CorePair, ms: number): number {
  const [from, to]: [UdpSocket, UdpSocket] = [pair.client.udpSocket(), pair.server.udpSocket()];
  to.bind({ port: 53 });
  const message = new Uint8Array(MESSAGE_BYTES);
  const endpoint = { address: pair.address, port: 53 };
  const source = new Source();
  const start = performance.now();
  let count = 0;
  while (performance.now() - start < ms) {
    for (let i = 0; i < 32; i++) from.send(message, endpoint);
    pair.poll();
    while (to.recv(message, source) >= 0) count++;
  }
  from.close();
  to.close();
  return (count * 1000) / (performance.now() - start);
}
