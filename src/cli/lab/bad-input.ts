/**
 * A station on the switch throws broken frames at `server`: what it got while it was configured and `alice` talked to it,
 * recorded and mutated: DHCP, advertisements, DNS, ARP, ND, ICMP, UDP and TCP, both families. What is dropped is counted by
 * reason; nothing is thrown, and the host answers afterwards. In virtual time. @module
 */
import { frameFrom } from '../../memory/frame.ts';
import { PcapWriter } from '../../phy/pcap-writer.ts';
import { Random, VirtualClock } from '../../sim/index.ts';
import { ethernet } from '../../wire/index.ts';
import { DEFAULT_NETWORK, FAR_NAME, SERVER } from './default-network.ts';
import { ECHO_PORT, echoUdp, HTTP_PORT, serveHttp } from './greet.ts';
import { mutant } from './mutants.ts';
import { addCounts, Network } from './network.ts';
import type { Bench, Result } from './phase.ts';
import { counted, grouped } from './text.ts';
import { inVirtualTime, pass } from './virtual.ts';

const MUTANTS = 500;
/** Time between two of them. */
const PAUSE_MS = 2;
/**
 * Until what a mutant made others believe is forgotten: stations of the switch, neighbours, half-open connections,
 * routers, leases that were refused.
 */
const FORGET_MS = 600_000;
/** Bytes of a classic capture's record before the frame. */
const RECORD_HEADER = 16;

export interface BadInputDetails {
  readonly thrown: number;
  /** Of those, how many the switch brought to the host: the others were not, or no longer, addressed to it. */
  readonly arrived: number;
  readonly dropped: number;
  readonly drops: Record<string, number>;
  /** Whether the host answered a ping of somebody else in the end. */
  readonly answers: boolean;
}

export async function badInput(bench: Bench): Promise<Result<'bad input', BadInputDetails>> {
  const clock = new VirtualClock();
  return inVirtualTime(clock, inNetwork(bench, clock));
}

async function inNetwork(bench: Bench, clock: VirtualClock): Promise<Result<'bad input', BadInputDetails>> {
  const random = new Random(bench.options.seed);
  const records: Uint8Array[] = [];
  const sink = { write: (record: Uint8Array) => records.push(record.slice(RECORD_HEADER)) };
  const network = await Network.build(DEFAULT_NETWORK, {
    clock,
    random: random.fork(),
    capture: null,
    wrap: (name, device) => (name === SERVER ? new PcapWriter(device, sink, { format: 'pcap', mode: 'rx' }) : device),
  });
  try {
    await network.ready();
    const server = network.host(SERVER);
    serveHttp(await server.tcp.listen({ port: HTTP_PORT }));
    echoUdp(await server.udp.bind({ port: ECHO_PORT }));
    await talk(network);
    const templates = records.slice(1); // behind the header of the file
    const before = { framesIn: server.stats.framesIn, drops: { ...server.stats.drops } };
    await throwMutants(network, templates, random, bench);
    const arrived = server.stats.framesIn - before.framesIn;
    const drops: Record<string, number> = {};
    addCounts(drops, server.stats.drops);
    for (const [reason, count] of Object.entries(before.drops)) drops[reason]! -= count;
    await pass(clock, FORGET_MS);
    const answers = await isAnswering(network);
    const virtualMs = clock.now();
    const details = { thrown: MUTANTS, arrived, dropped: sumOf(drops), drops, answers };
    return { name: 'bad input', ok: answers, virtualMs, ...lines(details), details, lan: await network.close() };
  } finally {
    await network.close();
  }
}

const sumOf = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, count) => total + count, 0);

function lines({ arrived, dropped, drops, answers }: BadInputDetails): { did: string[]; saw: string[] } {
  const reasons = Object.values(drops).filter((count) => count > 0).length;
  return {
    did: [`${grouped(MUTANTS)} mutated frames`, 'thrown at server'],
    saw: [
      `${grouped(arrived)} arrived,`,
      `${grouped(dropped)} dropped for ${counted(reasons, 'reason')},`,
      `server ${answers ? 'still answers' : 'DOES NOT ANSWER'}`,
    ],
  };
}

/** `alice` pings the server, exchanges datagrams with it and gets a page, in both families; it asks for a name itself. */
async function talk(network: Network): Promise<void> {
  const alice = network.host('alice');
  await network.host(SERVER).resolve(FAR_NAME);
  for (const family of [4, 6] as const) {
    const host = network.addressOf(SERVER, family);
    await alice.ping(host);
    const socket = await alice.udp.bind();
    await socket.send(new Uint8Array(100), { host, port: ECHO_PORT });
    await socket.receive();
    await socket.close();
    const stream = await alice.tcp.connect({ host, port: HTTP_PORT });
    await stream.write(new TextEncoder().encode('GET / HTTP/1.1\r\n\r\n'));
    while ((await stream.read()) !== null);
    await stream.close();
  }
}

/** Throws them one by one from a port of their own, and gives back whatever comes in answer. */
async function throwMutants(
  { memory, clock, switches }: Network,
  templates: readonly Uint8Array[],
  random: Random,
  bench: Bench,
): Promise<void> {
  const port = switches.get(DEFAULT_NETWORK.hosts[SERVER]!.on)!.port();
  port.attach(memory, () => {});
  for (let i = 0; i < MUTANTS; i++) {
    const bytes = mutant(templates[random.below(templates.length)]!, random);
    port.transmit(frameFrom(memory, bytes, ethernet.HEADER_LENGTH), clock.now());
    await pass(clock, PAUSE_MS);
    for (let frame = port.receive(clock.now()); frame !== 0; frame = port.receive(clock.now())) memory.free(frame);
    bench.progress((i + 1) / MUTANTS);
  }
  port.close();
}

/** Whether `bob` finds the server by its name, and it answers, in both families. */
async function isAnswering(network: Network): Promise<boolean> {
  const bob = network.host('bob');
  try {
    for (const family of [4, 6] as const) {
      const [address] = await bob.resolve(SERVER, { family });
      await bob.ping(address!);
    }
    return true;
  } catch {
    return false;
  }
}
