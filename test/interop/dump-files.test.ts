/** `ethertype dump` on files, pipes and terminals, and its arguments. @module */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { CaptureWriter, LINKTYPE_ETHERNET } from '../../src/pcap/index.ts';
import * as control from '../packets-control.ts';
import { dump, run } from './dump-rows.ts';
import { skipReason } from './namespace.ts';
import { MAIN } from './server.ts';

const options = { timeout: 60_000 };
const folder = mkdtempSync(join(tmpdir(), 'et-dump-'));
after(() => rmSync(folder, { recursive: true }));
const inFolder = (name: string): string => join(folder, name);

describe('dump: files and pipes', () => {
  /** A million packets would take minutes to make: ten thousand fill the pipe many times over. */
  const file = inFolder('many.pcapng');
  const COUNT = 10_000;
  before(() => {
    const pieces: Uint8Array[] = [];
    const writer = new CaptureWriter({ write: (bytes) => pieces.push(bytes) });
    writer.addInterface({ linkType: LINKTYPE_ETHERNET, name: 'eth0' });
    for (let i = 0; i < COUNT; i++) {
      writer.write({ bytes: control.VLAN, seconds: 1_700_000_000 + i, nanoseconds: i });
    }
    writeFileSync(file, Buffer.concat(pieces));
  });

  test('a reader that goes away ends it quietly', options, async () => {
    const child = spawn('sh', ['-c', `${process.execPath} ${MAIN} dump -r ${file} | head -n 1`], { stdio: 'pipe' });
    let [text, errors] = ['', ''];
    child.stdout.on('data', (data) => {
      text += data;
    });
    child.stderr.on('data', (data) => {
      errors += data;
    });
    await new Promise((resolve) => child.once('close', resolve));
    assert.match(text, /^\d\d:\d\d:\d\d\.000000 vlan 5, p 3, IP .*\n$/);
    assert.equal(errors, '');
  });
  test('a reader of -w - that goes away, too', options, () => {
    const { code, stderr } = run(
      'sh',
      '-c',
      `${process.execPath} ${MAIN} dump -r ${file} -w - | head -c 100 > /dev/null`,
    );
    assert.deepEqual([code, stderr], [0, '']);
  });
  test('colours on a terminal, none in a pipe', { ...options, skip: skipReason('script') }, () => {
    const command = `${process.execPath} ${MAIN} dump -t -c 1 -r ${file}`;
    const csi = String.fromCharCode(27);
    const seen = (environment: string): boolean =>
      run('script', '-qec', `${environment} ${command}`, '/dev/null').stdout.includes(csi);
    assert.deepEqual([seen('env -u NO_COLOR'), seen('env NO_COLOR=1')], [true, false]);
    assert.equal(dump('-t', '-c', '1', '-r', file).stdout.includes(csi), false);
  });
  test('standard input, and -c', options, () => {
    const { status, stdout } = spawnSync(process.execPath, [MAIN, 'dump', '-r', '-', '-nc', '3', '-t'], {
      input: readFileSync(file),
      encoding: 'utf8',
    });
    assert.equal(status, 0);
    assert.equal(stdout, 'vlan 5, p 3, IP 10.0.0.1.5000 > 10.0.0.2.9: UDP, length 12\n'.repeat(3));
  });
  test('a file that ends early: what it holds, one line of error, and 1', options, () => {
    const cut = inFolder('cut.pcapng');
    writeFileSync(cut, readFileSync(file).subarray(0, 10_000));
    const { code, lines, stderr } = dump('-r', cut);
    assert.equal(code, 1);
    assert.ok(lines.length > 80, `${lines.length} packets`);
    assert.match(
      stderr,
      /^ethertype dump: .*cut\.pcapng: the file ends early, \d+ bytes into the record behind packet \d+\n$/,
    );
    const written = dump('-r', cut, '-w', inFolder('rest.pcapng'));
    assert.equal(written.code, 1);
    assert.equal(dump('-r', inFolder('rest.pcapng')).lines.length, lines.length);
  });
  test('constant memory, whatever the size of the file', options, () => {
    const { status, stderr } = spawnSync(
      'sh',
      [
        '-c',
        `for i in 1 2 3 4 5 6 7 8 9 10; do cat ${file}; done | ${process.execPath} --max-old-space-size=32 ${MAIN} dump -r - > /dev/null`,
      ],
      { encoding: 'utf8', timeout: 30_000 },
    );
    assert.equal(stderr, '');
    assert.equal(status, 0);
  });
  const wrong: [string[], number, RegExp][] = [
    [[], 2, /expected -i NAME or -r FILE, got neither/],
    [['-i', 'lo', '-r', 'x'], 2, /expected -i NAME or -r FILE, got both/],
    [['-r', 'x', 'frobnicate'], 2, /filter: expected a word like host, port or tcp, got "frobnicate"/],
    [['-r', 'x', '-c', '0'], 2, /--count: expected a whole number from 1/],
    [['-r', 'x', '--time', 'noon'], 2, /--time: expected local, utc, epoch, none, got "noon"/],
    [['-r', 'x', '--json', '-v'], 2, /expected --json alone or -v and -x, got both/],
    [['-r', '/no/such/file'], 1, /cannot read \/no\/such\/file: no such file or directory/],
    [['-r', '/'], 1, /cannot read \/: is a directory/],
    [['-r', MAIN], 1, /no capture file: expected pcap or pcapng/],
    [['-r', file, '-w', '/no/such/file'], 1, /cannot write the capture to \/no\/such\/file/],
  ];
  for (const [args, code, message] of wrong) {
    test(`wrong: ${args.join(' ').replace(folder, '')}`, options, () => {
      const result = dump(...args);
      assert.equal(result.stdout, '');
      assert.match(result.stderr, /^[^\n]+\n$/);
      assert.match(result.stderr, message);
      assert.equal(result.code, code);
    });
  }
});
