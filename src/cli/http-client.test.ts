import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bodyBytesOf, parseResponse, redirectOf } from './http-client.ts';
import { describeFailure, summary } from './ping.ts';
import { hopLine } from './trace.ts';

const head = (...lines: string[]) => parseResponse(lines.join('\r\n'));

test('http client: RFC 9112 §4: status lines and fields', () => {
  const { status, reason, headers } = head('HTTP/1.1 200 OK', 'Server: a', 'X: 1', 'x:2 ');
  assert.deepEqual([status, reason, headers.get('server'), headers.get('x')], [200, 'OK', 'a', '1, 2']);
  assert.deepEqual([head('HTTP/1.0 404').status, head('HTTP/1.1 204 ').reason], [404, '']);
  for (const bad of ['HTTP/2 200 OK', 'ICY 200 OK', 'HTTP/1.1 2000', '', 'SSH-2.0-x']) {
    assert.throws(() => head(bad), /not HTTP/);
  }
  assert.throws(() => head('HTTP/1.1 200 OK', 'no colon'), /malformed/);
});

test('http client: RFC 9112 §6.3: how long a body is', () => {
  for (const [expected, ...lines] of [
    [5, 'HTTP/1.1 200 OK', 'Content-Length: 5'],
    [5, 'HTTP/1.1 200 OK', 'Content-Length: 5', 'Content-Length: 5'],
    [-1, 'HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', 'Content-Length: 5'],
    [-2, 'HTTP/1.1 200 OK'],
    [0, 'HTTP/1.1 204 No Content', 'Content-Length: 5'],
    [0, 'HTTP/1.1 304 Not Modified'],
  ] as const) {
    assert.equal(bodyBytesOf(head(...lines)), expected, lines.join());
  }
  for (const bad of ['Content-Length: x', 'Content-Length: 1, 2', 'Content-Length: -1', 'Transfer-Encoding: gzip']) {
    assert.throws(() => bodyBytesOf(head('HTTP/1.1 200 OK', bad)), { name: 'Error' });
  }
});

test('http client: RFC 9110 §15.4: redirects', () => {
  const from = new URL('http://10.0.0.1/a/b?c');
  const to = (status: number, location: string) =>
    redirectOf(head(`HTTP/1.1 ${status} x`, `Location: ${location}`), from)?.href;
  assert.equal(to(301, '/d'), 'http://10.0.0.1/d');
  assert.equal(to(302, 'd'), 'http://10.0.0.1/a/d');
  assert.equal(to(308, 'http://10.0.0.2:81/'), 'http://10.0.0.2:81/');
  assert.equal(to(300, '/d'), undefined);
  assert.equal(to(200, '/d'), undefined);
  assert.equal(redirectOf(head('HTTP/1.1 301 x'), from), null);
  assert.throws(() => to(301, 'http://['), /no URL/);
});

test('ping: errors and the summary in the words of ping(8)', () => {
  const failure = (type: number, code: number, info = 0) =>
    ({ type, code, info }) as Parameters<typeof describeFailure>[0];
  for (const [isV4, type, code, info, words] of [
    [true, 0, 0, 0, 'Destination Host Unreachable'],
    [true, 3, 0, 0, 'Destination Net Unreachable'],
    [true, 3, 4, 1400, 'Frag needed and DF set (mtu = 1400)'],
    [true, 3, 13, 0, 'Packet filtered'],
    [true, 3, 99, 0, 'Dest Unreachable, Bad Code: 99'],
    [true, 11, 0, 0, 'Time to live exceeded'],
    [true, 12, 0, 20, 'Parameter problem: pointer = 20'],
    [false, 1, 0, 0, 'Destination unreachable: No route'],
    [false, 2, 0, 1280, 'Packet too big: mtu=1280'],
    [false, 3, 0, 0, 'Time exceeded: Hop limit'],
    [false, 4, 1, 40, 'Parameter problem: Unknown header at 40'],
  ] as const) {
    assert.equal(describeFailure(failure(type, code, info), isV4), words);
  }
  const statistics = { address: '10.0.0.1', sent: 3, received: 2, duplicates: 1, failures: 0, durationMs: 2003.9 };
  assert.equal(
    summary('x', { ...statistics, minMs: 1, avgMs: 1.5, maxMs: 2, mdevMs: 0.5 }),
    '--- x ping statistics ---\n3 packets transmitted, 2 received, +1 duplicates, 33.3333% packet loss, time 2003ms\nrtt min/avg/max/mdev = 1.000/1.500/2.000/0.500 ms',
  );
});

test('trace: a line as traceroute -n prints it', () => {
  const probe = (address: string | null, timeMs: number | null, note: string | null = null) => ({
    address,
    timeMs,
    note,
  });
  const line = (...probes: ReturnType<typeof probe>[]) => hopLine({ ttl: 3, probes, isLast: false });
  assert.equal(
    line(probe('10.0.0.1', 1.25), probe('10.0.0.1', 2), probe('10.0.0.9', 3)),
    ' 3  10.0.0.1  1.250 ms  2.000 ms 10.0.0.9  3.000 ms',
  );
  assert.equal(line(probe(null, null), probe('10.0.0.1', 2, '!H'), probe(null, null)), ' 3  * 10.0.0.1  2.000 ms !H *');
});
