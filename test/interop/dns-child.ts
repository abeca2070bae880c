/**
 * A host of ours with a name server, or with mDNS, on tap0 for tests; it ends when its stdin does, and says then what it
 * dropped. Usage: dns-child.js server | mdns NAME. @module
 */

import { CaptureFile } from '../../src/cli/capture-file.ts';
import { DnsServer } from '../../src/dns/index.ts';
import { createHost, type Host, NetError } from '../../src/index.ts';
import { openTap } from '../../src/linux/index.ts';
import { PcapWriter } from '../../src/phy/index.ts';
import * as dns from '../../src/wire/dns.ts';

const [, , mode, name = 'ours', pcap = ''] = process.argv;
const say = (value: unknown): void => console.log(JSON.stringify(value));
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

async function serve(host: Host): Promise<() => Promise<void>> {
  const server = await DnsServer.start(host, {
    domains: ['lan'],
    hosts: { 'router.lan': ['192.168.69.1', 'fd69::1'] },
    records: [
      dns.record('www.lan', 60, { type: 'CNAME', target: 'router.lan' }),
      dns.record('out.lan', 60, { type: 'CNAME', target: 'far.example' }),
      dns.record('lan', 60, { type: 'MX', preference: 10, exchange: 'mail.lan' }),
      dns.record('_http._tcp.lan', 60, { type: 'SRV', priority: 1, weight: 2, port: 80, target: 'router.lan' }),
      dns.record('note.lan', 60, { type: 'TXT', strings: [bytes('say "hi"'), bytes('two')] }),
      ...Array.from({ length: 300 }, (_, i) => {
        const address = `10.1.${i >> 8}.${i & 255}`;
        return dns.record('big.lan', 60, { type: 'A', address: dns.addressOfReverse(reversed(address))! });
      }),
    ],
    forward: host.resolver,
  });
  return () => server.close();
}

const reversed = (address: string): string => `${address.split('.').reverse().join('.')}.in-addr.arpa`;

async function speak(host: Host): Promise<() => Promise<void>> {
  const mdns = host.mdns!;
  say({ name: await mdns.ready() });
  const site = { type: '_http._tcp', name: 'Our Site', port: 80, text: { path: '/x' } };
  const published = await mdns.publish(site);
  say({ published: published.name });
  void (async () => {
    for await (const { event, name: found, fullName } of mdns.browse('_ipp._tcp')) {
      say({ event, found });
      if (event === 'up') say({ service: await mdns.resolveService(fullName) });
    }
  })();
  process.stdin.on('data', async (data) => {
    const asked = `${data}`.trim();
    try {
      say({ asked, answer: await host.resolve(asked, { family: 4 }) });
    } catch (error) {
      if (!(error instanceof NetError)) throw error;
      say({ asked, error: error.code });
    }
  });
  return async () => {};
}

const tap = await openTap({ name: 'tap0', up: true });
const file = pcap === '' ? null : new CaptureFile(pcap, say);
const host = createHost({
  device: file === null ? tap : new PcapWriter(tap, file, { format: file.format, name: 'tap0', epochMs: 0 }),
  addresses: ['192.168.69.1/24'],
  nameServers: ['192.168.69.100'],
  ...(mode === 'mdns' ? { mdns: { name } } : {}),
});
const end = mode === 'server' ? await serve(host) : await speak(host);
say({ ready: true });
process.stdin.resume();
process.stdin.once('end', async () => {
  await end();
  await host.close();
  file?.close();
  say({ drops: host.stats.drops, leakedBytes: host.memory.usedBytes });
  process.exit(0);
});
