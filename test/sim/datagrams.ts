/** Datagrams between the stacks of a simulated run, beside its connections. @module */
import { NetError } from '../../src/errors.ts';
import type { Changed } from '../../src/iface/context.ts';
import type { Stack } from '../../src/stack.ts';
import { Source } from '../../src/udp/datagram-queue.ts';
import type { UdpSocket } from '../../src/udp/socket.ts';
import { IpAddress } from '../../src/wire/address.ts';
import { addressOf } from './network.ts';
import type { DatagramPlan, Plan } from './plan.ts';

const PORT = 7000;

/** Byte `at` of datagram `number` of flow `flow`, behind a head of flow, number and two bytes of length. */
const HEAD = 4;
const patternByte = (flow: number, number: number, at: number): number => (at * 5 + number * 11 + flow * 71) & 0xff;

const scratch = new Uint8Array(65_536);
const source = new Source();

class Flow {
  readonly plan: DatagramPlan;
  sent = 0;
  nextAt: number;

  constructor(plan: DatagramPlan, startMs: number) {
    this.plan = plan;
    this.nextAt = startMs + plan.startMs;
  }
}

/** All datagrams of a run: sends those that are due, and checks those that arrive. */
export class Datagrams {
  readonly #plan: Plan;
  readonly #sockets: UdpSocket[];
  readonly #flows: Flow[];
  readonly #fail: (what: string) => void;

  constructor(plan: Plan, stacks: readonly Stack[], startMs: number, fail: (what: string) => void) {
    this.#plan = plan;
    this.#fail = fail;
    this.#flows = plan.datagrams.map((one) => new Flow(one, startMs));
    this.#sockets = plan.datagrams.length === 0 ? [] : stacks.map((stack) => stack.udpSocket(1 << 14));
    for (const socket of this.#sockets) socket.bind({ port: PORT });
  }

  get nextAt(): number {
    return this.#flows.reduce((least, { nextAt }) => Math.min(least, nextAt), Number.POSITIVE_INFINITY);
  }

  act(now: number): void {
    for (const [i, flow] of this.#flows.entries()) {
      if (now >= flow.nextAt) this.#send(i, flow, now);
    }
  }

  #send(i: number, flow: Flow, now: number): void {
    const { from, to, bytes, count, everyMs } = flow.plan;
    scratch.set([i, flow.sent, bytes >> 8, bytes & 0xff]);
    for (let at = HEAD; at < bytes; at++) scratch[at] = patternByte(i, flow.sent, at);
    const address = IpAddress.parse(addressOf(this.#plan.link.family, to));
    try {
      this.#sockets[from]!.send(scratch.subarray(0, bytes), { address, port: PORT });
    } catch (error) {
      if (!(error instanceof NetError)) throw error;
      this.#fail(`datagram ${flow.sent} of flow ${i}: ${error.code}`);
    }
    flow.sent++;
    flow.nextAt = flow.sent < count ? now + 1 + everyMs : Number.POSITIVE_INFINITY;
  }

  /** Takes what a socket has. */
  changed(socket: Changed): void {
    const end = this.#sockets.indexOf(socket as UdpSocket);
    if (end < 0) {
      this.#fail('a socket reported that nobody has');
      return;
    }
    const udp = this.#sockets[end]!;
    udp.takeEvents();
    for (let length = udp.recv(scratch, source); length >= 0; length = udp.recv(scratch, source))
      this.#check(end, length);
  }

  #check(end: number, length: number): void {
    const [i = 0, number = 0, high = 0, low = 0] = scratch;
    const flow = this.#flows[i];
    const what = `datagram ${number} of flow ${i}`;
    if (flow === undefined || flow.plan.to !== end || number >= flow.sent) this.#fail(`${what} was never sent here`);
    else if (length !== flow.plan.bytes || length !== ((high << 8) | low)) this.#fail(`${what} has ${length} bytes`);
    else if (source.address.toString() !== addressOf(this.#plan.link.family, flow.plan.from) || source.port !== PORT) {
      this.#fail(`${what} came from ${source.address}:${source.port}`);
    }
    for (let at = HEAD; at < length; at++) {
      if (scratch[at] !== patternByte(i, number, at)) this.#fail(`${what}: byte ${at} is wrong`);
    }
  }

  close(): void {
    for (const socket of this.#sockets) socket.close();
  }
}
