/** What runs in the page: each gives what came of it. */
import { createHost } from '../../src/index.ts';
import {
  Channel,
  type ChannelData,
  pipedPair,
  spawn,
  tcpConnect,
  tcpConnectBlocking,
  tcpListen,
  udpBind,
} from '../../src/netstack/index.ts';
import { pipePair } from '../../src/phy/index.ts';
import {
  channelSide,
  hostSide,
  OTHER,
  OTHER_CONFIG,
  OWN_CONFIG,
  type Setting,
  waitingCalls,
} from '../netstack/suite.ts';
import type { AppWork } from './app-role.ts';
import { type Results, runSuite } from './results.ts';
import type { StackWork } from './stack-role.ts';

/** A thread of the page, asked and answered in turn. */
class Thread {
  readonly worker: Worker;
  readonly #answers: unknown[] = [];
  #waiting: ((answer: unknown) => void) | null = null;

  private constructor(role: 'stack' | 'app', without: string | null) {
    this.worker = new Worker(`/worker.js?role=${role}${without === null ? '' : `&without=${without}`}`, {
      type: 'module',
    });
    this.worker.onmessage = ({ data }) => this.#answered(data);
    this.worker.onerror = ({ message }) => this.#answered(`the worker failed: ${message}`);
  }

  /** @param without - what it lacks; by default what the page lacks */
  static async start(role: 'stack' | 'app', without = lacks): Promise<Thread> {
    const thread = new Thread(role, without);
    const first = await thread.next();
    if (first !== 'ready') throw new Error(String(first));
    return thread;
  }

  #answered(answer: unknown): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    if (waiting === null) this.#answers.push(answer);
    else waiting(answer);
  }

  next<T>(): Promise<T> {
    if (this.#answers.length > 0) return Promise.resolve(this.#answers.shift() as T);
    return new Promise<unknown>((resolve) => {
      this.#waiting = resolve;
    }) as Promise<T>;
  }

  ask<T>(work: StackWork | AppWork, transfer: Transferable[] = []): Promise<T> {
    this.worker.postMessage(work, transfer);
    return this.next<T>();
  }
}

const lacks = new URLSearchParams(location.search).get('without');

async function stacks(shared: boolean, blocking = false, without = lacks): Promise<Thread> {
  const thread = await Thread.start('stack', without);
  await thread.ask({ kind: 'begin', shared, blocking });
  return thread;
}

const ports = (channels: readonly ChannelData[]): MessagePort[] => channels.map(({ port }) => port!);

async function shareWith(app: Thread, stack: Thread, work: Pick<AppWork, 'kind' | 'isBlocking'>): Promise<unknown> {
  const channels = await stack.ask<ChannelData[]>({ kind: 'share' });
  return app.ask({ ...work, own: channels[0], other: channels[1] }, ports(channels));
}

const check = (holds: boolean, what: string): void => {
  if (!holds) throw new Error(what);
};

async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + 8000;
  while (!(await holds())) {
    check(performance.now() < end, `still not so: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const codeOf = (call: () => unknown): string => {
  try {
    call();
    return 'none';
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
};

const rejection = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: { code?: string }) => error.code ?? String(error),
  );

/** Two hosts in the page. */
async function hosts(): Promise<Results> {
  const ends = new Map<Setting, () => Promise<number>>();
  const begin = (): Setting => {
    const [left, right] = pipePair();
    const own = createHost({ device: left, ...OWN_CONFIG });
    const other = createHost({ device: right, ...OTHER_CONFIG });
    const setting = { own: hostSide(own), other: hostSide(other), calls: waitingCalls };
    ends.set(setting, async () => {
      await Promise.all([own.close(), other.close()]);
      return own.memory.usedBytes;
    });
    return setting;
  };
  return runSuite(begin, (setting) => ends.get(setting)!());
}

/** A request and its answer, as a program would have it. */
async function http(): Promise<string> {
  const [left, right] = pipePair();
  const server = createHost({ device: left, addresses: ['10.0.0.1/24', 'fd00::1/64'] });
  const client = createHost({ device: right, addresses: ['10.0.0.2/24', 'fd00::2/64'] });
  const listener = await server.tcp.listen({ port: 80 });
  const serving = (async () => {
    const stream = await listener.accept();
    const request = new TextDecoder().decode((await stream.read())!);
    const path = /^GET (\S+) /.exec(request)![1];
    await stream.write(new TextEncoder().encode(`HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nyou asked for ${path}`));
    await stream.close();
  })();
  const stream = await client.tcp.connect({ host: 'fd00::1', port: 80 });
  await stream.write(new TextEncoder().encode('GET /page HTTP/1.1\r\nHost: server\r\n\r\n'));
  const body = await new Response(stream.readable as unknown as ReadableStream<Uint8Array<ArrayBuffer>>).text();
  await serving;
  await stream.close();
  await Promise.all([server.close(), client.close()]);
  check(client.memory.usedBytes === 0, 'memory is still held');
  return body;
}

/** A stack in the page itself, behind a channel. */
async function here(): Promise<Results> {
  const ends = new Map<Setting, () => Promise<number>>();
  const begin = (): Setting => {
    const [own, other] = pipedPair(OWN_CONFIG, OTHER_CONFIG);
    for (const driver of [own, other]) driver.run();
    const [first, second] = [own.commandChannel(), other.commandChannel()];
    const setting = { own: channelSide(first), other: channelSide(second), calls: waitingCalls };
    ends.set(setting, async () => {
      for (const driver of [own, other]) driver.close();
      return own.netstack.memory.usedBytes;
    });
    return setting;
  };
  return runSuite(begin, (setting) => ends.get(setting)!());
}

/** The stack in a worker, the application in the page. */
async function page(shared: boolean): Promise<Results> {
  const stack = await stacks(shared);
  const channels = await stack.ask<ChannelData[]>({ kind: 'share' });
  const [own, other] = channels.map((data) => Channel.from(data)) as [Channel, Channel];
  check((own.control !== null) === shared, 'the memory is not as it should be');
  const results = await runSuite(() => ({ own: channelSide(own), other: channelSide(other), calls: waitingCalls }));
  const listener = await tcpListen(own, { port: 90 });
  const codes = [
    codeOf(() => tcpConnectBlocking(own, { host: OTHER, port: 80 })),
    codeOf(() => listener.acceptBlocking()),
    codeOf(() => own.requestBlocking({ kind: 'get-stats' })),
  ];
  const refused = codes.every((code) => code === 'EOPNOTSUPP');
  results.push(['blocking the page is one clear error', refused ? null : codes.join()]);
  own.close();
  other.close();
  const held = await stack.ask<number>({ kind: 'close' });
  results.push(['memory is given back', held === 0 ? null : `${held} bytes are still held`]);
  return results;
}

/** The stack in a worker, the application in another. */
async function worker(shared: boolean, isBlocking: boolean, blockingStack = false): Promise<Results> {
  const stack = await stacks(shared, blockingStack);
  const app = await Thread.start('app');
  const results = (await shareWith(app, stack, { kind: 'suite', isBlocking })) as Results;
  check(Array.isArray(results), String(results));
  app.worker.terminate();
  const held = await stack.ask<number>({ kind: 'close' });
  results.push(['memory is given back', held === 0 ? null : `${held} bytes are still held`]);
  return results;
}

/** The stack in the page, the application in a worker. */
async function stackHere(isBlocking: boolean): Promise<Results> {
  const [own, other] = pipedPair(OWN_CONFIG, OTHER_CONFIG);
  for (const driver of [own, other]) driver.run();
  const app = await Thread.start('app');
  const channels = [own, other].map((driver) => driver.commandChannel().share().channel);
  const work = { kind: 'suite', isBlocking, own: channels[0], other: channels[1] } as const;
  const results = await app.ask<Results>(work, ports(channels));
  check(Array.isArray(results), String(results));
  app.worker.terminate();
  for (const driver of [own, other]) driver.close();
  const held = own.netstack.memory.usedBytes;
  results.push(['memory is given back', held === 0 ? null : `${held} bytes are still held`]);
  return results;
}

/** A worker that holds sockets is terminated; its channel is the stack's, or shared by the page, which is a client too. */
async function appEnds(shared: boolean, byPage = false): Promise<void> {
  const stack = await stacks(shared);
  const app = await Thread.start('app');
  let channels = await stack.ask<ChannelData[]>({ kind: 'share' });
  if (byPage) channels = channels.map((data) => Channel.from(data).share().channel);
  const work = { kind: 'hold', own: channels[0], other: channels[1] } as const;
  const said = await app.ask(work, ports(channels));
  check(said === 'holding', String(said));
  check((await stack.ask<number>({ kind: 'count' })) === 2, 'two sockets are open');
  await new Promise((resolve) => setTimeout(resolve, 300));
  check((await stack.ask<number>({ kind: 'count' })) === 2, 'a worker that lives keeps its sockets');
  app.worker.terminate();
  await until(async () => (await stack.ask<number>({ kind: 'count' })) === 0, 'its sockets are closed');
}

/** The worker of the stack is terminated: what waits in the page fails. */
async function stackEnds(shared: boolean): Promise<void> {
  const stack = await stacks(shared);
  const [own] = (await stack.ask<ChannelData[]>({ kind: 'share' })).map((data) => Channel.from(data));
  const socket = await udpBind(own!, { port: 53 });
  const receiving = rejection(socket.receive());
  await new Promise((resolve) => setTimeout(resolve, 300));
  const since = performance.now();
  stack.worker.terminate();
  check((await receiving) === 'ENETDOWN', 'the receive fails with ENETDOWN');
  check(performance.now() - since < 3000, 'it took too long');
  check((await rejection(udpBind(own!))) === 'ENETDOWN', 'and so does the next call');
}

/** The same for a worker that blocks. */
async function stackEndsUnderBlocked(): Promise<void> {
  const stack = await stacks(true);
  const app = await Thread.start('app');
  check((await shareWith(app, stack, { kind: 'block' })) === 'blocking', 'it blocks');
  stack.worker.terminate();
  const code = await app.next();
  check(code === 'ENETDOWN', `expected ENETDOWN, got ${code}`);
}

/** `spawn` in a page. */
async function spawned(): Promise<string> {
  await using stack = await spawn({ addresses: ['10.0.0.1/24'] });
  const socket = await udpBind(stack, { port: 1000 });
  await socket.send(new TextEncoder().encode('hello'), { host: '10.0.0.9', port: 80 });
  const packet = (await stack.pipe.rx.receive())!;
  return `${packet.length} bytes, IPv${packet[0]! >> 4}: ${new TextDecoder().decode(packet.subarray(28))}`;
}

/** Two channels of one stack, one in the page, one in a worker, over its rings at once. */
async function bulk(shared: boolean): Promise<number> {
  const stack = await stacks(shared);
  const [own, other] = (await stack.ask<ChannelData[]>({ kind: 'share' })).map((data) => Channel.from(data));
  const listener = await tcpListen(other!, { port: 80 });
  const stream = await tcpConnect(own!, { host: OTHER, port: 80 });
  const peer = await listener.accept();
  const bytes = 8 << 20;
  const writing = (async () => {
    const chunk = new Uint8Array(1 << 16).fill(7);
    for (let n = 0; n < bytes; n += chunk.length) await stream.write(chunk);
    await stream.end();
  })();
  let got = 0;
  for await (const chunk of peer) {
    check(
      chunk.every((byte) => byte === 7),
      'a byte is wrong',
    );
    got += chunk.length;
  }
  await writing;
  check(got === bytes, `expected ${bytes} bytes, got ${got}`);
  own!.close();
  other!.close();
  return stack.ask<number>({ kind: 'close' });
}

const tests = {
  hosts,
  http,
  here,
  page,
  worker,
  stackHere,
  appEnds,
  stackEnds,
  stackEndsUnderBlocked,
  spawned,
  bulk,
  isolated: async () => crossOriginIsolated,
};

/** Runs one of them by its name. */
export const run = (name: keyof typeof tests, args: readonly never[]): Promise<unknown> =>
  (tests[name] as (...args: never[]) => Promise<unknown>)(...args);
