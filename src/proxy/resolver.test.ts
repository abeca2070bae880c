import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { machineResolver, readHosts } from './resolver.ts';

test('the table of hosts: what a guest may be told', () => {
  const folder = mkdtempSync(join(tmpdir(), 'et-hosts-'));
  const path = join(folder, 'hosts');
  const lines = [
    '127.0.0.1 localhost me',
    '::1 localhost6',
    '198.51.100.7\tweb www.web.test # the server',
    '2001:db8::7 web',
    '224.0.0.1 all.test',
    'fe80::1%eth0 link.test',
    '# 198.51.100.8 commented.test',
    '198.51.100.9 a..b fine.test',
    'nonsense here',
    '',
  ];
  writeFileSync(path, lines.join('\n'));
  assert.deepEqual(readHosts(path), {
    web: ['198.51.100.7', '2001:db8::7'],
    'www.web.test': ['198.51.100.7'],
    'fine.test': ['198.51.100.9'],
  });
  rmSync(folder, { recursive: true });
  assert.deepEqual(readHosts(path), {}, 'a machine may have none');
});

test('name servers that are none are refused by name', () => {
  for (const text of ['example.org', '10.0.0.256', '', '[fd00::1']) {
    assert.throws(() => machineResolver({ nameServers: [text] }), {
      name: 'TypeError',
      message: /nameServers: expected addresses/,
    });
  }
});
