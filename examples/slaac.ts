import { createHost } from 'ethertype';
import { Cidr, RouterAdvertiser } from 'ethertype/core';
import { Switch } from 'ethertype/phy';

// A router that advertises a prefix, and a host that finds an address and its default route by it.
const lan = new Switch();
const router = createHost({ device: lan.port(), addresses: ['fd00::1/64'] });
const advertiser = new RouterAdvertiser(router.iface!, { prefixes: [{ prefix: Cidr.parse('fd00::/64') }] });
advertiser.start();

const host = createHost({ device: lan.port(), addresses: ['slaac'] });
const addresses = await host.configured({ timeout: 20_000 });
console.log('addresses', addresses.join(' '));
for (const { prefix, gateway } of host.stack.ip.routes.all)
  console.log('route', `${prefix}`, gateway ? `by ${gateway}` : '');
const { timeMs } = await host.ping('fd00::1');
console.log('ping', timeMs < 1000);

advertiser.stop();
await host.close();
await router.close();
