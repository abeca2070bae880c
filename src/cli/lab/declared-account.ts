/** What a declared lab came to: for people on 80 columns, and as JSON. @module */
import type { CaptureNote } from './account.ts';
import type { DeclaredAccount, Done } from './declared.ts';
import type { Flow, Half } from './flow.ts';
import { endText } from './observer.ts';
import { sequenceDiagram } from './sequence.ts';
import { grouped, inBitsPerSecond, inBytes, inTime, wrapped } from './text.ts';

const WIDTH = 80;
const NAME = 10;
const WHAT = 34;
const FLOW = 28;
const BARS = ' ▁▂▃▄▅▆▇█';
const SPARKS = 32;
/** Flows in the table; the rest is counted. JSON has them all. */
const FLOWS_SHOWN = 40;

export interface DeclaredOutput {
  readonly title: string;
  readonly seed: number;
  readonly capture: CaptureNote | null;
  /** The page that was written. */
  readonly page: string | null;
  /** The flow whose diagram is wanted, and how many of its segments. */
  readonly flow: Flow | null;
  readonly rows: number;
}

export function formatDeclared(account: DeclaredAccount, output: DeclaredOutput): string {
  const { hosts, done, observer, network, ms, virtualMs, readyMs } = account;
  const { flows } = observer;
  const complaints = done.filter((one) => !one.ok).map(({ host, what }) => `${host}: ${what}`);
  if (output.capture?.failure) complaints.push('capture');
  if (network.usedBytes !== 0) complaints.push(`${inBytes(network.usedBytes)} of memory NEVER CAME BACK`);
  return [
    `ethertype lab: ${output.title}, seed ${output.seed}`,
    ...hosts.flatMap(({ name, addresses }) => labelled(name, addresses)),
    `all addresses found after ${inTime(readyMs)}`,
    '',
    ...done.flatMap(formatDone),
    ...(flows.length === 0 ? [] : ['', ...formatFlows(flows)]),
    ...(output.flow === null ? [] : ['', ...sequenceDiagram(output.flow, output.rows)]),
    '',
    ...formatFaults(account),
    ...formatDrops(network.drops),
    ...formatFiles(account, output),
    complaints.length === 0
      ? `All well: ${inTime(virtualMs)} of virtual time in ${inTime(ms)}.`
      : `FAILED: ${complaints.join('; ')}; ${inTime(virtualMs)} of virtual time in ${inTime(ms)}.`,
  ].join('\n');
}

function labelled(label: string, words: readonly string[]): string[] {
  const [first = '', ...rest] = wrapped(words, WIDTH - NAME - 2, '');
  return [`  ${label.padEnd(NAME)}${first}`, ...rest.map((line) => ' '.repeat(NAME + 2) + line)];
}

/** `at 0 ms  alice: ping server    4 of 4 came back`. */
function formatDone({ host, what, atMs, text, ok }: Done): string[] {
  const did = `${host}: ${what}`.padEnd(WHAT);
  const at = inTime(atMs).padStart(8);
  const line = `${at}  ${did}  ${ok ? '' : 'FAILED '}${text}`;
  if (line.length <= WIDTH) return [line];
  return [
    `${at}  ${did}`.trimEnd(),
    ...wrapped(`${ok ? '' : 'FAILED '}${text}`.split(' '), WIDTH - 12, '').map((one) => ' '.repeat(12) + one),
  ];
}

/** A table, and a sparkline of the goodput under each row. */
function formatFlows(flows: readonly Flow[]): string[] {
  const shown = flows.slice(0, FLOWS_SHOWN);
  const lines = shown.flatMap((flow) => {
    const { number, client, server, family, main, startMs, endMs, resent } = flow;
    const name = `${endText(client)} > ${endText(server)}`;
    const rtt = main.roundTrips?.map((ms) => (ms < 10 ? ms.toFixed(1) : ms.toFixed(0))).join('/') ?? '-';
    const figures =
      `${inBytes(main.payloadBytes).padStart(8)}  ${inBitsPerSecond(main.goodput).padStart(11)}  ` +
      `${rtt.padStart(15)}  ${grouped(resent).padStart(6)}`;
    const first = `${String(number).padStart(3)}  ${name.padEnd(FLOW)}`;
    const head = first.length > FLOW + 5 ? [first, ' '.repeat(FLOW + 5) + figures] : [first + figures];
    const bars = sparkline(main, startMs, endMs, SPARKS);
    return [...head, `     IPv${family} ${inTime(endMs - startMs).padStart(8)}  |${bars}|`];
  });
  const more = flows.length > shown.length ? [`     and ${grouped(flows.length - shown.length)} more`] : [];
  const title = `  #  ${'flow'.padEnd(FLOW)}${'bytes'.padStart(8)}  ${'goodput'.padStart(11)}  RTT min/med/max  resent`;
  return [title, ...lines, ...more];
}

/** The goodput over time, in so many bars, of what was acknowledged in each part of the time. */
export function sparkline({ acked }: Half, fromMs: number, untilMs: number, count: number): string {
  const sums = new Array<number>(count).fill(0);
  const { values } = acked;
  let before = 1; // the SYN
  for (let i = 0; i < values.length; i += 2) {
    const part = Math.floor(((values[i]! - fromMs) / Math.max(untilMs - fromMs, 1e-9)) * count);
    sums[Math.min(Math.max(part, 0), count - 1)]! += values[i + 1]! - before;
    before = values[i + 1]!;
  }
  const most = Math.max(...sums);
  return sums.map((sum) => BARS[most === 0 ? 0 : Math.ceil((sum / most) * (BARS.length - 1))]!).join('');
}

function formatFaults({ faults }: DeclaredAccount): string[] {
  const words = Object.entries(faults).flatMap(([name, stats]) => {
    const { delayed: _, ...told } = stats;
    const counts = Object.entries(told).filter(([, count]) => count > 0);
    return counts.length === 0
      ? []
      : [`${name}: ${counts.map(([what, count]) => `${what} ${grouped(count)}`).join(', ')};`];
  });
  if (words.length === 0) return [];
  words.push(words.pop()!.slice(0, -1));
  return labelled('faults', words).map((line) => line.slice(2));
}

function formatDrops(drops: Readonly<Record<string, number>>): string[] {
  const counts = Object.entries(drops).filter(([, count]) => count > 0);
  if (counts.length === 0) return [];
  counts.sort((a, b) => b[1] - a[1]);
  const words = counts.map(([reason, count], i) => `${reason} ${grouped(count)}${i < counts.length - 1 ? ',' : ''}`);
  return labelled('dropped', words).map((line) => line.slice(2));
}

function formatFiles({ capturedPackets }: DeclaredAccount, { capture, page }: DeclaredOutput): string[] {
  const lines: string[] = [];
  if (capture !== null) {
    const text = capture.failure ?? `${grouped(capturedPackets)} packets in ${capture.file}`;
    lines.push(...labelled('capture', text.split(' ')).map((line) => line.slice(2)));
  }
  if (page !== null) lines.push(...labelled('page', [page]).map((line) => line.slice(2)));
  return lines;
}

/** One JSON document: names without spaces, times in ms, rates in bit/s. */
export function declaredToJson(account: DeclaredAccount, { seed, capture, page }: DeclaredOutput): object {
  const { ok, ms, readyMs, virtualMs, hosts, leases, found, done, observer, faults, network } = account;
  return {
    ok: ok && !capture?.failure,
    seed,
    ms,
    readyMs,
    virtualMs,
    hosts,
    leases,
    found,
    activities: done.map(({ host, what, atMs, endMs, ok: isOk, details }) => ({
      host,
      what,
      atMs,
      endMs,
      ok: isOk,
      ...details,
    })),
    flows: observer.flows.map(flowToJson),
    faults,
    drops: network.drops,
    memory: { peakBytes: network.peakBytes, usedBytes: network.usedBytes, balanced: network.usedBytes === 0 },
    frames: observer.frames,
    capture: capture === null ? null : { ...capture, packets: account.capturedPackets },
    page,
  };
}

const flowToJson = (flow: Flow): object => ({
  number: flow.number,
  family: flow.family,
  client: flow.client,
  server: flow.server,
  startMs: flow.startMs,
  endMs: flow.endMs,
  lost: flow.lost,
  forward: halfToJson(flow.forward),
  backward: halfToJson(flow.backward),
});

const halfToJson = (half: Half): object => ({
  segments: half.segments,
  sentBytes: half.sentBytes,
  payloadBytes: half.payloadBytes,
  resent: half.resent,
  goodputBitsPerSecond: half.goodput,
  rttMs:
    half.roundTrips === null ? null : { min: half.roundTrips[0], median: half.roundTrips[1], max: half.roundTrips[2] },
});
