/** `ethertype resolve`: what a name has, asked over a TUN or TAP interface by a host of ours. @module */
import type { RecordType, Resolution } from '../dns/index.ts';
import { type Host, NetError } from '../index.ts';
import { parseIp } from '../wire/address.ts';
import { formatData, type ResourceRecord, typeNumber } from '../wire/dns.ts';
import { readNumber, readOptions } from './args.ts';
import * as client from './client.ts';
import { type Command, UsageError } from './command.ts';
import { FAULT_USAGE } from './fault-options.ts';

const TIMEOUT_DEFAULT_S = 15;

const usage = `usage: ethertype resolve NAME (--tap NAME | --tun NAME) --address CIDR... [OPTION]...

What a name has in the DNS, one answer a line as dig +short prints them: its addresses of both families, or its records
of one type. For an address: its names.

  ethertype resolve example.org --tap tap0 --address 192.168.69.1/24 --server 192.168.69.100
  ethertype resolve printer.local --mdns --tap tap0 --address 192.168.69.1/24

  --type T                 A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT, ANY, or TYPE123
  --server IP              the same as --name-server
  --mdns                   names under .local are asked for on the link
  --timeout SECONDS        default ${TIMEOUT_DEFAULT_S}
  --json                   one JSON document: name, type, aliases, answers with their TTLs, milliseconds
${client.INTERFACE_USAGE}

${FAULT_USAGE}`;

const OPTIONS = {
  ...client.INTERFACE_OPTIONS,
  type: { type: 'string' },
  server: { type: 'string', multiple: true },
  mdns: { type: 'boolean' },
  timeout: { type: 'string' },
  json: { type: 'boolean' },
} as const;

/** @throws UsageError */
function readSettings(args: string[]) {
  const { values, positionals } = readOptions(args, OPTIONS, 1);
  const name = positionals[0];
  if (name === undefined) throw new UsageError('expected a NAME, like example.org');
  const servers = [...(values.server ?? []), ...(values['name-server'] ?? [])];
  return {
    name,
    /** Undefined: addresses. */
    type: readType(values.type, name),
    timeoutMs: 1000 * (readNumber('timeout', values.timeout, 0.001, 3600) ?? TIMEOUT_DEFAULT_S),
    iface: client.readInterface({ ...values, 'name-server': servers }),
    mdns: values.mdns === true,
    json: values.json === true,
  };
}

type Settings = ReturnType<typeof readSettings>;

function readType(text: string | undefined, name: string): RecordType | undefined {
  if (text === undefined) return parseIp(name) === null ? undefined : 'PTR';
  if (typeNumber(text) < 0)
    throw new UsageError(`--type: expected one like AAAA, MX or TYPE65, got ${JSON.stringify(text)}`);
  return text.toUpperCase() as RecordType;
}

/** All that was found: aliases, then records; of both families where no type was asked for. */
async function ask(host: Host, { name, type }: Settings, signal: AbortSignal): Promise<readonly Resolution[]> {
  if (type !== undefined) return [await host.resolver.query(name, type, { signal })];
  const both = await Promise.allSettled(
    (['AAAA', 'A'] as const).map((each) => host.resolver.query(name, each, { signal })),
  );
  const found = both.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  if (found.length > 0) return found;
  const reasons = both.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  // A name that exists without addresses is told from one that does not exist.
  throw reasons.find((error) => error instanceof NetError && error.code !== 'ENODATA') ?? reasons[0];
}

const shown = (record: ResourceRecord) => ({
  name: record.name,
  type: record.type,
  ttl: record.ttl,
  data: formatData(record),
});

async function run(args: string[]): Promise<number> {
  const settings = readSettings(args);
  const { host, close } = await client.openClient('resolve', settings.iface, { mdns: settings.mdns });
  const startedMs = performance.now();
  const late = new NetError('ETIMEDOUT', 'resolve', { address: settings.name });
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(late), settings.timeoutMs);
  try {
    const found = await ask(host, settings, controller.signal);
    const ms = Math.round(10 * (performance.now() - startedMs)) / 10;
    // Both families come by the same aliases.
    const aliases = found[0]!.aliases;
    const answers = found.flatMap(({ records }) => records);
    if (settings.json) {
      const { name, type } = settings;
      const result = { name, type: type ?? 'address', aliases: aliases.map(shown), answers: answers.map(shown), ms };
      console.log(JSON.stringify(result, null, 2));
    } else {
      console.log([...aliases, ...answers].map(formatData).join('\n'));
    }
  } finally {
    clearTimeout(timer);
    await close();
  }
  return 0;
}

export const command: Command = {
  name: 'resolve',
  summary: 'what a name has in the DNS, or on the link by mDNS',
  usage,
  run,
};
