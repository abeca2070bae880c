import assert from 'node:assert/strict';
import { test } from 'node:test';
import { at, bytesOf, CLIENT, codeOf, PosixPair, SERVER, textOf } from '../../test/posix.ts';
import { icmpPacket, Rig } from '../../test/router.ts';
import { LINUX as L, Posix } from './index.ts';

for (const [family, level, name, to, from, origin, type, icmpCode] of [
  [L.AF_INET, L.SOL_IP, L.IP_RECVERR, SERVER, CLIENT, L.SO_EE_ORIGIN_ICMP, 3, 3],
  [L.AF_INET6, L.SOL_IPV6, L.IPV6_RECVERR, 'fd00::1', 'fd00::2', L.SO_EE_ORIGIN_ICMP6, 1, 4],
] as const) {
  for (const isConnected of [false, true]) {
    const kind = isConnected ? 'connected' : 'unconnected';
    test(`posix: MSG_ERRQUEUE of a ${kind} socket: port unreachable from ${to}`, () => {
      const pair = new PosixPair();
      const { client } = pair;
      const fd = client.socket(family, L.SOCK_DGRAM, 0);
      const buffer = new Uint8Array(100);
      const read = () => client.recvmsg(fd, [buffer], L.MSG_ERRQUEUE);
      assert.equal(codeOf(read), 'EAGAIN');
      client.setsockopt(fd, level, name, 1);
      client.bind(fd, at(from, 5000));
      if (isConnected) client.connect(fd, at(to, 9));
      client.sendto(fd, bytesOf('hello'), 0, isConnected ? null : at(to, 9));
      pair.settle();
      const polled = [{ fd, events: 0, revents: 0 }];
      assert.equal(client.poll(polled), 1);
      assert.equal(polled[0]!.revents, L.POLLERR);
      const error = { code: 'ECONNREFUSED', origin, type, icmpCode, info: 0, offender: at(to, 0) };
      assert.deepEqual(read(), {
        count: 5,
        address: at(to, 9),
        flags: L.MSG_ERRQUEUE,
        control: [{ level, type: name, value: 0, error }],
      });
      assert.equal(textOf(buffer, 5), 'hello');
      assert.equal(codeOf(read), 'EAGAIN');
      // What was read there is told by no other call.
      assert.equal(
        codeOf(() => client.recvfrom(fd, buffer, L.MSG_DONTWAIT)),
        'EAGAIN',
      );
      pair.close();
    });
  }
}

test('posix: MSG_ERRQUEUE: what does not fit is cut; without the option nothing is kept', () => {
  const pair = new PosixPair();
  const { client } = pair;
  const fd = client.socket(L.AF_INET, L.SOCK_DGRAM, 0);
  client.setsockopt(fd, L.SOL_IP, L.IP_RECVERR, 1);
  const send = (): void => {
    client.sendto(fd, bytesOf('hello'), 0, at(SERVER, 9));
    pair.settle();
  };
  send();
  const { count, flags } = client.recvmsg(fd, [new Uint8Array(2)], L.MSG_ERRQUEUE);
  assert.deepEqual([count, flags], [2, L.MSG_ERRQUEUE | L.MSG_TRUNC]);
  send();
  client.setsockopt(fd, L.SOL_IP, L.IP_RECVERR, 0);
  const read = () => client.recvmsg(fd, [new Uint8Array(9)], L.MSG_ERRQUEUE);
  assert.equal(codeOf(read), 'EAGAIN');
  send();
  assert.equal(codeOf(read), 'EAGAIN');
  pair.close();
});

test('posix: MSG_ERRQUEUE of a ping socket: time exceeded, and who says so', () => {
  const rig = new Rig();
  const posix = new Posix(rig.stack);
  const fd = posix.socket(L.AF_INET, L.SOCK_DGRAM, L.IPPROTO_ICMP);
  posix.setsockopt(fd, L.SOL_IP, L.IP_RECVERR, 1);
  const request = Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 7, 1, 2, 3, 4);
  posix.sendto(fd, request, 0, at('10.0.1.2', 0));
  rig.stack.poll(rig.now);
  const [sent] = rig.taken(0);
  rig.put(0, icmpPacket({ from: '10.0.1.9', to: '10.0.1.1', type: 11, quote: sent! }));
  posix.turn(rig.now);
  const buffer = new Uint8Array(64);
  const { address, control } = posix.recvmsg(fd, [buffer], L.MSG_ERRQUEUE);
  const error = {
    code: 'EHOSTUNREACH',
    origin: L.SO_EE_ORIGIN_ICMP,
    type: 11,
    icmpCode: 0,
    info: 0,
    offender: at('10.0.1.9', 0),
  };
  assert.deepEqual(address, at('10.0.1.2', 0));
  assert.deepEqual(control, [{ level: L.SOL_IP, type: L.IP_RECVERR, value: 0, error }]);
  posix.closeAll();
  rig.stack.close();
  assert.equal(rig.stack.memory.usedBytes, 0);
});

test('posix: MSG_ERRQUEUE of a raw socket: who says so, without a peer too, and what passes; told once', () => {
  const rig = new Rig();
  const posix = new Posix(rig.stack);
  const fd = posix.socket(L.AF_INET, L.SOCK_RAW | L.SOCK_NONBLOCK, 253);
  const buffer = new Uint8Array(100);
  const read = () => posix.recvmsg(fd, [buffer], L.MSG_ERRQUEUE);
  posix.sendto(fd, bytesOf('hello world'), 0, at('10.0.2.9', 0));
  rig.stack.poll(rig.now);
  const [sent] = rig.taken(1);
  const report = (type: number, code: number): void => {
    rig.put(1, icmpPacket({ from: '10.0.2.8', to: '10.0.2.1', type, code, quote: sent! }));
    posix.turn(rig.now);
  };
  report(11, 0);
  report(3, 1);
  assert.equal(codeOf(read), 'EAGAIN', 'without IP_RECVERR nothing is kept');
  assert.equal(posix.getsockopt(fd, L.SOL_SOCKET, L.SO_ERROR), 0, 'nor told: it has no peer');
  posix.setsockopt(fd, L.SOL_IP, L.IP_RECVERR, 1);
  report(11, 0);
  report(3, 2);
  const polled = [{ fd, events: 0, revents: 0 }];
  assert.equal(posix.poll(polled), 1);
  assert.equal(polled[0]!.revents, L.POLLERR);
  const error = {
    code: 'EHOSTUNREACH',
    origin: L.SO_EE_ORIGIN_ICMP,
    type: 11,
    icmpCode: 0,
    info: 0,
    offender: at('10.0.2.8', 0),
  };
  assert.deepEqual(read(), {
    count: 11,
    address: at('10.0.2.9', 0),
    flags: L.MSG_ERRQUEUE,
    control: [{ level: L.SOL_IP, type: L.IP_RECVERR, value: 0, error }],
  });
  assert.equal(textOf(buffer, 11), 'hello world');
  assert.equal(read().control[0]!.error!.code, 'ENOPROTOOPT');
  assert.equal(codeOf(read), 'EAGAIN');
  assert.equal(
    codeOf(() => posix.recvfrom(fd, buffer, 0)),
    'EAGAIN',
    'what was read there is told by no other call',
  );
  // Who makes headers is shown them.
  posix.setsockopt(fd, L.SOL_IP, L.IP_HDRINCL, 1);
  report(3, 2);
  assert.equal(read().count, 31);
  assert.deepEqual(buffer.subarray(0, 31), sent);
  posix.closeAll();
  rig.stack.close();
  assert.equal(rig.stack.memory.usedBytes, 0);
});

test('posix: a raw socket with a peer, without IP_RECVERR: what passes is not told', () => {
  const rig = new Rig();
  const posix = new Posix(rig.stack);
  const fd = posix.socket(L.AF_INET, L.SOCK_RAW | L.SOCK_NONBLOCK, 253);
  posix.connect(fd, at('10.0.2.9', 0));
  posix.send(fd, bytesOf('hello world'), 0);
  rig.stack.poll(rig.now);
  const [sent] = rig.taken(1);
  for (const [type, code] of [
    [11, 0],
    [3, 3],
  ] as const) {
    rig.put(1, icmpPacket({ from: '10.0.2.8', to: '10.0.2.1', type, code, quote: sent! }));
    posix.turn(rig.now);
    const polled = [{ fd, events: 0, revents: 0 }];
    assert.equal(posix.poll(polled), type === 3 ? 1 : 0);
  }
  assert.equal(
    codeOf(() => posix.recvfrom(fd, new Uint8Array(9), 0)),
    'ECONNREFUSED',
  );
  posix.closeAll();
  rig.stack.close();
});
