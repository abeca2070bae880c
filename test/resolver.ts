/** A resolver on a network of servers played by hand. @module */
import { Resolver, type ResolverOptions } from '../src/dns/resolver.ts';
import type * as dns from '../src/wire/dns.ts';
import { a, cname, FakeNetwork, ip, type Query, type Reply, zone } from './dns.ts';
import { inTime } from './hosts.ts';

export const S1 = '10.0.0.53';
export const S2 = '10.0.0.54';
export const ZONE = [
  a('example.org', '192.0.2.1'),
  a('example.org', '2001:db8::1'),
  cname('www.example.org', 'web.example.org'),
  cname('web.example.org', 'example.org', 30),
  cname('loop.example.org', 'pool.example.org'),
  cname('pool.example.org', 'loop.example.org'),
  a('four.example.org', '192.0.2.4', 10),
  a('short.lan', '192.0.2.7'),
];

export function rig(
  servers: Record<string, (query: Query) => Reply>,
  options: ResolverOptions = {},
  search: string[] = [],
) {
  const network = new FakeNetwork(servers);
  const resolver = new Resolver(network, options);
  resolver.setServers(
    'static',
    Object.keys(servers).map((address) => ({ address: ip(address) })),
    search,
  );
  const { clock } = network;
  const lookup = (name: string) => inTime(clock, resolver.lookup(name)).then((list) => list.map(String));
  const records = (name: string, type: dns.RecordType) => inTime(clock, resolver.resolve(name, type));
  return { network, resolver, clock, lookup, records };
}

export const one = (options: ResolverOptions = {}, search: string[] = []) => rig({ [S1]: zone(ZONE) }, options, search);
