/** `ethertype server` as tests start it: in a namespace of its own, with Linux at the other end of the wire. @module */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { downloadBlock } from '../../src/cli/http-server.ts';
import { Namespace, type Running } from './namespace.ts';

export const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
/** Children of tests, see there. */
export const LOAD = fileURLToPath(new URL('./load-child.js', import.meta.url));
export const CLIENT = fileURLToPath(new URL('./client-child.js', import.meta.url));

/** The server's address, and Linux's. */
export const OURS = '192.168.69.1';
export const LINUX = '192.168.69.100';
/** What an idle stack holds for its device. */
const IDLE_BYTES_MAX = 256 << 10;

/** The wires every basic test runs over. */
export const WIRES: readonly { readonly name: string; readonly args: readonly string[] }[] = [
  { name: 'tap', args: ['--tap', 'tap0'] },
  { name: 'tun', args: ['--tun', 'tun0'] },
  { name: 'tap, no offload', args: ['--tap', 'tap0', '--no-offload'] },
  { name: 'tun, no offload', args: ['--tun', 'tun0', '--no-offload'] },
];

/** What the server prints at its end with --json; see account() in src/cli/server.ts. */
export interface Account {
  readonly openConnections: number;
  readonly services: Record<string, { connections: number; open: number; failed: number; datagrams: number }>;
  readonly stack: { framesIn: number; framesOut: number; tcpRetransmits: number; drops: Record<string, number> };
  readonly faults: Record<string, number> | null;
  readonly memory: { bytes: number; usedBytes: number; peakBytes: number; refused: number; leakedBytes: number };
}

/** A server and the namespace it runs in. */
export class Server {
  readonly space: Namespace;
  readonly process: Running;

  private constructor(space: Namespace, process: Running) {
    this.space = space;
    this.process = process;
  }

  static async start(args: readonly string[]): Promise<Server> {
    const space = await Namespace.create();
    try {
      const addresses = ['--address', `${OURS}/24`, '--host-address', `${LINUX}/24`];
      const process_ = space.spawn(process.execPath, MAIN, 'server', ...addresses, '--json', ...args);
      await process_.errorLine(/^ethertype server: 192\.168\.69\.1[ ,].*on /);
      return new Server(space, process_);
    } catch (error) {
      await space.dispose();
      throw error;
    }
  }

  /** Ends it with SIGTERM: it must exit with 0 and have given all memory back. */
  async end(): Promise<Account> {
    const code = await this.process.end(5_000, 'SIGTERM');
    assert.equal(code, 0, this.process.stderr);
    assert.equal(this.process.errorLines.length, 1, this.process.stderr); // the ready line
    const account = JSON.parse(this.process.lines.join('\n')) as Account;
    assert.equal(account.memory.leakedBytes, 0, 'bytes still taken after the host was closed');
    assert.ok(account.memory.peakBytes <= account.memory.bytes);
    return account;
  }

  /** {@link end}, when nothing was under way any more: connections and their memory must have gone before. */
  async endIdle(): Promise<Account> {
    await sleep(200); // the last FIN of a program that has just exited may still be on its way
    const account = await this.end();
    assert.equal(account.openConnections, 0, `connections still served: ${JSON.stringify(account.services)}`);
    assert.ok(account.memory.usedBytes < IDLE_BYTES_MAX, `${account.memory.usedBytes} bytes held by an idle server`);
    return account;
  }

  dispose(): Promise<void> {
    return this.space.dispose();
  }
}

/** Runs `body` with a server, and cleans up whatever happens. */
export async function withServer(args: readonly string[], body: (server: Server) => Promise<void>): Promise<void> {
  const server = await Server.start(args);
  try {
    await body(server);
  } finally {
    await server.dispose();
  }
}

/** SHA-256 of the first `count` bytes of the server's downloads. */
export function downloadHash(count: number): string {
  const hash = createHash('sha256');
  for (let index = 0; index << 16 < count; index++)
    hash.update(downloadBlock(index).subarray(0, count - (index << 16)));
  return hash.digest('hex');
}

export const sleep = (ms: number): Promise<void> => new Promise((resume) => setTimeout(resume, ms));
