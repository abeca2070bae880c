/** Devices: virtual wires, and wrappers that trace, capture or spoil what passes. @module */
export type { CaptureFormat } from '../pcap/format.ts';
export type { CaptureSink } from '../pcap/writer.ts';
export { LINKTYPE_ETHERNET, LINKTYPE_RAW } from '../wire/link-type.ts';
export {
  ChannelDevice,
  type ChannelOptions,
  messagePortDevice,
  type PortLike,
  type SocketLike,
  webSocketDevice,
} from './channel-device.ts';
export type { Device, FrameNotes, Medium } from './device.ts';
export { FaultInjector, type FaultInjectorOptions, type FaultOptions } from './fault-injector.ts';
export type { FaultSettings, FaultStats, JitterShape } from './faults.ts';
export { Loopback, type LoopbackOptions } from './loopback.ts';
export {
  Capture,
  type CaptureMode,
  type CaptureOptions,
  type DropReporter,
  PcapWriter,
  type PcapWriterOptions,
} from './pcap-writer.ts';
export { PipeEnd, type PipeOptions, pipePair } from './pipe.ts';
export { FrameQueue } from './queue.ts';
export { type PacketStreams, packetStreams, QueueDevice, type QueueDeviceOptions } from './queue-device.ts';
export { Random } from './random.ts';
export { Switch, type SwitchOptions, SwitchPort, type SwitchPortStats, type SwitchStats } from './switch.ts';
export { type Direction, type Trace, Tracer } from './tracer.ts';
export { type VlanOptions, VlanTrunk } from './vlan.ts';
