/**
 * A router between two TUN or TAP interfaces, which the test moves into namespaces of their own. It says "ready", routes
 * until its stdin ends, and then says on a line of JSON what it did.
 * Usage: forward-child.js tap|tun MTU0 MTU1 [offload0 offload1] [capture file]. @module
 */
import { writeFileSync } from 'node:fs';
import { createHost } from '../../src/index.ts';
import { openTap, openTun } from '../../src/linux/index.ts';
import { Capture, type Device, PcapWriter } from '../../src/phy/index.ts';

const [, , kind, mtu0 = '1500', mtu1 = '1500', offload0 = 'on', offload1 = 'on', file] = process.argv;
const open = kind === 'tap' ? openTap : openTun;
const records: Uint8Array[] = [];
const capture = new Capture({ write: (record: Uint8Array) => void records.push(record.slice()) });

async function device(i: number, mtu: string, offload: string): Promise<Device> {
  const opened = await open({ name: `${kind}${i}`, mtu: Number(mtu), offload: offload === 'on', up: true });
  if (file === undefined) return opened;
  return new PcapWriter(opened, capture);
}

const left = await device(0, mtu0, offload0);
const right = await device(1, mtu1, offload1);
const host = createHost({
  device: left,
  addresses: ['10.0.1.1/24', 'fd01::1/64'],
  mac: '02:00:00:00:01:01',
  forward: true,
  memory: 64 << 20,
});
host.addInterface(right, { addresses: ['10.0.2.1/24', 'fd02::1/64'], mac: '02:00:00:00:02:01' });
console.log('ready');
process.stdin.resume();
await new Promise((resolve) => process.stdin.once('end', resolve));
const { ipForwarded, icmpErrorsOut, drops } = host.stats;
await host.close();
if (file !== undefined) writeFileSync(file, Buffer.concat(records));
console.log(JSON.stringify({ ipForwarded, icmpErrorsOut, drops, leakedBytes: host.memory.usedBytes }));
