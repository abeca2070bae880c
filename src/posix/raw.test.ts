import assert from 'node:assert/strict';
import { test } from 'node:test';
import { icmpPacket, Rig, udpPacket } from '../../test/router.ts';
import { NetError } from '../errors.ts';
import * as ipv4 from '../wire/ipv4.ts';
import { octetsOf } from '../wire/octets.ts';
import { LINUX as L, Posix } from './index.ts';

const OURS = { to: '10.0.1.1' };
const v4 = (address: string, port = 0) => ({ family: L.AF_INET, address, port });
const v6 = (address: string, port = 0) => ({ family: L.AF_INET6, address, port });
const codeOf = (call: () => unknown): unknown => {
  try {
    return call();
  } catch (error) {
    if (error instanceof NetError) return error.code;
    throw error;
  }
};

function start() {
  const rig = new Rig();
  const posix = new Posix(rig.stack);
  const buffer = new Uint8Array(2000);
  return { rig, posix, buffer };
}

test('posix raw: which protocols there are', () => {
  const { rig, posix } = start();
  const answers = [0, 1, 255, 256, 262, 263, -1].map((protocol) => {
    const result = codeOf(() => posix.socket(L.AF_INET, L.SOCK_RAW, protocol));
    return typeof result === 'number' ? 'fd' : result;
  });
  assert.deepEqual(answers, ['EPROTONOSUPPORT', 'fd', 'fd', 'EPROTONOSUPPORT', 'EPROTONOSUPPORT', 'EINVAL', 'EINVAL']);
  posix.closeAll();
  rig.stack.close();
  assert.equal(rig.stack.memory.usedBytes, 0);
});

test('posix raw: of IPv4 the header is read, of IPv6 it is not; poll and FIONREAD', () => {
  const { rig, posix, buffer } = start();
  const four = posix.socket(L.AF_INET, L.SOCK_RAW | L.SOCK_NONBLOCK, L.IPPROTO_UDP);
  const six = posix.socket(L.AF_INET6, L.SOCK_RAW | L.SOCK_NONBLOCK, L.IPPROTO_UDP);
  assert.equal(
    codeOf(() => posix.recvfrom(four, buffer, 0)),
    'EAGAIN',
  );
  const packet = udpPacket(OURS);
  rig.put(0, packet);
  posix.turn(rig.now);
  assert.equal(posix.ioctl(four, L.FIONREAD), packet.length);
  assert.deepEqual(posix.recvfrom(four, buffer, L.MSG_PEEK), { count: packet.length, address: v4('10.0.1.2') });
  assert.deepEqual(posix.recvfrom(four, buffer.subarray(0, 20), L.MSG_TRUNC).count, packet.length);
  const packet6 = udpPacket({ from: 'fd01::2', to: 'fd01::1' });
  rig.put(0, packet6);
  posix.turn(rig.now);
  assert.deepEqual(posix.recvfrom(six, buffer, 0), { count: packet6.length - 40, address: v6('fd01::2') });
  assert.deepEqual(buffer.subarray(0, packet6.length - 40), packet6.subarray(40));
  posix.closeAll();
  rig.stack.close();
});

test('posix raw: names, peers, and what connect and bind filter', () => {
  const { rig, posix, buffer } = start();
  const fd = posix.socket(L.AF_INET, L.SOCK_RAW | L.SOCK_NONBLOCK, L.IPPROTO_ICMP);
  assert.deepEqual(posix.getsockname(fd), v4('0.0.0.0', 1));
  assert.equal(
    codeOf(() => posix.getpeername(fd)),
    'ENOTCONN',
  );
  assert.equal(
    codeOf(() => posix.bind(fd, v4('10.77.0.1'))),
    'EADDRNOTAVAIL',
  );
  posix.connect(fd, v4('10.0.1.9', 3));
  assert.deepEqual(posix.getpeername(fd), v4('10.0.1.9', 3));
  rig.put(0, icmpPacket({ ...OURS, type: 8 }));
  assert.equal(
    codeOf(() => posix.recvfrom(fd, buffer, 0)),
    'EAGAIN',
  );
  posix.connect(fd, { family: L.AF_UNSPEC, address: '0.0.0.0', port: 0 });
  rig.put(0, icmpPacket({ ...OURS, type: 8 }));
  assert.equal(posix.recvfrom(fd, buffer, 0).count, 28);
  assert.equal(
    codeOf(() => posix.listen(fd, 1)),
    'EOPNOTSUPP',
  );
  posix.closeAll();
  rig.stack.close();
});

test('posix raw: sending, with a header of ours and with IP_HDRINCL; a port unreachable is told to the peer of a connect', () => {
  const { rig, posix, buffer } = start();
  const fd = posix.socket(L.AF_INET, L.SOCK_RAW | L.SOCK_NONBLOCK, 253);
  assert.equal(
    codeOf(() => posix.send(fd, Uint8Array.of(1), 0)),
    'EDESTADDRREQ',
  );
  posix.setsockopt(fd, L.SOL_IP, L.IP_TTL, 5);
  assert.equal(posix.sendto(fd, new Uint8Array(12), 0, v4('10.0.2.9')), 12);
  const [sent] = rig.taken(1);
  assert.deepEqual([ipv4.ttl(octetsOf(sent!).dv, 0), ipv4.protocol(octetsOf(sent!).dv, 0)], [5, 253]);
  assert.equal(posix.getsockopt(fd, L.SOL_IP, L.IP_HDRINCL), 0);
  posix.setsockopt(fd, L.SOL_IP, L.IP_HDRINCL, 1);
  assert.equal(posix.getsockopt(fd, L.SOL_IP, L.IP_HDRINCL), 1);
  const whole = udpPacket({ from: '10.0.2.1', to: '10.0.2.9' });
  posix.sendto(fd, whole, 0, v4('10.0.2.9'));
  assert.deepEqual(rig.taken(1), [whole]);
  assert.equal(
    codeOf(() => posix.sendto(fd, whole.subarray(0, 9), 0, v4('10.0.2.9'))),
    'EINVAL',
  );
  posix.connect(fd, v4('10.0.2.9'));
  rig.put(1, icmpPacket({ from: '10.0.2.9', to: '10.0.2.1', type: 3, code: 2, quote: sent! }));
  assert.equal(
    codeOf(() => posix.recvfrom(fd, buffer, 0)),
    'ENOPROTOOPT',
  );
  assert.equal(
    codeOf(() => posix.recvfrom(fd, buffer, 0)),
    'EAGAIN',
    'it is told once',
  );
  posix.closeAll();
  rig.stack.close();
});
