/**
 * The DNS: a resolver over any transport, a server, mDNS and DNS-SD. Hosts have a resolver of their own
 * (`host.resolve`). @module
 */

export type { RecordOf, RecordType, ResourceRecord } from '../wire/dns.ts';
export type { Answer } from './cache.ts';
export type { HostsTable } from './hosts.ts';
export {
  decodeText,
  Mdns,
  type MdnsOptions,
  type MdnsOutput,
  type MdnsPeer,
  type Published,
  type Service,
  type ServiceInstance,
  type ServiceText,
  type WatchListener,
} from './mdns/index.ts';
export {
  type Family,
  type LinkResolver,
  type LookupOptions,
  type QueryOptions,
  type Resolution,
  Resolver,
  type ResolverOptions,
} from './resolver.ts';
export { DnsServer, type DnsServerOptions, type ServerHost } from './server.ts';
export type { DnsDrop, DnsTransport, Endpoint, QueryHandler, QuerySocket } from './transport.ts';
export { Upstream, type UpstreamOptions } from './upstream.ts';
export { Zone, type ZoneAnswer, type ZoneOptions } from './zone.ts';
