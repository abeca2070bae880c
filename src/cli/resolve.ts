/** `ethertype resolve`: what a name has, asked over a TUN or TAP interface by a host of ours. @module */
import type { RecordType, Resolution } from '../dns/index.ts';
import { createHost, type Host, MacAddress, NetError } from '../index.ts';
import { openTap, openTun } from '../linux/index.ts';
import { type Device, PcapWriter, Tracer } from '../phy/index.ts';
import type { Cidr } from '../wire/address.ts';
import { parseIp } from '../wire/address.ts';
import { formatData, type ResourceRecord, typeNumber } from '../wire/dns.ts';
import { readCidr, readIp, readNumber, readOptions } from './args.ts';
import { CaptureFile } from './capture-file.ts';
import { type Command, UsageError } from './command.ts';

const TIMEOUT_DEFAULT_S = 15;

const usage = `usage: ethertype resolve NAME (--tap NAME | --tun NAME) --address CIDR... [OPTION]...

What a name has in the DNS, one answer a line as dig +short prints them: its addresses of both families, or its records
of one type. For an address: its names.

  ethertype resolve example.org --tap tap0 --address 192.168.69.1/24 --server 192.168.69.100
  ethertype resolve printer.local --mdns --tap tap0 --address 192.168.69.1/24

  --type T                 A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT, ANY, or TYPE123
  --server IP              a name server, 10.0.0.53 or 10.0.0.53:5353; may be repeated, the first that answers counts
  --search DOMAIN          tried behind short names; may be repeated
  --mdns                   names under .local are asked for on the link
  --timeout SECONDS        default ${TIMEOUT_DEFAULT_S}
  --tap NAME, --tun NAME   the interface; made if it is missing, and then gone afterwards
  --address CIDR           an address of the host, with its prefix; may be repeated
  --host-address CIDR      an address for the Linux side of the interface; may be repeated
  --gateway IP             a router for everything else; one a family
  --pcap FILE              records every packet; classic pcap if FILE ends in .pcap, else pcapng
  --trace                  prints every packet on stderr
  --json                   one JSON document: name, type, aliases, answers with their TTLs, milliseconds`;

const OPTIONS = {
  type: { type: 'string' },
  server: { type: 'string', multiple: true },
  search: { type: 'string', multiple: true },
  mdns: { type: 'boolean' },
  timeout: { type: 'string' },
  tap: { type: 'string' },
  tun: { type: 'string' },
  address: { type: 'string', multiple: true },
  'host-address': { type: 'string', multiple: true },
  gateway: { type: 'string', multiple: true },
  pcap: { type: 'string' },
  trace: { type: 'boolean' },
  json: { type: 'boolean' },
} as const;

type Values = ReturnType<typeof readOptions<typeof OPTIONS>>['values'];

interface Settings {
  readonly name: string;
  /** Undefined: addresses. */
  readonly type: RecordType | undefined;
  readonly timeoutMs: number;
  readonly kind: 'tap' | 'tun';
  readonly device: string;
  readonly addresses: readonly Cidr[];
  readonly values: Values;
}

/** @throws UsageError */
function readSettings(args: string[]): Settings {
  const { values, positionals } = readOptions(args, OPTIONS, 1);
  const { tap, tun } = values;
  const name = positionals[0];
  if (name === undefined) throw new UsageError('expected a NAME, like example.org');
  const device = tap ?? tun;
  if (device === undefined || (tap !== undefined && tun !== undefined)) {
    throw new UsageError(
      `expected one interface, --tap NAME or --tun NAME, got ${device === undefined ? 'none' : 'both'}`,
    );
  }
  const addresses = (values.address ?? []).map((text) => readCidr('address', text));
  if (addresses.length === 0) throw new UsageError('expected at least one --address CIDR, like 192.168.69.1/24');
  return {
    name,
    type: readType(values.type, name),
    timeoutMs: 1000 * (readNumber('timeout', values.timeout, 0.001, 3600) ?? TIMEOUT_DEFAULT_S),
    kind: tap === undefined ? 'tun' : 'tap',
    device,
    addresses,
    values,
  };
}

function readType(text: string | undefined, name: string): RecordType | undefined {
  if (text === undefined) return parseIp(name) === null ? undefined : 'PTR';
  if (typeNumber(text) < 0)
    throw new UsageError(`--type: expected one like AAAA, MX or TYPE65, got ${JSON.stringify(text)}`);
  return text.toUpperCase() as RecordType;
}

async function open({ kind, device, values }: Settings): Promise<{ device: Device; file: CaptureFile | null }> {
  const hostAddress = (values['host-address'] ?? []).map((text) => `${readCidr('host-address', text)}`);
  const tun = await (kind === 'tap' ? openTap : openTun)({ name: device, hostAddress, up: true });
  const complain = (message: string): void => void process.stderr.write(`ethertype resolve: ${message}\n`);
  const file = values.pcap === undefined ? null : new CaptureFile(values.pcap, complain);
  let wire: Device = tun;
  if (file !== null) {
    wire = new PcapWriter(wire, file, { format: file.format, name: tun.name, epochMs: performance.timeOrigin });
  }
  if (values.trace === true) {
    wire = new Tracer(wire, (line, way) => process.stderr.write(`${way === 'rx' ? '<' : '>'} ${line}\n`));
  }
  return { device: wire, file };
}

function makeHost({ kind, addresses, values }: Settings, device: Device): Host {
  const mac = new MacAddress(0x0200, addresses[0]!.address.d);
  try {
    return createHost({
      device,
      addresses: addresses.map(String),
      gateway: (values.gateway ?? []).map((text) => `${readIp('gateway', text)}`),
      nameServers: values.server ?? [],
      searchDomains: values.search ?? [],
      mdns: values.mdns === true,
      ...(kind === 'tap' ? { mac: `${mac}` } : {}),
    });
  } catch (error) {
    device.close();
    if (error instanceof TypeError || error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
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
  const { device, file } = await open(settings);
  const host = makeHost(settings, device);
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
    if (settings.values.json === true) {
      const { name, type } = settings;
      const result = { name, type: type ?? 'address', aliases: aliases.map(shown), answers: answers.map(shown), ms };
      console.log(JSON.stringify(result, null, 2));
    } else {
      console.log([...aliases, ...answers].map(formatData).join('\n'));
    }
  } finally {
    clearTimeout(timer);
    await host.close();
    file?.close();
  }
  return 0;
}

export const command: Command = {
  name: 'resolve',
  summary: 'what a name has in the DNS, or on the link by mDNS',
  usage,
  run,
};
