import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GROUP, GROUP6, hasCode, ip, PORT, Rig, taken } from '../../test/multicast-sockets.ts';
import type { RawSocket } from '../raw/raw.ts';
import { Source } from '../udp/datagram-queue.ts';
import type { UdpSocket } from '../udp/socket.ts';
import { IpAddress } from '../wire/address.ts';
import { PROTOCOL_UDP } from '../wire/ip.ts';
import * as filters from './filter.ts';

describe('multicast: delivery', () => {
  for (const group of [GROUP, GROUP6]) {
    test(`every member of ${group} gets a copy, others get none`, () => {
      const rig = new Rig();
      const [a, b, c] = [rig.socket(), rig.socket(), rig.socket()];
      const elsewhere = rig.socket({ port: PORT + 1 });
      for (const socket of [a, b, elsewhere]) socket.join(group);
      rig.receive(group);
      assert.deepEqual([a, b, c, elsewhere].map(taken), [[1], [1], [], []]);
      rig.end();
    });

    test(`RFC 1112 §7.2: nothing of ${group} comes before it was joined and after it was left`, () => {
      const rig = new Rig();
      const socket = rig.socket();
      rig.receive(group, { data: 1 });
      assert.equal(rig.stack.stats.drops['ip-no-member'], 1);
      socket.join(group);
      rig.receive(group, { data: 2 });
      socket.leave(group);
      rig.receive(group, { data: 3 });
      assert.deepEqual(taken(socket), [2]);
      assert.equal(rig.stack.stats.drops['ip-no-member'], 2);
      assert.equal(rig.stack.stats.icmpErrorsOut, 0);
      rig.end();
    });
  }

  test('a group is joined on one interface', () => {
    const rig = new Rig();
    const [a, b] = [rig.socket(), rig.socket()];
    a.join(GROUP, { interface: rig.eth0 });
    b.join(GROUP, { interface: rig.eth1 });
    rig.receive(GROUP, { device: 0, data: 1 });
    rig.receive(GROUP, { device: 1, data: 2, from: '10.1.0.2' });
    assert.deepEqual([a, b].map(taken), [[1], [2]]);
    b.join(GROUP, { interface: rig.eth0 });
    rig.receive(GROUP, { device: 0, data: 3 });
    assert.deepEqual([a, b].map(taken), [[3], [3]]);
    rig.end();
  });

  test('RFC 3376 §3.1: each socket has its own source filter', () => {
    const rig = new Rig();
    const [any, only, but] = [rig.socket(), rig.socket(), rig.socket()];
    any.join(GROUP);
    only.join(GROUP, { source: ip('10.0.0.7') });
    but.join(GROUP);
    but.blockSource(GROUP, ip('10.0.0.7'));
    rig.receive(GROUP, { from: '10.0.0.7', data: 7 });
    rig.receive(GROUP, { from: '10.0.0.8', data: 8 });
    assert.deepEqual([any, only, but].map(taken), [[7, 8], [7], [8]]);
    but.unblockSource(GROUP, ip('10.0.0.7'));
    only.join(GROUP, { source: ip('10.0.0.8') });
    only.leave(GROUP, { source: ip('10.0.0.7') });
    rig.receive(GROUP, { from: '10.0.0.7', data: 7 });
    rig.receive(GROUP, { from: '10.0.0.8', data: 8 });
    assert.deepEqual([any, only, but].map(taken), [[7, 8], [8], [7, 8]]);
    rig.end();
  });

  test('a source that no socket wants is dropped by the interface', () => {
    const rig = new Rig();
    const socket = rig.socket();
    socket.join(GROUP6, { source: ip('fd00::7') });
    rig.receive(GROUP6, { from: 'fd00::8' });
    assert.equal(rig.stack.stats.drops['ip-source-filtered'], 1);
    rig.receive(GROUP6, { from: 'fd00::7', data: 7 });
    assert.deepEqual(taken(socket), [7]);
    rig.end();
  });

  test('multicastAll: what another socket joined comes too, but not past an own filter', () => {
    const rig = new Rig();
    const [joined, curious, choosy] = [rig.socket(), rig.socket(), rig.socket()];
    joined.join(GROUP);
    curious.multicastAll = true;
    choosy.multicastAll = true;
    choosy.join(GROUP, { source: ip('10.0.0.7') });
    rig.receive(GROUP, { from: '10.0.0.8', data: 8 });
    assert.deepEqual([joined, curious, choosy].map(taken), [[8], [8], []]);
    rig.end();
  });

  test('RFC 1112 §4: what is sent to all hosts goes to every socket of the port', () => {
    const rig = new Rig();
    const [a, b] = [rig.socket(), rig.socket()];
    rig.receive(ip('224.0.0.1'), { data: 1 });
    rig.receive(ip('ff02::1'), { from: 'fe80::9', data: 2 });
    assert.deepEqual([a, b].map(taken), [
      [1, 2],
      [1, 2],
    ]);
    rig.end();
  });

  test('bound to a group, a socket gets that group and nothing else', () => {
    const rig = new Rig();
    const [bound, wild] = [rig.socket({ address: '239.1.2.3' }), rig.socket()];
    bound.join(GROUP);
    bound.join(ip('239.1.2.4'));
    wild.join(GROUP);
    rig.receive(GROUP, { data: 1 });
    rig.receive(ip('239.1.2.4'), { data: 2 });
    rig.receive(ip('10.0.0.1'), { data: 3 });
    assert.deepEqual([bound, wild].map(taken), [[1], [1, 3]]);
    rig.end();
  });

  test('bound to a group and connected, it gets what its peer sends there', () => {
    const rig = new Rig();
    const socket = rig.socket({ address: '239.1.2.3' });
    socket.join(GROUP);
    socket.connect({ address: ip('10.0.0.7'), port: 4000 });
    rig.receive(GROUP, { from: '10.0.0.7', data: 7 });
    rig.receive(GROUP, { from: '10.0.0.8', data: 8 });
    assert.deepEqual(taken(socket), [7]);
    rig.end();
  });

  test('the stack itself joins by count, and sockets do not get its groups', () => {
    const rig = new Rig();
    const solicited = ip('ff02::1:ff77:7777');
    const { groups } = rig.eth0;
    const socket = rig.socket();
    groups.join(solicited);
    groups.join(solicited);
    assert.equal(groups.leave(solicited), true);
    rig.receive(solicited, { from: 'fe80::9' });
    assert.equal(rig.stack.stats.drops['udp-no-socket'], 1, 'it passed the interface');
    assert.equal(groups.leave(solicited), true);
    rig.receive(solicited, { from: 'fe80::9' });
    assert.equal(rig.stack.stats.drops['ip-no-member'], 1);
    assert.equal(groups.leave(solicited), false);
    assert.deepEqual(taken(socket), []);
    assert.throws(() => groups.join(ip('10.0.0.9')), hasCode('EINVAL'));
    rig.end();
  });

  test('a closed socket has left its groups', () => {
    const rig = new Rig();
    const count = rig.eth0.groups.count;
    const socket = rig.socket();
    socket.join(GROUP);
    socket.join(GROUP6, { source: ip('fd00::7') });
    assert.equal(rig.eth0.groups.count, count + 2);
    socket.close();
    assert.equal(rig.eth0.groups.count, count);
    rig.end();
  });
});

describe('multicast: errors of the calls, as Linux gives them', () => {
  const source = ip('10.0.0.7');
  const ROWS: readonly { name: string; code: string; before?: (s: UdpSocket) => void; call: (s: UdpSocket) => void }[] =
    [
      { name: 'join no group', code: 'EINVAL', call: (s) => s.join(ip('10.0.0.9')) },
      { name: 'leave no group', code: 'EINVAL', call: (s) => s.leave(ip('10.0.0.9')) },
      { name: 'join twice', code: 'EADDRINUSE', before: (s) => s.join(GROUP), call: (s) => s.join(GROUP) },
      { name: 'leave what was not joined', code: 'EADDRNOTAVAIL', call: (s) => s.leave(GROUP) },
      {
        name: 'a source twice',
        code: 'EADDRNOTAVAIL',
        before: (s) => s.join(GROUP, { source }),
        call: (s) => s.join(GROUP, { source }),
      },
      {
        name: 'join any, joined by sources',
        code: 'EADDRINUSE',
        before: (s) => s.join(GROUP, { source }),
        call: (s) => s.join(GROUP),
      },
      {
        name: 'a source, joined for all but one',
        code: 'EINVAL',
        before: (s) => {
          s.join(GROUP);
          s.blockSource(GROUP, source);
        },
        call: (s) => s.join(GROUP, { source: ip('10.0.0.8') }),
      },
      { name: 'give up a source without the group', code: 'EINVAL', call: (s) => s.leave(GROUP, { source }) },
      {
        name: 'give up a source that is not there',
        code: 'EADDRNOTAVAIL',
        before: (s) => s.join(GROUP, { source }),
        call: (s) => s.leave(GROUP, { source: ip('10.0.0.8') }),
      },
      { name: 'block without the group', code: 'EINVAL', call: (s) => s.blockSource(GROUP, source) },
      {
        name: 'block where sources were joined',
        code: 'EINVAL',
        before: (s) => s.join(GROUP, { source }),
        call: (s) => s.blockSource(GROUP, source),
      },
      {
        name: 'block twice',
        code: 'EADDRNOTAVAIL',
        before: (s) => {
          s.join(GROUP);
          s.blockSource(GROUP, source);
        },
        call: (s) => s.blockSource(GROUP, source),
      },
      {
        name: 'unblock what is not blocked',
        code: 'EADDRNOTAVAIL',
        before: (s) => s.join(GROUP),
        call: (s) => s.unblockSource(GROUP, source),
      },
      { name: 'a source of the other family', code: 'EINVAL', call: (s) => s.join(GROUP, { source: ip('fd00::7') }) },
      { name: 'a group as source', code: 'EINVAL', call: (s) => s.join(GROUP, { source: ip('239.0.0.1') }) },
      {
        name: 'more than 64 sources',
        code: 'ENOBUFS',
        before: (s) => {
          for (let i = 0; i < 64; i++) s.join(GROUP, { source: IpAddress.v4(0x0a000100 + i) });
        },
        call: (s) => s.join(GROUP, { source }),
      },
      {
        name: 'more than 256 groups',
        code: 'ENOBUFS',
        before: (s) => {
          for (let i = 0; i < 256; i++) s.join(IpAddress.v4(0xef000000 + i));
        },
        call: (s) => s.join(GROUP),
      },
    ];
  for (const { name, code, before, call } of ROWS) {
    test(`${name}: ${code}`, () => {
      const rig = new Rig();
      const socket = rig.socket();
      before?.(socket);
      assert.throws(() => call(socket), hasCode(code));
      rig.end();
    });
  }

  test('an interface is in 1024 groups at most', () => {
    const rig = new Rig();
    const before = rig.eth0.groups.count;
    const sockets = Array.from({ length: 5 }, () => rig.socket());
    const join = (): void => {
      for (const [n, socket] of sockets.entries()) {
        for (let i = 0; i < 256; i++) socket.join(IpAddress.v4(0xef000000 + n * 256 + i));
      }
    };
    assert.throws(join, hasCode('ENOBUFS'));
    assert.equal(rig.eth0.groups.count, 1024);
    for (const socket of sockets) socket.close();
    assert.equal(rig.eth0.groups.count, before);
    rig.end();
  });

  test('beyond 1024 sources the interface takes in any, and the sockets sort them out', () => {
    const rig = new Rig();
    const sockets = Array.from({ length: 20 }, () => rig.socket());
    for (const [n, socket] of sockets.entries()) {
      for (let i = 0; i < 64; i++) socket.join(GROUP, { source: IpAddress.v4(0x0b000000 + n * 64 + i) });
    }
    assert.equal(rig.eth0.groups.find(GROUP)!.filter.isExclude, true);
    rig.receive(GROUP, { from: '11.0.0.65', data: 5 });
    assert.deepEqual(sockets.flatMap(taken), [5]);
    for (const socket of sockets.slice(4)) socket.close();
    assert.equal(rig.eth0.groups.find(GROUP)!.filter.isExclude, false);
    rig.end();
  });

  test('setSourceFilter sets all at once: RFC 3678 §4.2', () => {
    const rig = new Rig();
    const socket = rig.socket();
    const { includeOf, excludeOf } = filters;
    socket.setSourceFilter(GROUP, includeOf([source]));
    assert.deepEqual([...socket.sourceFilter(GROUP)!.sources].map(String), ['10.0.0.7']);
    socket.setSourceFilter(GROUP, excludeOf([]));
    assert.equal(socket.sourceFilter(GROUP)!.isExclude, true);
    socket.setSourceFilter(GROUP, includeOf([]));
    assert.equal(socket.sourceFilter(GROUP), null, 'left');
    rig.end();
  });
});

describe('multicast: groups of one link', () => {
  test('a zone says which interface to join on and to send by', () => {
    const rig = new Rig();
    const socket = rig.socket();
    const group = ip(`ff02::99%${rig.eth1.index}`);
    socket.join(group);
    rig.receive(ip('ff02::99'), { from: 'fe80::9', device: 0, data: 1 });
    rig.receive(ip('ff02::99'), { from: 'fe80::9', device: 1, data: 2 });
    assert.deepEqual(taken(socket), [2]);
    socket.multicastLoopback = false;
    socket.send(Uint8Array.of(1), { address: group, port: PORT });
    assert.deepEqual([rig.sent(0), rig.sent(1)], [[], ['33:33:00:00:00:99 ff02::99 1']]);
    socket.leave(group);
    assert.equal(rig.eth1.groups.find(group), null);
    rig.end();
  });

  test('bound to ff02::99 without a zone, a socket gets it on every link it joined; sources have no zone either', () => {
    const rig = new Rig();
    const socket = rig.socket({ address: 'ff02::99' });
    const group = ip('ff02::99');
    socket.join(group, { interface: rig.eth0, source: ip('fe80::9') });
    socket.join(group, { interface: rig.eth1, source: ip('fe80::8') });
    for (const device of [0, 1]) rig.receive(group, { from: 'fe80::9', device, data: device });
    for (const device of [0, 1]) rig.receive(group, { from: 'fe80::8', device, data: device + 2 });
    assert.deepEqual(taken(socket), [0, 3]);
    rig.end();
  });
});

describe('multicast: raw sockets', () => {
  test('they join with filters, get what others joined, send with multicastTtl, and leave on close', () => {
    const rig = new Rig();
    const raw = (): RawSocket => rig.stack.rawSocket({ family: 4, protocol: PROTOCOL_UDP });
    const [joined, curious] = [raw(), raw()];
    const count = (socket: RawSocket): number => {
      let n = 0;
      while (socket.recv(new Uint8Array(100), new Source()) >= 0) n++;
      return n;
    };
    joined.join(GROUP, { source: ip('10.0.0.7') });
    rig.receive(GROUP, { from: '10.0.0.7' });
    rig.receive(GROUP, { from: '10.0.0.8' });
    assert.deepEqual([joined, curious].map(count), [1, 1], 'the interface lets the source in, nobody else');
    curious.join(GROUP);
    rig.receive(GROUP, { from: '10.0.0.8' });
    assert.deepEqual([joined, curious].map(count), [0, 1]);
    curious.send(new Uint8Array(8), GROUP);
    assert.deepEqual(rig.sent(), ['01:00:5e:01:02:03 239.1.2.3 1']);
    assert.deepEqual([joined, curious].map(count), [0, 1], 'its own came back');
    joined.leave(GROUP, { source: ip('10.0.0.7') });
    curious.close();
    assert.equal(rig.eth0.groups.find(GROUP), null);
    rig.end();
  });
});
