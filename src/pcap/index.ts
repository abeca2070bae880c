/**
 * Capture files, read and written: pcap and pcapng. It runs in a page as in Node, and needs no other part of ethertype.
 * @module
 */

export {
  LINKTYPE_ETHERNET,
  LINKTYPE_LINUX_SLL,
  LINKTYPE_LINUX_SLL2,
  LINKTYPE_NULL,
  LINKTYPE_RAW,
  linkTypeName,
} from '../wire/link-type.ts';
export { type CaptureFormat, SNAPLEN_DEFAULT } from './format.ts';
export {
  CapturedPacket,
  CaptureError,
  type CaptureInterface,
  CaptureReader,
  readCapture,
  readCaptureStream,
} from './reader.ts';
export {
  type CaptureSink,
  CaptureWriter,
  type CaptureWriterOptions,
  type PacketDirection,
  type PacketRecord,
} from './writer.ts';
