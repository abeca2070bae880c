import { createHost } from 'ethertype';
import { DnsServer } from 'ethertype/dns';
import { Switch } from 'ethertype/phy';

const lan = new Switch();
const router = createHost({ device: lan.port(), addresses: ['10.0.0.1/24'] });
const dns = await DnsServer.start(router, { domains: ['lan'], hosts: { 'router.lan': '10.0.0.1' } });

const host = createHost({
  device: lan.port(),
  addresses: ['10.0.0.2/24'],
  nameServers: ['10.0.0.1'],
  searchDomains: ['lan'],
});
const [address] = await host.resolve('router');
const { timeMs } = await host.ping('router');
console.log(address, timeMs < 1000);

await dns.close();
await host.close();
await router.close();
