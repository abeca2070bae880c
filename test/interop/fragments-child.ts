/**
 * Both ends for fragments.test.ts. `fragments-child.js host JSON`: a host of ours on a TUN or TAP that does what lines of
 * JSON on its stdin say, one answer a line. `fragments-child.js linux PORT`: echoes UDP, and sums up what TCP brings, by
 * Linux's stack. @module
 */
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { createHost, type Host, NetError, type UdpSocket } from '../../src/index.ts';
import { openTap, openTun } from '../../src/linux/index.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';
import { IpAddress } from '../../src/wire/address.ts';

/** What the host is made with. */
export interface HostSetup {
  readonly kind: 'tun' | 'tap';
  readonly offload?: boolean;
  readonly mtu?: number;
  readonly hostAddress: readonly string[];
  readonly addresses: readonly string[];
  readonly gateway?: readonly string[];
  readonly tcp?: Partial<TcpSettings>;
}

/** What it is asked to do. */
export interface Order {
  readonly do: 'ping' | 'udp' | 'mtu' | 'upload' | 'stats';
  readonly host?: string;
  readonly port?: number;
  readonly size?: number;
  readonly mode?: UdpSocket['pathMtuDiscovery'];
}

const TIMEOUT_MS = 3000;
const say = (what: unknown): void => console.log(JSON.stringify(what));
const bytes = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

async function echoed(host: Host, order: Required<Order>): Promise<boolean> {
  const socket = await host.udp.connect({ host: order.host, port: order.port });
  try {
    socket.pathMtuDiscovery = order.mode ?? 'want';
    const data = bytes(order.size);
    await socket.send(data);
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const answer = await socket.receive({ signal });
    return Buffer.compare(answer.data, data) === 0;
  } finally {
    await socket.close();
  }
}

/** Sends `size` bytes and says what the other end makes of them, and how the path was. */
async function upload(host: Host, order: Required<Order>): Promise<unknown> {
  const since = performance.now();
  const stream = await host.tcp.connect({ host: order.host, port: order.port });
  const data = bytes(order.size);
  await stream.write(data);
  await stream.end();
  let answer = '';
  const buffer = new Uint8Array(256);
  for (let n = await stream.readInto(buffer); n > 0; n = await stream.readInto(buffer)) {
    answer += Buffer.from(buffer.subarray(0, n)).toString();
  }
  const { mss } = stream.socket.connection!;
  await stream.close();
  return { isSame: answer === sha256(data), mss, ms: Math.round(performance.now() - since) };
}

function act(host: Host, order: Required<Order>): Promise<unknown> | unknown {
  switch (order.do) {
    case 'ping':
      return host.ping(order.host, { size: order.size, timeout: TIMEOUT_MS }).then(({ size }) => size);
    case 'udp':
      return echoed(host, order);
    case 'upload':
      return upload(host, order);
    case 'mtu':
      return host.stack.udpSocket().pathMtuTo(IpAddress.parse(order.host));
    default:
      return { stats: host.stats, usedBytes: host.memory.usedBytes, held: host.stack.ip.reassembly.count };
  }
}

async function runHost(setup: HostSetup): Promise<void> {
  const { kind, addresses, gateway, tcp, ...options } = setup;
  const device = await (kind === 'tap' ? openTap : openTun)({ name: `${kind}0`, ...options });
  // Without duplicate address detection, which takes a second.
  const ipv6 = { dadTransmits: 0 };
  const host = createHost({ device, addresses, ipv6, ...(gateway && { gateway }), ...(tcp && { tcp }) });
  const echo = await host.udp.bind({ port: 7 });
  void (async () => {
    for await (const { data, address, port } of echo) await echo.send(data, { host: address, port });
  })();
  say('ready');
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      say(await act(host, JSON.parse(line) as Required<Order>));
    } catch (error) {
      say(error instanceof NetError ? error.code : String(error));
    }
  }
  await host.close();
  say({ leakedBytes: host.memory.usedBytes });
}

function runLinux(port: number): void {
  for (const type of ['udp4', 'udp6'] as const) {
    const socket = createSocket({ type, ipv6Only: type === 'udp6', recvBufferSize: 1 << 20 });
    socket.on('message', (data, from) => socket.send(data, from.port, from.address));
    socket.bind(port);
  }
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const hash = createHash('sha256');
    socket.on('data', (data) => hash.update(data));
    socket.on('end', () => socket.end(hash.digest('hex')));
    socket.on('error', () => {});
  });
  server.listen(port, '::', () => say('ready'));
  process.stdin.resume().on('end', () => process.exit(0));
}

const [, , role, argument = ''] = process.argv;
if (role === 'host') await runHost(JSON.parse(argument) as HostSetup);
else if (role === 'linux') runLinux(Number(argument));
