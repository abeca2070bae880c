/** What our own devices wrote, as `ethertype dump` and tshark read it. @module */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { createHost } from '../../src/index.ts';
import { Memory } from '../../src/memory/memory.ts';
import { Capture, FaultInjector, PcapWriter, pipePair } from '../../src/phy/index.ts';
import { assertOpens, assertSame, dump, run } from './dump-rows.ts';
import { skipReason } from './namespace.ts';
import { MAIN } from './server.ts';

const options = { timeout: 60_000 };
const folder = mkdtempSync(join(tmpdir(), 'et-dump-'));
after(() => rmSync(folder, { recursive: true }));
const inFolder = (name: string): string => join(folder, name);

describe('dump: captures of our own', { skip: skipReason('tshark', 'capinfos') }, () => {
  test('the lab, whose transfers lose packets: every field is as tshark has it', options, () => {
    const file = inFolder('lab.pcapng');
    assert.equal(run(process.execPath, MAIN, 'lab', '--pcap', file, '--loss', '3').code, 0);
    const rows = assertSame(file);
    assert.ok(rows.length > 3000, `${rows.length} packets`);
    assertOpens(file, rows.length);
  });

  test('why a stack dropped a packet is the comment that Wireshark shows', options, async () => {
    const pieces: Uint8Array[] = [];
    const capture = new Capture({ write: (bytes) => pieces.push(bytes) });
    const memory = new Memory({ bytes: 1 << 22 });
    const [a, b] = pipePair({ memory });
    const writer = new PcapWriter(b, capture, { name: 'tun0' });
    const client = createHost({ device: a, addresses: ['10.0.0.1/24'] });
    const server = createHost({ device: writer, addresses: ['10.0.0.2/24'] });
    writer.explain(server.stack.stats);
    const socket = await client.udp.bind();
    await socket.send(new TextEncoder().encode('hello'), { host: '10.0.0.2', port: 7 });
    await client.ping('10.0.0.2');
    socket.close();
    await client.close();
    await server.close();
    const file = inFolder('drops.pcapng');
    writeFileSync(file, Buffer.concat(pieces));
    const fields = ['frame.comment', 'ip.dst', '_ws.col.Protocol'].flatMap((name) => ['-e', name]);
    const { lines, stderr } = run('tshark', '-n', '-r', file, '-T', 'fields', ...fields);
    assert.equal(stderr.replace(/Running as user .*\n/, ''), '');
    assert.deepEqual(
      lines.map((line) => line.split('\t').slice(0, 2)),
      [
        ['dropped: udp-no-socket', '10.0.0.2'],
        ['', '10.0.0.1,10.0.0.2'],
        ['', '10.0.0.2'],
        ['', '10.0.0.1'],
      ],
    );
    assert.match(dump('-r', file).lines[0]!, /UDP, length 5 -- dropped: udp-no-socket$/);
    assert.equal(memory.usedBytes, 0);
  });
});

describe('dump: what could not be sent', { skip: skipReason('tshark', 'capinfos') }, () => {
  test('stands in the capture as outgoing, with the reason; every file opens without a warning', options, async () => {
    const pieces: Uint8Array[] = [];
    const [a, b] = pipePair({ medium: 'ethernet' });
    const writer = new PcapWriter(a, { write: (bytes: Uint8Array) => pieces.push(bytes) });
    const faults = new FaultInjector(writer, { seed: 1 });
    const host = createHost({ device: faults, addresses: ['10.0.0.1/24'], probe: false });
    b.attach(host.memory, () => {});
    writer.explain(host.stack.stats);
    await assert.rejects(host.ping('10.0.0.9', { timeout: 8000 }), /EHOSTUNREACH|ETIMEDOUT/); // nobody answers ARP
    faults.configure({ tx: { drop: 1 } });
    const socket = await host.udp.bind();
    await socket.send(new Uint8Array(10), { host: '10.0.0.255', port: 9 }).catch(() => {});
    socket.setBroadcast(true);
    await socket.send(new Uint8Array(10), { host: '10.0.0.255', port: 9 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    // What there is no memory for has no bytes.
    writer.notes!.refused(0, 74, 'no-memory', performance.now());
    socket.close();
    await host.close();
    b.close();
    const file = inFolder('unsent.pcapng');
    writeFileSync(file, Buffer.concat(pieces));
    const fields = ['frame.packet_flags_direction', 'frame.comment', 'frame.len', 'frame.cap_len', 'ip.dst'];
    const { lines } = run('tshark', '-n', '-r', file, '-T', 'fields', ...fields.flatMap((name) => ['-e', name]));
    const dropped = lines.map((line) => line.split('\t')).filter(([, comment]) => comment !== '');
    assert.deepEqual(
      dropped.map(([direction, ...rest]) => [Number(direction), ...rest]),
      [
        [2, 'dropped: neighbour-unreachable', '98', '98', '10.0.0.9'],
        [2, 'dropped: fault-lost', '52', '52', '10.0.0.255'],
        [2, 'dropped: no-memory', '74', '0', ''],
      ],
    );
    assertOpens(file, lines.length);
    assert.match(dump('-r', file).lines.at(-1)!, /\[ethernet-truncated\], length 74 -- dropped: no-memory$/);
  });
});
