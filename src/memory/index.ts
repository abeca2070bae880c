/** The linear memory, frames and the checksum kernel. @module */
export {
  allocFrame,
  CHECKSUM_FULL,
  CHECKSUM_PARTIAL,
  CHECKSUM_VALID,
  copyFrame,
  frameBytes,
  frameCapacity,
  frameChecksum,
  frameEnd,
  frameFrom,
  frameGsoSize,
  frameLength,
  frameStart,
  frameTransport,
  HEADROOM,
  setFrameBounds,
  setFrameOffload,
} from './frame.ts';
export { createKernel, type Kernel, type KernelChoice, setDefaultKernel } from './kernel.ts';
export { Memory, type MemoryOptions } from './memory.ts';
export { Ring } from './ring.ts';
