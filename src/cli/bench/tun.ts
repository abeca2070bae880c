/** Linux's TCP through TUN against ours, beside iperf3 over loopback; all in a network namespace of its own. @module */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { loadLibc } from '../../linux/libc.ts';

const run = promisify(execFile);
const CHILD = fileURLToPath(new URL('./tun-child.js', import.meta.url));

export interface TunRates {
  readonly linuxToUs: number;
  readonly usToLinux: number;
  readonly iperf3: number;
}

/** Why it can't run here, or null. */
export async function tunUnavailable(): Promise<string | null> {
  if (process.getuid?.() !== 0) return 'not root';
  if (!existsSync('/dev/net/tun')) return 'no /dev/net/tun';
  const missing = await loadLibc().then(
    () => null,
    (error: Error) => error.message,
  );
  if (missing !== null) return missing;
  for (const tool of ['ip', 'iperf3']) {
    const found = await run('which', [tool]).then(
      () => true,
      () => false,
    );
    if (!found) return `${tool} is not installed`;
  }
  return null;
}

/** One round of all three, each `ms` long: Gbit/s. */
export async function tunRates(ms: number): Promise<TunRates> {
  const name = `etbench-${process.pid}`;
  const inside = (command: string, ...args: string[]): Promise<{ stdout: string }> =>
    run('ip', ['netns', 'exec', name, command, ...args], { timeout: ms + 20_000 });
  await run('ip', ['netns', 'add', name]);
  try {
    await inside('ip', 'link', 'set', 'lo', 'up');
    const child = async (direction: string): Promise<number> => {
      const { stdout } = await inside(process.execPath, CHILD, direction, String(ms));
      return (JSON.parse(stdout) as { gbitPerSecond: number }).gbitPerSecond;
    };
    const linuxToUs = await child('in');
    const iperf3 = await loopback(inside, ms);
    const usToLinux = await child('out');
    return { linuxToUs, usToLinux, iperf3 };
  } finally {
    await run('ip', ['netns', 'del', name]).catch(() => {});
  }
}

type Inside = (command: string, ...args: string[]) => Promise<{ stdout: string }>;

async function loopback(inside: Inside, ms: number): Promise<number> {
  const serving = inside('iperf3', '-s', '-1', '-B', '127.0.0.1').catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 300));
  const seconds = String(Math.max(1, Math.round(ms / 1000)));
  const { stdout } = await inside('iperf3', '-c', '127.0.0.1', '-t', seconds, '-J');
  await serving;
  const report = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
  return report.end.sum_received.bits_per_second / 1e9;
}
