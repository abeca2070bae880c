/**
 * What one end of an idle connection holds: heap and stack memory, measured in a process of its own, where nothing else
 * is given back meanwhile. Prints one JSON line. Run by idle.ts; `node idle-child.js core|sockets|node COUNT`. @module
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as api from './api.ts';
import { CorePair } from './core.ts';
import * as peer from './node.ts';

/** Connections made first, so that code and tables made once are not counted. */
const FIRST = 64;
/** Collections before memory is read, and milliseconds between them: handles are freed some turns after their end. */
const COLLECTIONS = 3;
const SETTLE_MS = 50;

// Without a flag on the command line.
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** @param memory - linear memory, which is counted by what is handed out: the rest is budget, not use */
async function heldBytes(memory: { readonly bytes: number; readonly usedBytes: number } | null): Promise<number> {
  for (let i = 0; i < COLLECTIONS; i++) {
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    collect();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external - (memory === null ? 0 : memory.bytes - memory.usedBytes);
}

/** `connect` returns what holds the connections: it must live until both readings are done. */
async function growth(
  memory: Parameters<typeof heldBytes>[0],
  count: number,
  connect: (count: number) => unknown,
): Promise<number> {
  const first = await connect(FIRST);
  const before = await heldBytes(memory);
  const idle = await connect(count);
  const bytes = (await heldBytes(memory)) - before;
  kept.push(first, idle);
  return bytes / (2 * count);
}

const kept: unknown[] = [];

const KINDS: Readonly<Record<string, (count: number) => Promise<number>>> = {
  core: (count) => {
    const pair = new CorePair(false, 64 << 20);
    let port = 80;
    return growth(pair.client.memory, count, (n) => pair.connect(port++, n));
  },
  sockets: (count) => {
    const pair = api.hostPair();
    let port = 80;
    return growth(pair.client.memory, count, (n) => api.connectMany(pair, n, port++));
  },
  node: (count) => growth(null, count, (n) => peer.connectMany(n)),
};

const [kind = '', count = '1000'] = process.argv.slice(2);
console.log(JSON.stringify({ bytesEach: await KINDS[kind]!(Number(count)) }));
process.exit(0);
