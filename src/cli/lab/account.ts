/** The account of the lab on one screen of 80 columns, and the same for programs. @module */
import type { LabOptions } from './phase.ts';
import type { LabAccount, LabHost, Row } from './run.ts';
import { grouped, inBytes, inTime, wrapped } from './text.ts';

const WIDTH = 80;
/** Columns: phase, what, result, time; two spaces between. */
const NAME = 9;
const DID = 27;
const SAW = 31;
const TIME = 7;

export interface CaptureNote {
  readonly file: string;
  /** Why it is not whole, or null. */
  readonly failure: string | null;
}

/** What no capture holds, and why: one is too large, the other would not be readable. */
export const LEFT_OUT = ['bulk', 'bad input'] as const;

/** The account for people. */
export function formatAccount(account: LabAccount, options: LabOptions, capture: CaptureNote | null): string {
  const { ms, rows } = account;
  const failed = rows.filter((row) => !row.ok).map((row) => row.name);
  const complaints: string[] = [...failed];
  if (account.memory.usedBytes !== 0) complaints.push('memory');
  if (capture?.failure) complaints.push('capture');
  return [
    `ethertype lab: hosts behind a router and an internet, in memory, seed ${options.seed}`,
    ...account.hosts.map(formatHost),
    '',
    row('phase', 'what', 'result', 'time'.padStart(TIME)),
    row('-'.repeat(NAME), '-'.repeat(DID), '-'.repeat(SAW), '-'.repeat(TIME)),
    ...rows.flatMap(formatRow),
    '* virtual'.padStart(WIDTH),
    ...formatDrops(account.drops),
    ...formatMemory(account),
    ...(capture === null ? [] : formatCapture(account, capture)),
    '',
    complaints.length === 0 ? `All well, in ${inTime(ms)}.` : `FAILED: ${complaints.join(', ')}; in ${inTime(ms)}.`,
  ].join('\n');
}

const formatHost = ({ name, address, address6 }: LabHost): string =>
  `  ${name.padEnd(NAME)}${(address ?? 'no lease').padEnd(15)}${address6 ?? 'no prefix'}`;

const row = (name: string, did: string, saw: string, time: string): string =>
  `${name.padEnd(NAME)}  ${did.padEnd(DID)}  ${saw.padEnd(SAW)}  ${time}`.trimEnd();

function formatRow({ name, ok, did, saw, ms, virtualMs }: Row): string[] {
  const results = (ok ? saw : ['FAILED', ...saw]).flatMap((line) => wrapped(line.split(' '), SAW, '  '));
  const times = [inTime(ms).padStart(TIME), ...(virtualMs === null ? [] : [`*${inTime(virtualMs)}`.padStart(TIME)])];
  const count = Math.max(did.length, results.length, times.length);
  return Array.from({ length: count }, (_, i) =>
    row(i === 0 ? name : '', did[i] ?? '', results[i] ?? '', times[i] ?? ''),
  );
}

function formatDrops(drops: Readonly<Record<string, number>>): string[] {
  const sorted = Object.entries(drops).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  if (sorted.length === 0) return ['dropped   nothing'];
  // A reason and its number stay together.
  const words = sorted.map(([reason, count], i) => `${reason} ${grouped(count)}${i < sorted.length - 1 ? ',' : ''}`);
  return labelled('dropped', words);
}

function formatMemory({ memory }: LabAccount): string[] {
  const { peakBytes, usedBytes } = memory;
  const end = usedBytes === 0 ? 'every frame and ring came back' : `${inBytes(usedBytes)} NEVER CAME BACK`;
  return labelled('memory', `${inBytes(peakBytes)} at most in one network, ${end}`.split(' '));
}

function formatCapture({ capturedPackets }: LabAccount, { file, failure }: CaptureNote): string[] {
  const text = failure ?? `${grouped(capturedPackets)} packets in ${file}, without ${LEFT_OUT.join(' and ')}`;
  return labelled('capture', text.split(' '));
}

function labelled(label: string, words: readonly string[]): string[] {
  const indent = ' '.repeat(NAME + 2);
  const [first = '', ...rest] = wrapped(words, WIDTH - indent.length, '');
  return [label.padEnd(NAME + 2) + first, ...rest.map((line) => indent + line)];
}

/** The account for programs: one JSON document. Names have no spaces; times are ms, rates bit/s. */
export function accountToJson(account: LabAccount, options: LabOptions, capture: CaptureNote | null): object {
  const { ok, ms, rows, drops, memory, capturedPackets } = account;
  return {
    ok: ok && !capture?.failure,
    seed: options.seed,
    lossPercent: options.lossPercent,
    ms,
    hosts: account.hosts,
    phases: Object.fromEntries(rows.map((entry) => [KEYS[entry.name], phaseToJson(entry)])),
    drops,
    memory: { ...memory, balanced: memory.usedBytes === 0 },
    capture:
      capture === null ? null : { ...capture, packets: capturedPackets, leftOut: LEFT_OUT.map((name) => KEYS[name]) },
  };
}

const KEYS: Readonly<Record<Row['name'], string>> = {
  addresses: 'addresses',
  names: 'names',
  ping: 'ping',
  http: 'http',
  'udp echo': 'udpEcho',
  bulk: 'bulk',
  lossy: 'lossy',
  'bad input': 'badInput',
};

const phaseToJson = ({ ok, ms, virtualMs, saw, details }: Row): object => ({
  ok,
  ms,
  virtualMs,
  ...(ok ? {} : { failure: saw.join(' ') }),
  ...details,
});
