import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { bytesOf, connectedPair, hostPair, inTime, isSettled, readAll, SERVER, text } from '../../test/hosts.ts';
import { createHost } from '../index.ts';
import { pipePair } from '../phy/index.ts';
import { VirtualClock } from '../sim/clock.ts';

test('host: the example of the design, as it stands there', async () => {
  const [left, right] = pipePair({ medium: 'ip', mtu: 1500 });
  const server = createHost({ device: left, addresses: ['10.0.0.1/24', 'fd00::1/64'] });
  const client = createHost({ device: right, addresses: ['10.0.0.2/24', 'fd00::2/64'] });

  const listener = await server.tcp.listen({ port: 80 });
  const stream = await client.tcp.connect({ host: '10.0.0.1', port: 80 });
  const peer = await listener.accept();
  await stream.write(new Uint8Array([1, 2, 3]));
  const chunk = await peer.read();
  assert.deepEqual(chunk, Uint8Array.of(1, 2, 3));
  await stream.write(new Uint8Array([4, 5]));
  const buffer = new Uint8Array(16);
  const count = await peer.readInto(buffer);
  assert.deepEqual([count, buffer[0], buffer[1]], [2, 4, 5]);
  await stream.end();
  assert.equal(await peer.read(), null);
  assert.equal(await peer.readInto(buffer), 0);
  assert.ok(stream.readable instanceof ReadableStream && stream.writable instanceof WritableStream);

  const udp = await client.udp.bind({ port: 0 });
  const echo = await server.udp.bind({ port: 53 });
  await udp.send(Uint8Array.of(7), { host: '10.0.0.1', port: 53 });
  const query = await echo.receive();
  assert.deepEqual([query.data, query.address, query.port], [Uint8Array.of(7), '10.0.0.2', udp.port]);
  await echo.send(query.data, { host: query.address, port: query.port });
  const { data, address, port } = await udp.receive();
  assert.deepEqual([data, address, port], [Uint8Array.of(7), '10.0.0.1', 53]);
  const { timeMs, size } = await client.ping('10.0.0.1');
  assert.ok(timeMs >= 0 && size === 56);
  await server.close();
  await client.close();
  assert.equal(client.memory.usedBytes, 0);
});

for (const [name, pipe, host] of [
  ['IPv6', {}, 'fd00::1'],
  ['Ethernet', { medium: 'ethernet' }, SERVER],
  ['super-segments', { offload: true }, SERVER],
  ['the smallest MTU', { mtu: 68 }, SERVER],
] as const) {
  test(`host: 200 KB each way at once: ${name}`, async () => {
    const { server, client, close } = hostPair({ pipe });
    const listener = await server.tcp.listen({ port: 80 });
    const stream = await client.tcp.connect({ host, port: 80 });
    const peer = await listener.accept();
    const data = new Uint8Array(200_000).map((_, i) => i * 7 + (i >> 8));
    const [back] = await Promise.all([
      readAll(stream),
      readAll(peer).then(async (all) => {
        await peer.write(all);
        await peer.end();
      }),
      stream.write(data).then(() => stream.end()),
    ]);
    assert.deepEqual(back, data);
    await close();
  });
}

test('host: addresses and state of a stream', async () => {
  const { stream, peer, listener, close } = await connectedPair();
  assert.deepEqual([stream.remoteAddress, stream.remotePort, stream.remoteFamily], [SERVER, 80, 'IPv4']);
  assert.deepEqual([peer.remoteAddress, peer.remotePort], [stream.localAddress, stream.localPort]);
  assert.deepEqual([listener.address, listener.port, stream.state], ['::', 80, 'ESTABLISHED']);
  await stream.end();
  assert.match(stream.state, /^FIN-WAIT-/);
  await close();
});

test('host: connect: errors have code, syscall, address, port, and a message in one line', async () => {
  const { client, close } = hostPair();
  await assert.rejects(client.tcp.connect({ host: SERVER, port: 81 }), {
    name: 'NetError',
    code: 'ECONNREFUSED',
    errno: -111,
    syscall: 'connect',
    address: SERVER,
    port: 81,
    message: 'connect ECONNREFUSED 10.0.0.1:81',
  });
  await assert.rejects(client.tcp.connect({ host: 'fd00::1', port: 81 }), {
    message: 'connect ECONNREFUSED [fd00::1]:81',
  });
  await assert.rejects(client.tcp.connect({ host: '192.168.7.7', port: 1 }), { code: 'ENETUNREACH' });
  await assert.rejects(client.tcp.connect({ host: 'no such host', port: 1 }), {
    code: 'ENOTFOUND',
    address: 'no such host',
  });
  await assert.rejects(client.tcp.connect({ host: SERVER, port: 0 }), RangeError);
  await assert.rejects(client.tcp.connect({ host: SERVER, port: 70_000 }), RangeError);
  await close();
});

test('host: listen and bind: errors', async () => {
  const { server, close } = hostPair();
  await server.tcp.listen({ port: 80 });
  await assert.rejects(server.tcp.listen({ port: 80 }), { code: 'EADDRINUSE', syscall: 'listen', port: 80 });
  await assert.rejects(server.tcp.listen({ port: 81, host: '10.0.0.77' }), { code: 'EADDRNOTAVAIL' });
  await assert.rejects(server.tcp.listen({ port: -1 }), RangeError);
  await server.udp.bind({ port: 53 });
  await assert.rejects(server.udp.bind({ port: 53 }), { code: 'EADDRINUSE', syscall: 'bind' });
  const any = await server.tcp.listen({ port: 0 });
  assert.ok(any.port > 0);
  await close();
});

test('host: connect: a signal cancels, and leaves nothing behind', async () => {
  const clock = new VirtualClock();
  const { client, server } = hostPair({ clock, faults: { drop: 1 } });
  const controller = new AbortController();
  const connecting = client.tcp.connect({ host: SERVER, port: 80, signal: controller.signal });
  assert.equal(await isSettled(connecting), false);
  controller.abort(new Error('enough'));
  await assert.rejects(connecting, { message: 'enough' });
  assert.equal(client.stack.tcp.connections.count, 0);
  await assert.rejects(client.tcp.connect({ host: SERVER, port: 80, signal: controller.signal }), {
    message: 'enough',
  });
  await inTime(clock, Promise.all([client.close(), server.close()]));
});

test('host: connect: the timeout fails with ETIMEDOUT at its time; without one the SYNs decide', async () => {
  const clock = new VirtualClock();
  const { client, server } = hostPair({ clock, faults: { drop: 1 } });
  await assert.rejects(inTime(clock, client.tcp.connect({ host: SERVER, port: 80, timeout: 1500 })), {
    code: 'ETIMEDOUT',
    syscall: 'connect',
    address: SERVER,
    port: 80,
  });
  assert.equal(clock.now(), 1500);
  assert.equal(client.stack.tcp.connections.count, 0);
  await assert.rejects(inTime(clock, client.tcp.connect({ host: SERVER, port: 80 })), { code: 'ETIMEDOUT' });
  assert.ok(clock.now() > 180_000);
  await inTime(clock, Promise.all([client.close(), server.close()]));
});

test('host: accept: first come first served, cancelled by a signal, and a backlog that waits', async () => {
  const { server, client, close } = hostPair();
  const listener = await server.tcp.listen({ port: 80 });
  const controller = new AbortController();
  const cancelled = listener.accept({ signal: controller.signal });
  const first = listener.accept();
  const second = listener.accept();
  controller.abort();
  await assert.rejects(cancelled, { name: 'AbortError' });
  const a = await client.tcp.connect({ host: SERVER, port: 80 });
  const b = await client.tcp.connect({ host: SERVER, port: 80 });
  assert.equal((await first).remotePort, a.localPort);
  assert.equal((await second).remotePort, b.localPort);
  const early = await client.tcp.connect({ host: SERVER, port: 80 });
  assert.equal((await listener.accept()).remotePort, early.localPort);
  await close();
});

test('host: a listener as a loop, ended by its close', async () => {
  const { server, client, close } = hostPair();
  const listener = await server.tcp.listen({ port: 80 });
  const ports: number[] = [];
  const serving = (async () => {
    for await (const stream of listener) {
      ports.push(stream.remotePort);
      if (ports.length === 3) await listener.close();
    }
  })();
  const streams = await Promise.all([1, 2, 3].map(() => client.tcp.connect({ host: SERVER, port: 80 })));
  await serving;
  assert.deepEqual(ports.sort(), streams.map((s) => s.localPort).sort());
  await assert.rejects(client.tcp.connect({ host: SERVER, port: 80 }), { code: 'ECONNREFUSED' });
  await assert.rejects(listener.accept(), { code: 'ECANCELED', syscall: 'accept' });
  await close();
});

test('host: close rejects everything that waits, and nothing is left', async () => {
  const { server, client, close, listener, stream, peer } = await connectedPair({
    tcp: { sendBufferBytes: 4096, receiveBufferBytes: 4096 },
  });
  const udp = await client.udp.bind();
  const waiting = {
    accept: listener.accept(),
    read: peer.read(),
    readInto: stream.readInto(new Uint8Array(1)),
    write: stream.write(new Uint8Array(100_000)),
    receive: udp.receive(),
    connect: client.tcp.connect({ host: '10.0.0.99', port: 1 }),
    ping: client.ping('10.0.0.99'),
  };
  const outcomes = Promise.allSettled(Object.values(waiting));
  await client.close();
  await server.close();
  const names = Object.keys(waiting);
  (await outcomes).forEach((outcome, i) => {
    // The server's read may get bytes of the write before the reset.
    if (names[i] === 'read' && outcome.status === 'fulfilled') return;
    assert.equal(outcome.status, 'rejected', `${names[i]} still waits or succeeded`);
    assert.equal(typeof outcome.reason.code, 'string', `${names[i]}: ${outcome.reason}`);
  });
  await client.close();
  await close();
});

test('host: close lets what was written and closed arrive', async () => {
  const { client, server, stream, peer } = await connectedPair();
  const reading = readAll(peer);
  await stream.write(new Uint8Array(300_000));
  await stream.close();
  await client.close();
  assert.equal((await reading).length, 300_000);
  await server.close();
  assert.equal(client.memory.usedBytes, 0);
});

test('host: await using closes hosts, listeners, streams and sockets', async () => {
  let memory: { usedBytes: number };
  {
    const { server: s, client: c } = hostPair();
    await using server = s;
    await using client = c;
    await using listener = await server.tcp.listen({ port: 80 });
    await using stream = await client.tcp.connect({ host: SERVER, port: 80 });
    await using peer = await listener.accept();
    await using udp = await client.udp.bind();
    await stream.write(bytesOf('hi'));
    assert.equal(text(await peer.read()), 'hi');
    void udp;
    memory = client.memory;
  }
  assert.equal(memory.usedBytes, 0);
});

test('host: a host without a device talks to itself', async () => {
  const host = createHost();
  const listener = await host.tcp.listen({ port: 80 });
  const stream = await host.tcp.connect({ host: 'localhost', port: 80 });
  const peer = await listener.accept();
  await stream.write(bytesOf('me'));
  assert.equal(text(await peer.read()), 'me');
  assert.ok((await host.ping('127.0.0.1')).timeMs >= 0);
  await host.close();
  assert.equal(host.memory.usedBytes, 0);
});

test('host: ping: sizes, a timeout, a signal, and an address that is none', async () => {
  const clock = new VirtualClock();
  const { client, server } = hostPair({ clock, faults: { delayMs: 10 } });
  for (const size of [0, 1, 56, 1472, 1473, 60_000, 65_507]) {
    const reply = await inTime(clock, client.ping(SERVER, { size }));
    assert.deepEqual([reply.address, reply.size, reply.sequence, reply.ttl, reply.timeMs], [SERVER, size, 1, 64, 20]);
  }
  await assert.rejects(inTime(clock, client.ping(SERVER, { size: 65_508 })), { code: 'EMSGSIZE' });
  await assert.rejects(inTime(clock, client.ping('10.0.0.99', { timeout: 300 })), {
    code: 'ETIMEDOUT',
    syscall: 'ping',
    address: '10.0.0.99',
  });
  const controller = new AbortController();
  const cancelled = client.ping('10.0.0.99', { signal: controller.signal });
  controller.abort();
  await assert.rejects(cancelled, { name: 'AbortError' });
  await inTime(clock, Promise.all([client.close(), server.close()]));
  assert.equal(client.memory.usedBytes, 0);
});

test('host: nothing keeps the process alive but who waits', async () => {
  const script = (body: string): string => `
    import { createHost } from '${new URL('../index.js', import.meta.url)}';
    const host = createHost();
    const listener = await host.tcp.listen({ port: 80 });
    const stream = await host.tcp.connect({ host: '127.0.0.1', port: 80 });
    const peer = await listener.accept();
    ${body}`;
  const run = async (body: string): Promise<string> => {
    const args = ['--input-type=module', '-e', script(body)];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 10_000 });
    return stdout.trim();
  };
  assert.equal(await run('console.log("idle")'), 'idle', 'an open connection that nobody waits for');
  assert.equal(await run('await host.close(); console.log("closed")'), 'closed');
  // A read that waits holds the process until a timer of the machine's own writes.
  const held = 'setTimeout(() => stream.write(new Uint8Array(1)), 50).unref(); await peer.read(); console.log("held")';
  assert.equal(await run(held), 'held');
});

test('host: a closed host refuses every call, and keeps no memory', async () => {
  const { client, server } = hostPair();
  await client.close();
  await server.close();
  const refused = { code: 'ECANCELED' };
  await assert.rejects(client.tcp.listen({ port: 80 }), refused);
  await assert.rejects(client.tcp.connect({ host: SERVER, port: 80 }), refused);
  await assert.rejects(client.udp.bind(), refused);
  await assert.rejects(client.udp.connect({ host: SERVER, port: 80 }), refused);
  await assert.rejects(client.ping(SERVER), refused);
  assert.equal(client.memory.usedBytes, 0);
});

test('host: udp.connect that fails gives its port back', async () => {
  const { client, close } = hostPair();
  const options = { host: '11.0.0.1', port: 53, localPort: 4000 };
  await assert.rejects(client.udp.connect(options), { code: 'ENETUNREACH' });
  await assert.rejects(client.udp.connect(options), { code: 'ENETUNREACH' });
  await close();
});

test('host: arguments that are none', async () => {
  const { client, close } = hostPair();
  await assert.rejects(client.ping('11.0.0.1'), { code: 'ENETUNREACH' });
  await assert.rejects(client.tcp.connect({ host: 5 as never, port: 80 }), { name: 'TypeError', message: /^host: / });
  await assert.rejects(client.tcp.connect({ host: '10.0.0.2', port: 70_000 }), RangeError);
  await assert.rejects(client.tcp.listen({ port: 70_000 }), RangeError);
  for (const options of [{ size: -5 }, { size: 1.5 }, { sequence: 70_000 }, { sequence: -1 }]) {
    await assert.rejects(client.ping(SERVER, options), RangeError);
  }
  assert.throws(() => createHost({ addresses: ['10.0.0.1/24'] }), { name: 'TypeError', message: /a device/ });
  await close();
});
