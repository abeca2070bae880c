/** The blocking twins under virtual time: when each returns, with what, and how long it took. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { at, bytesOf, codeOf, NOBODY, PORT, PosixPair, SERVER, textOf } from '../../test/posix.ts';
import { LINUX as L, type Posix } from './index.ts';

const blockingStream = (posix: Posix): number => posix.socket(L.AF_INET, L.SOCK_STREAM, 0);

/** A connection whose two descriptors block. */
function connected(pair: PosixPair): { fd: number; peer: number } {
  const ends = pair.connected();
  pair.client.fcntl(ends.fd, L.F_SETFL, 0);
  pair.server.fcntl(ends.peer, L.F_SETFL, 0);
  return ends;
}

test('posix: connect, accept, write and read wait for each other', async () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const listener = blockingStream(server);
  server.bind(listener, at('0.0.0.0', PORT));
  server.listen(listener, 5);
  const accepting = server.blocking.accept(listener);
  assert.equal(await pair.hasSettled(accepting), false);
  const fd = blockingStream(client);
  assert.equal((await pair.wait(client.blocking.connect(fd, at(SERVER, PORT)))).result, 0);
  const { fd: peer, address } = await accepting;
  assert.deepEqual(address, client.getsockname(fd));
  const buffer = new Uint8Array(100);
  const reading = server.blocking.read(peer, buffer);
  assert.equal(await pair.hasSettled(reading), false);
  await client.blocking.write(fd, bytesOf('hello'));
  assert.equal((await pair.wait(reading)).result, 5);
  assert.equal(textOf(buffer, 5), 'hello');
  const end = server.blocking.read(peer, buffer);
  client.shutdown(fd, L.SHUT_WR);
  assert.equal((await pair.wait(end)).result, 0);
  pair.close();
});

test('posix: a blocking connect: refused, timed out, SO_SNDTIMEO', async () => {
  const pair = new PosixPair({ tcp: { synRetriesMax: 2 } });
  const { client } = pair;
  const fd = blockingStream(client);
  assert.equal((await pair.wait(client.blocking.connect(fd, at(SERVER, 9)))).result, 'ECONNREFUSED');
  assert.deepEqual(await pair.wait(client.blocking.connect(fd, at(NOBODY, PORT))), { result: 'ETIMEDOUT', ms: 7000 });
  client.setsockopt(fd, L.SOL_SOCKET, L.SO_SNDTIMEO, { sec: 0, usec: 500_000 });
  assert.deepEqual(await pair.wait(client.blocking.connect(fd, at(NOBODY, PORT))), { result: 'EINPROGRESS', ms: 500 });
  assert.deepEqual(await pair.wait(client.blocking.connect(fd, at(NOBODY, PORT))), { result: 'EALREADY', ms: 500 });
  pair.close();
});

test('posix: O_NONBLOCK and MSG_DONTWAIT: the twin does not wait', async () => {
  const pair = new PosixPair();
  const { client } = pair;
  const { fd } = pair.connected();
  const buffer = new Uint8Array(8);
  assert.deepEqual(await pair.wait(client.blocking.read(fd, buffer)), { result: 'EAGAIN', ms: 0 });
  client.ioctl(fd, L.FIONBIO, 0);
  assert.deepEqual(await pair.wait(client.blocking.recv(fd, buffer, L.MSG_DONTWAIT)), { result: 'EAGAIN', ms: 0 });
  const other = pair.stream();
  assert.equal((await pair.wait(client.blocking.connect(other, at(NOBODY, PORT)))).result, 'EINPROGRESS');
  pair.close();
});

test('posix: SO_RCVTIMEO ends read, recvfrom and accept with EAGAIN', async () => {
  const pair = new PosixPair();
  const { client } = pair;
  const { fd } = connected(pair);
  const udp = client.socket(L.AF_INET, L.SOCK_DGRAM, 0);
  const listener = blockingStream(client);
  client.listen(listener, 1);
  for (const each of [fd, udp, listener]) {
    client.setsockopt(each, L.SOL_SOCKET, L.SO_RCVTIMEO, { sec: 2, usec: 500_000 });
  }
  const calls: Promise<unknown>[] = [
    client.blocking.read(fd, new Uint8Array(1)),
    client.blocking.recvfrom(udp, new Uint8Array(1)),
  ];
  for (const call of calls) call.catch(() => {});
  for (const call of calls) assert.equal((await pair.wait(call)).result, 'EAGAIN');
  assert.equal(pair.now, 3500);
  assert.deepEqual(await pair.wait(client.blocking.accept(listener)), { result: 'EAGAIN', ms: 2500 });
  pair.close();
});

test('posix: MSG_WAITALL and SO_RCVLOWAT wait for their bytes, and give what there is at the end', async () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const { fd, peer } = connected(pair);
  const buffer = new Uint8Array(6);
  const all = client.blocking.recv(fd, buffer, L.MSG_WAITALL);
  server.write(peer, bytesOf('abc'));
  assert.equal(await pair.hasSettled(all), false);
  server.write(peer, bytesOf('defg'));
  assert.equal((await pair.wait(all)).result, 6);
  assert.equal(textOf(buffer), 'abcdef');
  client.setsockopt(fd, L.SOL_SOCKET, L.SO_RCVLOWAT, 3);
  const low = client.blocking.read(fd, buffer);
  assert.equal(await pair.hasSettled(low), false);
  client.setsockopt(fd, L.SOL_SOCKET, L.SO_RCVLOWAT, 1); // what has been taken is enough now
  assert.deepEqual(await pair.wait(low), { result: 1, ms: 0 });
  const last = client.blocking.recv(fd, buffer, L.MSG_WAITALL);
  server.write(peer, bytesOf('xy'));
  server.shutdown(peer, L.SHUT_WR);
  assert.equal((await pair.wait(last)).result, 2);
  pair.close();
});

test('posix: a blocking write takes all, in the time of its reader; SO_SNDTIMEO gives what was taken', async () => {
  const pair = new PosixPair({ tcp: { sendBufferBytes: 1 << 14, receiveBufferBytes: 1 << 14 } });
  const { client, server } = pair;
  const { fd, peer } = connected(pair);
  const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => i & 0xff);
  const writing = client.blocking.write(fd, bytes);
  assert.equal(await pair.hasSettled(writing), false);
  const target = new Uint8Array(bytes.length);
  for (let count = 0; count < target.length; ) {
    const { result } = await pair.wait(server.blocking.read(peer, target.subarray(count)));
    count += result as number;
  }
  assert.equal((await pair.wait(writing)).result, bytes.length);
  assert.deepEqual(target, bytes);
  client.setsockopt(fd, L.SOL_SOCKET, L.SO_SNDTIMEO, { sec: 1, usec: 0 });
  const { result, ms } = await pair.wait(client.blocking.write(fd, bytes));
  assert.ok(typeof result === 'number' && result > 0 && result < bytes.length, `took ${result}`);
  assert.equal(ms, 1000);
  // Window probes let some more go; then there is no room at all.
  let last = await pair.wait(client.blocking.write(fd, bytes));
  for (let i = 0; i < 5 && last.result !== 'EAGAIN'; i++) last = await pair.wait(client.blocking.write(fd, bytes));
  assert.deepEqual(last, { result: 'EAGAIN', ms: 1000 });
  assert.equal(
    codeOf(() => client.write(fd, bytes)),
    'EAGAIN',
  );
  pair.close();
});

test('posix: calls that wait fail with what ends the connection', async () => {
  const pair = new PosixPair({ tcp: { sendBufferBytes: 1 << 12, receiveBufferBytes: 1 << 12 } });
  const { client } = pair;
  const { fd, peer } = connected(pair);
  const reading = client.blocking.read(fd, new Uint8Array(1));
  const { fd: other, peer: far } = connected(pair);
  const writing = client.blocking.write(other, new Uint8Array(50_000));
  assert.equal(await pair.hasSettled(writing), false);
  pair.reset(peer);
  pair.reset(far);
  assert.equal((await pair.wait(reading)).result, 'ECONNRESET');
  const { result: taken } = await pair.wait(writing);
  assert.ok(typeof taken === 'number' && taken > 0, 'what was taken before the reset counts');
  assert.equal((await pair.wait(client.blocking.write(other, new Uint8Array(1)))).result, 'ECONNRESET');
  assert.equal((await pair.wait(client.blocking.write(other, new Uint8Array(1)))).result, 'EPIPE');
  pair.close();
});

test('posix: shutdown and close end calls that wait', async () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const listener = blockingStream(server);
  server.listen(listener, 1);
  const accepting = server.blocking.accept(listener);
  accepting.catch(() => {});
  server.shutdown(listener, L.SHUT_RD);
  assert.equal((await pair.wait(accepting)).result, 'EINVAL');
  const { fd } = connected(pair);
  const reading = client.blocking.read(fd, new Uint8Array(1));
  client.shutdown(fd, L.SHUT_RD);
  assert.equal((await pair.wait(reading)).result, 0);
  const udp = client.socket(L.AF_INET, L.SOCK_DGRAM, 0);
  client.connect(udp, at(SERVER, 7));
  const receiving = client.blocking.recv(udp, new Uint8Array(1));
  client.shutdown(udp, L.SHUT_RD);
  assert.equal((await pair.wait(receiving)).result, 0);
  const other = connected(pair);
  const orphan = client.blocking.read(other.fd, new Uint8Array(1));
  orphan.catch(() => {});
  client.close(other.fd);
  assert.equal((await pair.wait(orphan)).result, 'EBADF');
  pair.close();
});

test('posix: shutdown of a connect under way ends it, and two may wait for one', async () => {
  const pair = new PosixPair();
  const { client } = pair;
  const fd = blockingStream(client);
  const connecting = client.blocking.connect(fd, at(NOBODY, PORT));
  connecting.catch(() => {});
  client.shutdown(fd, L.SHUT_RDWR);
  assert.equal((await pair.wait(connecting)).result, 'ECONNRESET');
  pair.listener();
  const both = [client.blocking.connect(fd, at(SERVER, PORT)), client.blocking.connect(fd, at(SERVER, PORT))];
  for (const each of both) assert.equal((await pair.wait(each)).result, 0);
  pair.close();
});

test('posix: a FIN and a RST of one moment: the end is read, and the write fails with EPIPE', () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const { fd, peer } = pair.connected();
  server.shutdown(peer, L.SHUT_WR);
  server.stack.poll(pair.now);
  server.setsockopt(peer, L.SOL_SOCKET, L.SO_LINGER, { onoff: 1, linger: 0 });
  server.close(peer);
  pair.settle();
  assert.equal(client.read(fd, new Uint8Array(1)), 0);
  assert.equal(
    codeOf(() => client.write(fd, new Uint8Array(1))),
    'EPIPE',
  );
  assert.equal(client.getsockopt(fd, L.SOL_SOCKET, L.SO_ERROR), 0, 'the write has told it');
  pair.close();
});

test('posix: SO_LINGER: close waits until all is acknowledged, or for its time', async () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const linger = (seconds: number): { fd: number; peer: number } => {
    const ends = pair.connected();
    client.setsockopt(ends.fd, L.SOL_SOCKET, L.SO_LINGER, { onoff: 1, linger: seconds });
    return ends;
  };
  const quick = linger(5);
  client.write(quick.fd, bytesOf('bye'));
  assert.deepEqual(await pair.wait(client.blocking.close(quick.fd)), { result: 0, ms: 0 });
  assert.equal(server.recv(quick.peer, new Uint8Array(8)), 3);
  // Unread bytes: a RST at once, and nothing to wait for.
  const unread = linger(5);
  server.write(unread.peer, bytesOf('x'));
  pair.settle();
  assert.deepEqual(await pair.wait(client.blocking.close(unread.fd)), { result: 0, ms: 0 });
  pair.settle();
  assert.equal(
    codeOf(() => server.read(unread.peer, new Uint8Array(1))),
    'ECONNRESET',
  );
  const dead = linger(3);
  pair.server.stack.interfaces[1]!.device.close(); // the wire is cut: nothing is acknowledged any more
  const closing = client.blocking.close(dead.fd);
  assert.equal(
    codeOf(() => client.getsockname(dead.fd)),
    'EBADF',
    'the descriptor is free at once',
  );
  assert.deepEqual(await pair.wait(closing), { result: 0, ms: 3000 });
});

test('posix: poll waits for the first of its descriptors, and for its time', async () => {
  const pair = new PosixPair({ tcp: { sendBufferBytes: 1 << 12, receiveBufferBytes: 1 << 12 } });
  const { client, server } = pair;
  const first = connected(pair);
  const second = connected(pair);
  const fds = [first.fd, second.fd, -1].map((fd) => ({ fd, events: L.POLLIN, revents: 99 }));
  const polling = client.blocking.poll(fds, 10_000);
  assert.equal(await pair.hasSettled(polling), false);
  server.write(second.peer, bytesOf('x'));
  assert.deepEqual(await pair.wait(polling), { result: 1, ms: 0 });
  assert.deepEqual(
    fds.map(({ revents }) => revents),
    [0, L.POLLIN, 0],
  );
  client.read(second.fd, new Uint8Array(1));
  assert.deepEqual(await pair.wait(client.blocking.poll(fds, 250)), { result: 0, ms: 250 });
  assert.equal(client.nextAt(), Number.POSITIVE_INFINITY);
  // POLLOUT: after a full buffer has drained.
  for (let taken = 1; taken > 0; pair.settle())
    taken = Number(codeOf(() => client.send(first.fd, new Uint8Array(4096)))) || 0;
  const room = [{ fd: first.fd, events: L.POLLOUT, revents: 0 }];
  assert.equal(client.poll(room), 0);
  const writable = client.blocking.poll(room);
  assert.equal(await pair.hasSettled(writable), false);
  for (let count = 1; count > 0; pair.settle()) {
    count = Number(codeOf(() => server.recv(first.peer, new Uint8Array(4096), L.MSG_DONTWAIT))) || 0;
  }
  assert.equal((await pair.wait(writable)).result, 1);
  assert.equal(room[0]!.revents, L.POLLOUT);
  pair.close();
});

test('posix: a descriptor that is none: POLLNVAL at once', async () => {
  const pair = new PosixPair();
  const entry = { fd: 77, events: L.POLLIN, revents: 0 };
  assert.deepEqual(await pair.wait(pair.client.blocking.poll([entry])), { result: 1, ms: 0 });
  assert.equal(entry.revents, L.POLLNVAL);
});

test('posix: a blocking send of datagrams waits for room on the device', async () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const udp = client.socket(L.AF_INET, L.SOCK_DGRAM, 0);
  const far = server.socket(L.AF_INET, L.SOCK_DGRAM | L.SOCK_NONBLOCK, 0);
  server.bind(far, at(SERVER, 7));
  client.connect(udp, at(SERVER, 7));
  const sends = Array.from({ length: 100 }, (_, i) => client.blocking.send(udp, Uint8Array.of(i)));
  assert.equal(
    codeOf(() => client.send(udp, Uint8Array.of(0))),
    'EAGAIN',
  );
  for (const send of sends) assert.equal((await pair.wait(send)).result, 1);
  const buffer = new Uint8Array(4);
  for (let i = 0; i < 100; i++) {
    assert.equal(server.recv(far, buffer), 1);
    assert.equal(buffer[0], i);
  }
  pair.close();
});
