import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Memory } from '../../src/memory/memory.ts';
import { Random } from '../../src/phy/random.ts';
import { Link } from '../../src/sim/link.ts';
import { Simulation } from '../../src/sim/simulation.ts';
import { Stack } from '../../src/stack.ts';
import { CONNECTED, READABLE } from '../../src/tcp/events.ts';
import type { TcpSocket } from '../../src/tcp/socket.ts';
import { Cidr, IpAddress } from '../../src/wire/address.ts';
import { pseudoHeaderSum } from '../../src/wire/ip.ts';
import * as ipv4 from '../../src/wire/ipv4.ts';
import { fold } from '../../src/wire/octets.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

const SYNS = 100_000;
const SECONDS = 20;
const RTT_MS = 20;
/** RFC 6298 (2.1): the first timeout of the client's SYN. */
const RETRANSMISSION_MS = 1000;
/** RFC 6298 §5: five retransmissions of a SYN-ACK, doubling from 1 s, and the wait after the last. */
const HALF_OPEN_MS = 64_000;
const PORT = 80;
const SERVER = IpAddress.parse('10.0.0.1');
const CLIENT = IpAddress.parse('10.0.0.2');
const PACKET_LENGTH = 40;

/** A SYN of nobody: 20 bytes of IP and 20 of TCP. */
function spoofedSyn(random: Random): Uint8Array {
  const bytes = new Uint8Array(PACKET_LENGTH);
  const dv = new DataView(bytes.buffer);
  const source = IpAddress.v4(0x0a01_0000 + random.below(0xfe_0000));
  ipv4.emit(dv, 0, PACKET_LENGTH, 0, random.below(65_536), ipv4.DONT_FRAGMENT, 64, 6, source.d, SERVER.d);
  dv.setUint16(20, 1024 + random.below(60_000));
  dv.setUint16(22, PORT);
  dv.setUint32(24, random.next());
  dv.setUint16(32, (5 << 12) | 2);
  dv.setUint16(34, 65_535);
  let sum = pseudoHeaderSum(source, SERVER, 6) + 20;
  for (let at = 20; at < PACKET_LENGTH; at += 2) sum += dv.getUint16(at);
  dv.setUint16(36, ~fold(sum));
  return bytes;
}

interface Flood {
  readonly simulation: Simulation;
  readonly server: Stack;
  readonly client: Stack;
  readonly link: Link;
  readonly listener: TcpSocket;
  readonly socket: TcpSocket;
  readonly connectedAt: () => number;
  readonly received: () => number;
}

function flood(): Flood {
  const random = new Random(11);
  const link = new Link({ memory: new Memory({ bytes: 16 << 20 }), delayMs: RTT_MS / 2 });
  const stack = (seed: Random): Stack => new Stack({ memory: 8 << 20, random: () => seed.next() });
  const server = stack(random.fork());
  const client = stack(random.fork());
  server.addInterface(link.right, { addresses: [new Cidr(SERVER, 8)] });
  client.addInterface(link.left, { addresses: [new Cidr(CLIENT, 8)] });
  const listener = server.tcpSocket();
  listener.listen({ port: PORT });
  const socket = client.tcpSocket();
  let connectedAt = Number.NaN;
  let received = 0;
  const scratch = new Uint8Array(4096);
  const simulation = new Simulation({
    stacks: [client, server],
    onChanged: (changed) => {
      const one = changed as TcpSocket;
      const events = one.takeEvents();
      if (one === socket && (events & CONNECTED) !== 0) connectedAt = simulation.now;
      else if (one === listener) received += listener.accept()?.recv(scratch) ?? 0;
      else if ((events & READABLE) !== 0) received += one.recv(scratch);
    },
  });
  const attack = (i: number): void => {
    link.right.inject(spoofedSyn(random), simulation.now);
    if (i + 1 < SYNS) simulation.clock.setTimer(1 + ((i + 1) * SECONDS * 1000) / SYNS, () => attack(i + 1));
  };
  attack(0);
  return {
    simulation,
    server,
    client,
    link,
    listener,
    socket,
    connectedAt: () => connectedAt,
    received: () => received,
  };
}

test(`flood: ${SYNS} SYNs of nobody, and an honest client is served within one retransmission`, () => {
  const run = flood();
  const { simulation, server, socket } = run;
  const startMs = (SECONDS * 1000) / 2;
  simulation.run(startMs);
  assert.ok(server.stats.tcpSegmentsIn >= (SYNS / 2) * 0.99, 'the flood is under way');
  socket.connect({ address: SERVER, port: PORT });
  socket.send(new Uint8Array(3000));
  simulation.run(SECONDS * 1000);
  const tookMs = run.connectedAt() - startMs;
  assert.ok(tookMs <= RETRANSMISSION_MS + 2 * RTT_MS, `connected after ${tookMs} ms`);
  assert.equal(run.received(), 3000);
  server.close();
  run.client.close();
});

test('flood: the memory stays where it was', () => {
  const run = flood();
  const { simulation, server, socket } = run;
  socket.connect({ address: SERVER, port: PORT });
  simulation.run(100);
  gc();
  const heapBefore = process.memoryUsage().heapUsed;
  const usedBefore = server.memory.usedBytes;
  let peak = 0;
  let connections = 0;
  simulation.run(SECONDS * 1000 + RTT_MS, () => {
    peak = Math.max(peak, server.memory.usedBytes);
    connections = Math.max(connections, server.tcp.connections.count);
    return false;
  });
  assert.equal(server.memory.usedBytes, usedBefore);
  assert.ok(peak <= usedBefore + (64 << 10), `${peak} bytes of memory in use`);
  // What a SYN queue may hold, and the honest client.
  assert.ok(connections <= 1024, `${connections} connections`);
  // Nobody answers the last half-open ones: they go in their time.
  simulation.run(SECONDS * 1000 + HALF_OPEN_MS);
  assert.equal(server.tcp.connections.count, 1, 'half-open connections are left');
  gc();
  const heapGrowth = process.memoryUsage().heapUsed - heapBefore;
  assert.ok(heapGrowth < 2 << 20, `the heap grew by ${heapGrowth} bytes`);
  server.close();
  run.client.close();
  assert.deepEqual([server.memory.usedBytes, run.client.memory.usedBytes], [0, 0]);
  run.link.close();
  assert.equal(run.link.memory.usedBytes, 0);
});
