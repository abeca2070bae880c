import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PING, PONG, UDP_DATA } from '../../test/packets.ts';
import { PeerDevice } from '../../test/peer.ts';
import { Random } from '../phy/random.ts';
import { Stack } from '../stack.ts';
import { Source } from '../udp/datagram-queue.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import { octetsOf } from '../wire/octets.ts';
import { formatFrame } from '../wire/packet.ts';

function rig(address: string) {
  const device = new PeerDevice('ip');
  const random = new Random(1);
  const stack = new Stack({ random: () => random.next(), memory: 1 << 20 });
  stack.addInterface(device, { addresses: [Cidr.parse(`${address}/24`)] });
  const clock = { now: 1000 };
  const send = (bytes: Uint8Array): void => {
    device.deliver(bytes);
    stack.poll(clock.now);
  };
  const lines = (): string[] =>
    device.sent.splice(0).map((bytes) => formatFrame(octetsOf(bytes), 0, bytes.length, 'ip'));
  return { stack, device, clock, send, lines };
}

test('icmp: RFC 792: the data of an echo request comes back as it was', () => {
  const { stack, device, send } = rig('10.0.0.2');
  send(PING);
  const reply = device.sent[0]!;
  assert.deepEqual(reply.subarray(28), PING.subarray(28));
  stack.close();
});

test('icmp: RFC 4443 §2.4 (f): errors are limited, and the limit refills', () => {
  const { stack, clock, send, lines } = rig('10.0.0.2');
  for (let i = 0; i < 200; i++) send(UDP_DATA);
  assert.equal(lines().length, 50);
  assert.equal(stack.stats.drops['icmp-rate-limited'], 150);
  clock.now += 10;
  for (let i = 0; i < 200; i++) send(UDP_DATA);
  assert.equal(lines().length, 10);
  stack.close();
});

test('icmp: RFC 1122 §3.2.2: an error quotes the header and more, and none is made about an error', () => {
  const { stack, device, send } = rig('10.0.0.2');
  send(UDP_DATA);
  const error = device.sent.splice(0)[0]!;
  assert.deepEqual(error.subarray(28), UDP_DATA);
  assert.deepEqual([error[20], error[21]], [3, 3]);
  // The error itself, sent to its maker, about a port nobody has.
  const back = error.slice();
  back.set(UDP_DATA.subarray(12, 20), 12);
  back[10] = 0;
  back[11] = 0;
  let s = 0;
  for (let i = 0; i < 20; i += 2) s += (back[i]! << 8) | back[i + 1]!;
  s = (s & 0xffff) + (s >>> 16);
  back[10] = (~s >> 8) & 0xff;
  back[11] = ~s & 0xff;
  send(back);
  assert.equal(device.sent.length, 0);
  stack.close();
});

test('icmp: a ping socket gets its replies, with data, sequence, address and TTL', () => {
  const { stack, device, send } = rig('10.0.0.1');
  const socket = stack.icmpSocket();
  socket.bind(1);
  assert.equal(socket.sendEcho(IpAddress.parse('10.0.0.2'), 2, new Uint8Array(0)), true);
  assert.equal(device.sent.length, 1);
  send(PONG);
  const source = new Source();
  assert.equal(stack.nextChanged(), socket);
  assert.equal(socket.recv(new Uint8Array(10), source), 0);
  assert.deepEqual([source.port, source.address.toString(), source.ttl], [2, '10.0.0.2', 64]);
  assert.equal(socket.recv(new Uint8Array(10), source), -1);
  socket.close();
  send(PONG);
  assert.equal(stack.stats.drops['icmp-no-socket'], 1);
  stack.close();
  assert.equal(stack.memory.usedBytes, 0);
});

test('icmp: identifiers are unique, and errors of a ping socket have codes', () => {
  const { stack } = rig('10.0.0.1');
  const sockets = Array.from({ length: 100 }, () => stack.icmpSocket());
  for (const socket of sockets) socket.bind();
  assert.equal(new Set(sockets.map((s) => s.identifier)).size, 100);
  assert.throws(() => stack.icmpSocket().bind(sockets[0]!.identifier), { code: 'EADDRINUSE' });
  const [socket] = sockets;
  assert.throws(() => socket!.sendEcho(IpAddress.parse('192.168.0.1'), 1, new Uint8Array(1)), { code: 'ENETUNREACH' });
  assert.throws(() => socket!.sendEcho(IpAddress.parse('10.0.0.2'), 1, new Uint8Array(65_508)), { code: 'EMSGSIZE' });
  socket!.pathMtuDiscovery = 'do';
  assert.throws(() => socket!.sendEcho(IpAddress.parse('10.0.0.2'), 1, new Uint8Array(1473)), { code: 'EMSGSIZE' });
  assert.equal(socket!.sendEcho(IpAddress.parse('10.0.0.2'), 1, new Uint8Array(1472)), true);
  stack.close();
  assert.equal(stack.memory.usedBytes, 0);
});
