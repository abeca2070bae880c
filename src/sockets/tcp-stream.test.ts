import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf, connectedPair, hostPair, inTime, isSettled, readAll, SERVER, text } from '../../test/hosts.ts';
import { VirtualClock } from '../sim/clock.ts';

const SMALL = { sendBufferBytes: 8192, receiveBufferBytes: 8192 };

test('stream: back-pressure: a write pends until the peer reads, and memory stays bounded', async () => {
  const { stream, peer, client, close } = await connectedPair({ tcp: SMALL });
  const total = 1_000_000;
  const writing = stream.write(new Uint8Array(total));
  assert.equal(await isSettled(writing), false);
  let read = 0;
  let peak = 0;
  const buffer = new Uint8Array(5000);
  while (read < total) {
    peak = Math.max(peak, client.memory.usedBytes);
    read += await peer.readInto(buffer);
  }
  await writing;
  assert.ok(peak < 200_000, `${peak} bytes in use`);
  await close();
});

test('stream: back-pressure the other way: a peer that does not read fills its window and no more', async () => {
  const { stream, peer, close } = await connectedPair({ tcp: SMALL });
  let written = 0;
  const writing = (async () => {
    for (; written < 100; written++) await peer.write(new Uint8Array(1000));
  })();
  await isSettled(writing);
  assert.ok(written >= 14 && written <= 20, `${written} writes`);
  let read = 0;
  while (read < 100_000) read += (await stream.read())!.length;
  await writing;
  await close();
});

test('stream: writes keep their order, whoever waits', async () => {
  const { stream, peer, close } = await connectedPair({ tcp: SMALL });
  const writes = Array.from({ length: 50 }, (_, i) => stream.write(new Uint8Array(1000).fill(i)));
  const ended = stream.end();
  const all = await readAll(peer);
  await Promise.all([...writes, ended]);
  assert.deepEqual(
    all,
    new Uint8Array(50_000).map((_, i) => Math.floor(i / 1000)),
  );
  await close();
});

test('stream: reads at the same time are served first come first served', async () => {
  const { stream, peer, close } = await connectedPair();
  const buffer = new Uint8Array(2);
  const reads = [peer.read(), peer.readInto(buffer), peer.read()];
  await stream.write(bytesOf('ab'));
  assert.equal(text((await reads[0]) as Uint8Array), 'ab');
  await stream.write(bytesOf('cdef'));
  assert.equal(await reads[1], 2);
  assert.equal(text(buffer), 'cd');
  assert.equal(text((await reads[2]) as Uint8Array), 'ef');
  await close();
});

test('stream: a read that is cancelled loses nothing', async () => {
  const { stream, peer, close } = await connectedPair();
  const controller = new AbortController();
  const cancelled = peer.read({ signal: controller.signal });
  const next = peer.read();
  controller.abort();
  await assert.rejects(cancelled, { name: 'AbortError' });
  await stream.write(bytesOf('kept'));
  assert.equal(text(await next), 'kept');
  await assert.rejects(peer.read({ signal: AbortSignal.abort() }), { name: 'AbortError' });
  await close();
});

test('stream: half-close both ways', async () => {
  const { stream, peer, close } = await connectedPair();
  await stream.write(bytesOf('question'));
  await stream.end();
  assert.equal(text(await readAll(peer)), 'question');
  await peer.write(bytesOf('answer'));
  assert.equal(text(await stream.read()), 'answer');
  await peer.end();
  assert.equal(await stream.read(), null);
  assert.equal(await stream.read(), null, 'the end stays the end');
  await close();
});

test('stream: EPIPE after end, at once', async () => {
  const { stream, close } = await connectedPair();
  await stream.end();
  await assert.rejects(stream.write(bytesOf('late')), {
    code: 'EPIPE',
    syscall: 'write',
    address: SERVER,
    port: 80,
    message: 'write EPIPE 10.0.0.1:80',
  });
  await close();
});

test('stream: after a reset what had arrived is read first, then ECONNRESET, and writes fail', async () => {
  const { stream, peer, close } = await connectedPair();
  await stream.write(bytesOf('last words'));
  await isSettled(Promise.resolve());
  stream.abort();
  await isSettled(Promise.resolve());
  assert.equal(text(await peer.read()), 'last words');
  await assert.rejects(peer.read(), { code: 'ECONNRESET', syscall: 'read' });
  await assert.rejects(peer.write(bytesOf('x')), { code: 'ECONNRESET', syscall: 'write' });
  await close();
});

test('stream: a reset rejects reads and writes that wait', async () => {
  const { stream, peer, close } = await connectedPair({ tcp: SMALL });
  const reading = stream.read();
  const writing = stream.write(new Uint8Array(100_000));
  await isSettled(reading);
  peer.abort();
  await assert.rejects(reading, { code: 'ECONNRESET' });
  await assert.rejects(writing, { code: 'ECONNRESET' });
  await close();
});

test('stream: abort and close reject the reads that wait on this side', async () => {
  const first = await connectedPair();
  const aborted = first.stream.read();
  first.stream.abort();
  await assert.rejects(aborted, { code: 'ECANCELED', syscall: 'read' });
  await assert.rejects(first.stream.read(), { code: 'ECANCELED' });
  await first.close();
  const second = await connectedPair();
  const closed = second.stream.read();
  await second.stream.close();
  await assert.rejects(closed, { code: 'ECANCELED' });
  await second.stream.close();
  second.stream.abort();
  assert.equal(await second.peer.read(), null, 'the peer sees an end, not a reset');
  await second.close();
});

test('stream: closed with bytes unread the peer is reset: RFC 2525 §2.17', async () => {
  const { stream, peer, close } = await connectedPair();
  await stream.write(bytesOf('never read'));
  await isSettled(Promise.resolve());
  await peer.close();
  await assert.rejects(stream.read(), { code: 'ECONNRESET' });
  await close();
});

test('stream: as a loop; leaving it early closes', async () => {
  const { stream, peer, close } = await connectedPair();
  await stream.write(bytesOf('abc'));
  await stream.end();
  let all = '';
  for await (const chunk of peer) all += text(chunk);
  assert.equal(all, 'abc');
  await close();
  const early = await connectedPair();
  await early.stream.write(bytesOf('abc'));
  for await (const chunk of early.peer) {
    assert.equal(text(chunk), 'abc');
    break;
  }
  assert.equal(await early.stream.read(), null);
  await early.close();
});

test('stream: wrong arguments are TypeError and RangeError', async () => {
  const { stream, close } = await connectedPair();
  await assert.rejects(stream.write('text' as never), {
    name: 'TypeError',
    message: 'write: expected a Uint8Array, got string',
  });
  await assert.rejects(stream.readInto(null as never), TypeError);
  await assert.rejects(stream.readInto(new Uint8Array(0)), RangeError);
  await stream.write(new Uint8Array(0));
  await close();
});

test('WHATWG: pipeTo both ways moves every byte', async () => {
  const { stream, peer, close } = await connectedPair();
  const data = new Uint8Array(500_000).map((_, i) => i * 3);
  const source = new ReadableStream({
    start(controller) {
      for (let i = 0; i < data.length; i += 10_000) controller.enqueue(data.slice(i, i + 10_000));
      controller.close();
    },
  });
  const received: Uint8Array[] = [];
  const sink = new WritableStream<Uint8Array>({ write: (chunk) => void received.push(chunk) });
  // An echo server in one line, which ends when its peer does.
  await Promise.all([
    source.pipeTo(stream.writable),
    peer.readable.pipeTo(peer.writable),
    stream.readable.pipeTo(sink),
  ]);
  assert.deepEqual(new Uint8Array(Buffer.concat(received)), data);
  await close();
});

test('WHATWG: a BYOB reader fills the buffer it brings, to the end', async () => {
  const { stream, peer, close } = await connectedPair();
  const reader = peer.readable.getReader({ mode: 'byob' });
  await stream.write(bytesOf('hello'));
  const first = await reader.read(new Uint8Array(3));
  assert.deepEqual([text(first.value!), first.done], ['hel', false]);
  const second = await reader.read(new Uint8Array(10));
  assert.equal(text(second.value!), 'lo');
  await stream.end();
  assert.equal((await reader.read(new Uint8Array(10))).done, true);
  await close();
});

test('WHATWG: a default reader, cancel, abort and errors', async () => {
  const cancelled = await connectedPair();
  const reader = cancelled.peer.readable.getReader();
  await cancelled.stream.write(bytesOf('one'));
  assert.equal(text((await reader.read()).value!), 'one');
  await reader.cancel();
  assert.equal(await cancelled.stream.read(), null, 'cancel closes');
  await cancelled.close();
  const aborted = await connectedPair();
  await aborted.stream.writable.abort();
  await assert.rejects(aborted.peer.read(), { code: 'ECONNRESET' });
  await aborted.close();
  const reset = await connectedPair();
  const reading = reset.peer.readable.getReader().read();
  reset.stream.abort();
  await assert.rejects(reading, { code: 'ECONNRESET' });
  await reset.close();
});

test('WHATWG: writable waits for room', async () => {
  const { stream, peer, close } = await connectedPair({ tcp: SMALL });
  const writer = stream.writable.getWriter();
  const writing = writer.write(new Uint8Array(100_000));
  assert.equal(await isSettled(writing), false);
  let read = 0;
  while (read < 100_000) read += (await peer.read())!.length;
  await writing;
  await writer.close();
  assert.equal(await peer.read(), null);
  await close();
});

test('stream: a bad wire in virtual time: every byte arrives, and the hour takes no time', async () => {
  const clock = new VirtualClock();
  const faults = { seed: 3, drop: 0.1, delayMs: 50, duplicate: 0.05, reorder: 0.1 };
  const { server, client } = hostPair({ clock, faults, tcp: { synRetriesMax: 20 } });
  const work = async (): Promise<void> => {
    const listener = await server.tcp.listen({ port: 80 });
    const stream = await client.tcp.connect({ host: SERVER, port: 80 });
    const peer = await listener.accept();
    const data = new Uint8Array(300_000).map((_, i) => i * 5);
    const [all] = await Promise.all([readAll(peer), stream.write(data).then(() => stream.end())]);
    assert.deepEqual(all, data);
    await Promise.all([client.close(), server.close()]);
  };
  await inTime(clock, work());
  assert.ok(clock.now() > 1000);
  assert.equal(client.memory.usedBytes, 0);
});

test('stream: noDelay and keepAlive reach the connection', async () => {
  const clock = new VirtualClock();
  const { server, client } = hostPair({ clock });
  const listener = await server.tcp.listen({ port: 80 });
  const stream = await inTime(
    clock,
    client.tcp.connect({ host: SERVER, port: 80, noDelay: true, keepAliveMs: 5000, localPort: 7777 }),
  );
  const peer = await inTime(clock, listener.accept());
  assert.equal(stream.localPort, 7777);
  const { settings } = stream.socket.connection!;
  assert.deepEqual([settings.noDelay, settings.keepAliveMs], [true, 5000]);
  const before = server.stats.tcpSegmentsIn;
  await clock.run({ settle: () => new Promise((resolve) => setImmediate(resolve)), maxMs: 5500 });
  assert.ok(server.stats.tcpSegmentsIn > before, 'a probe came');
  void peer;
  await inTime(clock, Promise.all([client.close(), server.close()]));
});
