/** Sends one Ethernet frame through a packet socket: `node send-frame.js NAME HEX`. @module */
import { Memory } from '../../src/core.ts';
import { openPacketSocket } from '../../src/linux/index.ts';
import { frameFrom } from '../../src/memory/frame.ts';

const [name, text] = process.argv.slice(2);
const device = await openPacketSocket({ interface: name!, offload: false });
const memory = new Memory({ bytes: 1 << 20 });
device.attach(memory, () => {});
device.transmit(frameFrom(memory, Buffer.from(text!, 'hex')), 0);
device.close();
