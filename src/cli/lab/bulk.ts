/**
 * As many bytes as the machine can move in a moment, from `alice` to `bob` over their switch. Virtual time stands still
 * meanwhile; what it takes is measured on the machine's clock. @module
 */
import { Random, VirtualClock } from '../../sim/index.ts';
import { bareNetwork } from './default-network.ts';
import { Network } from './network.ts';
import type { Bench, Result } from './phase.ts';
import { grouped, inBitsPerSecond, inBytes } from './text.ts';
import { Pattern, transfer } from './transfer.ts';
import { inVirtualTime } from './virtual.ts';

const PORT = 9;
/** For each family. */
const TIME_MS_MAX = 1000;

export interface BulkDetails {
  readonly bytes: number;
  readonly alike: boolean;
  readonly transferMs: number;
  /** Of both families together, and of each. */
  readonly bitsPerSecond: number;
  readonly bitsPerSecondV4: number;
  readonly bitsPerSecondV6: number;
  /** What the sender sent, and what it was answered. */
  readonly segments: number;
  readonly acks: number;
  readonly retransmits: number;
}

export async function bulkTransfer(bench: Bench): Promise<Result<'bulk', BulkDetails>> {
  const clock = new VirtualClock();
  return inVirtualTime(clock, inNetwork(bench, clock));
}

async function inNetwork(bench: Bench, clock: VirtualClock): Promise<Result<'bulk', BulkDetails>> {
  const { seed, bulkBytes } = bench.options;
  const random = new Random(seed);
  const network = await Network.build(bareNetwork(), { clock, random, capture: null, hosts: ['alice', 'bob'] });
  try {
    await network.ready();
    const [alice, bob] = [network.host('alice'), network.host('bob')];
    const pattern = new Pattern(random.fork());
    const halfBytes = Math.ceil(bulkBytes / 2);
    const move = (family: 4 | 6, before: number) =>
      transfer({
        from: alice,
        to: bob,
        address: network.addressOf('bob', family),
        port: PORT,
        bytes: halfBytes,
        pattern,
        now: () => performance.now(),
        maxMs: TIME_MS_MAX,
        onProgress: (sent) => bench.progress((before + sent) / bulkBytes),
      });
    const v4 = await move(4, 0);
    const v6 = await move(6, halfBytes);
    const rate = (bytes: number, ms: number): number => (bytes * 8000) / ms;
    const details: BulkDetails = {
      bytes: v4.receivedBytes + v6.receivedBytes,
      alike: v4.alike && v6.alike,
      transferMs: v4.ms + v6.ms,
      bitsPerSecond: rate(v4.receivedBytes + v6.receivedBytes, v4.ms + v6.ms),
      bitsPerSecondV4: rate(v4.receivedBytes, v4.ms),
      bitsPerSecondV6: rate(v6.receivedBytes, v6.ms),
      segments: alice.stats.tcpSegmentsOut,
      acks: bob.stats.tcpSegmentsOut,
      retransmits: alice.stats.tcpRetransmits,
    };
    return { name: 'bulk', ok: details.alike, ...lines(details), details, lan: await network.close() };
  } finally {
    await network.close();
  }
}

function lines(details: BulkDetails): { did: string[]; saw: string[] } {
  const { bytes, alike, segments, acks, retransmits, bitsPerSecondV4, bitsPerSecondV6 } = details;
  return {
    did: [`${inBytes(bytes)} over TCP, half each`, 'family, alice to bob'],
    saw: [
      `v4 ${inBitsPerSecond(bitsPerSecondV4)}, v6 ${inBitsPerSecond(bitsPerSecondV6)}`,
      `bytes ${alike ? 'alike' : 'DIFFER'}, ${grouped(segments)} segments`,
      `an ACK per ${(segments / acks).toFixed(1)}, ${grouped(retransmits)} sent again`,
    ],
  };
}
