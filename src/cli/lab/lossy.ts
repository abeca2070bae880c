/** A transfer over a slow and lossy link, in virtual time: it takes no time, and is the same at every run. @module */
import type { TcpStream } from '../../index.ts';
import type { FaultOptions } from '../../phy/fault-injector.ts';
import { Random, VirtualClock } from '../../sim/index.ts';
import { cableTarget, ScenarioPlayer } from '../scenario.ts';
import { DEFAULT_NETWORK, SERVER } from './default-network.ts';
import { Network } from './network.ts';
import type { Bench, Result } from './phase.ts';
import { counted, grouped, inBitsPerSecond, inBytes } from './text.ts';
import { Pattern, type Transfer, transfer } from './transfer.ts';
import { inVirtualTime, pass } from './virtual.ts';

const PORT = 9;
/** For each family. */
const BYTES = 2 << 20;
/** Nothing more is sent after a minute: at a high loss less is sent. */
const TIME_MS_MAX = 60_000;
const ONE_WAY_MS = 10;
const RATE_BITS_PER_SECOND = 50e6;
/** Patience for half of all frames lost each way: as many retransmissions in a row all fail once in 30 million. */
const RETRIES_MAX = 60;
const PATIENCE = { retriesMax: RETRIES_MAX, synRetriesMax: RETRIES_MAX, synAckRetriesMax: RETRIES_MAX };
/** How often the hosts are asked whether they have closed their connections. */
const LOOK_MS = 20;
/** More than a window: what is lost is lost by chance, and never to a full queue. */
const QUEUE_BYTES = 1 << 21;
const LINK: FaultOptions = {
  delayMs: ONE_WAY_MS,
  rateBitsPerSecond: RATE_BITS_PER_SECOND,
  queueBytesMax: QUEUE_BYTES,
};
const FAMILIES = [4, 6] as const;

export interface LossyDetails {
  readonly lossPercent: number;
  readonly roundTripMs: number;
  readonly rateBitsPerSecond: number;
  readonly bytes: number;
  readonly alike: boolean;
  /** Virtual ms from the first byte to the end of the stream, of both families together. */
  readonly transferMs: number;
  readonly goodputBitsPerSecond: number;
  readonly segments: number;
  readonly framesLost: number;
  readonly retransmits: number;
  readonly fastRetransmits: number;
  readonly timeouts: number;
}

export async function lossyTransfer(bench: Bench): Promise<Result<'lossy', LossyDetails>> {
  const clock = new VirtualClock();
  return inVirtualTime(clock, inNetwork(bench, clock));
}

async function inNetwork(bench: Bench, clock: VirtualClock): Promise<Result<'lossy', LossyDetails>> {
  const { seed, lossPercent, scenario, faults: more = {} } = bench.options;
  const random = new Random(seed);
  const network = await Network.build(DEFAULT_NETWORK, {
    clock,
    random,
    capture: bench.capture(),
    hosts: ['alice', SERVER],
    tcp: PATIENCE,
    wrap: (name, device, host) => bench.observer?.tap(name, host, device) ?? device,
  });
  const cable = network.cables.get('alice')!;
  const alice = network.host('alice');
  const server = network.host(SERVER);
  try {
    // The hosts find each other before the loss begins: three ARP requests in vain would end the attempt to connect.
    await network.ready();
    for (const family of FAMILIES) await alice.ping(network.addressOf(SERVER, family));
    const faults = { ...LINK, ...more, drop: lossPercent / 100 };
    cable.configure(faults);
    const target = cableTarget(cable, faults);
    const player = new ScenarioPlayer(clock, scenario ?? { changes: [], repeatMs: null }, () => [target]);
    player.start();
    const pattern = new Pattern(random.fork());
    const done: Transfer[] = [];
    for (const family of FAMILIES) {
      const options = {
        address: network.addressOf(SERVER, family),
        port: PORT,
        bytes: BYTES,
        maxMs: TIME_MS_MAX,
        pattern,
      };
      const onStream = (stream: TcpStream): void => bench.observer?.watch(stream, () => clock.now());
      const onProgress = (sent: number): void => bench.progress((done.length + sent / BYTES) / FAMILIES.length);
      done.push(await transfer({ from: alice, to: server, now: () => clock.now(), onStream, onProgress, ...options }));
      // As long as the server's FIN is under way, alice answers it from TIME-WAIT.
      while (server.stack.tcp.connections.count > 0) await pass(clock, LOOK_MS);
    }
    const virtualMs = clock.now();
    player.stop();
    cable.configure({}); // or closing would have to wait for what may be lost
    const details = detailsOf(lossPercent, faults, network, done);
    return { name: 'lossy', ok: details.alike, virtualMs, ...lines(details), details, lan: await network.close() };
  } finally {
    await network.close();
  }
}

function detailsOf(
  lossPercent: number,
  { delayMs = 0, rateBitsPerSecond = Number.POSITIVE_INFINITY }: FaultOptions,
  network: Network,
  done: readonly Transfer[],
): LossyDetails {
  const { tcpSegmentsOut, tcpRetransmits, tcpFastRetransmits, tcpTimeouts } = network.host('alice').stats;
  const bytes = done.reduce((total, { receivedBytes }) => total + receivedBytes, 0);
  const transferMs = done.reduce((total, { ms }) => total + ms, 0);
  return {
    lossPercent,
    roundTripMs: 2 * delayMs,
    rateBitsPerSecond,
    bytes,
    alike: done.every(({ alike }) => alike),
    transferMs,
    goodputBitsPerSecond: (bytes * 8000) / transferMs,
    segments: tcpSegmentsOut,
    framesLost: network.cables.get('alice')!.stats.dropped,
    retransmits: tcpRetransmits,
    fastRetransmits: tcpFastRetransmits,
    timeouts: tcpTimeouts,
  };
}

function lines(details: LossyDetails): { did: string[]; saw: string[] } {
  const { lossPercent, roundTripMs, bytes, alike, framesLost, retransmits, fastRetransmits, timeouts } = details;
  return {
    did: [
      `${inBytes(bytes)}, alice to server,`,
      `v4, v6; ${roundTripMs} ms, ${inBitsPerSecond(details.rateBitsPerSecond)},`,
      `${lossPercent} % lost each way`,
    ],
    saw: [
      `${inBitsPerSecond(details.goodputBitsPerSecond)}, bytes ${alike ? 'alike' : 'DIFFER'}`,
      `${counted(framesLost, 'frame')} lost, ${grouped(retransmits)} sent again`,
      `fast retransmits ${grouped(fastRetransmits)}, timeouts ${grouped(timeouts)}`,
    ],
  };
}
