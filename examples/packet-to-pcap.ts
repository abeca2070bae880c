import { readFileSync, writeFileSync } from 'node:fs';
import { CaptureWriter, LINKTYPE_ETHERNET, LINKTYPE_RAW, readCapture } from 'ethertype/pcap';

// Makes a capture of one bare packet, as a fuzzer leaves it: packet-to-pcap.js ethernet|ip INPUT OUTPUT
function packetToCapture(packet: Uint8Array, type: string): Uint8Array {
  const pieces: Uint8Array[] = [];
  const writer = new CaptureWriter({ write: (bytes) => pieces.push(bytes) }, { format: 'pcap' });
  writer.addInterface({ linkType: type === 'ethernet' ? LINKTYPE_ETHERNET : LINKTYPE_RAW });
  writer.write({ bytes: packet, seconds: 0, nanoseconds: 0 });
  return Buffer.concat(pieces);
}

const [type, input, output] = process.argv.slice(2);
if (type !== undefined && input !== undefined && output !== undefined) {
  writeFileSync(output, packetToCapture(readFileSync(input), type));
} else {
  // Without arguments: an ICMP echo request there and back.
  const packet = Buffer.from('4500001c00010000400166dd0a0000010a0000020800f7fd00010001', 'hex');
  const file = packetToCapture(packet, 'ip');
  for (const read of readCapture(file)) console.log(`${file.length} bytes of file hold ${read.bytes.length} of packet`);
}
