/** Packets in the script's own words, for traces and for messages: the one line that would expect what was seen. @module */
import type { IcmpBody, IpFields, ScriptPacket, TcpBody, TcpOption } from './ast.ts';
import { icmpName, isEcho } from './icmp-names.ts';
import { ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, URG } from './wire.ts';

const LETTERS: readonly (readonly [number, string])[] = [
  [FIN, 'F'],
  [SYN, 'S'],
  [RST, 'R'],
  [PSH, 'P'],
  [ECE, 'E'],
  [CWR, 'W'],
  [AE, 'A'],
  [URG, 'U'],
  [ACK, '.'],
];

export function formatFlags(flags: number): string {
  const letters = LETTERS.filter(([bit]) => (flags & bit) !== 0).map(([, letter]) => letter);
  return letters.length === 0 ? '-' : letters.join('');
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** RFC 9768 §3.2.3: counters of 24 bits, the ECT(0) bytes first or last. */
const ACCECN0 = 172;
const ACCECN1 = 174;
const COUNTERS = ['e1b', 'ceb', 'e0b'] as const;

/** `ECN e1b 1 ceb 0 e0b 1`. */
function formatAccEcn(type: number, bytes: Uint8Array): string {
  const names = type === ACCECN1 ? COUNTERS : COUNTERS.toReversed();
  if (bytes.length % 3 !== 0 || bytes.length > 9) return `kind ${type} ${hex(bytes)}`;
  const values = names
    .slice(0, bytes.length / 3)
    .map((name, i) => `${name} ${Number.parseInt(hex(bytes.subarray(3 * i, 3 * i + 3)), 16)}`);
  return ['ECN', ...values].join(' ');
}

export function formatOption(option: TcpOption): string {
  switch (option.kind) {
    case 'mss':
    case 'wscale':
      return `${option.kind} ${option.value}`;
    case 'sack':
      return ['sack', ...option.blocks.map(([start, end]) => `${start}:${end}`)].join(' ');
    case 'TS':
      return `TS val ${option.val} ecr ${option.ecr}`;
    case 'bytes':
      if (option.type === ACCECN0 || option.type === ACCECN1) return formatAccEcn(option.type, option.bytes);
      return `${option.name === 'kind' ? `kind ${option.type}` : option.name} ${hex(option.bytes)}`.trimEnd();
    default:
      return option.kind;
  }
}

function formatIpFields(ip: IpFields): string {
  const fields: string[] = [];
  if (ip.ecn !== null) fields.push(ip.ecn);
  if (ip.tos !== null) fields.push(`tos 0x${ip.tos.toString(16)}`);
  if (ip.ttl !== null) fields.push(`ttl ${ip.ttl}`);
  if (ip.flowLabel !== null) fields.push(`flowlabel 0x${ip.flowLabel.toString(16)}`);
  return fields.length === 0 ? '' : `[${fields.join(', ')}] `;
}

function formatTcp(body: TcpBody): string {
  const { seq } = body;
  const range =
    seq.kind === 'any' ? `...(${seq.length})` : `${seq.start}:${(seq.start + seq.length) >>> 0}(${seq.length})`;
  const parts = [formatFlags(body.flags), seq.kind === 'absolute' ? `${range}!` : range];
  if (body.ack !== null) parts.push(`ack ${body.ack}`);
  if (body.window !== null) parts.push(`win ${body.window}`);
  if (body.urgent !== null) parts.push(`urg ${body.urgent}`);
  if (body.options === null) parts.push('<...>');
  else if (body.options.length > 0) parts.push(`<${body.options.map(formatOption).join(',')}>`);
  return parts.join(' ');
}

function formatIcmp(body: IcmpBody, isV4: boolean): string {
  const parts = ['icmp', icmpName(isV4, body.type, body.code)];
  if (isEcho(isV4, body.type)) {
    const echo = body.word ?? 0;
    parts.push(`id ${echo >>> 16} seq ${echo & 0xffff} (${body.length})`);
  } else if (body.word !== null && body.word !== 0) {
    parts.push(`mtu ${body.word}`);
  }
  const { quote } = body;
  if (quote?.kind === 'tcp') {
    const { start, length } = quote.seq;
    parts.push(`[${start}:${(start + length) >>> 0}(${length})]`);
  } else if (quote !== null) {
    parts.push(`[${quote.kind} (${quote.length})]`);
  }
  return parts.join(' ');
}

/** `S. 0:0(0) ack 1 win 65535 <mss 1460>`. */
export function formatPacket(packet: ScriptPacket, isV4: boolean): string {
  const { body } = packet;
  const ports = packet.ports === null ? '' : `${packet.ports.source} > ${packet.ports.destination} `;
  const encap = packet.udpEncap === null ? '' : `/udp(${packet.udpEncap.source} > ${packet.udpEncap.destination})`;
  const text =
    body.kind === 'tcp' ? formatTcp(body) : body.kind === 'udp' ? `udp (${body.length})` : formatIcmp(body, isV4);
  return formatIpFields(packet.ip) + ports + text + encap;
}
