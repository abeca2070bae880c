/** `ethertype bench`: what this machine does, each figure beside its peer in the same run. @module */
import { cpus } from 'node:os';
import { readInteger, readOptions } from './args.ts';
import * as api from './bench/api.ts';
import * as core from './bench/core.ts';
import { floor } from './bench/floor.ts';
import { type IdleCost, idleCost } from './bench/idle.ts';
import * as peer from './bench/node.ts';
import { type TunRates, tunRates, tunUnavailable } from './bench/tun.ts';
import type { Command } from './command.ts';

/** Length of one measurement, and how many there are of each; medians are printed. */
const MS_DEFAULT = 500;
const ROUNDS_DEFAULT = 5;
const IDLE_CONNECTIONS = 10_000;

/** One figure beside its peer. */
interface Row {
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  readonly peer: string;
  readonly theirs: number;
  /** Median of the ratios of paired runs. */
  readonly ratio: number;
  readonly note?: string;
}

interface Report {
  readonly machine: { readonly node: string; readonly cpu: string; readonly cores: number };
  readonly rows: Row[];
  readonly idle: IdleCost;
  /** Why the TUN figures are missing, or null. */
  readonly tunSkipped: string | null;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

/** Runs `ours` and `theirs` in turn, `rounds` times after one run of each to warm up. */
async function beside(
  spec: Pick<Row, 'name' | 'unit' | 'peer'>,
  rounds: number,
  ours: () => number | Promise<number>,
  theirs: () => number | Promise<number>,
): Promise<Row> {
  await ours();
  await theirs();
  const pairs: [number, number][] = [];
  for (let i = 0; i < rounds; i++) pairs.push([await ours(), await theirs()]);
  return {
    ...spec,
    ours: median(pairs.map(([a]) => a)),
    theirs: median(pairs.map(([, b]) => b)),
    ratio: median(pairs.map(([a, b]) => a / b)),
  };
}

async function coreRows(rounds: number, ms: number): Promise<Row[]> {
  const plain = new core.CorePair(false, 64 << 20);
  const [bulkPair, echoPair] = [plain.connect(9, 1)[0]!, plain.connect(7, 1)[0]!];
  const offload = new core.CorePair(true, 64 << 20);
  const offloadPair = offload.connect(9, 1)[0]!;
  let perAck = 0;
  const rows = [
    await beside(
      { name: 'TCP bulk, core, MTU 1500, checksums', unit: 'Gbit/s', peer: 'bare data path' },
      rounds,
      () => {
        const [gbit, segments] = core.bulk(plain, bulkPair, ms);
        perAck = segments;
        return gbit;
      },
      () => floor(ms),
    ),
    await beside(
      { name: 'TCP bulk, core, super-segments', unit: 'Gbit/s', peer: 'bare data path' },
      rounds,
      () => core.bulk(offload, offloadPair, ms)[0],
      () => floor(ms),
    ),
    await beside(
      { name: '64 B round trips, core', unit: '/s', peer: 'node:net loopback' },
      rounds,
      () => core.roundTrips(plain, echoPair, ms),
      () => peer.roundTrips(ms),
    ),
    await beside(
      { name: 'UDP 64 B datagrams, core', unit: '/s', peer: 'node:dgram loopback' },
      rounds,
      () => core.datagrams(plain, ms),
      () => peer.datagrams(ms),
    ),
  ];
  rows[0] = { ...rows[0]!, note: `${perAck.toFixed(0)} segments an ACK` };
  plain.close();
  offload.close();
  return rows;
}

/** IPv6 beside IPv4. */
async function familyRows(rounds: number, ms: number): Promise<Row[]> {
  const v4 = new core.CorePair(false, 64 << 20, 4);
  const v6 = new core.CorePair(false, 64 << 20, 6);
  const [bulk4, bulk6] = [v4, v6].map((pair) => pair.connect(9, 1)[0]!);
  const rows = [
    await beside(
      { name: 'TCP bulk, core, IPv6', unit: 'Gbit/s', peer: 'the same over IPv4' },
      rounds,
      () => core.bulk(v6, bulk6!, ms)[0],
      () => core.bulk(v4, bulk4!, ms)[0],
    ),
    await beside(
      { name: 'UDP 64 B datagrams, core, IPv6', unit: '/s', peer: 'the same over IPv4' },
      rounds,
      () => core.datagrams(v6, ms),
      () => core.datagrams(v4, ms),
    ),
  ];
  for (const pair of [v4, v6]) pair.close();
  return rows;
}

/** A host with large tables beside one without: on Ethernet, for only there a neighbour is asked for. */
async function tableRows(rounds: number, ms: number): Promise<Row[]> {
  const few = new core.CorePair(false, 64 << 20, 6, 'ethernet');
  const full = new core.CorePair(false, 64 << 20, 6, 'ethernet');
  full.fillTables();
  const [bulkFew, bulkFull] = [few, full].map((pair) => pair.connect(9, 1)[0]!);
  const rows = [
    await beside(
      { name: 'TCP bulk, 10,000 routes, neighbours', unit: 'Gbit/s', peer: 'a host with few' },
      rounds,
      () => core.bulk(full, bulkFull!, ms)[0],
      () => core.bulk(few, bulkFew!, ms)[0],
    ),
    await beside(
      { name: 'UDP 64 B, 10,000 routes, neighbours', unit: '/s', peer: 'a host with few' },
      rounds,
      () => core.datagrams(full, ms),
      () => core.datagrams(few, ms),
    ),
  ];
  for (const pair of [few, full]) pair.close();
  return rows;
}

const ipv6Rows = async (rounds: number, ms: number): Promise<Row[]> => [
  ...(await familyRows(rounds, ms)),
  ...(await tableRows(rounds, ms)),
];

async function apiRows(rounds: number, ms: number): Promise<Row[]> {
  const pair = api.hostPair();
  const rows = [
    await beside(
      { name: 'TCP bulk, write/read, MTU 1500, checksums', unit: 'Gbit/s', peer: 'bare data path' },
      rounds,
      () => api.bulk(pair, false, ms),
      () => floor(ms),
    ),
    await beside(
      { name: 'TCP bulk, write/readInto', unit: 'Gbit/s', peer: 'node:net loopback' },
      rounds,
      () => api.bulk(pair, true, ms),
      () => peer.bulk(ms),
    ),
    await beside(
      { name: '64 B round trips', unit: '/s', peer: 'node:net loopback' },
      rounds,
      () => api.roundTrips(pair, ms),
      () => peer.roundTrips(ms),
    ),
    await beside(
      { name: 'connections opened and closed', unit: '/s', peer: 'node:net loopback' },
      rounds,
      () => api.connections(pair, ms),
      () => peer.connections(ms),
    ),
    await beside(
      { name: 'UDP 64 B datagrams', unit: '/s', peer: 'node:dgram loopback' },
      rounds,
      () => api.datagrams(pair, ms),
      () => peer.datagrams(ms),
    ),
  ];
  await pair.client.close();
  await pair.server.close();
  return rows;
}

async function tunRows(rounds: number, ms: number): Promise<Row[]> {
  const runs: TunRates[] = [];
  for (let i = 0; i < rounds; i++) runs.push(await tunRates(Math.max(1000, ms)));
  const row = (name: string, ours: (run: TunRates) => number): Row => ({
    name,
    unit: 'Gbit/s',
    ours: median(runs.map(ours)),
    peer: 'iperf3 loopback',
    theirs: median(runs.map((run) => run.iperf3)),
    ratio: median(runs.map((run) => ours(run) / run.iperf3)),
  });
  return [
    row('Linux to us over TUN, offload', (run) => run.linuxToUs),
    row('us to Linux over TUN, offload', (run) => run.usToLinux),
  ];
}

const number = (value: number): string => (value >= 1000 ? Math.round(value).toLocaleString('en') : value.toFixed(1));

const formatRow = (row: Row): string =>
  `${row.name.padEnd(43)}${number(row.ours).padStart(10)} ${row.unit.padEnd(7)}` +
  `${row.ratio.toFixed(2).padStart(7)} of ${row.peer} (${number(row.theirs)})` +
  (row.note === undefined ? '' : `; ${row.note}`);

function formatReport(report: Report): string {
  const { machine, rows, idle } = report;
  const lines = [`${machine.cpu}, ${machine.cores} cores, Node ${machine.node}; medians`, ''];
  lines.push(...rows.map(formatRow));
  lines.push(
    `${`${number(idle.connections)} idle connections`.padEnd(43)}${number(idle.bytesEach).padStart(10)} B each ` +
      `${idle.ratio.toFixed(2).padStart(7)} of the speed without them`,
  );
  if (report.tunSkipped !== null) lines.push(`TUN left out: ${report.tunSkipped}`);
  return lines.join('\n');
}

async function measure(rounds: number, ms: number, progress: (what: string) => void): Promise<Report> {
  progress('core');
  const rows = await coreRows(rounds, ms);
  progress('IPv6');
  rows.push(...(await ipv6Rows(rounds, ms)));
  progress('sockets');
  rows.push(...(await apiRows(rounds, ms)));
  progress(`${IDLE_CONNECTIONS} idle connections`);
  const idle = idleCost(IDLE_CONNECTIONS, rounds, ms);
  const tunSkipped = await tunUnavailable();
  if (tunSkipped === null) {
    progress('TUN');
    rows.push(...(await tunRows(rounds, ms)));
  }
  const [cpu] = cpus();
  const machine = { node: process.versions.node, cpu: cpu?.model.trim() ?? 'unknown', cores: cpus().length };
  return { machine, rows, idle, tunSkipped };
}

export const command: Command = {
  name: 'bench',
  summary: 'measures this machine: the stack beside node:net, node:dgram, iperf3 and a bare data path',
  usage: `usage: ethertype bench [--json] [--rounds N] [--ms N]

Measures bulk, round trips, connections, datagrams and idle connections, each figure
and its peer in turn, and prints medians and the ratio of paired runs. The TUN figures
need root and iperf3; they use a network namespace that the command makes and removes.

  --ipv6       only the rows of IPv6
  --json       one JSON document
  --rounds N   runs of each (default ${ROUNDS_DEFAULT})
  --ms N       length of one run in milliseconds (default ${MS_DEFAULT})`,

  async run(args: string[]): Promise<number> {
    const { values } = readOptions(args, {
      json: { type: 'boolean' },
      ipv6: { type: 'boolean' },
      rounds: { type: 'string' },
      ms: { type: 'string' },
    });
    const rounds = readInteger('rounds', values.rounds, 1, 1000) ?? ROUNDS_DEFAULT;
    const ms = readInteger('ms', values.ms, 1, 60_000) ?? MS_DEFAULT;
    const progress = (what: string): void => {
      if (process.stderr.isTTY) process.stderr.write(`measuring: ${what} ...\n`);
    };
    if (values.ipv6) {
      const rows = await ipv6Rows(rounds, ms);
      console.log(values.json ? JSON.stringify(rows, null, 2) : rows.map(formatRow).join('\n'));
      return 0;
    }
    const report = await measure(rounds, ms, progress);
    console.log(values.json ? JSON.stringify(report, null, 2) : formatReport(report));
    return 0;
  },
};
