/** A connection of the stack in virtual time, and a socket made of memory. @module */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { type AnyIpRig, anyIpRig } from '../../test/any-ip.ts';
import type { TcpStream } from '../index.ts';
import { Limiter, type LimitSet } from './limits.ts';
import { splice } from './splice.ts';

/** What node:net has beside a Duplex; the other end is the test. */
class FakeSocket extends Duplex {
  /** Bytes that arrived there. */
  got = 0;
  wasReset = false;
  /** Set: the next write waits until it is called. */
  holds = false;
  release: (() => void) | null = null;
  /** Bytes still to come from there, endless at Infinity; then its end. */
  #left: number;

  constructor(left = 0) {
    super({ allowHalfOpen: true });
    this.#left = left;
  }

  resetAndDestroy(): this {
    this.wasReset = true;
    return this.destroy();
  }

  override _write(chunk: Uint8Array, _encoding: string, done: () => void): void {
    const take = (): void => {
      this.got += chunk.length;
      done();
    };
    if (this.holds) this.release = take;
    else take();
  }

  override _read(): void {
    const length = Math.min(16_384, this.#left);
    this.#left -= length;
    this.push(length === 0 ? null : Buffer.alloc(length, 'x'));
  }
}

interface Joined {
  readonly socket: FakeSocket;
  readonly client: TcpStream;
  readonly counts: { out: number; in: number };
  /** What ended it; undefined: it goes on. */
  result(): string | null | undefined;
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A client of the rig joined to a socket that has `left` bytes for it. */
async function join(rig: AnyIpRig, limiter: Limiter, left = 0): Promise<Joined> {
  const counts = { out: 0, in: 0 };
  const socket = new FakeSocket(left);
  let result: string | null | undefined;
  const interception = rig.proxy.tcp.intercept(async (flow) => {
    const stream = await flow.accept();
    await interception.close();
    result = await splice(stream, socket as unknown as Socket, counts, { gate: limiter.open() });
  });
  const connecting = rig.client.tcp.connect({ host: '198.51.100.1', port: 80 });
  let client: TcpStream | null = null;
  void connecting.then((stream) => {
    client = stream;
  });
  await rig.clock.run({ settle, until: () => client !== null, maxMs: 5000 });
  return { socket, client: (await connecting) as TcpStream, counts, result: () => result };
}

async function withRig(set: LimitSet, run: (rig: AnyIpRig, limiter: Limiter) => Promise<void>): Promise<void> {
  const rig = anyIpRig();
  await run(rig, new Limiter(() => rig.clock.now(), set));
  await rig.close();
}

/** Reads to the end, and counts. */
function drain(stream: TcpStream): { bytes: number; isOver: boolean } {
  const seen = { bytes: 0, isOver: false };
  void (async () => {
    for (let chunk = await stream.read(); chunk !== null; chunk = await stream.read()) seen.bytes += chunk.length;
    seen.isOver = true;
  })().catch(() => {
    seen.isOver = true;
  });
  return seen;
}

const RATE = 300_000;
const BURST = 65_536;
const BYTES = 3_000_000;

test('splice: a rate holds up a sending client: what is not read closes its window, and memory stays bounded', () =>
  withRig({ flow: { bytesPerSecond: RATE } }, async (rig, limiter) => {
    const { socket, client, result } = await join(rig, limiter);
    const began = rig.clock.now();
    let isWritten = false;
    void client.write(new Uint8Array(BYTES)).then(async () => {
      isWritten = true;
      await client.end();
    });
    await rig.clock.run({ settle, maxMs: 3000 });
    const most = BURST + (RATE * (rig.clock.now() - began)) / 1000;
    assert.ok(socket.got <= most && socket.got > most - 5000, `${socket.got} of ${most} after 3 s`);
    assert.equal(isWritten, false, 'the writer waits');
    assert.ok(rig.proxy.memory.usedBytes < 2 << 20, `${rig.proxy.memory.usedBytes} bytes`);
    await rig.clock.run({ settle, until: () => socket.writableFinished, maxMs: 60_000 });
    const seconds = (rig.clock.now() - began) / 1000;
    assert.equal(socket.got, BYTES);
    assert.ok(Math.abs(seconds - (BYTES - BURST) / RATE) < 0.2, `${seconds} s`);
    await rig.clock.run({ settle, until: () => result() !== undefined, maxMs: 5000 });
    assert.equal(result(), null, 'both halves have ended');
  }));

test('splice: a rate holds up what the machine sends: its socket is not read meanwhile', () =>
  withRig({ flow: { bytesPerSecond: RATE } }, async (rig, limiter) => {
    const { socket, client, counts, result } = await join(rig, limiter, BYTES);
    const began = rig.clock.now();
    const seen = drain(client);
    await rig.clock.run({ settle, maxMs: 3000 });
    const most = BURST + RATE * 3 + 16_384;
    assert.ok(seen.bytes <= most && seen.bytes > most - 60_000, `${seen.bytes} after 3 s`);
    assert.ok(socket.isPaused());
    await client.end();
    await rig.clock.run({ settle, until: () => seen.isOver, maxMs: 60_000 });
    const seconds = (rig.clock.now() - began) / 1000;
    assert.deepEqual([seen.bytes, counts.in], [BYTES, BYTES]);
    assert.ok(Math.abs(seconds - (BYTES - BURST) / RATE) < 0.3, `${seconds} s`);
    await rig.clock.run({ settle, until: () => result() !== undefined, maxMs: 5000 });
    assert.equal(result(), null);
  }));

test('splice: two flows under the rate of all get what one would get, and neither goes without', () =>
  withRig({ all: { bytesPerSecond: RATE } }, async (rig, limiter) => {
    const both = [await join(rig, limiter), await join(rig, limiter)];
    for (const { client } of both) void client.write(new Uint8Array(BYTES)).catch(() => {});
    await rig.clock.run({ settle, maxMs: 5000 });
    const [one, two] = both.map(({ socket }) => socket.got);
    const most = BURST + RATE * 5;
    assert.ok(one! + two! <= most + RATE * 0.1 && one! + two! > most * 0.9, `${one} and ${two}`);
    assert.ok(Math.min(one!, two!) > most / 10, `${one} and ${two}`);
    for (const { client } of both) client.abort();
    await rig.clock.run({ settle, until: () => both.every(({ result }) => result() !== undefined), maxMs: 5000 });
    assert.deepEqual(
      both.map(({ result, socket }) => [result(), socket.wasReset]),
      [
        ['ECONNRESET', true],
        ['ECONNRESET', true],
      ],
    );
  }));

test('splice: over its bytes a flow is reset both ways, and not one more goes through', () =>
  withRig({ flow: { bytes: 50_000 } }, async (rig, limiter) => {
    const { socket, client, counts, result } = await join(rig, limiter);
    let code = '';
    client.write(new Uint8Array(2_000_000)).catch((error: { code: string }) => {
      code = error.code;
    });
    await rig.clock.run({ settle, until: () => code !== '', maxMs: 5000 });
    assert.deepEqual([code, result(), socket.wasReset], ['ECONNRESET', 'EDQUOT', true]);
    assert.ok(socket.got <= 50_000 && socket.got === counts.out, `${socket.got} bytes`);
    client.abort();
  }));

test('splice: what the machine has not taken yet is not lost where both halves have ended', () =>
  withRig({}, async (rig, limiter) => {
    const { socket, client, result } = await join(rig, limiter);
    socket.holds = true;
    await client.write(new Uint8Array(5000));
    await client.end();
    const seen = drain(client);
    await rig.clock.run({ settle, until: () => seen.isOver && socket.release !== null, maxMs: 5000 });
    await rig.clock.run({ settle, maxMs: 100 });
    assert.equal(socket.destroyed, false, 'it waits');
    assert.equal(result(), undefined);
    socket.holds = false;
    socket.release!();
    await rig.clock.run({ settle, until: () => result() !== undefined, maxMs: 1000 });
    assert.deepEqual([result(), socket.got, socket.wasReset], [null, 5000, false]);
  }));
