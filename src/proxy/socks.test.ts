import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hex as fromHex, toHex } from '../../test/hex.ts';
import { datagramHeader, readDatagram } from './socks.ts';
import { parseUpstream } from './upstream.ts';

test('the header of a datagram: addresses of both families, and names', () => {
  const rows: [host: string, port: number, hex: string][] = [
    ['198.51.100.7', 53, '00 00 00 01 c6 33 64 07 00 35'],
    ['2001:db8::7', 443, '00 00 00 04 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 07 01 bb'],
    ['a.test', 0x1234, '00 00 00 03 06 61 2e 74 65 73 74 12 34'],
  ];
  for (const [host, port, hex] of rows) {
    const header = datagramHeader(host, port);
    assert.equal(toHex(header), toHex(fromHex(hex)), host);
    const read = readDatagram(Uint8Array.of(...header, 1, 2));
    assert.ok(typeof read === 'object');
    assert.deepEqual([read.host, read.port, [...read.payload]], [host, port, [1, 2]]);
  }
  assert.throws(() => datagramHeader('a'.repeat(256), 1), { code: 'EINVAL' });
});

test('what is no datagram of a proxy is dropped under a reason', () => {
  const rows: [name: string, hex: string, expected: 'fragment' | 'malformed'][] = [
    ['nothing', '', 'malformed'],
    ['no address', '00 00 00', 'malformed'],
    ['reserved bytes', '00 01 00 01 c6 33 64 07 00 35', 'malformed'],
    ['the first piece', '00 00 01 01 c6 33 64 07 00 35 61', 'fragment'],
    ['the last piece', '00 00 80 01 c6 33 64 07 00 35 61', 'fragment'],
    ['a type that is none', '00 00 00 02 c6 33 64 07 00 35', 'malformed'],
    ['IPv4, cut in the port', '00 00 00 01 c6 33 64 07 00', 'malformed'],
    ['IPv6, cut in the address', '00 00 00 04 20 01 0d b8', 'malformed'],
    ['a name without a length', '00 00 00 03', 'malformed'],
    ['an empty name', '00 00 00 03 00 00 35', 'malformed'],
    ['a name longer than there is', '00 00 00 03 ff 61 00 35', 'malformed'],
  ];
  for (const [name, hex, expected] of rows) assert.equal(readDatagram(fromHex(hex)), expected, name);
  const empty = readDatagram(fromHex('00 00 00 01 c6 33 64 07 00 35'));
  assert.ok(typeof empty === 'object' && empty.payload.length === 0, 'an empty datagram is one');
});

test('addresses of proxies', () => {
  assert.deepEqual(parseUpstream('socks5://127.0.0.1:1080'), {
    kind: 'socks5',
    host: '127.0.0.1',
    port: 1080,
    user: null,
    sendsNames: false,
  });
  assert.deepEqual(parseUpstream('socks5h://me:a%40b@[::1]:1080/'), {
    kind: 'socks5',
    host: '::1',
    port: 1080,
    user: { name: 'me', password: 'a@b' },
    sendsNames: true,
  });
  assert.equal(parseUpstream('http://proxy.test:8080').kind, 'http');
  const rows: [text: string, message: RegExp][] = [
    ['socks4://a:1', /expected socks5:\/\/HOST:PORT, socks5h:\/\/HOST:PORT or http:\/\/HOST:PORT, got "socks4/],
    ['socks5://a', /expected socks5/],
    ['socks5://a:0', /expected socks5/],
    ['socks5://a:65536', /expected socks5/],
    ['https://a:1', /expected socks5/],
    ['socks5://%zz:x@a:1', /expected a user and a password of at most 255 bytes/],
    [`socks5://${'u'.repeat(256)}:x@a:1`, /expected a user and a password of at most 255 bytes/],
  ];
  for (const [text, message] of rows) assert.throws(() => parseUpstream(text), { name: 'TypeError', message }, text);
});
