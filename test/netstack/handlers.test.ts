/** Handlers on other threads: while those block, sleep, or end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Channel,
  type Driver,
  icmpIntercept,
  type NetstackConfig,
  ping,
  pipedPair,
  tcpConnect,
  tcpIntercept,
  tcpListen,
  udpBind,
  udpConnect,
  udpIntercept,
} from '../../src/netstack/index.ts';
import { readAll, text } from '../hosts.ts';
import { ended, nextMessage, start, until } from './roles.ts';
import { FAR, OTHER, OTHER_CONFIG, OWN, OWN_CONFIG } from './suite.ts';

function pair(config: NetstackConfig = {}): [Driver, Driver] {
  const [own, other] = pipedPair({ ...OWN_CONFIG, ...config }, OTHER_CONFIG);
  return [own.run(), other.run()];
}

function close(own: Driver, other: Driver): void {
  own.close();
  other.close();
  assert.equal(own.netstack.memory.usedBytes, 0);
}

const connect = (driver: Driver, host: string, port: number): ReturnType<typeof tcpConnect> =>
  tcpConnect(driver, { host, port });

test('a thread that blocks on one channel decides about SYNs of another', { timeout: 30_000 }, async () => {
  const [own, other] = pair();
  const worker = start('elsewhere', [own.commandChannel().share(), other.commandChannel().share()]);
  assert.equal(await nextMessage(worker), 'listening');
  const since = performance.now();
  await assert.rejects(connect(own, OTHER, 80), { code: 'ECONNREFUSED' });
  const stream = await connect(own, OTHER, 80);
  assert.ok(performance.now() - since < 5000, 'it was not the deadline that decided');
  const asked = nextMessage(worker);
  const socket = await udpBind(other);
  await socket.send(new TextEncoder().encode('go on'), { host: OWN, port: 53 });
  assert.equal(text(await readAll(stream)), 'go on');
  assert.equal(await asked, 2);
  await stream.close();
  await worker.terminate();
  await until(() => own.netstack.socketCount === 0, 'its sockets are closed');
  close(own, other);
});

test('a thread that stops for something else decides nothing: after the deadline SYNs are refused', {
  timeout: 30_000,
}, async () => {
  const [own, other] = pair();
  const worker = start('asleep', [own.commandChannel().share()]);
  assert.equal(await nextMessage(worker), 'asleep');
  const since = performance.now();
  const held = [connect(other, OWN, 80), connect(other, FAR, 80)];
  for (const one of held) await assert.rejects(one, { code: 'ECONNREFUSED' });
  const ms = performance.now() - since;
  assert.ok(ms >= 150, `refused after ${ms} ms`);
  assert.equal(own.netstack.stack.stats.tcpSynsRejected, 2);
  assert.equal(await nextMessage(worker), 'awake');
  await worker.terminate();
  await until(() => own.netstack.socketCount === 0, 'its sockets are closed');
  close(own, other);
});

test('a handler may block itself, on the channel that calls it', { timeout: 30_000 }, async () => {
  const [own, other] = pair();
  const listener = await tcpListen(other, { port: 90 });
  const worker = start('handler-blocks', [own.commandChannel().share()]);
  assert.equal(await nextMessage(worker), 'listening');
  const dialled = nextMessage(worker);
  const streams = await Promise.all([1, 2, 3].map(() => connect(other, OWN, 80)));
  assert.deepEqual(await dialled, [90, 90, 90]);
  await Promise.all(streams.map((stream) => stream.close()));
  await listener.close();
  await worker.terminate();
  close(own, other);
});

test('a thread that blocks takes one flow after the other', { timeout: 30_000 }, async () => {
  const [own, other] = pair();
  const worker = start('take-flows', [own.commandChannel().share()]);
  assert.equal(await nextMessage(worker), 'intercepting');
  assert.equal(await nextMessage(worker), 'ETIMEDOUT');
  await assert.rejects(connect(other, FAR, 1), { code: 'ECONNREFUSED' });
  const stats = nextMessage(worker);
  const stream = await connect(other, FAR, 2);
  assert.equal(text(await readAll(stream)), `${FAR} 2`);
  const { opened, accepted, rejected } = (await stats) as Record<string, number>;
  assert.deepEqual([opened, accepted, rejected], [2, 1, 1]);
  await stream.close();
  await ended(worker);
  await assert.rejects(connect(other, FAR, 3), { code: 'ECONNREFUSED' });
  close(own, other);
});

for (const [how, shared] of [
  ['a port', false],
  ['shared memory', true],
] as const) {
  test(`over ${how}: a thread that ends refuses what it held, and gives the interceptions back`, {
    timeout: 30_000,
  }, async () => {
    const [own, other] = pair({ shared });
    const worker = start('hold-flows', [own.commandChannel().share()]);
    assert.equal(await nextMessage(worker), 'intercepting');
    const holding = nextMessage(worker);
    const stream = await connect(other, FAR, 1);
    const held = connect(other, FAR, 2);
    held.catch(() => {});
    const [one, two] = await Promise.all([FAR, FAR].map((host, i) => udpConnect(other, { host, port: 50 + i })));
    await one!.send(Uint8Array.of(1));
    await two!.send(Uint8Array.of(2));
    ping(other, FAR, { timeout: 100 }).catch(() => {});
    assert.equal(await holding, 'holding');
    await assert.rejects(tcpIntercept(own), { code: 'EADDRINUSE' });
    await worker.terminate();
    await assert.rejects(held, { code: 'ECONNREFUSED' });
    assert.equal((await readAll(stream)).length, 0);
    await stream.close();
    await until(() => own.netstack.socketCount === 0, 'its sockets are closed');
    // The stack answers by itself again, and others may intercept.
    assert.equal((await ping(other, FAR)).address, FAR);
    for (const intercept of [tcpIntercept, udpIntercept, icmpIntercept]) await (await intercept(own)).close();
    await Promise.all([one!.close(), two!.close()]);
    close(own, other);
  });
}

for (const link of ['this thread', 'a port', 'shared memory'] as const) {
  test(`over ${link}: flows that wait for nobody are bounded, and end with the channel`, {
    timeout: 30_000,
  }, async () => {
    const [own, other] = pair({ shared: link !== 'a port' });
    const channel =
      link === 'this thread' ? own.netstack.openChannel() : Channel.from(own.commandChannel().share().channel);
    const flows = await tcpIntercept(channel, null, { flowsMax: 2, deadlineMs: 5000 });
    const datagrams = await udpIntercept(channel, null, { flowsMax: 2, idleMs: Number.POSITIVE_INFINITY });
    const connecting = [1, 2, 3].map((port) => connect(other, FAR, port));
    for (const one of connecting) one.catch(() => {});
    await assert.rejects(connecting[0]!, { code: 'ECONNREFUSED' }, 'the oldest made room');
    const { stats, count } = await flows.status();
    assert.deepEqual([stats.opened, stats.evicted, count], [3, 1, 2]);
    // The first one that is told of is one that is still there.
    const flow = await flows.next();
    assert.equal(flow.destinationPort, 2);
    const accepting = flow.accept();
    const stream = await connecting[1]!;
    const accepted = await accepting;
    const sender = await udpBind(other);
    for (const port of [1, 2, 3]) await sender.send(Uint8Array.of(port), { host: FAR, port });
    const first = await datagrams.next();
    assert.ok(first.destinationPort >= 1);
    first.idleMs = 1000;
    assert.throws(() => {
      first.idleMs = 0;
    }, RangeError);
    // An aborted connection is over on both sides.
    let isTold = 0;
    flow.onGone = () => isTold++;
    const { signal } = flow;
    stream.abort();
    await assert.rejects(readAll(accepted), { code: 'ECONNRESET' });
    const next = flows.next();
    assert.equal((await next).destinationPort, 3);
    const after = flows.next();
    after.catch(() => {});
    await until(() => isTold === 1 && signal.aborted && flow.isGone, 'told that it is over');
    await accepted.close();
    channel.close();
    await assert.rejects(connecting[2]!, { code: 'ECONNREFUSED' });
    await assert.rejects(after, { code: /ECANCELED|ENETDOWN/ });
    await until(() => own.netstack.socketCount === 0, 'its sockets are closed');
    await sender.close();
    close(own, other);
  });
}

test('records of a trace that nobody takes are bounded, and counted', async () => {
  const [own, other] = pair({ shared: false });
  const listener = await tcpListen(other, { port: 80 });
  const channel = Channel.from(own.commandChannel().share().channel);
  const { handle } = await channel.request({ kind: 'tcp-connect', host: OTHER, port: 80, tcp: { noDelay: true } });
  const peer = await listener.accept();
  await assert.rejects(channel.request({ kind: 'tcp-next-traces', handle }), { code: 'EINVAL' });
  await channel.request({ kind: 'tcp-trace', handle, isOn: true });
  const reading = readAll(peer);
  for (let i = 0; i < 1200; i++) await channel.request({ kind: 'tcp-send', handle, data: Uint8Array.of(i) });
  const { lost, data } = await channel.request({ kind: 'tcp-next-traces', handle });
  assert.deepEqual([data.length / 40, lost > 100], [1024, true]);
  const { stats } = await channel.request({ kind: 'get-stats' });
  assert.equal((stats.channels as { recordsLost: number }).recordsLost, lost);
  const [one, two] = [1, 2].map(() => channel.request({ kind: 'tcp-next-traces', handle }));
  await assert.rejects(two!, { code: 'EBUSY' });
  await channel.request({ kind: 'tcp-close', handle });
  await assert.rejects(one!, { code: 'ECANCELED' });
  assert.equal((await reading).length, 1200);
  await peer.close();
  channel.close();
  close(own, other);
});

test('what reports nobody takes ends with its channel; a signal ends it with what it came to', async () => {
  const [own, other] = pair();
  const channel = Channel.from(own.commandChannel().share().channel);
  const abort = new AbortController();
  let replies = 0;
  const endless = ping(channel, OTHER, {
    count: Number.POSITIVE_INFINITY,
    interval: 1,
    signal: abort.signal,
    onReply: () => {
      if (++replies === 5) abort.abort();
    },
  });
  assert.ok((await endless).received >= 5);
  await assert.rejects(
    ping(channel, OTHER, {
      count: 3,
      interval: 1,
      onReply: () => {
        throw new RangeError('of the caller’s own');
      },
    }),
    /of the caller/,
  );
  await until(() => own.netstack.socketCount === 0, 'what failed here ended there');
  const { handle } = (await channel.request({ kind: 'ping', host: OTHER, count: 10, reports: true })) as {
    handle: number;
  };
  await channel.request({ kind: 'report-end', handle });
  const end = async (): Promise<number> => {
    for (;;) {
      const { result } = await channel.request({ kind: 'report-next', handle });
      if (result?.kind === 'ping-statistics') return result.statistics.sent;
    }
  };
  assert.ok((await end()) < 10);
  await assert.rejects(channel.request({ kind: 'report-next', handle }), { code: 'EBADF' });
  channel.close();
  await until(() => own.netstack.socketCount === 0, 'all is closed');
  close(own, other);
});
