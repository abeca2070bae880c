/** What `run` and `proxy` share: rules, published ports, names. @module */
import { createWriteStream, openSync, readFileSync, type WriteStream } from 'node:fs';
import type { HostsTable } from '../dns/index.ts';
import { endpoint } from '../proxy/flow-log.ts';
import {
  type FlowRecord,
  formatFlow,
  type Gateway,
  type GatewayOptions,
  type LimitSet,
  type Limits,
  NETWORK,
  OVER_LIMIT,
  Policy,
  type PolicyDocument,
  type Publication,
  parsePublication,
  parseRule,
  parseUpstream,
  type Upstream,
} from '../proxy/index.ts';
import { isName } from '../wire/dns.ts';
import { readIp } from './args.ts';
import { readNameServer } from './client.ts';
import { CommandError, reasonOf, UsageError } from './command.ts';

export const GATEWAY_OPTIONS = {
  allow: { type: 'string', multiple: true },
  deny: { type: 'string', multiple: true },
  policy: { type: 'string' },
  publish: { type: 'string', multiple: true },
  'host-loopback': { type: 'boolean' },
  'name-server': { type: 'string', multiple: true },
  host: { type: 'string', multiple: true },
  log: { type: 'string' },
  upstream: { type: 'string' },
  'flow-rate': { type: 'string' },
  'flow-bytes': { type: 'string' },
  'all-rate': { type: 'string' },
  'all-bytes': { type: 'string' },
} as const;

export const GATEWAY_USAGE = `  --allow RULE             what is allowed; with one, all else is denied; may be repeated, as all of these
  --deny RULE              what is denied, before all that is allowed
                           RULE is [PROTOCOL:]TARGET[:PORTS]: an address, a prefix, a name, *.name, sni=NAME or *, as in
                           10.0.0.0/8, tcp:*.example.org:443, [fd00::1]:80, udp:*:53
  --policy FILE            the same as JSON: {"default": "deny", "allow": [RULE...], "deny": [RULE...], "limits":
                           {"flow": {"bytesPerSecond": N, "bytes": N}, "all": {"bytesPerSecond": N, "bytes": N}},
                           "publish": ["8080:80"...]}
  --flow-rate N            bytes a second of each flow, each way: TCP is held up, datagrams wait for up to 50 ms
                           and are dropped then; 500k, 10M, 1G
  --flow-bytes N           bytes of each flow, both ways together: then it is reset
  --all-rate N, --all-bytes N    the same of all flows together; then none begins any more
  --publish HOST:GUEST     a port of the machine's loopback that leads to one of the guest, as 8080:80;
                           5353:53/udp for UDP, 8000-8009:80-89 for ranges. ADDRESS:HOST:GUEST listens on
                           another address; [::1]:8080:80 leads to the guest's ${NETWORK.guest[1]}. HOST 0 is a free
                           port: stderr says which
  --host-loopback          the router's address leads to the machine's own loopback; else it is refused
  --name-server IP         who is asked for names, by default whom the machine asks
  --host NAME=ADDRESS      a name beside those of the machine's /etc/hosts
  --upstream URL           another proxy that all goes out through: socks5://[USER:PASSWORD@]HOST:PORT, with
                           datagrams if it carries them, or http://..., TCP alone; socks5h:// tells it
                           names, where a rule does not look at addresses, and lets it resolve them
  --log FILE               a line of JSON for each flow that is over, appended`;

export interface GatewayValues {
  readonly allow?: string[] | undefined;
  readonly deny?: string[] | undefined;
  readonly policy?: string | undefined;
  readonly publish?: string[] | undefined;
  readonly 'host-loopback'?: boolean | undefined;
  readonly 'name-server'?: string[] | undefined;
  readonly host?: string[] | undefined;
  readonly log?: string | undefined;
  readonly upstream?: string | undefined;
  readonly 'flow-rate'?: string | undefined;
  readonly 'flow-bytes'?: string | undefined;
  readonly 'all-rate'?: string | undefined;
  readonly 'all-bytes'?: string | undefined;
}

export interface GatewaySettings {
  readonly gateway: Omit<GatewayOptions, 'device'>;
  readonly log: string | undefined;
}

/** @throws UsageError, CommandError for a file that cannot be read */
export function readGateway(values: GatewayValues): GatewaySettings {
  const nameServers = values['name-server'];
  for (const text of nameServers ?? []) readNameServer(text);
  return {
    log: values.log,
    gateway: {
      policy: readPolicy(values),
      publish: (values.publish ?? []).flatMap(readPublication),
      hostLoopback: values['host-loopback'] === true,
      hosts: readHosts(values.host ?? []),
      ...(nameServers === undefined ? {} : { nameServers }),
      ...(values.upstream === undefined ? {} : { upstream: readUpstream(values.upstream) }),
    },
  };
}

function readPolicy(values: GatewayValues): Policy {
  const { allow = [], deny = [], policy } = values;
  const ofOptions = readLimits(values);
  for (const [option, rules] of [
    ['allow', allow],
    ['deny', deny],
  ] as const) {
    for (const rule of rules) {
      try {
        parseRule(rule);
      } catch (error) {
        throw new UsageError(`--${option}: ${(error as Error).message}`);
      }
    }
  }
  const document = policy === undefined ? {} : readDocument(policy);
  if (allow.length > 0 && document.default === 'allow') {
    throw new UsageError(`--allow: expected a policy that denies by default, got "allow" in ${policy}`);
  }
  try {
    new Policy(document); // what is wrong in the file is said before options stand in for it
    return new Policy({
      ...document,
      allow: [...(document.allow ?? []), ...allow],
      deny: [...(document.deny ?? []), ...deny],
      ...mergeLimits(document.limits, ofOptions),
    });
  } catch (error) {
    throw new CommandError(`${policy}: ${(error as Error).message}`);
  }
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9 };

function readBytes(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const match = /^(\d+(?:\.\d+)?)([kmg]?)$/i.exec(text);
  const bytes = Number(match?.[1]) * UNITS[match?.[2]?.toLowerCase() ?? '']!;
  if (match !== null && bytes >= 1) return bytes;
  throw new UsageError(`--${option}: expected bytes, like 500k, 10M or 1G, got ${JSON.stringify(text)}`);
}

function readLimits(values: GatewayValues): LimitSet {
  const read = (of: 'flow' | 'all') => ({
    bytesPerSecond: readBytes(`${of}-rate`, values[`${of}-rate`]),
    bytes: readBytes(`${of}-bytes`, values[`${of}-bytes`]),
  });
  return { flow: read('flow'), all: read('all') };
}

/** What the options say goes before what the file says. Limits that are none are left to the policy to refuse. */
function mergeLimits(file: LimitSet | undefined, options: LimitSet): { limits?: LimitSet } {
  const merge = (of: 'flow' | 'all'): Limits => ({
    bytesPerSecond: options[of]?.bytesPerSecond ?? file?.[of]?.bytesPerSecond,
    bytes: options[of]?.bytes ?? file?.[of]?.bytes,
  });
  const isSaid = [options.flow, options.all].some((of) => of?.bytesPerSecond !== undefined || of?.bytes !== undefined);
  if (!isSaid) return file === undefined ? {} : { limits: file };
  return { limits: { flow: merge('flow'), all: merge('all') } };
}

function readDocument(path: string): PolicyDocument {
  try {
    const document: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof document === 'object' && document !== null) return document as PolicyDocument;
    throw new Error('expected an object');
  } catch (error) {
    throw new CommandError(`cannot read the policy in ${path}: ${reasonOf(error)}`);
  }
}

function readUpstream(text: string): Upstream {
  try {
    return parseUpstream(text);
  } catch (error) {
    throw new UsageError(`--${(error as Error).message}`);
  }
}

function readPublication(text: string): Publication[] {
  try {
    return parsePublication(text);
  } catch (error) {
    throw new UsageError(`--publish: ${(error as Error).message}`);
  }
}

/** A name may have several addresses. */
function readHosts(texts: readonly string[]): HostsTable {
  const table: Record<string, string[]> = Object.create(null);
  for (const text of texts) {
    const at = text.indexOf('=');
    const name = text.slice(0, at);
    if (at < 1 || !isName(name)) throw new UsageError(`--host: expected NAME=ADDRESS, got ${JSON.stringify(text)}`);
    readIp('host', text.slice(at + 1));
    table[name] = [...(table[name] ?? []), text.slice(at + 1)];
  }
  return table;
}

function openLog(file: string): WriteStream {
  try {
    return createWriteStream(file, { fd: openSync(file, 'a') });
  } catch (error) {
    throw new CommandError(`cannot write the log to ${file}: ${reasonOf(error)}`);
  }
}

/** Says which ports were chosen for those that were to be free ones: port 0. */
export function tellChosen(
  { gateway: { policy, publish = [] } }: GatewaySettings,
  { published }: Gateway,
  say: (line: string) => void,
): void {
  const wanted = [...(policy instanceof Policy ? policy.publish : []), ...publish];
  for (const [i, { host, port, guestPort, protocol }] of published.entries()) {
    if (wanted[i]?.port === 0) say(`${endpoint(host!, port)} leads to ${protocol} port ${guestPort} of the guest`);
  }
}

/**
 * What is said of flows: those denied, or over a limit, to people; all of them to the file of `--log`.
 * @throws CommandError where that cannot be written
 */
export function flowWriter(file: string | undefined, say: (line: string) => void) {
  const log: WriteStream | null = file === undefined ? null : openLog(file);
  log?.on('error', (error) => say(`the log ends here: ${reasonOf(error)}`));
  const onFlow = (record: FlowRecord): void => {
    log?.write(`${JSON.stringify(record)}\n`);
    if (record.verdict === 'deny' || record.result === OVER_LIMIT) say(formatFlow(record));
  };
  const close = (): Promise<void> =>
    new Promise((resolve) => (log === null || log.destroyed ? resolve() : log.end(resolve)));
  return { onFlow, close };
}
