/** A transfer over a slow and lossy link, in virtual time: it takes no time, and is the same at every run. @module */
import { FaultInjector, type FaultOptions } from '../../phy/fault-injector.ts';
import { Random, VirtualClock } from '../../sim/index.ts';
import { addressOf, inVirtualTime, Lan, pass } from './lan.ts';
import type { Bench, Result } from './phase.ts';
import { counted, grouped, inBitsPerSecond, inBytes } from './text.ts';
import { Pattern, transfer } from './transfer.ts';

const PORT = 9;
const BYTES = 4 << 20;
/** Nothing more is sent after two minutes: at a high loss less is sent. */
const TIME_MS_MAX = 120_000;
const ONE_WAY_MS = 10;
const RATE_BITS_PER_SECOND = 50e6;
/** Patience for half of all frames lost each way: as many retransmissions in a row all fail once in 30 million. */
const RETRIES_MAX = 60;
const PATIENCE = { retriesMax: RETRIES_MAX, synRetriesMax: RETRIES_MAX, synAckRetriesMax: RETRIES_MAX };
/** How often the hosts are asked whether they have closed their connections. */
const LOOK_MS = 20;
/** More than a window: what is lost is lost by chance, and never to a full queue. */
const QUEUE_BYTES = 1 << 21;

export interface LossyDetails {
  readonly lossPercent: number;
  readonly roundTripMs: number;
  readonly rateBitsPerSecond: number;
  readonly bytes: number;
  readonly alike: boolean;
  /** Virtual ms from the first byte to the end of the stream. */
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
  return inVirtualTime(clock, inLan(bench, clock));
}

async function inLan(bench: Bench, clock: VirtualClock): Promise<Result<'lossy', LossyDetails>> {
  const { seed, lossPercent } = bench.options;
  const random = new Random(seed);
  const lan = new Lan({ capture: bench.capture(true), virtual: { clock, random }, tcp: PATIENCE });
  const link: FaultOptions = {
    delayMs: ONE_WAY_MS,
    rateBitsPerSecond: RATE_BITS_PER_SECOND,
    queueBytesMax: QUEUE_BYTES,
  };
  const faults = new FaultInjector(lan.switch.port(), { seed: random.next(), ...link });
  const alice = lan.host('alice', faults);
  const server = lan.host('server');
  try {
    // The hosts find each other before the loss begins: three ARP requests in vain would end the attempt to connect.
    await alice.ping(addressOf('server'));
    faults.configure({ ...link, drop: lossPercent / 100 });
    const done = await transfer({
      from: alice,
      to: server,
      address: addressOf('server'),
      port: PORT,
      bytes: BYTES,
      pattern: new Pattern(random.fork()),
      now: () => clock.now(),
      maxMs: TIME_MS_MAX,
      onProgress: (sent) => bench.progress(sent / BYTES),
    });
    // As long as the server's FIN is under way, alice answers it from TIME-WAIT.
    while (server.stack.tcp.connections.count > 0) await pass(clock, LOOK_MS);
    const { tcpSegmentsOut, tcpRetransmits, tcpFastRetransmits, tcpTimeouts } = alice.stats;
    const { receivedBytes: bytes, alike, ms: transferMs } = done;
    const details: LossyDetails = {
      lossPercent,
      roundTripMs: 2 * ONE_WAY_MS,
      rateBitsPerSecond: RATE_BITS_PER_SECOND,
      bytes,
      alike,
      transferMs,
      goodputBitsPerSecond: (bytes * 8000) / transferMs,
      segments: tcpSegmentsOut,
      framesLost: faults.stats.dropped,
      retransmits: tcpRetransmits,
      fastRetransmits: tcpFastRetransmits,
      timeouts: tcpTimeouts,
    };
    return { name: 'lossy', ok: alike, virtualMs: clock.now(), ...lines(details), details, lan: await lan.close() };
  } finally {
    await lan.close();
  }
}

function lines(details: LossyDetails): { did: string[]; saw: string[] } {
  const { lossPercent, roundTripMs, bytes, alike, framesLost, retransmits, fastRetransmits, timeouts } = details;
  return {
    did: [
      `${inBytes(bytes)}, alice to server`,
      `${roundTripMs} ms, ${inBitsPerSecond(details.rateBitsPerSecond)},`,
      `${lossPercent} % lost each way`,
    ],
    saw: [
      `${inBitsPerSecond(details.goodputBitsPerSecond)}, bytes ${alike ? 'alike' : 'DIFFER'}`,
      `${counted(framesLost, 'frame')} lost, ${grouped(retransmits)} sent again`,
      `fast retransmits ${grouped(fastRetransmits)}, timeouts ${grouped(timeouts)}`,
    ],
  };
}
