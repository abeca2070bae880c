/**
 * One bulk flow of Linux's TCP that costs Linux as little as can be: sent out of the page cache (sendfile), received
 * without a copy (MSG_TRUNC). Run by server-rows.ts: `node bulk-child.js up|down ADDRESS PORT LOCAL-PORT WARM-MS MS`; prints
 * `go` where the time counts from, then one line of JSON. @module
 */
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Struct } from '../../linux/ifreq.ts';
import * as c from '../../linux/libc.ts';

const CHUNK_BYTES = 1 << 20;
const MSG_TRUNC = 0x20;
const ADDRESS_BYTES = 16;

const [direction = 'up', address = '', port = '', localPort = '0', warmMs = '0', ms = '1000'] = process.argv.slice(2);
const libc = await c.loadLibc();

/** struct sockaddr_in */
function addressOf(text: string, number: number): Struct {
  const name = new Struct(libc, ADDRESS_BYTES);
  name.dv.setUint16(0, c.AF_INET, true);
  name.dv.setUint16(2, number);
  for (const [i, byte] of text.split('.').entries()) name.u8[4 + i] = Number(byte);
  return name;
}

function check(result: number, what: string): number {
  if (result < 0) throw new Error(`${what}: ${c.codeOf(libc.errno())}`);
  return result;
}

const fd = check(libc.socket(c.AF_INET, c.SOCK_STREAM, 0), 'socket');
const local = addressOf('0.0.0.0', Number(localPort));
check(libc.bind(fd, local.address, ADDRESS_BYTES), 'bind');
check(libc.connect(fd, addressOf(address, Number(port)).address, ADDRESS_BYTES), 'connect');

/** Moves some bytes; returns how many. */
let move: () => number;
if (direction === 'up') {
  const folder = mkdtempSync(join(tmpdir(), 'et-bulk-'));
  writeFileSync(join(folder, 'zeros'), new Uint8Array(CHUNK_BYTES));
  const file = openSync(join(folder, 'zeros'), 'r');
  process.on('exit', () => closeSync(file));
  rmSync(folder, { recursive: true });
  const offset = new Struct(libc, 8);
  move = () => {
    offset.dv.setBigInt64(0, 0n, true);
    return check(libc.sendfile(fd, file, offset.address, CHUNK_BYTES), 'sendfile');
  };
} else {
  const request = new TextEncoder().encode('GET /bytes/1000000000000 HTTP/1.0\r\n\r\n');
  check(libc.write(fd, libc.address(request), request.length), 'write');
  const nothing = new Struct(libc, 8); // what is cut off needs no room
  move = () => check(libc.recv(fd, nothing.address, CHUNK_BYTES, MSG_TRUNC), 'recv');
}

function run(length: number): { bytes: number; ms: number } {
  const start = performance.now();
  let bytes = 0;
  let now = start;
  for (; now - start < length; now = performance.now()) bytes += move();
  return { bytes, ms: now - start };
}

run(Number(warmMs));
process.stdout.write('go\n');
console.log(JSON.stringify(run(Number(ms))));
libc.close(fd);
process.exit(0);
