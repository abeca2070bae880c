/** `ethertype lab`: a whole LAN in memory, real traffic over it, and a readable account. Needs no privilege. @module */
import { readInteger, readOptions, readPercent } from './args.ts';
import { CaptureFile } from './capture-file.ts';
import { type Command, UsageError } from './command.ts';
import { FAULT_OPTIONS, FAULT_USAGE, readFaultSettings } from './fault-options.ts';
import { readJsonFile } from './json-file.ts';
import { accountToJson, formatAccount } from './lab/account.ts';
import { chooseFlow, runDeclaredCommand, writePage } from './lab/declared-command.ts';
import { Observer } from './lab/observer.ts';
import { pageOf } from './lab/page.ts';
import type { LabOptions } from './lab/phase.ts';
import { Progress } from './lab/progress.ts';
import { type LabAccount, runLab } from './lab/run.ts';
import { sequenceDiagram } from './lab/sequence.ts';
import { readScenario } from './scenario.ts';

const SEED_MAX = 0xffff_ffff;
const SEED_DEFAULT = 1;
/** Beyond it TCP is right to give up. */
const LOSS_PERCENT_MAX = 50;
const LOSS_PERCENT_DEFAULT = 1;
const BULK_BYTES = 256 << 20;

const ROWS_DEFAULT = 40;
const ROWS_MAX = 2000;

const USAGE = `usage: ethertype lab [OPTION]...
       ethertype lab FILE [OPTION]...

Runs hosts behind a router in memory, in virtual time: they get addresses from it
by DHCP and SLAAC, and names by DNS; then ping, HTTP, UDP echo, a bulk transfer, a
lossy transfer, and broken frames, over IPv4 and IPv6. Ends with an account of
what happened. Needs no privilege.

With FILE, runs the network that FILE declares, in JSON: switches, links, routers
and hosts, faults, and what hosts serve and do. A wrong file is told with the place
in it. examples/lab.json is one.

  --pcap FILE      records the traffic, as pcapng, or as pcap where FILE ends so;
                   without the bulk transfer and the broken frames
  --json           prints the account as one JSON document
  --seed N         a whole number up to ${SEED_MAX}, default ${SEED_DEFAULT}: the same seed
                   gives the same losses and the same broken frames
  --scenario FILE  with FILE: changes of its links and cables over time

  --flow FLOW      the sequence diagram of a flow: its number, or its hosts, as in
                   alice:server; without a declared network, of the lossy transfer
  --rows N         segments of the diagram, default ${ROWS_DEFAULT}
  --html FILE      writes a page with plots of the flows and a list of the packets
  --loss P         the same as --drop P

Without FILE, faults are those of alice's cable in the lossy transfer, each way,
in place of what she has there: a loss of ${LOSS_PERCENT_DEFAULT} % (${LOSS_PERCENT_MAX} at most), 10 ms, 50 Mbit/s.
${FAULT_USAGE}

Exit code 1 if something failed or memory did not come back.`;

const OPTIONS = {
  pcap: { type: 'string' },
  json: { type: 'boolean' },
  loss: { type: 'string' },
  ...FAULT_OPTIONS,
  flow: { type: 'string' },
  rows: { type: 'string' },
  html: { type: 'string' },
} as const;

type Values = ReturnType<typeof readOptions<typeof OPTIONS>>['values'];

async function run(args: string[]): Promise<number> {
  const { values, positionals } = readOptions(args, OPTIONS, 1);
  const seed = readInteger('seed', values.seed, 0, SEED_MAX);
  const [path] = positionals;
  if (path === undefined) return runDefault(values, seed ?? SEED_DEFAULT);
  const own = Object.keys(FAULT_OPTIONS).filter((name) => name !== 'seed' && name !== 'scenario');
  const fault = ['loss', ...own].find((name) => name in values);
  if (fault !== undefined) throw new UsageError(`--${fault}: expected none with a file: faults are declared there`);
  return runDeclaredCommand({
    path,
    pcap: values.pcap,
    json: values.json === true,
    seed,
    flow: values.flow,
    rows: readRows(values),
    html: values.html,
    scenario: values.scenario,
  });
}

const readRows = ({ rows }: Values): number => readInteger('rows', rows, 1, ROWS_MAX) ?? ROWS_DEFAULT;

/** What the lossy transfer meets. */
function readLossy(values: Values): Pick<LabOptions, 'lossPercent' | 'faults'> {
  const { loss } = values;
  const { drop, ...faults } = readFaultSettings(values);
  if (loss !== undefined && drop !== undefined) throw new UsageError('expected one of --loss and --drop, got both');
  const lossPercent = 100 * (readPercent('loss', loss) ?? drop ?? LOSS_PERCENT_DEFAULT / 100);
  if (lossPercent > LOSS_PERCENT_MAX) {
    const option = loss === undefined ? 'drop' : 'loss';
    throw new UsageError(`--${option}: expected a percentage from 0 to ${LOSS_PERCENT_MAX}, got "${values[option]}"`);
  }
  return { lossPercent, faults };
}

/** The lab that needs no file. */
async function runDefault(values: Values, seed: number): Promise<number> {
  const rows = readRows(values);
  const options = {
    seed,
    scenario: values.scenario === undefined ? null : readScenario(readJsonFile(values.scenario), null),
    ...readLossy(values),
    bulkBytes: BULK_BYTES,
  };
  let failure: string | null = null;
  const onFailure = (message: string): void => {
    failure = message;
  };
  const file = values.pcap === undefined ? null : new CaptureFile(values.pcap, onFailure);
  const progress = new Progress(process.stderr);
  const recording = file === null ? null : { sink: file, format: file.format };
  const onProgress = (phase: string, part: number): void => progress.show(phase, part);
  const isLookedAt = values.html !== undefined || values.flow !== undefined;
  const observer = isLookedAt ? new Observer({ lists: values.html !== undefined }) : null;
  const account = await runLab({ options, recording, observer, onProgress }).finally(() => {
    progress.clear();
    file?.close();
  });
  const capture = values.pcap === undefined ? null : { file: values.pcap, failure };
  const flow = values.flow === undefined ? null : chooseFlow(observer!.flows, values.flow);
  if (values.html !== undefined) writePage(values.html, lossyPage(account, observer!, seed));
  console.log(
    values.json
      ? JSON.stringify(accountToJson(account, options, capture), null, 2)
      : formatAccount(account, options, capture),
  );
  if (flow !== null && !values.json) console.log(['', ...sequenceDiagram(flow, rows)].join('\n'));
  return account.ok && failure === null ? 0 : 1;
}

/** The page of the lossy transfer. */
function lossyPage({ hosts, rows }: LabAccount, observer: Observer, seed: number): string {
  const { virtualMs = null } = rows.find(({ name }) => name === 'lossy') ?? {};
  const shown = hosts.map(({ name, mac, address, address6 }) => ({
    name,
    mac,
    addresses: [address, address6].filter((one) => one !== null),
  }));
  return pageOf({ observer, virtualMs: virtualMs ?? 0, hosts: shown, done: [] }, { title: 'lossy transfer', seed });
}

export const command: Command = {
  name: 'lab',
  summary: 'a LAN in memory, real traffic over it, and an account of it',
  usage: USAGE,
  run,
};
