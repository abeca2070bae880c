/** Groups by setsockopt: structures and their fields, values, and Linux's errors. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { at, codeOf, PORT, PosixPair, SERVER } from '../../test/posix.ts';
import { LINUX as L, type Membership } from './index.ts';

const GROUP = '239.1.2.3';
const bytes4 = (text: string): number[] => text.split('.').map(Number);

describe('posix: multicast', () => {
  const open = (domain: number = L.AF_INET) => {
    const pair = new PosixPair();
    const fd = pair.server.socket(domain, L.SOCK_DGRAM | L.SOCK_NONBLOCK, 0);
    return { pair, posix: pair.server, fd, groups: pair.server.stack.interfaces[1]!.groups };
  };
  const find = (
    groups: { all: Iterable<{ address: unknown; filter: { isExclude: boolean; sources: Iterable<unknown> } }> },
    group: string,
  ): string => {
    for (const { address, filter } of groups.all) {
      if (`${address}` === group) return `${filter.isExclude ? 'exclude' : 'include'} ${[...filter.sources].join(' ')}`;
    }
    return 'none';
  };

  test('ip_mreq, ip_mreqn, ip_mreq_source as bytes', () => {
    const { posix, fd, groups } = open();
    const ours = SERVER;
    const index = posix.stack.interfaces[1]!.index;
    posix.setsockopt(fd, L.SOL_IP, L.IP_ADD_MEMBERSHIP, Uint8Array.of(...bytes4(GROUP), ...bytes4(ours)));
    assert.equal(find(groups, GROUP), 'exclude ');
    const block = Uint8Array.of(...bytes4(GROUP), ...bytes4(ours), ...bytes4('10.0.0.9'));
    posix.setsockopt(fd, L.SOL_IP, L.IP_BLOCK_SOURCE, block);
    assert.equal(find(groups, GROUP), 'exclude 10.0.0.9');
    posix.setsockopt(fd, L.SOL_IP, L.IP_UNBLOCK_SOURCE, block);
    const mreqn = Uint8Array.of(...bytes4(GROUP), 0, 0, 0, 0, index, 0, 0, 0);
    posix.setsockopt(fd, L.SOL_IP, L.IP_DROP_MEMBERSHIP, mreqn);
    assert.equal(find(groups, GROUP), 'none');
    posix.setsockopt(fd, L.SOL_IP, L.IP_ADD_SOURCE_MEMBERSHIP, block);
    assert.equal(find(groups, GROUP), 'include 10.0.0.9');
    posix.setsockopt(fd, L.SOL_IP, L.IP_DROP_SOURCE_MEMBERSHIP, block);
    assert.equal(find(groups, GROUP), 'none');
    posix.close(fd);
  });

  test('ipv6_mreq and group_source_req as bytes', () => {
    const { posix, fd, groups } = open(L.AF_INET6);
    const index = posix.stack.interfaces[1]!.index;
    const group = [0xff, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2];
    posix.setsockopt(fd, L.SOL_IPV6, L.IPV6_JOIN_GROUP, Uint8Array.of(...group, index, 0, 0, 0));
    assert.equal(find(groups, 'ff15::1:2'), 'exclude ');
    posix.setsockopt(fd, L.SOL_IPV6, L.IPV6_LEAVE_GROUP, Uint8Array.of(...group, index, 0, 0, 0));
    const request = new Uint8Array(264);
    request[0] = index;
    request.set([L.AF_INET6, 0, 0, 0, 0, 0, 0, 0, ...group], 8);
    request.set([L.AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9], 136);
    posix.setsockopt(fd, L.SOL_IPV6, L.MCAST_JOIN_SOURCE_GROUP, request);
    assert.equal(find(groups, 'ff15::1:2'), 'include fd00::9');
    posix.close(fd);
    assert.equal(find(groups, 'ff15::1:2'), 'none', 'close leaves');
  });

  const ERRORS: readonly (readonly [string, string, number, Membership | Uint8Array | number])[] = [
    ['EINVAL', 'too short', L.IP_ADD_MEMBERSHIP, Uint8Array.of(239, 1, 2, 3)],
    ['EINVAL', 'a number', L.IP_ADD_MEMBERSHIP, 1],
    ['EINVAL', 'no group', L.IP_ADD_MEMBERSHIP, { group: '10.0.0.9' }],
    ['EINVAL', 'a group of IPv6', L.IP_ADD_MEMBERSHIP, { group: 'ff15::1' }],
    ['ENODEV', 'no such interface', L.IP_ADD_MEMBERSHIP, { group: GROUP, interface: 99 }],
    ['EADDRNOTAVAIL', 'not a member', L.IP_DROP_MEMBERSHIP, { group: GROUP }],
    ['EINVAL', 'no source', L.IP_ADD_SOURCE_MEMBERSHIP, { group: GROUP }],
    ['EINVAL', 'block without the group', L.MCAST_BLOCK_SOURCE, { group: GROUP, source: '10.0.0.9' }],
  ];
  for (const [code, name, option, input] of ERRORS) {
    test(`${name}: ${code}`, () => {
      const { posix, fd } = open();
      assert.equal(
        codeOf(() => posix.setsockopt(fd, L.SOL_IP, option, input)),
        code,
      );
      posix.close(fd);
    });
  }

  test('twice: EADDRINUSE; on a stream: ENOPROTOOPT', () => {
    const { posix, fd } = open();
    posix.setsockopt(fd, L.SOL_IP, L.MCAST_JOIN_GROUP, { group: GROUP });
    assert.equal(
      codeOf(() => posix.setsockopt(fd, L.SOL_IP, L.IP_ADD_MEMBERSHIP, { group: GROUP })),
      'EADDRINUSE',
    );
    const stream = posix.socket(L.AF_INET, L.SOCK_STREAM, 0);
    assert.equal(
      codeOf(() => posix.setsockopt(stream, L.SOL_IP, L.IP_ADD_MEMBERSHIP, { group: GROUP })),
      'ENOPROTOOPT',
    );
    posix.close(stream);
    posix.close(fd);
  });

  test('values: TTL, loop, all, interface', () => {
    const { posix, fd } = open(L.AF_INET6);
    const get = (level: number, name: number): unknown => posix.getsockopt(fd, level, name);
    assert.deepEqual(
      [get(L.SOL_IP, L.IP_MULTICAST_TTL), get(L.SOL_IP, L.IP_MULTICAST_LOOP), get(L.SOL_IP, L.IP_MULTICAST_ALL)],
      [1, 1, 1],
    );
    posix.setsockopt(fd, L.SOL_IP, L.IP_MULTICAST_TTL, Uint8Array.of(7));
    posix.setsockopt(fd, L.SOL_IPV6, L.IPV6_MULTICAST_HOPS, 9);
    assert.deepEqual([get(L.SOL_IP, L.IP_MULTICAST_TTL), get(L.SOL_IPV6, L.IPV6_MULTICAST_HOPS)], [7, 9]);
    posix.setsockopt(fd, L.SOL_IPV6, L.IPV6_MULTICAST_HOPS, -1);
    assert.equal(get(L.SOL_IPV6, L.IPV6_MULTICAST_HOPS), 1);
    assert.equal(
      codeOf(() => posix.setsockopt(fd, L.SOL_IP, L.IP_MULTICAST_TTL, 256)),
      'EINVAL',
    );
    posix.setsockopt(fd, L.SOL_IP, L.IP_MULTICAST_IF, Uint8Array.of(10, 0, 0, 1));
    assert.equal(get(L.SOL_IP, L.IP_MULTICAST_IF), '10.0.0.1');
    posix.setsockopt(fd, L.SOL_IP, L.IP_MULTICAST_IF, Uint8Array.of(0, 0, 0, 0));
    posix.setsockopt(fd, L.SOL_IPV6, L.IPV6_MULTICAST_IF, posix.stack.interfaces[1]!.index);
    assert.equal(
      codeOf(() => posix.setsockopt(fd, L.SOL_IPV6, L.IPV6_MULTICAST_IF, 99)),
      'ENODEV',
    );
    posix.close(fd);
  });

  test('IP_MULTICAST_ALL: Linux gives a socket what another has joined, unless that is off', () => {
    const { pair, posix, fd } = open();
    const other = posix.socket(L.AF_INET, L.SOCK_DGRAM | L.SOCK_NONBLOCK, 0);
    for (const socket of [fd, other]) {
      posix.setsockopt(socket, L.SOL_SOCKET, L.SO_REUSEADDR, 1);
      posix.bind(socket, at('0.0.0.0', PORT));
    }
    posix.setsockopt(fd, L.SOL_IP, L.IP_ADD_MEMBERSHIP, { group: GROUP });
    const send = (): void => {
      posix.sendto(fd, Uint8Array.of(1), 0, at(GROUP, PORT));
      pair.settle();
    };
    send();
    assert.equal(posix.recv(other, new Uint8Array(4), 0), 1);
    posix.setsockopt(other, L.SOL_IP, L.IP_MULTICAST_ALL, 0);
    send();
    assert.equal(
      codeOf(() => posix.recv(other, new Uint8Array(4), 0)),
      'EAGAIN',
    );
    for (const socket of [fd, other]) posix.close(socket);
  });
});
