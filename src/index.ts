/**
 * ethertype: a TCP/IP stack that a program can own. Hosts and sockets are here; devices in `ethertype/phy`, the
 * synchronous core in `ethertype/core`, simulation in `ethertype/sim`, Linux devices in `ethertype/linux`. @module
 */

export { describeError, type ErrorCode, type ErrorContext, NetError } from './errors.ts';
export type { ForwardOptions } from './iface/forward.ts';
export type { DropReason, Stats } from './iface/stats.ts';
export { Memory, type MemoryOptions } from './memory/memory.ts';
export { ADDRESS_WORDS, type AddressWord } from './sockets/address-words.ts';
export type {
  AddressChange,
  Autoconfig,
  AutoconfigOptions,
  Configuration,
  ConfiguredOptions,
  Conflict,
} from './sockets/autoconfig.ts';
export type {
  EchoDecision,
  EchoHandler,
  EchoInterception,
  EchoInterceptOptions,
  EchoRequest,
} from './sockets/echo-intercept.ts';
export type { FlowStats } from './sockets/flow-slots.ts';
export { createHost, Host, type HostOptions, type InterfaceSettings } from './sockets/host.ts';
export {
  type BindOptions,
  type ConnectOptions,
  HostIcmp,
  HostRaw,
  HostTcp,
  HostUdp,
  type ListenOptions,
  type UdpConnectOptions,
} from './sockets/host-sockets.ts';
export type { IncomingSyn, SynDecision, SynHandler } from './sockets/incoming-syn.ts';
export {
  HostMdns,
  type HostMdnsOptions,
  type Publication,
  type ResolvedService,
  type ServiceEvent,
} from './sockets/mdns.ts';
export type { NamesOptions, Resolved, ResolveOptions } from './sockets/names.ts';
export type { PingFailure, PingManyOptions, PingOptions, PingReply, PingStatistics } from './sockets/ping.ts';
export { type RawOpenOptions, type RawPacket, RawSocket } from './sockets/raw-socket.ts';
export type { TcpFlow, TcpFlowHandler, TcpInterception, TcpInterceptOptions } from './sockets/tcp-intercept.ts';
export { TcpListener } from './sockets/tcp-listener.ts';
export { type CloseOptions, TcpStream } from './sockets/tcp-stream.ts';
export type { TraceHop, TraceOptions, TraceProbe } from './sockets/trace.ts';
export type { UdpFlow, UdpFlowHandler, UdpInterception, UdpInterceptOptions } from './sockets/udp-intercept.ts';
export { type Datagram, type Destination, UdpSocket } from './sockets/udp-socket.ts';
export type { WaitOptions } from './sockets/waiters.ts';
export { Stack, type StackOptions } from './stack.ts';
export type { Cause, CongestionControl, RateSample } from './tcp/congestion/controller.ts';
export type { CongestionName, TcpSettings } from './tcp/settings.ts';
export type { TcpState } from './tcp/state.ts';
export { Cidr, IpAddress, MacAddress } from './wire/address.ts';
