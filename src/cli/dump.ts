/** `ethertype dump`: what tcpdump does, of an interface or of a file. @module */
import { statSync } from 'node:fs';
import { readInteger, readOptions } from './args.ts';
import { type Command, UsageError } from './command.ts';
import { compile, FilterError } from './dump/filter.ts';
import type { Predicate } from './dump/predicates.ts';
import type { TimeStyle } from './dump/printer.ts';
import { Session } from './dump/session.ts';
import { readFile, watchInterface } from './dump/sources.ts';

const USAGE = `usage: ethertype dump (-i NAME | -r FILE) [OPTION]... [FILTER]

Prints the packets of an interface or of a capture file, one line each.

  -i, --interface NAME  watches an interface (Linux, root or CAP_NET_RAW, koffi)
  -r, --read FILE       reads pcap or pcapng, of any byte order and resolution; - is standard input
  -w, --write FILE      writes the packets instead of printing them: pcapng, or pcap where FILE ends so; - is
                        standard output
  -c, --count N         ends after N packets
  -v, --verbose         a tree of fields below each line
  -x, --hex             the bytes below each line
      --json            an object a line
  -n                    addresses and ports as numbers: always so, accepted from habit
  -p, --no-promiscuous  only what comes to this machine's own addresses
  -t                    no time; the same as --time none
      --time STYLE      local (the default), utc, epoch or none
      --color WHEN      auto (the default: on a terminal, unless NO_COLOR is set), always or never

FILTER is in the syntax of tcpdump: host, net, port, portrange with src and dst, ether host, proto, ip, ip6, arp,
tcp, udp, icmp, icmp6, igmp, vlan, broadcast, multicast, less N, greater N, inbound, outbound, ifname NAME, joined by
and, or, not and parentheses, as in: tcp port 80 and not host 10.0.0.1
Left out: bytes like tcp[tcpflags], comparisons, names of hosts, gateway, protochain. Tags and extension headers are
looked through: tcp finds TCP behind them too.

Exit code 0; 1 where a file is damaged or ends early, behind the packets it holds; 2 for wrong usage.`;

const OPTIONS = {
  interface: { type: 'string', short: 'i' },
  read: { type: 'string', short: 'r' },
  write: { type: 'string', short: 'w' },
  count: { type: 'string', short: 'c' },
  numeric: { type: 'boolean', short: 'n', multiple: true },
  verbose: { type: 'boolean', short: 'v' },
  hex: { type: 'boolean', short: 'x' },
  json: { type: 'boolean' },
  'no-promiscuous': { type: 'boolean', short: 'p' },
  'no-time': { type: 'boolean', short: 't' },
  time: { type: 'string' },
  color: { type: 'string' },
} as const;

const STYLES: readonly TimeStyle[] = ['local', 'utc', 'epoch', 'none'];
const COLORS = ['auto', 'always', 'never'] as const;
/** Words of a filter at most. */
const WORDS_MAX = 10_000;

function choose<T extends string>(option: string, choices: readonly T[], text: string | undefined): T {
  if (text === undefined) return choices[0]!;
  const choice = choices.find((one) => one === text);
  if (choice !== undefined) return choice;
  throw new UsageError(`--${option}: expected ${choices.join(', ')}, got ${JSON.stringify(text)}`);
}

function readFilter(words: readonly string[]): Predicate {
  try {
    return compile(words.join(' '));
  } catch (error) {
    throw error instanceof FilterError ? new UsageError(error.message) : error;
  }
}

/** Whether both are one file: writing begins by emptying it. */
function isSameFile(read: string, write: string): boolean {
  try {
    const [from, to] = [statSync(read), statSync(write)];
    return from.isFile() && from.dev === to.dev && from.ino === to.ino;
  } catch {
    return false; // one of them is missing, or a dash
  }
}

const isColored = (when: (typeof COLORS)[number]): boolean =>
  when === 'auto' ? process.stdout.isTTY === true && !process.env.NO_COLOR : when === 'always';

async function run(args: string[]): Promise<number> {
  const { values, positionals } = readOptions(args, OPTIONS, WORDS_MAX);
  const { read, interface: iface, write = null, json = false, verbose: tree = false, hex = false } = values;
  if ((read === undefined) === (iface === undefined)) {
    throw new UsageError(`expected -i NAME or -r FILE, got ${read === undefined ? 'neither' : 'both'}`);
  }
  if (json && (tree || hex)) throw new UsageError('expected --json alone or -v and -x, got both');
  const count = readInteger('count', values.count, 1, Number.MAX_SAFE_INTEGER) ?? Number.POSITIVE_INFINITY;
  const time = values['no-time'] === true ? 'none' : choose('time', STYLES, values.time);
  const color = isColored(choose('color', COLORS, values.color));
  const accept = readFilter(positionals);
  if (read !== undefined && write !== null && isSameFile(read, write)) {
    throw new UsageError(`expected two files, got ${write} to read and to write`);
  }
  const session = new Session({ accept, count, write, time, color, json, tree, hex });
  try {
    if (read !== undefined) readFile(read, session);
    else await watch(iface!, values['no-promiscuous'] !== true, session);
  } finally {
    session.close();
  }
  if (write !== null && write !== '-' && read !== undefined)
    process.stderr.write(`ethertype dump: ${session.packets} packets written\n`);
  return 0;
}

async function watch(iface: string, promiscuous: boolean, session: Session): Promise<void> {
  const { received, dropped } = await watchInterface(iface, promiscuous, session);
  process.stderr.write(
    `ethertype dump: ${session.packets} packets captured, ${received} received, ${dropped} dropped by the kernel\n`,
  );
}

export const command: Command = {
  name: 'dump',
  summary: 'prints the packets of an interface or a capture file, as tcpdump does',
  usage: USAGE,
  run,
};
