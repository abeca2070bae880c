/**
 * What `ethertype server` serves: echo (RFC 862), discard (RFC 863), chargen (RFC 864), HTTP, and the two services of
 * smoltcp's server on port 6969. A connection that fails ends alone. @module
 */
import {
  type Datagram,
  type Host,
  NetError,
  type TcpListener,
  type TcpSettings,
  type TcpStream,
  type UdpSocket,
} from '../index.ts';
import { serveHttp } from './http-server.ts';

/** Connections served at a time; at the limit further ones wait in the backlogs. */
const CONNECTIONS_MAX = 16_384;
/** What an echo's buffer starts with, and grows to while it is filled: an idle connection costs little. */
const ECHO_BYTES_FIRST = 1 << 11;
const ECHO_BYTES_MAX = 1 << 18;
const DISCARD_BYTES = 1 << 18;
/** smoltcp's server has buffers of 64 bytes, so that is the size of a chunk. */
const REVERSE_BYTES = 64;
const REVERSE_SETTINGS = { receiveBufferBytes: REVERSE_BYTES, sendBufferBytes: REVERSE_BYTES };

export interface Service {
  readonly name: string;
  readonly port: number;
  /** Serves one connection until the peer ends it. */
  readonly tcp?: (stream: TcpStream) => Promise<void>;
  /** What its connections have of their own. */
  readonly settings?: Partial<TcpSettings>;
  /** The answer to a datagram; null for none. */
  readonly udp?: (data: Uint8Array) => Uint8Array | null;
}

export async function echo(stream: TcpStream): Promise<void> {
  let buffer = new Uint8Array(ECHO_BYTES_FIRST);
  for (let n = await stream.readInto(buffer); n > 0; n = await stream.readInto(buffer)) {
    await stream.write(n === buffer.length ? buffer : buffer.subarray(0, n));
    if (n === buffer.length && n < ECHO_BYTES_MAX) buffer = new Uint8Array(2 * n);
  }
}

const discarded = new Uint8Array(DISCARD_BYTES);

/** Nobody looks at what was read: all connections share one buffer. */
export async function discard(stream: TcpStream): Promise<void> {
  while ((await stream.readInto(discarded)) > 0);
}

// RFC 864: lines of 72 of the 95 printable characters, each line beginning one character later.
const PRINTABLE = 95;
const LINE_BYTES = 74;
const pattern = Uint8Array.from({ length: PRINTABLE * LINE_BYTES }, (_, i) => {
  const column = i % LINE_BYTES;
  if (column >= 72) return column === 72 ? 13 : 10;
  return 32 + ((Math.floor(i / LINE_BYTES) + column) % PRINTABLE);
});

/** Sends lines until the peer is gone; what comes meanwhile, its end included, is thrown away. */
async function chargen(stream: TcpStream): Promise<void> {
  void discard(stream).catch(() => {});
  try {
    for (;;) await stream.write(pattern);
  } catch (error) {
    if (!isOver(error)) throw error; // how this service ends
    stream.abort();
  }
}

const isOver = (error: unknown): boolean =>
  error instanceof NetError && ['ECONNRESET', 'EPIPE', 'ECONNABORTED'].includes(error.code);

let chargenLine = 0;

/** RFC 864: one datagram of up to 512 characters for each; a line. */
function chargenDatagram(): Uint8Array {
  chargenLine = (chargenLine + 1) % PRINTABLE;
  return pattern.subarray(chargenLine * LINE_BYTES, (chargenLine + 1) * LINE_BYTES);
}

/** Chunks of up to 64 bytes, each reversed; a line break at the end stays there, so that lines stay lines. */
async function reverse(stream: TcpStream): Promise<void> {
  const buffer = new Uint8Array(REVERSE_BYTES);
  for (let n = await stream.readInto(buffer); n > 0; n = await stream.readInto(buffer)) {
    buffer.subarray(0, buffer[n - 1] === 10 ? n - 1 : n).reverse();
    await stream.write(buffer.subarray(0, n));
  }
}

const YO_DAWG = new TextEncoder().encode('yo dawg');

export const SERVICES: readonly Service[] = [
  { name: 'echo', port: 7, tcp: echo, udp: (data) => data },
  { name: 'discard', port: 9, tcp: discard, udp: () => null },
  { name: 'chargen', port: 19, tcp: chargen, udp: chargenDatagram },
  { name: 'HTTP', port: 80, tcp: serveHttp },
  { name: 'smoltcp', port: 6969, tcp: reverse, settings: REVERSE_SETTINGS, udp: () => YO_DAWG },
];

/** Two services that answer each other would never stop: a datagram from one of these ports is not answered. */
const ANSWERING_PORTS: readonly number[] = SERVICES.map(({ port }) => port);

/** What one service has done. */
export interface ServiceCount {
  connections: number;
  /** Of them, those served now, and those that ended with an error. */
  open: number;
  failed: number;
  datagrams: number;
}

/** Runs services on a host. */
export class ServiceRunner {
  readonly counts: Readonly<Record<string, ServiceCount>>;
  /** Connections being served now. */
  open = 0;
  readonly #host: Host;
  readonly #onBug: (error: unknown) => void;
  readonly #listeners: TcpListener[] = [];
  readonly #sockets: UdpSocket[] = [];
  #whenFree: (() => void)[] = [];

  /** @param onBug - gets what a service threw that no network can cause */
  constructor(host: Host, services: readonly Service[], onBug: (error: unknown) => void) {
    this.#host = host;
    this.#onBug = onBug;
    this.counts = Object.fromEntries(
      services.map(({ name }) => [name, { connections: 0, open: 0, failed: 0, datagrams: 0 } satisfies ServiceCount]),
    );
  }

  async start(services: readonly Service[]): Promise<void> {
    for (const service of services) {
      if (service.tcp !== undefined) {
        const listener = await this.#host.tcp.listen({ port: service.port, tcp: service.settings ?? {} });
        this.#listeners.push(listener);
        this.#accept(service, listener).catch(this.#onBug);
      }
      if (service.udp !== undefined) {
        const socket = await this.#host.udp.bind({ port: service.port });
        this.#sockets.push(socket);
        this.#answer(service, socket).catch(this.#onBug);
      }
    }
  }

  /** Takes no more; connections under way go on. */
  async close(): Promise<void> {
    for (const one of [...this.#listeners, ...this.#sockets]) await one.close();
  }

  async #accept(service: Service, listener: TcpListener): Promise<void> {
    for await (const stream of listener) {
      void this.#serve(service, stream);
      while (this.open >= CONNECTIONS_MAX) await new Promise<void>((resume) => this.#whenFree.push(resume));
    }
  }

  async #serve(service: Service, stream: TcpStream): Promise<void> {
    const count = this.counts[service.name]!;
    count.connections++;
    count.open++;
    this.open++;
    try {
      await service.tcp!(stream);
      await stream.close();
    } catch (error) {
      count.failed++;
      stream.abort();
      if (!(error instanceof NetError)) this.#onBug(error);
    } finally {
      count.open--;
      this.open--;
      for (const resume of this.#whenFree.splice(0)) resume();
    }
  }

  async #answer(service: Service, socket: UdpSocket): Promise<void> {
    const count = this.counts[service.name]!;
    for await (const datagram of socket) {
      count.datagrams++;
      const answer = ANSWERING_PORTS.includes(datagram.port) ? null : service.udp!(datagram.data);
      if (answer !== null) await this.#reply(socket, answer, datagram);
    }
  }

  /** A datagram that cannot be sent is lost, as datagrams may be. */
  async #reply(socket: UdpSocket, data: Uint8Array, { address, port, localAddress }: Datagram): Promise<void> {
    try {
      await socket.send(data, { host: address, port, localAddress });
    } catch (error) {
      if (!(error instanceof NetError)) throw error;
    }
  }
}
