/** `ethertype bench`: what this machine does, each figure beside its peer in the same run. @module */
import { cpus } from 'node:os';
import { readInteger, readOptions } from './args.ts';
import { proxyRows, proxyUnavailable } from './bench/proxy.ts';
import { apiRows, coreRows, idleRows, ipv6Rows, tunRows } from './bench/rows.ts';
import { serverRows } from './bench/server-rows.ts';
import { formatTable, type Row } from './bench/table.ts';
import { threadRows } from './bench/thread-rows.ts';
import { tunUnavailable } from './bench/tun.ts';
import { type Command, CommandError } from './command.ts';

/** Length of one measurement, and how many there are of each; medians are printed. */
const MS_DEFAULT = 500;
const ROUNDS_DEFAULT = 5;
const IDLE_DEFAULT = 10_000;
const IDLE_MAX = 25_000;
const THREADS_MAX = 16;
/** A round of the proxies takes half a minute. */
const PROXY_ROUNDS_MAX = 3;

interface Settings {
  readonly rounds: number;
  readonly ms: number;
  readonly idle: number;
  readonly tun: boolean;
  readonly proxy: boolean;
}

interface Report {
  readonly machine: { readonly node: string; readonly cpu: string; readonly cores: number };
  readonly rows: Row[];
  /** Why the TUN figures are missing, or null. */
  readonly tunSkipped: string | null;
  /** The same of the proxy's. */
  readonly proxySkipped: string | null;
}

async function measure({ rounds, ms, idle, tun, proxy }: Settings, progress: (what: string) => void): Promise<Report> {
  progress('core');
  const rows = await coreRows(rounds, ms);
  progress('IPv6');
  rows.push(...(await ipv6Rows(rounds, ms)));
  progress('sockets');
  rows.push(...(await apiRows(rounds, ms)));
  progress('threads');
  rows.push(...(await threadRows(rounds, ms)));
  progress(`${idle} idle connections`);
  rows.push(...(await idleRows(idle, rounds, ms)));
  const tunSkipped = tun ? await tunUnavailable() : '--no-tun';
  if (tunSkipped === null) {
    progress('TUN');
    rows.push(...(await tunRows(rounds, ms)));
  }
  const proxySkipped = proxy ? await proxyUnavailable() : '--no-proxy';
  if (proxySkipped === null) {
    progress('proxies');
    rows.push(...(await proxyRows(Math.min(rounds, PROXY_ROUNDS_MAX), ms)));
  }
  const [cpu] = cpus();
  const machine = { node: process.versions.node, cpu: cpu?.model.trim() ?? 'unknown', cores: cpus().length };
  return { machine, rows, tunSkipped, proxySkipped };
}

function formatReport({ machine, rows, tunSkipped, proxySkipped }: Report): string {
  const lines = [`${machine.cpu}, ${machine.cores} cores, Node ${machine.node}; medians`, '', formatTable(rows)];
  if (tunSkipped !== null) lines.push(`TUN left out: ${tunSkipped}`);
  if (proxySkipped !== null) lines.push(`proxies left out: ${proxySkipped}`);
  return lines.join('\n');
}

async function onlyProxy({ rounds, ms }: Settings, progress: (what: string) => void): Promise<Row[]> {
  const missing = await proxyUnavailable();
  if (missing !== null) throw new CommandError(`the proxies cannot be measured here: ${missing}`);
  progress('proxies');
  return proxyRows(rounds, ms);
}

export const command: Command = {
  name: 'bench',
  summary: 'measures this machine: the stack beside node:net, node:dgram, iperf3 and a bare data path',
  usage: `usage: ethertype bench [OPTION]...

Measures bulk on one connection and on many, round trips, connections a second, datagrams, and what idle connections
cost in memory and speed, each figure and its peer in turn. Prints medians, and the median of the ratios of paired
runs. The TUN figures need root and iperf3; they use a network namespace that the command makes and removes. So do
those of ethertype run, beside whichever of slirp4netns and passt is installed: they need iperf3 and user namespaces.

  --ipv6       only the rows of IPv6
  --proxy      only the rows of ethertype run: bulk both ways, connections, round trips, of at least a second each
  --no-tun     not those of TUN
  --threads N  only server --threads N beside one thread, 2 to ${THREADS_MAX}: N bulk flows, as they came through, and by
               processor time, since Linux's side of them takes part of the same processors (root)
  --no-proxy   not those of ethertype run
  --json       one JSON document
  --rounds N   runs of each (default ${ROUNDS_DEFAULT})
  --ms N       length of one run in milliseconds (default ${MS_DEFAULT})
  --idle N     idle connections, 1 to ${IDLE_MAX} (default ${IDLE_DEFAULT})`,

  async run(args: string[]): Promise<number> {
    const { values } = readOptions(args, {
      json: { type: 'boolean' },
      ipv6: { type: 'boolean' },
      proxy: { type: 'boolean' },
      'no-proxy': { type: 'boolean' },
      'no-tun': { type: 'boolean' },
      threads: { type: 'string' },
      rounds: { type: 'string' },
      ms: { type: 'string' },
      idle: { type: 'string' },
    });
    const settings: Settings = {
      rounds: readInteger('rounds', values.rounds, 1, 1000) ?? ROUNDS_DEFAULT,
      ms: readInteger('ms', values.ms, 1, 60_000) ?? MS_DEFAULT,
      idle: readInteger('idle', values.idle, 1, IDLE_MAX) ?? IDLE_DEFAULT,
      tun: values['no-tun'] !== true,
      proxy: values['no-proxy'] !== true,
    };
    const progress = (what: string): void => {
      if (process.stderr.isTTY) process.stderr.write(`measuring: ${what} ...\n`);
    };
    const threads = readInteger('threads', values.threads, 2, THREADS_MAX);
    if (threads !== undefined) {
      const unavailable = await tunUnavailable();
      if (unavailable !== null) throw new CommandError(`--threads: ${unavailable}`);
      const rows = await serverRows(threads, settings.rounds, settings.ms);
      console.log(values.json ? JSON.stringify(rows, null, 2) : formatTable(rows));
      return 0;
    }
    if (values.ipv6 || values.proxy) {
      const rows = values.ipv6 ? await ipv6Rows(settings.rounds, settings.ms) : await onlyProxy(settings, progress);
      console.log(values.json ? JSON.stringify(rows, null, 2) : formatTable(rows));
      return 0;
    }
    const report = await measure(settings, progress);
    console.log(values.json ? JSON.stringify(report, null, 2) : formatReport(report));
    return 0;
  },
};
