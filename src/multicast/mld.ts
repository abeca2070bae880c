/**
 * Multicast listener discovery of a host: what comes in goes to the reporter of the interface, what the reporter says
 * goes out. RFC 3810 §5 and §6.2, RFC 2710, RFC 3590 (sources). Done and version 2 reports are for routers only, and of
 * no interest here. @module
 */
import type { Context } from '../iface/context.ts';
import type { Interface } from '../iface/interface.ts';
import type { Packet } from '../iface/packet.ts';
import { allocFrame, HEADROOM, setFrameBounds } from '../memory/frame.ts';
import { type IpAddress, UNSPECIFIED_V6 } from '../wire/address.ts';
import type { GroupRecord } from '../wire/group-record.ts';
import * as icmpv6 from '../wire/icmpv6.ts';
import { PROTOCOL_ICMPV6, pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { ALERT_MLD, emitRouterAlert, HOP_BY_HOP, ROUTER_ALERT_LENGTH } from '../wire/ipv6-extension.ts';
import * as wire from '../wire/mld.ts';
import type { ReportSize } from './pack.ts';
import type { Generation, Reporter, Speaker } from './reporter.ts';

/** Bytes of a version 2 report before its records. */
const REPORT_HEADER_LENGTH = 8;
const RECORD_HEADER_LENGTH = 20;
const ADDRESS_LENGTH = 16;
/** All headers before the message. */
const HEADERS_LENGTH = ipv6.HEADER_LENGTH + ROUTER_ALERT_LENGTH;

/** RFC 3810 §6: "no MLD messages are ever sent regarding" ff02::1 and groups of scope 0 or 1. */
export const isReportedV6 = ({ a, c, d }: IpAddress): boolean => {
  const scope = (a >>> 16) & 0xf;
  return scope > 1 && !(a === wire.ALL_NODES.a && c === 0 && d === 1);
};

export class MldSpeaker implements Speaker {
  readonly size: ReportSize;
  /** Whether something was said from the unspecified address: RFC 3590 §4 has it said again. */
  saidFromNowhere = false;
  readonly #context: Context;
  readonly #iface: Interface;

  constructor(context: Context, iface: Interface) {
    this.#context = context;
    this.#iface = iface;
    const reportBytes = iface.mtu - HEADERS_LENGTH - REPORT_HEADER_LENGTH;
    this.size = { reportBytes, recordBytes: RECORD_HEADER_LENGTH, sourceBytes: ADDRESS_LENGTH };
  }

  report(records: readonly GroupRecord[]): void {
    // RFC 3810 §5.2.14: to ff02::16.
    this.#send(wire.ALL_REPORTS, wire.reportLength(records), (p, pseudo) => {
      wire.emitReport(this.#context.memory, p, records, pseudo);
    });
  }

  /** RFC 2710 §3.7: to the group itself. */
  reportOld(group: IpAddress): void {
    this.#sendOld(wire.REPORT_V1, group, group);
  }

  /** RFC 2710 §3.7: to ff02::2. */
  leave(group: IpAddress): void {
    this.#sendOld(wire.DONE, group, wire.ALL_ROUTERS);
  }

  #sendOld(type: number, group: IpAddress, to: IpAddress): void {
    this.#send(to, wire.HEADER_LENGTH, (p, pseudo) => wire.emit(this.#context.memory, p, type, 0, group, pseudo));
  }

  /** RFC 3590 §4: from a link-local address, or from :: while there is none. */
  #source(): IpAddress {
    const own = this.#iface.addresses.find(({ address }) => !address.isV4 && address.isLinkLocal);
    return own?.address ?? UNSPECIFIED_V6;
  }

  #send(to: IpAddress, length: number, fill: (p: number, pseudo: number) => void): void {
    const { memory, stats } = this.#context;
    const frame = allocFrame(memory, HEADERS_LENGTH + length);
    if (frame === 0) {
      this.#iface.refuse('no-memory', HEADERS_LENGTH + length);
      return;
    }
    const p = frame + HEADROOM;
    const source = this.#source();
    if (source.isUnspecified) this.saidFromNowhere = true;
    fill(p + HEADERS_LENGTH, pseudoHeaderSum(source, to, PROTOCOL_ICMPV6));
    // RFC 3810 §5: hop limit 1, and a router alert in a hop-by-hop options header.
    ipv6.emit(memory.dv, p, ROUTER_ALERT_LENGTH + length, 0, wire.HOP_LIMIT, HOP_BY_HOP, source, to);
    emitRouterAlert(memory.dv, p + ipv6.HEADER_LENGTH, PROTOCOL_ICMPV6, ALERT_MLD);
    setFrameBounds(memory, frame, p, p + HEADERS_LENGTH + length);
    stats.mldOut++;
    this.#iface.transmit(frame, null);
  }
}

/** Takes in an MLD message, which `icmpv6.check` found good. */
export function inputMld(context: Context, packet: Packet): void {
  const { memory, stats } = context;
  const { dv } = memory;
  const { iface, payload: p, end } = packet;
  const drop = wire.check(dv, p, end, packet.ttl, packet.source);
  if (drop !== null) {
    stats.drop(drop);
    return;
  }
  stats.mldIn++;
  const reporter = iface.groups.mld;
  if (reporter === null) return;
  const type = icmpv6.type(dv, p);
  // RFC 3810 §6.2: without the router alert option a message is dropped.
  if (type === wire.QUERY || type === wire.REPORT_V1) {
    if (packet.routerAlert !== ALERT_MLD) stats.drop('mld-no-alert');
    else if (type === wire.QUERY) inputQuery(context, packet, reporter);
    else reporter.heard(wire.group(dv, p));
  }
}

function inputQuery({ memory, stats }: Context, packet: Packet, reporter: Reporter): void {
  const query = wire.parseQuery(memory.dv, packet.payload, packet.end);
  const { sources, maxResponseMs, robustness, intervalSeconds } = query;
  const isGeneral = query.group.isUnspecified;
  // RFC 3810 §5.1.15: general queries go to ff02::1; what else is an address of ours is accepted too.
  const { destination } = packet;
  if (isGeneral && destination.isMulticast && !destination.withZone(0).equals(wire.ALL_NODES)) {
    stats.drop('mld-bad-destination');
    return;
  }
  // RFC 3810 §5.1.5, §5.1.10: a general query names no sources; the group of any other is a multicast address.
  if (isGeneral ? sources.length > 0 : !query.group.isMulticast) {
    stats.drop('mld-bad-query');
    return;
  }
  // RFC 3810 §8.2.1: any query of version 1 makes its querier present.
  const generation: Generation = query.version === 1 ? 2 : 3;
  const group = isGeneral ? null : query.group;
  const demotes = generation === 2;
  reporter.query({ generation, demotes, group, maxResponseMs, robustness, intervalSeconds, sources });
}
