/**
 * `ethertype/netstack`: a stack behind a command channel. One thread owns the stack; sockets live on any thread, and may
 * block where a thread may. @module
 */
export type { BlockingOptions, MembershipChange } from '../sockets/backend.ts';
export { Channel, type ChannelData, type HasChannel, type SharedChannel } from './channel.ts';
export { ChannelEchoRequest, ChannelTcpFlow, ChannelUdpFlow } from './channel-flow.ts';
export {
  type ChannelEchoHandler,
  ChannelInterception,
  type ChannelTcpFlowHandler,
  type ChannelTcpInterceptOptions,
  type ChannelUdpFlowHandler,
  type InterceptionStatus,
  icmpIntercept,
  icmpInterceptBlocking,
  tcpIntercept,
  tcpInterceptBlocking,
  udpIntercept,
  udpInterceptBlocking,
} from './channel-intercept.ts';
export type {
  Command,
  ErrorResponse,
  FlowDecision,
  Handle,
  HeldFlow,
  HeldSyn,
  InterceptCommand,
  Local,
  PlainRoute,
  PlainTcpSettings,
  PosixCommand,
  RawCommand,
  Response,
  ResponseTo,
  ServiceCommand,
  StackCommand,
  StreamOpened,
  TcpCommand,
  UdpCommand,
} from './commands.ts';
export {
  type ChannelConnectOptions,
  type ChannelListenOptions,
  rawOpen,
  rawOpenBlocking,
  tcpConnect,
  tcpConnectBlocking,
  tcpListen,
  tcpListenBlocking,
  udpBind,
  udpBindBlocking,
  udpConnect,
  udpConnectBlocking,
} from './create-socket.ts';
export { Driver, piped, pipedPair } from './driver.ts';
export type { ChannelStats } from './executor.ts';
export type { Request } from './mailbox.ts';
export { Netstack } from './netstack.ts';
export type { NetstackConfig } from './netstack-config.ts';
export { PacketQueue, Pipe, PipeDev, type PipeDevOptions } from './pipe.ts';
export { ChannelPosix } from './posix.ts';
export {
  type ChannelPingManyOptions,
  type ChannelPingOptions,
  ping,
  pingBlocking,
  trace,
  traceBlocking,
} from './probe-calls.ts';
export { type ChannelResolverOptions, resolverOver } from './resolve.ts';
export {
  configuration,
  configurationBlocking,
  configured,
  configuredBlocking,
  resolve,
  resolveBlocking,
} from './service-calls.ts';
export { type SpawnConfig, SpawnedNetstack, spawn } from './spawn.ts';
