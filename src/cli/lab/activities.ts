/** What hosts of a declared lab do, and what they serve. @module */
import { type Host, NetError, type TcpStream } from '../../index.ts';
import { discard, echo, type Service } from '../services.ts';
import type { ActivityDeclaration, HostDeclaration, ServiceName } from './declaration.ts';
import { answerHttp, ECHO_PORT, HTTP_PORT, writeBytes } from './greet.ts';
import type { Network } from './network.ts';
import { inBitsPerSecond, inBytes, inTime } from './text.ts';
import { pass } from './virtual.ts';

const DISCARD_PORT = 9;
const PING_COUNT = 4;
const PING_INTERVAL_MS = 1000;
const ECHO_COUNT = 10;
const ECHO_BYTES = 64;
/** How long an echo is waited for. */
const ECHO_MS = 1000;
const HEAD_BYTES_MAX = 8192;

/** What came of an activity. */
export interface Outcome {
  readonly ok: boolean;
  /** For people, a line. */
  readonly text: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** What an activity has at hand. */
export interface Stage {
  readonly network: Network;
  readonly name: string;
  readonly host: Host;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Has a connection followed. */
  watch(stream: TcpStream): void;
}

const SERVICES: Readonly<Record<ServiceName, Service>> = {
  echo: { name: 'echo', port: ECHO_PORT, tcp: echo, udp: (data) => data },
  discard: { name: 'discard', port: DISCARD_PORT, tcp: discard, udp: () => null },
  http: { name: 'http', port: HTTP_PORT, tcp: answerHttp },
};

/** The services of a host, whose connections are followed. */
export const servicesOf = ({ serve = [] }: HostDeclaration, watch: (stream: TcpStream) => void): Service[] =>
  serve.map((name) => {
    const service = SERVICES[name];
    return {
      ...service,
      tcp: (stream) => {
        watch(stream);
        return service.tcp!(stream);
      },
    };
  });

/** `ping server`, `send 4 MiB to server over IPv6`. */
export function describe(activity: ActivityDeclaration): string {
  const over = activity.family === undefined ? '' : ` over IPv${activity.family}`;
  switch (activity.do) {
    case 'ping':
      return `ping ${activity.to}${over}`;
    case 'resolve':
      return `resolve ${activity.name}${over}`;
    case 'get':
      return `get ${activity.bytes === undefined ? 'a page' : inBytes(activity.bytes)} from ${activity.from}${over}`;
    case 'send':
      return `send ${inBytes(activity.bytes)} to ${activity.to}${over}`;
    case 'echo':
      return `UDP echo with ${activity.to}${over}`;
  }
}

/** Does it. What the network does to it is an outcome; anything else is thrown. */
export async function perform(stage: Stage, activity: ActivityDeclaration): Promise<Outcome> {
  try {
    switch (activity.do) {
      case 'ping':
        return await pingPeer(stage, activity);
      case 'resolve':
        return await resolveName(stage, activity);
      case 'get':
        return await getFrom(stage, activity);
      case 'send':
        return await sendTo(stage, activity);
      case 'echo':
        return await echoWith(stage, activity);
    }
  } catch (error) {
    if (stage.signal.aborted) return { ok: false, text: 'not done in time', details: { error: 'ETIMEDOUT' } };
    if (!(error instanceof NetError)) throw error;
    return { ok: false, text: error.message, details: { error: error.code } };
  }
}

type Of<Kind> = Extract<ActivityDeclaration, { readonly do: Kind }>;

/** The address of a peer: of a host as it stands on its interface, IPv6 first where both have it; of others by DNS. */
async function addressOf({ network, name, host, signal }: Stage, peer: string, family?: 4 | 6): Promise<string> {
  if (!network.hosts.has(peer)) {
    if (peer.includes(':') || /^[\d.]+$/.test(peer)) return peer;
    const [first] = await host.resolve(peer, { signal, ...(family === undefined ? {} : { family }) });
    return first!;
  }
  const has = (one: string, wanted: 4 | 6): boolean => network.familiesOf(one).includes(wanted);
  const shared = ([6, 4] as const).find((one) => has(name, one) && has(peer, one));
  const wanted = family ?? shared;
  if (wanted === undefined || !has(peer, wanted)) throw new NetError('EHOSTUNREACH', 'connect', { address: peer });
  return network.addressOf(peer, wanted);
}

async function pingPeer(stage: Stage, { to, count = PING_COUNT, intervalMs, family }: Of<'ping'>): Promise<Outcome> {
  const { host, network, signal } = stage;
  const address = await addressOf(stage, to, family);
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const startedAt = network.clock.now();
    const interval = intervalMs ?? PING_INTERVAL_MS;
    const reply = await host.ping(address, { sequence: i + 1, timeout: interval, signal }).catch(ignoreNetError);
    if (reply !== null) times.push(reply.timeMs);
    signal.throwIfAborted();
    const left = startedAt + interval - network.clock.now();
    if (i < count - 1 && left > 0) await pass(network.clock, left);
  }
  const [least, most] = [Math.min(...times), Math.max(...times)];
  const mean = times.reduce((total, time) => total + time, 0) / times.length;
  const text = times.length === 0 ? '' : `, ${inTime(least)} / ${inTime(mean)} / ${inTime(most)}`;
  return {
    ok: times.length > 0,
    text: `${times.length} of ${count} came back${text}`,
    details: { address, sent: count, received: times.length, timesMs: times },
  };
}

function ignoreNetError(error: unknown): null {
  if (!(error instanceof NetError)) throw error;
  return null;
}

async function resolveName({ host, network, signal }: Stage, { name, family }: Of<'resolve'>): Promise<Outcome> {
  const startedAt = network.clock.now();
  const found = await host.resolve(name, { signal, ...(family === undefined ? {} : { family }) });
  const ms = network.clock.now() - startedAt;
  return { ok: true, text: `${found.join(', ')} after ${inTime(ms)}`, details: { addresses: found, ms } };
}

async function sendTo(stage: Stage, { to, bytes, family }: Of<'send'>): Promise<Outcome> {
  const { network } = stage;
  const startedAt = network.clock.now();
  const stream = await open(stage, await addressOf(stage, to, family), DISCARD_PORT);
  await writeBytes(stream, bytes);
  await stream.end();
  while ((await stream.read()) !== null); // the peer has read everything, and closes
  await stream.close();
  return moved(bytes, network.clock.now() - startedAt);
}

const moved = (bytes: number, ms: number): Outcome => {
  const bitsPerSecond = ms === 0 ? 0 : (bytes * 8000) / ms;
  return {
    ok: true,
    text: `${inBytes(bytes)} in ${inTime(ms)}, ${inBitsPerSecond(bitsPerSecond)}`,
    details: { bytes, ms, bitsPerSecond },
  };
};

async function open({ host, signal, watch }: Stage, address: string, port: number): Promise<TcpStream> {
  const stream = await host.tcp.connect({ host: address, port, signal });
  watch(stream);
  signal.addEventListener('abort', () => stream.abort(), { once: true });
  return stream;
}

async function getFrom(stage: Stage, { from, bytes, family }: Of<'get'>): Promise<Outcome> {
  const { network } = stage;
  const startedAt = network.clock.now();
  const stream = await open(stage, await addressOf(stage, from, family), HTTP_PORT);
  const path = bytes === undefined ? '/' : `/bytes/${bytes}`;
  const request = `GET ${path} HTTP/1.1\r\nHost: ${from}\r\nConnection: close\r\n\r\n`;
  await stream.write(new TextEncoder().encode(request));
  let head = '';
  let received = 0;
  for (let chunk = await stream.read(); chunk !== null; chunk = await stream.read()) {
    received += chunk.length;
    if (head.length < HEAD_BYTES_MAX && !head.includes('\r\n\r\n')) head += new TextDecoder().decode(chunk);
  }
  await stream.close();
  const status = head.slice(0, head.indexOf('\r\n'));
  const headBytes = head.indexOf('\r\n\r\n') + 4;
  const length = Number(/^content-length: (\d+)\r$/im.exec(head)?.[1]);
  const body = received - headBytes;
  const isWhole = status === 'HTTP/1.1 200 OK' && body === length;
  const outcome = moved(body, network.clock.now() - startedAt);
  return {
    ...outcome,
    ok: isWhole,
    details: { status, ...outcome.details },
    ...(isWhole ? {} : { text: status || 'no answer' }),
  };
}

async function echoWith(
  stage: Stage,
  { to, count = ECHO_COUNT, bytes = ECHO_BYTES, family }: Of<'echo'>,
): Promise<Outcome> {
  const { host, network, signal } = stage;
  const { clock } = network;
  const address = await addressOf(stage, to, family);
  const socket = await host.udp.bind();
  const times: number[] = [];
  try {
    for (let i = 0; i < count; i++) {
      signal.throwIfAborted();
      const startedAt = clock.now();
      const late = new AbortController();
      const timer = clock.setTimer(startedAt + ECHO_MS, () => late.abort(new NetError('ETIMEDOUT', 'receive')));
      await socket.send(new Uint8Array(bytes).fill(i), { host: address, port: ECHO_PORT });
      const answer = await socket.receive({ signal: late.signal }).catch(ignoreNetError);
      clock.clearTimer(timer);
      if (answer?.data.length === bytes) times.push(clock.now() - startedAt);
    }
  } finally {
    await socket.close();
  }
  const mean = times.reduce((total, time) => total + time, 0) / times.length;
  const text = times.length === 0 ? '' : `, ${inTime(mean)} there and back`;
  return {
    ok: times.length > 0,
    text: `${times.length} of ${count} came back${text}`,
    details: { address, sent: count, received: times.length, timesMs: times },
  };
}
