import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PeerDevice } from '../../test/peer.ts';
import { randomOf } from '../../test/random.ts';
import { Random } from '../phy/random.ts';
import { Stack } from '../stack.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import * as icmpv4 from '../wire/icmpv4.ts';
import { PROTOCOL_ICMP, PROTOCOL_UDP, pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import { octetsOf } from '../wire/octets.ts';
import { formatFrame } from '../wire/packet.ts';
import * as wire from '../wire/udp.ts';
import { Source } from './datagram-queue.ts';
import { READABLE } from './socket.ts';

const LOCAL = IpAddress.parse('10.0.0.1');
const OTHER = IpAddress.parse('10.0.0.3');
const REMOTE = IpAddress.parse('10.0.0.2');

function rig(memory = 1 << 20) {
  const device = new PeerDevice('ip');
  const random = new Random(1);
  const stack = new Stack({ random: () => random.next(), memory });
  stack.addInterface(device, {
    addresses: [Cidr.parse('10.0.0.1/24'), Cidr.parse('10.0.0.3/24'), Cidr.parse('fd00::1/64')],
  });
  const send = (bytes: Uint8Array): void => {
    device.deliver(bytes);
    stack.poll(1000);
  };
  const lines = (): string[] =>
    device.sent.splice(0).map((bytes) => formatFrame(octetsOf(bytes), 0, bytes.length, 'ip'));
  return { stack, device, send, lines };
}

/** A datagram from the peer. */
function datagram(data: Uint8Array, to: { port: number; from?: number; address?: IpAddress }): Uint8Array {
  const { port, from = 5000, address = LOCAL } = to;
  const bytes = new Uint8Array(28 + data.length);
  bytes.set(data, 28);
  const o = octetsOf(bytes);
  wire.emit(o, 20, from, port, 8 + data.length, pseudoHeaderSum(REMOTE, address, PROTOCOL_UDP));
  ipv4.emit(o.dv, 0, bytes.length, 0, 1, 0, 61, PROTOCOL_UDP, REMOTE.d, address.d);
  return bytes;
}

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

test('udp: a bound socket takes datagrams whole, one by one, and says where they came from', () => {
  const { stack, send } = rig();
  const socket = stack.udpSocket();
  socket.bind({ port: 53 });
  send(datagram(bytes(1, 2, 3), { port: 53 }));
  send(datagram(bytes(), { port: 53, from: 6000 }));
  assert.equal(stack.nextChanged(), socket);
  assert.equal(socket.takeEvents() & READABLE, READABLE);
  const source = new Source();
  const target = new Uint8Array(10);
  assert.equal(socket.peekLength(), 3);
  assert.equal(socket.recv(target, source), 3);
  assert.deepEqual([source.address.toString(), source.port, source.ttl, source.length], ['10.0.0.2', 5000, 61, 3]);
  assert.equal(socket.recv(target, source), 0, 'an empty datagram is one');
  assert.equal(source.port, 6000);
  assert.equal(socket.recv(target, source), -1);
  assert.equal(socket.canRecv(), false);
  stack.close();
  assert.equal(stack.memory.usedBytes, 0);
});

test("udp: what does not fit the reader's buffer is lost, and the next one is whole", () => {
  const { stack, send } = rig();
  const socket = stack.udpSocket();
  socket.bind({ port: 53 });
  send(datagram(bytes(1, 2, 3, 4), { port: 53 }));
  send(datagram(bytes(9), { port: 53 }));
  const source = new Source();
  const target = new Uint8Array(2);
  assert.deepEqual([socket.recv(target, source), source.length], [2, 4]);
  assert.deepEqual([socket.recv(target, source), target[0]], [1, 9]);
  stack.close();
});

test('udp: RFC 1122 §4.1.3.1: a port that nobody has is unreachable', () => {
  const { stack, send, lines } = rig();
  send(datagram(bytes(1), { port: 9 }));
  assert.deepEqual(lines(), [
    'IP 10.0.0.1 > 10.0.0.2: ICMP unreachable - port, length 37 [IP 10.0.0.2.5000 > 10.0.0.1.9: UDP, length 9]',
  ]);
  assert.equal(stack.stats.drops['udp-no-socket'], 1);
  stack.close();
});

test('udp: the queue is bounded by bytes, and what comes then is dropped and counted', () => {
  const { stack, send } = rig();
  const socket = stack.udpSocket(4096);
  socket.bind({ port: 53 });
  for (let i = 0; i < 10; i++) send(datagram(new Uint8Array(1000), { port: 53 }));
  assert.equal(stack.stats.drops['udp-queue-full'], 7);
  let count = 0;
  for (const source = new Source(); socket.recv(new Uint8Array(1000), source) >= 0; count++);
  assert.equal(count, 3);
  stack.close();
});

test('udp: datagrams put in and taken out at random are the same and in order', () => {
  const random = randomOf(2);
  const { stack, send } = rig();
  const socket = stack.udpSocket(1 << 14);
  socket.bind({ port: 53 });
  const twin: Uint8Array[] = [];
  const target = new Uint8Array(1500);
  const source = new Source();
  for (let i = 0; i < 3000; i++) {
    if (random.next() < 0.55) {
      const data = random.bytes(random.below(random.next() < 0.1 ? 1400 : 60));
      const before = stack.stats.drops['udp-queue-full'] ?? 0;
      send(datagram(data, { port: 53 }));
      if ((stack.stats.drops['udp-queue-full'] ?? 0) === before) twin.push(data);
    } else {
      const count = socket.recv(target, source);
      const expected = twin.shift();
      assert.deepEqual(count < 0 ? undefined : target.slice(0, count), expected);
    }
  }
  assert.ok((stack.stats.drops['udp-queue-full'] ?? 0) > 0, 'the limit was met');
  socket.close();
  assert.equal(stack.memory.usedBytes, 0);
  stack.close();
});

test('udp: the most specific address takes it; a connected socket only what its peer sends', () => {
  const { stack, send } = rig();
  const make = (address?: IpAddress) => {
    const socket = stack.udpSocket();
    socket.bind({ port: 53, ...(address === undefined ? {} : { address }) });
    return socket;
  };
  const one = make(LOCAL);
  const two = make(OTHER);
  assert.throws(() => make(), { code: 'EADDRINUSE', syscall: 'bind', port: 53 });
  assert.throws(() => make(LOCAL), { code: 'EADDRINUSE' });
  assert.throws(() => make(REMOTE), { code: 'EADDRNOTAVAIL' });
  send(datagram(bytes(1), { port: 53 }));
  send(datagram(bytes(2), { port: 53, address: OTHER }));
  assert.deepEqual([one.peekLength(), two.peekLength()], [1, 1]);
  const connected = stack.udpSocket();
  connected.bind({ port: 54 });
  connected.connect({ address: REMOTE, port: 5000 });
  assert.throws(() => connected.connect({ address: REMOTE, port: 1 }), { code: 'EISCONN' });
  send(datagram(bytes(1), { port: 54, from: 5001 }));
  assert.equal(connected.canRecv(), false);
  send(datagram(bytes(1), { port: 54, from: 5000 }));
  assert.equal(connected.canRecv(), true);
  stack.close();
  assert.equal(stack.memory.usedBytes, 0);
});

test('udp: what is sent to everybody reaches every socket of the port', () => {
  const { stack, send } = rig();
  const any = stack.udpSocket();
  any.bind({ port: 67 });
  send(datagram(bytes(1), { port: 67, address: IpAddress.parse('10.0.0.255') }));
  send(datagram(bytes(1), { port: 67, address: IpAddress.parse('255.255.255.255') }));
  const source = new Source();
  assert.equal(any.recv(new Uint8Array(1), source), 1);
  assert.equal(any.recv(new Uint8Array(1), source), 1);
  send(datagram(bytes(1), { port: 68, address: IpAddress.parse('10.0.0.255') }));
  assert.equal(stack.stats.icmpErrorsOut, 0, 'RFC 1122 §3.2.2: no error about a broadcast');
  stack.close();
});

test('udp: RFC 1122 §4.1.3.3: an error comes once to the connected socket it is about, and to no other', () => {
  const { stack, device, send } = rig();
  const connected = stack.udpSocket();
  connected.connect({ address: REMOTE, port: 53 });
  const bound = stack.udpSocket();
  bound.bind({ port: 4000 });
  connected.send(bytes(1));
  bound.send(bytes(1), { address: REMOTE, port: 53 });
  for (const packet of device.sent.splice(0)) {
    const error = new Uint8Array(28 + 28);
    error.set(packet.subarray(0, 28), 28);
    const o = octetsOf(error);
    icmpv4.emit(o, 20, icmpv4.UNREACHABLE, icmpv4.CODE_PORT, 0, 36);
    ipv4.emit(o.dv, 0, 56, 0, 1, 0, 64, PROTOCOL_ICMP, REMOTE.d, LOCAL.d);
    send(error);
  }
  assert.throws(() => connected.recv(new Uint8Array(1), new Source()), {
    code: 'ECONNREFUSED',
    syscall: 'recv',
    port: 53,
  });
  assert.equal(connected.recv(new Uint8Array(1), new Source()), -1);
  assert.equal(connected.send(bytes(1)), true);
  assert.equal(bound.send(bytes(1), { address: REMOTE, port: 53 }), true);
  stack.close();
});

test('udp: sizes, and errors of a send', () => {
  const { stack, device } = rig();
  const socket = stack.udpSocket();
  const to = { address: REMOTE, port: 53 };
  assert.equal(socket.send(new Uint8Array(1472), to), true);
  assert.equal(device.sent[0]!.length, 1500);
  assert.ok(socket.port >= 32_768, 'bound by the first send');
  assert.throws(() => socket.send(new Uint8Array(65_508), to), {
    code: 'EMSGSIZE',
    syscall: 'send',
    address: '10.0.0.2',
    port: 53,
  });
  for (const port of [0, 70_001]) {
    assert.throws(() => socket.send(new Uint8Array(1), { address: REMOTE, port }), { name: 'RangeError' });
  }
  assert.throws(() => socket.send(new Uint8Array(1), { address: IpAddress.parse('9.9.9.9'), port: 1 }), {
    code: 'ENETUNREACH',
  });
  assert.throws(() => socket.send(new Uint8Array(1)), { code: 'ENOTCONN' });
  device.roomFrames = 0;
  assert.equal(socket.send(new Uint8Array(1), to), false, 'no room now');
  stack.close();
});

test('udp: ports drawn by the stack are unique, and free again after close', () => {
  const { stack } = rig();
  const sockets = Array.from({ length: 500 }, () => {
    const socket = stack.udpSocket();
    socket.bind();
    return socket;
  });
  assert.equal(new Set(sockets.map((s) => s.port)).size, 500);
  const { port } = sockets[0]!;
  sockets[0]!.close();
  const again = stack.udpSocket();
  again.bind({ port });
  assert.throws(() => again.bind({ port: 1 }), { code: 'EINVAL' });
  stack.close();
});

test('udp: with memory full nothing is sent and nothing taken, and all is well afterwards', () => {
  const { stack, send } = rig(1 << 18);
  const { memory } = stack;
  const socket = stack.udpSocket();
  socket.bind({ port: 53 });
  const packet = datagram(bytes(1), { port: 53 });
  const taken: number[] = [];
  for (let block = memory.alloc(2048); block !== 0; block = memory.alloc(2048)) taken.push(block);
  assert.equal(socket.send(bytes(1), { address: REMOTE, port: 53 }), false);
  memory.free(taken.pop()!);
  send(packet);
  assert.equal(stack.stats.drops['udp-queue-full'], 1);
  for (const block of taken) memory.free(block);
  send(packet);
  assert.equal(socket.canRecv(), true);
  stack.close();
  assert.equal(memory.usedBytes, 0);
});

test('an address of ours to send from: that of a link takes the destination to its link, and both are of one family', () => {
  const { stack, device, lines } = rig();
  const other = new PeerDevice('ip');
  const iface = stack.addInterface(other, { addresses: [Cidr.parse('fe80::9/64')] });
  const socket = stack.udpSocket();
  const to = { address: IpAddress.parse('fe80::2'), port: 53 };
  assert.equal(socket.send(new Uint8Array(1), to, IpAddress.parse('fe80::9')), true);
  assert.equal(socket.send(new Uint8Array(1), to, IpAddress.parse('fe80::9').withZone(iface.index)), true);
  stack.poll(1000);
  assert.equal(other.sent.filter((bytes) => bytes[6] === PROTOCOL_UDP).length, 2);
  lines();
  assert.equal(socket.send(new Uint8Array(1), { address: REMOTE, port: 53 }, IpAddress.parse('::')), true);
  const remotes = [REMOTE, LOCAL].map((address) => ({ address, port: 53 }));
  for (const remote of remotes) {
    assert.throws(() => socket.send(new Uint8Array(1), remote, IpAddress.parse('fd00::1')), { code: 'EINVAL' });
  }
  assert.throws(() => socket.send(new Uint8Array(1), { address: IpAddress.parse('fd00::2'), port: 53 }, LOCAL), {
    code: 'EINVAL',
  });
  stack.close();
  device.close();
  other.close();
  assert.equal(stack.memory.usedBytes, 0);
});
