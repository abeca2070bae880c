/** The public API over a pipe: bulk, round trips, connections, datagrams. @module */
import { createHost, type Host, type TcpStream } from '../../index.ts';
import { pipePair } from '../../phy/index.ts';

const CHUNK_BYTES = 1 << 16;
const MESSAGE_BYTES = 64;
/** Connections opened at a time. */
const BATCH = 32;
const ADDRESS = '10.0.0.2';

/** Two hosts on a pipe: MTU 1500, every checksum computed and verified. */
export interface HostPair {
  readonly client: Host;
  readonly server: Host;
}

export function hostPair(): HostPair {
  const [left, right] = pipePair({ medium: 'ip', mtu: 1500 });
  return {
    client: createHost({ device: left, addresses: ['10.0.0.1/24'] }),
    server: createHost({ device: right, addresses: [`${ADDRESS}/24`] }),
  };
}

/** 64 KiB writes read into a 64 KiB buffer, or by `read` into arrays of their own, for `ms`: Gbit/s. */
export async function bulk({ client, server }: HostPair, into: boolean, ms: number): Promise<number> {
  await using listener = await server.tcp.listen({ port: 9 });
  await using stream = await client.tcp.connect({ host: ADDRESS, port: 9 });
  await using peer = await listener.accept();
  const chunk = new Uint8Array(CHUNK_BYTES);
  const until = performance.now() + ms;
  const writing = (async () => {
    while (performance.now() < until) await stream.write(chunk);
    await stream.end();
  })();
  const buffer = new Uint8Array(CHUNK_BYTES);
  const start = performance.now();
  let total = 0;
  for (;;) {
    const count = into ? await peer.readInto(buffer) : ((await peer.read())?.length ?? 0);
    if (count === 0) break;
    total += count;
  }
  const gbit = (total * 8) / ((performance.now() - start) * 1e6);
  await writing;
  return gbit;
}

/** 64 KiB writes on each of `count` connections at once, for `ms`: Gbit/s of all together. */
export async function bulkMany(pair: HostPair, count: number, ms: number): Promise<number> {
  const { streams, close } = await connectMany(pair, count);
  const chunk = new Uint8Array(CHUNK_BYTES);
  const buffer = new Uint8Array(CHUNK_BYTES); // nobody looks at what was read
  const start = performance.now();
  let total = 0;
  const move = async ([from, to]: [TcpStream, TcpStream]): Promise<void> => {
    const writing = (async () => {
      do await from.write(chunk);
      while (performance.now() - start < ms);
      await from.end();
    })();
    for (let n = await to.readInto(buffer); n > 0; n = await to.readInto(buffer)) total += n;
    await writing;
  };
  await Promise.all(streams.map(move));
  const gbit = (total * 8) / ((performance.now() - start) * 1e6);
  await close();
  return gbit;
}

/** Connections, some at a time, as [the client's end, the server's end]. */
export async function connectMany(
  { client, server }: HostPair,
  count: number,
  port = 81,
): Promise<{ streams: [TcpStream, TcpStream][]; close: () => Promise<void> }> {
  const listener = await server.tcp.listen({ port });
  const streams: [TcpStream, TcpStream][] = [];
  const one = async (): Promise<[TcpStream, TcpStream]> => [
    await client.tcp.connect({ host: ADDRESS, port }),
    await listener.accept(),
  ];
  while (streams.length < count) {
    const batch = Math.min(BATCH, count - streams.length);
    streams.push(...(await Promise.all(Array.from({ length: batch }, one))));
  }
  const close = async (): Promise<void> => {
    for (const stream of streams.flat()) stream.abort();
    await listener.close();
  };
  return { streams, close };
}

/** Echoes of 64 bytes on one connection for `ms`: how many a second. */
export async function roundTrips({ client, server }: HostPair, ms: number): Promise<number> {
  await using listener = await server.tcp.listen({ port: 7 });
  await using stream = await client.tcp.connect({ host: ADDRESS, port: 7, noDelay: true });
  await using peer = await listener.accept();
  const echoing = (async () => {
    for (let data = await peer.read(); data !== null; data = await peer.read()) await peer.write(data);
  })();
  const message = new Uint8Array(MESSAGE_BYTES);
  const start = performance.now();
  let count = 0;
  for (; (count & 63) !== 0 || performance.now() - start < ms; count++) {
    await stream.write(message);
    await stream.read();
  }
  const rate = (count * 1000) / (performance.now() - start);
  await stream.end();
  await echoing;
  return rate;
}

/** Connections opened, closed by both sides, one after the other, for `ms`: how many a second. */
export async function connections({ client, server }: HostPair, ms: number): Promise<number> {
  await using listener = await server.tcp.listen({ port: 80 });
  const serving = (async () => {
    for await (const peer of listener) void peer.read().then(() => peer.close());
  })();
  const start = performance.now();
  let count = 0;
  for (; (count & 15) !== 0 || performance.now() - start < ms; count++) {
    const stream = await client.tcp.connect({ host: ADDRESS, port: 80 });
    await stream.end();
    await stream.read();
    await stream.close();
  }
  const rate = (count * 1000) / (performance.now() - start);
  await listener.close();
  await serving;
  return rate;
}

/** Datagrams of 64 bytes, echoed one by one in a window of 16, for `ms`: how many a second, both ways counted once. */
export async function datagrams({ client, server }: HostPair, ms: number): Promise<number> {
  await using to = await server.udp.bind({ port: 53 });
  await using from = await client.udp.bind();
  const message = new Uint8Array(MESSAGE_BYTES);
  const destination = { host: ADDRESS, port: 53 };
  const start = performance.now();
  let count = 0;
  while (performance.now() - start < ms) {
    for (let i = 0; i < 16; i++) await from.send(message, destination);
    for (let i = 0; i < 16; i++, count++) await to.receive();
  }
  return (count * 1000) / (performance.now() - start);
}
