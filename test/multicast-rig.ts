/**
 * A host on an Ethernet link, under virtual time, whose every draw comes out in the middle: what it says to multicast
 * routers, when, and queries for it. @module
 */
import assert from 'node:assert/strict';
import type { Interface } from '../src/iface/interface.ts';
import { Stack } from '../src/stack.ts';
import type { UdpSocket } from '../src/udp/socket.ts';
import { Cidr, IpAddress, MacAddress } from '../src/wire/address.ts';
import * as ethernet from '../src/wire/ethernet.ts';
import * as igmp from '../src/wire/igmp.ts';
import { PROTOCOL_ICMPV6, PROTOCOL_IGMP, pseudoHeaderSum } from '../src/wire/ip.ts';
import * as ipv4 from '../src/wire/ipv4.ts';
import * as options from '../src/wire/ipv4-options.ts';
import * as ipv6 from '../src/wire/ipv6.ts';
import * as extension from '../src/wire/ipv6-extension.ts';
import * as mld from '../src/wire/mld.ts';
import { octetsOf } from '../src/wire/octets.ts';
import { PeerDevice } from './peer.ts';

const ETHERNET = ethernet.HEADER_LENGTH;
const ROUTER_MAC = MacAddress.parse('02:00:00:00:00:fe');

/** A message the host sent, and the whole frame. */
export interface Said {
  /** `1000: 224.0.0.22 igmp v3 report, ...`: ms since the start, destination, message. */
  readonly line: string;
  readonly frame: Uint8Array;
}

export interface QueryOptions {
  readonly version?: 1 | 2 | 3;
  readonly group?: IpAddress;
  readonly sources?: readonly IpAddress[];
  readonly maxResponseMs?: number;
  readonly robustness?: number;
  readonly intervalSeconds?: number;
  /** By default as the version has it. */
  readonly to?: IpAddress;
  readonly from?: IpAddress;
  readonly hasAlert?: boolean;
  readonly hopLimit?: number;
}

const START = 1000;
/** By then the host has announced its addresses and told of their solicited-node groups. */
const SETTLED = 61_000;

export class MulticastRig {
  readonly device: PeerDevice;
  readonly stack: Stack;
  readonly iface: Interface;
  readonly isV4: boolean;
  now = START;
  /** Whether solicited-node groups are told of too. */
  hearsSolicited = false;

  constructor(family: 4 | 6, settings: { addresses?: string[]; random?: () => number; mtu?: number } = {}) {
    this.isV4 = family === 4;
    const { addresses = [this.isV4 ? '10.0.0.1/24' : 'fe80::1/64'], random = () => 0x8000_0000 } = settings;
    this.device = new PeerDevice('ethernet', settings.mtu ?? 1500);
    this.stack = new Stack({ random, memory: 1 << 20 });
    this.iface = this.stack.addInterface(this.device, {
      mac: MacAddress.parse('02:00:00:00:00:01'),
      addresses: addresses.map((text) => Cidr.parse(text)),
      // Neighbour discovery has tests of its own: no probing, and no address but those given.
      ipv6: { dadTransmits: 0, linkLocal: false },
    });
    this.hear(SETTLED - START);
  }

  socket(): UdpSocket {
    const socket = this.stack.udpSocket();
    socket.reuse = true;
    socket.bind({ port: 5000 });
    return socket;
  }

  /** Lets time pass, and tells what the host said. */
  advance(ms: number): string[] {
    return this.hear(ms).map(({ line }) => line);
  }

  hear(ms: number): Said[] {
    const until = this.now + ms;
    const said: Said[] = [];
    for (let turns = 0; ; turns++) {
      assert.ok(turns < 10_000, 'the host never rests');
      this.stack.poll(this.now);
      for (const frame of this.device.sent.splice(0)) {
        const line = this.#read(frame);
        if (line !== null) said.push({ line, frame });
      }
      const next = Math.max(this.stack.pollAt(), this.now);
      if (next > until) break;
      this.now = next;
    }
    this.now = until;
    return said;
  }

  /** What a frame says to multicast routers; null: it is no such message, or says no more than each host has to. */
  #read(frame: Uint8Array): string | null {
    const o = octetsOf(frame);
    const at = this.now - SETTLED;
    if (ethernet.etherType(o.dv, 0) === ethernet.ETHERTYPE_IPV4) {
      assert.equal(ipv4.check(o, ETHERNET, frame.length), null);
      if (ipv4.protocol(o.dv, ETHERNET) !== PROTOCOL_IGMP) return null;
      const p = ETHERNET + ipv4.headerLength(o.dv, ETHERNET);
      assert.equal(igmp.check(o, p, frame.length), null);
      return `${at}: ${IpAddress.v4(ipv4.destination(o.dv, ETHERNET))} ${igmp.format(o.dv, p, frame.length)}`;
    }
    if (ethernet.etherType(o.dv, 0) !== ethernet.ETHERTYPE_IPV6) return null;
    if (ipv6.nextHeader(o.dv, ETHERNET) !== extension.HOP_BY_HOP) return null;
    const p = ETHERNET + ipv6.HEADER_LENGTH + extension.ROUTER_ALERT_LENGTH;
    assert.equal(mld.checkLength(o.dv, p, frame.length), null);
    const line = `${at}: ${ipv6.formatDestination(o.dv, ETHERNET)} ${mld.format(o.dv, p, frame.length)}`;
    return this.hearsSolicited ? line : withoutSolicited(line);
  }

  /** A query comes. Version 2 is MLDv1 in IPv6, 3 MLDv2. */
  query(query: QueryOptions = {}): void {
    this.deliver(this.isV4 ? queryV4(query) : queryV6(query));
  }

  /** A report of version 1 or 2 (or MLDv1) of another host. */
  otherReports(group: IpAddress, version: 1 | 2 = 2): void {
    const fill: Fill = (o, p, pseudo) => {
      if (this.isV4) igmp.emit(o, p, version === 1 ? igmp.REPORT_V1 : igmp.REPORT_V2, 0, group);
      else mld.emit(o, p, mld.REPORT_V1, 0, group, pseudo);
    };
    this.deliver((this.isV4 ? frameV4 : frameV6)({}, group, this.isV4 ? 8 : 24, fill));
  }

  deliver(frame: Uint8Array): void {
    this.device.deliver(frame);
    this.stack.poll(this.now);
  }

  end(): void {
    this.stack.close();
    assert.equal(this.stack.memory.usedBytes, 0);
    assert.equal(this.stack.context.timers.count, 0, 'timers left');
  }
}

/** A message without what it says of solicited-node groups; null: nothing else. */
function withoutSolicited(line: string): string | null {
  const left = line.replaceAll(/ \[gaddr ff02::1:ff[^\]]*\]/g, '');
  if (left === line) return / ff02::1:ff\S+$/.test(line) ? null : line;
  const count = left.split('[').length - 1;
  return count === 0 ? null : left.replace(/\d+ group record/, `${count} group record`);
}

type Fill = (o: ReturnType<typeof octetsOf>, p: number, pseudo: number) => void;

function bodyOf(query: QueryOptions, none: IpAddress): Omit<igmp.Query, 'version'> {
  const { group = none, sources = [], maxResponseMs = 10_000, robustness = 2, intervalSeconds = 125 } = query;
  return { group, sources, maxResponseMs, suppress: false, robustness, intervalSeconds };
}

function queryV4(query: QueryOptions): Uint8Array {
  const { version = 3 } = query;
  const body = bodyOf(query, IpAddress.v4(0));
  const to = query.to ?? (body.group.isUnspecified ? igmp.ALL_SYSTEMS : body.group);
  const tenths = version === 1 ? 0 : Math.round(body.maxResponseMs / 100);
  return frameV4(query, to, version < 3 ? 8 : 12 + 4 * body.sources.length, (o, p) => {
    if (version < 3) igmp.emit(o, p, igmp.QUERY, tenths, body.group);
    else igmp.emitQuery(o, p, body);
  });
}

function frameV4({ from, hasAlert = true }: QueryOptions, to: IpAddress, length: number, fill: Fill): Uint8Array {
  const source = from ?? IpAddress.parse('10.0.0.254');
  const header = hasAlert ? options.ALERTED_HEADER_LENGTH : ipv4.HEADER_LENGTH;
  const frame = new Uint8Array(ETHERNET + header + length);
  const o = octetsOf(frame);
  if (hasAlert) {
    options.emitAlerted(o, ETHERNET, header + length, 0xc0, 1, 0, 1, PROTOCOL_IGMP, source.d, to.d);
  } else ipv4.emit(o.dv, ETHERNET, header + length, 0xc0, 1, 0, 1, PROTOCOL_IGMP, source.d, to.d);
  fill(o, ETHERNET + header, 0);
  const mac = to.isMulticast
    ? new MacAddress(ethernet.GROUP_HIGH_V4, ethernet.groupLowV4(to.d))
    : MacAddress.parse('02:00:00:00:00:01');
  ethernet.emit(o.dv, 0, mac, ROUTER_MAC, ethernet.ETHERTYPE_IPV4);
  return frame;
}

function queryV6(query: QueryOptions): Uint8Array {
  const { version = 3 } = query;
  const body = bodyOf(query, new IpAddress(0, 0, 0, 0));
  const to = query.to ?? (body.group.isUnspecified ? mld.ALL_NODES : body.group);
  return frameV6(query, to, version < 3 ? 24 : 28 + 16 * body.sources.length, (o, p, pseudo) => {
    if (version < 3) mld.emit(o, p, mld.QUERY, body.maxResponseMs, body.group, pseudo);
    else mld.emitQuery(o, p, body, pseudo);
  });
}

function frameV6(query: QueryOptions, to: IpAddress, length: number, fill: Fill): Uint8Array {
  const { from = IpAddress.parse('fe80::fe'), hasAlert = true, hopLimit = 1 } = query;
  const alert = hasAlert ? extension.ROUTER_ALERT_LENGTH : 0;
  const frame = new Uint8Array(ETHERNET + ipv6.HEADER_LENGTH + alert + length);
  const o = octetsOf(frame);
  const next = hasAlert ? extension.HOP_BY_HOP : PROTOCOL_ICMPV6;
  ipv6.emit(o.dv, ETHERNET, alert + length, 0, hopLimit, next, from, to);
  if (hasAlert) extension.emitRouterAlert(o.dv, ETHERNET + ipv6.HEADER_LENGTH, PROTOCOL_ICMPV6, extension.ALERT_MLD);
  fill(o, ETHERNET + ipv6.HEADER_LENGTH + alert, pseudoHeaderSum(from, to, PROTOCOL_ICMPV6));
  const mac = to.isMulticast ? new MacAddress(ethernet.GROUP_HIGH_V6, to.d) : MacAddress.parse('02:00:00:00:00:01');
  ethernet.emit(o.dv, 0, mac, ROUTER_MAC, ethernet.ETHERTYPE_IPV6);
  return frame;
}
