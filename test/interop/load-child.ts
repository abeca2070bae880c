/**
 * Linux's side of the tests, on node:net, node:http and node:dgram: run in the namespace, says on one line of JSON what
 * happened. Usage: load-child.js MODE [ARGUMENT]...; see the bottom. @module
 */
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { Agent, request } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { downloadBlock } from '../../src/cli/http-server.ts';

const say = (result: unknown): void => console.log(JSON.stringify(result));
const bytes = (count: number): Buffer => Buffer.from(Uint8Array.from({ length: count }, (_, i) => i * 167 + count));

function exchange(agent: Agent, host: string, method: string, path: string, body?: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ agent, host, method, path }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve(Buffer.concat(chunks));
        else reject(new Error(`${method} ${path}: status ${response.statusCode}`));
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Opens `count` connections at once; each downloads, then uploads what it got, kept alive. */
async function parallel(host: string, count: number, size: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: count });
  let good = 0;
  let sockets = 0;
  agent.on('free', () => sockets++);
  const one = async (i: number): Promise<void> => {
    const got = await exchange(agent, host, 'GET', `/bytes/${size + i}`);
    const sha256 = createHash('sha256').update(got).digest('hex');
    const sum = JSON.parse((await exchange(agent, host, 'POST', '/sum', got)).toString());
    if (got.length === size + i && sum.bytes === got.length && sum.sha256 === sha256 && matches(got)) good++;
  };
  const results = await Promise.allSettled(Array.from({ length: count }, (_, i) => one(i)));
  agent.destroy();
  const failed = results.find((result) => result.status === 'rejected');
  say({ good, exchanges: sockets, failed: failed === undefined ? null : String(failed.reason) });
}

function matches(got: Buffer): boolean {
  for (let at = 0; at < got.length; at += 65_536) {
    const expected = downloadBlock(at >> 16).subarray(0, got.length - at);
    if (!got.subarray(at, at + 65_536).equals(expected)) return false;
  }
  return true;
}

/** Sends datagrams of the given sizes to a port, one after the other, and compares what comes back. */
async function udpEcho(host: string, port: number, sizes: number[]): Promise<void> {
  const socket = createSocket('udp4');
  const results: boolean[] = [];
  for (const size of sizes) {
    const sent = bytes(size);
    const got = await new Promise<Buffer | null>((resolve) => {
      const timer = setTimeout(() => resolve(null), 2000);
      socket.once('message', (data) => {
        clearTimeout(timer);
        resolve(data);
      });
      socket.send(sent, port, host);
    });
    results.push(got?.equals(sent) === true);
  }
  socket.close();
  say(results);
}

/** One datagram to a port; says the answer, or the error. */
async function udpAsk(host: string, port: number): Promise<void> {
  const socket = createSocket('udp4');
  const answer = await new Promise<string>((resolve) => {
    setTimeout(() => resolve('silence'), 2000).unref();
    socket.on('message', (data) => resolve(data.toString('latin1')));
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.connect(port, host, () => socket.send('hello'));
  });
  socket.close();
  say(answer);
}

/** Opens `count` connections to an echo at once; each is asked, left alone for `pauseMs`, and asked again. */
async function echoLater(host: string, port: number, count: number, pauseMs: number): Promise<void> {
  const one = async (i: number): Promise<void> => {
    const socket = connect(port, host);
    const ask = (text: string): Promise<void> =>
      new Promise((resolve, reject) => {
        socket.once('error', reject);
        socket.once('data', (data) => {
          if (data.toString() === text) resolve();
          else reject(new Error(`sent ${text}, got ${data}`));
        });
        socket.write(text);
      });
    await ask(`first ${i}`);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    await ask(`second ${i}`);
    await new Promise((resolve) => socket.once('end', resolve).end());
  };
  const results = await Promise.allSettled(Array.from({ length: count }, (_, i) => one(i)));
  const failed = results.filter((result) => result.status === 'rejected');
  say({ good: count - failed.length, failed: failed.length === 0 ? null : String(failed[0]!.reason) });
}

/** Connects and says how that ended, and after how long. */
function tcpConnect(host: string, port: number): void {
  const since = performance.now();
  const result = (text: string): void => say({ result: text, ms: Math.round(performance.now() - since) });
  const socket = connect(port, host, () => {
    result('connected');
    socket.destroy();
  });
  socket.on('error', (error: NodeJS.ErrnoException) => result(error.code ?? error.message));
}

async function sendDownload(socket: Socket, count: number): Promise<void> {
  for (let at = 0; at < count; at += 65_536) {
    const room = socket.write(downloadBlock(at >> 16).subarray(0, count - at));
    if (!room) await new Promise((resume) => socket.once('drain', resume));
  }
  socket.end();
}

/** Answers the end of what it was sent with count and hash; then ends. */
function sumUp(socket: Socket, then: (line: string) => void): void {
  const hash = createHash('sha256');
  let count = 0;
  socket.on('data', (data) => {
    hash.update(data);
    count += data.length;
  });
  socket.on('end', () => then(`${count} ${hash.digest('hex')}`));
}

/** A server on Linux: on PORT it sends `count` bytes and ends; on PORT+1 it sums up; on PORT+2 it ends, then sums up. */
function serve(port: number, count: number): void {
  const listen = (offset: number, onSocket: (socket: Socket) => void): void => {
    createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', (error: NodeJS.ErrnoException) => say({ error: error.code }));
      onSocket(socket);
    }).listen(port + offset, () => say({ port: port + offset }));
  };
  listen(0, (socket) => {
    socket.resume();
    void sendDownload(socket, count);
  });
  listen(1, (socket) => sumUp(socket, (line) => socket.end(line)));
  listen(2, (socket) => {
    socket.end('over');
    sumUp(socket, (line) => say({ sum: line }));
  });
  process.stdin.resume().on('end', () => process.exit(0));
}

const [, , mode, first = '', ...rest] = process.argv;
const numbers = rest.map(Number);
switch (mode) {
  case 'parallel':
    await parallel(first, numbers[0]!, numbers[1]!);
    break;
  case 'udp-echo':
    await udpEcho(first, numbers[0]!, numbers.slice(1));
    break;
  case 'udp-ask':
    await udpAsk(first, numbers[0]!);
    break;
  case 'echo-later':
    await echoLater(first, numbers[0]!, numbers[1]!, numbers[2]!);
    break;
  case 'tcp-connect':
    tcpConnect(first, numbers[0]!);
    break;
  case 'serve':
    serve(Number(first), numbers[0]!);
    break;
  default:
    console.error(`load-child: unknown mode ${mode}`);
    process.exitCode = 2;
}
