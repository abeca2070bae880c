/**
 * `ethertype/netstack`: a stack behind a command channel. One thread owns the stack; sockets live on any thread, and may
 * block where a thread may. @module
 */
export type { BlockingOptions, MembershipChange } from '../sockets/backend.ts';
export { Channel, type ChannelData, type HasChannel, type SharedChannel } from './channel.ts';
export type {
  Command,
  ErrorResponse,
  Handle,
  HeldSyn,
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
export type { Request } from './mailbox.ts';
export { Netstack } from './netstack.ts';
export type { NetstackConfig } from './netstack-config.ts';
export { PacketQueue, Pipe, PipeDev, type PipeDevOptions } from './pipe.ts';
export { ChannelPosix } from './posix.ts';
export { type ChannelResolverOptions, resolverOver } from './resolve.ts';
export {
  type ChannelPingManyOptions,
  type ChannelPingOptions,
  configuration,
  configurationBlocking,
  configured,
  configuredBlocking,
  ping,
  pingBlocking,
  resolve,
  resolveBlocking,
} from './service-calls.ts';
export { type SpawnConfig, SpawnedNetstack, spawn } from './spawn.ts';
