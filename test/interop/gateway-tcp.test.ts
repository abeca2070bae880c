/** TCP through a gateway. Needs no privilege. @module */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { type Device, FaultInjector } from '../../src/phy/index.ts';
import { bytesOf, readAll, text } from '../hosts.ts';
import { closeAll, freePort, MIB, open, pause, ROUTER, rig, serve } from './gateway-rig.ts';

afterEach(closeAll);

describe('gateway: TCP', { timeout: 120_000 }, () => {
  test('20 MB each way at once, unchanged, over both families', async () => {
    const { guest, records, quiet } = await rig();
    const bytes = new Uint8Array(20 * MIB).map((_, i) => (i * 7 + (i >> 9)) & 0xff);
    const hash = createHash('sha256').update(bytes).digest('hex');
    for (const [host, loopback] of [
      [ROUTER, '127.0.0.1'],
      ['fd00:2::2', '::1'],
    ] as const) {
      const port = await serve((socket) => socket.pipe(socket), loopback);
      const stream = await open(guest, port, host);
      const writing = stream.write(bytes).then(() => stream.end());
      const got = await readAll(stream);
      await writing;
      assert.equal(createHash('sha256').update(got).digest('hex'), hash);
      await stream.close();
      await quiet();
      const { result, bytesOut, bytesIn, verdict } = records.pop()!;
      assert.deepEqual(
        { result, bytesOut, bytesIn, verdict },
        { result: 'closed', bytesOut: bytes.length, bytesIn: bytes.length, verdict: 'allow' },
      );
    }
  });

  test('half-close of either side: the other goes on', async () => {
    const { guest, quiet } = await rig();
    const late = await serve((socket) => {
      const got: Buffer[] = [];
      socket.on('data', (chunk) => got.push(chunk));
      socket.on('end', () => setTimeout(() => socket.end(`after the end: ${Buffer.concat(got)}`), 50));
    });
    const stream = await open(guest, late);
    await stream.write(bytesOf('question'));
    await stream.end();
    assert.equal(text(await readAll(stream)), 'after the end: question');
    await stream.close();

    let heard = '';
    const early = await serve((socket) => {
      socket.end('first');
      socket.on('data', (chunk) => {
        heard += chunk;
      });
    });
    const other = await open(guest, early);
    assert.equal(text(await readAll(other)), 'first');
    await other.write(bytesOf('still'));
    await pause(50);
    await other.write(bytesOf(' here'));
    await other.end();
    await quiet();
    assert.equal(heard, 'still here');
    await other.close();
  });

  test('a refusal is one, before the SYN is answered; a gateway without the loopback refuses too', async () => {
    const { guest, records } = await rig();
    const port = await freePort();
    await assert.rejects(open(guest, port), { code: 'ECONNREFUSED' });
    assert.equal(records.pop()?.result, 'ECONNREFUSED');
    const shut = await rig({ hostLoopback: false });
    const served = await serve((socket) => socket.end());
    await assert.rejects(open(shut.guest, served), { code: 'ECONNREFUSED' });
    const { verdict, reason } = shut.records.pop()!;
    assert.deepEqual([verdict, reason], ['deny', '10.0.2.2 is the gateway itself']);
  });

  test('a guest that has its link-local address only is served, and the router is closed at its own', async () => {
    const { guest, records, quiet } = await rig();
    const port = await serve((socket) => socket.end('served'), '::1');
    const localAddress = `${guest.iface!.addresses.find(({ address }) => address.isLinkLocal)!.address.withZone(0)}`;
    const stream = await guest.tcp.connect({ host: 'fd00:2::2', port, localAddress });
    assert.equal(text(await readAll(stream)), 'served');
    await stream.close();
    await quiet();
    assert.match(records.at(-1)!.source, /^\[fe80:.*\]:\d+$/);
    await assert.rejects(open(guest, port, 'fe80::2'), { code: 'ECONNREFUSED' });
    assert.equal(records.at(-1)?.reason, 'fe80::2 is the gateway itself');
    const udp = await guest.udp.connect({ host: 'fe80::2', port });
    await udp.send(bytesOf('x'));
    await assert.rejects(udp.receive(), { code: 'ECONNREFUSED' });
    await udp.close();
  });

  test('resets go through both ways', async () => {
    const { guest, quiet, records } = await rig();
    const resets = await serve((socket) => socket.once('data', () => socket.resetAndDestroy()));
    const stream = await open(guest, resets);
    await stream.write(bytesOf('x'));
    await assert.rejects(stream.read(), { code: 'ECONNRESET' });
    await quiet();
    assert.equal(records.pop()?.result, 'ECONNRESET');
    let told: (code: string) => void = () => {};
    const ended = new Promise<string>((resolve) => {
      told = resolve;
    });
    const port = await serve((socket) => {
      socket.on('error', (error) => told((error as { code?: string }).code ?? ''));
      socket.resume();
    });
    const other = await open(guest, port);
    await other.write(bytesOf('x'));
    await pause(20);
    other.abort();
    assert.equal(await ended, 'ECONNRESET');
    await quiet();
  });

  test('a host that ends, and resets at the same moment, leaves no socket of the machine', async () => {
    const { guest, quiet } = await rig();
    let open = 0;
    const port = await serve((socket) => {
      open++;
      socket.on('close', () => open--);
      socket.write('unread');
      socket.resume();
      // Whoever is gone answers this with another reset; without it Node does not look any more, after the end.
      socket.on('end', () => setTimeout(() => socket.write('more'), 50));
    });
    for (let i = 0; i < 120; i++) {
      const stream = await guest.tcp.connect({ host: ROUTER, port });
      await stream.write(bytesOf('x'));
      await pause(2);
      void stream.end();
      // Now, or a little later in the same turn: some are when the machine's socket has begun to end, and has not yet.
      for (let turn = i % 12; turn > 0; turn--) await new Promise<void>((resolve) => process.nextTick(resolve));
      stream.abort();
    }
    await quiet();
    for (let i = 0; i < 200 && open > 0; i++) await pause(10);
    assert.equal(open, 0);
  });

  test('a guest that has forgotten its connection, and whose reset was lost, is asked', async () => {
    let wire: FaultInjector | null = null;
    const wrap = (device: Device): Device => {
      wire = new FaultInjector(device);
      return wire;
    };
    const { guest, gateway, quiet } = await rig({ tcp: { tcp: { keepAliveMs: 200, keepAliveIntervalMs: 100 } } }, wrap);
    const lose = (drop: number): void => wire!.configure({ drop });
    const port = await serve((socket) => socket.resume());
    const stream = await open(guest, port);
    await stream.write(bytesOf('x'));
    await pause(100);
    lose(1);
    stream.abort();
    await pause(50);
    assert.equal(gateway.use.tcp, 1);
    lose(0);
    await quiet();
  });

  test('who does not read holds up who writes, both ways, and memory stays bounded', async () => {
    const { guest, gateway, quiet } = await rig();
    let paused: Socket | null = null;
    const port = await serve((socket) => {
      socket.pause();
      paused = socket;
    });
    const stream = await open(guest, port);
    let written = 0;
    const piece = new Uint8Array(MIB);
    const writing = (async () => {
      for (let i = 0; i < 64; i++) {
        await stream.write(piece);
        written += MIB;
      }
      await stream.end();
    })();
    await pause(700);
    const held = written;
    await pause(200);
    assert.equal(written, held, 'the writer waits');
    assert.ok(held < 40 * MIB, `${held} bytes are under way`);
    assert.ok(gateway.host.memory.usedBytes < 24 * MIB);
    let got = 0;
    paused!.on('data', (chunk: Buffer) => {
      got += chunk.length;
    });
    const ended = new Promise<void>((resolve) => paused!.on('end', () => resolve(void paused!.end())));
    paused!.resume();
    await writing;
    await ended;
    assert.equal(got, 64 * MIB);
    await stream.close();
    await quiet();

    const floods = await serve((socket) => {
      const more = (): void => {
        while (socket.writable && socket.write(piece));
      };
      socket.on('drain', more);
      more();
    });
    const slow = await open(guest, floods);
    await pause(500);
    assert.ok(gateway.host.memory.usedBytes < 24 * MIB);
    const before = process.memoryUsage().external;
    await pause(200);
    assert.ok(process.memoryUsage().external < before + 8 * MIB);
    slow.abort();
    await quiet();
  });

  test('1,000 connections opened and closed, 50 at a time', async () => {
    const { guest, gateway, records, quiet } = await rig();
    const port = await serve((socket) => socket.pipe(socket));
    const one = async (i: number): Promise<void> => {
      const stream = await open(guest, port);
      await stream.write(bytesOf(`${i}`));
      await stream.end();
      assert.equal(text(await readAll(stream)), `${i}`);
      await stream.close();
    };
    for (let at = 0; at < 1000; at += 50) await Promise.all(Array.from({ length: 50 }, (_, i) => one(at + i)));
    await quiet();
    assert.equal(records.length, 1000);
    assert.ok(records.every(({ result }) => result === 'closed'));
    assert.equal(gateway.relay.tcp.stats.accepted, 1000);
  });
});
