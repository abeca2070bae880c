/**
 * The far side of a relay, on an address that is no loopback: servers that close halves, reset, and answer with what they
 * heard. Prints `ready` and the ports as JSON, then a line for each thing it is told. Ends with its input. @module
 */
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer as createHttp } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';

const [address = '127.0.0.1'] = process.argv.slice(2);
const say = (line: string): void => console.log(line);

const handlers: Readonly<Record<string, (socket: Socket) => void>> = {
  /** Reads to the end, then answers with the hash of it. */
  hash: (socket) => {
    const sum = createHash('sha256');
    socket.on('data', (chunk) => sum.update(chunk));
    socket.on('end', () => setTimeout(() => socket.end(`${sum.digest('hex')}\n`), 100));
  },
  /** Ends first, and reads on. */
  first: (socket) => {
    socket.end('first\n');
    let heard = '';
    socket.on('data', (chunk) => {
      heard += chunk;
    });
    socket.on('end', () => say(`heard ${heard}`));
  },
  /** Resets at the first byte. */
  reset: (socket) => {
    socket.once('data', () => socket.resetAndDestroy());
    socket.on('end', () => socket.end());
  },
  /** Tells how it ended. */
  hold: (socket) => {
    socket.on('error', (error) => say(`error ${(error as { code?: string }).code}`));
    socket.on('end', () => {
      say('end');
      socket.end();
    });
    socket.resume();
  },
};

const ports: Record<string, number> = {};
for (const [name, handler] of Object.entries(handlers)) {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    handler(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  ports[name] = (server.address() as AddressInfo).port;
}

const http = createHttp((request, response) => {
  if (request.method === 'GET') {
    response.end(Buffer.alloc(Number(request.url?.slice(1)) || 0));
    return;
  }
  const sum = createHash('sha256');
  request.on('data', (chunk) => sum.update(chunk));
  request.on('end', () => response.end(sum.digest('hex')));
});
await new Promise<void>((resolve) => http.listen(0, address, resolve));
ports.http = (http.address() as AddressInfo).port;

const udp = createSocket(address.includes(':') ? 'udp6' : 'udp4');
udp.on('message', (data, { port, address: from }) => udp.send(`re: ${data}`, port, from));
await new Promise<void>((resolve) => udp.bind(0, address, resolve));
ports.udp = udp.address().port;

say(`ready ${JSON.stringify(ports)}`);
process.stdin.resume().on('end', () => process.exit(0));
