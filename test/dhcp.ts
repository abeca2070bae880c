/** A DHCP client on a link that a test holds in its hands, and a server played by hand. @module */
import assert from 'node:assert/strict';
import { DhcpClient, type DhcpClientOptions, type Lease } from '../src/dhcp/index.ts';
import { Cidr, IpAddress as Ip, type IpAddress, MacAddress } from '../src/wire/address.ts';
import * as dhcp from '../src/wire/dhcpv4.ts';
import * as ethernet from '../src/wire/ethernet.ts';
import { PROTOCOL_UDP, pseudoHeaderSum } from '../src/wire/ip.ts';
import * as ipv4 from '../src/wire/ipv4.ts';
import { octetsOf } from '../src/wire/octets.ts';
import * as udp from '../src/wire/udp.ts';
import { arpFrame, EtherPeer } from './ether.ts';
import { LOCAL_MAC, REMOTE_MAC } from './peer.ts';

const { OPTION } = dhcp;
const BROADCAST_MAC = new MacAddress(0xffff, -1);

export const SERVER = '10.0.0.1';
export const OFFERED = '10.0.0.50';

/** A message that the client sent. */
export interface SentMessage {
  readonly type: string;
  readonly from: string;
  readonly to: string;
  readonly toMac: string;
  readonly xid: number;
  readonly secs: number;
  readonly broadcast: boolean;
  readonly ciaddr: string;
  readonly requested: string | null;
  readonly server: string | null;
  readonly options: dhcp.Options;
}

export interface ReplyOptions {
  readonly type: number;
  /** Default: that of the client's last message. */
  readonly xid?: number;
  readonly yiaddr?: string;
  readonly server?: string | null;
  readonly mac?: MacAddress;
  readonly op?: number;
  readonly leaseS?: number | null;
  readonly mask?: string | null;
  readonly options?: readonly dhcp.Option[];
  /** Where the datagram goes: by default 255.255.255.255, and everybody on the link. */
  readonly to?: string;
  readonly toMac?: MacAddress;
  readonly from?: string;
}

/** A frame with a datagram in it. */
export function udpFrame(
  from: string,
  fromPort: number,
  to: string,
  toPort: number,
  data: Uint8Array,
  toMac: MacAddress,
): Uint8Array {
  const bytes = new Uint8Array(ethernet.HEADER_LENGTH + ipv4.HEADER_LENGTH + udp.HEADER_LENGTH + data.length);
  const o = octetsOf(bytes);
  const ip = ethernet.HEADER_LENGTH;
  const body = ip + ipv4.HEADER_LENGTH;
  const [source, destination] = [Ip.parse(from), Ip.parse(to)];
  bytes.set(data, body + udp.HEADER_LENGTH);
  const total = udp.HEADER_LENGTH + data.length;
  udp.emit(o, body, fromPort, toPort, total, pseudoHeaderSum(source, destination, PROTOCOL_UDP));
  ipv4.emit(o.dv, ip, ipv4.HEADER_LENGTH + total, 0, 0, 0, 64, PROTOCOL_UDP, source.d, destination.d);
  ethernet.emit(o.dv, 0, toMac, REMOTE_MAC, ethernet.ETHERTYPE_IPV4);
  return bytes;
}

export class DhcpPeer extends EtherPeer {
  readonly client: DhcpClient;
  /** What the client told: states and all else, each as one line. */
  readonly events: string[] = [];
  readonly configured: (Lease | null)[] = [];
  #lastXid = 0;

  constructor(options: DhcpClientOptions = {}, addresses: readonly string[] = []) {
    super({}, { addresses: addresses.map((text) => Cidr.parse(text)) });
    this.client = new DhcpClient(this.stack, this.iface, {
      ...options,
      onEvent: (event) => {
        if (event.type === 'state') this.events.push(event.state);
        else if (event.type === 'lost') this.events.push(`lost: ${event.reason}`);
        else if (event.type === 'silence') this.events.push('silence');
        options.onEvent?.(event);
      },
      onConfigured: (lease) => {
        this.configured.push(lease);
        options.onConfigured?.(lease);
      },
    });
  }

  /** The DHCP messages sent since the last look. */
  messages(): SentMessage[] {
    const found: SentMessage[] = [];
    for (const bytes of this.device.sent.splice(0)) {
      const { dv } = octetsOf(bytes);
      if (ethernet.etherType(dv, 0) !== ethernet.ETHERTYPE_IPV4) continue;
      const ip = ethernet.HEADER_LENGTH;
      const p = ip + ipv4.HEADER_LENGTH + udp.HEADER_LENGTH;
      if (ipv4.protocol(dv, ip) !== PROTOCOL_UDP || dhcp.check(dv, p, bytes.length) !== null) continue;
      const options = dhcp.parseOptions(dv, p, bytes.length);
      this.#lastXid = dhcp.xid(dv, p);
      const mac = new MacAddress(ethernet.destinationHigh(dv, 0), ethernet.destinationLow(dv, 0));
      found.push({
        type: dhcp.typeName(dhcp.messageType(options)),
        from: `${Ip.v4(ipv4.source(dv, ip))}`,
        to: `${Ip.v4(ipv4.destination(dv, ip))}`,
        toMac: `${mac}`,
        xid: dhcp.xid(dv, p),
        secs: dhcp.secs(dv, p),
        broadcast: dhcp.isBroadcast(dv, p),
        ciaddr: `${Ip.v4(dhcp.ciaddr(dv, p))}`,
        requested: textOf(dhcp.readIp(options, OPTION.requestedAddress)),
        server: textOf(dhcp.readIp(options, OPTION.serverId)),
        options,
      });
    }
    return found;
  }

  /** The one message sent since the last look. */
  message(): SentMessage {
    const all = this.messages();
    if (all.length === 1) return all[0]!;
    throw new Error(`expected one message, got ${all.length}: ${all.map(({ type }) => type).join(', ')}`);
  }

  /** What a server would send. */
  replyFrame(options: ReplyOptions): Uint8Array {
    const { type, yiaddr = OFFERED, server = SERVER, leaseS = 3600, mask = '255.255.255.0' } = options;
    const list: dhcp.Option[] = [dhcp.numberOption(OPTION.messageType, type, 1)];
    if (server !== null) list.push(dhcp.ipOption(OPTION.serverId, Ip.parse(server)));
    if (type !== dhcp.NAK && leaseS !== null) list.push(dhcp.numberOption(OPTION.leaseTime, leaseS, 4));
    if (type !== dhcp.NAK && mask !== null) list.push(dhcp.ipOption(OPTION.subnetMask, Ip.parse(mask)));
    const data = dhcp.encode(
      {
        op: options.op ?? dhcp.BOOTREPLY,
        xid: options.xid ?? this.#lastXid,
        mac: options.mac ?? LOCAL_MAC,
        yiaddr: type === dhcp.NAK ? 0 : Ip.parse(yiaddr).d,
      },
      [...list, ...(options.options ?? [])],
      1400,
    );
    const { to = '255.255.255.255', toMac = BROADCAST_MAC, from = SERVER } = options;
    return udpFrame(from, dhcp.SERVER_PORT, to, dhcp.CLIENT_PORT, data, toMac);
  }

  reply(options: ReplyOptions): void {
    this.send(this.replyFrame(options));
  }

  /** Through to BOUND, with the options of both replies. */
  bind(options: Omit<ReplyOptions, 'type'> = {}): void {
    this.client.start();
    this.poll();
    this.messages();
    this.reply({ type: dhcp.OFFER, ...options });
    this.messages();
    this.reply({ type: dhcp.ACK, ...options });
    this.pass(1000);
    this.messages();
  }
}

const textOf = (address: IpAddress | null): string | null => (address === null ? null : `${address}`);

/** The link address of a host that is neither the client nor the server. */
export const OTHER_MAC = MacAddress.parse('02:00:00:00:00:33');

/** In SELECTING, or INIT-REBOOT. */
export const started = (options: DhcpClientOptions = {}): DhcpPeer => {
  const peer = new DhcpPeer(options);
  peer.client.start();
  peer.poll();
  return peer;
};

/** In REQUESTING, the request seen. */
export const requesting = (options: DhcpClientOptions = {}): DhcpPeer => {
  const peer = started(options);
  peer.message();
  peer.reply({ type: dhcp.OFFER });
  peer.message();
  return peer;
};

export const bound = (reply: Omit<ReplyOptions, 'type'> = {}, options: DhcpClientOptions = {}): DhcpPeer => {
  const peer = new DhcpPeer(options);
  peer.bind(reply);
  assert.equal(peer.client.state, 'BOUND');
  return peer;
};

/** Says that `sender` is at another host. */
export const claimed = (sender: string) => arpFrame({ sender, target: '10.0.0.77', senderMac: OTHER_MAC });
