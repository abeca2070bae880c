import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EtherPeer, etherFrameOf } from '../../test/ether.ts';
import { PING, PING_OPTIONS, PING6, UDP6_DATA } from '../../test/packets.ts';
import { PeerDevice } from '../../test/peer.ts';
import { Stack } from '../stack.ts';
import { Cidr, IpAddress, MacAddress } from '../wire/address.ts';
import * as ethernet from '../wire/ethernet.ts';
import * as ipv4 from '../wire/ipv4.ts';
import { octetsOf } from '../wire/octets.ts';
import { formatFrame } from '../wire/packet.ts';
import type { DropReason } from './stats.ts';

/** A stack at 10.0.0.2 and fd00::2, as the packets of test/packets.ts have it, on an IP device. */
function rig() {
  const device = new PeerDevice('ip');
  const stack = new Stack({ random: () => 99, memory: 1 << 20 });
  stack.addInterface(device, { addresses: [Cidr.parse('10.0.0.2/24'), Cidr.parse('fd00::2/64')] });
  let now = 1000;
  const send = (bytes: Uint8Array): void => {
    device.deliver(bytes);
    stack.poll(now++);
  };
  const lines = (): string[] =>
    device.sent.splice(0).map((bytes) => formatFrame(octetsOf(bytes), 0, bytes.length, 'ip'));
  return { stack, device, send, lines };
}

/** PING with another source or destination. */
function pingFrom(source: string, destination = '10.0.0.2'): Uint8Array {
  const bytes = PING.slice();
  const o = octetsOf(bytes);
  const [from, to] = [IpAddress.parse(source), IpAddress.parse(destination)];
  ipv4.emit(o.dv, 0, bytes.length, 0, 1, 0, 64, 1, from.d, to.d);
  return bytes;
}

test('ip: an echo request of either family is answered, with options and all', () => {
  const { stack, send, lines } = rig();
  send(PING);
  assert.deepEqual(lines(), ['IP 10.0.0.2 > 10.0.0.1: ICMP echo reply, id 1, seq 2, length 56']);
  send(PING_OPTIONS);
  assert.deepEqual(lines(), ['IP 10.0.0.2 > 10.0.0.1: ICMP echo reply, id 1, seq 2, length 56']);
  send(PING6);
  assert.match(lines()[0]!, /^IP6 fd00::2 > fd00::1: ICMP6, echo reply/);
  stack.close();
});

const DROPS: { name: string; packet: Uint8Array; reason: DropReason }[] = [
  { name: 'RFC 1122 §3.2.1.3: a multicast source', packet: pingFrom('224.0.0.5'), reason: 'ip-bad-source' },
  { name: 'a broadcast source', packet: pingFrom('10.0.0.255'), reason: 'ip-bad-source' },
  { name: 'the limited broadcast as a source', packet: pingFrom('255.255.255.255'), reason: 'ip-bad-source' },
  { name: 'no source at all', packet: pingFrom('0.0.0.0'), reason: 'ip-bad-source' },
  { name: 'a loopback source from outside', packet: pingFrom('127.0.0.1'), reason: 'ip-martian' },
  { name: 'our own address as a source, from outside', packet: pingFrom('10.0.0.2'), reason: 'ip-martian' },
  { name: 'a loopback destination from outside', packet: pingFrom('10.0.0.1', '127.0.0.1'), reason: 'ip-martian' },
  { name: "another host's address", packet: pingFrom('10.0.0.1', '10.0.0.3'), reason: 'ip-not-ours' },
  { name: 'a group we are not in', packet: pingFrom('10.0.0.1', '224.0.0.99'), reason: 'ip-no-member' },
  { name: 'cut short', packet: PING.slice(0, 12), reason: 'ip-truncated' },
  { name: 'another version', packet: Uint8Array.of(0x95, ...PING.slice(1)), reason: 'ip-bad-version' },
];
for (const { name, packet, reason } of DROPS) {
  test(`ip: ${name} is dropped as ${reason}, without a word`, () => {
    const { stack, send, lines } = rig();
    send(packet);
    assert.deepEqual(lines(), []);
    assert.equal(stack.stats.drops[reason], 1);
    stack.close();
    assert.equal(stack.memory.usedBytes, 0);
  });
}

test('ip: RFC 1122 §3.2.2.6: a ping to everybody is not answered', () => {
  const { stack, send, lines } = rig();
  for (const to of ['10.0.0.255', '255.255.255.255', '224.0.0.1']) send(pingFrom('10.0.0.1', to));
  assert.deepEqual(lines(), []);
  stack.close();
});

test('ip: RFC 1122 §3.2.2.1: an unknown protocol is unreachable, and quoted', () => {
  const { stack, send, lines } = rig();
  const packet = PING.slice();
  ipv4.emit(
    octetsOf(packet).dv,
    0,
    packet.length,
    0,
    1,
    0,
    64,
    99,
    IpAddress.parse('10.0.0.1').d,
    IpAddress.parse('10.0.0.2').d,
  );
  send(packet);
  assert.match(lines()[0]!, /10\.0\.0\.2 > 10\.0\.0\.1: ICMP .*protocol 99 unreachable|unreachable/);
  assert.equal(stack.stats.drops['ip-unknown-protocol'], 1);
  stack.close();
});

/** The UDP packet with a header of `type` and 8 bytes before UDP. */
function extended(type: number, option: number): Uint8Array {
  const header = Uint8Array.of(17, 0, option, 4, 0, 0, 0, 0);
  const packet = Uint8Array.of(...UDP6_DATA.subarray(0, 40), ...header, ...UDP6_DATA.subarray(40));
  packet[6] = type;
  packet[5]! += 8;
  return packet;
}

test('ip: RFC 8200 §4.2: extension headers are passed over, unknown options may have the packet dropped', () => {
  const { stack, send } = rig();
  send(extended(60, 1));
  send(extended(0, 0x1e));
  assert.equal(stack.stats.drops['udp-no-socket'], 2, 'both came to UDP');
  send(extended(0, 0x40));
  assert.equal(stack.stats.drops['ip-unknown-option'], 1);
  send(extended(44, 1));
  assert.equal(stack.stats.drops['ip-fragment-bad-length'] ?? stack.stats.fragmentsIn, 1);
  stack.close();
});

test('ip: RFC 4942 §2.2: a mapped address is dropped', () => {
  const { stack, send } = rig();
  const mapped = UDP6_DATA.slice();
  mapped.set(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1), 8);
  send(mapped);
  assert.equal(stack.stats.drops['ip-martian'], 1);
  stack.close();
});

test('ip: what a stack sends to itself comes back, from any of its addresses, and leaves by no device', () => {
  const { stack, device } = rig();
  const socket = stack.udpSocket();
  socket.bind({ port: 7 });
  for (const text of ['127.0.0.1', '127.1.2.3', '10.0.0.2', '::1', 'fd00::2']) {
    socket.send(Uint8Array.of(1), { address: IpAddress.parse(text), port: 7 });
    stack.poll(1000);
    assert.equal(socket.canRecv(), true, text);
    socket.recv(new Uint8Array(1), { length: 0, port: 0, ttl: 0, a: 0, b: 0, c: 0, d: 0 } as never);
  }
  assert.equal(device.sent.length, 0);
  stack.close();
});

test('ip: several interfaces: packets for the address of one are taken on the other (RFC 1122 §3.3.4.2)', () => {
  const devices = [new PeerDevice(), new PeerDevice()];
  const stack = new Stack({ random: () => 99, memory: 1 << 20 });
  stack.addInterface(devices[0]!, { addresses: [Cidr.parse('10.0.0.2/24')] });
  stack.addInterface(devices[1]!, { addresses: [Cidr.parse('10.1.0.2/24')] });
  devices[0]!.deliver(pingFrom('10.0.0.1', '10.1.0.2'));
  stack.poll(1);
  assert.equal(devices[0]!.sent.length, 1);
  stack.close();
});

test("ethernet: frames for others, of unknown types and cut short are dropped; ours and everybody's are taken", () => {
  const peer = new EtherPeer();
  const toUs = pingFrom('10.0.0.2', '10.0.0.1');
  const count = (reason: DropReason): number => peer.stack.stats.drops[reason] ?? 0;
  peer.send(etherFrameOf(toUs, MacAddress.parse('02:00:00:00:00:55')));
  assert.equal(count('link-not-ours'), 1);
  peer.send(etherFrameOf(toUs, undefined, 0x88b5));
  assert.equal(count('link-unknown-type'), 1);
  peer.send(toUs.slice(0, 13));
  assert.equal(count('ethernet-truncated'), 1);
  assert.deepEqual(peer.lines(), []);
  peer.send(etherFrameOf(toUs, new MacAddress(0xffff, -1)));
  assert.deepEqual(peer.lines(), [], 'RFC 1122 §3.2.2.6: sent to everybody by the link, a ping is not answered');
  peer.send(etherFrameOf(toUs));
  assert.deepEqual(peer.lines(), ['ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28']);
  void ethernet;
  peer.stack.close();
  assert.equal(peer.stack.memory.usedBytes, 0);
});

test('ethernet: padding behind a short packet is no part of it', () => {
  const peer = new EtherPeer();
  const padded = new Uint8Array(60);
  const ping = PING.slice(0, 32);
  ipv4.emit(octetsOf(ping).dv, 0, 32, 0, 1, 0, 64, 17, IpAddress.parse('10.0.0.2').d, IpAddress.parse('10.0.0.1').d);
  // A datagram of 4 bytes without a checksum, and 14 bytes of padding.
  ping.set(Uint8Array.of(0x13, 0x88, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4), 20);
  padded.set(etherFrameOf(ping));
  padded.fill(0xee, 14 + 32);
  const socket = peer.stack.udpSocket();
  socket.bind({ port: 53 });
  peer.send(padded);
  assert.equal(socket.peekLength(), 4);
  peer.stack.close();
});
