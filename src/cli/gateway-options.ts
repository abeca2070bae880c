/** What `run` and `proxy` share: rules, published ports, names. @module */
import { createWriteStream, readFileSync, type WriteStream } from 'node:fs';
import {
  type FlowRecord,
  formatFlow,
  type GatewayOptions,
  Policy,
  type PolicyDocument,
  type Publication,
  parseRule,
  parseUpstream,
  type Upstream,
} from '../proxy/index.ts';
import { readIp } from './args.ts';
import { CommandError, UsageError } from './command.ts';

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
} as const;

export const GATEWAY_USAGE = `  --allow RULE             what is allowed; with one, all else is denied; may be repeated, as all of these
  --deny RULE              what is denied, before all that is allowed
                           RULE is [PROTOCOL:]TARGET[:PORTS]: an address, a prefix, a name, *.name, sni=NAME or *, as in
                           10.0.0.0/8, tcp:*.example.org:443, [fd00::1]:80, udp:*:53
  --policy FILE            the same as JSON: {"default": "deny", "allow": [RULE...], "deny": [RULE...]}
  --publish HOST:GUEST     a port of the machine's loopback that leads to one of the guest, as 8080:80; ADDRESS:HOST:GUEST
                           listens on another address
  --host-loopback          the router's address leads to the machine's own loopback; else it is refused
  --name-server IP         who is asked for names, by default whom the machine asks
  --host NAME=ADDRESS      a name beside those of the machine's /etc/hosts
  --upstream URL           another proxy that all TCP goes out through: socks5://[USER:PASSWORD@]HOST:PORT or http://...
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
}

export interface GatewaySettings {
  readonly gateway: Omit<GatewayOptions, 'device'>;
  readonly log: string | undefined;
}

/** @throws UsageError, CommandError for a file that cannot be read */
export function readGateway(values: GatewayValues): GatewaySettings {
  const nameServers = values['name-server'];
  for (const text of nameServers ?? []) readIp('name-server', text.replace(/^\[?([^\]]+?)\]?(:\d+)?$/, '$1'));
  return {
    log: values.log,
    gateway: {
      policy: readPolicy(values),
      publish: (values.publish ?? []).map(readPublication),
      hostLoopback: values['host-loopback'] === true,
      hosts: Object.fromEntries((values.host ?? []).map(readHost)),
      ...(nameServers === undefined ? {} : { nameServers }),
      ...(values.upstream === undefined ? {} : { upstream: readUpstream(values.upstream) }),
    },
  };
}

function readPolicy({ allow = [], deny = [], policy }: GatewayValues): Policy {
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
  try {
    return new Policy({
      ...document,
      allow: [...(document.allow ?? []), ...allow],
      deny: [...(document.deny ?? []), ...deny],
    });
  } catch (error) {
    throw new CommandError(`${policy}: ${(error as Error).message}`);
  }
}

function readDocument(path: string): PolicyDocument {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as PolicyDocument;
  } catch (error) {
    throw new CommandError(`cannot read the policy in ${path}: ${(error as Error).message}`);
  }
}

function readUpstream(text: string): Upstream {
  try {
    return parseUpstream(text);
  } catch {
    throw new UsageError(`--upstream: expected socks5://HOST:PORT or http://HOST:PORT, got ${JSON.stringify(text)}`);
  }
}

function readPublication(text: string): Publication {
  const match = /^(?:\[?([^\]]+?)\]?:)?(\d{1,5}):(\d{1,5})$/.exec(text);
  const [host, port, guestPort] = [match?.[1], Number(match?.[2]), Number(match?.[3])];
  if (match === null || port > 65_535 || guestPort < 1 || guestPort > 65_535) {
    throw new UsageError(`--publish: expected HOST:GUEST, two ports like 8080:80, got ${JSON.stringify(text)}`);
  }
  if (host !== undefined) readIp('publish', host);
  return { host, port, guestPort };
}

function readHost(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new UsageError(`--host: expected NAME=ADDRESS, got ${JSON.stringify(text)}`);
  readIp('host', text.slice(at + 1));
  return [text.slice(0, at), text.slice(at + 1)];
}

/** What is said of flows: denied ones to people, all of them to the file of `--log`. */
export function flowWriter(file: string | undefined, say: (line: string) => void) {
  const log: WriteStream | null = file === undefined ? null : createWriteStream(file, { flags: 'a' });
  log?.on('error', (error) => say(`the log ends here: ${error.message}`));
  const onFlow = (record: FlowRecord): void => {
    log?.write(`${JSON.stringify(record)}\n`);
    if (record.verdict === 'deny') say(formatFlow(record));
  };
  const close = (): Promise<void> =>
    new Promise((resolve) => (log === null || log.destroyed ? resolve() : log.end(resolve)));
  return { onFlow, close };
}
