import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PING, PONG, UDP_DATA } from '../../test/packets.ts';
import { PeerDevice } from '../../test/peer.ts';
import { icmpPacket, type PacketOptions, udpPacket } from '../../test/router.ts';
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

test('icmp: RFC 4443 §2.4 (f): errors are limited to each destination and in all, and the limits refill', () => {
  const { stack, clock, send, lines } = rig('10.0.0.2');
  for (let i = 0; i < 200; i++) send(UDP_DATA);
  assert.equal(lines().length, 20);
  assert.equal(stack.stats.drops['icmp-rate-limited'], 180);
  clock.now += 50;
  for (let i = 0; i < 200; i++) send(UDP_DATA);
  assert.equal(lines().length, 5);
  // Others have buckets of their own, up to what all have together.
  clock.now += 1000;
  for (let i = 0; i < 200; i++) send(udpPacket({ from: `10.0.0.${3 + i}`, to: '10.0.0.2' }));
  assert.equal(lines().length, 50);
  clock.now += 10;
  for (let i = 0; i < 200; i++) send(udpPacket({ from: `10.0.0.${3 + i}`, to: '10.0.0.2' }));
  assert.equal(lines().length, 10);
  stack.close();
});

const QUOTED = { from: '10.0.0.2', to: '10.0.9.9' };
const QUOTED_V6 = { from: 'fd00::2', to: 'fd00::9' };

describe('icmp: errors of both families reach the UDP socket that asked for them, with their origin', () => {
  const rows: [string, number, number, number, object | null][] = [
    ['10.0.9.1', 3, 1, 0, { code: 'EHOSTUNREACH', origin: 'icmp', type: 3, icmpCode: 1, info: 0 }],
    ['10.0.9.1', 3, 3, 0, { code: 'ECONNREFUSED', origin: 'icmp', type: 3, icmpCode: 3, info: 0 }],
    ['10.0.9.1', 3, 4, 1400, { code: 'EMSGSIZE', origin: 'icmp', type: 3, icmpCode: 4, info: 1400 }],
    ['10.0.9.1', 11, 0, 0, { code: 'EHOSTUNREACH', origin: 'icmp', type: 11, icmpCode: 0, info: 0 }],
    ['10.0.9.1', 12, 0, 9 << 24, { code: 'EPROTO', origin: 'icmp', type: 12, icmpCode: 0, info: 9 }],
    ['10.0.9.1', 4, 0, 0, null],
    ['10.0.9.1', 5, 1, 0, null],
    ['fd00::5', 1, 3, 0, { code: 'EHOSTUNREACH', origin: 'icmp6', type: 1, icmpCode: 3, info: 0 }],
    ['fd00::5', 2, 0, 1300, { code: 'EMSGSIZE', origin: 'icmp6', type: 2, icmpCode: 0, info: 1300 }],
    ['fd00::5', 3, 0, 0, { code: 'EHOSTUNREACH', origin: 'icmp6', type: 3, icmpCode: 0, info: 0 }],
    ['fd00::5', 4, 1, 40, { code: 'EPROTO', origin: 'icmp6', type: 4, icmpCode: 1, info: 40 }],
  ];
  for (const [from, type, code, rest, expected] of rows) {
    test(`type ${type}, code ${code} from ${from}`, () => {
      const { stack, send } = rig('10.0.0.2');
      stack.addAddress(stack.interfaces[1]!, Cidr.parse('fd00::2/64'));
      const isV6 = from.includes(':');
      const quoted = isV6 ? QUOTED_V6 : QUOTED;
      const message = icmpPacket({ from, to: quoted.from, type, code, rest, quote: udpPacket(quoted) });
      const plain = stack.udpSocket();
      plain.bind({ port: 5000, address: IpAddress.parse(quoted.from) });
      send(message);
      assert.deepEqual([plain.takeErrorDetail(), plain.error], [null, null], 'it did not ask, and is not connected');
      plain.receiveErrors = true;
      send(message);
      const detail = plain.takeErrorDetail();
      if (expected === null) {
        assert.equal(detail, null);
      } else {
        const { offender, address, port, data, ...rest } = detail!;
        assert.deepEqual(rest, expected);
        assert.deepEqual([offender!.toString(), address.toString(), port], [from, quoted.to, 6000]);
        assert.deepEqual([...data.subarray(0, 2)], [8, 9], 'the payload behind the UDP header');
        assert.equal(plain.error, null);
      }
      plain.close();
      stack.close();
      assert.equal(stack.memory.usedBytes, 0);
    });
  }
});

test('icmp: an error about another address, port or family is for nobody; the queue of errors is bounded', () => {
  const { stack, send } = rig('10.0.0.2');
  const socket = stack.udpSocket();
  socket.bind({ port: 5000 });
  socket.receiveErrors = true;
  const error = (quoted: PacketOptions): Uint8Array =>
    icmpPacket({ from: '10.0.0.9', to: '10.0.0.2', type: 3, code: 1, quote: udpPacket(quoted) });
  send(error({ ...QUOTED, from: '10.0.0.3' }));
  const other = udpPacket(QUOTED);
  other[21] = 0x89; // another source port
  send(icmpPacket({ from: '10.0.0.9', to: '10.0.0.2', type: 3, code: 1, quote: other }));
  send(icmpPacket({ from: '10.0.0.9', to: '10.0.0.2', type: 3, code: 1, quote: udpPacket(QUOTED).subarray(0, 27) }));
  assert.equal(socket.hasErrorDetail, false);
  for (let i = 0; i < 40; i++) send(error(QUOTED));
  assert.equal(stack.stats.drops['icmp-error-queue-full'], 8);
  for (let i = 0; i < 32; i++) assert.equal(socket.takeErrorDetail()!.code, 'EHOSTUNREACH');
  assert.equal(socket.takeErrorDetail(), null);
  stack.close();
});

test('icmp: a connected UDP socket fails by hard errors, and keeps all of them where it asked', () => {
  const { stack, send } = rig('10.0.0.2');
  stack.addDefaultRoute(IpAddress.parse('10.0.0.1'));
  const socket = stack.udpSocket();
  socket.bind({ port: 5000 });
  socket.connect({ address: IpAddress.parse(QUOTED.to), port: 6000 });
  socket.receiveErrors = true;
  const error = (type: number): Uint8Array =>
    icmpPacket({ from: '10.0.0.9', to: '10.0.0.2', type, code: type === 3 ? 3 : 0, quote: udpPacket(QUOTED) });
  send(error(11));
  assert.deepEqual([socket.error, socket.takeErrorDetail()!.type], [null, 11]);
  send(error(3));
  assert.deepEqual([socket.error, socket.takeErrorDetail()!.type], ['ECONNREFUSED', 3]);
  stack.close();
});

test('icmp: a ping socket is told of errors about its requests; one bound to a UDP port gets whole messages', () => {
  const { stack, send } = rig('10.0.0.2');
  const socket = stack.icmpSocket();
  socket.bind(77);
  const request = icmpPacket({ ...QUOTED, type: 8, rest: (77 << 16) | 3, length: 4 });
  send(icmpPacket({ from: '10.0.0.9', to: '10.0.0.2', type: 11, quote: request }));
  const detail = socket.takeErrorDetail()!;
  assert.deepEqual([detail.code, detail.port, detail.address.toString()], ['EHOSTUNREACH', 3, '10.0.9.9']);
  // A reply of ours that could not be delivered is no request.
  const reply = icmpPacket({ ...QUOTED, type: 0, rest: (77 << 16) | 3 });
  send(icmpPacket({ from: '10.0.0.9', to: '10.0.0.2', type: 3, quote: reply }));
  assert.equal(socket.takeErrorDetail(), null);
  const errors = stack.icmpSocket();
  errors.bindUdp({ port: 5000 });
  assert.throws(() => errors.bind(1), { code: 'EINVAL' });
  assert.throws(() => stack.icmpSocket().bindUdp({ port: 5000 }), { code: 'EADDRINUSE' });
  assert.throws(() => stack.icmpSocket().bindUdp({ port: 0 }), RangeError);
  const message = icmpPacket({ from: '10.0.0.9', to: '10.0.0.2', type: 3, code: 3, quote: udpPacket(QUOTED) });
  send(message);
  const buffer = new Uint8Array(200);
  const source = new Source();
  assert.equal(errors.recv(buffer, source), message.length - 20);
  assert.deepEqual(buffer.subarray(0, source.length), message.subarray(20));
  assert.deepEqual([source.address.toString(), source.port], ['10.0.0.9', 6000]);
  errors.close();
  send(message);
  assert.equal(errors.recv(buffer, source), -1);
  stack.close();
  assert.equal(stack.memory.usedBytes, 0);
});

test('icmp: RFC 1122 §3.2.2.8, §3.2.2.9, RFC 6918: requests for the time, the mask and the like are ignored', () => {
  const { stack, send, lines } = rig('10.0.0.2');
  for (const type of [13, 14, 15, 16, 17, 18]) send(icmpPacket({ from: '10.0.0.9', to: '10.0.0.2', type, length: 12 }));
  assert.deepEqual(lines(), []);
  assert.deepEqual(stack.stats.drops, { 'icmp-ignored-type': 6 });
  stack.close();
});

describe('icmp: RFC 1122 §3.2.2, RFC 4443 §2.4 (e): no error about', () => {
  for (const [name, packet] of [
    ['a packet to a broadcast', udpPacket({ from: '10.0.0.9', to: '10.0.0.255' })],
    ['a packet to everybody', udpPacket({ from: '10.0.0.9', to: '255.255.255.255' })],
    ['a packet to a group', udpPacket({ from: '10.0.0.9', to: '224.0.0.1' })],
    ['a packet to all nodes', udpPacket({ from: 'fd00::9', to: 'ff02::1' })],
    ['a packet from nobody', udpPacket({ from: '0.0.0.0', to: '10.0.0.2' })],
    ['a packet from ::', udpPacket({ from: '::', to: 'fd00::2' })],
    ['a packet from a broadcast', udpPacket({ from: '10.0.0.255', to: '10.0.0.2' })],
    ['a packet from loopback', udpPacket({ from: '127.0.0.1', to: '10.0.0.2' })],
  ] as const) {
    test(name, () => {
      const { stack, send, lines } = rig('10.0.0.2');
      stack.addAddress(stack.interfaces[1]!, Cidr.parse('fd00::2/64'));
      send(packet);
      assert.deepEqual(lines(), []);
      assert.equal(stack.stats.icmpErrorsOut, 0);
      stack.close();
    });
  }
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
