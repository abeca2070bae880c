/** Three small phases on one network: everybody pings everybody, HTTP exchanges, and UDP echo. @module */
import type { Host, TcpListener, TcpStream, UdpSocket } from '../../index.ts';
import { Random } from '../../sim/index.ts';
import { CLIENTS, FAR_NAME, FAR_SERVER, SERVER } from './default-network.ts';
import type { Network } from './network.ts';
import { inTime } from './text.ts';

export const HTTP_PORT = 80;
export const ECHO_PORT = 7;
/** Bytes of an HTTP head, at most; a longer one is a failure. */
const HEAD_BYTES_MAX = 8192;
/** UDP payloads sent: none, one byte, and up to what an Ethernet frame holds in either family. */
const DATAGRAM_BYTES = [0, 1, 2, 17, 64, 255, 256, 512, 1000, 1024, 1399, 1400, 1451, 1452];
const ANSWER_MS = 2000;
const FILLER = new Uint8Array(1 << 16).fill(0x2e);
const FAMILIES = [4, 6] as const;

export interface PingDetails {
  readonly replies: { from: string; to: string; family: 4 | 6; ttl: number; firstMs: number; timeMs: number }[];
  readonly firstMs: number;
  readonly timeMs: number;
}

/** Everybody pings everybody by name, twice: the first echo waits for the neighbour, unless that one has asked before. */
export async function pingEveryone(network: Network) {
  const replies: PingDetails['replies'] = [];
  const names = [...CLIENTS, SERVER];
  for (const from of names) {
    for (const to of names) {
      if (from !== to) for (const family of FAMILIES) replies.push(await pingTwice(network, from, to, family));
    }
  }
  const firstMs = median(replies.map((reply) => reply.firstMs));
  const timeMs = median(replies.map((reply) => reply.timeMs));
  const ttls = [...new Set(replies.map((reply) => reply.ttl))].sort((a, b) => b - a);
  const details: PingDetails = { replies, firstMs, timeMs };
  return {
    ok: true,
    did: ['everybody pings everybody,', 'ARP and ND first'],
    saw: [`${replies.length} pairs answer, TTL ${ttls.join(', ')}`, `first ${inTime(firstMs)}, then ${inTime(timeMs)}`],
    details,
  };
}

async function pingTwice(network: Network, from: string, to: string, family: 4 | 6) {
  const host = network.host(from);
  const [address] = await host.resolve(to, { family });
  const first = await host.ping(address!, { sequence: 1, timeout: ANSWER_MS });
  const { ttl, timeMs } = await host.ping(address!, { sequence: 2, timeout: ANSWER_MS });
  return { from, to, family, ttl, firstMs: first.timeMs, timeMs };
}

function median(values: number[]): number {
  const sorted = values.sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

export interface HttpDetails {
  /** Of the first request. */
  readonly status: string;
  readonly body: string;
  /** Bytes of all answers. */
  readonly bytes: number;
  /** Who was asked, and as whom the page greets. */
  readonly requests: readonly { readonly host: string; readonly address: string; readonly status: string }[];
}

interface Page {
  readonly status: string;
  readonly body: string;
  readonly bytes: number;
  readonly isWhole: boolean;
}

/** `alice` gets a page from a small HTTP server in either family, and one from the internet by name. */
export async function httpExchange(network: Network) {
  const servers = [network.host(SERVER), network.host(FAR_SERVER)];
  const listeners = await Promise.all(servers.map((host) => host.tcp.listen({ port: HTTP_PORT })));
  const serving = listeners.map(serveHttp);
  const alice = network.host('alice');
  const pages: (Page & { host: string; address: string })[] = [];
  try {
    for (const family of FAMILIES) {
      const [address] = await alice.resolve(SERVER, { family });
      pages.push({ ...(await getPage(alice, address!)), host: SERVER, address: address! });
    }
    const far = await getPage(alice, FAR_NAME);
    pages.push({ ...far, host: FAR_NAME, address: FAR_NAME });
  } finally {
    await Promise.all(listeners.map((listener) => listener.close()));
    await Promise.all(serving);
  }
  const isRight = (page: Page): boolean => page.isWhole && page.status === 'HTTP/1.1 200 OK';
  const details: HttpDetails = {
    status: pages[0]!.status,
    body: pages[0]!.body,
    bytes: pages.reduce((total, { bytes }) => total + bytes, 0),
    requests: pages.map(({ host, address, status }) => ({ host, address, status })),
  };
  return {
    ok: pages.every(isRight),
    did: ['alice: GET / from server,', `and from ${FAR_NAME}`],
    saw: [`${pages.filter(isRight).length} of ${pages.length}: ${details.status}`, greetingOf(pages[1]!)],
    details,
  };
}

const greetingOf = ({ body }: Page): string => body.split('\n')[0]!;

async function getPage(from: Host, host: string): Promise<Page> {
  const stream = await from.tcp.connect({ host, port: HTTP_PORT, timeout: ANSWER_MS });
  const name = host.includes(':') ? `[${host}]` : host;
  await stream.write(bytesOf(`GET / HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`));
  let answer = '';
  for await (const chunk of stream) answer += textOf(chunk);
  await stream.close();
  const headEnd = answer.indexOf('\r\n\r\n');
  const status = answer.slice(0, answer.indexOf('\r\n'));
  const body = answer.slice(headEnd + 4);
  const length = Number(/^content-length: (\d+)\r$/im.exec(answer.slice(0, headEnd + 1))?.[1]);
  return { status, body, bytes: answer.length, isWhole: body.length === length };
}

/** Answers one request a connection, until the listener is closed. */
export async function serveHttp(listener: TcpListener): Promise<void> {
  for await (const stream of listener) {
    // A client that goes away, or sends nonsense, ends its own connection and no more.
    answerHttp(stream).catch(() => stream.abort());
  }
}

/** Answers one request, for a greeting or for `/bytes/N`, and ends. */
export async function answerHttp(stream: TcpStream): Promise<void> {
  let head = '';
  while (!head.includes('\r\n\r\n')) {
    const chunk = await stream.read();
    if (chunk === null || head.length > HEAD_BYTES_MAX) return stream.abort();
    head += textOf(chunk);
  }
  const isGet = /^GET \/\S* HTTP\/1\.[01]\r\n/.test(head);
  const count = /^GET \/bytes\/(\d{1,11}) /.exec(head)?.[1];
  const body = isGet ? `Hello ${stream.remoteAddress}\nThis page came over ethertype.\n` : 'GET only\n';
  const status = isGet ? '200 OK' : '405 Method Not Allowed';
  const length = count === undefined ? body.length : Number(count);
  const fields = `Content-Type: text/plain\r\nContent-Length: ${length}\r\nConnection: close\r\n`;
  await stream.write(bytesOf(`HTTP/1.1 ${status}\r\n${fields}\r\n${count === undefined ? body : ''}`));
  if (count !== undefined) await writeBytes(stream, length);
  await stream.end();
  while ((await stream.read()) !== null); // until the client has closed too
  await stream.close();
}

/** Writes so many bytes that nobody compares. */
export async function writeBytes(stream: TcpStream, count: number): Promise<void> {
  for (let left = count; left > 0; left -= FILLER.length) {
    await stream.write(left < FILLER.length ? FILLER.subarray(0, left) : FILLER);
  }
}

export interface EchoDetails {
  readonly datagrams: number;
  readonly alike: number;
  readonly bytes: number;
  readonly timeMs: number;
}

/** `bob`, over IPv4, and `carol`, over IPv6, send datagrams of many sizes, and compare what comes back. */
export async function udpEcho(network: Network, seed: number) {
  await using service = await network.host(SERVER).udp.bind({ port: ECHO_PORT });
  const echoing = echoUdp(service);
  const random = new Random(seed);
  const { clock } = network;
  const times: number[] = [];
  let alike = 0;
  let bytes = 0;
  for (const [name, family] of [
    ['bob', 4],
    ['carol', 6],
  ] as const) {
    await using socket = await network.host(name).udp.bind();
    const [host] = await network.host(name).resolve(SERVER, { family });
    for (const length of DATAGRAM_BYTES) {
      const data = new Uint8Array(length);
      random.bytes(data);
      const startedAt = clock.now();
      const late = new AbortController();
      const timer = clock.setTimer(startedAt + ANSWER_MS, () => late.abort(new Error('no echo')));
      await socket.send(data, { host: host!, port: ECHO_PORT });
      const answer = await socket.receive({ signal: late.signal });
      clock.clearTimer(timer);
      times.push(clock.now() - startedAt);
      bytes += length;
      if (Buffer.compare(answer.data, data) === 0 && answer.port === ECHO_PORT) alike++;
    }
  }
  await service.close();
  await echoing;
  const details: EchoDetails = { datagrams: times.length, alike, bytes, timeMs: median(times) };
  return {
    ok: alike === times.length,
    did: ['bob, carol: 0 to 1452 bytes', 'to server, and back'],
    saw: [`${alike} of ${times.length} came back alike`, `${inTime(details.timeMs)} there and back`],
    details,
  };
}

/** Sends every datagram back where it came from, until the socket is closed. */
export async function echoUdp(socket: UdpSocket): Promise<void> {
  // A destination that cannot be reached is its own fault.
  for await (const { data, address, port, localAddress } of socket) {
    await socket.send(data, { host: address, port, localAddress }).catch(() => {});
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const bytesOf = (text: string): Uint8Array => encoder.encode(text);
const textOf = (bytes: Uint8Array): string => decoder.decode(bytes);
