/** A SOCKS5 proxy for datagrams, on the loopback, which does to them what a test wants of it. @module */
import { createSocket, type Socket as Datagrams } from 'node:dgram';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

export interface SocksOptions {
  readonly user?: { readonly name: string; readonly password: string };
  /** What it replies to UDP ASSOCIATE; default 0, which is yes. */
  readonly reply?: number;
  /** The address it says it is bound to; by default the true one. */
  readonly bound?: 'true' | 'zero' | 'name';
  /** Whether it sends pieces, headers that are none and answers of strangers before each answer. */
  readonly isRude?: boolean;
  /** Whom a name means. */
  readonly names?: Readonly<Record<string, string>>;
}

const version = 5;

/** The header of RFC 1928 §7, of IPv4 or a name. */
const header = (frag: number, host: string, port: number): Buffer => {
  const parts = host.split('.').map(Number);
  const isAddress = parts.length === 4 && parts.every((part) => part >= 0 && part < 256);
  const place = isAddress ? [1, ...parts] : [3, host.length, ...Buffer.from(host)];
  return Buffer.from([0, 0, frag, ...place, port >> 8, port & 0xff]);
};

export class SocksServer {
  readonly port: number;
  /** Connections that were made, and those there are. */
  asked = 0;
  readonly controls = new Set<Socket>();
  /** Where datagrams were to go: `127.0.0.1 7`. */
  readonly targets: string[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Datagrams>();
  readonly #options: SocksOptions;

  private constructor(server: Server, options: SocksOptions) {
    this.#server = server;
    this.#options = options;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (socket) => this.#serve(socket));
  }

  static async start(options: SocksOptions = {}): Promise<SocksServer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new SocksServer(server, options);
  }

  get url(): string {
    const { user } = this.#options;
    return `socks5://${user === undefined ? '' : `${user.name}:${user.password}@`}127.0.0.1:${this.port}`;
  }

  #serve(socket: Socket): void {
    this.asked++;
    this.controls.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.controls.delete(socket));
    const { user, reply = 0 } = this.#options;
    const login = (data: Buffer): boolean => {
      const expected = Buffer.concat([
        Buffer.of(1, user!.name.length),
        Buffer.from(user!.name),
        Buffer.of(user!.password.length),
        Buffer.from(user!.password),
      ]);
      socket.write(Buffer.of(1, data.equals(expected) ? 0 : 1));
      return true;
    };
    const associate = (data: Buffer): boolean => {
      const isRight = data.equals(Buffer.of(version, 3, 0, 1, 0, 0, 0, 0, 0, 0));
      if (reply !== 0 || !isRight) socket.end(Buffer.of(version, isRight ? reply : 1, 0, 1, 0, 0, 0, 0, 0, 0));
      else void this.#associate(socket);
      return true;
    };
    const steps = [
      (): boolean => socket.write(Buffer.of(version, user === undefined ? 0 : 2)),
      ...(user === undefined ? [] : [login]),
      associate,
    ];
    socket.on('data', (data) => steps.shift()?.(data));
  }

  async #associate(control: Socket): Promise<void> {
    const near = await this.#bind();
    const far = await this.#bind();
    let client: { port: number; address: string } | null = null;
    const { names = {}, isRude = false, bound = 'true' } = this.#options;
    near.on('message', (data, from) => {
      client = from;
      const isName = data[3] === 3;
      const end = isName ? 5 + data[4]! : 8;
      const host = isName ? `${data.subarray(5, end)}` : data.subarray(4, 8).join('.');
      const port = data.readUInt16BE(end);
      this.targets.push(`${host} ${port}`);
      far.send(data.subarray(end + 2), port, names[host] ?? '127.0.0.1');
      this.#last = host;
    });
    far.on('message', (data, from) => {
      const back = (bytes: Buffer): void => near.send(bytes, client!.port, client!.address);
      // Whoever answers has the address it was asked by: the loopback stands for all.
      const host = names[this.#last] ?? this.#last;
      if (isRude) {
        back(Buffer.concat([header(1, host, from.port), Buffer.from('a piece')]));
        back(Buffer.of(0, 0, 0));
        back(Buffer.of(0, 0, 0, 9, 1, 2, 3, 4, 5, 6));
        back(Buffer.of(0, 0, 0, 3, 200, 1, 2));
        back(Buffer.of(1, 0, 0, 1, 127, 0, 0, 1, 0, 7, 65));
        back(Buffer.concat([header(0, '203.0.113.77', from.port), Buffer.from('a stranger')]));
        back(Buffer.concat([header(0, host, from.port ^ 1), Buffer.from('a stranger')]));
      }
      back(Buffer.concat([header(0, host, from.port), data]));
    });
    control.on('close', () => {
      for (const socket of [near, far]) if (this.#sockets.delete(socket)) socket.close();
    });
    const { port } = near.address();
    const said = { true: '127.0.0.1', zero: '0.0.0.0', name: 'localhost' }[bound];
    control.write(Buffer.concat([Buffer.of(version, 0, 0), header(0, said, port).subarray(3)]));
  }

  #last = '';

  async #bind(): Promise<Datagrams> {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    this.#sockets.add(socket);
    return socket;
  }

  /** Ends every association, as a proxy that is restarted. */
  cut(): void {
    for (const socket of this.controls) socket.destroy();
  }

  close(): void {
    this.#server.close();
    this.cut();
    for (const socket of this.#sockets) socket.close();
    this.#sockets.clear();
  }
}
