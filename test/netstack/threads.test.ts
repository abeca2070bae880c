/** What happens between threads when one of them ends, is slow, or is careless. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChannelData } from '../../src/netstack/index.ts';
import {
  Channel,
  type Driver,
  Netstack,
  ping,
  piped,
  pipedPair,
  rawOpen,
  spawn,
  tcpConnect,
  tcpListen,
  udpBind,
} from '../../src/netstack/index.ts';
import { readAll } from '../hosts.ts';
import { ended, nextMessage, start, until } from './roles.ts';
import { OTHER, OWN } from './suite.ts';

function drivenPair(): [Driver, Driver] {
  const [own, other] = pipedPair({ addresses: [`${OWN}/24`] }, { addresses: [`${OTHER}/24`] });
  return [own.run(), other.run()];
}

test('a worker that is terminated in a call leaves no socket', { timeout: 30_000 }, async () => {
  const [own, other] = drivenPair();
  const listener = other.netstack.stack.tcpSocket();
  listener.listen({ port: 80 });
  const worker = start('block', [own.commandChannel().share()]);
  assert.equal(await nextMessage(worker), 'blocked');
  assert.equal(own.netstack.stack.tcp.connections.count, 1);
  await worker.terminate();
  await until(() => own.netstack.stack.tcp.connections.values().every((c) => c.socket === null), 'let go of');
  const { stack } = own.netstack;
  await until(() => {
    const probe = stack.tcpSocket();
    try {
      probe.listen({ port: 90 });
      probe.close();
      const socket = stack.udpSocket();
      socket.bind({ port: 90 });
      socket.close();
      return true;
    } catch {
      return false;
    }
  }, 'the ports are free');
  own.close();
  other.close();
  assert.equal(own.netstack.memory.usedBytes, 0);
});

for (const [how, shared] of [
  ['a port', false],
  ['shared memory', true],
] as const) {
  test(`over ${how}: a worker that is terminated while it waits leaves no socket`, { timeout: 30_000 }, async () => {
    const [own, other] = pipedPair({ addresses: [`${OWN}/24`], shared }, { addresses: [`${OTHER}/24`] });
    own.run();
    other.run();
    const listener = other.netstack.stack.tcpSocket();
    listener.listen({ port: 80 });
    const worker = start('hold', [own.commandChannel().share()]);
    assert.equal(await nextMessage(worker), 'holding');
    assert.equal(own.netstack.socketCount, 3);
    await worker.terminate();
    await until(() => own.netstack.socketCount === 0, 'its sockets are closed');
    await (await udpBind(own, { port: 90 })).close();
    await (await tcpListen(own, { port: 90 })).close();
    own.close();
    other.close();
    assert.equal(own.netstack.memory.usedBytes, 0);
  });
}

for (const [how, shared] of [
  ['a port', false],
  ['shared memory', true],
] as const) {
  test(`over ${how}: a channel shared by a client; whose thread ends leaves no socket`, {
    timeout: 30_000,
  }, async () => {
    const [own, other] = pipedPair({ addresses: [`${OWN}/24`], shared }, { addresses: [`${OTHER}/24`] });
    own.run();
    other.run();
    other.netstack.stack.tcpSocket().listen({ port: 80 });
    const client = Channel.from(own.commandChannel().share().channel);
    const socket = await udpBind(client, { port: 53 });
    const worker = start('hold', [client.share()]);
    assert.equal(await nextMessage(worker), 'holding');
    assert.equal(own.netstack.socketCount, 4);
    await worker.terminate();
    await until(() => own.netstack.socketCount === 1, 'its sockets are closed');
    const third = Channel.from(client.share().channel);
    await udpBind(third, { port: 90 });
    await assert.rejects(udpBind(third, { port: 53 }), { code: 'EADDRINUSE' });
    third.close();
    await until(() => own.netstack.socketCount === 1, 'those of the third are closed');
    await socket.close();
    client.close();
    assert.throws(() => client.share(), { code: 'ENETDOWN' });
    own.close();
    other.close();
    assert.equal(own.netstack.memory.usedBytes, 0);
  });
}

test('over a port: callers whose stack’s thread ends are told', { timeout: 30_000 }, async () => {
  const stack = start('port-stack', []);
  const channel = Channel.from(await nextMessage(stack));
  const socket = await udpBind(channel, { port: 53 });
  const waiting = [socket.receive(), tcpConnect(channel, { host: '10.0.0.77', port: 80 })];
  for (const call of waiting) call.catch(() => {});
  await udpBind(channel, { port: 54 }); // both are under way
  const since = performance.now();
  await stack.terminate();
  for (const call of waiting) await assert.rejects(call, { code: 'ENETDOWN' });
  assert.ok(performance.now() - since < 3000, `it took ${performance.now() - since} ms`);
  await assert.rejects(udpBind(channel), { code: 'ENETDOWN' });
});

test('over shared memory: closing with lingering waits for the acknowledgement, or for its time', async () => {
  const [own, far] = piped({ addresses: [`${OWN}/24`] });
  const [other, back] = piped({ addresses: [`${OTHER}/24`] });
  let isCut = false;
  for (const [from, to] of [
    [far, back],
    [back, far],
  ] as const) {
    from.rx.onPacket = () => {
      for (let packet = from.rx.tryReceive(); packet !== null; packet = from.rx.tryReceive()) {
        if (!isCut) to.tx.trySend(packet);
      }
    };
  }
  own.run();
  other.run();
  const channel = Channel.from(own.commandChannel().share().channel);
  const listener = await tcpListen(other, { port: 80 });
  for (const [cut, lingerMs, least, most] of [
    [false, 20_000, 0, 10_000],
    [true, 200, 195, 10_000],
  ] as const) {
    isCut = false;
    const stream = await tcpConnect(channel, { host: OTHER, port: 80 });
    const peer = await listener.accept();
    isCut = cut;
    await stream.write(new Uint8Array(5000));
    const since = performance.now();
    await stream.close({ lingerMs });
    const ms = performance.now() - since;
    assert.ok(ms >= least && ms <= most, `it took ${ms} ms`);
    peer.abort();
  }
  channel.close();
  own.close();
  other.close();
  assert.equal(own.netstack.memory.usedBytes, 0);
});

for (const link of ['this thread', 'a port', 'shared memory'] as const) {
  test(`over ${link}: closing a channel ends every call of its sockets, once`, { timeout: 30_000 }, async () => {
    const shared = link !== 'a port';
    const [own, other] = pipedPair({ addresses: [`${OWN}/24`], shared }, { addresses: [`${OTHER}/24`] });
    own.run();
    other.run();
    other.netstack.stack.tcpSocket().listen({ port: 80 });
    const closed = link === 'this thread' ? own.netstack.openChannel() : Channel.from(own.netstack.share());
    const listener = await tcpListen(closed, { port: 90 });
    const stream = await tcpConnect(closed, { host: OTHER, port: 80 });
    const socket = await udpBind(closed, { port: 53 });
    const raw = await rawOpen(closed, { family: 4, protocol: 200 });
    const calls: Promise<unknown>[] = [];
    for (let i = 0; i < 3; i++) calls.push(listener.accept(), stream.read(), socket.receive(), raw.receive());
    calls.push(tcpConnect(closed, { host: '10.0.0.77', port: 80 }), ping(closed, '10.0.0.77'));
    for (const call of calls) call.catch(() => {});
    await udpBind(closed); // all are under way
    closed.close();
    for (const call of calls) {
      await assert.rejects(call, (error) => {
        assert.match((error as { code?: string }).code ?? String(error), /^(ECANCELED|ENETDOWN)$/);
        return true;
      });
    }
    for (const call of [() => stream.read(), () => socket.receive(), () => raw.receive(), () => listener.accept()]) {
      await assert.rejects(call(), { name: 'NetError' });
    }
    await until(() => own.netstack.socketCount === 0, 'its sockets are closed');
    own.close();
    other.close();
    assert.equal(own.netstack.memory.usedBytes, 0);
  });
}

for (const link of ['this thread', 'a port', 'shared memory'] as const) {
  test(`over ${link}: an idle channel costs nothing, and what many sockets send in one turn is one wake-up`, {
    timeout: 30_000,
  }, async () => {
    const shared = link !== 'a port';
    const [own, other] = pipedPair({ addresses: [`${OWN}/24`], shared }, { addresses: [`${OTHER}/24`] });
    const { netstack } = own.run();
    other.run();
    const channel = link === 'this thread' ? netstack.commandChannel() : Channel.from(netstack.share());
    const sockets = await Promise.all(Array.from({ length: 20 }, () => udpBind(channel)));
    for (const socket of sockets) socket.receive().catch(() => {});
    await udpBind(channel);
    await new Promise((resolve) => setTimeout(resolve, 50));
    let turns = 0;
    const poll = netstack.pollDeviceIo.bind(netstack);
    netstack.pollDeviceIo = (now, device) => {
      turns++;
      return poll(now, device);
    };
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(turns, 0, 'turns of a stack whose clients wait');
    await Promise.all(sockets.map((socket) => socket.send(Uint8Array.of(1), { host: OTHER, port: 9 })));
    assert.ok(turns >= 1 && turns <= 10, `${turns} turns for 20 datagrams`);
    channel.close();
    own.close();
    other.close();
  });
}

test('a thread that blocks in accept decides about SYNs', { timeout: 30_000 }, async () => {
  const [own, other] = drivenPair();
  const worker = start('ask-syn', [other.commandChannel().share()]);
  assert.equal(await nextMessage(worker), 'listening');
  await assert.rejects(tcpConnect(own, { host: OTHER, port: 80 }), { code: 'ECONNREFUSED' });
  const stream = await tcpConnect(own, { host: OTHER, port: 80 });
  assert.equal(new TextDecoder().decode(await readAll(stream)), 'accepted');
  assert.deepEqual(await nextMessage(worker), [OWN, OWN]);
  await stream.close();
  await ended(worker);
  own.close();
  other.close();
  assert.equal(own.netstack.memory.usedBytes, 0);
});

test('listeners and streams that nobody holds are closed', { timeout: 60_000 }, async () => {
  const [own, other] = drivenPair();
  other.netstack.stack.tcpSocket().listen({ port: 80 });
  const worker = start('drop-listeners', [own.commandChannel().share()]);
  assert.equal(await nextMessage(worker), 'dropped');
  await until(() => own.netstack.socketCount < 10, 'closed by the collector');
  worker.postMessage('end');
  await ended(worker);
  await until(() => own.netstack.socketCount === 0, 'closed with the thread');
  own.close();
  other.close();
  assert.equal(own.netstack.memory.usedBytes, 0);
});

test('what a caller opened and did not wait for is closed', { timeout: 30_000 }, async () => {
  const netstack = new Netstack();
  const worker = start('late', [netstack.commandChannel().share()]);
  assert.equal(await nextMessage(worker), 'ETIMEDOUT');
  // Processed long after the caller has gone away, and the cancelling of it last of all.
  const timer = setInterval(() => netstack.processCommands(), 1);
  assert.equal(await nextMessage(worker), 'went on');
  await until(() => netstack.socketCount === 0, 'the socket that nobody has is closed');
  clearInterval(timer);
  worker.postMessage('end');
  await ended(worker);
  netstack.close();
  assert.equal(netstack.memory.usedBytes, 0);
});

test('a blocked caller whose stack is closed is told within a second', { timeout: 30_000 }, async () => {
  const [own, other] = drivenPair();
  const listener = other.netstack.stack.tcpSocket();
  listener.listen({ port: 80 });
  const worker = start('block', [own.commandChannel().share()]);
  assert.equal(await nextMessage(worker), 'blocked');
  const told = nextMessage(worker);
  const since = performance.now();
  own.close();
  assert.equal(((await told) as { code: string }).code, 'ENETDOWN');
  assert.ok(performance.now() - since < 1000, 'it took longer');
  other.close();
  await worker.terminate();
  assert.equal(own.netstack.memory.usedBytes, 0);
});

test('a blocked caller whose stack’s thread ends is told', { timeout: 30_000 }, async () => {
  const stacks = start('stacks', []);
  const channel = (await nextMessage(stacks)) as ChannelData;
  const worker = start('block', [{ channel, transferList: [channel.port!] }]);
  assert.equal(await nextMessage(worker), 'blocked');
  const told = nextMessage(worker);
  const since = performance.now();
  await stacks.terminate();
  assert.equal(((await told) as { code: string }).code, 'ENETDOWN');
  // A second where the machine has time; the bound here is for a busy one.
  assert.ok(performance.now() - since < 3000, `it took ${performance.now() - since} ms`);
  await worker.terminate();
});

test('a full channel refuses who cannot wait, and lets others wait', { timeout: 30_000 }, async () => {
  const netstack = new Netstack({ channelCapacity: 4 });
  const worker = start('fill', [netstack.commandChannel().share()]);
  assert.deepEqual(await nextMessage(worker), { taken: 4, code: 'EAGAIN' });
  const through = nextMessage(worker);
  const timer = setInterval(() => netstack.processCommands(), 1);
  assert.equal(await through, 'through');
  clearInterval(timer);
  await ended(worker);
  netstack.close();
});

test('the same on this thread', async () => {
  const netstack = new Netstack({ channelCapacity: 2 });
  const channel = netstack.commandChannel();
  for (let i = 0; i < 2; i++) channel.requestNonblocking({ kind: 'get-addresses' });
  assert.throws(() => channel.requestNonblocking({ kind: 'get-addresses' }), { code: 'EAGAIN' });
  const waiting = Array.from({ length: 10 }, () => channel.request({ kind: 'get-addresses' }));
  netstack.processCommands();
  assert.equal((await Promise.all(waiting)).length, 10);
  netstack.close();
});

test('sockets that nobody holds are closed: two thousand of another thread', { timeout: 60_000 }, async () => {
  const [own, other] = drivenPair();
  const worker = start('drop', [own.commandChannel().share()], 2000);
  assert.equal(await nextMessage(worker), 'dropped');
  await until(() => boundCount(own) < 20, 'closed by the collector');
  worker.postMessage('end');
  await ended(worker);
  await until(() => boundCount(own) === 0, 'closed with the thread');
  own.close();
  other.close();
  assert.equal(own.netstack.memory.usedBytes, 0);
});

/** Ports in use, which the stack does not tell: as many as a socket each holds. */
const boundCount = ({ netstack }: Driver): number => netstack.socketCount;

test('descriptors, every call of which blocks, over channels', { timeout: 30_000 }, async () => {
  const [own, other] = drivenPair();
  const worker = start('posix', [own.commandChannel().share(), other.commandChannel().share()]);
  const result = (await nextMessage(worker)) as Record<'options' | 'ready' | 'revents' | 'end' | 'text', unknown> & {
    readonly codes: string[];
    readonly port: number;
  };
  assert.deepEqual([result.text, result.end], ['descriptors', 0]);
  // InvalidSocket, a refused connection, NotConnected for writer and reader, Ignored, BindingInUse: docs/originals.md.
  const notConnected = ['EPIPE', 'ENOTCONN'];
  const ignored = ['EOPNOTSUPP', 'EOPNOTSUPP'];
  assert.deepEqual(result.codes, ['EBADF', 'ECONNREFUSED', ...notConnected, ...ignored, 'EADDRINUSE']);
  assert.deepEqual([result.options, result.ready, result.revents], [[1, { onoff: 1, linger: 3 }], 1, 1]);
  assert.ok(result.port >= 32_768 && result.port <= 60_999, `port ${result.port}`);
  await ended(worker);
  own.close();
  other.close();
  assert.equal(own.netstack.memory.usedBytes, 0);
});

test('a channel posted as it is works on any thread', async () => {
  const netstack = new Netstack();
  const { promise, resolve } = deferred<unknown>();
  const { port1, port2 } = new MessageChannel();
  port2.onmessage = ({ data }) => resolve(data);
  port1.postMessage(netstack.commandChannel());
  const channel = Channel.from(await promise);
  const timer = setInterval(() => netstack.processCommands(), 1);
  const socket = await udpBind(channel, { port: 53 });
  assert.equal(socket.port, 53);
  clearInterval(timer);
  netstack.close();
  await assert.rejects(socket.receive(), { code: 'ENETDOWN' });
  port1.close();
});

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve = (_: T): void => {};
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

test('a stack on a thread of its own', { timeout: 30_000 }, async () => {
  await assert.rejects(spawn({ addresses: ['nonsense'] }), { code: 'EINVAL' });
  await using stack = await spawn({ addresses: ['10.0.0.1/24'] });
  const socket = await udpBind(stack, { port: 1000 });
  const reply = stack.pipe.rx.receive();
  await socket.send(new TextEncoder().encode('hello'), { host: '10.0.0.9', port: 80 });
  const packet = (await reply)!;
  assert.deepEqual([packet.length, packet[0]! >> 4], [33, 4]);
  // Sent back with addresses and ports the other way round.
  const back = packet.slice();
  back.copyWithin(12, 16, 20);
  back.set(packet.subarray(12, 16), 16);
  back.set(packet.subarray(22, 24), 20);
  back.set(packet.subarray(20, 22), 22);
  stack.pipe.tx.trySend(back);
  const { data, address, port } = await socket.receive();
  assert.deepEqual([new TextDecoder().decode(data), address, port], ['hello', '10.0.0.9', 80]);
  const shared = await Promise.all([stack.share(), stack.share(), stack.share()]);
  for (const { channel } of shared) {
    const other = Channel.from(channel);
    assert.ok((await other.stats()).udpOut);
    other.close();
  }
});

test('a slot that a thread left with bytes under way is the next one’s alone', { timeout: 30_000 }, async () => {
  const [own, other] = drivenPair();
  const listener = other.netstack.stack.tcpSocket();
  listener.listen({ port: 80 });
  const worker = start('block', [own.commandChannel().share()]);
  assert.equal(await nextMessage(worker), 'blocked');
  // Nobody reads on the other side: what the thread wrote waits in the rings and buffers of the stack.
  await worker.terminate();
  await until(() => own.netstack.socketCount === 0, 'its sockets are closed');
  const next = Channel.from(own.commandChannel().share().channel);
  const socket = await udpBind(next, { port: 53 });
  const receive = socket.receive();
  const accepted = listener.accept()!;
  accepted.recv(new Uint8Array(1 << 16));
  accepted.abort();
  await socket.send(Uint8Array.of(1), { host: OWN, port: 53 });
  assert.deepEqual((await receive).data, Uint8Array.of(1));
  next.close();
  own.close();
  other.close();
  assert.equal(own.netstack.memory.usedBytes, 0);
});

test('without memory for rings, bytes go in commands', { timeout: 30_000 }, async () => {
  const pair = [{ addresses: [`${OWN}/24`], memory: 1 << 19, streamBytes: 1 << 15 }, { addresses: [`${OTHER}/24`] }];
  const [own, other] = pipedPair(pair[0]!, pair[1]!);
  own.run();
  other.run();
  const channel = Channel.from(own.commandChannel().share().channel);
  const listener = await tcpListen(other, { port: 80 });
  const opened: { rings?: unknown; handle: number }[] = [];
  while (opened.at(-1) === undefined || opened.at(-1)!.rings !== undefined) {
    assert.ok(opened.length < 100, 'there is memory without end');
    opened.push(await channel.request({ kind: 'tcp-connect', host: OTHER, port: 80 }));
    await listener.accept();
  }
  const stream = await tcpConnect(channel, { host: OTHER, port: 80 });
  const peer = await listener.accept();
  const data = new Uint8Array(50_000).map((_, i) => i * 3);
  const [got] = await Promise.all([readAll(peer), stream.write(data).then(() => stream.end())]);
  assert.deepEqual(got, data);
  await peer.write(data);
  await peer.close();
  assert.deepEqual(await readAll(stream), data);
  await stream.close();
  channel.close();
  own.close();
  other.close();
  assert.equal(own.netstack.memory.usedBytes, 0);
});
