import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { at, bytesOf, CLIENT, PosixPair, SERVER } from '../../test/posix.ts';
import { icmpPacket, Rig, udpPacket } from '../../test/router.ts';
import { LINUX as L, Posix } from './index.ts';

const EPOCH_MS = 1_700_000_000_123.25;
const TIMESTAMPS = ['SO_TIMESTAMP', 'SO_TIMESTAMPNS', 'SO_TIMESTAMP_NEW', 'SO_TIMESTAMPNS_NEW'] as const;

describe('posix: when a datagram came', () => {
  for (const option of TIMESTAMPS) {
    test(`${option}: the time it came, not the time it is read`, () => {
      const pair = new PosixPair({ posix: { epochMs: EPOCH_MS } });
      const { client, server } = pair;
      const fd = server.socket(L.AF_INET, L.SOCK_DGRAM, 0);
      server.bind(fd, at(SERVER, 7));
      server.setsockopt(fd, L.SOL_SOCKET, L[option], 1);
      const from = client.socket(L.AF_INET, L.SOCK_DGRAM, 0);
      pair.pass(2000.5);
      client.sendto(from, bytesOf('x'), 0, at(SERVER, 7));
      pair.settle();
      const cameMs = EPOCH_MS + pair.now;
      pair.pass(5000);
      for (const flags of [L.MSG_PEEK, 0]) {
        const { control } = server.recvmsg(fd, [new Uint8Array(9)], flags);
        assert.equal(control.length, 1);
        const [{ level, type, time }] = control as [(typeof control)[0]];
        assert.deepEqual([level, type], [L.SOL_SOCKET, L[option]]);
        const sec = Math.floor(cameMs / 1000);
        const nsec = Math.round((cameMs - sec * 1000) * 1e6);
        assert.deepEqual(time, option.includes('NS') ? { sec, nsec } : { sec, usec: nsec / 1000 });
      }
      pair.close();
    });
  }

  test('one kind at most, and any of them ends it; then nothing is told', () => {
    const pair = new PosixPair();
    const { client, server } = pair;
    const fd = server.socket(L.AF_INET, L.SOCK_DGRAM, 0);
    server.bind(fd, at(SERVER, 7));
    const isOn = (): number[] => TIMESTAMPS.map((name) => server.getsockopt(fd, L.SOL_SOCKET, L[name]) as number);
    server.setsockopt(fd, L.SOL_SOCKET, L.SO_TIMESTAMP, 1);
    assert.deepEqual(isOn(), [1, 0, 0, 0]);
    server.setsockopt(fd, L.SOL_SOCKET, L.SO_TIMESTAMPNS_NEW, 1);
    assert.deepEqual(isOn(), [0, 0, 0, 1]);
    server.setsockopt(fd, L.SOL_SOCKET, L.SO_TIMESTAMP, 0);
    assert.deepEqual(isOn(), [0, 0, 0, 0]);
    const from = client.socket(L.AF_INET, L.SOCK_DGRAM, 0);
    client.sendto(from, bytesOf('x'), 0, at(SERVER, 7));
    pair.settle();
    assert.deepEqual(server.recvmsg(fd, [new Uint8Array(9)], 0).control, []);
    pair.close();
  });

  test('before what else is told of it, as on Linux', () => {
    const pair = new PosixPair();
    const { client, server } = pair;
    const fd = server.socket(L.AF_INET, L.SOCK_DGRAM, 0);
    server.bind(fd, at(SERVER, 7));
    server.setsockopt(fd, L.SOL_IP, L.IP_RECVTTL, 1);
    server.setsockopt(fd, L.SOL_SOCKET, L.SO_TIMESTAMP, 1);
    const from = client.socket(L.AF_INET, L.SOCK_DGRAM, 0);
    client.bind(from, at(CLIENT, 5000));
    client.sendto(from, bytesOf('x'), 0, at(SERVER, 7));
    pair.settle();
    const { control } = server.recvmsg(fd, [new Uint8Array(9)], 0);
    assert.deepEqual(
      control.map(({ type }) => type),
      [L.SO_TIMESTAMP, L.IP_TTL],
    );
    pair.close();
  });

  test('raw sockets and ping sockets', () => {
    const rig = new Rig();
    const posix = new Posix(rig.stack, { epochMs: 5000 });
    const raw = posix.socket(L.AF_INET, L.SOCK_RAW, L.IPPROTO_UDP);
    posix.setsockopt(raw, L.SOL_SOCKET, L.SO_TIMESTAMPNS, 1);
    rig.put(0, udpPacket({ to: '10.0.1.1' }));
    posix.turn(rig.now);
    const sec = 5 + Math.floor(rig.now / 1000);
    const [told] = posix.recvmsg(raw, [new Uint8Array(99)], 0).control;
    assert.deepEqual([told!.type, told!.time!.sec], [L.SO_TIMESTAMPNS, sec]);
    const ping = posix.socket(L.AF_INET, L.SOCK_DGRAM, L.IPPROTO_ICMP);
    posix.setsockopt(ping, L.SOL_SOCKET, L.SO_TIMESTAMP, 1);
    posix.sendto(ping, Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 7), 0, at('10.0.1.2', 0));
    rig.stack.poll(rig.now);
    const { port } = posix.getsockname(ping);
    rig.put(0, icmpPacket({ from: '10.0.1.2', to: '10.0.1.1', type: 0, rest: (port << 16) | 7 }));
    posix.turn(rig.now);
    const [reply] = posix.recvmsg(ping, [new Uint8Array(99)], 0).control;
    assert.deepEqual([reply!.type, reply!.time!.sec], [L.SO_TIMESTAMP, sec]);
    posix.closeAll();
    rig.stack.close();
    assert.equal(rig.stack.memory.usedBytes, 0);
  });
});
