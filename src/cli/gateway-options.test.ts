import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { FlowRecord, Policy } from '../proxy/index.ts';
import { flowWriter, type GatewayValues, readGateway } from './gateway-options.ts';

const folder = mkdtempSync(join(tmpdir(), 'et-options-'));
after(() => rmSync(folder, { recursive: true }));

const file = (text: string): string => {
  const path = join(folder, 'policy.json');
  writeFileSync(path, text);
  return path;
};

const limitsOf = (values: GatewayValues) => (readGateway(values).gateway.policy as Policy).limits;
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value ?? null));

test('limits: of the file, of the options, and which goes first', () => {
  const policy = file('{"limits": {"flow": {"bytes": 7, "bytesPerSecond": 9}}}');
  const rows: [values: GatewayValues, limits: unknown][] = [
    [{}, null],
    [{ policy }, { flow: { bytes: 7, bytesPerSecond: 9 } }],
    [
      { 'flow-rate': '500k', 'flow-bytes': '1.5M' },
      { flow: { bytesPerSecond: 500_000, bytes: 1_500_000 }, all: {} },
    ],
    [
      { 'all-rate': '2G', 'all-bytes': '10' },
      { flow: {}, all: { bytesPerSecond: 2e9, bytes: 10 } },
    ],
    [
      { policy, 'flow-bytes': '8' },
      { flow: { bytes: 8, bytesPerSecond: 9 }, all: {} },
    ],
  ];
  for (const [values, limits] of rows) assert.deepEqual(plain(limitsOf(values)), limits, JSON.stringify(values));
});

test('limits that are none are one clear error', () => {
  for (const option of ['flow-rate', 'flow-bytes', 'all-rate', 'all-bytes']) {
    for (const text of ['', '0', '-1', '1 M', '10T', 'k']) {
      assert.throws(() => readGateway({ [option]: text }), {
        name: 'UsageError',
        message: `--${option}: expected bytes, like 500k, 10M or 1G, got ${JSON.stringify(text)}`,
      });
    }
  }
  const rows: [text: string, message: RegExp][] = [
    ['null', /cannot read the policy in .*: expected an object/],
    ['{', /cannot read the policy in /],
    ['{"limits": {"flow": {"bytes": 0}}}', /policy.json: policy: limits.flow: bytes: expected a number above 0, got 0/],
    ['{"limits": 5}', /policy: limits: expected \{"flow"/],
    ['{"deny": ["::::"]}', /policy.json: rule/],
  ];
  for (const [text, message] of rows) {
    assert.throws(() => readGateway({ policy: file(text), 'flow-bytes': '1' }), { name: 'CommandError', message });
  }
});

test('published ports, names and proxies', () => {
  const { publish, hosts, upstream } = readGateway({
    publish: ['8080:80', '5000-5001:6000-6001/udp'],
    host: ['web.test=10.0.2.2', 'web.test=fd00:2::2', 'other.test=10.0.2.2'],
    upstream: 'socks5h://127.0.0.1:1080',
  }).gateway;
  assert.deepEqual(
    publish?.map(({ port, guestPort, protocol }) => [port, guestPort, protocol]),
    [
      [8080, 80, 'tcp'],
      [5000, 6000, 'udp'],
      [5001, 6001, 'udp'],
    ],
  );
  assert.deepEqual({ ...hosts }, { 'web.test': ['10.0.2.2', 'fd00:2::2'], 'other.test': ['10.0.2.2'] });
  assert.equal(upstream?.sendsNames, true);
  const { policy } = readGateway({ policy: file('{"publish": ["8080:80/udp"]}') }).gateway;
  assert.equal((policy as Policy).publish[0]?.protocol, 'udp');
});

test('what would be ignored is one clear error', () => {
  const rows: [values: GatewayValues, message: RegExp][] = [
    [{ publish: ['80'] }, /^--publish: expected HOST:GUEST, two ports like .*, got "80"$/],
    [{ host: ['a'] }, /^--host: expected NAME=ADDRESS, got "a"$/],
    [{ host: ['a..b=10.0.0.1'] }, /^--host: expected NAME=ADDRESS/],
    [{ 'name-server': ['10.0.0.1:99999'] }, /^--name-server: expected a whole number from 1 to 65535, got "99999"$/],
    [{ upstream: 'socks4://a:1' }, /^--upstream: expected socks5:/],
    [
      { allow: ['10.0.0.1'], policy: file('{"default": "allow"}') },
      /^--allow: expected a policy that denies by default/,
    ],
  ];
  for (const [values, message] of rows) assert.throws(() => readGateway(values), { name: 'UsageError', message });
  assert.throws(() => readGateway({ policy: file('{"publish": ["80"]}') }), {
    name: 'CommandError',
    message: /policy.json: policy: publish: expected HOST:GUEST/,
  });
});

test('people are told of what is denied and of what is over a limit; the file of everything', async () => {
  const said: string[] = [];
  const path = join(folder, 'flows');
  const { onFlow, close } = flowWriter(path, (line) => said.push(line));
  const record: FlowRecord = {
    time: '2024-01-01T00:00:00.000Z',
    protocol: 'tcp',
    direction: 'out',
    source: '10.0.2.100:4000',
    destination: '198.51.100.1:80',
    name: null,
    verdict: 'allow',
    reason: 'no rule denies it',
    result: 'closed',
    bytesOut: 1,
    bytesIn: 2,
    milliseconds: 3,
  };
  const over = { ...record, result: 'EDQUOT', reason: 'the limit of 3 bytes a flow is reached' };
  const denied = { ...record, verdict: 'deny', reason: 'no rule allows it', result: 'ECONNREFUSED' } as const;
  for (const one of [record, over, denied]) onFlow(one);
  await close();
  assert.deepEqual(said, [
    'tcp 10.0.2.100:4000 -> 198.51.100.1:80: EDQUOT (the limit of 3 bytes a flow is reached), 1 bytes out, 2 in, 3 ms',
    'denied tcp 10.0.2.100:4000 -> 198.51.100.1:80: no rule allows it',
  ]);
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line)),
    [record, over, denied],
  );
});
