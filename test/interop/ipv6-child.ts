/**
 * A host on a TAP interface for the tests of IPv6: it prints what happens to its addresses as lines of JSON, and does
 * what lines on its stdin tell it to: `ping HOST`, `state`, `stop`. @module
 */
import { createInterface } from 'node:readline';
import { RouterAdvertiser, type RouterAdvertiserOptions } from '../../src/core.ts';
import { createHost, type HostOptions } from '../../src/index.ts';
import { openTap } from '../../src/linux/index.ts';
import { Cidr, IpAddress } from '../../src/wire/address.ts';

/** What the test passes as JSON. */
export interface ChildOptions {
  readonly tap: string;
  readonly addresses: string[];
  readonly ipv6?: HostOptions['ipv6'];
  /** Whether it is a router that advertises this prefix. */
  readonly advertise?: string;
}

const options = JSON.parse(process.argv[2]!) as ChildOptions;
const say = (what: unknown): void => void process.stdout.write(`${JSON.stringify(what)}\n`);

const device = await openTap({ name: options.tap, up: true });
const host = createHost({
  device,
  name: options.tap,
  addresses: options.addresses,
  ...(options.ipv6 === undefined ? {} : { ipv6: options.ipv6 }),
  onAddress: (change) => say({ change }),
  onConfigured: (configuration) => say({ configuration }),
});
const iface = host.iface!;
let advertiser: RouterAdvertiser | null = null;
if (options.advertise !== undefined) {
  const says: RouterAdvertiserOptions = {
    prefixes: [{ prefix: Cidr.parse(options.advertise), validSeconds: 7200, preferredSeconds: 3600 }],
    routes: [{ prefix: Cidr.parse('fd00:aaaa::/32'), preference: 'high', lifetimeSeconds: 600 }],
    nameServers: [IpAddress.parse('fd00:53::53')],
    searchDomains: ['lab.example'],
    preference: 'high',
    mtu: 1400,
    lifetimeSeconds: 1800,
  };
  advertiser = new RouterAdvertiser(iface, says);
  advertiser.start();
}

const states = ['INCOMPLETE', 'REACHABLE', 'STALE', 'DELAY', 'PROBE', 'GONE'];
const state = () => ({
  neighbours: [...iface.neighbours.values()].map(
    ({ address, state: at }) => `${host.stack.ip.format(address)} ${states[at]}`,
  ),
  addresses: host.stack.ip.addresses.all.map(({ cidr, origin, state: at }) => `${cidr} ${origin} ${at}`),
  routes: host.stack.ip.routes.all.map(({ prefix, gateway }) => `${prefix} ${gateway ?? 'link'}`),
  mtu: iface.mtu,
  hopLimit: iface.hopLimit,
  drops: host.stats.drops,
  usedBytes: host.memory.usedBytes,
});

async function obey(line: string): Promise<void> {
  const [command, argument = ''] = line.split(' ');
  if (command === 'state') say({ state: state() });
  else if (command === 'ping') {
    const answer = await host.ping(argument, { timeout: 5000 }).then(
      ({ timeMs }) => ({ timeMs }),
      (error: { code?: string }) => ({ code: error.code ?? String(error) }),
    );
    say({ ping: answer });
  } else if (command === 'stop') advertiser?.stop();
}

say({ ready: true });
for await (const line of createInterface({ input: process.stdin })) await obey(line);
advertiser?.stop();
await host.close();
say({ end: { usedBytes: host.memory.usedBytes } });
