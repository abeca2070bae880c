/**
 * The other side of device.test.ts: opens a device in the namespace it was started in and answers ARP and echo requests
 * by hand, without the stack. Usage: device-child.js MODE [JSON]; see the bottom. @module
 */
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type FdDevice, openPacketSocket, openTap, openTun, PacketSocketDevice } from '../../src/linux/index.ts';
import { frameEnd, frameLength, frameStart, Memory, setFrameBounds } from '../../src/memory/index.ts';
import { arp, ethernet, IpAddress, icmpv4, icmpv6, ip, ipv4, ipv6, MacAddress } from '../../src/wire/index.ts';

const MAC = MacAddress.parse('02:00:00:00:00:99');

interface Settings {
  /** Addresses the child answers for. */
  readonly addresses: readonly string[];
  readonly [option: string]: unknown;
}

/** Answers what comes until stdin ends, then closes everything; the process must then end by itself. */
function serve(device: FdDevice, { addresses }: Settings): void {
  const memory = new Memory({ bytes: 4 << 20 });
  const own = addresses.map((text) => IpAddress.parse(text));
  let largest = 0;
  const step = (): void => {
    for (let frame = device.receive(0); frame !== 0; frame = device.receive(0)) {
      largest = Math.max(largest, frameLength(memory, frame));
      if (answer(memory, device, frame, own)) device.transmit(frame, 0);
      else memory.free(frame);
    }
    if (device.pollAt() < Infinity) setTimeout(step, 1);
  };
  device.attach(memory, step);
  console.log(`ready ${JSON.stringify({ mtu: device.mtu, offload: device.offload })}`);
  const input = createInterface({ input: process.stdin });
  input.on('line', () =>
    console.log(
      `stats ${JSON.stringify({
        ...device.stats,
        largest,
        wakes: device.wakes,
        cpu: process.cpuUsage(),
        kernel: device instanceof PacketSocketDevice ? device.kernelStats() : null,
      })}`,
    ),
  );
  input.on('close', () => {
    device.close();
    device.close();
    console.log(`closed ${JSON.stringify({ usedBytes: memory.usedBytes })}`);
  });
}

/** Turns the frame into its answer, in place; false if it needs none. */
function answer(memory: Memory, device: FdDevice, frame: number, own: readonly IpAddress[]): boolean {
  const { dv } = memory;
  const start = frameStart(memory, frame);
  const end = frameEnd(memory, frame);
  if (device.medium === 'ip') return answerIp(memory, start, end, own);
  if (ethernet.check(dv, start, end) !== null) return false;
  const p = start + ethernet.HEADER_LENGTH;
  const peer = new MacAddress(ethernet.sourceHigh(dv, start), ethernet.sourceLow(dv, start));
  const type = ethernet.etherType(dv, start);
  if (type === ethernet.ETHERTYPE_ARP) {
    if (arp.check(dv, p, end) !== null || arp.operation(dv, p) !== arp.REQUEST) return false;
    const wanted = IpAddress.v4(arp.targetIp(dv, p));
    if (!own.some((address) => address.equals(wanted))) return false;
    arp.emit(dv, p, arp.REPLY, MAC, wanted, peer, IpAddress.v4(arp.senderIp(dv, p)));
    setFrameBounds(memory, frame, start, p + arp.PACKET_LENGTH);
  } else if (!answerIp(memory, p, end, own)) return false;
  ethernet.emit(dv, start, peer, MAC, type);
  return true;
}

const v6 = (dv: DataView, p: number, word: (dv: DataView, p: number, i: number) => number): IpAddress =>
  new IpAddress(word(dv, p, 0), word(dv, p, 1), word(dv, p, 2), word(dv, p, 3));

function answerIp(memory: Memory, p: number, end: number, own: readonly IpAddress[]): boolean {
  const { dv } = memory;
  const isV6 = ipv6.check(dv, p, end) === null;
  if (!isV6 && ipv4.check(memory, p, end) !== null) return false;
  const from = isV6 ? v6(dv, p, ipv6.sourceWord) : IpAddress.v4(ipv4.source(dv, p));
  const to = isV6 ? v6(dv, p, ipv6.destinationWord) : IpAddress.v4(ipv4.destination(dv, p));
  if (!own.some((address) => address.equals(to))) return false;
  const body = p + (isV6 ? ipv6.HEADER_LENGTH : ipv4.headerLength(dv, p));
  const length = isV6 ? ipv6.payloadLength(dv, p) : p + ipv4.totalLength(dv, p) - body;
  const rest = dv.getInt32(body + 4); // identifier and sequence
  if (isV6) {
    const pseudo = ip.pseudoHeaderSum(to, from, ip.PROTOCOL_ICMPV6);
    if (ipv6.nextHeader(dv, p) !== ip.PROTOCOL_ICMPV6 || icmpv6.type(dv, body) !== icmpv6.ECHO_REQUEST) return false;
    if (icmpv6.check(memory, body, body + length, pseudo) !== null) throw new Error('bad ICMPv6 checksum from Linux');
    dv.setUint16(body + 2, 0);
    icmpv6.emit(memory, body, icmpv6.ECHO_REPLY, 0, rest, length, pseudo);
    for (const [i, word] of [to.a, to.b, to.c, to.d, from.a, from.b, from.c, from.d].entries()) {
      dv.setInt32(p + 8 + 4 * i, word);
    }
    return true;
  }
  if (ipv4.protocol(dv, p) !== ip.PROTOCOL_ICMP || icmpv4.type(dv, body) !== icmpv4.ECHO_REQUEST) return false;
  if (icmpv4.check(memory, body, body + length) !== null) throw new Error('bad ICMP checksum from Linux');
  dv.setUint16(body + 2, 0);
  icmpv4.emit(memory, body, icmpv4.ECHO_REPLY, 0, rest, length);
  dv.setInt32(p + 12, to.d); // exchanging the addresses leaves the header's sum as it is
  dv.setInt32(p + 16, from.d);
  return true;
}

const countFds = (): number => readdirSync('/proc/self/fd').length;

/** Opens and closes again and again: prints how many descriptors that cost. */
async function churn(times: number): Promise<void> {
  const memory = new Memory({ bytes: 1 << 20 });
  const once = async (i: number): Promise<void> => {
    const device = await (i % 2 === 0 ? openTap({ name: 'et%d' }) : openTun({ name: 'et%d' }));
    if (i % 3 !== 0) {
      device.attach(memory, () => {});
      const frame = device.receive(0); // Linux greets a new interface with multicast reports
      if (frame !== 0) memory.free(frame);
    }
    if (i % 5 === 0) await new Promise((resume) => setImmediate(resume));
    device.close();
  };
  await once(0); // loads koffi
  const before = countFds();
  for (let i = 1; i <= times; i++) await once(i);
  await new Promise((resume) => setImmediate(resume));
  console.log(`churned ${JSON.stringify({ before, after: countFds(), usedBytes: memory.usedBytes })}`);
}

/** Opens, and prints the error's code and message. */
async function fail(open: () => Promise<FdDevice>): Promise<void> {
  try {
    (await open()).close();
    console.log('opened');
  } catch (error) {
    const { name, code, syscall, message } = error as Error & { code: string; syscall: string };
    console.log(`failed ${JSON.stringify({ name, code, syscall, message })}`);
  }
}

const [, , mode, json = '{}'] = process.argv;
const settings = JSON.parse(json) as never;
switch (mode) {
  case 'tap':
    serve(await openTap(settings), settings);
    break;
  case 'tun':
    serve(await openTun(settings), settings);
    break;
  case 'packet':
    serve(await openPacketSocket(settings), settings);
    break;
  case 'churn':
    await churn(Number(json));
    break;
  case 'fail-tap':
    await fail(() => openTap(settings));
    break;
  case 'fail-tun':
    await fail(() => openTun(settings));
    break;
  case 'fail-packet':
    await fail(() => openPacketSocket(settings));
    break;
  default:
    console.error(`device-child: unknown mode ${mode}`);
    process.exitCode = 2;
}
