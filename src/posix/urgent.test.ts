/** Urgent data between two descriptors; what Linux does with packets stands in test/drill/urgent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf, codeOf, PosixPair, textOf } from '../../test/posix.ts';
import { LINUX as L } from './index.ts';

/** What a call put into a buffer of `room`. */
function text(room: number, call: (buffer: Uint8Array) => number): string | number {
  const buffer = new Uint8Array(room);
  const count = codeOf(() => call(buffer));
  return typeof count === 'number' ? textOf(buffer.subarray(0, count)) : String(count);
}

test('posix: MSG_OOB: the last byte goes beside the stream, and the mark stands where it was', () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const { fd: to, peer: from } = pair.connected();
  assert.equal(client.send(to, bytesOf('abc!'), L.MSG_OOB), 4);
  assert.equal(client.write(to, bytesOf('def')), 3);
  pair.settle();
  assert.equal(server.sockatmark(from), 0);
  assert.equal(server.ioctl(from, L.FIONREAD), 3);
  assert.equal(
    text(9, (b) => server.read(from, b)),
    'abc',
  );
  assert.equal(server.sockatmark(from), 1);
  assert.equal(
    text(9, (b) => server.recv(from, b, L.MSG_OOB)),
    '!',
  );
  assert.equal(
    text(9, (b) => server.recv(from, b, L.MSG_OOB)),
    'EINVAL',
  );
  assert.equal(
    text(9, (b) => server.read(from, b)),
    'def',
  );
  assert.equal(server.sockatmark(from), 0);
  pair.close();
});

test('posix: SO_OOBINLINE may change while bytes wait', () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const { fd: to, peer: from } = pair.connected();
  client.send(to, bytesOf('ab!'), L.MSG_OOB);
  client.write(to, bytesOf('cd'));
  pair.settle();
  server.setsockopt(from, L.SOL_SOCKET, L.SO_OOBINLINE, 1);
  assert.equal(
    text(1, (b) => server.recv(from, b, L.MSG_OOB)),
    'EINVAL',
  );
  assert.equal(
    text(9, (b) => server.read(from, b)),
    'ab',
  );
  assert.equal(
    text(9, (b) => server.read(from, b)),
    '!cd',
  );
  pair.close();
});

test('posix: a descriptor that is waited for with POLLPRI, blocking and by epoll', async () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const { fd: to, peer: from } = pair.connected();
  const set = server.epollCreate();
  server.epollCtl(set, L.EPOLL_CTL_ADD, from, { events: L.EPOLLPRI, data: 7 });
  const fds = [{ fd: from, events: L.POLLPRI, revents: 0 }];
  const polled = server.blocking.poll(fds, 1000);
  const told = server.blocking.epollWait(set, 1, 1000);
  client.send(to, bytesOf('!'), L.MSG_OOB);
  assert.equal((await pair.wait(polled)).result, 1);
  assert.equal(fds[0]!.revents, L.POLLPRI);
  assert.deepEqual((await pair.wait(told)).result, [{ events: L.EPOLLPRI, data: 7 }]);
  assert.equal(await server.blocking.sockatmark(from), 1);
  assert.equal(
    text(9, (b) => server.recv(from, b, L.MSG_OOB)),
    '!',
  );
  assert.deepEqual(server.epollWait(set, 1), []);
  pair.close();
});

test('posix: sockatmark is of streams only', () => {
  const { client } = new PosixPair();
  const fd = client.socket(L.AF_INET, L.SOCK_DGRAM);
  assert.equal(
    codeOf(() => client.sockatmark(fd)),
    'ENOTTY',
  );
});
