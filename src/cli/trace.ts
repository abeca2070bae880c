/** `ethertype trace`: prints what `traceroute -n` prints. @module */
import type { TraceHop } from '../index.ts';
import { readInteger, readNumber, readOptions } from './args.ts';
import * as client from './client.ts';
import { type Command, UsageError } from './command.ts';
import { FAULT_USAGE } from './fault-options.ts';

const usage = `usage: ethertype trace (--tap NAME | --tun NAME) --address CIDR... [OPTION]... TARGET

Shows the routers on the way to TARGET. Exit code 1 if the way was not found to its end.

  ethertype trace --tap tap0 --address 10.0.0.2/24 --gateway 10.0.0.1 10.9.0.1

  -I, --icmp               echo requests instead of UDP datagrams
  -f, --first N            the first TTL; default 1
  -m, --max-hops N         the last TTL; default 30
  -q, --probes N           probes a hop, 1 to 10; default 3
  -w, --wait S             seconds to wait for each answer; default 5
  -p, --port N             the port of the first datagram; default 33434
  --size BYTES             bytes of data in a probe; default 32
  -4, -6                   IPv4 or IPv6 only
  --json                   prints one JSON document at the end
${client.INTERFACE_USAGE}

${FAULT_USAGE}`;

const OPTIONS = {
  ...client.INTERFACE_OPTIONS,
  ...client.FAMILY_OPTIONS,
  icmp: { type: 'boolean', short: 'I' },
  first: { type: 'string', short: 'f' },
  'max-hops': { type: 'string', short: 'm' },
  probes: { type: 'string', short: 'q' },
  wait: { type: 'string', short: 'w' },
  port: { type: 'string', short: 'p' },
  size: { type: 'string' },
  json: { type: 'boolean' },
} as const;

/** ` 1  10.0.0.1  0.123 ms  0.100 ms *`: an address stands where it is another than before. */
export function hopLine({ ttl, probes }: TraceHop): string {
  let line = `${String(ttl).padStart(2)} `;
  let before: string | null = null;
  for (const { address, timeMs, note } of probes) {
    if (address === null || timeMs === null) {
      line += ' *';
      continue;
    }
    if (address !== before) line += ` ${address}`;
    before = address;
    line += `  ${timeMs.toFixed(3)} ms${note === null ? '' : ` ${note}`}`;
  }
  return line;
}

function readSettings(args: string[]) {
  const { values, positionals } = readOptions(args, OPTIONS, 1);
  const [target] = positionals;
  if (target === undefined) throw new UsageError('expected a TARGET, like 10.9.0.1');
  if (values.icmp === true && values.port !== undefined) {
    throw new UsageError('expected one of --icmp and --port, got both: echo requests have no port');
  }
  const maxHops = readInteger('max-hops', values['max-hops'], 1, 255) ?? 30;
  return {
    target,
    family: client.readFamily(values),
    iface: client.readInterface(values),
    mode: values.icmp === true ? ('icmp' as const) : ('udp' as const),
    firstHop: readInteger('first', values.first, 1, maxHops) ?? 1,
    maxHops,
    probes: readInteger('probes', values.probes, 1, 10) ?? 3,
    timeout: (readNumber('wait', values.wait, 0.001, 3600) ?? 5) * 1000,
    port: readInteger('port', values.port, 1, 60_000) ?? 33_434,
    size: readInteger('size', values.size, 0, 65_000) ?? 32,
    json: values.json === true,
  };
}

async function run(args: string[]): Promise<number> {
  const { target, family, iface, json, ...settings } = readSettings(args);
  const { host, close } = await client.openClient('trace', iface);
  try {
    const address = await client.lookupTarget(host, target, family);
    const bytes = settings.size + 8 + (address.isV4 ? 20 : 40);
    if (!json) console.log(`traceroute to ${target} (${address}), ${settings.maxHops} hops max, ${bytes} byte packets`);
    const hops: TraceHop[] = [];
    for await (const hop of host.trace(`${address}`, settings)) {
      hops.push(hop);
      if (!json) console.log(hopLine(hop));
    }
    const isComplete = hops.at(-1)?.isLast === true;
    if (json) console.log(JSON.stringify({ target, address: `${address}`, isComplete, hops }, null, 2));
    return isComplete ? 0 : 1;
  } finally {
    await close();
  }
}

export const command: Command = {
  name: 'trace',
  summary: 'the routers on the way to a host, as traceroute -n',
  usage,
  run,
};
