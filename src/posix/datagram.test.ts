import assert from 'node:assert/strict';
import { test } from 'node:test';
import { at, bytesOf, CLIENT, codeOf, NOBODY, PosixPair, SERVER, textOf, UNSPECIFIED } from '../../test/posix.ts';
import { IpAddress } from '../wire/address.ts';
import { LINUX as L } from './index.ts';

test('posix: IP_PKTINFO and IPV6_PKTINFO: where a datagram came in, and where one leaves from', () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  for (const [family, level, option, type, ours, theirs] of [
    [L.AF_INET, L.SOL_IP, L.IP_PKTINFO, L.IP_PKTINFO, SERVER, CLIENT],
    [L.AF_INET6, L.SOL_IPV6, L.IPV6_RECVPKTINFO, L.IPV6_PKTINFO, 'fd00::1', 'fd00::2'],
  ] as const) {
    const fd = client.socket(family, L.SOCK_DGRAM, 0);
    const peer = server.socket(family, L.SOCK_DGRAM, 0);
    server.bind(peer, { family, address: family === L.AF_INET ? '0.0.0.0' : '::', port: 7 });
    server.setsockopt(peer, level, option, 1);
    client.bind(fd, { family, address: theirs, port: 5000 });
    client.sendto(fd, bytesOf('hello'), 0, { family, address: ours, port: 7 });
    pair.settle();
    const { control, address } = server.recvmsg(peer, [new Uint8Array(9)]);
    assert.equal(control.length, 1);
    const { info } = control[0]!;
    assert.deepEqual([control[0]!.level, control[0]!.type, info!.address.toString()], [level, type, ours]);
    assert.ok(info!.ifindex >= 1);
    server.sendmsg(peer, { buffers: [bytesOf('back')], address, control });
    pair.settle();
    assert.equal(client.recvfrom(fd, new Uint8Array(9)).address!.address, ours);
    const foreign = {
      ...control[0]!,
      info: { ifindex: 0, address: info!.address.isV4 ? IpAddress.parse('10.9.9.9') : IpAddress.parse('fd99::9') },
    };
    const codes = codeOf(() => server.sendmsg(peer, { buffers: [bytesOf('x')], address, control: [foreign] }));
    assert.equal(codes, 'EADDRNOTAVAIL');
    client.close(fd);
    server.close(peer);
  }
  pair.close();
});

test('posix: datagrams: MSG_TRUNC, MSG_MORE, several buffers, TTL and sender', () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const fd = client.socket(L.AF_INET, L.SOCK_DGRAM, 0);
  const peer = server.socket(L.AF_INET, L.SOCK_DGRAM, 0);
  server.bind(peer, at(SERVER, 7));
  server.setsockopt(peer, L.SOL_IP, L.IP_RECVTTL, 1);
  client.setsockopt(fd, L.SOL_IP, L.IP_TTL, 9);
  client.bind(fd, at(CLIENT, 5000));
  const to = at(SERVER, 7);
  client.sendto(fd, bytesOf('hello'), 0, to);
  client.sendto(fd, bytesOf('ab'), L.MSG_MORE, to);
  client.sendto(fd, bytesOf('cd'), 0, to);
  const ttl = [{ level: L.SOL_IP, type: L.IP_TTL, value: 5 }];
  client.sendmsg(fd, { buffers: [bytesOf('x'), bytesOf('yz')], address: to, control: ttl });
  pair.settle();
  const cut = server.recvmsg(peer, [new Uint8Array(2)]);
  assert.deepEqual(cut, {
    count: 2,
    address: at(CLIENT, 5000),
    flags: L.MSG_TRUNC,
    control: [{ level: L.SOL_IP, type: L.IP_TTL, value: 9 }],
  });
  const buffers = [new Uint8Array(3), new Uint8Array(3)];
  assert.equal(server.recvmsg(peer, buffers).count, 4);
  assert.equal(textOf(buffers[0]!) + textOf(buffers[1]!, 1), 'abcd');
  assert.deepEqual(server.recvmsg(peer, buffers).control, [{ level: L.SOL_IP, type: L.IP_TTL, value: 5 }]);
  assert.equal(
    codeOf(() =>
      client.sendmsg(fd, { buffers: [bytesOf('x')], address: to, control: [{ level: 1, type: 99, value: 0 }] }),
    ),
    'EINVAL',
  );
  pair.close();
});

test('posix: UDP_CORK holds parts back until it is off', () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const fd = client.socket(L.AF_INET, L.SOCK_DGRAM, 0);
  const peer = server.socket(L.AF_INET, L.SOCK_DGRAM, 0);
  server.bind(peer, at(SERVER, 7));
  client.connect(fd, at(SERVER, 7));
  client.setsockopt(fd, L.SOL_UDP, L.UDP_CORK, 1);
  client.write(fd, bytesOf('ab'));
  client.write(fd, bytesOf('cd'));
  pair.settle();
  assert.equal(server.ioctl(peer, L.FIONREAD), 0);
  client.setsockopt(fd, L.SOL_UDP, L.UDP_CORK, 0);
  pair.settle();
  assert.equal(server.ioctl(peer, L.FIONREAD), 4);
  pair.close();
});

test('posix: UDP: IP_MTU_DISCOVER: large datagrams are cut, or refused; IP_MTU says how large they may be', () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const fd = client.socket(L.AF_INET, L.SOCK_DGRAM, 0);
  const peer = server.socket(L.AF_INET, L.SOCK_DGRAM, 0);
  server.bind(peer, at(SERVER, 7));
  client.connect(fd, at(SERVER, 7));
  assert.equal(client.getsockopt(fd, L.SOL_IP, L.IP_MTU), 1500);
  const send = (size: number): unknown => codeOf(() => client.write(fd, new Uint8Array(size)));
  assert.deepEqual([send(1472), send(65_507), send(65_508)], [1472, 65_507, 'EMSGSIZE']);
  pair.settle();
  assert.deepEqual(
    [0, 1].map(() => server.recvmsg(peer, [new Uint8Array(65_535)]).count),
    [1472, 65_507],
  );
  for (const mode of [L.IP_PMTUDISC_DO, L.IP_PMTUDISC_PROBE]) {
    client.setsockopt(fd, L.SOL_IP, L.IP_MTU_DISCOVER, mode);
    assert.deepEqual([send(1472), send(1473)], [1472, 'EMSGSIZE']);
  }
  client.setsockopt(fd, L.SOL_IP, L.IP_MTU_DISCOVER, L.IP_PMTUDISC_DONT);
  assert.equal(send(1473), 1473);
  pair.close();
});

test('posix: UDP: SO_REUSEADDR of both shares the port, and the last one bound gets the datagrams', () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const open = (reuse: number): number => {
    const fd = server.socket(L.AF_INET, L.SOCK_DGRAM, 0);
    server.setsockopt(fd, L.SOL_SOCKET, L.SO_REUSEADDR, reuse);
    return fd;
  };
  const bind = (fd: number): unknown => codeOf(() => server.bind(fd, at('0.0.0.0', 7)));
  const [first, second] = [open(0), open(1)];
  assert.deepEqual([bind(first), bind(second)], [0, 'EADDRINUSE']);
  server.setsockopt(first, L.SOL_SOCKET, L.SO_REUSEADDR, 1);
  assert.equal(bind(second), 0);
  client.sendto(client.socket(L.AF_INET, L.SOCK_DGRAM, 0), bytesOf('q'), 0, at(SERVER, 7));
  pair.settle();
  assert.deepEqual([server.ioctl(first, L.FIONREAD), server.ioctl(second, L.FIONREAD)], [0, 1]);
  pair.close();
});

test('posix: UDP: reconnect, and what disconnecting gives back', () => {
  const pair = new PosixPair();
  const { client } = pair;
  const fd = client.socket(L.AF_INET, L.SOCK_DGRAM | L.SOCK_NONBLOCK, 0);
  client.connect(fd, at(SERVER, 9));
  const { port } = client.getsockname(fd);
  client.connect(fd, at(NOBODY, 10));
  assert.deepEqual([client.getsockname(fd), client.getpeername(fd)], [at(CLIENT, port), at(NOBODY, 10)]);
  client.connect(fd, UNSPECIFIED);
  assert.deepEqual(client.getsockname(fd), at('0.0.0.0', 0), 'neither address nor port were bound');
  client.bind(fd, at(CLIENT, 5000));
  client.connect(fd, at(SERVER, 9));
  client.connect(fd, UNSPECIFIED);
  assert.deepEqual(client.getsockname(fd), at(CLIENT, 5000));
  // ECONNREFUSED is told once, to a connected socket only.
  client.sendto(fd, bytesOf('x'), 0, at(SERVER, 9));
  pair.settle();
  assert.equal(
    codeOf(() => client.recv(fd, new Uint8Array(1))),
    'EAGAIN',
  );
  pair.close();
});

for (const [domain, protocol, request, to] of [
  [L.AF_INET, L.IPPROTO_ICMP, 8, SERVER],
  [L.AF_INET6, L.IPPROTO_ICMPV6, 128, 'fd00::1'],
] as const) {
  test(`posix: a ping socket sends echo requests and gets the replies, to ${to}`, () => {
    const pair = new PosixPair();
    const { client } = pair;
    const fd = client.socket(domain, L.SOCK_DGRAM | L.SOCK_NONBLOCK, protocol);
    const message = Uint8Array.of(request, 0, 0, 0, 0, 0, 0x12, 0x34, 7, 8, 9);
    assert.equal(
      codeOf(() => client.write(fd, message)),
      'EDESTADDRREQ',
    );
    assert.equal(
      codeOf(() => client.sendto(fd, message.slice(0, 7), 0, at(to, 0))),
      'EINVAL',
    );
    client.connect(fd, at(to, 0));
    assert.equal(client.write(fd, message), 11);
    pair.settle();
    const entry = { fd, events: L.POLLIN, revents: 0 };
    assert.equal(client.poll([entry]), 1);
    const reply = new Uint8Array(64);
    assert.equal(client.recv(fd, reply, L.MSG_PEEK), 11);
    const { count, address } = client.recvfrom(fd, reply);
    assert.equal(count, 11);
    assert.equal(address!.address, to);
    assert.deepEqual([...reply.subarray(6, 11)], [0x12, 0x34, 7, 8, 9]);
    assert.equal(reply[0], request === 8 ? 0 : 129);
    assert.equal((reply[4]! << 8) | reply[5]!, client.getsockname(fd).port);
    assert.equal(
      codeOf(() => client.recv(fd, reply)),
      'EAGAIN',
    );
    pair.close();
  });
}
