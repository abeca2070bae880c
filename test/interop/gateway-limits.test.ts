/** Limits of a gateway. Needs no privilege. @module */
import assert from 'node:assert/strict';
import { connect as netConnect } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { Policy } from '../../src/proxy/index.ts';
import { bytesOf, readAll } from '../hosts.ts';
import { closeAll, echoDatagrams, MIB, open, pause, ROUTER, rig, serve } from './gateway-rig.ts';

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
