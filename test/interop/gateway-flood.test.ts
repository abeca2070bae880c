/** Floods of a guest behind a gateway. Needs no privilege. @module */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { afterEach, describe, test } from 'node:test';
import { spoofedSyn } from '../any-ip.ts';
import { bytesOf, text } from '../hosts.ts';
import { closeAll, closers, MIB, open, pause, ROUTER, rig, serve } from './gateway-rig.ts';

afterEach(closeAll);

describe('gateway: floods', { timeout: 120_000 }, () => {
  test('a flood of SYNs and one of datagrams hold bounded memory, and leave other flows served', async () => {
    const { guest, gateway } = await rig({ udp: { flowsMax: 32 } });
    const port = await serve((socket) => socket.pipe(socket));
    const stream = await open(guest, port);
    let [heldMost, serving] = [0, true];
    const heapBefore = process.memoryUsage().rss;
    /** A flow that goes on meanwhile: the milliseconds its answers took. */
    const waits: number[] = [];
    const served = (async () => {
      while (serving) {
        const sentAt = performance.now();
        await stream.write(bytesOf('served'));
        assert.equal(text(await stream.read()), 'served');
        waits.push(performance.now() - sentAt);
        heldMost = Math.max(heldMost, gateway.host.memory.usedBytes);
        await pause(5);
      }
    })();
    const raw = await guest.raw.open({ family: 4, protocol: 6, headerIncluded: true });
    for (let i = 0; i < 2000; i++) {
      await raw.send(spoofedSyn(1024 + i, port, [10, 0, 2, 150], [10, 0, 2, 2]), ROUTER);
      if (i % 20 === 0) await pause(1);
    }
    assert.ok(gateway.relay.tcp.count <= 600, `${gateway.relay.tcp.count} connections`);
    assert.ok((gateway.host.stats.drops['tcp-syn-queue-full'] ?? 0) > 0);
    await pause(300); // until those that were taken are answered, and it shows that nobody is there
    const another = await open(guest, port);
    await another.write(bytesOf('new'));
    assert.equal(text(await another.read()), 'new');
    await another.close();
    await raw.close();
    const sink = createSocket('udp4');
    await new Promise<void>((resolve) => sink.bind(0, '127.0.0.1', resolve));
    closers.push(() => void sink.close());
    const to = { host: ROUTER, port: sink.address().port };
    const datagramSockets = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'UDPWrap').length;
    const sockets = await Promise.all(Array.from({ length: 300 }, () => guest.udp.bind()));
    for (const [i, udp] of sockets.entries()) {
      for (let k = 0; k < 10; k++) await udp.send(new Uint8Array(1200), to);
      if (i % 16 === 0) await pause(1);
    }
    for (let i = 0; i < 300 && (gateway.relay.udp.stats.opened < 300 || datagramSockets() > 40); i++) await pause(10);
    assert.equal(gateway.relay.udp.count, 32);
    assert.equal(gateway.relay.udp.stats.opened - gateway.relay.udp.stats.evicted, 32);
    assert.ok(gateway.relay.udp.stats.opened >= 300);
    assert.ok(
      datagramSockets() >= 32 && datagramSockets() <= 40,
      `${datagramSockets()} sockets of the machine: descriptors are given back`,
    );
    serving = false;
    await served;
    const grown = (process.memoryUsage().rss - heapBefore) >> 20;
    const longest = Math.max(...waits);
    assert.ok(waits.length > 10 && longest < 10_000, `${waits.length} answers, the longest took ${longest} ms`);
    assert.ok(heldMost < 16 * MIB && grown < 200, `${heldMost} bytes of the stack, ${grown} MiB of the process`);
    await stream.close();
    await Promise.all(sockets.map((udp) => udp.close()));
  });
});
