/** mDNS (RFC 6762) and DNS-SD (RFC 6763) of one link, without sockets. @module */
export { Mdns, type MdnsOptions, type Published } from './mdns.ts';
export type { WatchListener } from './querier.ts';
export {
  decodeText,
  encodeText,
  instanceOf,
  type Service,
  type ServiceInstance,
  type ServiceText,
  typeDomain,
} from './service.ts';
export type { MdnsOutput, MdnsPeer } from './types.ts';
