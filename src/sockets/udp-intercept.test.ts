import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AnyIpRig, anyIpRig } from '../../test/any-ip.ts';
import { bytesOf, inTime, text } from '../../test/hosts.ts';
import type { EchoDecision } from './echo-intercept.ts';
import type { UdpFlow, UdpFlowHandler } from './udp-intercept.ts';

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const wait = (rig: AnyIpRig, ms: number) => rig.clock.run({ settle, maxMs: ms });

for (const medium of ['ip', 'ethernet'] as const) {
  test(`udp intercept: flows of both families, answered as whom they were for, over ${medium}`, async () => {
    const rig = anyIpRig(medium);
    const all = rig.proxy.udp.intercept(async (flow) => {
      const socket = flow.accept();
      assert.equal(flow.accept(), socket);
      for await (const { data } of socket) await socket.send(bytesOf(`${flow.destinationAddress} ${text(data)}`));
    });
    for (const host of ['198.51.100.7', '2001:db8::7', '10.0.0.1']) {
      const socket = await rig.client.udp.connect({ host, port: 5300 });
      for (const word of ['one', 'two']) {
        await socket.send(bytesOf(word));
        const { data, address, port } = await inTime(rig.clock, socket.receive());
        assert.deepEqual([text(data), address, port], [`${host} ${word}`, host, 5300]);
      }
      await socket.close();
    }
    assert.deepEqual([all.count, all.stats.opened, all.stats.accepted], [3, 3, 3]);
    await wait(rig, 200_000);
    assert.deepEqual([all.count, all.stats.idle], [0, 3]);
    await rig.close();
  });
}

const WAYS: [name: string, handler: UdpFlowHandler, isRefused: boolean, counter: string][] = [
  ['rejects', (flow) => void flow.reject(), true, 'rejected'],
  ['accepts, then rejects', (flow) => void [flow.accept(), flow.reject()], true, 'accepted'],
  [
    'throws',
    () => {
      throw new Error('no');
    },
    false,
    'handlerErrors',
  ],
  ['gives a promise that rejects', () => Promise.reject(new Error('no')), false, 'handlerErrors'],
  ['never answers', () => {}, false, 'undecided'],
  ['closes', (flow) => flow.close(), false, 'opened'],
  ['closes the socket', (flow) => void flow.accept().close(), false, 'accepted'],
];
for (const [name, handler, isRefused, counter] of WAYS) {
  test(`udp intercept: no slot is lost where the handler ${name}`, async () => {
    const rig = anyIpRig();
    let flow: UdpFlow | null = null;
    const all = rig.proxy.udp.intercept(
      (one) => {
        flow = one;
        return handler(one);
      },
      { deadlineMs: 2000 },
    );
    const socket = await rig.client.udp.connect({ host: '198.51.100.7', port: 7 });
    await socket.send(bytesOf('x'));
    const answer = socket.receive().then(
      () => 'data',
      (error: { code: string }) => error.code,
    );
    await wait(rig, 3000);
    assert.deepEqual([all.count, flow!.signal.aborted, flow!.isPending], [0, true, false]);
    assert.equal(all.stats[counter as keyof typeof all.stats], 1);
    assert.equal(flow!.reject(), false);
    await socket.close();
    assert.equal(await answer, isRefused ? 'ECONNREFUSED' : 'ECANCELED');
    await rig.close();
  });
}

test('udp intercept: at the limit the least used flow makes room, and a flood holds no more memory than it may', async () => {
  const rig = anyIpRig();
  const all = rig.proxy.udp.intercept((flow) => void flow.accept(), { flowsMax: 8, receiveBytes: 4096 });
  const socket = await rig.client.udp.bind();
  for (let port = 1; port <= 100; port++) {
    for (let i = 0; i < 8; i++)
      await inTime(rig.clock, socket.send(new Uint8Array(1000), { host: '198.51.100.7', port }));
    await wait(rig, 5);
  }
  assert.deepEqual([all.count, all.stats.opened, all.stats.evicted], [8, 100, 92]);
  assert.ok((rig.proxy.stats.drops['udp-queue-full'] ?? 0) > 0);
  assert.ok(rig.proxy.memory.usedBytes < 8 * 8192 + 65_536);
  await rig.close();
});

test('udp intercept: what waits in all flows is bounded: more is dropped, and who holds it without traffic ends', async () => {
  const rig = anyIpRig();
  const bytesMax = 64 << 10;
  const all = rig.proxy.udp.intercept((flow) => void flow.accept(), { bytesMax, receiveBytes: 16_384 });
  const socket = await rig.client.udp.bind();
  const send = (port: number) => inTime(rig.clock, socket.send(new Uint8Array(1000), { host: '198.51.100.7', port }));
  await send(1); // the one that is least used, but holds little
  let most = 0;
  for (let i = 0; i < 400; i++) {
    await send(2 + (i % 20));
    most = Math.max(most, all.bytes);
    if (i % 20 === 19) await wait(rig, 300);
  }
  assert.ok(most <= bytesMax + 16_384 && most > bytesMax / 2, `${most} bytes`);
  assert.ok(all.stats.evicted > 0);
  assert.ok((rig.proxy.stats.drops['udp-queue-full'] ?? 0) > 0);
  assert.ok(!all.flows.some(({ destinationPort }) => destinationPort === 1), 'least recently used out first');
  for (const flow of all.flows) flow.close();
  assert.deepEqual([all.bytes, all.count], [0, 0]);
  await send(9);
  await wait(rig, 10);
  assert.equal(all.bytes, 2048, 'what was held is given back');
  await rig.close();
});

test('udp intercept: a socket of our own goes first, and DHCP keeps its port', async () => {
  const rig = anyIpRig();
  const flows: UdpFlow[] = [];
  rig.proxy.udp.intercept((flow) => void flows.push(flow));
  assert.throws(() => rig.proxy.udp.intercept(() => {}), { code: 'EADDRINUSE' });
  const own = await rig.proxy.udp.bind({ port: 53 });
  const socket = await rig.client.udp.bind();
  await socket.send(bytesOf('own'), { host: '10.0.0.1', port: 53 });
  assert.equal(text((await inTime(rig.clock, own.receive())).data), 'own');
  await socket.send(bytesOf('far'), { host: '198.51.100.7', port: 53 });
  await wait(rig, 10);
  assert.deepEqual(
    flows.map((flow) => flow.destinationAddress),
    ['198.51.100.7'],
  );
  await rig.close();
});

test('echo intercept: each decision, and a handler that throws, never answers, or comes too late', async () => {
  const rig = anyIpRig();
  const decide: Record<string, () => EchoDecision | Promise<EchoDecision>> = {
    '198.51.100.1': () => 'reply',
    '198.51.100.2': () => 'unreachable',
    '198.51.100.3': () => 'drop',
    '198.51.100.4': () => {
      throw new Error('no');
    },
    '198.51.100.5': () => new Promise(() => {}),
    '2001:db8::1': () => Promise.resolve<EchoDecision>('reply'),
    '2001:db8::2': () => Promise.resolve<EchoDecision>('unreachable'),
  };
  const all = rig.proxy.icmp.intercept(({ destinationAddress }) => decide[destinationAddress]!(), {
    deadlineMs: 2000,
  });
  const ping = (host: string) =>
    inTime(rig.clock, rig.client.ping(host, { timeout: 3000, size: 100 } as never)).then(
      ({ address }) => address,
      (error: { code: string }) => error.code,
    );
  const got: Record<string, string> = {};
  for (const host of [...Object.keys(decide), '10.0.0.1']) got[host] = await ping(host);
  assert.deepEqual(got, {
    '198.51.100.1': '198.51.100.1',
    '198.51.100.2': 'EHOSTUNREACH',
    '198.51.100.3': 'ETIMEDOUT',
    '198.51.100.4': 'ETIMEDOUT',
    '198.51.100.5': 'ETIMEDOUT',
    '2001:db8::1': '2001:db8::1',
    '2001:db8::2': 'EHOSTUNREACH',
    '10.0.0.1': '10.0.0.1',
  });
  // A group's request is for whoever is in it, and is not answered as the group: the host answers itself.
  const group = await ping('ff02::1');
  assert.ok(rig.proxy.stack.ip.parse(group)?.isMulticast === false, group);
  assert.equal(all.pending, 0);
  assert.deepEqual(all.stats, { asked: 7, replied: 2, unreachable: 2, dropped: 2, refused: 0, handlerErrors: 1 });
  await rig.close();
});
