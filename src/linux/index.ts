/** Devices of the Linux kernel: TUN, TAP and packet sockets, through the optional package koffi. @module */
export { FdDevice, type FdDeviceStats } from './fd-device.ts';
export {
  type CaptureCounts,
  openPacketCapture,
  PacketCapture,
  type PacketCaptureOptions,
  type SeenPacket,
} from './packet-capture.ts';
export {
  openPacketSocket,
  PacketSocketDevice,
  type PacketSocketOptions,
  type PacketSocketStats,
} from './packet-socket.ts';
export {
  attachTunQueue,
  openTap,
  openTun,
  openTunQueues,
  TunDevice,
  type TunOptions,
  type TunQueue,
  type TunQueuesOptions,
} from './tun.ts';
