/** The core: the stack and its sockets, without a loop. For whoever drives it himself. @module */
export { describeError, type ErrorCode, type ErrorContext, NetError } from './errors.ts';
export { IcmpSocket } from './icmp/icmp.ts';
export type { Changed } from './iface/context.ts';
export type { ErrorDetail } from './iface/error-detail.ts';
export type { ForwardOptions } from './iface/forward.ts';
export { Interface, type InterfaceOptions } from './iface/interface.ts';
export type { Ipv6Options } from './iface/nd.ts';
export {
  type AdvertisedPrefix,
  RouterAdvertiser,
  type RouterAdvertiserOptions,
} from './iface/router-advertiser.ts';
export type { Route } from './iface/routes.ts';
export type { DropReason, Stats } from './iface/stats.ts';
export { Memory, type MemoryOptions } from './memory/memory.ts';
export { RawSocket, type RawSocketOptions } from './raw/raw.ts';
export { Stack, type StackOptions } from './stack.ts';
export type { Cause, CongestionControl, RateSample } from './tcp/congestion/controller.ts';
export { ACCEPTABLE, CLOSED_EVENT, CONNECTED, READABLE, SENT, URGENT, WRITABLE } from './tcp/events.ts';
export type { TcpInfo } from './tcp/info.ts';
export type { CongestionName, TcpSettings } from './tcp/settings.ts';
export { type Endpoint, type ListenOptions, TcpSocket } from './tcp/socket.ts';
export type { TcpState } from './tcp/state.ts';
export type { OnSyn, SynRequest } from './tcp/syn-request.ts';
export type { Snapshot, TimerName, Trace, TraceEvent } from './tcp/trace.ts';
export { Source } from './udp/datagram-queue.ts';
export { UdpSocket } from './udp/socket.ts';
export { Cidr, IpAddress, MacAddress } from './wire/address.ts';
