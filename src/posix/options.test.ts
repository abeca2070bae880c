/** Options: what getsockopt gives after setsockopt, as Linux gives it, and what reaches the core. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { at, codeOf, PORT, PosixPair, SERVER } from '../../test/posix.ts';
import { LINUX as L, OPTION_SETTINGS, type OptionInput } from './index.ts';

type Row = readonly [level: number, name: number, input: OptionInput, expected: unknown];

const KEY = Uint8Array.from({ length: 16 }, (_, i) => 3 * i);
const TWO_KEYS = Uint8Array.from({ length: 32 }, (_, i) => 255 - i);

const STREAM_ROWS: Record<string, Row> = {
  'SO_RCVBUF is doubled': [L.SOL_SOCKET, L.SO_RCVBUF, 10_000, 20_000],
  'SO_RCVBUF has a floor': [L.SOL_SOCKET, L.SO_RCVBUF, 0, 2304],
  'SO_RCVBUF has a ceiling': [L.SOL_SOCKET, L.SO_RCVBUF, 10_000_000, 8_388_608],
  'SO_RCVBUF below 0 is as much as may be': [L.SOL_SOCKET, L.SO_RCVBUF, -1, 8_388_608],
  'SO_SNDBUF has a floor': [L.SOL_SOCKET, L.SO_SNDBUF, 1000, 4608],
  'SO_SNDBUF is doubled': [L.SOL_SOCKET, L.SO_SNDBUF, 10_000, 20_000],
  'SO_RCVLOWAT 0 is 1': [L.SOL_SOCKET, L.SO_RCVLOWAT, 0, 1],
  SO_RCVLOWAT: [L.SOL_SOCKET, L.SO_RCVLOWAT, 7, 7],
  'SO_SNDLOWAT cannot be set': [L.SOL_SOCKET, L.SO_SNDLOWAT, 5, 'ENOPROTOOPT'],
  'flags are 0 or 1': [L.SOL_SOCKET, L.SO_KEEPALIVE, 5, 1],
  SO_PRIORITY: [L.SOL_SOCKET, L.SO_PRIORITY, 6, 6],
  'SO_TYPE cannot be set': [L.SOL_SOCKET, L.SO_TYPE, 1, 'ENOPROTOOPT'],
  'SO_ERROR cannot be set': [L.SOL_SOCKET, L.SO_ERROR, 1, 'ENOPROTOOPT'],
  'SO_ACCEPTCONN cannot be set': [L.SOL_SOCKET, L.SO_ACCEPTCONN, 1, 'ENOPROTOOPT'],
  SO_LINGER: [L.SOL_SOCKET, L.SO_LINGER, { onoff: 5, linger: 7 }, { onoff: 1, linger: 7 }],
  'SO_LINGER is no number': [L.SOL_SOCKET, L.SO_LINGER, 1, 'EINVAL'],
  SO_RCVTIMEO: [L.SOL_SOCKET, L.SO_RCVTIMEO, { sec: 1, usec: 2500 }, { sec: 1, usec: 2500 }],
  'SO_RCVTIMEO below 0': [L.SOL_SOCKET, L.SO_RCVTIMEO, { sec: -1, usec: 0 }, { sec: 0, usec: 0 }],
  'SO_RCVTIMEO of a million us': [L.SOL_SOCKET, L.SO_RCVTIMEO, { sec: 0, usec: 1_000_000 }, 'EDOM'],
  'SO_BINDTODEVICE of none': [L.SOL_SOCKET, L.SO_BINDTODEVICE, 'nodev', 'ENODEV'],
  SO_BINDTODEVICE: [L.SOL_SOCKET, L.SO_BINDTODEVICE, 'lo', 'lo'],
  SO_MAX_PACING_RATE: [L.SOL_SOCKET, L.SO_MAX_PACING_RATE, 1000, 1000],
  'an unknown option': [L.SOL_SOCKET, 9999, 1, 'ENOPROTOOPT'],
  'an unknown level': [99, 1, 1, 'ENOPROTOOPT'],
  'the level of IPv6 on IPv4': [L.SOL_IPV6, L.IPV6_TCLASS, 1, 'ENOPROTOOPT'],
  'the level of UDP on TCP': [L.SOL_UDP, L.UDP_CORK, 1, 'ENOPROTOOPT'],
  TCP_NODELAY: [L.SOL_TCP, L.TCP_NODELAY, 5, 1],
  'an int of one byte': [L.SOL_TCP, L.TCP_NODELAY, Uint8Array.of(1), 'EINVAL'],
  'an int of four bytes': [L.SOL_TCP, L.TCP_KEEPCNT, Uint8Array.of(7, 0, 0, 0), 7],
  'an int that is a text': [L.SOL_TCP, L.TCP_NODELAY, 'yes', 'EINVAL'],
  'TCP_MAXSEG too small': [L.SOL_TCP, L.TCP_MAXSEG, 87, 'EINVAL'],
  'TCP_MAXSEG least': [L.SOL_TCP, L.TCP_MAXSEG, 88, 88],
  'TCP_MAXSEG too large': [L.SOL_TCP, L.TCP_MAXSEG, 32_768, 'EINVAL'],
  TCP_CORK: [L.SOL_TCP, L.TCP_CORK, 9, 1],
  'TCP_KEEPIDLE 0': [L.SOL_TCP, L.TCP_KEEPIDLE, 0, 'EINVAL'],
  'TCP_KEEPIDLE most': [L.SOL_TCP, L.TCP_KEEPIDLE, 32_767, 32_767],
  'TCP_KEEPIDLE too long': [L.SOL_TCP, L.TCP_KEEPIDLE, 32_768, 'EINVAL'],
  TCP_KEEPINTVL: [L.SOL_TCP, L.TCP_KEEPINTVL, 9, 9],
  'TCP_KEEPCNT most': [L.SOL_TCP, L.TCP_KEEPCNT, 127, 127],
  'TCP_KEEPCNT too many': [L.SOL_TCP, L.TCP_KEEPCNT, 128, 'EINVAL'],
  'TCP_SYNCNT 0': [L.SOL_TCP, L.TCP_SYNCNT, 0, 'EINVAL'],
  TCP_SYNCNT: [L.SOL_TCP, L.TCP_SYNCNT, 3, 3],
  'TCP_LINGER2 below 0': [L.SOL_TCP, L.TCP_LINGER2, -1, -1],
  'TCP_LINGER2 0 is the default': [L.SOL_TCP, L.TCP_LINGER2, 0, 60],
  'TCP_LINGER2 too long': [L.SOL_TCP, L.TCP_LINGER2, 121, 120],
  'TCP_DEFER_ACCEPT in retransmissions': [L.SOL_TCP, L.TCP_DEFER_ACCEPT, 2, 3],
  'TCP_DEFER_ACCEPT 10': [L.SOL_TCP, L.TCP_DEFER_ACCEPT, 10, 15],
  'TCP_DEFER_ACCEPT below 0': [L.SOL_TCP, L.TCP_DEFER_ACCEPT, -1, 0],
  'TCP_WINDOW_CLAMP has a floor': [L.SOL_TCP, L.TCP_WINDOW_CLAMP, 1, 1152],
  TCP_WINDOW_CLAMP: [L.SOL_TCP, L.TCP_WINDOW_CLAMP, 5000, 5000],
  TCP_QUICKACK: [L.SOL_TCP, L.TCP_QUICKACK, 0, 0],
  'TCP_USER_TIMEOUT below 0': [L.SOL_TCP, L.TCP_USER_TIMEOUT, -1, 'EINVAL'],
  TCP_USER_TIMEOUT: [L.SOL_TCP, L.TCP_USER_TIMEOUT, 5000, 5000],
  TCP_NOTSENT_LOWAT: [L.SOL_TCP, L.TCP_NOTSENT_LOWAT, 100, 100],
  'TCP_INQ 2': [L.SOL_TCP, L.TCP_INQ, 2, 'EINVAL'],
  TCP_INQ: [L.SOL_TCP, L.TCP_INQ, 1, 1],
  'TCP_TIMESTAMP may be set in repair only': [L.SOL_TCP, L.TCP_TIMESTAMP, 1, 'EPERM'],
  'TCP_INFO cannot be set': [L.SOL_TCP, L.TCP_INFO, 1, 'ENOPROTOOPT'],
  'TCP_CONGESTION of none': [L.SOL_TCP, L.TCP_CONGESTION, 'nope', 'ENOENT'],
  'TCP_CONGESTION by its Linux name': [L.SOL_TCP, L.TCP_CONGESTION, 'reno', 'reno'],
  'TCP_RTO_MAX_MS too short': [L.SOL_TCP, L.TCP_RTO_MAX_MS, 10, 'EINVAL'],
  TCP_RTO_MIN_US: [L.SOL_TCP, L.TCP_RTO_MIN_US, 200_000, 200_000],
  TCP_DELACK_MAX_US: [L.SOL_TCP, L.TCP_DELACK_MAX_US, 40_000, 40_000],
  'TCP_NOOPT of FreeBSD': [L.SOL_TCP, L.TCP_NOOPT, 1, 'ENOPROTOOPT'],
  'IP_TOS without the ECN bits': [L.SOL_IP, L.IP_TOS, 255, 252],
  'IP_TOS of one byte': [L.SOL_IP, L.IP_TOS, Uint8Array.of(0x20), 0x20],
  'IP_TTL 0': [L.SOL_IP, L.IP_TTL, 0, 'EINVAL'],
  'IP_TTL -1 is the default': [L.SOL_IP, L.IP_TTL, -1, 64],
  'IP_TTL too large': [L.SOL_IP, L.IP_TTL, 256, 'EINVAL'],
  IP_TTL: [L.SOL_IP, L.IP_TTL, 9, 9],
  'IP_MTU_DISCOVER 6': [L.SOL_IP, L.IP_MTU_DISCOVER, 6, 'EINVAL'],
  IP_MTU_DISCOVER: [L.SOL_IP, L.IP_MTU_DISCOVER, L.IP_PMTUDISC_DO, 2],
  'IP_MTU cannot be set': [L.SOL_IP, L.IP_MTU, 1, 'ENOPROTOOPT'],
  'IP_MINTTL too large': [L.SOL_IP, L.IP_MINTTL, 256, 'EINVAL'],
  'IP_MINTTL below 0': [L.SOL_IP, L.IP_MINTTL, -1, 'EINVAL'],
  IP_MINTTL: [L.SOL_IP, L.IP_MINTTL, 255, 255],
  'TCP_FASTOPEN_KEY of half a key': [L.SOL_TCP, L.TCP_FASTOPEN_KEY, KEY.subarray(0, 8), 'EINVAL'],
  'TCP_FASTOPEN_KEY of a key and a half': [L.SOL_TCP, L.TCP_FASTOPEN_KEY, TWO_KEYS.subarray(0, 24), 'EINVAL'],
  'TCP_FASTOPEN_KEY as a number': [L.SOL_TCP, L.TCP_FASTOPEN_KEY, 1, 'EINVAL'],
  TCP_FASTOPEN_KEY: [L.SOL_TCP, L.TCP_FASTOPEN_KEY, KEY, [...KEY]],
  'TCP_FASTOPEN_KEY with the one before it': [L.SOL_TCP, L.TCP_FASTOPEN_KEY, TWO_KEYS, [...TWO_KEYS]],
  IP_RECVERR: [L.SOL_IP, L.IP_RECVERR, 1, 1],
};

const DATAGRAM_ROWS: Record<string, Row> = {
  'SO_RCVBUF is doubled': [L.SOL_SOCKET, L.SO_RCVBUF, 10_000, 20_000],
  'IP_TOS whole': [L.SOL_IP, L.IP_TOS, 255, 255],
  SO_BROADCAST: [L.SOL_SOCKET, L.SO_BROADCAST, 1, 1],
  'IP_MINTTL is remembered': [L.SOL_IP, L.IP_MINTTL, 255, 255],
  TCP_FASTOPEN_KEY: [L.SOL_TCP, L.TCP_FASTOPEN_KEY, KEY, 'ENOPROTOOPT'],
  UDP_CORK: [L.SOL_UDP, L.UDP_CORK, 1, 1],
  'the level of TCP': [L.SOL_TCP, L.TCP_NODELAY, 1, 'ENOPROTOOPT'],
};

const SIX_ROWS: Record<string, Row> = {
  'IPV6_TCLASS too large': [L.SOL_IPV6, L.IPV6_TCLASS, 256, 'EINVAL'],
  'IPV6_TCLASS -1': [L.SOL_IPV6, L.IPV6_TCLASS, -1, 0],
  'IPV6_TCLASS without the ECN bits': [L.SOL_IPV6, L.IPV6_TCLASS, 23, 20],
  'IPV6_UNICAST_HOPS -1': [L.SOL_IPV6, L.IPV6_UNICAST_HOPS, -1, 64],
  'IPV6_UNICAST_HOPS too large': [L.SOL_IPV6, L.IPV6_UNICAST_HOPS, 256, 'EINVAL'],
  'IPV6_UNICAST_HOPS 0': [L.SOL_IPV6, L.IPV6_UNICAST_HOPS, 0, 0],
  'IPV6_MINHOPCOUNT too large': [L.SOL_IPV6, L.IPV6_MINHOPCOUNT, 256, 'EINVAL'],
  IPV6_MINHOPCOUNT: [L.SOL_IPV6, L.IPV6_MINHOPCOUNT, 255, 255],
  IPV6_V6ONLY: [L.SOL_IPV6, L.IPV6_V6ONLY, 1, 1],
  'the level of IPv4': [L.SOL_IP, L.IP_TOS, 4, 4],
  'an unknown option': [L.SOL_IPV6, 9999, 1, 'ENOPROTOOPT'],
};

const KINDS: [string, number, number, Record<string, Row>][] = [
  ['TCP', L.AF_INET, L.SOCK_STREAM, STREAM_ROWS],
  ['UDP', L.AF_INET, L.SOCK_DGRAM, DATAGRAM_ROWS],
  ['TCP over IPv6', L.AF_INET6, L.SOCK_STREAM, SIX_ROWS],
];

for (const [kind, domain, type, rows] of KINDS) {
  describe(`posix: options of ${kind}`, () => {
    const pair = new PosixPair();
    const { client } = pair;
    for (const [name, [level, option, input, expected]] of Object.entries(rows)) {
      test(name, () => {
        const fd = client.socket(domain, type, 0);
        const result = codeOf(() => {
          client.setsockopt(fd, level, option, input);
          return client.getsockopt(fd, level, option);
        });
        assert.deepEqual(result, expected);
        client.close(fd);
      });
    }
  });
}

test('posix: what options are at first', () => {
  const { client } = new PosixPair();
  const rows: [number, number, unknown][] = [
    [L.SOL_SOCKET, L.SO_TYPE, L.SOCK_STREAM],
    [L.SOL_SOCKET, L.SO_DOMAIN, L.AF_INET],
    [L.SOL_SOCKET, L.SO_PROTOCOL, L.IPPROTO_TCP],
    [L.SOL_SOCKET, L.SO_ACCEPTCONN, 0],
    [L.SOL_SOCKET, L.SO_ERROR, 0],
    [L.SOL_SOCKET, L.SO_RCVLOWAT, 1],
    [L.SOL_SOCKET, L.SO_SNDLOWAT, 1],
    [L.SOL_SOCKET, L.SO_KEEPALIVE, 0],
    [L.SOL_SOCKET, L.SO_LINGER, { onoff: 0, linger: 0 }],
    [L.SOL_SOCKET, L.SO_RCVTIMEO, { sec: 0, usec: 0 }],
    [L.SOL_SOCKET, L.SO_BINDTODEVICE, ''],
    [L.SOL_TCP, L.TCP_NODELAY, 0],
    [L.SOL_TCP, L.TCP_MAXSEG, 536],
    [L.SOL_TCP, L.TCP_KEEPIDLE, 7200],
    [L.SOL_TCP, L.TCP_KEEPINTVL, 75],
    [L.SOL_TCP, L.TCP_KEEPCNT, 9],
    [L.SOL_TCP, L.TCP_LINGER2, 60],
    [L.SOL_TCP, L.TCP_QUICKACK, 1],
    [L.SOL_TCP, L.TCP_RTO_MAX_MS, 120_000],
    [L.SOL_TCP, L.TCP_MD5SIG, 'ENOPROTOOPT'],
    [L.SOL_IP, L.IP_TOS, 0],
    [L.SOL_IP, L.IP_TTL, 64],
    [L.SOL_IP, L.IP_MTU_DISCOVER, L.IP_PMTUDISC_WANT],
    [L.SOL_IP, L.IP_MTU, 'ENOTCONN'],
    [L.SOL_IPV6, L.IPV6_TCLASS, 'EOPNOTSUPP'],
    [99, 1, 'EOPNOTSUPP'],
  ];
  const fd = client.socket(L.AF_INET, L.SOCK_STREAM, 0);
  for (const [level, name, expected] of rows) {
    assert.deepEqual(
      codeOf(() => client.getsockopt(fd, level, name)),
      expected,
      `${level} ${name}`,
    );
  }
});

test("posix: options reach the settings of the core, and an accepted socket has its listener's", () => {
  const pair = new PosixPair();
  const { client, server } = pair;
  const listener = pair.listener();
  server.setsockopt(listener, L.SOL_TCP, L.TCP_NODELAY, 1);
  server.setsockopt(listener, L.SOL_SOCKET, L.SO_RCVBUF, 8192);
  server.setsockopt(listener, L.SOL_TCP, L.TCP_KEEPIDLE, 5);
  server.setsockopt(listener, L.SOL_SOCKET, L.SO_KEEPALIVE, 1);
  const fd = pair.stream();
  codeOf(() => client.connect(fd, at(SERVER, PORT)));
  pair.settle();
  const { fd: peer } = server.accept(listener);
  const { noDelay, receiveBufferBytes, keepAliveMs } = server.tcpSocket(peer)!.connection!.settings;
  assert.deepEqual([noDelay, receiveBufferBytes, keepAliveMs], [true, 8192, 5000]);
  assert.equal(server.getsockopt(peer, L.SOL_SOCKET, L.SO_RCVBUF), 16_384);
  assert.equal(server.getsockopt(peer, L.SOL_TCP, L.TCP_NODELAY), 1);
  assert.equal(server.getsockopt(peer, L.SOL_IP, L.IP_MTU), 1500);
  assert.equal(server.getsockopt(peer, L.SOL_TCP, L.TCP_MAXSEG), 1448);
  assert.deepEqual(server.getsockopt(peer, L.SOL_SOCKET, L.SO_MEMINFO), [0, 16_384, 0, 1 << 18, 0, 0, 0, 0, 0]);
  // On a live connection too; O_NONBLOCK is not handed down.
  server.setsockopt(peer, L.SOL_TCP, L.TCP_NODELAY, 0);
  server.setsockopt(peer, L.SOL_SOCKET, L.SO_KEEPALIVE, 0);
  assert.equal(server.tcpSocket(peer)!.connection!.settings.noDelay, false);
  assert.equal(server.tcpSocket(peer)!.connection!.settings.keepAliveMs, 0);
  assert.equal(server.fcntl(peer, L.F_GETFL), L.O_RDWR);
  pair.close();
});

test('posix: keep-alive that is turned on late probes a dead peer and ends the connection', async () => {
  const pair = new PosixPair();
  const { client } = pair;
  const { fd, peer } = pair.connected();
  client.fcntl(fd, L.F_SETFL, 0);
  client.setsockopt(fd, L.SOL_TCP, L.TCP_KEEPIDLE, 10);
  client.setsockopt(fd, L.SOL_TCP, L.TCP_KEEPINTVL, 2);
  client.setsockopt(fd, L.SOL_TCP, L.TCP_KEEPCNT, 3);
  client.setsockopt(fd, L.SOL_SOCKET, L.SO_KEEPALIVE, 1);
  pair.server.stack.interfaces[1]!.device.close(); // the wire is cut
  const { result, ms } = await pair.wait(client.blocking.read(fd, new Uint8Array(1)));
  assert.equal(result, 'ETIMEDOUT');
  assert.equal(ms, 10_000 + 3 * 2000);
  assert.ok(peer >= 3);
});

test('posix: every setting behind an option is named once for each level', () => {
  const names = OPTION_SETTINGS.map(({ level, setting }) => `${level} ${setting}`);
  assert.equal(new Set(names).size, names.length);
});

test('posix: IPV6_V6ONLY: not after bind, and mapped addresses are refused', () => {
  const pair = new PosixPair();
  const { client } = pair;
  const fd = client.socket(L.AF_INET6, L.SOCK_STREAM | L.SOCK_NONBLOCK, 0);
  client.setsockopt(fd, L.SOL_IPV6, L.IPV6_V6ONLY, 1);
  assert.equal(
    codeOf(() => client.connect(fd, at(`::ffff:${SERVER}`, PORT))),
    'ENETUNREACH',
  );
  assert.equal(
    codeOf(() => client.bind(fd, at('::ffff:10.0.0.2', 0))),
    'EINVAL',
  );
  client.bind(fd, at('::', 0));
  assert.equal(
    codeOf(() => client.setsockopt(fd, L.SOL_IPV6, L.IPV6_V6ONLY, 0)),
    'EINVAL',
  );
  pair.close();
});
