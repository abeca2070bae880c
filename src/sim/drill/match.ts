/**
 * Whether a packet of the stack is the one the script expects. Everything a peer can see is compared but what the script
 * leaves open; segments that the script writes as one are taken together. @module
 */
import type { Ecn, IcmpBody, IpFields, ScriptPacket, SequenceSpec, TcpBody, TcpOption } from './ast.ts';
import type { Flow } from './flow.ts';
import { formatFlags, formatOption } from './format.ts';
import { icmpName, isEcho } from './icmp-names.ts';
import type { DrillOptions } from './options.ts';
import { ACK, CWR, type Decoded, decode, encodeIp, encodeTcp, FIN, PSH, SYN, type TcpHeader } from './wire.ts';

const ECN_NAMES: readonly Ecn[] = ['noecn', 'ect1', 'ect0', 'ce'];
const ECN_MASK = 3;

/** What went out instead of one segment of the script's, as one. Null: they do not belong together; take the first alone. */
export function joinSegments(parts: readonly Decoded[]): Decoded | null {
  const first = parts[0]!;
  const last = parts.at(-1)!;
  if (parts.length === 1) return first;
  if (!parts.every((part, i) => i === 0 || follows(parts[i - 1]!, part, i === parts.length - 1))) return null;
  const length = parts.reduce((total, part) => total + part.payload.length, 0);
  const zero = parts.every((part) => isZero(part.payload));
  const bytes = encodeIp(last.ip, encodeTcp({ ...last.tcp!, seq: first.tcp!.seq }, length));
  if (!zero) bytes[bytes.length - 1] = 1;
  const fault = parts.find((part) => part.fault !== null)?.fault ?? null;
  return { ...decode(bytes)!, fault };
}

/** FIN, PSH and CWR may stand on one part and not on another. */
const CHANGING = FIN | PSH | CWR;

function follows(before: Decoded, part: Decoded, isLast: boolean): boolean {
  const a = before.tcp;
  const b = part.tcp;
  if (a === null || b === null) return false;
  const sized = isLast ? part.payload.length <= before.payload.length : part.payload.length === before.payload.length;
  return (
    sized &&
    (a.seq + before.payload.length) >>> 0 === b.seq &&
    (a.flags & ~CHANGING) === (b.flags & ~CHANGING) &&
    a.ack === b.ack
  );
}

/** Payloads of scripts are zeros, whatever the call that sent them was given. */
const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

/** `live` in the words of the script, for messages; only what `like` asks of the IP header is shown of it. */
export function describe(live: Decoded, flow: Flow | null, like: ScriptPacket | null): ScriptPacket {
  const { ip } = live;
  const asked = like?.ip;
  const fields: IpFields = {
    ecn: asked?.ecn == null ? null : ECN_NAMES[ip.tos & ECN_MASK]!,
    tos: asked?.tos == null ? null : ip.tos,
    ttl: asked?.ttl == null ? null : ip.ttl,
    flowLabel: asked?.flowLabel == null ? null : ip.flowLabel,
  };
  return { ip: fields, ports: flow?.scriptPorts ?? null, body: describeBody(live, flow, like), udpEncap: null };
}

function describeBody(live: Decoded, flow: Flow | null, like: ScriptPacket | null): ScriptPacket['body'] {
  const { tcp, icmp, payload } = live;
  if (icmp !== null) return describeIcmp(live, flow);
  if (tcp === null) return { kind: 'udp', length: payload.length };
  const kind = like?.body.kind === 'tcp' ? like.body.seq.kind : 'relative';
  if (flow !== null) return flow.toScript(tcp, payload.length, kind);
  const seq = { kind: 'absolute' as const, start: tcp.seq, length: payload.length };
  return { ...tcp, kind: 'tcp', seq, ack: (tcp.flags & ACK) === 0 ? null : tcp.ack, urgent: tcp.urgent || null };
}

function describeIcmp(live: Decoded, flow: Flow | null): IcmpBody {
  const { type, code, word } = live.icmp!;
  const base = { kind: 'icmp' as const, type, code, word };
  if (isEcho(live.ip.isV4, type)) return { ...base, quote: null, length: live.payload.length };
  const quoted = decode(live.payload);
  if (quoted?.udp != null) return { ...base, quote: { kind: 'udp', length: quoted.payload.length }, length: 0 };
  if (quoted?.tcp != null) {
    const seq: SequenceSpec =
      flow === null
        ? { kind: 'absolute', start: quoted.tcp.seq, length: quoted.payload.length }
        : flow.toScript(quoted.tcp, quoted.payload.length, 'relative').seq;
    return { ...base, quote: { kind: 'tcp', seq, udpEncap: null }, length: 0 };
  }
  return { ...base, quote: { kind: 'raw', length: live.payload.length }, length: 0 };
}

/** What of `live` is not as `expected` says; empty: it is the packet. */
export function differences(expected: ScriptPacket, live: Decoded, flow: Flow | null, options: DrillOptions): string[] {
  const faults: string[] = live.fault === null ? [] : [live.fault];
  const { body } = expected;
  const actual =
    live.tcp !== null ? 'tcp' : live.udp !== null ? 'udp' : live.icmp !== null ? 'icmp' : 'another protocol';
  if (expected.udpEncap !== null && live.udp === null) faults.push('expected TCP in UDP, got plain TCP');
  else if (actual !== body.kind) faults.push(`expected ${body.kind}, got ${actual}`);
  if (faults.length > 0) return faults;
  compareIp(expected.ip, live, faults);
  if (body.kind === 'tcp') compareTcp(body, live, flow, options, faults);
  else if (body.kind === 'udp') compare('length', body.length, live.payload.length, faults);
  else compareIcmp(body, describeIcmp(live, flow), live.ip.isV4, faults);
  if (body.kind !== 'icmp' && !isZero(live.payload)) faults.push('payload: expected zeros, got other bytes');
  return faults;
}

function compare(what: string, expected: number, actual: number, faults: string[]): void {
  if (expected !== actual) faults.push(`${what}: expected ${expected}, got ${actual}`);
}

function compareIp(expected: IpFields, live: Decoded, faults: string[]): void {
  const { tos, ttl, flowLabel, isV4, headerLength } = live.ip;
  const ecn = ECN_NAMES[tos & ECN_MASK]!;
  const { ecn: wanted } = expected;
  const isEct = ecn === 'ect0' || ecn === 'ect1';
  if (wanted !== null && wanted !== ecn && !(wanted === 'ect01' && isEct))
    faults.push(`expected ${wanted}, got ${ecn}`);
  if (expected.tos !== null) compare('tos', expected.tos, tos, faults);
  if (expected.ttl !== null) compare('ttl', expected.ttl, ttl, faults);
  if (expected.flowLabel !== null) compare('flowlabel', expected.flowLabel, flowLabel, faults);
  // Nothing a script can say asks for IP options.
  if (isV4) compare('IP header length', 20, headerLength, faults);
}

function compareTcp(body: TcpBody, live: Decoded, flow: Flow | null, options: DrillOptions, faults: string[]): void {
  const header = live.tcp!;
  if (flow !== null && (header.flags & SYN) !== 0 && (body.flags & SYN) !== 0) flow.learnIsn(body.seq, header.seq);
  const actual = describeBody(live, flow, { ip: NO_FIELDS, ports: null, udpEncap: null, body }) as TcpBody;
  if (body.flags !== actual.flags) {
    faults.push(`flags: expected ${formatFlags(body.flags)}, got ${formatFlags(actual.flags)}`);
  }
  if (body.seq.kind !== 'any') compare('seq', body.seq.start, actual.seq.start, faults);
  compare('length', body.seq.length, actual.seq.length, faults);
  if ((body.flags & actual.flags & ACK) !== 0 && body.ack !== null) compare('ack', body.ack, actual.ack!, faults);
  if (body.window !== null) compare('win', body.window, actual.window!, faults);
  compare('urg', body.urgent ?? 0, actual.urgent ?? 0, faults);
  compare('reserved bits', 0, header.reserved, faults);
  if (body.options !== null) compareOptions(body.options, actual.options!, header, flow, options, faults);
}

const NO_FIELDS: IpFields = { ecn: null, tos: null, ttl: null, flowLabel: null };

function compareOptions(
  expected: readonly TcpOption[],
  actual: readonly TcpOption[],
  header: TcpHeader,
  flow: Flow | null,
  options: DrillOptions,
  faults: string[],
): void {
  const isSame =
    expected.length === actual.length && expected.every((option, i) => sameOption(option, actual[i]!, flow, options));
  if (!isSame) {
    const text = (list: readonly TcpOption[]): string => `<${list.map(formatOption).join(',')}>`;
    faults.push(`options: expected ${text(expected)}, got ${text(actual)}`);
    return;
  }
  expected.forEach((option, i) => {
    const live = header.options[i]!;
    if (option.kind === 'TS' && live.kind === 'TS') flow?.learnStamp(option.val, live.val);
  });
}

function sameOption(expected: TcpOption, actual: TcpOption, flow: Flow | null, options: DrillOptions): boolean {
  if (expected.kind === 'TS' && actual.kind === 'TS') {
    // The peer's TSval comes back as the stack has it; what the script writes for it is never compared.
    return options.tsTickUs === 0 || flow === null || sameStamp(expected.val, actual.val, flow, options);
  }
  if (expected.kind === 'bytes' && actual.kind === 'bytes') {
    return formatOption({ ...expected, name: 'kind' }) === formatOption({ ...actual, name: 'kind' });
  }
  return formatOption(expected) === formatOption(actual);
}

/** TSval counts ticks from the first one that the script saw; as exact as times are. */
function sameStamp(expected: number, actual: number, flow: Flow, options: DrillOptions): boolean {
  if (!flow.hasStamps) return true;
  const offUs = Math.abs((actual - expected) | 0) * options.tsTickUs;
  return offUs <= Math.max(options.toleranceUs, options.tsTickUs);
}

function compareIcmp(expected: IcmpBody, actual: IcmpBody, isV4: boolean, faults: string[]): void {
  if (expected.type !== actual.type || expected.code !== actual.code) {
    const name = ({ type, code }: IcmpBody): string => icmpName(isV4, type, code);
    faults.push(`expected ${name(expected)}, got ${name(actual)}`);
    return;
  }
  if (expected.word !== null) compare('second word', expected.word, actual.word ?? 0, faults);
  if (isEcho(isV4, expected.type)) compare('length', expected.length, actual.length, faults);
  const { quote } = expected;
  if (quote === null || quote.kind === 'raw') return;
  if (quote.kind !== actual.quote?.kind) {
    faults.push(`quoted packet: expected ${quote.kind}, got ${actual.quote?.kind ?? 'none'}`);
  } else if (quote.kind === 'udp' && actual.quote.kind === 'udp') {
    compare('quoted length', quote.length, actual.quote.length, faults);
  } else if (quote.kind === 'tcp' && actual.quote.kind === 'tcp') {
    compare('quoted seq', quote.seq.start, actual.quote.seq.start, faults);
  }
}
