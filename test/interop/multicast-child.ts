/**
 * Our side of multicast.test.ts: a host on tap0 whose UDP sockets do what lines of JSON on stdin say:
 * `{"socket":"a","bind":{"port":5000}}`, then `{"socket":"a","call":"addMembership","args":["239.1.2.3"]}`. It prints
 * `done` after each, `got {...}` for each datagram, and each message of IGMP and MLD, `>` for its own.
 * Usage: multicast-child.js CAPTURE ADDRESS... @module
 */
import { createInterface } from 'node:readline';
import { CaptureFile } from '../../src/cli/capture-file.ts';
import { type BindOptions, createHost, type UdpSocket } from '../../src/index.ts';
import { openTap } from '../../src/linux/index.ts';
import { PcapWriter, Tracer } from '../../src/phy/index.ts';

interface Order {
  readonly socket: string;
  readonly bind?: BindOptions;
  readonly call?: string;
  readonly args?: readonly unknown[];
}

const [, , capture = '', ...addresses] = process.argv;
const file = new CaptureFile(capture, (message) => console.log(`error ${message}`));
const tap = await openTap({ name: 'tap0', up: true });
const pcap = new PcapWriter(tap, file, { format: file.format, name: 'tap0', epochMs: performance.timeOrigin });
const device = new Tracer(pcap, (line, way) => {
  if (/igmp |multicast listener /.test(line)) console.log(`${way === 'tx' ? '>' : '<'} ${line}`);
});
const host = createHost({ device, addresses, name: 'tap0' });
// IPv6 addresses are probed for first.
while (host.iface!.addresses.length < addresses.length) await new Promise((resume) => setTimeout(resume, 20));
const sockets = new Map<string, UdpSocket>();

async function receive(name: string, socket: UdpSocket): Promise<void> {
  for await (const { data, address, port } of socket) {
    console.log(`got ${JSON.stringify({ socket: name, text: new TextDecoder().decode(data).trim(), address, port })}`);
  }
}

async function obey({ socket: name, bind, call, args = [] }: Order): Promise<void> {
  if (bind !== undefined) {
    const made = await host.udp.bind({ reuse: true, ...bind });
    sockets.set(name, made);
    void receive(name, made);
  } else if (call === 'send') {
    const [text, to] = args as [string, { host: string; port: number }];
    await sockets.get(name)!.send(new TextEncoder().encode(text), to);
  } else {
    const socket = sockets.get(name) as unknown as Record<string, (...args: readonly unknown[]) => unknown>;
    await socket[call!]!(...args);
  }
}

console.log(`ready ${host.iface!.addresses.map(({ address }) => host.stack.ip.format(address)).join(' ')}`);
for await (const line of createInterface({ input: process.stdin })) {
  try {
    await obey(JSON.parse(line));
    console.log('done');
  } catch (error) {
    console.log(`error ${error}`);
  }
}
const { drops } = host.stats;
await host.close();
file.close();
console.log(`closed ${JSON.stringify({ usedBytes: host.memory.usedBytes, drops })}`);
