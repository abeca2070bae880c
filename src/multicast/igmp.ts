/**
 * IGMP of a host: what comes in goes to the reporter of the interface, what the reporter says goes out. RFC 3376 §4,
 * RFC 2236, RFC 1112 Appendix I. Leaves and version 3 reports are for routers only, and of no interest here. @module
 */
import type { Context } from '../iface/context.ts';
import type { Interface } from '../iface/interface.ts';
import type { Packet } from '../iface/packet.ts';
import { allocFrame, HEADROOM, setFrameBounds } from '../memory/frame.ts';
import type { IpAddress } from '../wire/address.ts';
import type { GroupRecord } from '../wire/group-record.ts';
import * as wire from '../wire/igmp.ts';
import { PROTOCOL_IGMP } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import { ALERTED_HEADER_LENGTH, emitAlerted, Options, parse } from '../wire/ipv4-options.ts';
import type { ReportSize } from './pack.ts';
import type { Reporter, Speaker } from './reporter.ts';

/** RFC 3376 §4: "an IP Time-to-Live of 1, an IP Precedence of Internetwork Control (e.g., Type of Service 0xc0)". */
const TTL = 1;
const TOS = 0xc0;
/** Bytes of a version 3 report before its records. */
const REPORT_HEADER_LENGTH = 8;
const RECORD_HEADER_LENGTH = 8;
const ADDRESS_LENGTH = 4;

export class IgmpSpeaker implements Speaker {
  readonly size: ReportSize;
  readonly #context: Context;
  readonly #iface: Interface;

  constructor(context: Context, iface: Interface) {
    this.#context = context;
    this.#iface = iface;
    const reportBytes = iface.mtu - ALERTED_HEADER_LENGTH - REPORT_HEADER_LENGTH;
    this.size = { reportBytes, recordBytes: RECORD_HEADER_LENGTH, sourceBytes: ADDRESS_LENGTH };
  }

  report(records: readonly GroupRecord[]): void {
    // RFC 3376 §4.2.14: to 224.0.0.22.
    this.#send(wire.ALL_REPORTS, wire.reportLength(records), (p) => {
      wire.emitReport(this.#context.memory, p, records);
    });
  }

  /** RFC 2236 §2.3, RFC 1112 Appendix I: to the group itself. */
  reportOld(group: IpAddress, generation: 1 | 2): void {
    const type = generation === 1 ? wire.REPORT_V1 : wire.REPORT_V2;
    this.#send(group, wire.HEADER_LENGTH, (p) => wire.emit(this.#context.memory, p, type, 0, group));
  }

  /** RFC 2236 §3: to 224.0.0.2. */
  leave(group: IpAddress): void {
    this.#send(wire.ALL_ROUTERS, wire.HEADER_LENGTH, (p) => wire.emit(this.#context.memory, p, wire.LEAVE, 0, group));
  }

  #send(to: IpAddress, length: number, fill: (p: number) => void): void {
    const { memory, stats } = this.#context;
    const total = ALERTED_HEADER_LENGTH + length;
    const frame = allocFrame(memory, total);
    if (frame === 0) {
      this.#iface.refuse('no-memory', total);
      return;
    }
    const p = frame + HEADROOM;
    fill(p + ALERTED_HEADER_LENGTH);
    // RFC 3376 §4.2.13: 0.0.0.0 while the interface has no address.
    const source = this.#iface.addresses.find(({ address }) => address.isV4)?.address.d ?? 0;
    emitAlerted(memory, p, total, TOS, 0, ipv4.DONT_FRAGMENT, TTL, PROTOCOL_IGMP, source, to.d);
    setFrameBounds(memory, frame, p, p + total);
    stats.igmpOut++;
    this.#iface.transmit(frame, null);
  }
}

const options = new Options();

/** Takes in an IGMP message. */
export function inputIgmp(context: Context, packet: Packet): void {
  const { memory, stats } = context;
  const { dv } = memory;
  const { iface, payload: p, end } = packet;
  const drop = wire.check(memory, p, end);
  if (drop !== null) {
    stats.drop(drop);
    return;
  }
  stats.igmpIn++;
  const reporter = iface.groups.igmp;
  if (reporter === null) return;
  switch (wire.type(dv, p)) {
    case wire.QUERY:
      inputQuery(context, packet, reporter);
      return;
    case wire.REPORT_V1:
    case wire.REPORT_V2:
      reporter.heard(wire.group(dv, p));
      return;
    case wire.LEAVE:
    case wire.REPORT_V3:
      return;
    default:
      stats.drop('igmp-unknown-type'); // RFC 3376 §4: "Unrecognized message types MUST be silently ignored"
  }
}

function inputQuery({ memory, stats }: Context, packet: Packet, reporter: Reporter): void {
  const { dv } = memory;
  const query = wire.parseQuery(dv, packet.payload, packet.end);
  const { version, sources, maxResponseMs, robustness, intervalSeconds } = query;
  const isGeneral = query.group.isUnspecified;
  // RFC 3376 §9.1: hosts SHOULD ignore version 2 or 3 queries without the router alert option ...
  if (version > 1 && (parse(dv, packet.header, options) !== null || options.routerAlert < 0)) {
    stats.drop('igmp-no-alert');
    return;
  }
  // ... and general queries sent to a multicast address other than 224.0.0.1.
  const isToOtherGroup = packet.dstD >>> 28 === 0xe && packet.dstD !== wire.ALL_SYSTEMS.d;
  if (isGeneral && isToOtherGroup) {
    stats.drop('igmp-bad-destination');
    return;
  }
  // RFC 3376 §4.1.9: a general query names no sources; §4.1.3: the group of any other is a multicast address.
  if (isGeneral ? sources.length > 0 : !query.group.isMulticast) {
    stats.drop('igmp-bad-query');
    return;
  }
  // RFC 3376 §7.2.1: any query of version 1 makes its querier present, of version 2 only a general one.
  const demotes = version === 1 || (version === 2 && isGeneral);
  const group = isGeneral || version === 1 ? null : query.group;
  reporter.query({ generation: version, demotes, group, maxResponseMs, robustness, intervalSeconds, sources });
}
