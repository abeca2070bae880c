/** What a packet script says, once it is read: events in order, each with its time. @module */

/** Where something stands in the script; both count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Times are microseconds. `range` and `relativeRange` end at `endUs`. */
export interface EventTime {
  readonly kind: 'absolute' | 'relative' | 'any' | 'range' | 'relativeRange';
  readonly us: number;
  readonly endUs: number;
}

export interface ScriptEvent {
  readonly at: Position;
  /** The action as it stands in the source, in one line. */
  readonly text: string;
  readonly time: EventTime;
  readonly action: Action;
}

export type Action = PacketAction | CallAction | CommandAction | CodeAction;

export interface PacketAction {
  readonly kind: 'packet';
  /** `in`: injected, `out`: expected of the stack. */
  readonly direction: 'in' | 'out';
  readonly packet: ScriptPacket;
}

export interface CommandAction {
  readonly kind: 'command';
  readonly command: string;
}

export interface CodeAction {
  readonly kind: 'code';
  readonly code: string;
}

export interface CallAction {
  readonly kind: 'call';
  /** When a blocking call is to return, from the same base as the event's time; null: at once. */
  readonly endUs: number | null;
  readonly name: string;
  readonly args: readonly Expression[];
  readonly result: CallResult;
}

export interface CallResult {
  /** null: any (`?`). */
  readonly value: Expression | null;
  /** The name of an errno, or null. */
  readonly errno: string | null;
}

export type Expression =
  | { readonly kind: 'ellipsis' }
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'name'; readonly name: string; readonly at: Position }
  | { readonly kind: 'or'; readonly parts: readonly Expression[] }
  | { readonly kind: 'list'; readonly items: readonly Expression[] }
  | { readonly kind: 'struct'; readonly fields: readonly Field[] }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expression[] };

/** `name=value` of a struct; a value alone has no name. */
export interface Field {
  readonly name: string | null;
  readonly value: Expression;
}

/** Congestion bits of the IP header; `ect01`: either ECT. */
export type Ecn = 'noecn' | 'ect0' | 'ect1' | 'ce' | 'ect01';

/** What is asked of the IP header; null: not said. */
export interface IpFields {
  readonly ecn: Ecn | null;
  readonly tos: number | null;
  readonly ttl: number | null;
  readonly flowLabel: number | null;
}

export interface Ports {
  readonly source: number;
  readonly destination: number;
}

export interface ScriptPacket {
  readonly ip: IpFields;
  /** Where a script has several connections, it tells them apart by ports of its own. */
  readonly ports: Ports | null;
  readonly body: TcpBody | UdpBody | IcmpBody;
  /** TCP in UDP: the outer ports. */
  readonly udpEncap: Ports | null;
}

export interface TcpBody {
  readonly kind: 'tcp';
  /** Nine bits, AE first: see the constants of wire.ts. */
  readonly flags: number;
  readonly seq: SequenceSpec;
  readonly ack: number | null;
  /** As it stands in the header; null: not checked, or 0. */
  readonly window: number | null;
  readonly urgent: number | null;
  /** null: not checked. */
  readonly options: readonly TcpOption[] | null;
}

export interface SequenceSpec {
  /** `any`: not checked; `absolute`: as it stands on the wire. */
  readonly kind: 'relative' | 'absolute' | 'any';
  readonly start: number;
  readonly length: number;
}

export type TcpOption =
  | { readonly kind: 'mss'; readonly value: number }
  | { readonly kind: 'nop' | 'eol' | 'sackOK' }
  | { readonly kind: 'wscale'; readonly value: number }
  | { readonly kind: 'sack'; readonly blocks: readonly (readonly [number, number])[] }
  | { readonly kind: 'TS'; readonly val: number; readonly ecr: number }
  | { readonly kind: 'bytes'; readonly type: number; readonly bytes: Uint8Array; readonly name: string };

export interface UdpBody {
  readonly kind: 'udp';
  readonly length: number;
}

export interface IcmpBody {
  readonly kind: 'icmp';
  readonly type: number;
  readonly code: number;
  /** The second word of the header: MTU, pointer, or identifier and sequence; null: 0, or not checked. */
  readonly word: number | null;
  readonly quote: Quote | null;
  /** Payload bytes of an echo. */
  readonly length: number;
}

/** The packet an ICMP error is about, as the stack had sent it. */
export type Quote =
  | { readonly kind: 'tcp'; readonly seq: SequenceSpec; readonly udpEncap: Ports | null }
  | { readonly kind: 'udp' | 'raw'; readonly length: number };

/** `--name=value` at the head of a script. */
export interface OptionLine {
  readonly at: Position;
  readonly name: string;
  readonly value: string | null;
}

export interface Script {
  readonly options: readonly OptionLine[];
  /** Commands without a time before the first event. */
  readonly init: readonly CommandAction[];
  readonly events: readonly ScriptEvent[];
  /** A command without a time after the last event: run whatever happens. */
  readonly cleanup: readonly CommandAction[];
  /** The lines of the source, for messages. */
  readonly lines: readonly string[];
}
