/** Watches an interface: `node capture-child.js NAME ring|batches`. Prints `ready`; at a line on its input what it saw. @module */
import { openPacketCapture } from '../../src/linux/index.ts';

const KEPT_MAX = 100;

const [name = 'lo', how = 'ring'] = process.argv.slice(2);
const capture = await openPacketCapture({ interface: name, ring: how === 'ring' });
const packets: { hex: string; outgoing: boolean; length: number; ms: number }[] = [];
let count = 0;
capture.start(
  ({ buffer, start, end, originalLength, seconds, nanoseconds, outgoing }) => {
    if (count++ >= KEPT_MAX) return;
    const hex = Buffer.from(buffer.slice(start, end)).toString('hex');
    packets.push({ hex, outgoing, length: originalLength, ms: seconds * 1000 + nanoseconds / 1e6 });
  },
  () => {},
  (error) => {
    console.error(error.message);
    process.exit(1);
  },
);
console.log('ready');
process.stdin.once('data', () => {
  capture.close();
  console.log(JSON.stringify({ isRing: capture.isRing, count, packets, ...capture.counts() }));
  process.exit(0);
});
