/** `ethertype dump` on files of other systems and of what no layer here speaks, beside tshark. @module */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { CaptureWriter } from '../../src/pcap/index.ts';
import { CARRIED } from '../packets-carried.ts';
import { skipReason } from './namespace.ts';
import { MAIN } from './server.ts';

/** The IP packets of the corpus, behind an Ethernet header. */
const IP = Object.values(CARRIED)
  .filter((bytes) => bytes[12] === 8 && bytes[13] === 0)
  .map((bytes) => bytes.slice(14));

const behind =
  (...head: number[]) =>
  (bytes: Uint8Array): Uint8Array =>
    Uint8Array.of(...head, ...bytes);

const FILES: readonly { name: string; linkType: number; packets: readonly Uint8Array[] }[] = [
  { name: 'Ethernet', linkType: 1, packets: Object.values(CARRIED) },
  { name: 'raw IP', linkType: 101, packets: IP },
  { name: 'BSD loopback', linkType: 0, packets: IP.map(behind(2, 0, 0, 0)) },
  { name: 'OpenBSD loopback', linkType: 108, packets: IP.map(behind(0, 0, 0, 2)) },
  { name: 'Linux cooked', linkType: 113, packets: IP.map(behind(0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0)) },
  {
    name: 'Linux cooked v2',
    linkType: 276,
    packets: IP.map(behind(8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0)),
  },
  { name: 'PPP', linkType: 9, packets: IP.map(behind(0xff, 3, 0, 0x21)) },
  { name: 'PPP over Ethernet', linkType: 51, packets: [CARRIED.pppoeSess.slice(14), CARRIED.pppoeSess6.slice(14)] },
];

interface Line {
  readonly length: number;
  readonly line: string;
  readonly ipv4?: { source: string; destination: string };
  readonly ipv6?: { source: string; destination: string };
}

function write(path: string, linkType: number, packets: readonly Uint8Array[]): void {
  const chunks: Uint8Array[] = [];
  const writer = new CaptureWriter({ write: (bytes) => chunks.push(bytes) });
  writer.addInterface({ linkType });
  for (const [i, bytes] of packets.entries()) writer.write({ bytes, seconds: 1_700_000_000 + i, nanoseconds: 5 });
  writeFileSync(path, Buffer.concat(chunks));
}

describe('dump beside tshark, on what is rare', { skip: skipReason('tshark') }, () => {
  for (const { name, linkType, packets } of FILES) {
    test(`${name}: lengths, and the addresses of the outermost packets`, { timeout: 60_000 }, () => {
      const folder = mkdtempSync(join(tmpdir(), 'dump-carried-'));
      try {
        const path = join(folder, 'x.pcapng');
        write(path, linkType, packets);
        const fields = ['frame.len', 'ip.src', 'ip.dst', 'ipv6.src', 'ipv6.dst'].flatMap((field) => ['-e', field]);
        const args = ['-n', '-r', path, '-T', 'fields', '-E', 'occurrence=f', ...fields];
        const theirs = execFileSync('tshark', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
        const ours = execFileSync(process.execPath, [MAIN, 'dump', '-n', '--json', '-r', path], { encoding: 'utf8' });
        const lines = ours
          .trimEnd()
          .split('\n')
          .map((text) => JSON.parse(text) as Line);
        const rows = theirs.replace(/\n$/, '').split('\n');
        assert.equal(lines.length, packets.length);
        assert.equal(rows.length, packets.length);
        for (const [i, { length, line, ipv4, ipv6 }] of lines.entries()) {
          const [theirLength, source, destination, source6, destination6] = rows[i]!.split('\t');
          assert.equal(length, Number(theirLength), line);
          // Where tshark looks into a tunnel, the outermost packet of the other family is the inner one.
          if (ipv4 !== undefined) assert.deepEqual([ipv4.source, ipv4.destination], [source, destination], line);
          else if (ipv6 !== undefined) assert.deepEqual([ipv6.source, ipv6.destination], [source6, destination6], line);
          else assert.ok(!line.includes('IP ') || line.includes('MPLS'), line);
        }
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  }
});
