/**
 * Our side of DHCPv6: a host on tap0 that asks for settings, or serves them, and says on lines of JSON what it heard.
 * Usage: dhcp-child.js ask|serve. @module
 */
import { Dhcpv6Server } from '../../src/dhcp/index.ts';
import { createHost, IpAddress } from '../../src/index.ts';
import { openTap } from '../../src/linux/index.ts';

const device = await openTap({ name: 'tap0' });
const say = (what: unknown): void => console.log(JSON.stringify(what));
const host = createHost({ device, onConfigured: say });
host.iface!.enableV6();
if (process.argv[2] === 'ask') {
  host.autoconfig()!.startDhcpv6();
} else {
  new Dhcpv6Server(host.stack, host.iface!, {
    dnsServers: [IpAddress.parse('fd00:9::53')],
    search: ['lan', 'example.com'],
    refreshS: 600,
  });
  say('serving');
}
// Until our parent closes our input.
for await (const _ of process.stdin);
await host.close();
say({ leakedBytes: host.memory.usedBytes });
