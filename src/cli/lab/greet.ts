/** Three small phases on one LAN: everybody pings everybody, an HTTP exchange, and UDP echo. @module */
import type { Host, TcpListener, TcpStream, UdpSocket } from '../../index.ts';
import { Random } from '../../sim/index.ts';
import { addressOf, HOSTS, type HostName, type Lan } from './lan.ts';
import { inTime } from './text.ts';

const HTTP_PORT = 80;
const ECHO_PORT = 7;
/** Bytes of an HTTP head, at most; a longer one is a failure. */
const HEAD_BYTES_MAX = 8192;
/** UDP payloads sent: none, one byte, and up to what an Ethernet frame holds. */
const DATAGRAM_BYTES = [0, 1, 2, 17, 64, 255, 256, 512, 1000, 1024, 1399, 1400, 1471, 1472];
const ANSWER_MS = 2000;

export type Hosts = Readonly<Record<HostName, Host>>;

/** The whole cast. */
export const allHosts = (lan: Lan): Hosts =>
  Object.fromEntries(HOSTS.map(({ name }) => [name, lan.host(name)])) as unknown as Hosts;

export interface PingDetails {
  readonly replies: { from: HostName; to: HostName; ttl: number; firstMs: number; timeMs: number }[];
  readonly firstMs: number;
  readonly timeMs: number;
}

/** Everybody pings everybody twice: the first echo waits for ARP, unless the other side has asked before. */
export async function pingEveryone(hosts: Hosts) {
  const replies: PingDetails['replies'] = [];
  for (const from of HOSTS) {
    for (const to of HOSTS) {
      if (from === to) continue;
      const first = await hosts[from.name].ping(to.address, { sequence: 1, timeout: ANSWER_MS });
      const { ttl, timeMs } = await hosts[from.name].ping(to.address, { sequence: 2, timeout: ANSWER_MS });
      replies.push({ from: from.name, to: to.name, ttl, firstMs: first.timeMs, timeMs });
    }
  }
  const firstMs = median(replies.map((reply) => reply.firstMs));
  const timeMs = median(replies.map((reply) => reply.timeMs));
  const ttls = [...new Set(replies.map((reply) => reply.ttl))];
  const details: PingDetails = { replies, firstMs, timeMs };
  return {
    ok: true,
    did: ['everybody pings everybody,', 'ARP first'],
    saw: [`${replies.length} pairs answer, ttl ${ttls.join(', ')}`, `first ${inTime(firstMs)}, then ${inTime(timeMs)}`],
    details,
  };
}

function median(values: number[]): number {
  const sorted = values.sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

export interface HttpDetails {
  readonly status: string;
  readonly body: string;
  readonly bytes: number;
}

/** `alice` gets a page from a small HTTP server. */
export async function httpExchange(hosts: Hosts) {
  await using listener = await hosts.server.tcp.listen({ port: HTTP_PORT });
  const serving = serveHttp(listener);
  const host = addressOf('server');
  const stream = await hosts.alice.tcp.connect({ host, port: HTTP_PORT, timeout: ANSWER_MS });
  await stream.write(bytesOf(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`));
  let answer = '';
  for await (const chunk of stream) answer += textOf(chunk);
  await stream.close();
  await listener.close();
  await serving;
  const headEnd = answer.indexOf('\r\n\r\n');
  const status = answer.slice(0, answer.indexOf('\r\n'));
  const body = answer.slice(headEnd + 4);
  const length = Number(/^content-length: (\d+)\r$/im.exec(answer.slice(0, headEnd + 1))?.[1]);
  const details: HttpDetails = { status, body, bytes: answer.length };
  return {
    ok: status === 'HTTP/1.1 200 OK' && body.length === length,
    did: ['alice: GET / from server'],
    saw: [status, ...body.trimEnd().split('\n')],
    details,
  };
}

/** Answers one request a connection, until the listener is closed. */
export async function serveHttp(listener: TcpListener): Promise<void> {
  for await (const stream of listener) {
    // A client that goes away, or sends nonsense, ends its own connection and no more.
    answerHttp(stream).catch(() => stream.abort());
  }
}

async function answerHttp(stream: TcpStream): Promise<void> {
  let head = '';
  while (!head.includes('\r\n\r\n')) {
    const chunk = await stream.read();
    if (chunk === null || head.length > HEAD_BYTES_MAX) return stream.abort();
    head += textOf(chunk);
  }
  const isGet = /^GET \/\S* HTTP\/1\.[01]\r\n/.test(head);
  const body = isGet ? `Good day, ${stream.remoteAddress}.\nThis page came over ethertype.\n` : 'GET only\n';
  const status = isGet ? '200 OK' : '405 Method Not Allowed';
  const fields = `Content-Type: text/plain\r\nContent-Length: ${body.length}\r\nConnection: close\r\n`;
  await stream.write(bytesOf(`HTTP/1.1 ${status}\r\n${fields}\r\n${body}`));
  await stream.end();
  while ((await stream.read()) !== null); // until the client has closed too
  await stream.close();
}

export interface EchoDetails {
  readonly datagrams: number;
  readonly alike: number;
  readonly bytes: number;
  readonly timeMs: number;
}

/** `bob` and `carol` send datagrams of many sizes, and compare what comes back. */
export async function udpEcho(hosts: Hosts, seed: number) {
  await using service = await hosts.server.udp.bind({ port: ECHO_PORT });
  const echoing = echoUdp(service);
  const random = new Random(seed);
  const times: number[] = [];
  let alike = 0;
  let bytes = 0;
  for (const name of ['bob', 'carol'] as const) {
    await using socket = await hosts[name].udp.bind();
    for (const length of DATAGRAM_BYTES) {
      const data = new Uint8Array(length);
      random.bytes(data);
      const startedAt = performance.now();
      await socket.send(data, { host: addressOf('server'), port: ECHO_PORT });
      const answer = await socket.receive({ signal: AbortSignal.timeout(ANSWER_MS) });
      times.push(performance.now() - startedAt);
      bytes += length;
      if (Buffer.compare(answer.data, data) === 0 && answer.port === ECHO_PORT) alike++;
    }
  }
  await service.close();
  await echoing;
  const details: EchoDetails = { datagrams: times.length, alike, bytes, timeMs: median(times) };
  return {
    ok: alike === times.length,
    did: ['bob, carol: 0 to 1472 bytes', 'to server, and back'],
    saw: [`${alike} of ${times.length} came back alike`, `${inTime(details.timeMs)} there and back`],
    details,
  };
}

/** Sends every datagram back where it came from, until the socket is closed. */
export async function echoUdp(socket: UdpSocket): Promise<void> {
  // A destination that cannot be reached is its own fault.
  for await (const { data, address, port } of socket) await socket.send(data, { host: address, port }).catch(() => {});
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const bytesOf = (text: string): Uint8Array => encoder.encode(text);
const textOf = (bytes: Uint8Array): string => decoder.decode(bytes);
