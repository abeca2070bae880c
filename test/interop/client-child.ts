/**
 * Our side as a client: a host on a TUN or TAP interface that does one thing and says on a line of JSON how it went.
 * Usage: client-child.js tap|tun MODE HOST PORT [COUNT]. @module
 */
import { createHash } from 'node:crypto';
import { downloadBlock } from '../../src/cli/http-server.ts';
import { createHost, type Host, NetError, type TcpStream } from '../../src/index.ts';
import { openTap, openTun } from '../../src/linux/index.ts';

const [, , kind, mode, peer = '', portText = '', countText = '0'] = process.argv;
const port = Number(portText);
const count = Number(countText);

/** Reads to the end; the count and hash of it. */
async function readAll(stream: TcpStream): Promise<{ bytes: number; sha256: string; text: string }> {
  const hash = createHash('sha256');
  const buffer = new Uint8Array(1 << 16);
  let bytes = 0;
  let text = '';
  for (let n = await stream.readInto(buffer); n > 0; n = await stream.readInto(buffer)) {
    hash.update(buffer.subarray(0, n));
    bytes += n;
    if (bytes < 200) text += Buffer.from(buffer.subarray(0, n)).toString('latin1');
  }
  return { bytes, sha256: hash.digest('hex'), text };
}

async function upload(stream: TcpStream): Promise<void> {
  for (let at = 0; at < count; at += 65_536) await stream.write(downloadBlock(at >> 16).subarray(0, count - at));
  await stream.end();
}

async function act(host: Host): Promise<unknown> {
  if (mode === 'ping') return { size: (await host.ping(peer, { timeout: 2000 })).size };
  const stream = await host.tcp.connect({ host: peer, port });
  let result: unknown = null;
  if (mode === 'download') result = await readAll(stream);
  else if (mode === 'upload') {
    await upload(stream);
    result = await readAll(stream); // our half is closed: what Linux counted
  } else if (mode === 'after-end') {
    result = await readAll(stream); // Linux has ended its half
    await upload(stream);
    // Until Linux has acknowledged it all: closing the host resets what is still under way.
    while (stream.socket.sendQueue() > 0) await new Promise((resume) => setTimeout(resume, 5));
  }
  await stream.close();
  return result;
}

const device = await (kind === 'tap' ? openTap : openTun)({ name: `${kind}0`, hostAddress: '192.168.69.100/24' });
const host = createHost({ device, addresses: ['192.168.69.1/24'], gateway: '192.168.69.100' });
const since = performance.now();
let outcome: unknown;
try {
  outcome = { result: await act(host) };
} catch (error) {
  if (!(error instanceof NetError)) throw error;
  const { code, syscall, address, port: at, message } = error;
  outcome = { error: { code, syscall, address, port: at, message } };
}
const ms = Math.round(performance.now() - since);
await host.close();
console.log(JSON.stringify({ ...(outcome as object), ms, leakedBytes: host.memory.usedBytes }));
