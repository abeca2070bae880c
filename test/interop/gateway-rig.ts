/** A guest of ours behind a gateway, and real servers on the machine's loopback: what the tests of gateways share. @module */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import { createHost, type Host, type TcpStream } from '../../src/index.ts';
import { type Device, pipePair } from '../../src/phy/index.ts';
import { type FlowRecord, Gateway, type GatewayOptions } from '../../src/proxy/index.ts';

export const options = { timeout: 30_000 };
export const ROUTER = '10.0.2.2';
export const MIB = 1 << 20;

/** What a test leaves to be closed, the last first. */
export const closers: (() => Promise<void> | void)[] = [];

/** Closes it: for `afterEach`. */
export async function closeAll(): Promise<void> {
  for (const close of closers.splice(0).reverse()) await close();
}

export interface Rig {
  readonly guest: Host;
  readonly gateway: Gateway;
  readonly records: FlowRecord[];
  /** Waits until nothing is left of the flows there were. */
  quiet(): Promise<void>;
}

export async function rig(more: Partial<GatewayOptions> = {}, wrap = (device: Device): Device => device): Promise<Rig> {
  const [left, right] = pipePair({ medium: 'ethernet' });
  const records: FlowRecord[] = [];
  let ended = 0;
  const onFlow = (record: FlowRecord): void => {
    records.push(record);
    if (record.protocol === 'tcp' && record.direction === 'out') ended++;
  };
  const gateway = await Gateway.start({ device: left, hostLoopback: true, onFlow, nameServers: [], ...more });
  const guest = createHost({
    device: wrap(right),
    addresses: ['10.0.2.100/24', 'fd00:2::64/64'],
    gateway: ['10.0.2.2', 'fd00:2::2'],
    nameServers: ['10.0.2.3'],
    ipv6: { dadTransmits: 0 },
    memory: 64 * MIB,
  });
  const quiet = async (): Promise<void> => {
    const { tcp } = gateway.relay;
    for (let i = 0; i < 200 && (tcp.count > 0 || ended < tcp.stats.opened); i++) await pause(10);
    assert.equal(ended, tcp.stats.opened, 'each flow has its line');
    assert.equal(tcp.count, 0, 'flows are left');
  };
  closers.push(async () => {
    await guest.close();
    await gateway.close();
    assert.equal(gateway.host.memory.usedBytes, 0, 'memory is still held');
    assert.equal(gateway.relay.tcp.count + gateway.relay.udp.count + gateway.relay.echo.pending, 0);
  });
  return { guest, gateway, records, quiet };
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A server on the machine's loopback. */
export async function serve(onSocket: (socket: Socket) => void, host = '127.0.0.1'): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  closers.push(() => void server.close());
  return (server.address() as { port: number }).port;
}

/** A port of the loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export const open = (guest: Host, port: number, host = ROUTER): Promise<TcpStream> => guest.tcp.connect({ host, port });

/** A port where each datagram is answered with itself. */
export async function echoDatagrams(): Promise<number> {
  const server = createSocket('udp4');
  server.on('message', (data, { port, address }) => server.send(data, port, address));
  await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
  closers.push(() => void server.close());
  return server.address().port;
}
