import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GROUP, GROUP6, hasCode, ip, PORT, Rig, taken } from '../../test/multicast-sockets.ts';
import { Random } from '../phy/random.ts';
import { Stack } from '../stack.ts';
import type { UdpSocket } from '../udp/socket.ts';
import { Cidr } from '../wire/address.ts';

describe('multicast: sending', () => {
  const SENT = [
    { group: '239.1.2.3', line: '01:00:5e:01:02:03 239.1.2.3 1' },
    { group: '239.129.2.3', line: '01:00:5e:01:02:03 239.129.2.3 1' }, // RFC 1112 §6.4: 23 bits only
    { group: 'ff15::1:2', line: '33:33:00:01:00:02 ff15::1:2 1' },
  ];
  for (const { group, line } of SENT) {
    test(`to ${group}`, () => {
      const rig = new Rig();
      const socket = rig.socket();
      socket.send(Uint8Array.of(1), { address: ip(group), port: PORT });
      assert.deepEqual([rig.sent(0), rig.sent(1)], [[line], []]);
      rig.end();
    });
  }

  test('the interface: the chosen one, that of the bound address, that of a route, the first', () => {
    const rig = new Rig();
    const send = (socket: UdpSocket): number[] => {
      socket.send(Uint8Array.of(1), { address: GROUP, port: PORT });
      return [0, 1].filter((device) => rig.sent(device).length > 0);
    };
    const [plain, bound] = [rig.socket(), rig.socket({ address: '10.1.0.1' })];
    assert.deepEqual([send(plain), send(bound)], [[0], [1]]);
    rig.stack.addRoute({ prefix: Cidr.parse('224.0.0.0/4'), iface: rig.eth1, gateway: null });
    assert.deepEqual(send(plain), [1], 'a route');
    plain.multicastInterface = rig.eth0;
    bound.multicastInterface = rig.eth0;
    assert.deepEqual([send(plain), send(bound)], [[0], [0]], 'a choice');
    plain.multicastInterface = null;
    assert.deepEqual(send(plain), [1]);
    rig.end();
  });

  test('a gateway is not asked for: the group is the next hop', () => {
    const rig = new Rig();
    rig.stack.addDefaultRoute(ip('10.0.0.254'));
    rig.socket().send(Uint8Array.of(1), { address: GROUP, port: PORT });
    assert.deepEqual(rig.sent(0), ['01:00:5e:01:02:03 239.1.2.3 1']);
    rig.end();
  });

  test('multicastTtl is for groups, ttl for hosts; 0 and ff01:: stay here', () => {
    const rig = new Rig();
    const socket = rig.socket();
    socket.join(GROUP);
    socket.join(ip('ff01::77'));
    socket.multicastTtl = 5;
    socket.send(Uint8Array.of(1), { address: GROUP, port: PORT });
    assert.deepEqual(rig.sent(), ['01:00:5e:01:02:03 239.1.2.3 5']);
    socket.send(Uint8Array.of(2), { address: ip('ff01::77'), port: PORT });
    assert.deepEqual(rig.sent(), []);
    socket.multicastTtl = 0;
    socket.send(Uint8Array.of(3), { address: GROUP, port: PORT });
    assert.deepEqual(rig.sent(), []);
    assert.deepEqual(taken(socket), [1, 2, 3]);
    rig.end();
  });

  test('own datagrams come back to the members on the interface they left by, unless that is off', () => {
    const rig = new Rig();
    const [sender, member, far] = [rig.socket(), rig.socket(), rig.socket()];
    member.join(GROUP, { interface: rig.eth0 });
    far.join(GROUP, { interface: rig.eth1 });
    sender.send(Uint8Array.of(1), { address: GROUP, port: PORT });
    assert.ok(rig.stack.pollAt() <= 1000, 'there is something to do');
    rig.poll();
    assert.deepEqual([sender, member, far].map(taken), [[], [1], []]);
    sender.multicastLoopback = false;
    sender.send(Uint8Array.of(2), { address: GROUP, port: PORT });
    assert.equal(rig.sent(0).length, 2, 'both went out');
    assert.deepEqual([sender, member, far].map(taken), [[], [], []]);
    rig.end();
  });

  test('own datagrams from outside are martians', () => {
    const rig = new Rig();
    const socket = rig.socket();
    socket.join(GROUP);
    rig.receive(GROUP, { from: '10.0.0.1' });
    assert.deepEqual([taken(socket), rig.stack.stats.drops['ip-martian']], [[], 1]);
    rig.end();
  });

  test('what waits to come back is bounded, and close gives it back', () => {
    const rig = new Rig();
    const socket = rig.socket();
    socket.join(GROUP);
    for (let i = 0; i < 300; i++) socket.send(Uint8Array.of(1), { address: GROUP, port: PORT });
    assert.equal(rig.stack.stats.drops['multicast-loop-full'], 44);
    rig.end();
  });

  test('a host without a network talks to its own groups', () => {
    const random = new Random(1);
    const stack = new Stack({ random: () => random.next(), memory: 1 << 20 });
    const socket = stack.udpSocket();
    socket.bind({ port: PORT });
    for (const group of [GROUP, GROUP6]) {
      socket.join(group);
      socket.send(Uint8Array.of(9), { address: group, port: PORT });
    }
    stack.poll(1);
    assert.deepEqual(taken(socket), [9, 9], 'once each');
    stack.close();
    assert.equal(stack.memory.usedBytes, 0);
  });

  test('EACCES: a broadcast that is not allowed', () => {
    const rig = new Rig();
    const socket = rig.socket();
    socket.broadcast = false;
    const to = { address: ip('10.0.0.255'), port: PORT };
    assert.throws(() => socket.send(Uint8Array.of(1), to), hasCode('EACCES'));
    assert.throws(() => socket.connect(to), hasCode('EACCES'));
    socket.broadcast = true;
    socket.send(Uint8Array.of(1), { address: ip('10.0.0.255'), port: PORT });
    assert.equal(rig.sent().length, 1);
    rig.end();
  });
});
