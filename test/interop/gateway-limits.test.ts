/** Limits of a gateway. Needs no privilege. @module */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { connect as netConnect } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { Policy } from '../../src/proxy/index.ts';
import { bytesOf, readAll } from '../hosts.ts';
import { closeAll, closers, echoDatagrams, MIB, open, pause, ROUTER, rig, serve } from './gateway-rig.ts';

afterEach(closeAll);

describe('gateway: limits', { timeout: 120_000 }, () => {
  test('a rate drops datagrams, and counts them; bytes end the flow, and its source is told', async () => {
    const { guest, gateway, records } = await rig({ limits: { flow: { bytesPerSecond: 20_000, bytes: 50_000 } } });
    const port = await echoDatagrams();
    const socket = await guest.udp.connect({ host: ROUTER, port });
    const began = performance.now();
    for (let i = 0; i < 60; i++) await socket.send(new Uint8Array(1000)); // the burst is a second's
    for (let i = 0; i < 100 && gateway.relay.limiter.stats.dropped === 0; i++) await pause(10);
    const { dropped } = gateway.relay.limiter.stats;
    const passed = 20 + (20 * (performance.now() - began)) / 1000;
    assert.ok(
      dropped >= 1 && dropped <= 42 && 60 - dropped <= passed + 2,
      `${dropped} of 60 were dropped, ${passed} may pass`,
    );
    const first = await socket.receive();
    assert.equal(first.data.length, 1000, 'the others went through');
    let refused = '';
    for (let i = 0; i < 100 && refused === ''; i++) {
      await pause(20);
      await socket.send(new Uint8Array(1000)).catch((error: { code: string }) => {
        refused = error.code;
      });
    }
    assert.equal(refused, 'ECONNREFUSED');
    const { result, reason, bytesIn, bytesOut } = records.at(-1)!;
    assert.deepEqual([result, reason], ['EDQUOT', 'the limit of 50000 bytes a flow is reached']);
    assert.ok(bytesIn + bytesOut <= 50_000 && bytesIn + bytesOut > 48_000);
    await socket.close();
  });

  test('datagrams that come a little too soon wait, in their order, and none is lost', async () => {
    const { guest, gateway, records } = await rig({ limits: { all: { bytesPerSecond: 500_000 } } });
    const port = await echoDatagrams();
    const socket = await guest.udp.connect({ host: ROUTER, port });
    // The bucket holds 65 of them; what is more waits there, and back again. More would not fit into the machine's sockets.
    for (let i = 0; i < 80; i++) await socket.send(new Uint8Array(1000).fill(i));
    const got: number[] = [];
    while (got.length < 80) got.push((await socket.receive({ signal: AbortSignal.timeout(5000) })).data[0]!);
    assert.deepEqual(
      got,
      Array.from({ length: 80 }, (_, i) => i),
    );
    assert.equal(gateway.relay.limiter.stats.dropped, 0);
    for (let i = 0; i < 50; i++) await socket.send(new Uint8Array(1000));
    await pause(1);
    await socket.close();
    for (const flow of gateway.relay.udp.flows) flow.close();
    await pause(20);
    assert.equal(gateway.relay.limiter.queuedBytes, 0, 'what waited is gone with its flow');
    assert.deepEqual(
      records.map(({ result }) => result),
      ['closed'],
    );
  });

  test('published datagrams have the limits of each flow, and none begins when all bytes are used', async () => {
    const { guest, gateway, records } = await rig({
      limits: { flow: { bytes: 50 }, all: { bytes: 59 } },
      publish: [{ port: 0, guestPort: 7, protocol: 'udp' }],
    });
    const server = await guest.udp.bind({ port: 7 });
    const { port } = gateway.published[0]!;
    const client = createSocket('udp4');
    closers.push(() => void client.close());
    for (const size of [30, 30, 30, 30]) {
      client.send(new Uint8Array(size), port, '127.0.0.1');
      await pause(50);
    }
    assert.equal((await server.receive()).data.length, 30);
    assert.deepEqual(
      records.map(({ result, reason, bytesOut, bytesIn }) => [result, reason, bytesOut + bytesIn]),
      [
        ['EDQUOT', 'the limit of 50 bytes a flow is reached', 30],
        // The third would be the 60th byte; then all are used, and the fourth is dropped unheard.
        ['EDQUOT', 'the limit of 59 bytes of all flows is reached', 0],
      ],
    );
    assert.equal(gateway.use.udp, 0);
    await server.close();
  });

  test('the bytes of all: the flow that reaches them is reset, and none begins any more', async () => {
    const { guest, gateway, records, quiet } = await rig({
      policy: new Policy({ limits: { all: { bytes: 30_000 } } }),
    });
    const port = await serve((socket) => socket.pipe(socket));
    const bystander = await open(guest, port);
    await bystander.write(new Uint8Array(1000));
    const stream = await open(guest, port);
    await assert.rejects(Promise.all([stream.write(new Uint8Array(MIB)), readAll(stream)]), { code: 'ECONNRESET' });
    await assert.rejects(open(guest, port), { code: 'ECONNREFUSED' });
    const { verdict, reason } = records.at(-1)!;
    assert.deepEqual([verdict, reason], ['deny', 'the limit of 30000 bytes of all flows is reached']);
    await assert.rejects(guest.ping('198.51.100.1', { timeout: 300 }));
    assert.ok(gateway.relay.limiter.stats.ended >= 2);
    const more = bystander.write(new Uint8Array(10)).then(() => readAll(bystander));
    await assert.rejects(more, { code: 'ECONNRESET' }, 'its next byte would be over');
    await quiet();
  });

  test('a function gives a flow limits of its own, and a published port has those of each flow', async () => {
    const { guest, gateway, records, quiet } = await rig({
      policy: ({ port }) => ({ verdict: 'allow', reason: 'it may', limits: port === small ? { bytes: 10 } : {} }),
      limits: { flow: { bytes: 5000 } },
      publish: [{ port: 0, guestPort: 8080 }],
    });
    const small = await serve((socket) => socket.pipe(socket));
    const large = await serve((socket) => socket.pipe(socket));
    const one = await open(guest, small);
    await assert.rejects(Promise.all([one.write(bytesOf('more than ten bytes')), readAll(one)]), {
      code: 'ECONNRESET',
    });
    const two = await open(guest, large);
    await two.write(new Uint8Array(20_000));
    await two.end();
    assert.equal((await readAll(two)).length, 20_000, 'none at all');
    await two.close();
    await quiet();
    const listener = await guest.tcp.listen({ port: 8080 });
    const client = netConnect({ port: gateway.published[0]!.port, host: '127.0.0.1' });
    client.write(new Uint8Array(20_000));
    await listener.accept();
    const code = await new Promise((resolve) => client.once('error', (e) => resolve((e as { code?: string }).code)));
    assert.equal(code, 'ECONNRESET');
    assert.deepEqual(
      records.map(({ direction, result }) => [direction, result]),
      [
        ['out', 'EDQUOT'],
        ['out', 'closed'],
        ['in', 'EDQUOT'],
      ],
    );
  });
});
