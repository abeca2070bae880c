import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CommandError, UsageError } from '../command.ts';
import { JsonNode, readJsonFile } from '../json-file.ts';
import { readDeclaration } from './read-declaration.ts';

const read = (value: unknown) => readDeclaration(new JsonNode(value, '', 'lab.json'));

const host = { on: 'lan', addresses: ['10.0.0.1/24'] };
const router = { on: 'lan', addresses: ['10.0.0.254/24', 'fd00::1/64'] };
/** A small one that is right, changed by a row. */
const lab = (changes: object): object => ({ switches: { lan: {} }, hosts: { a: host }, ...changes });

test('lab file: what is left out is left out, and addresses are in one form', () => {
  const { network, seed, seconds, schedule } = read(
    lab({ hosts: { a: { ...host, addresses: ['10.0.0.1/24', 'FD00:0::1/64', 'dhcp'], mac: '02-00-00-00-00-0A' } } }),
  );
  assert.deepEqual(network.hosts, {
    a: { on: 'lan', addresses: ['10.0.0.1/24', 'fd00::1/64', 'dhcp'], mac: '02:00:00:00:00:0a' },
  });
  assert.deepEqual([seed, seconds, schedule, network.routers, network.links], [null, null, [], {}, {}]);
});

const WRONG: { name: string; value: unknown; expected: string }[] = [
  {
    name: 'no object',
    value: 7,
    expected: 'expected an object with seed, seconds, switches, links, routers, hosts, schedule, got 7',
  },
  { name: 'no hosts', value: {}, expected: 'expected hosts, got none' },
  {
    name: 'a misspelled name',
    value: lab({ swtches: {} }),
    expected: 'unknown name "swtches": did you mean switches?',
  },
  {
    name: 'a seed too large',
    value: lab({ seed: 2 ** 32 }),
    expected: 'seed: expected a whole number from 0 to 4294967295, got 4294967296',
  },
  {
    name: 'a name with a space',
    value: lab({ hosts: { 'a b': host } }),
    expected: 'hosts.a b: expected a name of letters, digits and hyphens, got "a b"',
  },
  {
    name: 'no switch of that name',
    value: lab({ switches: {} }),
    expected: 'hosts.a.on: expected a switch or a link (there are none), got "lan"',
  },
  {
    name: 'no addresses',
    value: lab({ hosts: { a: { on: 'lan' } } }),
    expected: 'hosts.a.addresses: expected a list, got nothing',
  },
  {
    name: 'no address in the list',
    value: lab({ hosts: { a: { ...host, addresses: [] } } }),
    expected: 'hosts.a.addresses: expected one address or more, got []',
  },
  {
    name: 'an address without a prefix',
    value: lab({ hosts: { a: { ...host, addresses: ['10.0.0.1'] } } }),
    expected:
      'hosts.a.addresses[0]: expected an address with prefix like 10.0.0.1/24, or dhcp, link-local, slaac, got "10.0.0.1"',
  },
  {
    name: 'an address that is none',
    value: lab({ hosts: { a: { ...host, addresses: ['10.0.0.1/24', '10.0.0.256/24'] } } }),
    expected: 'hosts.a.addresses[1]: expected an address with prefix like 10.0.0.1/24, got "10.0.0.256/24"',
  },
  {
    name: 'an address twice',
    value: lab({ hosts: { a: host, b: host } }),
    expected: 'hosts.b.addresses: 10.0.0.1 is an address of hosts.a too',
  },
  {
    name: 'a group as link address',
    value: lab({ hosts: { a: { ...host, mac: '03:00:00:00:00:01' } } }),
    expected: 'hosts.a.mac: expected the address of one host, no group, got "03:00:00:00:00:01"',
  },
  {
    name: 'a fault out of range',
    value: lab({ hosts: { a: { ...host, faults: { rx: { drop: 2 } } } } }),
    expected: 'hosts.a.faults.rx.drop: expected a number from 0 to 1, got 2',
  },
  {
    name: 'a router on dhcp',
    value: lab({ routers: { r: { interfaces: [{ on: 'lan', addresses: ['dhcp'] }] } } }),
    expected: 'routers.r.interfaces[0].addresses[0]: expected an address with prefix like 10.0.0.1/24, got "dhcp"',
  },
  {
    name: 'a pool of another network',
    value: lab({ routers: { r: { interfaces: [{ ...router, dhcp: { pool: ['10.0.1.1', '10.0.1.9'] } }] } } }),
    expected:
      'routers.r.interfaces[0].dhcp.pool: expected the first and the last address to lease, on an IPv4 network of the interface, got ["10.0.1.1","10.0.1.9"]',
  },
  {
    name: 'a reservation for a host without a link address',
    value: lab({
      routers: {
        r: { interfaces: [{ ...router, dhcp: { pool: ['10.0.0.10', '10.0.0.20'], reservations: { a: '10.0.0.5' } } }] },
      },
    }),
    expected: 'routers.r.interfaces[0].dhcp.reservations.a: expected a host that has a mac',
  },
  {
    name: 'a prefix of IPv4',
    value: lab({ routers: { r: { interfaces: [{ ...router, advertise: ['10.0.0.0/24'] }] } } }),
    expected: 'routers.r.interfaces[0].advertise[0]: expected an IPv6 prefix of 64 bits, got "10.0.0.0/24"',
  },
  {
    name: 'a gateway out of reach',
    value: lab({ hosts: { a: { ...host, gateway: ['10.0.1.1'] } } }),
    expected: 'hosts.a.gateway[0]: expected an address on a network of its own interfaces, got "10.0.1.1"',
  },
  {
    name: 'a route by way of nobody',
    value: lab({ routers: { r: { interfaces: [router], routes: [{ to: '10.9.0.0/16', via: '10.8.0.1' }] } } }),
    expected: 'routers.r.routes[0].via: expected an address on a network of its own interfaces, got "10.8.0.1"',
  },
  {
    name: 'a link with one end',
    value: lab({ links: { wan: {} }, hosts: { a: { ...host, on: 'wan' } } }),
    expected: 'links.wan: expected two ends, got 1',
  },
  {
    name: 'faults at the end of a link',
    value: lab({ links: { wan: {} }, hosts: { a: { ...host, on: 'wan', faults: {} } } }),
    expected: 'hosts.a.faults: expected none, since wan is a link and has its own',
  },
  {
    name: 'one name for two',
    value: lab({ links: { a: {} } }),
    expected: 'hosts.a: expected a name of its own, links has it too',
  },
  {
    name: 'an unknown activity',
    value: lab({ hosts: { a: { ...host, run: [{ do: 'fly' }] } } }),
    expected: 'hosts.a.run[0].do: expected one of ping, resolve, get, send, echo, got "fly"',
  },
  {
    name: 'an activity that is no object',
    value: lab({ hosts: { a: { ...host, run: [null] } } }),
    expected: 'hosts.a.run[0].do: expected one of ping, resolve, get, send, echo, got nothing',
  },
  {
    name: 'a name that another activity has',
    value: lab({ hosts: { a: { ...host, run: [{ do: 'ping', to: 'a', bytes: 3 }] } } }),
    expected: 'hosts.a.run[0]: unknown name "bytes": expected do, atMs, family, to, count, intervalMs',
  },
  {
    name: 'nobody to ping',
    value: lab({ hosts: { a: { ...host, run: [{ do: 'ping', to: 'b' }] } } }),
    expected: 'hosts.a.run[0].to: expected a host (a), a name with a dot, or an address, got "b"',
  },
  {
    name: 'an address of the other family',
    value: lab({ hosts: { a: { ...host, run: [{ do: 'ping', to: '10.0.0.7', family: 6 }] } } }),
    expected: 'hosts.a.run[0].to: expected an IPv6 address, got "10.0.0.7"',
  },
  {
    name: 'a router that is plugged in twice',
    value: lab({ routers: { r: { interfaces: [router, { on: 'lan', addresses: ['10.1.0.1/24'] }] } } }),
    expected: 'routers.r.interfaces[1].on: expected networks of their own, lan is there twice',
  },
  {
    name: 'a host that does not serve',
    value: lab({
      hosts: { a: { ...host, run: [{ do: 'send', to: 'b', bytes: 3 }] }, b: { ...host, addresses: ['10.0.0.2/24'] } },
    }),
    expected: 'hosts.a.run[0].to: expected a host that serves discard, b does not',
  },
  {
    name: 'a schedule of a cable that is not there',
    value: lab({ schedule: [{ atMs: 1, on: 'b' }] }),
    expected: 'schedule[0].on: expected one of a, got "b"',
  },
  {
    name: 'a congestion control that is none',
    value: lab({ hosts: { a: { ...host, tcp: { congestion: 'reno' } } } }),
    expected: 'hosts.a.tcp.congestion: expected one of cubic, newreno, bbr, got "reno"',
  },
  {
    name: 'a domain that is none',
    value: lab({ hosts: { a: { ...host, dns: { domains: ['a..b'] } } } }),
    expected: 'hosts.a.dns.domains[0]: expected a name like example.net, got "a..b"',
  },
];

for (const { name, value, expected } of WRONG) {
  test(`lab file: refuses ${name}`, () => {
    assert.throws(
      () => read(value),
      (error) => {
        assert.ok(error instanceof UsageError);
        assert.equal(error.message, `lab.json: ${expected}`);
        return true;
      },
    );
  });
}

test('lab file: what is no JSON is told with line and column, and a file that is not there', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lab-'));
  try {
    const path = join(folder, 'lab.json');
    writeFileSync(path, '{\n  "hosts": {,\n}');
    assert.throws(
      () => readJsonFile(path),
      (error) => error instanceof UsageError && /lab\.json: no JSON: (line 2, column 13: )?/.test(error.message),
    );
    assert.throws(
      () => readJsonFile(join(folder, 'none.json')),
      (error) => error instanceof CommandError && /cannot read .*none\.json: no such file/.test(error.message),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
