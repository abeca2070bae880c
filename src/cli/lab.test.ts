import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readCapture } from '../pcap/reader.ts';
import { CommandError, UsageError } from './command.ts';
import { accountToJson, formatAccount } from './lab/account.ts';
import type { AddressesDetails, NamesDetails } from './lab/autoconfigure.ts';
import type { BadInputDetails } from './lab/bad-input.ts';
import type { BulkDetails } from './lab/bulk.ts';
import type { EchoDetails, HttpDetails, PingDetails } from './lab/greet.ts';
import type { LossyDetails } from './lab/lossy.ts';
import type { LabOptions } from './lab/phase.ts';
import { Progress } from './lab/progress.ts';
import { type LabAccount, type Recording, runLab } from './lab/run.ts';
import { command } from './lab.ts';

const BULK_BYTES = 2 << 20;

interface PhaseBase {
  ok: boolean;
  ms: number;
  virtualMs: number | null;
  failure?: string;
}

interface Document {
  ok: boolean;
  seed: number;
  lossPercent: number;
  ms: number;
  hosts: { name: string; mac: string; address: string; address6: string }[];
  phases: {
    addresses: PhaseBase & AddressesDetails;
    names: PhaseBase & NamesDetails;
    ping: PhaseBase & PingDetails;
    http: PhaseBase & HttpDetails;
    udpEcho: PhaseBase & EchoDetails;
    bulk: PhaseBase & BulkDetails;
    lossy: PhaseBase & LossyDetails;
    badInput: PhaseBase & BadInputDetails;
  };
  drops: Record<string, number>;
  memory: { peakBytes: number; usedBytes: number; balanced: boolean };
  capture: { file: string; failure: string | null; packets: number; leftOut: string[] } | null;
}

const optionsOf = (seed: number, lossPercent = 1): LabOptions => ({
  seed,
  lossPercent,
  scenario: null,
  bulkBytes: BULK_BYTES,
});

const run = (options: LabOptions, recording: Recording | null = null): Promise<LabAccount> =>
  runLab({ options, recording, onProgress: () => {} });

/** The document as a program reads it. */
const documentOf = (account: LabAccount, options: LabOptions): Document =>
  JSON.parse(JSON.stringify(accountToJson(account, options, null)));

async function document(seed: number, lossPercent?: number): Promise<Document> {
  const options = optionsOf(seed, lossPercent);
  return documentOf(await run(options), options);
}

/** What does not depend on the machine: the phases in virtual time, but for how long they took outside of it. */
const virtual = ({ phases: { bulk, ...rest }, hosts, drops }: Document): object => ({
  hosts,
  drops,
  ...Object.fromEntries(Object.entries(rest).map(([name, phase]) => [name, { ...phase, ms: 0 }])),
});

const ADDRESSES = ['10.0.0.100', '10.0.0.101', '10.0.0.102', '10.0.1.10', '198.51.100.80', '198.51.100.53'];

test('lab: every phase does what it says, and memory comes back', async () => {
  const result = await document(1);
  const { addresses, names, ping, http, udpEcho, bulk, lossy, badInput } = result.phases;
  assert.ok(result.ok, JSON.stringify(result));
  assert.equal(result.seed, 1);
  assert.equal(result.lossPercent, 1);
  assert.deepEqual(
    result.hosts.map((host) => `${host.name} ${host.address}`),
    ['alice', 'bob', 'carol', 'server', 'www', 'ns'].map((name, i) => `${name} ${ADDRESSES[i]}`),
  );
  // What the router leased is what the hosts have, and the prefixes are the router's.
  const leases = addresses.leases.map(({ host, address }) => [host, address]);
  const hosts = result.hosts.slice(0, 4);
  assert.deepEqual(
    leases.sort(),
    hosts.map(({ name, address }) => [name, address]),
  );
  assert.ok(hosts.slice(0, 3).every(({ address6 }) => /^fd00::[0-9a-f]+:/.test(address6)));
  assert.match(hosts[3]!.address6, /^fd00::1:[0-9a-f]+:/);
  assert.ok(addresses.virtualMs! > 1000, 'duplicates were looked for');
  assert.equal(names.answers.at(-1)!.found[0], 'ENOTFOUND');
  assert.deepEqual(new Set(names.answers[0]!.found), new Set([hosts[3]!.address, hosts[3]!.address6]));
  assert.deepEqual(new Set(names.answers[2]!.found), new Set(['198.51.100.80', '2001:db8:80::80']));
  assert.ok(names.farMs > 10 && names.cachedMs < 1, 'the router asked once, and remembers');
  assert.equal(ping.replies.length, 24);
  const hopLimit = ({ from, to }: { from: string; to: string }): number =>
    from === 'server' || to === 'server' ? 63 : 64;
  assert.ok(ping.replies.every((reply) => reply.ttl === hopLimit(reply) && reply.timeMs > 0 && reply.firstMs > 0));
  assert.equal(http.status, 'HTTP/1.1 200 OK');
  assert.match(http.body, /10\.0\.0\.100/);
  assert.deepEqual(
    http.requests.map(({ address }) => address),
    [hosts[3]!.address, hosts[3]!.address6, 'www.example.net'],
  );
  assert.equal(udpEcho.alike, udpEcho.datagrams);
  assert.equal(udpEcho.datagrams, 28);
  assert.equal(bulk.bytes, BULK_BYTES);
  assert.ok(bulk.alike && bulk.bitsPerSecondV4 > 0 && bulk.bitsPerSecondV6 > 0 && bulk.acks > 0);
  assert.ok(bulk.segments >= BULK_BYTES / 1460);
  assert.equal(lossy.bytes, 4 << 20);
  assert.ok(lossy.alike && lossy.framesLost > 0 && lossy.retransmits > 0 && lossy.fastRetransmits > 0);
  assert.ok(lossy.transferMs < lossy.virtualMs!);
  assert.ok(lossy.goodputBitsPerSecond < lossy.rateBitsPerSecond);
  assert.ok(badInput.answers && badInput.arrived <= badInput.thrown && badInput.dropped > badInput.thrown / 2);
  assert.equal(
    badInput.dropped,
    Object.values(badInput.drops).reduce((total, count) => total + count, 0),
  );
  assert.ok(Object.keys(badInput.drops).length >= 10, 'many reasons');
  assert.deepEqual(result.memory, { peakBytes: result.memory.peakBytes, usedBytes: 0, balanced: true });
  assert.ok(result.memory.peakBytes > 0);
  assert.equal(result.capture, null);
});

test('lab: the same seed gives the same numbers, another one others', async () => {
  const [first, again, other] = [await document(7), await document(7), await document(8)];
  assert.deepEqual(virtual(first), virtual(again));
  assert.notDeepEqual(virtual(first), virtual(other));
});

test('lab: without loss nothing is sent again', async () => {
  const { ok, phases } = await document(1, 0);
  const { alike, framesLost, retransmits, timeouts, goodputBitsPerSecond, rateBitsPerSecond } = phases.lossy;
  assert.ok(ok && alike);
  assert.deepEqual([framesLost, retransmits, timeouts], [0, 0, 0]);
  assert.ok(goodputBitsPerSecond > 0.7 * rateBitsPerSecond, `${goodputBitsPerSecond}`);
});

for (const lossPercent of [10, 50]) {
  test(`lab: with ${lossPercent} % loss the bytes are alike`, async () => {
    const { ok, phases } = await document(3, lossPercent);
    assert.ok(ok, phases.lossy.failure);
    assert.ok(phases.lossy.alike && phases.lossy.bytes > 0);
    assert.ok(phases.lossy.retransmits > 0 && phases.lossy.timeouts > 0);
  });
}

/** The blocks of a pcapng file: type and body. */
function blocksOf(file: Buffer): { type: number; body: Buffer }[] {
  const blocks = [];
  for (let p = 0; p < file.length; ) {
    const length = file.readUInt32LE(p + 4);
    assert.equal(length % 4, 0);
    assert.equal(file.readUInt32LE(p + length - 4), length, 'the length stands at both ends');
    blocks.push({ type: file.readUInt32LE(p), body: file.subarray(p + 8, p + length - 4) });
    p += length;
  }
  return blocks;
}

const SECTION = 0x0a0d0d0a;
const INTERFACE = 1;
const PACKET = 6;

/** Runs the lab with a recording; the whole file, and what the account says of it. */
async function recorded(format: 'pcap' | 'pcapng'): Promise<{ file: Buffer; account: LabAccount }> {
  const pieces: Uint8Array[] = [];
  const account = await run(optionsOf(1), { format, sink: { write: (bytes) => pieces.push(bytes.slice()) } });
  assert.ok(account.ok);
  return { file: Buffer.concat(pieces), account };
}

test('lab: the pcapng has a section a LAN, its hosts as interfaces, and every kind of frame', async () => {
  const { file, account } = await recorded('pcapng');
  const blocks = blocksOf(file);
  assert.equal(blocks[0]!.type, SECTION);
  assert.equal(blocks[0]!.body.readUInt32LE(0), 0x1a2b3c4d);
  assert.equal(blocks.filter(({ type }) => type === SECTION).length, 2);
  const interfaces = blocks.filter(({ type }) => type === INTERFACE);
  assert.deepEqual(
    interfaces.map(({ body }) => body.readUInt16LE(0)),
    new Array(9 + 5).fill(1),
    'Ethernet: six hosts and the router, which has three; then two',
  );
  const packets = blocks.filter(({ type }) => type === PACKET).map(({ body }) => body);
  assert.equal(packets.length, account.capturedPackets);
  assert.ok(packets.length > 2000, `${packets.length}`);
  const types = new Set(packets.map((body) => body.readUInt16BE(20 + 12)));
  assert.deepEqual(types, new Set([0x0806, 0x0800, 0x86dd]), 'ARP, IPv4 and IPv6');
  assert.ok(
    packets.some((body) => body.includes('GET / HTTP/1.1')),
    'the HTTP exchange',
  );
});

test('lab: the classic pcap has one header, and its records fill the file', async () => {
  const { file, account } = await recorded('pcap');
  assert.equal(file.readUInt32LE(0), 0xa1b23c4d);
  assert.equal(file.readUInt32LE(20), 1, 'Ethernet');
  let count = 0;
  let p = 24;
  for (; p < file.length; count++) p += 16 + file.readUInt32LE(p + 8);
  assert.equal(p, file.length);
  assert.equal(count, account.capturedPackets);
});

test('lab: the account fits on a screen of 80 columns', async () => {
  const options = optionsOf(0xffff_ffff, 10);
  const account = await run(options);
  const text = formatAccount(account, options, { file: `/tmp/${'long/'.repeat(8)}lab.pcapng`, failure: null });
  const lines = text.split('\n');
  assert.deepEqual(
    lines.filter((line) => line.length > 80),
    [],
  );
  assert.ok(lines.length <= 50, `${lines.length} lines`);
  assert.match(lines.at(-1)!, /^All well, in /);
  for (const name of [
    'addresses',
    'names',
    'ping',
    'http',
    'udp echo',
    'bulk',
    'lossy',
    'bad input',
    'dropped',
    'memory',
    'capture',
  ]) {
    assert.ok(
      lines.some((line) => line.startsWith(`${name} `)),
      name,
    );
  }
});

test('lab: what failed is named', async () => {
  const row = { ms: 1, virtualMs: null, did: [], saw: ['read ETIMEDOUT 10.0.0.10:80'], details: {} };
  const account: LabAccount = {
    ok: false,
    ms: 12,
    hosts: [],
    rows: [{ ...row, name: 'http', ok: false }],
    drops: {},
    memory: { peakBytes: 4096, usedBytes: 2048 },
    capturedPackets: 3,
  };
  const capture = { file: 'x', failure: 'cannot write to x: no space left on device' };
  const text = formatAccount(account, optionsOf(1), capture);
  assert.match(text, /^http .* FAILED/m);
  assert.match(text, /read ETIMEDOUT/);
  assert.match(text, /2 KiB NEVER CAME BACK/);
  assert.match(text, /no space left on device/);
  assert.match(text, /FAILED: http, memory, capture; in 12 ms\.$/);
  const { phases } = documentOf(account, optionsOf(1));
  assert.deepEqual(phases.http as object, {
    ok: false,
    ms: 1,
    virtualMs: null,
    failure: 'read ETIMEDOUT 10.0.0.10:80',
  });
});

const EXAMPLE = fileURLToPath(new URL('../../../examples/lab.json', import.meta.url));

const REFUSED: [string[], RegExp][] = [
  [['--seed', '-1'], /seed/],
  [['--seed', '1.5'], /seed.*whole number/],
  [['--seed', '4294967296'], /seed.*4294967295/],
  [['--seed'], /seed needs a value/],
  [['--loss', '51'], /loss.*0 to 50/],
  [['--loss', 'much'], /loss.*"much"/],
  [['--loss', ''], /loss/],
  [['--lose', '1'], /--loss/],
  [['--json=1'], /json takes no value/],
  [['--pcap'], /pcap needs a value/],
  [['lan.json', 'wan.json'], /unexpected argument/],
  [['--flow', 'bob:alice'], /--flow: expected the number of a flow.*1 \(alice:\d+ > server:9\), 2 \(alice/],
  [['--loss', '1', EXAMPLE], /--loss: expected none with a file/],
  [['--rows', '0', EXAMPLE], /--rows: expected a whole number from 1/],
  [['--flow', 'alice:bob', EXAMPLE], /--flow: expected the number of a flow, or its hosts.*1 \(laptop:\d+ > www:80\)/],
  [['--scenario', EXAMPLE, EXAMPLE], /lab\.json: unknown name "seed": expected schedule, repeatMs/],
];

for (const [args, expected] of REFUSED) {
  test(`lab: refuses ${args.join(' ')}`, async () => {
    await assert.rejects(command.run(args), (error) => error instanceof UsageError && expected.test(error.message));
  });
}

test('lab: a capture that cannot be written ends it before it begins', async () => {
  const path = '/nowhere/lab.pcapng';
  await assert.rejects(
    command.run(['--pcap', path]),
    (error) => error instanceof CommandError && /nowhere/.test(error.message),
  );
});

for (const args of [['none.json'], ['--scenario', 'none.json']]) {
  test(`lab: ${args.join(' ')} that is not there is told`, async () => {
    await assert.rejects(
      command.run(args),
      (error) => error instanceof CommandError && /^cannot read none\.json: no such file/.test(error.message),
    );
  });
}

test('lab: a scenario changes what the lossy phase meets, and memory comes back', async () => {
  const cut = { atMs: 100, on: [], both: { down: true }, first: {}, second: {} };
  const mended = { ...cut, atMs: 1100, both: { down: false, drop: 0 } };
  const options = { ...optionsOf(1, 0), scenario: { changes: [cut, mended], repeatMs: null } };
  const { ok, phases, memory } = documentOf(await run(options), options);
  assert.ok(ok && memory.balanced);
  assert.ok(phases.lossy.alike && phases.lossy.framesLost > 0 && phases.lossy.timeouts > 0);
  assert.ok(phases.lossy.transferMs > 1000);
});

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url));
const tool = (...args: string[]) => spawnSync(process.execPath, [MAIN, 'lab', ...args], { encoding: 'utf8' });

test('lab: as a command, quiet in a pipe, one JSON document, and a capture', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lab-'));
  try {
    const path = join(folder, 'lab.pcapng');
    const { status, stdout, stderr } = tool('--json', '--pcap', path, '--seed', '2', '--loss', '2%');
    assert.equal(stderr, '');
    assert.equal(status, 0, stdout);
    const { ok, seed, lossPercent, capture } = JSON.parse(stdout) as Document;
    assert.deepEqual({ ok, seed, lossPercent }, { ok: true, seed: 2, lossPercent: 2 });
    const packets = blocksOf(readFileSync(path)).filter(({ type }) => type === PACKET).length;
    assert.deepEqual(capture, { file: path, failure: null, packets, leftOut: ['bulk', 'badInput'] });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('lab: as a command, a page and a diagram of the lossy transfer', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lab-'));
  try {
    const html = join(folder, 'lab.html');
    const { status, stdout } = tool('--html', html, '--flow', 'alice:server', '--rows', '10');
    assert.equal(status, 0, stdout);
    assert.match(stdout, /All well, in .*\n\n +ms {2}alice:\d+ +server:9\n +0\.000 {2}\|-+ SYN -+>\| {2}\+\d+/);
    const page = readFileSync(html, 'utf8');
    assert.equal(page.match(/<option value="[12]">[12]: alice:\d+ &gt; server:9, IPv[46], 2 MiB/g)?.length, 2);
    assert.match(page, /"cwnd","color":"blue","kind":"steps","points":\[\d/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('lab: as a command with a file: a document, a capture, and a page', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lab-'));
  try {
    const [pcap, html] = [join(folder, 'lab.pcapng'), join(folder, 'lab.html')];
    const { status, stdout, stderr } = tool(EXAMPLE, '--json', '--pcap', pcap, '--html', html, '--flow', '1');
    assert.equal(stderr, '');
    assert.equal(status, 0, stdout);
    const document = JSON.parse(stdout);
    assert.deepEqual([document.ok, document.seed, document.page], [true, 1, html]);
    assert.equal(document.flows.length, 3);
    const packets = [...readCapture(readFileSync(pcap))];
    assert.deepEqual(document.capture, { file: pcap, failure: null, packets: packets.length });
    // Each frame stands there as it was sent, and once more where it was dropped.
    assert.equal(packets.filter(({ direction }) => direction === 'out').length, document.frames);
    for (const { comments } of packets.filter(({ direction }) => direction === 'in'))
      assert.match(comments[0]!, /^dropped: /);
    assert.match(readFileSync(html, 'utf8'), /^<!doctype html>[\s\S]*laptop:\d+ &gt; www:80[\s\S]*<\/html>\n$/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('lab: as a command, wrong usage is one line and exit code 2', () => {
  const { status, stdout, stderr } = tool('--seed', 'x');
  assert.equal(status, 2);
  assert.equal(stdout, '');
  assert.match(stderr, /^ethertype lab: --seed: .*\n$/);
});

test('lab: as a command, a full disk is told and ends with exit code 1', { skip: process.platform !== 'linux' }, () => {
  const { status, stdout } = tool('--pcap', '/dev/full');
  assert.equal(status, 1);
  assert.match(stdout, /no space left/);
  assert.match(stdout, /FAILED: capture;/);
});

test('lab: progress is shown on a terminal only, and taken away', () => {
  const shown = (isTTY: boolean): string[] => {
    const writes: string[] = [];
    const progress = new Progress({ isTTY, write: (text) => writes.push(text) });
    progress.show('bulk', 0);
    progress.show('bulk', 0.5); // too soon after the last
    progress.show('lossy', 2);
    progress.clear();
    progress.clear();
    return writes;
  };
  assert.deepEqual(shown(false), []);
  assert.deepEqual(shown(true), [
    `\r\x1b[Kbulk       [${' '.repeat(20)}]`,
    `\r\x1b[Klossy      [${'='.repeat(20)}]`,
    '\r\x1b[K',
  ]);
});
