/** `ethertype server`: a host on a TUN or TAP interface, with the classic services. @module */
import type { Host } from '../index.ts';
import type { TunQueue } from '../linux/index.ts';
import { readBytes, readInteger, readOptions } from './args.ts';
import * as client from './client.ts';
import { type Command, UsageError } from './command.ts';
import { FAULT_USAGE } from './fault-options.ts';
import { serveInThreads } from './server-threads.ts';
import { SERVICES, ServiceRunner } from './services.ts';
import { checkGone, untilEnd } from './until-end.ts';

/** Peers that vanished without a word are found by probes: idle time, between probes, their number. */
const KEEP_ALIVE = { keepAliveMs: 60_000, keepAliveIntervalMs: 10_000, keepAliveProbesMax: 6 };
const MEMORY_BYTES = 64 << 20;
const MEMORY_MIN = 1 << 20;
const MEMORY_MAX = 0x7fff0000;
/** Queues of a TUN interface that are opened at most. */
const THREADS_MAX = 64;

const usage = `usage: ethertype server (--tap NAME | --tun NAME) --address CIDR... [OPTION]...

A host on a TAP interface (Ethernet) or a TUN interface (IP): it answers ping and serves echo on port 7, discard on 9,
chargen on 19 (TCP and UDP), HTTP on 80, and on 6969 what smoltcp's server does: reversed chunks over TCP, "yo dawg"
over UDP. It runs until SIGINT, SIGTERM or SIGHUP. The interface is made if it is missing, and then goes with the
server.

  ethertype server --tap tap0 --address 192.168.69.1/24 --host-address 192.168.69.100/24

${client.INTERFACE_USAGE}
  --memory BYTES           what the stack may use, like 256M; default 64M
  --threads N              a host with the same addresses on each of N threads, 1 to 64; default 1. A TUN interface of N
                           queues spreads flows over them; memory and faults are those of each thread, and FILE of
                           --pcap becomes FILE-0, FILE-1 and so on, before its ending
  --json                   prints the account of the run as one JSON document at the end, and the ready line on stderr

${FAULT_USAGE}`;

export interface Settings extends client.InterfaceSettings {
  readonly memoryBytes: number;
  readonly threads: number;
  readonly json: boolean;
}

const OPTIONS = {
  ...client.INTERFACE_OPTIONS,
  memory: { type: 'string' },
  threads: { type: 'string' },
  json: { type: 'boolean' },
} as const;

/** @throws UsageError */
export function readSettings(args: string[]): Settings {
  const { values } = readOptions(args, OPTIONS);
  const iface = client.readInterface(values);
  const threads = readInteger('threads', values.threads, 1, THREADS_MAX) ?? 1;
  if (threads > 1 && iface.kind === 'tap') {
    throw new UsageError('--threads is for --tun: on a TAP, answers of ARP and ND would reach only one of the threads');
  }
  if (threads > 1 && iface.words.length > 0) {
    throw new UsageError(`--threads takes addresses like 10.0.0.2/24, got ${iface.words[0]}`);
  }
  return {
    ...iface,
    threads,
    memoryBytes: readBytes('memory', values.memory, MEMORY_MIN, MEMORY_MAX) ?? MEMORY_BYTES,
    json: values.json === true,
  };
}

const complain = (message: string): void => {
  process.stderr.write(`ethertype server: ${message}\n`);
};

function readyLine(host: Host, { tun, faults }: client.Wire, threads: number): string {
  const own = host.iface!.addresses.map(({ address }) => address).join(', ');
  const ports = SERVICES.map(({ name, port }) => `${name} ${port}`).join(', ');
  const how = [`MTU ${tun.mtu}`, `offload ${tun.offload ? 'on' : 'off'}`];
  if (faults !== null) how.push('faults on');
  if (threads > 1) how.push(`${threads} threads`);
  return `ethertype server: ${own} on ${tun.name}, ${how.join(', ')}: ping, ${ports}`;
}

/** What the run came to; the memory in use is what connections still under way held. */
function account(settings: Settings, wire: client.Wire, host: Host, runner: ServiceRunner, startedMs: number) {
  const { bytes, usedBytes, peakBytes, refused } = host.memory;
  const { name, mtu, offload, stats } = wire.tun;
  return {
    interface: { name, kind: settings.kind, mtu, offload, ...stats },
    addresses: host.iface!.addresses.map(String),
    seconds: Math.round(performance.now() - startedMs) / 1000,
    services: structuredClone(runner.counts),
    openConnections: runner.open,
    stack: { ...host.stats },
    faults: wire.faults === null ? null : { ...wire.faults.stats },
    memory: { bytes, usedBytes, peakBytes, refused, leakedBytes: 0 },
  };
}

export type Account = ReturnType<typeof account>;

function summary({ services, stack, memory, seconds }: Account): string {
  const total = { connections: 0, failed: 0, datagrams: 0 };
  for (const { connections, failed, datagrams } of Object.values(services)) {
    total.connections += connections;
    total.failed += failed;
    total.datagrams += datagrams;
  }
  return (
    `ethertype server: ended after ${seconds.toFixed(1)} s: ${total.connections} connections (${total.failed} broken), ` +
    `${total.datagrams} datagrams, ${stack.framesIn} frames in and ${stack.framesOut} out, ` +
    `at most ${(memory.peakBytes / 2 ** 20).toFixed(1)} MiB of memory`
  );
}

/** A host with its services: the whole server, or the part of it on one thread. */
export interface Serving {
  /** What to tell when it is ready. */
  readonly line: string;
  /** Why the interface is gone, or null. */
  failure(): Error | null;
  /** Closes it, and says what the run came to. */
  end(): Promise<Account>;
}

/** What a thread of a server has its part by. */
export interface Share {
  /** The queue of the interface that it serves. */
  readonly queue: TunQueue;
  /** What link-local addresses are made from, so that all threads have the same: 16 bytes. */
  readonly secret: Uint8Array;
}

/** @param share - null: the interface is its own */
export async function serve(settings: Settings, share: Share | null): Promise<Serving> {
  const startedMs = performance.now();
  const wire = await client.openWire('server', settings, share?.queue ?? null);
  const hasV6 = settings.addresses.some(({ address }) => !address.isV4);
  const host = client.hostOn(wire, {
    ...client.hostOptions(settings, wire),
    ...(share !== null && hasV6 ? { ipv6: { secret: share.secret } } : {}),
    memory: settings.memoryBytes,
    // Whole answers are written at once, so there is nothing for Nagle's algorithm to gather.
    tcp: { noDelay: true, ...KEEP_ALIVE },
  });
  await client.untilConfigured(host, settings);
  const runner = new ServiceRunner(host, SERVICES, (error) => complain(`a service failed: ${String(error)}`));
  await runner.start(SERVICES);
  const endScenario = wire.beginScenario(host.clock);
  const end = async (): Promise<Account> => {
    endScenario();
    const result = account(settings, wire, host, runner, startedMs);
    await runner.close();
    await host.close();
    wire.closeCapture();
    result.memory.leakedBytes = host.memory.usedBytes;
    return result;
  };
  return { line: readyLine(host, wire, settings.threads), failure: () => wire.tun.failure, end };
}

async function run(args: string[]): Promise<number> {
  const settings = readSettings(args);
  const { threads } = settings;
  const serving = await (threads > 1
    ? serveInThreads(args, threads, client.tunOptions(settings))
    : serve(settings, null));
  (settings.json ? process.stderr : process.stdout).write(`${serving.line}\n`);
  const failure = await untilEnd(serving.failure);
  const result = await serving.end();
  console.log(settings.json ? JSON.stringify(result, null, 2) : summary(result));
  checkGone(settings.name, failure);
  return 0;
}

export const command: Command = {
  name: 'server',
  summary: 'a host on a TUN or TAP interface: ping, echo, discard, chargen, HTTP, smoltcp',
  usage,
  run,
};
