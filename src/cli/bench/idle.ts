/** What idle connections cost, in memory and in the speed of one more: here and in node:net. @module */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { bulk, CorePair } from './core.ts';
import * as peer from './node.ts';
import { median } from './table.ts';

const CHILD = fileURLToPath(new URL('./idle-child.js', import.meta.url));
/** Descriptors left to everything else, and how many there are where nobody says it. */
const DESCRIPTORS_ELSE = 200;
const DESCRIPTORS_DEFAULT = 1024;

/** Bytes of heap and stack memory that one end of an idle connection holds: of the core, as a stream, in node:net. */
export async function idleBytes(kind: 'core' | 'sockets' | 'node', count: number): Promise<number> {
  const { stdout } = await promisify(execFile)(process.execPath, [CHILD, kind, String(count)]);
  return (JSON.parse(stdout) as { bytesEach: number }).bytesEach;
}

/** How fast a bulk transfer is beside `count` idle connections, as a part of what it is alone: median of paired runs. */
export function idleSlowdown(count: number, rounds: number, ms: number): number {
  const alone = new CorePair(false, 64 << 20);
  const [aloneConnection] = alone.connect(9, 1);
  const beside = new CorePair(false, 64 << 20);
  const idle = beside.connect(80, count);
  const [besideConnection] = beside.connect(9, 1);
  bulk(alone, aloneConnection!, ms);
  bulk(beside, besideConnection!, ms);
  const ratios: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const [gbitAlone] = bulk(alone, aloneConnection!, ms);
    ratios.push(bulk(beside, besideConnection!, ms)[0] / gbitAlone);
  }
  if (idle.some(([socket, peer]) => socket.state() !== 'ESTABLISHED' || peer.state() !== 'ESTABLISHED')) {
    throw new Error('an idle connection was lost');
  }
  alone.close();
  beside.close();
  return median(ratios);
}

/** The same of node:net, where opening so many takes too long for pairs: all runs alone, then all beside. */
export async function idleSlowdownOfPeer(count: number, rounds: number, ms: number): Promise<number> {
  const runs = async (): Promise<number> => {
    const gbits: number[] = [];
    for (let i = 0; i < rounds; i++) gbits.push(await peer.bulk(ms));
    return median(gbits);
  };
  await peer.bulk(ms);
  const alone = await runs();
  const idle = await peer.connectMany(count);
  const beside = await runs();
  idle.close();
  return beside / alone;
}

/** Connections that this process may have both ends of. */
export function peerConnectionsMax(): number {
  let descriptors = DESCRIPTORS_DEFAULT;
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    if (found !== undefined) descriptors = Number(found);
  } catch {
    // not Linux
  }
  return Math.max(1, Math.floor((descriptors - DESCRIPTORS_ELSE) / 2));
}
