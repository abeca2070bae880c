import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { pipePair } from '../../src/phy/pipe.ts';
import { Random } from '../../src/phy/random.ts';
import { Stack } from '../../src/stack.ts';
import type { TcpSocket } from '../../src/tcp/socket.ts';
import { Cidr, IpAddress } from '../../src/wire/address.ts';

// How it is measured. `heapUsed` grows with each allocation and falls only in a collection. It is read a hundred times
// on the way and all rises are added up, so a collection hides no more than the hundredth in which it happens (a leak
// of memory that is kept would show as well as garbage does). A call of `send` or `recv` may make a view of the user's
// array: so that the account is the segments' alone, a call moves as much as there is. Before it the code runs long enough to be compiled by the
// optimizing compiler, for the interpreter boxes numbers that compiled code does not.

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

const SEGMENTS = 1_000_000;
const WARM_UP_SEGMENTS = 600_000;
const SAMPLES = 100;
/** What the compiler makes on the way counts too, and on a busy machine it is late: a run may be repeated. */
const RUNS_MAX = 4;
/** Payload of a full segment at an MTU of 1500. */
const SEGMENT_BYTES = 1448;
/** Bytes a segment: the promise of the design is that none is allocated. */
const BYTES_MAX = 1;

const chunk = new Uint8Array(1 << 22).map((_, i) => i);
const target = new Uint8Array(1 << 22);

class Pair {
  readonly stacks: [Stack, Stack];
  readonly sockets: [TcpSocket, TcpSocket];
  now = 1;
  readonly #offload: boolean;
  #moved = 0;

  constructor(medium: 'ip' | 'ethernet', offload: boolean, network: '10.0.0.' | 'fd00::' = '10.0.0.') {
    this.#offload = offload;
    const [left, right] = pipePair({ medium, offload });
    const random = new Random(1);
    const tcp = { receiveBufferBytes: chunk.length, sendBufferBytes: chunk.length };
    const make = (): Stack => new Stack({ memory: left.memory, random: () => random.next(), tcp });
    this.stacks = [make(), make()];
    this.stacks[0].addInterface(left, { addresses: [Cidr.parse(`${network}1/24`)] });
    this.stacks[1].addInterface(right, { addresses: [Cidr.parse(`${network}2/24`)] });
    const listener = this.stacks[1].tcpSocket();
    listener.listen({ port: 80 });
    const client = this.stacks[0].tcpSocket();
    client.connect({ address: IpAddress.parse(`${network}2`), port: 80 });
    for (let i = 0; i < 8; i++) this.#poll();
    this.sockets = [client, listener.accept()!];
  }

  /** Polls both until nothing moves any more at this moment. */
  #poll(): void {
    const [a, b] = this.stacks;
    for (let before = -1, now = 0; before !== now; ) {
      before = now;
      a.poll(this.now);
      while (a.nextChanged() !== null);
      b.poll(this.now);
      while (b.nextChanged() !== null);
      now = a.stats.framesIn + b.stats.framesIn;
    }
  }

  /** Segments that arrived; a super-segment counts as what it would be on a wire. */
  get segments(): number {
    const [a, b] = this.stacks;
    return this.#offload ? this.#moved / SEGMENT_BYTES : a.stats.tcpSegmentsIn + b.stats.tcpSegmentsIn;
  }

  /** Moves bulk both ways until `count` segments more have arrived. */
  run(count: number): void {
    const [client, server] = this.sockets;
    const until = this.segments + count;
    for (let turn = 0; this.segments < until; turn++) {
      while (client.send(chunk) > 0);
      if ((turn & 3) === 0) server.send(chunk, 0, 1000);
      this.#poll();
      for (let count = server.recv(target); count > 0; count = server.recv(target)) this.#moved += count;
      while (client.recv(target) > 0);
      this.#poll();
      this.now += 0.3;
    }
  }
}

/** Bytes allocated while `pair` moves `count` segments. */
function allocated(pair: Pair, count: number): number {
  gc();
  let bytes = 0;
  let last = process.memoryUsage().heapUsed;
  for (let i = 0; i < SAMPLES; i++) {
    pair.run(count / SAMPLES);
    const used = process.memoryUsage().heapUsed;
    if (used > last) bytes += used - last;
    last = used;
  }
  return bytes;
}

const ROWS = [
  { name: 'medium ip', pair: new Pair('ip', false) },
  { name: 'medium ethernet', pair: new Pair('ethernet', false) },
  { name: 'super-segments', pair: new Pair('ip', true) },
  { name: 'IPv6', pair: new Pair('ip', false, 'fd00::') },
];

// All of them first: what one row is new in would have the code of the others compiled again.
for (const { pair } of ROWS) pair.run(WARM_UP_SEGMENTS);
for (const { pair } of ROWS) pair.run(WARM_UP_SEGMENTS / 4);

for (const { name, pair } of ROWS) {
  test(`allocation: a million segments through two stacks allocate under ${BYTES_MAX} byte each: ${name}`, () => {
    let each = Number.POSITIVE_INFINITY;
    for (let run = 0; run < RUNS_MAX && each >= BYTES_MAX; run++) {
      each = Math.min(each, allocated(pair, SEGMENTS) / SEGMENTS);
    }
    assert.ok(each < BYTES_MAX, `${each.toFixed(2)} bytes a segment`);
  });
}
