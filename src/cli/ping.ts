/** `ethertype ping`: prints what ping(8) of iputils prints. @module */
import type { PingFailure, PingReply, PingStatistics } from '../index.ts';
import * as v4 from '../wire/icmpv4.ts';
import * as v6 from '../wire/icmpv6.ts';
import { readInteger, readNumber, readOptions } from './args.ts';
import * as client from './client.ts';
import { type Command, UsageError } from './command.ts';
import { FAULT_USAGE } from './fault-options.ts';
import { onSignal } from './until-end.ts';

const usage = `usage: ethertype ping (--tap NAME | --tun NAME) --address CIDR... [OPTION]... TARGET

Sends echo requests and prints the replies, until -c requests are answered or lost, or Ctrl-C. Exit code 1 without any
reply.

  ethertype ping --tap tap0 --address 192.168.69.1/24 --host-address 192.168.69.100/24 -c 3 192.168.69.100

  -c, --count N            requests to send; by default no end
  -i, --interval S         seconds between two, 0.001 to 3600; default 1
  -s, --size BYTES         bytes of data; default 56
  -t, --ttl N              time to live of the requests; default 64
  -W, --timeout S          seconds to wait for each reply; default 5
  -q, --quiet              only the summary
  -4, -6                   IPv4 or IPv6 only
  --json                   prints one JSON document at the end, and nothing else
${client.INTERFACE_USAGE}

${FAULT_USAGE}`;

const OPTIONS = {
  ...client.INTERFACE_OPTIONS,
  ...client.FAMILY_OPTIONS,
  count: { type: 'string', short: 'c' },
  interval: { type: 'string', short: 'i' },
  size: { type: 'string', short: 's' },
  ttl: { type: 'string', short: 't' },
  timeout: { type: 'string', short: 'W' },
  quiet: { type: 'boolean', short: 'q' },
  json: { type: 'boolean' },
} as const;

/** iputils: three significant digits below 100 ms, whole milliseconds from there on. */
const time = (ms: number): string => {
  if (ms >= 99.95) return ms.toFixed(0);
  return ms.toFixed(ms >= 9.995 ? 1 : ms >= 0.9995 ? 2 : 3);
};

/** Smaller requests of ping(8) have no room for a time, so it prints none. */
const TIMED_BYTES = 16;

function replyLine({ address, size, sequence, ttl, timeMs, isDuplicate }: PingReply): string {
  const timed = size >= TIMED_BYTES ? ` time=${time(timeMs)} ms` : '';
  return `${size + 8} bytes from ${address}: icmp_seq=${sequence} ttl=${ttl}${timed}${isDuplicate ? ' (DUP!)' : ''}`;
}

const UNREACHABLE_V4 = [
  'Destination Net Unreachable',
  'Destination Host Unreachable',
  'Destination Protocol Unreachable',
  'Destination Port Unreachable',
  '',
  'Source Route Failed',
  'Destination Net Unknown',
  'Destination Host Unknown',
  'Source Host Isolated',
  'Destination Net Prohibited',
  'Destination Host Prohibited',
  'Destination Net Unreachable for Type of Service',
  'Destination Host Unreachable for Type of Service',
  'Packet filtered',
  'Precedence Violation',
  'Precedence Cutoff',
];
const UNREACHABLE_V6 = [
  'No route',
  'Administratively prohibited',
  'Beyond scope of source address',
  'Address unreachable',
  'Port unreachable',
];

/** What an error says, in the words of ping(8). */
export function describeFailure({ type, code, info }: PingFailure, isV4: boolean): string {
  if (type === 0) return isV4 ? 'Destination Host Unreachable' : 'Destination unreachable: Address unreachable';
  if (isV4) {
    if (type === v4.UNREACHABLE) {
      if (code === v4.CODE_FRAGMENTATION_NEEDED) return `Frag needed and DF set (mtu = ${info})`;
      return UNREACHABLE_V4[code] ?? `Dest Unreachable, Bad Code: ${code}`;
    }
    if (type === v4.TIME_EXCEEDED) return code === 0 ? 'Time to live exceeded' : 'Frag reassembly time exceeded';
    if (type === v4.PARAMETER_PROBLEM) return `Parameter problem: pointer = ${info}`;
    return `Bad ICMP type: ${type}`;
  }
  if (type === v6.UNREACHABLE) return `Destination unreachable: ${UNREACHABLE_V6[code] ?? `Unknown code ${code}`}`;
  if (type === v6.PACKET_TOO_BIG) return `Packet too big: mtu=${info}`;
  if (type === v6.TIME_EXCEEDED) return `Time exceeded: ${code === 0 ? 'Hop limit' : 'Defragmentation failure'}`;
  if (type === v6.PARAMETER_PROBLEM)
    return `Parameter problem: ${['Wrong header field ', 'Unknown header ', 'Unknown option '][code] ?? `code ${code} `}at ${info}`;
  return `unknown icmp type: ${type}`;
}

/** The two or three lines at the end, as ping(8) counts. */
export function summary(name: string, s: PingStatistics): string {
  const extra =
    (s.duplicates > 0 ? `, +${s.duplicates} duplicates` : '') + (s.failures > 0 ? `, +${s.failures} errors` : '');
  const loss = s.sent === 0 ? 0 : Number((((s.sent - s.received) * 100) / s.sent).toPrecision(6));
  const lines = [
    `--- ${name} ping statistics ---`,
    `${s.sent} packets transmitted, ${s.received} received${extra}, ${loss}% packet loss, time ${Math.floor(s.durationMs)}ms`,
  ];
  if (s.received > 0) {
    const times = [s.minMs, s.avgMs, s.maxMs, s.mdevMs].map((ms) => ms.toFixed(3)).join('/');
    lines.push(`rtt min/avg/max/mdev = ${times} ms`);
  } else {
    lines.push('');
  }
  return lines.join('\n');
}

function readSettings(args: string[]) {
  const { values, positionals } = readOptions(args, OPTIONS, 1);
  const [target] = positionals;
  if (target === undefined) throw new UsageError('expected a TARGET to ping, like 192.168.69.100');
  return {
    target,
    family: client.readFamily(values),
    iface: client.readInterface(values),
    count: readInteger('count', values.count, 1, 1e9) ?? Number.POSITIVE_INFINITY,
    interval: (readNumber('interval', values.interval, 0.001, 3600) ?? 1) * 1000,
    size: readInteger('size', values.size, 0, 65_507) ?? 56,
    ttl: readInteger('ttl', values.ttl, 1, 255) ?? 64,
    timeout: (readNumber('timeout', values.timeout, 0.001, 3600) ?? 5) * 1000,
    quiet: values.quiet === true || values.json === true,
    json: values.json === true,
  };
}

async function run(args: string[]): Promise<number> {
  const { target, family, iface, quiet, json, ...settings } = readSettings(args);
  const { host, close } = await client.openClient('ping', iface);
  const controller = new AbortController();
  const forget = onSignal(() => controller.abort());
  try {
    const address = await client.lookupTarget(host, target, family);
    const { isV4 } = address;
    const size = settings.size;
    if (!json) {
      console.log(
        isV4
          ? `PING ${target} (${address}) ${size}(${size + 28}) bytes of data.`
          : `PING ${target}(${address}) ${size} data bytes`,
      );
    }
    const own = (): string => `${host.stack.ip.path(address, null)?.source ?? address}`;
    const replies: PingReply[] = [];
    const failures: object[] = [];
    const statistics = await host.ping(`${address}`, {
      ...settings,
      signal: controller.signal,
      onReply: (reply) => {
        if (json) replies.push(reply);
        else if (!quiet) console.log(replyLine(reply));
      },
      onFailure: (failure) => {
        const text = describeFailure(failure, isV4);
        const from = failure.address ?? own();
        if (json)
          failures.push({ sequence: failure.sequence, address: from, type: failure.type, code: failure.code, text });
        else if (!quiet) console.log(`From ${from} icmp_seq=${failure.sequence} ${text}`);
      },
    });
    if (json) console.log(JSON.stringify({ target, ...statistics, replies, errors: failures }, null, 2));
    else console.log(`\n${summary(target, statistics)}`);
    return statistics.received > 0 ? 0 : 1;
  } finally {
    forget();
    await close();
  }
}

export const command: Command = {
  name: 'ping',
  summary: 'echo requests from a TUN or TAP interface, as ping(8)',
  usage,
  run,
};
