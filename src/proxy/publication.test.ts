import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Policy } from './policy.ts';
import { parsePublication } from './publication.ts';

test('publications, and what they stand for', () => {
  const rows: [text: string, first: string, count: number][] = [
    ['8080:80', ' 8080 80 tcp', 1],
    ['8080:80/tcp', ' 8080 80 tcp', 1],
    ['5353:53/udp', ' 5353 53 udp', 1],
    ['0:80', ' 0 80 tcp', 1],
    ['127.0.0.2:8080:80', '127.0.0.2 8080 80 tcp', 1],
    ['[::1]:8080:80', '::1 8080 80 tcp', 1],
    ['[::]:5353:53/udp', ':: 5353 53 udp', 1],
    ['8000-8009:80-89/udp', ' 8000 80 udp', 10],
    ['65535:65535', ' 65535 65535 tcp', 1],
  ];
  for (const [text, expected, count] of rows) {
    const all = parsePublication(text);
    const { host = '', port, guestPort, protocol } = all[0]!;
    assert.deepEqual([`${host} ${port} ${guestPort} ${protocol}`, all.length], [expected, count], text);
  }
  assert.deepEqual(
    parsePublication('8000-8002:90-92').map(({ port, guestPort }) => [port, guestPort]),
    [
      [8000, 90],
      [8001, 91],
      [8002, 92],
    ],
  );
});

test('publications that are none are one clear error', () => {
  const rows: [text: string, message: RegExp][] = [
    ...['', '80', '80:', ':80', 'a:b', '1:2/sctp', 'udp:1:2', '1:2/', '70000:1', '1:70000', '1:0', '0-3:1-4'].map(
      (text): [string, RegExp] => [text, /^expected /],
    ),
    ['8000-8009:80-88', /two ranges of one length, got "8000-8009:80-88"/],
    ['8000-8009:80', /two ranges of one length/],
    ['8009-8000:89-80', /two ranges of one length/],
    ['1000-3000:1000-3000', /expected at most 1024 ports/],
    ['localhost:8080:80', /expected an IPv4 or IPv6 address in front, got "localhost:8080:80"/],
  ];
  for (const [text, message] of rows) assert.throws(() => parsePublication(text), { name: 'TypeError', message }, text);
});

test('a policy publishes too', () => {
  assert.deepEqual(new Policy({ publish: ['8080:80', '53:53/udp'] }).publish, [
    { host: undefined, port: 8080, guestPort: 80, protocol: 'tcp' },
    { host: undefined, port: 53, guestPort: 53, protocol: 'udp' },
  ]);
  assert.deepEqual(new Policy().publish, []);
  assert.throws(() => new Policy({ publish: ['80'] }), /^TypeError: policy: publish: expected HOST:GUEST.*got "80"/);
  assert.throws(() => new Policy({ publish: '80:80' as never }), /policy: publish: expected an array of publications/);
});
