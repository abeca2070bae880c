/**
 * The part of the TUN benchmark that runs inside a network namespace of its own: our host on a TUN device, Linux's TCP
 * on the other side. Prints one JSON line. Run by tun.ts; `node tun-child.js in|out MS`. @module
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createHost, type Host } from '../../index.ts';
import { openTun } from '../../linux/index.ts';

const CHUNK_BYTES = 1 << 18;
const OURS = '10.99.0.2';
const THEIRS = '10.99.0.1';

/** Linux sends as fast as node:net can for `ms`; Gbit/s that our reader took. */
async function linuxToUs(host: Host, ms: number): Promise<number> {
  const listener = await host.tcp.listen({ port: 9 });
  const sender = spawn(process.execPath, ['-e', SENDER, OURS, String(ms)], { stdio: 'inherit' });
  const ended = once(sender, 'exit');
  const stream = await listener.accept();
  const buffer = new Uint8Array(CHUNK_BYTES);
  const start = performance.now();
  let total = 0;
  for (let n = await stream.readInto(buffer); n > 0; n = await stream.readInto(buffer)) total += n;
  const gbit = (total * 8) / ((performance.now() - start) * 1e6);
  await stream.close();
  await ended;
  return gbit;
}

const SENDER = `
const [host, ms] = process.argv.slice(1);
const socket = require('net').connect(9, host);
const chunk = Buffer.alloc(1 << 20);
socket.on('connect', () => {
  const until = Date.now() + Number(ms);
  const go = () => { while (Date.now() < until) if (!socket.write(chunk)) return socket.once('drain', go); socket.end(); };
  go();
});
socket.on('error', () => process.exit(1));
socket.resume();
`;

/** We write as fast as we can for `ms` to a sink on Linux's TCP; Gbit/s that our writer got rid of. */
async function usToLinux(host: Host, ms: number): Promise<number> {
  const sink = await startSink();
  const stream = await host.tcp.connect({ host: THEIRS, port: 8080 });
  const chunk = new Uint8Array(CHUNK_BYTES);
  const start = performance.now();
  let total = 0;
  while (performance.now() - start < ms) {
    await stream.write(chunk);
    total += chunk.length;
  }
  const gbit = (total * 8) / ((performance.now() - start) * 1e6);
  stream.abort();
  sink?.kill();
  return gbit;
}

/** A sink that costs little: socat where it is installed, else node:net in this process. */
async function startSink(): Promise<ChildProcess | null> {
  const sink = spawn('socat', ['-u', '-b', '1048576', 'TCP-LISTEN:8080,reuseaddr,rcvbuf=8000000', 'OPEN:/dev/null'], {
    stdio: 'ignore',
  });
  const isMissing = await Promise.race([
    once(sink, 'error').then(() => true),
    new Promise<false>((resolve) => setTimeout(() => resolve(false), 500)),
  ]);
  if (!isMissing) return sink;
  const server = createServer((socket) => socket.on('error', () => {}).resume()).listen(8080, THEIRS);
  await once(server, 'listening');
  return null;
}

const [direction = 'in', milliseconds = '1000'] = process.argv.slice(2);
const device = await openTun({ name: 'etbench', hostAddress: `${THEIRS}/24` });
const host = createHost({
  device,
  addresses: [`${OURS}/24`],
  tcp: { receiveBufferBytes: 1 << 20, sendBufferBytes: 1 << 20 },
});
const measure = direction === 'in' ? linuxToUs : usToLinux;
const gbitPerSecond = await measure(host, Number(milliseconds));
console.log(JSON.stringify({ gbitPerSecond, reads: device.stats.reads, writes: device.stats.writes }));
await host.close();
process.exit(0);
