import assert from 'node:assert/strict';
import { test } from 'node:test';
import { icmpPacket, Rig, udpPacket } from '../../test/router.ts';
import { Source } from '../udp/datagram-queue.ts';
import { IpAddress } from '../wire/address.ts';
import * as icmpv6 from '../wire/icmpv6.ts';
import { PROTOCOL_ICMPV6, pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { octetsOf } from '../wire/octets.ts';

const OURS = { to: '10.0.1.1' };
const OURS_V6 = { from: 'fd01::2', to: 'fd01::1' };
const buffer = new Uint8Array(2000);
const source = new Source();
const address = (text: string): IpAddress => IpAddress.parse(text);

/** The same packet of another protocol. */
function ofProtocol(protocol: number, options = {}): Uint8Array {
  const bytes = udpPacket({ ...OURS, ...options });
  const o = octetsOf(bytes);
  if (ipv4.version(o.dv, 0) === 6) {
    bytes[6] = protocol;
    return bytes;
  }
  bytes[9] = protocol;
  ipv4.patchLength(o, 0, bytes.length, 7);
  return bytes;
}

test('raw: each socket of a protocol gets each packet, with its header; the protocol itself is served as well', () => {
  const { stack, put, taken } = bound(new Rig());
  const udp = stack.udpSocket();
  udp.bind({ port: 6000 });
  const sockets = [17, 17, 1].map((protocol) => stack.rawSocket({ family: 4, protocol }));
  const packet = udpPacket(OURS);
  put(0, packet);
  for (const socket of sockets.slice(0, 2)) {
    assert.equal(socket.peekLength(), packet.length);
    assert.equal(socket.peek(buffer, source), packet.length);
    assert.equal(socket.recv(buffer, source), packet.length);
    assert.deepEqual(buffer.subarray(0, packet.length), packet);
    assert.equal(source.address.toString(), '10.0.1.2');
    assert.equal(socket.recv(buffer, source), -1);
  }
  assert.equal(sockets[2]!.canRecv(), false);
  assert.equal(udp.recv(buffer, source), 10);
  // An echo request is answered, and seen.
  put(0, icmpPacket({ ...OURS, type: 8 }));
  assert.equal(taken(0).length, 1);
  assert.equal(sockets[2]!.recv(buffer, source), 28);
  stack.close();
  assert.equal(stack.memory.usedBytes, 0);
  assert.equal(stack.ip.raw, null, 'nobody is asked any longer');
});

/** The methods of a rig as functions. */
const bound = (rig: Rig) => ({
  stack: rig.stack,
  put: (i: number, bytes: Uint8Array): void => rig.put(i, bytes),
  taken: (i: number): Uint8Array[] => rig.taken(i),
  drops: () => rig.drops(),
});

test('raw: a protocol that has a socket is not unreachable; without one it is, and in IPv6 a parameter problem', () => {
  const { stack, put, taken, drops } = bound(new Rig());
  const socket = stack.rawSocket({ family: 4, protocol: 89 });
  put(0, ofProtocol(89));
  assert.deepEqual([taken(0), socket.recv(buffer, source), drops()], [[], 38, {}]);
  socket.close();
  put(0, ofProtocol(89));
  const [error] = taken(0);
  assert.deepEqual([error![20], error![21]], [3, 2], 'RFC 1122 §3.2.2.1');
  put(0, ofProtocol(89, OURS_V6));
  const [problem] = taken(0);
  // RFC 8200 §4: code 1, the pointer at the Next Header field.
  assert.deepEqual([problem![40], problem![41], octetsOf(problem!).dv.getUint32(44)], [4, 1, 6]);
  assert.equal(drops()['ip-unknown-protocol'], 2);
  stack.close();
});

test('raw: bind and connect filter', () => {
  const { stack, put } = bound(new Rig());
  const socket = stack.rawSocket({ family: 4, protocol: 89 });
  const counts = (): number => {
    put(0, ofProtocol(89));
    put(0, ofProtocol(89, { from: '10.0.1.3' }));
    put(0, ofProtocol(89, { to: '10.0.2.1' }));
    let count = 0;
    while (socket.recv(buffer, source) >= 0) count++;
    return count;
  };
  assert.equal(counts(), 3);
  socket.connect(address('10.0.1.2'));
  assert.equal(counts(), 2);
  socket.bind(address('10.0.2.1'));
  assert.equal(counts(), 1);
  socket.connect(null);
  socket.bind(address('0.0.0.0'));
  assert.equal(counts(), 3);
  assert.throws(() => socket.bind(address('10.9.9.9')), { code: 'EADDRNOTAVAIL' });
  assert.throws(() => socket.bind(address('fd01::1')), { code: 'EAFNOSUPPORT' });
  assert.throws(() => socket.connect(address('fd01::1')), { code: 'EAFNOSUPPORT' });
  stack.close();
});

test('raw: send makes the header, and of ICMPv6 the checksum: RFC 3542 §3.1', () => {
  const { stack, taken } = bound(new Rig());
  const socket = stack.rawSocket({ family: 4, protocol: 89 });
  socket.ttl = 7;
  socket.tos = 0x10;
  assert.equal(socket.send(Uint8Array.of(1, 2, 3), address('10.0.2.9')), true);
  const [packet] = taken(1);
  const { dv } = octetsOf(packet!);
  assert.equal(ipv4.check(octetsOf(packet!), 0, packet!.length), null);
  assert.deepEqual([ipv4.protocol(dv, 0), ipv4.ttl(dv, 0), ipv4.dsEcn(dv, 0)], [89, 7, 0x10]);
  assert.deepEqual([...packet!.subarray(20)], [1, 2, 3]);
  const ping = stack.rawSocket({ family: 6, protocol: 58 });
  ping.send(Uint8Array.of(128, 0, 0, 0, 0, 1, 0, 2), address('fd02::9'));
  const [request] = taken(1);
  const pseudo = pseudoHeaderSum(address('fd02::1'), address('fd02::9'), PROTOCOL_ICMPV6);
  assert.equal(icmpv6.check(octetsOf(request!), 40, request!.length, pseudo), null);
  assert.throws(() => socket.send(new Uint8Array(1)), { code: 'EDESTADDRREQ' });
  assert.throws(() => socket.send(new Uint8Array(1481), address('10.0.2.9')), { code: 'EMSGSIZE' });
  assert.throws(() => socket.send(new Uint8Array(1), address('172.16.0.1')), { code: 'ENETUNREACH' });
  stack.close();
});

test('raw: headerIncluded: lengths and checksum are filled in, source and identification where they are 0', () => {
  const { stack, taken } = bound(new Rig());
  const socket = stack.rawSocket({ family: 4, protocol: 255, headerIncluded: true });
  const packet = udpPacket({ from: '10.0.2.1', ttl: 3 });
  const spoiled = packet.slice();
  spoiled.fill(0, 2, 6);
  spoiled.fill(0, 10, 16);
  socket.send(spoiled);
  const [sent] = taken(1);
  assert.notEqual(ipv4.identification(octetsOf(sent!).dv, 0), 0);
  assert.equal(ipv4.check(octetsOf(sent!), 0, sent!.length), null);
  assert.equal(IpAddress.v4(ipv4.source(octetsOf(sent!).dv, 0)).toString(), '10.0.2.1');
  assert.deepEqual(sent!.subarray(16), packet.subarray(16));
  const six = stack.rawSocket({ family: 6, protocol: 255, headerIncluded: true });
  const packet6 = udpPacket({ from: 'fd02::1', to: 'fd02::7' });
  const spoiled6 = packet6.slice();
  spoiled6.fill(0, 4, 6);
  six.send(spoiled6);
  assert.deepEqual(taken(1), [packet6]);
  assert.equal(ipv6.check(octetsOf(packet6).dv, 0, packet6.length), null);
  assert.throws(() => socket.send(new Uint8Array(10)), { code: 'EINVAL' });
  assert.throws(() => socket.send(packet6), { code: 'EINVAL' });
  const header = packet.slice();
  header[0] = 0x44;
  assert.throws(() => socket.send(header), { code: 'EINVAL' });
  header[0] = 0x4f;
  assert.throws(() => socket.send(header), { code: 'EINVAL' });
  stack.close();
});

test('raw: the queue is bounded by bytes, and so is the number of sockets', () => {
  const { stack, put, drops } = bound(new Rig());
  const socket = stack.rawSocket({ family: 4, protocol: 89, receiveBytes: 2048 });
  for (let i = 0; i < 100; i++) put(0, ofProtocol(89));
  // 38 bytes and 56 more each.
  assert.equal(drops()['raw-queue-full'], 100 - Math.floor(2048 / 94));
  for (let i = 0; i < 63; i++) stack.rawSocket({ family: 6, protocol: 89 });
  assert.throws(() => stack.rawSocket({ family: 6, protocol: 89 }), { code: 'EMFILE' });
  socket.close();
  socket.close();
  stack.rawSocket({ family: 6, protocol: 89 });
  for (const options of [{ protocol: 256 }, { protocol: -1 }, { protocol: 1.5 }, { receiveBytes: 1000 }]) {
    assert.throws(() => stack.rawSocket({ family: 4, protocol: 89, ...options }), RangeError);
  }
  assert.throws(() => stack.rawSocket({ family: 5 as never, protocol: 1 }), TypeError);
  stack.close();
  assert.equal(stack.memory.usedBytes, 0);
});

test('raw: a connected socket is told of errors about its peer', () => {
  const { stack, put } = bound(new Rig());
  const socket = stack.rawSocket({ family: 4, protocol: 89 });
  const quote = ofProtocol(89, { from: '10.0.1.1', to: '10.0.9.9' });
  const error = icmpPacket({ ...OURS, type: 3, code: 2, quote });
  put(0, error);
  assert.equal(socket.takeErrorDetail(), null, 'it has no peer');
  socket.connect(address('10.0.9.9'));
  put(0, error);
  const detail = socket.takeErrorDetail()!;
  assert.deepEqual([detail.code, detail.type, detail.icmpCode], ['ENOPROTOOPT', 3, 2]);
  assert.equal(detail.offender!.toString(), '10.0.1.2');
  assert.deepEqual(detail.data, quote.subarray(20));
  put(0, icmpPacket({ ...OURS, type: 3, code: 2, quote: ofProtocol(89, { from: '10.0.5.5', to: '10.0.9.9' }) }));
  assert.equal(socket.takeErrorDetail(), null, 'RFC 5927 §4.1: nothing that we can have sent');
  stack.close();
});
