/** `ethertype dhcp` used wrongly: exit code 2, one line on stderr. @module */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

describe('dhcp: wrong usage', () => {
  const tap = ['dhcp', '--tap', 'tap0'];
  const server = [...tap, '--server', '--address', '10.0.0.1/24'];
  const rows: readonly (readonly [name: string, args: readonly string[], line: RegExp])[] = [
    ['no interface', ['dhcp'], /expected one interface/],
    ['a TUN', ['dhcp', '--tun', 'tun0'], /--address dhcp is for --tap: a TUN has no Ethernet/],
    ['an address', [...tap, '--address', '10.0.0.1/24'], /--address: expected dhcp, or none/],
    ['no time', [...tap, '--timeout', '0'], /--timeout: expected a whole number from 1/],
    ['no address to ask for', [...tap, '--request', 'x'], /--request: expected an IPv4 or IPv6 address/],
    ['a server without a pool', server, /--pool: expected two addresses like/],
    ['a pool of one', [...server, '--pool', '10.0.0.5'], /--pool: expected two addresses like/],
    ['a server on a TUN', ['dhcp', '--tun', 'tun0', '--server', '--address', '10.0.0.1/24'], /--server is for --tap/],
    ['a host that wants DHCP on a TUN', ['server', '--tun', 'tun0', '--address', 'dhcp'], /dhcp is for --tap/],
    ['a word that is none', ['server', '--tap', 'tap0', '--address', 'dhcpp'], /--address: expected an address/],
  ];
  for (const [name, args, line] of rows) {
    test(name, () => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });
      assert.match(stderr, /^ethertype (dhcp|server): [^\n]+\n$/);
      assert.match(stderr, line);
      assert.equal(stdout, '');
      assert.equal(status, 2);
    });
  }
});
