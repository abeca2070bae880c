/**
 * The program behind a proxy in its benchmark: what it measures is what its proxy lets through. Prints one JSON line. Run by
 * proxy-stage.ts; `node proxy-guest.js HOST GREETING-PORT,... ECHO-PORT IPERF3-PORT MS`. @module
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** Connections under way at once. */
const AT_ONCE = 32;
const MESSAGE_BYTES = 64;
const CONNECT_MS = 5000;

const [host = '', greets = '', echoes = '', bulk = '', milliseconds = '1000'] = process.argv.slice(2);
const ms = Number(milliseconds);
const greeting = greets.split(',').map(Number);
let visits = 0;

/** Opens, hears the server's byte, and closes. */
const visit = (): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host, port: greeting[visits++ % greeting.length]!, noDelay: true });
    socket.setTimeout(CONNECT_MS, () => socket.destroy(new Error('no answer')));
    socket.once('data', () => socket.end());
    socket.once('error', reject);
    socket.once('close', () => resolve());
  });

/** Connections opened and closed a second. */
async function connections(): Promise<number> {
  const start = performance.now();
  let count = 0;
  const one = async (): Promise<void> => {
    for (; performance.now() - start < ms; count++) await visit();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  return count / ((performance.now() - start) / 1000);
}

/** One message there and back at a time; a second. */
async function roundTrips(): Promise<number> {
  const socket = connect({ host, port: Number(echoes), noDelay: true });
  await once(socket, 'connect');
  const message = Buffer.alloc(MESSAGE_BYTES, 'x');
  const start = performance.now();
  let count = 0;
  let got = 0;
  socket.write(message);
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.on('data', (chunk: Buffer) => {
      got += chunk.length;
      if (got < MESSAGE_BYTES) return;
      got -= MESSAGE_BYTES;
      count++;
      if (performance.now() - start < ms) socket.write(message);
      else resolve();
    });
  });
  socket.destroy();
  return count / ((performance.now() - start) / 1000);
}

/** Gbit/s that arrived, the first second left out. */
async function iperf3(...more: string[]): Promise<number> {
  const seconds = String(Math.max(1, Math.round(ms / 1000)));
  const { stdout } = await run('iperf3', ['-c', host, '-p', bulk, '-t', seconds, '-O', '1', '-J', ...more]);
  const report = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
  return report.end.sum_received.bits_per_second / 1e9;
}

/** The second of two: the first warms up the proxy, and this program. */
async function second(measure: () => Promise<number>): Promise<number> {
  await measure();
  return measure();
}

const figures = {
  down: await iperf3('-R'),
  up: await iperf3(),
  roundTrips: await second(roundTrips),
  connections: await second(connections),
};
console.log(JSON.stringify(figures));
process.exit(0);
