/** `ethertype dump` on a file of a million packets: how fast beside tcpdump, and in how much memory. @module */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CaptureWriter, LINKTYPE_ETHERNET, readCapture } from '../../src/pcap/index.ts';
import { skipReason } from './namespace.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const LAB = fileURLToPath(new URL('../../../examples/lab.json', import.meta.url));
const options = { timeout: 120_000 };
const PACKETS = 1_000_000;
/** Bytes kept of each: all headers, and the beginning of what they carry. */
const SNAPLEN = 128;
/** Of tcpdump's processor time. */
const TIMES_MAX = 3;
const GROWTH_MAX = 24 << 20;
const LOOK_MS = 20;

/** Seconds of processor time, in the program and in the kernel: what else runs on the machine changes it little. */
function secondsOf(...command: string[]): number {
  const script = `TIMEFORMAT='%U %S'; time "$@" > /dev/null 2> /dev/null`;
  const { status, stderr } = spawnSync('bash', ['-c', script, 'bash', ...command], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.equal(status, 0, stderr);
  return stderr
    .trim()
    .split(' ')
    .reduce((sum, text) => sum + Number(text), 0);
}

/** Runs the tool; how many lines it printed, and the most memory it held. */
async function watched(...args: string[]): Promise<{ lines: number; peakBytes: number }> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let [lines, peakBytes] = [0, 0];
  child.stdout.on('data', (chunk: Buffer) => {
    for (let p = chunk.indexOf(10); p >= 0; p = chunk.indexOf(10, p + 1)) lines++;
  });
  const timer = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      peakBytes = Math.max(peakBytes, Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024);
    } catch {} // it has ended
  }, LOOK_MS);
  const code = await new Promise((resolve) => child.once('close', resolve));
  clearInterval(timer);
  assert.equal(code, 0);
  return { lines, peakBytes };
}

describe('dump: a million packets', { skip: skipReason('tcpdump') }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'et-million-'));
  const file = join(folder, 'million.pcap');
  before(() => {
    const lab = join(folder, 'lab.pcapng');
    assert.equal(spawnSync(process.execPath, [MAIN, 'lab', LAB, '--pcap', lab], { timeout: 30_000 }).status, 0);
    const packets = [...readCapture(readFileSync(lab))];
    const fd = openSync(file, 'w');
    let pieces: Uint8Array[] = [];
    const writer = new CaptureWriter({ write: (bytes) => pieces.push(bytes) }, { format: 'pcap', snaplen: SNAPLEN });
    writer.addInterface({ linkType: LINKTYPE_ETHERNET });
    for (let i = 0; i < PACKETS; i++) {
      const { bytes, originalLength } = packets[i % packets.length]!;
      writer.write({
        bytes,
        originalLength,
        seconds: 1_700_000_000 + Math.floor(i / 1000),
        nanoseconds: (i % 1000) * 1e6,
      });
      if (i % 1000 < 999) continue;
      writeSync(fd, Buffer.concat(pieces));
      pieces = [];
    }
    closeSync(fd);
  }, options);
  after(() => rmSync(folder, { recursive: true }));

  test(`in at most ${TIMES_MAX} times the processor time of tcpdump -nr`, options, (t) => {
    const least = (...command: string[]): number => Math.min(secondsOf(...command), secondsOf(...command));
    const theirs = least('tcpdump', '-n', '-r', file);
    const ours = least(process.execPath, MAIN, 'dump', '-n', '-r', file);
    t.diagnostic(`dump ${ours.toFixed(2)} s, tcpdump ${theirs.toFixed(2)} s of processor time`);
    assert.ok(ours <= TIMES_MAX * theirs, `${ours} s, tcpdump ${theirs} s`);
  });

  test('in memory that does not grow with the file', options, async (t) => {
    // The engine takes its time to settle: by the half it has.
    const few = await watched('dump', '-n', '-r', file, '-c', `${PACKETS / 2}`);
    const all = await watched('dump', '-n', '-r', file);
    t.diagnostic(`${few.peakBytes >> 20} MiB for half of them, ${all.peakBytes >> 20} MiB for all`);
    assert.deepEqual([few.lines, all.lines], [PACKETS / 2, PACKETS]);
    assert.ok(all.peakBytes < few.peakBytes + GROWTH_MAX, `${few.peakBytes} and ${all.peakBytes} bytes`);
  });
});
