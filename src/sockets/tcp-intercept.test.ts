import assert from 'node:assert/strict';
import { isIPv6 } from 'node:net';
import { test } from 'node:test';
import { anyIpRig, spoofedSyn } from '../../test/any-ip.ts';
import { bytesOf, inTime, isSettled, readAll, text } from '../../test/hosts.ts';
import type { TcpFlow, TcpFlowHandler, TcpInterception } from './tcp-intercept.ts';
import type { TcpStream } from './tcp-stream.ts';

const FAR = { host: '198.51.100.7', port: 4433 };

for (const medium of ['ip', 'ethernet'] as const) {
  test(`intercept: any address and port of both families, answered as that address, over ${medium}`, async () => {
    const rig = anyIpRig(medium);
    const seen: string[] = [];
    rig.proxy.tcp.intercept(async (flow) => {
      seen.push(`${flow.sourceAddress} > ${flow.destinationAddress} ${flow.destinationPort}`);
      const { mss, windowScale, sackPermitted, timestamps } = flow.options;
      assert.deepEqual(
        [mss, windowScale, sackPermitted, timestamps],
        [isIPv6(flow.sourceAddress) ? 1440 : 1460, 8, true, true],
      );
      const stream = await flow.accept();
      await stream.write((await stream.read())!);
      await stream.end();
    });
    for (const host of ['198.51.100.7', '203.0.113.9', '2001:db8::7', 'fd00::1', '10.0.0.1', '10.0.0.77']) {
      if (host === '10.0.0.77' && medium === 'ethernet') continue; // on the link nobody is asked of but who is there
      const stream = await inTime(rig.clock, rig.client.tcp.connect({ host, port: 999 }));
      assert.equal(stream.remoteAddress, host);
      await stream.write(bytesOf(host));
      assert.equal(text(await inTime(rig.clock, readAll(stream))), host);
      await stream.close();
      assert.ok(seen.pop()?.endsWith(`> ${host} 999`));
    }
    await rig.close();
  });
}

test('intercept: a tunnel without addresses answers through itself', async () => {
  const rig = anyIpRig('ip', false);
  rig.proxy.tcp.intercept(async (flow) => (await flow.accept()).close());
  for (const host of ['198.51.100.7', '2001:db8::7']) {
    const stream = await inTime(rig.clock, rig.client.tcp.connect({ host, port: 1 }));
    assert.equal(await inTime(rig.clock, stream.read()), null);
    await stream.close();
  }
  assert.deepEqual(await inTime(rig.clock, rig.client.ping('198.51.100.99')).then((r) => r.address), '198.51.100.99');
  await rig.close();
});

test('intercept: a listener of our own address goes first; one for all does not mean what is not ours', async () => {
  const rig = anyIpRig();
  const own = await rig.proxy.tcp.listen({ port: 80 });
  const special = await rig.proxy.tcp.listen({ port: 81, host: '10.0.0.1' });
  const flows: TcpFlow[] = [];
  const all = rig.proxy.tcp.intercept((flow) => {
    flows.push(flow);
    void flow.accept();
  });
  await inTime(rig.clock, rig.client.tcp.connect({ host: '10.0.0.1', port: 80 }));
  await inTime(rig.clock, rig.client.tcp.connect({ host: '10.0.0.1', port: 81 }));
  assert.equal(flows.length, 0);
  await inTime(rig.clock, Promise.all([own.accept(), special.accept()]));
  await inTime(rig.clock, rig.client.tcp.connect({ ...FAR, port: 80 }));
  await inTime(rig.clock, rig.client.tcp.connect({ host: '10.0.0.1', port: 82 }));
  assert.deepEqual(
    flows.map((flow) => [flow.destinationAddress, flow.destinationPort]),
    [
      [FAR.host, 80],
      ['10.0.0.1', 82],
    ],
  );
  assert.throws(() => rig.proxy.tcp.intercept(() => {}), { code: 'EADDRINUSE' });
  await all.close();
  // Without a handler a listener for all stands for all, as SO_ANY does.
  await inTime(rig.clock, rig.client.tcp.connect({ ...FAR, port: 80 }));
  await assert.rejects(inTime(rig.clock, rig.client.tcp.connect({ ...FAR, port: 82 })), { code: 'ECONNREFUSED' });
  await rig.close();
});

const BAD: [name: string, handler: TcpFlowHandler, code: string, counter: string][] = [
  ['rejects', (flow) => void flow.reject(), 'ECONNREFUSED', 'rejected'],
  ['rejects as unreachable', (flow) => void flow.reject('unreachable'), 'EHOSTUNREACH', 'rejected'],
  [
    'rejects twice',
    (flow) => void assert.deepEqual([flow.reject(), flow.reject()], [true, false]),
    'ECONNREFUSED',
    'rejected',
  ],
  ['rejects, then accepts', (flow) => void [flow.reject(), flow.accept()], 'ECONNREFUSED', 'rejected'],
  [
    'throws',
    () => {
      throw new Error('no');
    },
    'ECONNREFUSED',
    'handlerErrors',
  ],
  ['gives a promise that rejects', () => Promise.reject(new Error('no')), 'ECONNREFUSED', 'handlerErrors'],
  ['never answers', () => {}, 'ECONNREFUSED', 'undecided'],
  ['never settles', () => new Promise<void>(() => {}), 'ECONNREFUSED', 'undecided'],
];
for (const [name, handler, code, counter] of BAD) {
  test(`intercept: no slot is lost where the handler ${name}`, async () => {
    const rig = anyIpRig();
    let flow: TcpFlow | null = null;
    const all = rig.proxy.tcp.intercept(
      (one) => {
        flow = one;
        return handler(one);
      },
      { deadlineMs: 3000 },
    );
    await assert.rejects(inTime(rig.clock, rig.client.tcp.connect(FAR)), { code });
    assert.equal(all.count, 0);
    assert.equal(flow!.signal.aborted, true);
    assert.equal(flow!.isPending, false);
    assert.equal(all.stats[counter as keyof TcpInterception['stats']], 1);
    assert.equal(all.stats.opened, 1);
    assert.equal(rig.proxy.stack.tcp.connections.count, 0);
    await rig.close();
  });
}

test('intercept: an accept given twice is one; a throw after it resets', async () => {
  const rig = anyIpRig();
  const all = rig.proxy.tcp.intercept(async (flow) => {
    assert.equal(flow.accept(), flow.accept());
    assert.equal(flow.reject(), false);
    const stream = await flow.accept();
    await stream.read();
    throw new Error('no more');
  });
  const stream = await inTime(rig.clock, rig.client.tcp.connect(FAR));
  assert.equal(all.count, 1);
  await stream.write(bytesOf('x'));
  await assert.rejects(inTime(rig.clock, stream.read()), { code: 'ECONNRESET' });
  assert.deepEqual([all.count, all.stats.accepted, all.stats.handlerErrors], [0, 1, 1]);
  await rig.close();
});

test('intercept: a client that gives up while it is held aborts the signal, and an accept says so', async () => {
  const rig = anyIpRig();
  const flows: TcpFlow[] = [];
  const all = rig.proxy.tcp.intercept((flow) => void flows.push(flow));
  await assert.rejects(inTime(rig.clock, rig.client.tcp.connect({ ...FAR, timeout: 500 })), { code: 'ETIMEDOUT' });
  // A SYN that is given up ends without a word: the deadline ends it here, and a RST of the client would at once.
  assert.equal(flows.length, 1);
  flows[0]!.end();
  assert.equal(all.count, 0);
  assert.equal(flows[0]!.signal.aborted, true);
  await assert.rejects(flows[0]!.accept(), { code: 'ECONNABORTED' });
  await rig.close();
});

test('intercept: the slot is free when the connection is, whoever closed it', async () => {
  const rig = anyIpRig();
  const streams: TcpStream[] = [];
  const all = rig.proxy.tcp.intercept(async (flow) => void streams.push(await flow.accept()));
  const open = async (): Promise<TcpStream> => inTime(rig.clock, rig.client.tcp.connect(FAR));
  const first = await open();
  await inTime(rig.clock, isSettled(Promise.resolve()));
  first.abort();
  await rig.clock.run({ settle: () => new Promise((r) => setImmediate(r)), maxMs: 100 });
  assert.equal(all.count, 0, 'a reset of the client');
  const second = await open();
  await second.close();
  await rig.clock.run({ settle: () => new Promise((r) => setImmediate(r)), maxMs: 100 });
  assert.equal(all.count, 1, 'half-closed is not closed');
  await streams[1]!.close();
  await rig.clock.run({ settle: () => new Promise((r) => setImmediate(r)), maxMs: 100 });
  assert.equal(all.count, 0, 'both halves');
  await rig.close();
});

test('intercept: a silent connection ends, one with traffic does not; at the limit the least used makes room', async () => {
  const rig = anyIpRig();
  const all = rig.proxy.tcp.intercept(async (flow) => void (await flow.accept()), { flowsMax: 3, idleMs: 10_000 });
  const settle = (): Promise<void> => new Promise((r) => setImmediate(r));
  const wait = (ms: number) => rig.clock.run({ settle, maxMs: ms });
  const open = () => inTime(rig.clock, rig.client.tcp.connect(FAR));
  const [a, b] = [await open(), await open()];
  for (let i = 0; i < 8; i++) {
    await b.write(bytesOf('x'));
    await wait(2000);
  }
  assert.equal(all.count, 1);
  assert.deepEqual([all.stats.idle, all.stats.evicted], [1, 0]);
  await assert.rejects(inTime(rig.clock, a.read()), { code: 'ECONNRESET' });
  const c = await open();
  const d = await open();
  await wait(2000);
  await c.write(bytesOf('x'));
  await b.write(bytesOf('x'));
  await wait(2000);
  await open();
  assert.deepEqual([all.count, all.stats.evicted], [3, 1]);
  await assert.rejects(inTime(rig.clock, d.read()), { code: 'ECONNRESET' });
  assert.equal(await isSettled(b.read().catch(() => {})), false);
  await rig.close();
});

test('intercept: what all connections hold is bounded: the least used that holds anything is reset', async () => {
  const rig = anyIpRig();
  const bytesMax = 300_000;
  const all = rig.proxy.tcp.intercept(async (flow) => void (await flow.accept()), { bytesMax });
  const settle = (): Promise<void> => new Promise((r) => setImmediate(r));
  const wait = (ms: number) => rig.clock.run({ settle, maxMs: ms });
  const open = () => inTime(rig.clock, rig.client.tcp.connect(FAR));
  const idle = await open();
  const [old, middle, young] = [await open(), await open(), await open()];
  for (const stream of [old, middle, young]) {
    void stream.write(new Uint8Array(250_000)).catch(() => {}); // nobody reads them
    await wait(300);
  }
  await wait(1000);
  assert.ok(all.bytes > 0 && all.bytes <= bytesMax, `${all.bytes} bytes`);
  assert.deepEqual([all.count, all.stats.evicted], [3, 1]);
  await assert.rejects(inTime(rig.clock, old.read()), { code: 'ECONNRESET' });
  for (const stream of [idle, middle, young]) assert.equal(stream.state, 'ESTABLISHED');
  await rig.close();
});

test('intercept: a flood of SYNs, answered or held, keeps nobody else out; a crowd of real ones is served', async () => {
  const rig = anyIpRig();
  const settle = (): Promise<void> => new Promise((r) => setImmediate(r));
  let isHeld = false;
  const all = rig.proxy.tcp.intercept((flow) => {
    // What is for port 1 is never decided about.
    if (!isHeld || flow.destinationPort !== 1) return void flow.accept();
  });
  const raw = await rig.client.raw.open({ family: 4, protocol: 6, headerIncluded: true });
  /** From hosts that do not exist, a millisecond apart. */
  const flood = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      await raw.send(spoofedSyn(1024 + (i % 60_000), 1, [10, 0, 0, 9], [198, 51, 100, 1]), '198.51.100.1');
      await rig.clock.run({ settle, maxMs: 1 });
    }
  };
  let usedMost = 0;
  for (const waitsMs of [400, 3500]) {
    await flood(800);
    assert.ok(all.count <= 511 + 20, `${all.count} connections`);
    usedMost = Math.max(usedMost, rig.proxy.memory.usedBytes);
    await rig.clock.run({ settle, maxMs: waitsMs });
    const began = rig.clock.now();
    const crowd = await inTime(
      rig.clock,
      Promise.all(Array.from({ length: 20 }, () => rig.client.tcp.connect({ host: '198.51.100.2', port: 2 }))),
    );
    assert.ok(rig.clock.now() - began < 50, `${rig.clock.now() - began} ms`);
    for (const stream of crowd) stream.abort();
    isHeld = true;
  }
  assert.ok((rig.proxy.stats.drops['tcp-syn-queue-full'] ?? 0) > 0);
  assert.ok(usedMost < 1 << 20, `${usedMost} bytes`);
  await raw.close();
  const crowd = Promise.all(
    Array.from({ length: 700 }, () => rig.client.tcp.connect({ host: '198.51.100.2', port: 2, timeout: 60_000 })),
  );
  for (const stream of await inTime(rig.clock, crowd)) stream.abort();
  await rig.close();
});

test('intercept: what makes no limit or no handler is refused by name', async () => {
  const rig = anyIpRig();
  const { tcp } = rig.proxy;
  assert.throws(() => tcp.intercept(() => {}, { flowsMax: 0 }), { name: 'RangeError', message: /flowsMax/ });
  assert.throws(() => tcp.intercept(() => {}, { bytesMax: 0 }), { name: 'RangeError', message: /bytesMax/ });
  assert.throws(() => tcp.intercept(() => {}, { idleMs: 0 }), { name: 'RangeError', message: /idleMs/ });
  assert.throws(() => tcp.intercept(1 as never), { name: 'TypeError', message: /handler/ });
  await rig.close();
});

test('any-IP: what is for nobody stays dropped', async () => {
  const rig = anyIpRig();
  rig.proxy.tcp.intercept((flow) => void flow.accept());
  for (const host of ['240.0.0.1', 'fe80::77']) {
    await assert.rejects(inTime(rig.clock, rig.client.tcp.connect({ host, port: 1, timeout: 1500 })), host);
  }
  assert.ok((rig.proxy.stats.drops['ip-not-ours'] ?? 0) > 0);
  await rig.close();
});
