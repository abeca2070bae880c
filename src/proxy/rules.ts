/** Rules about flows, as text: `[PROTOCOL:]TARGET[:PORTS]`. @module */
import { Cidr, type IpAddress, parseIp } from '../wire/address.ts';
import { isName } from '../wire/dns.ts';

export type FlowProtocol = 'tcp' | 'udp' | 'icmp';

/** What is known of a flow when it is decided about. */
export interface FlowFacts {
  readonly protocol: FlowProtocol;
  readonly sourceAddress: IpAddress;
  readonly sourcePort: number;
  /** Where it wants to go. */
  readonly address: IpAddress;
  /** 0 of ICMP. */
  readonly port: number;
  /** The names that the gateway's own DNS answers gave this address, without a dot at the end. */
  readonly names: readonly string[];
  /** The name in the client's TLS hello; null: there is none, or it has not come yet. */
  readonly sni: string | null;
}

/** One rule, read. */
export interface Rule {
  readonly text: string;
  /** Null: any. So of all below. */
  readonly protocol: FlowProtocol | null;
  readonly prefix: Cidr | null;
  readonly name: string | null;
  readonly sni: string | null;
  readonly ports: readonly [first: number, last: number] | null;
}

const PROTOCOLS = /^(tcp|udp|icmp):(.+)$/i;
const EXPECTED =
  '[PROTOCOL:]TARGET[:PORTS], like tcp:*.example.org:443, 10.0.0.0/8, [fd00::1]:80, udp:*:53 or sni=example.org';

const wrong = (text: string, why: string): never => {
  throw new TypeError(`rule ${JSON.stringify(text)}: ${why}; expected ${EXPECTED}`);
};

/**
 * Reads a rule. TARGET is an address, a prefix, `*`, a name (`example.org`, or `*.example.org` for all below it) that the
 * gateway's DNS gave the address, or `sni=NAME`, the name in the client's TLS hello. An IPv6 address with ports stands in
 * brackets. PORTS is one, or a range `8000-8999`.
 * @throws TypeError for what is none
 */
export function parseRule(text: string): Rule {
  const withProtocol = PROTOCOLS.exec(text);
  const protocol = (withProtocol?.[1]?.toLowerCase() ?? null) as FlowProtocol | null;
  const { target, ports } = split(text, withProtocol?.[2] ?? text);
  const rule = { text, protocol, prefix: null, name: null, sni: null, ports: readPorts(text, ports) };
  if (rule.ports !== null && protocol === 'icmp') wrong(text, 'ICMP has no ports');
  if (target === '*') return rule;
  if (/^\d+$/.test(target)) wrong(text, `a port alone is written *:${target}`);
  if (target.startsWith('sni=')) return { ...rule, sni: readName(text, target.slice(4)) };
  const prefix = readPrefix(target);
  return prefix === null ? { ...rule, name: readName(text, target) } : { ...rule, prefix };
}

function split(text: string, rest: string): { target: string; ports: string | undefined } {
  const bracketed = /^\[([^\]]+)\](?::(.+))?$/.exec(rest);
  if (bracketed !== null) return { target: bracketed[1]!, ports: bracketed[2] };
  const [target, ports, more] = rest.split(':');
  if (more !== undefined) return { target: rest, ports: undefined }; // IPv6
  if (!target) return wrong(text, 'there is no target');
  return { target, ports };
}

function readPorts(text: string, ports: string | undefined): [number, number] | null {
  if (ports === undefined || ports === '*') return null;
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(ports);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match === null || first > last || last > 65_535) return wrong(text, `${ports} is no port and no range of ports`);
  return [first, last];
}

function readPrefix(target: string): Cidr | null {
  const address = parseIp(target);
  if (address !== null) return new Cidr(address, address.isV4 ? 32 : 128);
  if (!target.includes('/')) return null;
  try {
    return Cidr.parse(target);
  } catch {
    return null;
  }
}

function readName(text: string, name: string): string {
  const plain = name.replace(/\.$/, '').toLowerCase();
  if (!isName(plain.replace(/^\*\./, '')) || /[\s/*:[\]=]/.test(plain.replace(/^\*\./, ''))) {
    wrong(text, `${name} is no address, no prefix and no name`);
  }
  return plain;
}

const isNamed = (pattern: string, name: string): boolean => {
  const plain = name.replace(/\.$/, '').toLowerCase();
  return pattern.startsWith('*.') ? plain.endsWith(pattern.slice(1)) : plain === pattern;
};

/** Whether a rule means the name, whatever its address. */
export const meansName = (rule: Rule, name: string): boolean => rule.name !== null && isNamed(rule.name, name);

/** Whether a rule that wants a TLS name would mean the flow if it said that name. */
export const awaitsSni = (rule: Rule, facts: FlowFacts): boolean =>
  rule.sni !== null && facts.sni === null && facts.protocol === 'tcp' && meansPorts(rule, facts);

/** Whether a rule means flows of the protocol to the port, wherever they go. */
export const meansPorts = ({ protocol, ports }: Rule, facts: FlowFacts): boolean =>
  (protocol === null || protocol === facts.protocol) &&
  (ports === null || (facts.protocol !== 'icmp' && facts.port >= ports[0] && facts.port <= ports[1]));

/** Whether a rule means the flow. */
export function matches(rule: Rule, facts: FlowFacts): boolean {
  if (!meansPorts(rule, facts)) return false;
  // IPv4 stands inside IPv6 here, but ::/0 does not mean it.
  if (rule.prefix !== null) {
    return rule.prefix.address.isV4 === facts.address.isV4 && rule.prefix.contains(facts.address);
  }
  if (rule.name !== null) return facts.names.some((name) => isNamed(rule.name!, name));
  if (rule.sni !== null) return facts.sni !== null && isNamed(rule.sni, facts.sni);
  return true;
}
