/** `ethertype lab FILE`. @module */
import { writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { CaptureFile } from '../capture-file.ts';
import { CommandError, reasonOf, UsageError } from '../command.ts';
import { readJsonFile } from '../json-file.ts';
import { readScenario } from '../scenario.ts';
import { runDeclared } from './declared.ts';
import { declaredToJson, formatDeclared } from './declared-account.ts';
import type { Flow } from './flow.ts';
import { endText } from './observer.ts';
import { pageOf } from './page.ts';
import { faultNames, readDeclaration } from './read-declaration.ts';

export interface DeclaredArguments {
  readonly path: string;
  readonly pcap: string | undefined;
  readonly json: boolean;
  readonly seed: number | undefined;
  readonly flow: string | undefined;
  readonly rows: number;
  readonly html: string | undefined;
  readonly scenario: string | undefined;
}

const SEED_DEFAULT = 1;

/** Runs it, writes and prints; the exit code. @throws UsageError for a file that is none, CommandError for one that cannot be written */
export async function runDeclaredCommand(args: DeclaredArguments): Promise<number> {
  const file = readDeclaration(readJsonFile(args.path));
  const scenario =
    args.scenario === undefined ? null : readScenario(readJsonFile(args.scenario), faultNames(file.network));
  const seed = args.seed ?? file.seed ?? SEED_DEFAULT;
  let failure: string | null = null;
  const sink =
    args.pcap === undefined
      ? null
      : new CaptureFile(args.pcap, (message) => {
          failure = message;
        });
  const recording = sink === null ? null : { sink, format: sink.format };
  const lists = args.html !== undefined;
  const account = await runDeclared({ file, seed, scenario, recording, lists }).finally(() => sink?.close());
  const flow = args.flow === undefined ? null : chooseFlow(account.observer.flows, args.flow);
  // The page is for others too, whom the folders of this machine tell nothing.
  if (args.html !== undefined) writePage(args.html, pageOf(account, { title: basename(args.path), seed }));
  const output = {
    title: args.path,
    seed,
    capture: args.pcap === undefined ? null : { file: args.pcap, failure },
    page: args.html ?? null,
    flow,
    rows: args.rows,
  };
  console.log(args.json ? JSON.stringify(declaredToJson(account, output), null, 2) : formatDeclared(account, output));
  return account.ok && failure === null ? 0 : 1;
}

/**
 * A flow by its number, or the first one between two hosts: `alice:server`, or with ports `alice:49152>server:9`.
 * @throws UsageError where there is none
 */
export function chooseFlow(flows: readonly Flow[], text: string): Flow {
  const byNumber = /^\d+$/.test(text) ? flows[Number(text) - 1] : undefined;
  if (byNumber !== undefined) return byNumber;
  const [from, to] = text.includes('>') ? text.split('>') : text.split(':');
  const isEnd = (wanted: string | undefined, end: Flow['client']): boolean =>
    wanted === end.host || wanted === endText(end) || wanted === end.address;
  const found = flows.find(({ client, server }) => isEnd(from, client) && isEnd(to, server));
  if (found !== undefined) return found;
  const known = flows
    .slice(0, 10)
    .map(({ number, client, server }) => `${number} (${endText(client)} > ${endText(server)})`);
  throw new UsageError(
    `--flow: expected the number of a flow, or its hosts like alice:server, got ${JSON.stringify(text)}; there ${known.length === 0 ? 'is none' : `are ${known.join(', ')}`}`,
  );
}

/** @throws CommandError */
export function writePage(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new CommandError(`cannot write the page to ${path}: ${reasonOf(error)}`);
  }
}
