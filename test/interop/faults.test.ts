/** What goes wrong: peers that die, wires that lose, and what a capture shows of it all. @module */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { skipReason } from './namespace.ts';
import { downloadHash, LINUX, LOAD, OURS, type Server, sleep, WIRES, withServer } from './server.ts';

const options = { timeout: 90_000 };

const sh = async ({ space }: Server, script: string, timeoutMs = 40_000): Promise<string> => {
  const { code, stdout, stderr } = await space.execWith({ timeoutMs }, 'bash', '-c', `set -o pipefail; ${script}`);
  assert.equal(code, 0, `${script}: ${stdout}${stderr}`);
  return stdout;
};

describe('peers that die', { skip: skipReason('curl', 'ping') }, () => {
  for (const { name, args } of WIRES) {
    test(`killed in the middle of a transfer, over ${name}`, options, () =>
      withServer(args, async (server) => {
        const victims = [
          server.space.spawn('curl', '-s', '-o', '/dev/null', `http://${OURS}/bytes/1000000000000`),
          server.space.spawn('curl', '-s', '-T', '/dev/zero', `http://${OURS}/sum`),
          server.space.spawn('bash', '-c', `exec nc ${OURS} 19 > /dev/null`),
          server.space.spawn('bash', '-c', `exec nc ${OURS} 7 < /dev/zero`), // never reads: both windows close
          server.space.spawn('bash', '-c', `exec nc ${OURS} 9 < /dev/zero`),
        ];
        await sleep(500);
        for (const { hasEnded, stderr } of victims) assert.equal(hasEnded, false, stderr);
        // Others are served beside them.
        const beside = await sh(server, `curl -sS -m 20 http://${OURS}/bytes/1000000 | sha256sum`);
        assert.equal(beside.split(' ')[0], downloadHash(1_000_000));
        for (const { child } of victims) child.kill('SIGKILL');
        await Promise.all(victims.map(({ ended }) => ended));
        const after = await sh(server, `curl -sS -m 20 http://${OURS}/bytes/1000000 | sha256sum`);
        assert.equal(after.split(' ')[0], downloadHash(1_000_000));
        await sh(server, `ping -c 3 -i 0.05 -W 2 ${OURS}`);
        const { services, memory } = await server.endIdle();
        assert.ok(memory.peakBytes > 1 << 20, 'the transfers were under way');
        assert.ok(services.HTTP!.failed >= 1);
      }),
    );
  }

  test('SIGTERM in the middle of transfers: their peers see a reset, and it ends cleanly', options, () =>
    withServer(['--tun', 'tun0'], async (server) => {
      const download = server.space.spawn('curl', '-sS', '-o', '/dev/null', `http://${OURS}/bytes/1000000000000`);
      const upload = server.space.spawn('curl', '-sS', '-T', '/dev/zero', `http://${OURS}/sum`);
      await sleep(300);
      assert.equal((await server.end()).openConnections, 2);
      assert.notEqual(await download.ended, 0);
      assert.notEqual(await upload.ended, 0);
    }),
  );

  test('an interface that is deleted ends the server with one line and exit code 1', options, () =>
    withServer(['--tap', 'tap0'], async (server) => {
      await server.space.must('ip', 'link', 'del', 'tap0');
      assert.equal(await server.process.ended, 1);
      assert.match(server.process.errorLines.slice(1).join('\n'), /^ethertype server: interface tap0 is gone: .*$/);
    }),
  );
});

describe('a scenario', { skip: skipReason('ping') }, () => {
  test('the wire is cut a second after the start, and mended a second later', options, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'scenario-'));
    try {
      const path = join(folder, 'scenario.json');
      const schedule = [
        { atMs: 0, delayMs: 20 },
        { atMs: 1000, down: true },
        { atMs: 2000, down: false, delayMs: 0 },
      ];
      writeFileSync(path, JSON.stringify({ schedule }));
      await withServer(['--tap', 'tap0', '--scenario', path], async (server) => {
        // Three seconds of echoes: those of the middle second are lost, and the last ones are quick.
        const text = await sh(server, `ping -c 60 -i 0.05 -W 1 ${OURS}`);
        const times = [...text.matchAll(/icmp_seq=(\d+) .*time=([\d.]+) ms/g)].map((match) => Number(match[2]));
        assert.ok(times.length > 25 && times.length < 55, `${times.length} came back`);
        assert.ok(times[0]! >= 40 && times.at(-1)! < 20, `${times[0]} ms at first, ${times.at(-1)} ms at last`);
        const { faults } = await server.end();
        assert.ok(faults!.dropped! > 5);
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

// Side by side: they wait for timers most of the time.
describe('a lossy wire', { skip: skipReason('curl'), concurrency: 2 }, () => {
  const faults = [
    '--drop',
    '2',
    '--reorder',
    '2',
    '--duplicate',
    '1',
    '--corrupt',
    '1',
    '--delay',
    '2',
    '--jitter',
    '1',
  ];
  const bytes = 5 << 20;
  for (const { name, args } of WIRES.slice(0, 2)) {
    test(`5 MB both ways, over ${name}`, options, () =>
      withServer([...args, ...faults], async (server) => {
        const script = `curl -sS -m 80 http://${OURS}/bytes/${bytes}`;
        assert.equal((await sh(server, `${script} | sha256sum`, 80_000)).split(' ')[0], downloadHash(bytes));
        const sum = JSON.parse(await sh(server, `${script} | curl -sS -m 80 -T - http://${OURS}/sum`, 80_000));
        assert.deepEqual(sum, { bytes, sha256: downloadHash(bytes) });
        const { faults: done, stack } = await server.end();
        for (const kind of ['dropped', 'corrupted', 'duplicated', 'reordered']) assert.ok(done![kind]! > 20, kind);
        assert.ok(stack.tcpRetransmits > 20);
      }),
    );
  }

  test('a slow wire: 10 Mbit/s and frames over 1000 bytes lost', options, () =>
    withServer(['--tun', 'tun0', '--mtu', '1000', '--rate', '10M', '--size-limit', '1000'], async (server) => {
      const speed = await sh(server, `curl -sS -m 30 -o /dev/null -w '%{speed_download}' http://${OURS}/bytes/1000000`);
      assert.ok(Number(speed) > 0.4e6 && Number(speed) < 1.25e6, `${speed} bytes a second`);
      assert.equal((await server.end()).faults!.oversized, 0);
    }),
  );
});

/** A capture as tshark reads it, every checksum verified: a row of these fields a packet. */
const FIELDS = [
  'ip.src',
  '_ws.malformed',
  '_ws.short',
  'ip.checksum.status',
  'icmp.checksum.status',
  'tcp.checksum.status',
  'udp.checksum.status',
  'tcp.checksum.ffff',
  'icmp.type',
  'icmp.code',
  'tcp.srcport',
  'tcp.flags.reset',
] as const;
type Row = Record<(typeof FIELDS)[number], readonly string[]>;

const CHECKSUMS = FIELDS.filter((field) => field.endsWith('checksum.status'));

/** The fields that tell of something wrong with a packet. */
const wrongs = (row: Row): (keyof Row)[] => [
  ...(['_ws.malformed', '_ws.short'] as const).filter((field) => row[field].length > 0),
  ...CHECKSUMS.filter((field) => row[field].some((v) => v === '0' || v === 'Bad')),
];

/**
 * Whether all that is wrong with a packet is that Linux wrote a TCP checksum of zero as 0xffff, one segment in 65536: where
 * the device makes no sums, skb_checksum_help() does for all protocols what only UDP needs (CSUM_MANGLED_0, RFC 768). Its
 * sum is right, and receivers take it, but tshark would rather see 0 (RFC 1624 §3) and calls it bad.
 */
const isMangledZero = (row: Row): boolean =>
  row['ip.src'].join() === LINUX &&
  row['tcp.checksum.ffff'].length === 1 &&
  wrongs(row).join() === 'tcp.checksum.status';

async function dissect({ space }: Server, file: string): Promise<Row[]> {
  const check = ['ip', 'tcp', 'udp'].flatMap((protocol) => ['-o', `${protocol}.check_checksum:TRUE`]);
  // Streams are not put together: a retransmission of Linux's is no fault of a packet, but tshark's reassembly says so.
  check.push('-o', 'tcp.desegment_tcp_streams:FALSE');
  // So a chunk of curl's upload that begins in another segment is no HTTP by itself, and not asked to be.
  check.push('--disable-protocol', 'http');
  const fields = FIELDS.flatMap((field) => ['-e', field]);
  const { stdout } = await space.must('tshark', '-n', '-r', file, ...check, '-T', 'fields', ...fields);
  const rows = stdout.replace(/\n$/, '').split('\n');
  return rows.map((line) => {
    const values = line.split('\t').map((list) => list.split(',').filter((value) => value !== ''));
    return Object.fromEntries(FIELDS.map((field, i) => [field, values[i] ?? []])) as unknown as Row;
  });
}

/** Everything the stack answers, once. */
async function traffic(server: Server): Promise<void> {
  for (const size of [0, 1, 56, 1472]) await sh(server, `ping -c 2 -i 0.01 -s ${size} ${OURS}`);
  for (const size of [0, 1, 3_000_000]) await sh(server, `curl -sS http://${OURS}/bytes/${size} | wc -c`);
  await sh(server, `head -c 3000000 /dev/zero | curl -sS -T - http://${OURS}/sum`);
  await sh(server, `head -c 100000 /dev/zero | nc -N -w 5 ${OURS} 7 | wc -c`);
  await sh(server, `${process.execPath} ${LOAD} udp-echo ${OURS} 7 0 1 8 512 1472`);
  await sh(server, `${process.execPath} ${LOAD} udp-ask ${OURS} 81`);
  await sh(server, `${process.execPath} ${LOAD} tcp-connect ${OURS} 81`);
}

describe('captures', { skip: skipReason('tshark', 'curl', 'ping', 'nc') }, () => {
  for (const [i, { name, args }] of WIRES.entries()) {
    const suffix = i % 2 === 0 ? 'pcapng' : 'pcap';
    const makesSums = args.includes('--no-offload');
    test(`${suffix} over ${name}: tshark finds no malformed packet and no bad checksum`, options, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'et-capture-'));
      const file = join(folder, `wire.${suffix}`);
      try {
        await withServer([...args, '--pcap', file], async (server) => {
          await traffic(server);
          const { stack } = await server.endIdle();
          const rows = await dissect(server, file);
          assert.equal(rows.length, stack.framesIn + stack.framesOut);
          const bad = rows.filter((row) => wrongs(row).length > 0 && !(makesSums && isMangledZero(row)));
          assert.deepEqual(bad, []);
          for (const field of CHECKSUMS) {
            const good = rows.filter((row) => row[field].some((v) => v === '1' || v === 'Good'));
            assert.ok(good.length > 3, `${field} was looked at`);
          }
          const ours = rows.filter((row) => row['ip.src'][0] === OURS);
          assert.ok(ours.some((row) => row['icmp.type'][0] === '3' && row['icmp.code'][0] === '3'));
          assert.ok(ours.some((row) => row['tcp.srcport'][0] === '81' && /1|True/.test(row['tcp.flags.reset'][0]!)));
        });
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  }

  test('an interface that is down: what could not be written says so', options, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'et-capture-'));
    const file = join(folder, 'wire.pcapng');
    try {
      await withServer(['--tun', 'tun0', '--pcap', file], async (server) => {
        const download = server.space.spawn('curl', '-s', '-o', '/dev/null', `http://${OURS}/bytes/1000000000000`);
        await sleep(200);
        await server.space.must('ip', 'link', 'set', 'tun0', 'down');
        await sleep(300);
        const { stack } = await server.end();
        download.child.kill('SIGKILL');
        const fields = ['-T', 'fields', '-e', 'ip.src', '-e', 'frame.comment'];
        const { stdout, stderr } = await server.space.must('tshark', '-n', '-r', file, ...fields);
        assert.doesNotMatch(stderr, /damaged|cut short|error/i);
        const rows = stdout.trimEnd().split('\n');
        // The account is made before the host is closed, which resets the connection.
        assert.equal(rows.length, stack.framesIn + stack.framesOut + 1);
        const commented = rows.filter((row) => row.startsWith(OURS) && row.includes('dropped: '));
        assert.ok(commented.length > 0 && commented.length < rows.length, `${commented.length} of ${rows.length}`);
        for (const row of commented) assert.equal(row, `${OURS}\tdropped: interface-down`);
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('the trace names what passes, and stays off stdout', options, () =>
    withServer(['--tap', 'tap0', '--trace'], async (server) => {
      await sh(server, `ping -c 1 ${OURS}`);
      assert.equal(await server.process.end(5_000, 'SIGTERM'), 0);
      assert.match(server.process.stderr, /^< .*echo request.*$/im);
      assert.match(server.process.stderr, /^> .*echo reply.*$/im);
      JSON.parse(server.process.lines.join('\n'));
    }),
  );
});
