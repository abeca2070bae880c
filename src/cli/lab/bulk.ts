/** As many bytes as the machine can move in a moment, from `alice` to `server`, on the machine's clock. @module */
import { Random } from '../../sim/index.ts';
import { addressOf, Lan } from './lan.ts';
import type { Bench, Result } from './phase.ts';
import { grouped, inBitsPerSecond, inBytes } from './text.ts';
import { Pattern, transfer } from './transfer.ts';

const PORT = 9;
const TIME_MS_MAX = 2000;

export interface BulkDetails {
  readonly bytes: number;
  readonly alike: boolean;
  readonly transferMs: number;
  readonly bitsPerSecond: number;
  /** What the sender sent, and what it was answered. */
  readonly segments: number;
  readonly acks: number;
  readonly retransmits: number;
}

export async function bulkTransfer(bench: Bench): Promise<Result<'bulk', BulkDetails>> {
  const { seed, bulkBytes } = bench.options;
  const lan = new Lan({ capture: null });
  try {
    const alice = lan.host('alice');
    const server = lan.host('server');
    const done = await transfer({
      from: alice,
      to: server,
      address: addressOf('server'),
      port: PORT,
      bytes: bulkBytes,
      pattern: new Pattern(new Random(seed)),
      now: () => performance.now(),
      maxMs: TIME_MS_MAX,
      onProgress: (sent) => bench.progress(sent / bulkBytes),
    });
    const { tcpSegmentsOut: segments, tcpRetransmits: retransmits } = alice.stats;
    const acks = server.stats.tcpSegmentsOut;
    const { receivedBytes: bytes, alike, ms: transferMs } = done;
    const bitsPerSecond = (bytes * 8000) / transferMs;
    return {
      name: 'bulk',
      ok: alike,
      did: [`${inBytes(bytes)} over TCP,`, 'alice to server, MTU 1500'],
      saw: [
        `${inBitsPerSecond(bitsPerSecond)}, bytes ${alike ? 'alike' : 'DIFFER'}`,
        `${grouped(segments)} segments,`,
        `an ACK per ${(segments / acks).toFixed(1)}, ${grouped(retransmits)} sent again`,
      ],
      details: { bytes, alike, transferMs, bitsPerSecond, segments, acks, retransmits },
      lan: await lan.close(),
    };
  } finally {
    await lan.close();
  }
}
