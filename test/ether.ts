/** A stack on an Ethernet device and hand-made frames around it. @module */
import type { InterfaceOptions } from '../src/iface/interface.ts';
import { Random } from '../src/phy/random.ts';
import { Stack, type StackOptions } from '../src/stack.ts';
import { Cidr, IpAddress, MacAddress } from '../src/wire/address.ts';
import * as arp from '../src/wire/arp.ts';
import * as ethernet from '../src/wire/ethernet.ts';
import { octetsOf } from '../src/wire/octets.ts';
import { formatFrame } from '../src/wire/packet.ts';
import { LOCAL_MAC, PeerDevice, REMOTE_MAC } from './peer.ts';

const BROADCAST = new MacAddress(0xffff, -1);

export interface ArpOptions {
  readonly operation?: number;
  readonly senderMac?: MacAddress;
  readonly sender?: string;
  readonly target?: string;
  /** The Ethernet destination; default the stack. */
  readonly to?: MacAddress;
}

/** An ARP packet in its frame: by default 10.0.0.2 answers 10.0.0.1. */
export function arpFrame(options: ArpOptions = {}): Uint8Array {
  const {
    operation = arp.REPLY,
    senderMac = REMOTE_MAC,
    sender = '10.0.0.2',
    target = '10.0.0.1',
    to = LOCAL_MAC,
  } = options;
  const bytes = new Uint8Array(ethernet.HEADER_LENGTH + arp.PACKET_LENGTH);
  const { dv } = octetsOf(bytes);
  ethernet.emit(dv, 0, to, senderMac, ethernet.ETHERTYPE_ARP);
  arp.emit(
    dv,
    ethernet.HEADER_LENGTH,
    operation,
    senderMac,
    IpAddress.parse(sender),
    LOCAL_MAC,
    IpAddress.parse(target),
  );
  return bytes;
}

export const arpRequest = (options: ArpOptions = {}): Uint8Array =>
  arpFrame({ operation: arp.REQUEST, to: BROADCAST, ...options });

/** `packet` in a frame from the peer. */
export function etherFrameOf(
  packet: Uint8Array,
  to: MacAddress = LOCAL_MAC,
  type: number = ethernet.ETHERTYPE_IPV4,
): Uint8Array {
  const bytes = new Uint8Array(ethernet.HEADER_LENGTH + packet.length);
  ethernet.emit(octetsOf(bytes).dv, 0, to, REMOTE_MAC, type);
  bytes.set(packet, ethernet.HEADER_LENGTH);
  return bytes;
}

export class EtherPeer {
  readonly device = new PeerDevice('ethernet');
  readonly stack: Stack;
  now = 1000;

  /** @param iface - by default 10.0.0.1/24, which is not announced */
  constructor(options: Partial<StackOptions> = {}, iface: InterfaceOptions = {}) {
    const random = new Random(1);
    this.stack = new Stack({ random: () => random.next(), memory: 4 << 20, ...options });
    const addresses = [Cidr.parse('10.0.0.1/24')];
    this.stack.addInterface(this.device, { addresses, mac: LOCAL_MAC, announce: false, ...iface });
    this.poll();
  }

  get iface() {
    return this.stack.interfaces[1]!;
  }

  poll(): void {
    this.stack.poll(this.now);
  }

  send(frame: Uint8Array): void {
    this.device.deliver(frame);
    this.poll();
  }

  /** Lets `ms` pass, stopping at every deadline of the stack. */
  pass(ms: number): void {
    const until = this.now + ms;
    for (let at = this.stack.pollAt(); at <= until; at = this.stack.pollAt()) {
      this.now = Math.max(this.now, at);
      this.poll();
    }
    this.now = until;
    this.poll();
  }

  /** What the stack has sent since the last look, as tcpdump would show it. */
  lines(): string[] {
    return this.device.sent.splice(0).map((bytes) => formatFrame(octetsOf(bytes), 0, bytes.length, 'ethernet'));
  }
}
