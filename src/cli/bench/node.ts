/** The same loads over the machine's own network, node:net and node:dgram on loopback: the peers. @module */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

const CHUNK_BYTES = 1 << 16;
const MESSAGE_BYTES = 64;
/** Connections opened at a time. */
const BATCH = 32;
const HOST = '127.0.0.1';

async function listening(onSocket: (socket: Socket) => void): Promise<[Server, number]> {
  const server = createServer({ allowHalfOpen: true }, onSocket).listen(0, HOST);
  await once(server, 'listening');
  return [server, (server.address() as AddressInfo).port];
}

/** One connection, one way, for `ms`: Gbit/s. */
export async function bulk(ms: number): Promise<number> {
  let total = 0;
  const done = deferred();
  const [server, port] = await listening((socket) => {
    socket.on('data', (data) => {
      total += data.length;
    });
    socket.on('end', () => {
      socket.end();
      done.resolve();
    });
  });
  const socket = connect(port, HOST);
  await once(socket, 'connect');
  const chunk = new Uint8Array(CHUNK_BYTES);
  const start = performance.now();
  while (performance.now() - start < ms) if (!socket.write(chunk)) await once(socket, 'drain');
  socket.end();
  socket.resume();
  await done.promise;
  const gbit = (total * 8) / ((performance.now() - start) * 1e6);
  server.close();
  return gbit;
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** 64 KiB writes on each of `count` connections at once, for `ms`: Gbit/s of all together. */
export async function bulkMany(count: number, ms: number): Promise<number> {
  let total = 0;
  const { sockets, close } = await connectMany(count, (peer) =>
    peer
      .on('data', (data) => {
        total += data.length;
      })
      .on('end', () => peer.end()),
  );
  const chunk = new Uint8Array(CHUNK_BYTES);
  const start = performance.now();
  const move = async (socket: Socket): Promise<void> => {
    const ended = once(socket, 'end');
    socket.resume();
    while (performance.now() - start < ms) if (!socket.write(chunk)) await once(socket, 'drain');
    socket.end();
    await ended;
  };
  await Promise.all(sockets.map(move));
  const gbit = (total * 8) / ((performance.now() - start) * 1e6);
  close();
  return gbit;
}

/** Connections, some at a time; `sockets` are the clients' ends. */
export async function connectMany(
  count: number,
  onPeer: (peer: Socket) => void = () => {},
): Promise<{ sockets: Socket[]; close: () => void }> {
  const peers: Socket[] = [];
  const [server, port] = await listening((peer) => {
    peers.push(peer);
    onPeer(peer);
  });
  const sockets: Socket[] = [];
  while (peers.length < count) {
    const batch = Array.from({ length: Math.min(BATCH, count - peers.length) }, () => connect(port, HOST));
    const wanted = peers.length + batch.length;
    await Promise.all(batch.map((socket) => once(socket, 'connect')));
    while (peers.length < wanted) await once(server, 'connection');
    sockets.push(...batch);
  }
  const close = (): void => {
    for (const socket of [...sockets, ...peers]) socket.destroy();
    server.close();
  };
  return { sockets, close };
}

/** Echoes of 64 bytes on one connection for `ms`: how many a second. */
export async function roundTrips(ms: number): Promise<number> {
  const [server, port] = await listening((socket) => {
    socket.setNoDelay(true);
    socket.pipe(socket);
  });
  const socket = connect(port, HOST);
  socket.setNoDelay(true);
  await once(socket, 'connect');
  const message = new Uint8Array(MESSAGE_BYTES);
  const start = performance.now();
  let count = 0;
  await new Promise<void>((done) => {
    socket.on('data', () => {
      count++;
      if ((count & 63) === 0 && performance.now() - start > ms) done();
      else socket.write(message);
    });
    socket.write(message);
  });
  const rate = (count * 1000) / (performance.now() - start);
  socket.destroy();
  server.close();
  return rate;
}

/** Connections opened, closed by both sides, one after the other, for `ms`: how many a second. */
export async function connections(ms: number): Promise<number> {
  const [server, port] = await listening((socket) => socket.on('end', () => socket.end()).resume());
  const start = performance.now();
  let count = 0;
  for (; (count & 15) !== 0 || performance.now() - start < ms; count++) {
    const socket = connect(port, HOST);
    socket.end();
    socket.resume();
    await once(socket, 'close');
  }
  const rate = (count * 1000) / (performance.now() - start);
  server.close();
  return rate;
}

/** Datagrams of 64 bytes in windows of 16, for `ms`: how many a second arrived. */
export async function datagrams(ms: number): Promise<number> {
  const to = createSocket('udp4').bind(0, HOST);
  await once(to, 'listening');
  const from = createSocket('udp4');
  const message = new Uint8Array(MESSAGE_BYTES);
  const { port } = to.address();
  const start = performance.now();
  let count = 0;
  let wanted = 0;
  while (performance.now() - start < ms) {
    wanted += 16;
    const arrived = new Promise<void>((done) => {
      const onMessage = (): void => {
        if (++count < wanted) return;
        to.off('message', onMessage);
        done();
      };
      to.on('message', onMessage);
    });
    for (let i = 0; i < 16; i++) from.send(message, port, HOST);
    await arrived;
  }
  const rate = (count * 1000) / (performance.now() - start);
  to.close();
  from.close();
  return rate;
}
