import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inTime } from '../../test/hosts.ts';
import { createHost, type Host, type PingFailure, type PingReply, type TraceHop, type TraceOptions } from '../index.ts';
import { FaultInjector } from '../phy/fault-injector.ts';
import { pipePair } from '../phy/pipe.ts';
import { Random } from '../phy/random.ts';
import { VirtualClock } from '../sim/clock.ts';
import { Cidr, IpAddress } from '../wire/address.ts';

/** client - router - router - server, each link 5 ms a direction; every host is its own router's neighbour. */
class Chain {
  readonly clock = new VirtualClock();
  readonly client: Host;
  readonly routers: Host[] = [];
  readonly server: Host;
  readonly #random = new Random(7);

  constructor({ mtu = 1500, isLoop = false } = {}) {
    const links = [0, 1, 2].map((i) => pipePair({ mtu: i === 1 ? mtu : 1500 }));
    const common = { clock: this.clock, random: () => this.#random.next() };
    const slow = (i: number, end: 0 | 1) => new FaultInjector(links[i]![end], { delayMs: 5, seed: i });
    const addresses = (link: number, host: number) => [`10.0.${link}.${host}/24`, `fd0${link}::${host}/64`];
    this.client = createHost({
      ...common,
      device: slow(0, 0),
      addresses: addresses(0, 2),
      gateway: ['10.0.0.1', 'fd00::1'],
    });
    for (const i of [0, 1]) {
      const router = createHost({ ...common, device: links[i]![1], addresses: addresses(i, 1), forward: true });
      router.addInterface(slow(i + 1, 0), { addresses: addresses(i + 1, 3) });
      this.routers.push(router);
    }
    const [first, second] = this.routers;
    for (const gateway of ['10.0.1.1', 'fd01::1']) first!.stack.addDefaultRoute(IpAddress.parse(gateway));
    if (isLoop) for (const gateway of ['10.0.1.3', 'fd01::3']) second!.stack.addDefaultRoute(IpAddress.parse(gateway));
    for (const [prefix, gateway] of [
      ['10.0.0.0/24', '10.0.1.3'],
      ['fd00::/64', 'fd01::3'],
    ] as const) {
      const iface = second!.iface!;
      second!.stack.addRoute({ prefix: Cidr.parse(prefix), iface, gateway: IpAddress.parse(gateway) });
    }
    this.server = createHost({
      ...common,
      device: links[2]![1],
      addresses: addresses(2, 2),
      gateway: ['10.0.2.3', 'fd02::3'],
    });
  }

  in<T>(promise: Promise<T>): Promise<T> {
    return inTime(this.clock, promise);
  }

  async trace(host: string, options: TraceOptions = {}): Promise<TraceHop[]> {
    const hops: TraceHop[] = [];
    const all = async (): Promise<void> => {
      for await (const hop of this.client.trace(host, options)) hops.push(hop);
    };
    await this.in(all());
    return hops;
  }

  async close(): Promise<void> {
    await this.in(Promise.all([this.client, ...this.routers, this.server].map((host) => host.close())));
    assert.equal(this.client.memory.usedBytes + this.server.memory.usedBytes, 0);
  }
}

const summary = ({ ttl, probes }: TraceHop): [number, ...(string | null)[]] => [
  ttl,
  ...probes.map(({ address, timeMs, note }) => address && `${address} ${timeMs}${note === null ? '' : ` ${note}`}`),
];

for (const mode of ['udp', 'icmp'] as const) {
  test(`trace: by ${mode}: each router and the host, both families`, async () => {
    const chain = new Chain();
    assert.deepEqual((await chain.trace('10.0.2.2', { mode, probes: 2 })).map(summary), [
      [1, '10.0.0.1 10', '10.0.0.1 10'],
      [2, '10.0.1.1 20', '10.0.1.1 20'],
      [3, '10.0.2.2 30', '10.0.2.2 30'],
    ]);
    const hops = await chain.trace('fd02::2', { mode, probes: 1 });
    assert.deepEqual(hops.map(summary), [
      [1, 'fd00::1 10'],
      [2, 'fd01::1 20'],
      [3, 'fd02::2 30'],
    ]);
    assert.deepEqual(
      hops.map(({ isLast }) => isLast),
      [false, false, true],
    );
    await chain.close();
  });
}

test('trace: a way that ends, a hop that is silent, a loop, the first and the last hop', async () => {
  const chain = new Chain();
  // The second router has no route for it.
  assert.deepEqual((await chain.trace('10.9.9.9', { probes: 1 })).map(summary), [
    [1, '10.0.0.1 10'],
    [2, '10.0.1.1 20 !N'],
  ]);
  assert.deepEqual(
    (await chain.trace('10.0.2.77', { probes: 1, timeout: 500, firstHop: 2, maxHops: 4 })).map(summary),
    [
      [2, '10.0.1.1 20'],
      [3, null],
      [4, null],
    ],
  );
  await chain.close();
  const loop = new Chain({ isLoop: true });
  const hops = await loop.trace('fd99::9', { probes: 1, maxHops: 6 });
  assert.deepEqual(
    hops.map(({ probes }) => probes[0]!.address),
    ['fd00::1', 'fd01::1', 'fd00::1', 'fd01::1', 'fd00::1', 'fd01::1'],
  );
  await loop.close();
});

test('trace: arguments, a signal, and the close of the host', async () => {
  const chain = new Chain();
  const first = (options: TraceOptions) => chain.client.trace('10.0.2.2', options).next();
  for (const options of [{ probes: 0 }, { maxHops: 256 }, { firstHop: 31 }, { port: 65_500 }, { size: -1 }]) {
    await assert.rejects(first(options), RangeError);
  }
  await assert.rejects(first({ mode: 'tcp' as never }), TypeError);
  await assert.rejects(chain.client.trace('nowhere').next(), { code: 'ENOTFOUND' });
  const controller = new AbortController();
  const hop = first({ signal: controller.signal, firstHop: 30 });
  controller.abort(new Error('enough'));
  await assert.rejects(chain.in(hop), { message: 'enough' });
  const pending = assert.rejects(chain.client.trace('10.0.2.77', { firstHop: 9 }).next(), { code: 'ECANCELED' });
  await chain.close();
  await pending;
});

describe('ping', () => {
  test('many: replies, their times, and what came of them', async () => {
    const chain = new Chain();
    const replies: PingReply[] = [];
    const started = chain.clock.now();
    const statistics = await chain.in(
      chain.client.ping('10.0.2.2', { count: 4, interval: 100, size: 9, onReply: (reply) => void replies.push(reply) }),
    );
    assert.deepEqual(
      replies.map(({ sequence, ttl, timeMs, size, isDuplicate }) => [sequence, ttl, timeMs, size, isDuplicate]),
      [1, 2, 3, 4].map((sequence) => [sequence, 62, 30, 9, false]),
    );
    assert.deepEqual(statistics, {
      address: '10.0.2.2',
      sent: 4,
      received: 4,
      duplicates: 0,
      failures: 0,
      durationMs: 330,
      minMs: 30,
      avgMs: 30,
      maxMs: 30,
      mdevMs: 0,
    });
    assert.equal(chain.clock.now() - started, 330);
    await chain.close();
  });

  test('many: losses and errors are counted, and told with their origin', async () => {
    const chain = new Chain();
    const failures: PingFailure[] = [];
    const onFailure = (failure: PingFailure): void => void failures.push(failure);
    for (const [host, ttl] of [
      ['10.0.2.2', 2],
      ['fd02::2', 1],
      ['10.9.9.9', 64],
    ] as const) {
      const {
        sent,
        received,
        failures: count,
      } = await chain.in(chain.client.ping(host, { count: 2, interval: 10, ttl, onFailure }));
      assert.deepEqual([sent, received, count], [2, 0, 2]);
    }
    assert.deepEqual(
      failures.map(({ sequence, address, type, code, error }) => [sequence, address, type, code, error.code]),
      [
        [1, '10.0.1.1', 11, 0, 'EHOSTUNREACH'],
        [2, '10.0.1.1', 11, 0, 'EHOSTUNREACH'],
        [1, 'fd00::1', 3, 0, 'EHOSTUNREACH'],
        [2, 'fd00::1', 3, 0, 'EHOSTUNREACH'],
        [1, '10.0.1.1', 3, 0, 'ENETUNREACH'],
        [2, '10.0.1.1', 3, 0, 'ENETUNREACH'],
      ],
    );
    const lost = await chain.in(chain.client.ping('10.0.2.77', { count: 3, interval: 10, timeout: 100 }));
    assert.deepEqual([lost.sent, lost.received, lost.durationMs, Number.isNaN(lost.avgMs)], [3, 0, 120, true]);
    await chain.close();
  });

  test('many: a duplicate is told as such; the signal ends it without an error', async () => {
    const clock = new VirtualClock();
    const [left, right] = pipePair({});
    const random = new Random(1);
    const common = { clock, random: () => random.next() };
    const server = createHost({ ...common, device: left, addresses: ['10.0.0.1/24'] });
    const twice = new FaultInjector(right, { duplicate: 1, seed: 1 });
    const client = createHost({ ...common, device: twice, addresses: ['10.0.0.2/24'] });
    const controller = new AbortController();
    const { signal } = controller;
    const seen: boolean[] = [];
    const onReply = ({ isDuplicate, sequence }: PingReply): void => {
      seen.push(isDuplicate);
      if (sequence === 3) controller.abort();
    };
    const statistics = await inTime(
      clock,
      client.ping('10.0.0.1', { count: Number.POSITIVE_INFINITY, signal, onReply }),
    );
    assert.deepEqual([statistics.sent, statistics.received], [3, 3]);
    assert.ok(statistics.duplicates >= 4);
    assert.deepEqual(seen.slice(0, 3), [false, true, true]);
    await inTime(clock, Promise.all([client.close(), server.close()]));
  });

  test('one: an error that the network reports is thrown', async () => {
    const chain = new Chain();
    await assert.rejects(chain.in(chain.client.ping('10.0.2.2', { ttl: 1 })), {
      code: 'EHOSTUNREACH',
      syscall: 'ping',
    });
    await assert.rejects(chain.in(chain.client.ping('10.9.9.9')), { code: 'ENETUNREACH' });
    for (const options of [{ count: 0 }, { count: 1.5 }, { count: 1, interval: 0 }, { count: 1, ttl: 256 }]) {
      await assert.rejects(chain.client.ping('10.0.2.2', options as { count: number }), RangeError);
    }
    await chain.close();
  });
});

test('raw: packets there and back, a loop over them, the close', async () => {
  const chain = new Chain();
  const one = await chain.client.raw.open({ family: 4, protocol: 253, ttl: 9 });
  const two = await chain.server.raw.open({
    family: 4,
    protocol: 253,
    localAddress: '10.0.2.2',
    remoteAddress: '10.0.0.2',
  });
  await one.send(Uint8Array.of(1, 2, 3), '10.0.2.2');
  const { data, address } = await chain.in(two.receive());
  assert.deepEqual([address, data[8], [...data.subarray(20)]], ['10.0.0.2', 7, [1, 2, 3]]);
  await two.send(Uint8Array.of(4));
  const seen: number[] = [];
  const reading = (async () => {
    for await (const packet of one) {
      seen.push(packet.data.at(-1)!);
      await one.close();
    }
  })();
  await chain.in(reading);
  assert.deepEqual(seen, [4]);
  await assert.rejects(one.send(Uint8Array.of(1), '10.0.2.2'), { code: 'ECANCELED' });
  await assert.rejects(one.receive(), { code: 'ECANCELED' });
  await assert.rejects(chain.client.raw.open({ family: 4, protocol: 1, localAddress: '10.9.9.9' }), {
    code: 'EADDRNOTAVAIL',
  });
  await assert.rejects(chain.client.raw.open({ family: 4, protocol: 999 }), RangeError);
  const waiting = two.receive();
  const rejected = assert.rejects(waiting, { code: 'ECANCELED' });
  await chain.close();
  await rejected;
});

test('a connection through routers: the smaller MTU of the middle link is found', async () => {
  for (const host of ['10.0.2.2', 'fd02::2']) {
    const chain = new Chain({ mtu: 1280 });
    const listener = await chain.server.tcp.listen({ port: 80 });
    const stream = await chain.in(chain.client.tcp.connect({ host, port: 80 }));
    const peer = await chain.in(listener.accept());
    const sent = new Uint8Array(100_000).map((_, i) => i * 13);
    const writing = stream.write(sent).then(() => stream.end());
    const got: number[] = [];
    const reading = (async () => {
      for (let chunk = await peer.read(); chunk !== null; chunk = await peer.read()) got.push(...chunk);
    })();
    await chain.in(Promise.all([writing, reading]));
    assert.deepEqual(Uint8Array.from(got), sent);
    assert.equal((chain.routers[0]!.stats.drops['ip-too-big'] ?? 0) > 0, true);
    await chain.close();
  }
});
