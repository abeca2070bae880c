/** ICMP types and codes by the names scripts use: RFC 792, RFC 1812 §5.2.7.1, RFC 4443. @module */

interface IcmpType {
  readonly type: number;
  readonly codes: Readonly<Record<string, number>>;
}

const V4: Readonly<Record<string, IcmpType>> = {
  echo_reply: { type: 0, codes: {} },
  unreachable: {
    type: 3,
    codes: {
      net_unreachable: 0,
      host_unreachable: 1,
      protocol_unreachable: 2,
      port_unreachable: 3,
      frag_needed: 4,
      source_route_failed: 5,
      net_unknown: 6,
      host_unknown: 7,
      source_host_isolated: 8,
      net_prohibited: 9,
      host_prohibited: 10,
      net_unreachable_for_tos: 11,
      host_unreachable_for_tos: 12,
      packet_filtered: 13,
      precedence_violation: 14,
      precedence_cutoff: 15,
    },
  },
  source_quench: { type: 4, codes: {} },
  redirect: { type: 5, codes: { net: 0, host: 1, net_for_tos: 2, host_for_tos: 3 } },
  echo_request: { type: 8, codes: {} },
  time_exceeded: { type: 11, codes: { ttl_exceeded_in_transit: 0, frag_reass_exceeded: 1 } },
  parameter_problem: { type: 12, codes: {} },
  timestamp_request: { type: 13, codes: {} },
  timestamp_reply: { type: 14, codes: {} },
  information_request: { type: 15, codes: {} },
  information_reply: { type: 16, codes: {} },
  address_mask_request: { type: 17, codes: {} },
  address_mask_reply: { type: 18, codes: {} },
};

const V6: Readonly<Record<string, IcmpType>> = {
  unreachable: {
    type: 1,
    codes: {
      no_route: 0,
      admin_prohibited: 1,
      not_neighbour: 2,
      address_unreachable: 3,
      port_unreachable: 4,
      source_failed_policy: 5,
      reject_route: 6,
    },
  },
  packet_too_big: { type: 2, codes: {} },
  time_exceeded: { type: 3, codes: { exceeded_hop_limit: 0, exceeded_frag_time: 1 } },
  parameter_problem: { type: 4, codes: { header_field: 0, unknown_next_header: 1, unknown_option: 2 } },
  echo_request: { type: 128, codes: {} },
  echo_reply: { type: 129, codes: {} },
};

/** Old names of the first five codes, without `unreachable` behind. */
const ALIASES: Readonly<Record<string, string>> = { not_neighbor: 'not_neighbour', beyond_scope: 'not_neighbour' };

export const ICMP4_ECHO_REPLY = 0;
export const ICMP4_ECHO_REQUEST = 8;
export const ICMP6_ECHO_REQUEST = 128;
export const ICMP6_ECHO_REPLY = 129;

/** Whether a message carries an identifier and payload, and no packet. */
export const isEcho = (isV4: boolean, type: number): boolean =>
  isV4
    ? type === ICMP4_ECHO_REPLY || type === ICMP4_ECHO_REQUEST
    : type >= ICMP6_ECHO_REQUEST && type <= ICMP6_ECHO_REPLY;

const table = (isV4: boolean): Readonly<Record<string, IcmpType>> => (isV4 ? V4 : V6);

export const icmpTypeNames = (isV4: boolean): string[] => Object.keys(table(isV4));

/** The number of a type, by name or as `type_N`; -1: unknown. */
export function icmpType(isV4: boolean, name: string): number {
  const numbered = /^type_(\d+)$/.exec(name);
  if (numbered !== null) return Number(numbered[1]);
  return Object.hasOwn(table(isV4), name) ? table(isV4)[name]!.type : -1;
}

/** The number of a code of a type, by name or as `code_N`; -1: unknown. */
export function icmpCode(isV4: boolean, type: string, name: string): number {
  const numbered = /^code_(\d+)$/.exec(name);
  if (numbered !== null) return Number(numbered[1]);
  const codes = Object.hasOwn(table(isV4), type) ? table(isV4)[type]!.codes : {};
  return codes[ALIASES[name] ?? name] ?? -1;
}

/** `unreachable port_unreachable`, or numbers where there are no names. */
export function icmpName(isV4: boolean, type: number, code: number): string {
  for (const [name, entry] of Object.entries(table(isV4))) {
    if (entry.type !== type) continue;
    const known = Object.entries(entry.codes).find(([, value]) => value === code);
    if (known !== undefined) return `${name} ${known[0]}`;
    return code === 0 ? name : `${name} code_${code}`;
  }
  return `type_${type} code_${code}`;
}
