import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { pipePair } from '../phy/pipe.ts';
import { Random } from '../phy/random.ts';
import { Stack } from '../stack.ts';
import { Source } from '../udp/datagram-queue.ts';
import { Cidr, IpAddress, parseIp } from '../wire/address.ts';

const ip = (text: string): IpAddress => IpAddress.parse(text);

/** Three stacks: `middle` between two that have the same link-local address. */
function rig() {
  const random = new Random(1);
  const make = (memory?: Stack['memory']): Stack =>
    new Stack({ random: () => random.next(), memory: memory ?? 4 << 20 });
  const middle = make();
  const [left, right] = [make(middle.memory), make(middle.memory)];
  for (const outer of [left, right]) {
    const [a, b] = pipePair({ medium: 'ip', mtu: 1500, memory: middle.memory });
    middle.addInterface(a, { addresses: [Cidr.parse('fe80::1/64')] });
    outer.addInterface(b, { addresses: [Cidr.parse('fe80::2/64')] });
  }
  let now = 1;
  const poll = (): void => {
    for (let i = 0; i < 6; i++) for (const stack of [middle, left, right]) stack.poll(now++);
  };
  const end = (): void => {
    for (const stack of [left, right, middle]) stack.close();
    assert.equal(middle.memory.usedBytes, 0);
  };
  return { middle, left, right, poll, end };
}

describe('zones: text, RFC 4007 §11', () => {
  test('an index may be written, and is shown', () => {
    assert.equal(`${ip('fe80::1%3')}`, 'fe80::1%3');
    assert.equal(ip('fe80::1%3').zone, 3);
    assert.equal(`${ip('ff02::fb%12')}`, 'ff02::fb%12');
    assert.equal(`${ip('fe80::1')}`, 'fe80::1');
    assert.equal(`${Cidr.parse('fe80::1%3/64')}`, 'fe80::1%3/64');
  });

  for (const text of [
    'fe80::1%',
    'fe80::1%0',
    'fe80::1%eth0',
    'fe80::1%65536',
    '2001:db8::1%2',
    '10.0.0.1%2',
    'fe80:0:1::1',
    'fe80::1%2%3',
    'ff0e::1%2',
  ]) {
    test(`${text} is none`, () => assert.equal(parseIp(text), null));
  }

  test('the name of an interface, in both directions', () => {
    const { middle, end } = rig();
    assert.equal(`${middle.ip.parse('fe80::2%eth1')}`, 'fe80::2%3');
    assert.equal(middle.ip.parse('fe80::2%eth9'), null);
    assert.equal(middle.ip.format(ip('fe80::2%3')), 'fe80::2%eth1');
    assert.equal(middle.ip.format(ip('2001:db8::1')), '2001:db8::1');
    assert.equal(middle.ip.format(ip('fe80::2%77')), 'fe80::2%77');
    end();
  });
});

describe('zones: one address on two links', () => {
  test('each neighbour has connections of its own, and hears its own datagrams', () => {
    const { middle, left, right, poll, end } = rig();
    const outer = [left, right];
    const listeners = outer.map((stack) => {
      const listener = stack.tcpSocket();
      listener.listen({ port: 80 });
      return listener;
    });
    const sockets = ['fe80::2%eth0', 'fe80::2%eth1'].map((text) => {
      const socket = middle.tcpSocket();
      // The same ports: only the zones tell the connections apart.
      socket.connect({ address: middle.ip.parse(text)!, port: 80 }, { port: 50_000 });
      return socket;
    });
    poll();
    assert.deepEqual(
      sockets.map((socket) => socket.state()),
      ['ESTABLISHED', 'ESTABLISHED'],
    );
    sockets.forEach((socket, i) => void socket.send(Uint8Array.of(i)));
    poll();
    const target = new Uint8Array(8);
    listeners.forEach((listener, i) => {
      const peer = listener.accept()!;
      assert.equal(peer.recv(target), 1);
      assert.equal(target[0], i);
      assert.equal(`${peer.remote!.address}`, 'fe80::1%2', 'in the zone of its own only link');
    });
    end();
  });

  test('checksums know nothing of zones: UDP both ways, by connected sockets and others', () => {
    const { middle, right, poll, end } = rig();
    const echo = right.udpSocket();
    echo.bind({ port: 7 });
    const socket = middle.udpSocket();
    socket.connect({ address: ip('fe80::2%3'), port: 7 });
    socket.send(Uint8Array.of(5));
    poll();
    const source = new Source();
    const target = new Uint8Array(8);
    assert.equal(echo.recv(target, source), 1);
    echo.send(Uint8Array.of(6), source);
    poll();
    assert.equal(socket.recv(target, source), 1);
    assert.equal(`${source.address}`, 'fe80::2%3');
    assert.deepEqual(middle.stats.drops, {});
    end();
  });

  test('without a zone: the only link, or the first; or that of the bound address', () => {
    const { middle, left, right, poll, end } = rig();
    assert.equal(`${left.ip.zoned(ip('fe80::1'))}`, 'fe80::1%2');
    assert.equal(`${middle.ip.zoned(ip('fe80::2'))}`, 'fe80::2%2');
    assert.equal(`${middle.ip.zoned(ip('fe80::2'), ip('fe80::1%3'))}`, 'fe80::2%3');
    const echo = right.udpSocket();
    echo.bind({ port: 7, address: ip('fe80::2') });
    const socket = middle.udpSocket();
    socket.bind({ address: ip('fe80::1%3') });
    socket.send(Uint8Array.of(5), { address: ip('fe80::2'), port: 7 });
    poll();
    assert.equal(echo.canRecv(), true);
    end();
  });

  test('RFC 4007 §9, RFC 3927 §3.1: from a link-local address, by its own link only', () => {
    const random = new Random(1);
    const stack = new Stack({ random: () => random.next(), memory: 4 << 20 });
    const [first, second] = [0, 1].map((i) => {
      const [device] = pipePair({ medium: 'ip', mtu: 1500, memory: stack.memory });
      const addresses = [Cidr.parse('fe80::1/64'), Cidr.parse(`169.254.0.${i + 1}/16`), Cidr.parse(`10.0.${i}.1/24`)];
      return stack.addInterface(device, { addresses });
    });
    stack.addDefaultRoute(ip('fe80::9%2'));
    const way = (to: string, from: string | null) =>
      stack.ip.path(ip(to), from === null ? null : ip(from))?.iface ?? null;
    assert.equal(way('169.254.7.7', null), first);
    assert.equal(way('169.254.7.7', '169.254.0.2'), second);
    assert.equal(way('192.0.2.1', '169.254.0.2'), second, 'on the link, whatever the routes say');
    assert.equal(way('10.0.0.7', '169.254.0.2'), second);
    assert.equal(way('fe80::7%2', 'fe80::1%2'), first);
    assert.equal(way('fe80::7%2', 'fe80::1%3'), null, 'another zone');
    assert.equal(way('2001:db8::1', 'fe80::1%2'), first);
    assert.equal(way('2001:db8::1', 'fe80::1%3'), null, 'no router on that link');
    stack.close();
    assert.equal(stack.memory.usedBytes, 0);
  });

  test('an ICMP error about one is for the socket of its link', () => {
    const { middle, right, poll, end } = rig();
    const sockets = [2, 3].map((zone) => {
      const socket = middle.udpSocket();
      socket.connect({ address: ip(`fe80::2%${zone}`), port: 9 });
      return socket;
    });
    sockets[1]!.send(Uint8Array.of(1));
    poll();
    assert.equal(sockets[0]!.error, null);
    assert.equal(sockets[1]!.error, 'ECONNREFUSED');
    assert.equal(right.stats.drops['udp-no-socket'], 1);
    end();
  });

  test('to an own link-local address, by the loopback', () => {
    const { left, poll, end } = rig();
    const socket = left.icmpSocket();
    assert.equal(socket.sendEcho(ip('fe80::2%2'), 1, new Uint8Array(4)), true);
    poll();
    const source = new Source();
    assert.equal(socket.recv(new Uint8Array(8), source), 4);
    assert.equal(`${source.address}`, 'fe80::2%2');
    end();
  });
});
