/** What a filter asks of a packet: small tests on what was found in it, which the compiler puts together. @module */
import type { PacketDirection } from '../../pcap/index.ts';
import type { Cidr, MacAddress } from '../../wire/address.ts';
import * as arp from '../../wire/arp.ts';
import { type Dissection, hasAddresses } from '../../wire/dissect.ts';
import * as ethernet from '../../wire/ethernet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../wire/ip.ts';
import * as udp from '../../wire/udp.ts';
import * as vlan from '../../wire/vlan.ts';

/** A packet as a filter sees it; one record is reused for all. */
export interface Probe {
  dv: DataView;
  d: Dissection;
  direction: PacketDirection | null;
  interface: string;
}

export type Predicate = (probe: Probe) => boolean;

/** Which side of a packet is meant; `either` where nothing was said. */
export type Side = 'src' | 'dst' | 'either' | 'both';

export const and =
  (one: Predicate, two: Predicate): Predicate =>
  (probe) =>
    one(probe) && two(probe);
export const or =
  (one: Predicate, two: Predicate): Predicate =>
  (probe) =>
    one(probe) || two(probe);
export const not =
  (one: Predicate): Predicate =>
  (probe) =>
    !one(probe);

/** Joins a test of the source and one of the destination. */
function ofSide(side: Side, source: Predicate, destination: Predicate): Predicate {
  if (side === 'src') return source;
  if (side === 'dst') return destination;
  return side === 'either' ? or(source, destination) : and(source, destination);
}

/** The protocol above IP, behind extension headers; of later fragments too. */
export const protocol =
  (number: number): Predicate =>
  ({ d }) =>
    d.protocol === number;

export const ipVersion =
  (version: 4 | 6): Predicate =>
  ({ d }) =>
    d.version === version;

export const etherType =
  (type: number): Predicate =>
  ({ d }) =>
    d.etherType === type;

export const length =
  (least: number, most: number): Predicate =>
  ({ d }) =>
    d.wireEnd - d.start >= least && d.wireEnd - d.start <= most;

export const direction =
  (which: PacketDirection): Predicate =>
  (probe) =>
    probe.direction === which;

export const interfaceName =
  (name: string): Predicate =>
  (probe) =>
    probe.interface === name;

/** @param id - or null: any tag */
export const tagged =
  (id: number | null): Predicate =>
  ({ dv, d }) => {
    if (id === null) return d.tags > 0;
    for (let i = 0; i < d.tags; i++) if (vlan.id(dv, d.vlan + i * vlan.HEADER_LENGTH) === id) return true;
    return false;
  };

/** @param carriers - protocols that have ports and are meant */
export function ports(side: Side, low: number, high: number, carriers: readonly number[]): Predicate {
  const at =
    (offset: 0 | 2): Predicate =>
    ({ dv, d }) => {
      if (d.transport < 0 || d.fragmentOffset > 0 || d.transportEnd - d.transport < 4) return false;
      if (!carriers.includes(d.protocol)) return false;
      const port = offset === 0 ? udp.sourcePort(dv, d.transport) : udp.destinationPort(dv, d.transport);
      return port >= low && port <= high;
    };
  return ofSide(side, at(0), at(2));
}

/** Protocols with ports in their first four bytes: TCP, UDP, DCCP, SCTP, UDP-Lite. */
export const PORT_CARRIERS: readonly number[] = [PROTOCOL_TCP, PROTOCOL_UDP, 33, 132, 136];

export function ether(side: Side, mac: MacAddress): Predicate {
  const source: Predicate = ({ dv, d }) =>
    d.ethernet >= 0 &&
    ethernet.sourceLow(dv, d.ethernet) === mac.low &&
    ethernet.sourceHigh(dv, d.ethernet) === mac.high;
  const destination: Predicate = ({ dv, d }) =>
    d.ethernet >= 0 &&
    ethernet.destinationLow(dv, d.ethernet) === mac.low &&
    ethernet.destinationHigh(dv, d.ethernet) === mac.high;
  return ofSide(side, source, destination);
}

export const etherGroup: Predicate = ({ dv, d }) => d.ethernet >= 0 && ethernet.isGroup(dv, d.ethernet);

/** Where addresses may be looked for. */
export type AddressPlace = 'ip' | 'ip6' | 'arp' | 'any';

/** Packets with an address of the prefix: in the IP header, and in ARP. */
export function network(side: Side, cidr: Cidr, place: AddressPlace): Predicate {
  const inIp =
    (isSource: boolean): Predicate =>
    ({ dv, d }) => {
      if (!hasAddresses(d)) return false;
      return cidr.address.isV4
        ? d.version === 4 && matchesV4(cidr, dv.getInt32(d.network + (isSource ? 12 : 16)))
        : d.version === 6 && matchesV6(cidr, dv, d.network + (isSource ? 8 : 24));
    };
  const inArp =
    (isSource: boolean): Predicate =>
    ({ dv, d }) => {
      if (d.etherType !== ethernet.ETHERTYPE_ARP || arp.check(dv, d.network, d.end) !== null) return false;
      return matchesV4(cidr, isSource ? arp.senderIp(dv, d.network) : arp.targetIp(dv, d.network));
    };
  const both = (isSource: boolean): Predicate => {
    if (place === 'arp') return inArp(isSource);
    if (place !== 'any' || !cidr.address.isV4) return inIp(isSource);
    return or(inIp(isSource), inArp(isSource));
  };
  return ofSide(side, both(true), both(false));
}

const matchesV4 = (cidr: Cidr, word: number): boolean =>
  cidr.containsWords(cidr.address.a, cidr.address.b, cidr.address.c, word);

const matchesV6 = (cidr: Cidr, dv: DataView, p: number): boolean =>
  cidr.containsWords(dv.getInt32(p), dv.getInt32(p + 4), dv.getInt32(p + 8), dv.getInt32(p + 12));

/** Packets to a group, or to 255.255.255.255. */
export const ipGroup =
  (version: 4 | 6): Predicate =>
  ({ dv, d }) => {
    if (d.version !== version || !hasAddresses(d)) return false;
    const first = dv.getInt32(d.network + (version === 4 ? 16 : 24));
    return version === 4 ? first >>> 28 === 0xe || first === -1 : first >>> 24 === 0xff;
  };
