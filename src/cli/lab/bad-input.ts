/**
 * A station on the switch throws broken frames at `server`: sound traffic of `alice`, recorded and mutated. What is
 * dropped is counted by reason; nothing is thrown, and the host answers afterwards. In virtual time. @module
 */
import type { Host } from '../../index.ts';
import { frameFrom } from '../../memory/frame.ts';
import { PcapWriter } from '../../phy/pcap-writer.ts';
import { Random, VirtualClock } from '../../sim/index.ts';
import { ethernet } from '../../wire/index.ts';
import { echoUdp, serveHttp } from './greet.ts';
import { addCounts, addressOf, inVirtualTime, Lan, pass } from './lan.ts';
import { mutant } from './mutants.ts';
import type { Bench, Result } from './phase.ts';
import { counted, grouped } from './text.ts';

const MUTANTS = 500;
/** Time between two of them. */
const PAUSE_MS = 2;
/** Until what a mutant made others believe is forgotten: stations of the switch, neighbours, half-open connections. */
const FORGET_MS = 600_000;
const ECHO_PORT = 7;
const HTTP_PORT = 80;
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
  return inVirtualTime(clock, inLan(bench, clock));
}

async function inLan(bench: Bench, clock: VirtualClock): Promise<Result<'bad input', BadInputDetails>> {
  const random = new Random(bench.options.seed);
  const lan = new Lan({ capture: null, virtual: { clock, random: random.fork() } });
  try {
    const server = lan.host('server');
    const bob = lan.host('bob');
    const listener = await server.tcp.listen({ port: HTTP_PORT });
    serveHttp(listener);
    echoUdp(await server.udp.bind({ port: ECHO_PORT }));
    const templates = await recordAlice(lan);
    const before = { framesIn: server.stats.framesIn, drops: { ...server.stats.drops } };
    await throwMutants(lan, clock, templates, random, bench);
    const arrived = server.stats.framesIn - before.framesIn;
    const drops: Record<string, number> = {};
    addCounts(drops, server.stats.drops);
    for (const [reason, count] of Object.entries(before.drops)) drops[reason]! -= count;
    await pass(clock, FORGET_MS);
    const answers = await isAnswering(bob);
    const dropped = Object.values(drops).reduce((total, count) => total + count, 0);
    const reasons = Object.values(drops).filter((count) => count > 0).length;
    return {
      name: 'bad input',
      ok: answers,
      virtualMs: clock.now(),
      did: [`${grouped(MUTANTS)} mutated frames`, 'thrown at server'],
      saw: [
        `${grouped(arrived)} arrived,`,
        `${grouped(dropped)} dropped for ${counted(reasons, 'reason')},`,
        `server ${answers ? 'still answers' : 'DOES NOT ANSWER'}`,
      ],
      details: { thrown: MUTANTS, arrived, dropped, drops, answers },
      lan: await lan.close(),
    };
  } finally {
    await lan.close();
  }
}

/** What `alice` sends while she pings, exchanges datagrams and gets a page: ARP, ICMP, UDP and TCP. */
async function recordAlice(lan: Lan): Promise<Uint8Array[]> {
  const records: Uint8Array[] = [];
  const sink = { write: (record: Uint8Array) => records.push(record.subarray(RECORD_HEADER)) };
  const alice = lan.host('alice', new PcapWriter(lan.switch.port(), sink, { format: 'pcap', mode: 'tx' }));
  records.length = 0; // the file header
  const host = addressOf('server');
  await alice.ping(host);
  const socket = await alice.udp.bind();
  await socket.send(new Uint8Array(100), { host, port: ECHO_PORT });
  await socket.receive();
  await socket.close();
  const stream = await alice.tcp.connect({ host, port: HTTP_PORT });
  await stream.write(new TextEncoder().encode('GET / HTTP/1.1\r\n\r\n'));
  while ((await stream.read()) !== null);
  await stream.close();
  return records;
}

/** Throws them one by one from a port of their own, and gives back whatever comes in answer. */
async function throwMutants(
  lan: Lan,
  clock: VirtualClock,
  templates: readonly Uint8Array[],
  random: Random,
  bench: Bench,
): Promise<void> {
  const { memory } = lan;
  const port = lan.switch.port();
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

const isAnswering = (from: Host): Promise<boolean> =>
  from.ping(addressOf('server')).then(
    () => true,
    () => false,
  );
