/** DHCP: the clients of both families, small servers for LANs, and IPv4 link-local addresses. @module */
export { PROBES, type ProbeTiming, QUICK_PROBES } from '../iface/acd.ts';
export type { Binding, BindingState } from './bindings.ts';
export { DhcpClient } from './client.ts';
export type { DhcpClientOptions, DhcpEvent, DhcpState } from './client-options.ts';
export { Dhcpv6Client, type Dhcpv6ClientOptions, type Settings6 } from './client6.ts';
export { type Lease, restoreLease, type Settings, type StoredLease, storeLease } from './lease.ts';
export { LinkLocal, type LinkLocalOptions, type LinkLocalState } from './link-local.ts';
export { DhcpServer, type DhcpServerOptions } from './server.ts';
export { Dhcpv6Server, type Dhcpv6ServerOptions } from './server6.ts';
