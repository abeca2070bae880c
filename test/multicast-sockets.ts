/** A host on two Ethernets that are played by hand, for tests of sockets in groups. @module */
import assert from 'node:assert/strict';
import { NetError } from '../src/errors.ts';
import type { Interface } from '../src/iface/interface.ts';
import { Random } from '../src/phy/random.ts';
import { Stack } from '../src/stack.ts';
import { Source } from '../src/udp/datagram-queue.ts';
import type { UdpSocket } from '../src/udp/socket.ts';
import { Cidr, IpAddress, MacAddress } from '../src/wire/address.ts';
import * as ethernet from '../src/wire/ethernet.ts';
import { PROTOCOL_UDP, pseudoHeaderSum } from '../src/wire/ip.ts';
import * as ipv4 from '../src/wire/ipv4.ts';
import * as ipv6 from '../src/wire/ipv6.ts';
import { octetsOf } from '../src/wire/octets.ts';
import * as udp from '../src/wire/udp.ts';
import { PeerDevice } from './peer.ts';

export const ip = (text: string): IpAddress => IpAddress.parse(text);
export const GROUP = ip('239.1.2.3');
export const GROUP6 = ip('ff15::1:2');
export const PORT = 5000;
export const PEER_MAC = MacAddress.parse('02:00:00:00:00:09');

export class Rig {
  readonly devices = [new PeerDevice('ethernet'), new PeerDevice('ethernet')];
  readonly stack: Stack;
  readonly eth0: Interface;
  readonly eth1: Interface;
  #now = 1000;

  constructor() {
    const random = new Random(1);
    this.stack = new Stack({ random: () => random.next(), memory: 1 << 20 });
    const add = (index: number, addresses: string[]): Interface =>
      this.stack.addInterface(this.devices[index]!, {
        addresses: addresses.map((text) => Cidr.parse(text)),
        ipv6: { dadTransmits: 0 },
      });
    this.eth0 = add(0, ['10.0.0.1/24', 'fd00::1/64', 'fe80::1/64']);
    this.eth1 = add(1, ['10.1.0.1/24', 'fd01::1/64', 'fe80::2/64']);
  }

  socket(options: { address?: string; port?: number } = {}): UdpSocket {
    const socket = this.stack.udpSocket();
    socket.reuse = true;
    const { address, port = PORT } = options;
    socket.bind({ port, address: address === undefined ? undefined : ip(address) });
    return socket;
  }

  /** A datagram of one byte from the network. */
  receive(to: IpAddress, options: { from?: string; device?: number; port?: number; data?: number } = {}): void {
    const { from = to.isV4 ? '10.0.0.2' : 'fd00::2', device = 0, port = PORT, data = 1 } = options;
    this.devices[device]!.deliver(frameOf(to, ip(from), port, data, [this.eth0, this.eth1][device]!.mac));
    this.poll();
  }

  poll(): void {
    this.stack.poll(this.#now++);
  }

  /** The Ethernet destination, destination and hop limit of the datagrams that left by a device; reports are left out. */
  sent(device = 0): string[] {
    this.poll();
    return this.devices[device]!.sent.splice(0).flatMap((bytes) => {
      const { dv } = octetsOf(bytes);
      const isV4 = ethernet.etherType(dv, 0) === ethernet.ETHERTYPE_IPV4;
      if ((isV4 ? ipv4.protocol(dv, 14) : ipv6.nextHeader(dv, 14)) !== PROTOCOL_UDP) return [];
      const mac = new MacAddress(ethernet.destinationHigh(dv, 0), ethernet.destinationLow(dv, 0));
      const to = isV4 ? IpAddress.v4(ipv4.destination(dv, 14)) : ipv6.formatDestination(dv, 14);
      return [`${mac} ${to} ${isV4 ? ipv4.ttl(dv, 14) : ipv6.hopLimit(dv, 14)}`];
    });
  }

  end(): void {
    this.stack.close();
    assert.equal(this.stack.memory.usedBytes, 0);
  }
}

export function frameOf(to: IpAddress, from: IpAddress, port: number, data: number, mac: MacAddress): Uint8Array {
  const header = to.isV4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH;
  const bytes = new Uint8Array(14 + header + 9);
  const o = octetsOf(bytes);
  const p = 14 + header;
  bytes[p + 8] = data;
  udp.emit(o, p, 4000, port, 9, pseudoHeaderSum(from, to, PROTOCOL_UDP));
  if (to.isV4) ipv4.emit(o.dv, 14, header + 9, 0, 1, 0, 3, PROTOCOL_UDP, from.d, to.d);
  else ipv6.emit(o.dv, 14, 9, 0, 3, PROTOCOL_UDP, from, to);
  const high = to.isV4 ? ethernet.GROUP_HIGH_V4 : ethernet.GROUP_HIGH_V6;
  const low = to.isV4 ? ethernet.groupLowV4(to.d) : to.d;
  const type = to.isV4 ? ethernet.ETHERTYPE_IPV4 : ethernet.ETHERTYPE_IPV6;
  ethernet.emit(o.dv, 0, to.isMulticast ? new MacAddress(high, low) : mac, PEER_MAC, type);
  return bytes;
}

/** The bytes of the datagrams that wait, in order. */
export function taken(socket: UdpSocket): number[] {
  const target = new Uint8Array(16);
  const source = new Source();
  const values: number[] = [];
  while (socket.recv(target, source) >= 0) values.push(target[0]!);
  return values;
}

export const hasCode = (code: string) => (error: unknown) => error instanceof NetError && error.code === code;
