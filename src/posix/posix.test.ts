/** Descriptors, addresses and ports, messages: what the tables of states and options leave out. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { at, bytesOf, CLIENT, codeOf, PORT, PosixPair, SERVER, textOf, UNSPECIFIED } from '../../test/posix.ts';
import { CONSTANTS, LINUX as L, Posix } from './index.ts';

describe('posix: socket() as Linux answers it', () => {
  const { client } = new PosixPair();
  const rows: [number, number, number, string][] = [
    [L.AF_INET, 1, 17, 'EPROTONOSUPPORT'],
    [L.AF_INET, 1, 6, 'ok'],
    [L.AF_INET, 2, 6, 'EPROTONOSUPPORT'],
    [L.AF_INET, 2, 17, 'ok'],
    [L.AF_INET, 3, 0, 'EPROTONOSUPPORT'],
    [L.AF_INET, 5, 0, 'ESOCKTNOSUPPORT'],
    [L.AF_INET, 77, 0, 'EINVAL'],
    [99, 1, 0, 'EAFNOSUPPORT'],
    [-1, 1, 0, 'EAFNOSUPPORT'],
    [L.AF_INET, 1, 300, 'EINVAL'],
    [L.AF_INET, 1, -1, 'EINVAL'],
    [L.AF_INET, 0, 0, 'ESOCKTNOSUPPORT'],
    [L.AF_INET, 2, 58, 'EPROTONOSUPPORT'],
    [L.AF_INET6, 2, 1, 'EPROTONOSUPPORT'],
    [L.AF_INET6, 1, 0, 'ok'],
    [L.AF_INET, 11, 0, 'EINVAL'],
    [L.AF_INET, 2, 1, 'ok'],
  ];
  for (const [domain, type, protocol, expected] of rows) {
    test(`${domain} ${type} ${protocol}`, () => {
      const result = codeOf(() => client.socket(domain, type, protocol));
      assert.equal(typeof result === 'number' ? 'ok' : result, expected);
    });
  }
});

test('posix: descriptors: the lowest free number, dup shares the description, EBADF after close', () => {
  const pair = new PosixPair();
  const { client } = pair;
  const open = (): number => client.socket(L.AF_INET, L.SOCK_STREAM, 0);
  assert.deepEqual([open(), open(), open()], [3, 4, 5]);
  client.close(4);
  client.close(3);
  assert.deepEqual([open(), open(), open()], [3, 4, 6]);
  const copy = client.dup(5);
  assert.equal(copy, 7);
  assert.equal(client.fcntl(5, L.F_DUPFD, 20), 20);
  assert.equal(open(), 8);
  client.fcntl(copy, L.F_SETFL, L.O_NONBLOCK);
  assert.equal(client.fcntl(5, L.F_GETFL), L.O_RDWR | L.O_NONBLOCK);
  client.close(5);
  client.close(20);
  assert.equal(client.bind(copy, at(CLIENT, 99)), 0, 'the socket lives as long as one descriptor names it');
  client.close(copy);
  const calls: [string, () => unknown][] = [
    ['close', () => client.close(copy)],
    ['read', () => client.read(copy, new Uint8Array(1))],
    ['a read of nothing', () => client.read(copy, new Uint8Array(0))],
    ['write', () => client.write(copy, new Uint8Array(1))],
    ['poll aside, everything', () => client.getsockopt(copy, L.SOL_SOCKET, L.SO_ERROR)],
    ['a number that was never one', () => client.listen(1234, 1)],
  ];
  for (const [name, call] of calls) assert.equal(codeOf(call), 'EBADF', name);
  assert.equal(
    codeOf(() => client.bind(open(), at(CLIENT, 99))),
    0,
    'the port is free again',
  );
  pair.close();
});

test('posix: fcntl and ioctl', () => {
  const { client } = new PosixPair({ posix: { firstDescriptor: 10 } });
  const fd = client.socket(L.AF_INET, L.SOCK_DGRAM | L.SOCK_CLOEXEC, 0);
  assert.equal(fd, 10);
  assert.equal(client.fcntl(fd, L.F_GETFD), L.FD_CLOEXEC);
  client.fcntl(fd, L.F_SETFD, 0);
  assert.equal(client.fcntl(fd, L.F_GETFD), 0);
  assert.equal(
    codeOf(() => client.fcntl(fd, 4711)),
    'EINVAL',
  );
  assert.equal(client.ioctl(fd, L.FIONBIO, 1), 0);
  assert.equal(client.fcntl(fd, L.F_GETFL), L.O_RDWR | L.O_NONBLOCK);
  for (const type of [L.SOCK_DGRAM, L.SOCK_STREAM]) {
    const other = client.socket(L.AF_INET, type, 0);
    assert.equal(
      codeOf(() => client.ioctl(other, 0x9999)),
      'ENOTTY',
    );
  }
});

/** Two sockets on one port: who may share it, by (SO_REUSEADDR of both), addresses, and whether the first listens. */
describe('posix: bind: who may share a port', () => {
  const addresses = [
    ['10.0.0.2', '10.0.0.2'],
    ['0.0.0.0', '10.0.0.2'],
    ['10.0.0.2', '127.0.0.1'],
  ] as const;
  for (const first of [0, 1]) {
    for (const second of [0, 1]) {
      for (const [one, other] of addresses) {
        for (const listens of [false, true]) {
          const isApart = other === '127.0.0.1';
          const expected = isApart || (first === 1 && second === 1 && !listens) ? 0 : 'EADDRINUSE';
          test(`reuse ${first} and ${second}, ${one}${listens ? ' listening' : ''} and ${other}: ${expected}`, () => {
            const pair = new PosixPair();
            const { client } = pair;
            const [a, b] = [pair.stream(), pair.stream()];
            client.setsockopt(a, L.SOL_SOCKET, L.SO_REUSEADDR, first);
            client.setsockopt(b, L.SOL_SOCKET, L.SO_REUSEADDR, second);
            client.bind(a, at(one, 4000));
            if (listens) client.listen(a, 1);
            assert.equal(
              codeOf(() => client.bind(b, at(other, 4000))),
              expected,
            );
            if (expected === 0 && !listens) {
              client.listen(a, 1);
              assert.equal(
                codeOf(() => client.listen(b, 1)),
                isApart ? 0 : 'EADDRINUSE',
                'two that share cannot both listen',
              );
            }
            pair.close();
          });
        }
      }
    }
  }
});

test('posix: a port is held by connections and TIME-WAIT, as long as SO_REUSEADDR does not say otherwise', () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const { fd, peer } = pair.connected(); // its listener, with SO_REUSEADDR, is closed
  const bind = (reuse: number): unknown => {
    const other = server.socket(L.AF_INET, L.SOCK_STREAM, 0);
    server.setsockopt(other, L.SOL_SOCKET, L.SO_REUSEADDR, reuse);
    const result = codeOf(() => server.bind(other, at('0.0.0.0', PORT)));
    server.close(other);
    return result;
  };
  assert.deepEqual([bind(0), bind(1)], ['EADDRINUSE', 0], 'established');
  server.close(peer);
  pair.settle();
  assert.deepEqual([bind(0), bind(1)], ['EADDRINUSE', 0], 'FIN-WAIT-2, without a descriptor');
  client.close(fd);
  pair.settle();
  assert.deepEqual([bind(0), bind(1)], ['EADDRINUSE', 0], 'TIME-WAIT');
  pair.pass(60_000);
  assert.equal(bind(0), 0, 'after TIME-WAIT');
  pair.close();
});

test('posix: many connections of one port are held, and none of them for ever', () => {
  const pair = new PosixPair({ tcp: { timeWaitMs: 1000 } });
  const { client, server } = pair;
  const listener = pair.listener(100);
  for (let i = 0; i < 200; i++) {
    const fd = pair.stream();
    codeOf(() => client.connect(fd, at(SERVER, PORT)));
    pair.settle();
    const { fd: peer } = server.accept(listener);
    client.close(fd);
    pair.settle();
    server.close(peer);
    pair.settle();
  }
  server.close(listener);
  pair.pass(2000);
  const fresh = server.socket(L.AF_INET, L.SOCK_STREAM, 0);
  assert.equal(server.bind(fresh, at('0.0.0.0', PORT)), 0);
  pair.close();
});

test('posix: bind and connect: addresses that cannot be', () => {
  const pair = new PosixPair();
  const { client } = pair;
  const stream = (): number => pair.stream();
  const datagram = (): number => client.socket(L.AF_INET, L.SOCK_DGRAM, 0);
  const six = (): number => client.socket(L.AF_INET6, L.SOCK_STREAM | L.SOCK_NONBLOCK, 0);
  const rows: [string, () => unknown, string | number][] = [
    ['bind: not ours', () => client.bind(stream(), at('8.8.8.8', 0)), 'EADDRNOTAVAIL'],
    ['bind: AF_INET6 on AF_INET', () => client.bind(stream(), at('::1', 0)), 'EAFNOSUPPORT'],
    ['bind: AF_INET on AF_INET6', () => client.bind(six(), at('127.0.0.1', 0)), 'EINVAL'],
    ['bind: AF_UNSPEC and any address', () => client.bind(stream(), UNSPECIFIED), 0],
    [
      'bind: AF_UNSPEC and an address',
      () => client.bind(stream(), { ...UNSPECIFIED, address: CLIENT }),
      'EAFNOSUPPORT',
    ],
    ['bind: no address', () => client.bind(stream(), at('here', 0)), 'EINVAL'],
    ['bind: no port', () => client.bind(stream(), at(CLIENT, 65_536)), 'EINVAL'],
    ['bind: UDP, not ours', () => client.bind(datagram(), at('8.8.8.8', 0)), 'EADDRNOTAVAIL'],
    ['connect: AF_INET6 on AF_INET', () => client.connect(stream(), at('::1', 1)), 'EAFNOSUPPORT'],
    ['connect: AF_INET on AF_INET6', () => client.connect(six(), at(SERVER, 1)), 'EINVAL'],
    ['connect: mapped on AF_INET6', () => client.connect(six(), at(`::ffff:${SERVER}`, 1)), 'EINPROGRESS'],
    ['connect: a group', () => client.connect(stream(), at('224.0.0.1', 1)), 'ENETUNREACH'],
    ['connect: everybody', () => client.connect(stream(), at('255.255.255.255', 1)), 'ENETUNREACH'],
    ['connect: no route', () => client.connect(stream(), at('8.8.8.8', 1)), 'ENETUNREACH'],
    ['connect: UDP, everybody', () => client.connect(datagram(), at('10.0.0.255', 1)), 'EACCES'],
    ['sendto: everybody', () => client.sendto(datagram(), bytesOf('x'), 0, at('10.0.0.255', 1)), 'EACCES'],
    ['sendto: port 0', () => client.sendto(datagram(), bytesOf('x'), 0, at(SERVER, 0)), 'EINVAL'],
    ['sendto: too long', () => client.sendto(datagram(), new Uint8Array(65_536), 0, at(SERVER, 1)), 'EMSGSIZE'],
    ['sendto: MSG_OOB', () => client.sendto(datagram(), bytesOf('x'), L.MSG_OOB, at(SERVER, 1)), 'EOPNOTSUPP'],
    [
      'send: MSG_FASTOPEN, to nobody',
      () => client.sendto(stream(), bytesOf('x'), L.MSG_FASTOPEN, null),
      'EDESTADDRREQ',
    ],
    ['shutdown: how', () => client.shutdown(stream(), 3), 'EINVAL'],
  ];
  for (const [name, call, expected] of rows) assert.equal(codeOf(call), expected, name);
  pair.close();
});

test('posix: names: before and after bind and connect, and in IPv6', () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const fd = pair.stream();
  assert.deepEqual(client.getsockname(fd), at('0.0.0.0', 0));
  client.bind(fd, at(CLIENT, 0));
  const { address, port } = client.getsockname(fd);
  assert.equal(address, CLIENT);
  assert.ok(port >= 32_768 && port <= 60_999, `${port} is of Linux's ephemeral range`);
  pair.listener();
  codeOf(() => client.connect(fd, at(SERVER, PORT)));
  pair.settle();
  assert.deepEqual(client.getsockname(fd), at(CLIENT, port), 'connect keeps what bind chose');
  assert.deepEqual(client.getpeername(fd), at(SERVER, PORT));
  const listener = server.socket(L.AF_INET6, L.SOCK_STREAM, 0);
  server.bind(listener, at('::', 81));
  server.listen(listener, 5);
  const four = pair.stream();
  codeOf(() => client.connect(four, at(SERVER, 81)));
  pair.settle();
  const accepted = server.accept(listener);
  assert.equal(accepted.address.family, L.AF_INET6);
  assert.equal(accepted.address.address, `::ffff:${CLIENT}`);
  const six = client.socket(L.AF_INET6, L.SOCK_STREAM | L.SOCK_NONBLOCK, 0);
  codeOf(() => client.connect(six, at('fd00::1', 81)));
  pair.settle();
  assert.equal(server.accept(listener).address.address, 'fd00::2');
  assert.deepEqual(client.getpeername(six), at('fd00::1', 81));
  const self = pair.stream();
  client.listen(self, 1); // not bound: a port of its own
  const own = client.getsockname(self);
  assert.ok(own.port >= 32_768);
  const any = pair.stream();
  assert.equal(
    codeOf(() => client.connect(any, at('0.0.0.0', own.port))),
    'EINPROGRESS',
  );
  pair.settle();
  assert.equal(client.getpeername(any).address, '127.0.0.1', 'the unspecified address is this host');
  pair.close();
});

test('posix: four numbers in use are EADDRNOTAVAIL', () => {
  const pair = new PosixPair();
  const { client } = pair;
  pair.listener();
  const [a, b] = [pair.stream(), pair.stream()];
  for (const fd of [a, b]) {
    client.setsockopt(fd, L.SOL_SOCKET, L.SO_REUSEADDR, 1);
    client.bind(fd, at(CLIENT, 4000));
  }
  const connect = (fd: number): unknown => codeOf(() => client.connect(fd, at(SERVER, PORT)));
  assert.deepEqual([connect(a), connect(b)], ['EINPROGRESS', 'EADDRNOTAVAIL']);
  pair.close();
});

test('posix: a backlog of n holds n + 1, in the order they came; listen again changes it', () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const listener = pair.listener(0);
  const open = (): number => {
    const fd = pair.stream();
    codeOf(() => client.connect(fd, at(SERVER, PORT)));
    pair.settle();
    return client.getsockname(fd).port;
  };
  const first = open();
  open();
  assert.equal(server.accept(listener).address.port, first);
  assert.equal(
    codeOf(() => server.accept(listener)),
    'EAGAIN',
    'the second waits for the first to be taken',
  );
  pair.pass(1000);
  server.accept(listener);
  server.listen(listener, 2);
  const ports = [open(), open(), open()];
  assert.deepEqual(
    ports.map(() => server.accept(listener).address.port),
    ports,
  );
  pair.close();
});

test('posix: readv, writev, sendmsg and recvmsg over several buffers, with MSG_PEEK', () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const { fd, peer } = pair.connected();
  assert.equal(client.writev(fd, [bytesOf('ab'), bytesOf(''), bytesOf('cdefg')]), 7);
  pair.settle();
  const buffers = [new Uint8Array(3), new Uint8Array(2), new Uint8Array(8)];
  const peeked = server.recvmsg(peer, buffers, L.MSG_PEEK);
  assert.equal(peeked.count, 7);
  assert.equal(
    buffers
      .map((b) => textOf(b))
      .join('|')
      .replaceAll('\0', ''),
    'abc|de|fg',
  );
  for (const buffer of buffers) buffer.fill(0);
  assert.equal(server.readv(peer, buffers), 7);
  assert.equal(
    buffers
      .map((b) => textOf(b))
      .join('|')
      .replaceAll('\0', ''),
    'abc|de|fg',
  );
  assert.equal(
    codeOf(() => server.readv(peer, buffers)),
    'EAGAIN',
  );
  pair.close();
});

test('posix: TCP_INQ tells what is left, and 1 for an end not yet read', () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const { fd, peer } = pair.connected();
  server.setsockopt(peer, L.SOL_TCP, L.TCP_INQ, 1);
  client.write(fd, bytesOf('abcdef'));
  client.shutdown(fd, L.SHUT_WR);
  pair.settle();
  const inq = (length: number): unknown => server.recvmsg(peer, [new Uint8Array(length)]).control;
  assert.deepEqual(inq(2), [{ level: L.SOL_TCP, type: L.TCP_CM_INQ, value: 4 }]);
  assert.deepEqual(inq(4), [{ level: L.SOL_TCP, type: L.TCP_CM_INQ, value: 1 }]);
  pair.close();
});

test('posix: SIOCOUTQ and SIOCOUTQNSD count what is not acknowledged and not sent, the FIN too', () => {
  const pair = new PosixPair();
  const { client } = pair;
  const { fd } = pair.connected();
  client.write(fd, bytesOf('abc'));
  const counts = (): number[] => [client.ioctl(fd, L.SIOCOUTQ), client.ioctl(fd, L.SIOCOUTQNSD)];
  assert.deepEqual(counts(), [3, 3]);
  client.shutdown(fd, L.SHUT_WR);
  assert.deepEqual(counts(), [4, 4]);
  client.stack.poll(pair.now);
  assert.deepEqual(counts(), [4, 0]);
  pair.settle();
  assert.deepEqual(counts(), [0, 0]);
  pair.close();
});

test('posix: constants by name', () => {
  assert.deepEqual(
    ['AF_INET6', 'SOCK_NONBLOCK', 'SO_LINGER', 'TCP_INFO', 'MSG_NOSIGNAL', 'SIOCOUTQNSD', 'POLLRDHUP'].map(
      (name) => CONSTANTS[name],
    ),
    [10, 2048, 13, 11, 0x4000, 0x894b, 0x2000],
  );
});

test('posix: notify() serves the sockets of a layer, and leaves those of others to others', async () => {
  const pair = new PosixPair();
  const { client } = pair;
  const other = new Posix(client.stack);
  const fd = other.socket(L.AF_INET, L.SOCK_DGRAM, 0);
  other.bind(fd, at(CLIENT, 7));
  const reading = other.blocking.recv(fd, new Uint8Array(8));
  const mine = client.socket(L.AF_INET, L.SOCK_DGRAM, 0);
  client.sendto(mine, bytesOf('x'), 0, at(CLIENT, 7));
  client.stack.poll(pair.now);
  const changed = client.stack.nextChanged()!;
  assert.equal(other.notify(client.stack.udpSocket()), false);
  assert.equal(other.notify(changed), true);
  assert.equal(await reading, 1);
  other.closeAll();
  pair.close();
});
