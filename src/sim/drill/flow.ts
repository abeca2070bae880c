/**
 * One connection of a script, and how the script's numbers and the stack's belong together. Scripts count from their own
 * initial sequence numbers, the stack draws one; the peer's are taken as the script writes them. @module
 */
import type { Ports, SequenceSpec, TcpBody, TcpOption } from './ast.ts';
import type { Address, TcpHeader } from './wire.ts';
import { ACK, SYN } from './wire.ts';

export interface FlowEnds {
  readonly protocol: 'tcp' | 'udp';
  readonly local: Address;
  readonly remote: Address;
  /** 0: not known before the first packet of the stack. */
  readonly localPort: number;
  readonly remotePort: number;
}

export class Flow {
  readonly protocol: 'tcp' | 'udp';
  readonly local: Address;
  readonly remote: Address;
  localPort: number;
  readonly remotePort: number;
  /** What the script calls this connection, from the stack's side: source is the stack. Null: it has no name. */
  readonly scriptPorts: Ports | null;
  /** The descriptor that has it; -1: not accepted yet. */
  fd: number;
  /** Outer ports of TCP in UDP, from the stack's side. */
  udpEncap: Ports | null = null;
  #scriptIsn = 0;
  #liveIsn = 0;
  #hasLiveIsn = false;
  #remoteIsn = 0;
  #hasRemoteIsn = false;
  /** TSval of the script -> TSval of the stack, for what comes back in TSecr. */
  readonly #stamps = new Map<number, number>();
  #firstStamp: { script: number; live: number } | null = null;

  constructor(ends: FlowEnds, scriptPorts: Ports | null, fd: number) {
    this.protocol = ends.protocol;
    this.local = ends.local;
    this.remote = ends.remote;
    this.localPort = ends.localPort;
    this.remotePort = ends.remotePort;
    this.scriptPorts = scriptPorts;
    this.fd = fd;
  }

  /** Whether a packet of the stack between these ends is of this flow. */
  owns(protocol: 'tcp' | 'udp', local: number, remote: number, remoteAddress: Address): boolean {
    return (
      this.protocol === protocol &&
      this.remotePort === remote &&
      (this.localPort === local || this.localPort === 0) &&
      sameBytes(this.remote, remoteAddress)
    );
  }

  /** Before the stack's first SYN is compared: which of the two numbers begins the script's count. */
  learnIsn(script: SequenceSpec, live: number): void {
    if (this.#hasLiveIsn && script.kind !== 'any') return;
    this.#hasLiveIsn = true;
    this.#liveIsn = live;
    this.#scriptIsn = script.kind === 'any' ? 0 : script.start;
  }

  /** What an injected segment is on the wire. */
  toLive(body: TcpBody, isEcrScaled: boolean): TcpHeader {
    const { flags, seq } = body;
    const isSyn = (flags & SYN) !== 0;
    if (isSyn && !this.#hasRemoteIsn) {
      this.#hasRemoteIsn = true;
      this.#remoteIsn = seq.start;
    }
    const ackBase = isSyn ? this.#liveIsn - this.#scriptIsn : this.#liveIsn;
    const ack = (flags & ACK) === 0 ? (body.ack ?? 0) : ((body.ack ?? 0) + ackBase) >>> 0;
    return {
      sourcePort: this.remotePort,
      destinationPort: this.localPort,
      // The number of a SYN stands as it is; all others count from it.
      seq: isSyn || seq.kind !== 'relative' ? seq.start : (seq.start + this.#remoteIsn) >>> 0,
      ack,
      flags,
      window: body.window ?? 0,
      urgent: body.urgent ?? 0,
      options: (body.options ?? []).map((option) => this.#optionToLive(option, isEcrScaled)),
    };
  }

  #optionToLive(option: TcpOption, isEcrScaled: boolean): TcpOption {
    if (option.kind === 'sack') {
      const isn = this.#liveIsn;
      return { ...option, blocks: option.blocks.map(([a, b]) => [(a + isn) >>> 0, (b + isn) >>> 0] as const) };
    }
    if (option.kind === 'TS' && !isEcrScaled) return { ...option, ecr: this.#stampToLive(option.ecr) };
    return option;
  }

  #stampToLive(script: number): number {
    const live = this.#stamps.get(script);
    if (live !== undefined) return live;
    // One that the script never expected: as far from the first as the script has it. Without a first one it stands.
    return this.#firstStamp === null ? script : (this.#firstStamp.live + script - this.#firstStamp.script) >>> 0;
  }

  /** The sequence number of the stack that the script calls `start`, in a quoted packet. */
  quotedSeq(seq: SequenceSpec): number {
    return seq.kind === 'absolute' ? seq.start : (seq.start + this.#liveIsn) >>> 0;
  }

  /** A segment of the stack in the script's numbers. `seqKind` says how the script counts its own. */
  toScript(header: TcpHeader, length: number, seqKind: SequenceSpec['kind']): TcpBody {
    const isSyn = (header.flags & SYN) !== 0;
    const base = isSyn ? this.#liveIsn - this.#scriptIsn : this.#liveIsn;
    const start = seqKind === 'absolute' ? header.seq : (header.seq - base) >>> 0;
    const remote = isSyn ? 0 : this.#remoteIsn;
    return {
      kind: 'tcp',
      flags: header.flags,
      seq: { kind: seqKind === 'absolute' ? 'absolute' : 'relative', start, length },
      ack: (header.flags & ACK) === 0 ? null : (header.ack - remote) >>> 0,
      window: header.window,
      urgent: header.urgent === 0 ? null : header.urgent,
      options: header.options.map((option) => this.#optionToScript(option)),
    };
  }

  #optionToScript(option: TcpOption): TcpOption {
    const first = this.#firstStamp;
    if (option.kind === 'TS' && first !== null)
      return { ...option, val: (option.val - first.live + first.script) >>> 0 };
    if (option.kind !== 'sack') return option;
    const isn = this.#remoteIsn;
    return { ...option, blocks: option.blocks.map(([a, b]) => [(a - isn) >>> 0, (b - isn) >>> 0] as const) };
  }

  /** Whether a TSval of the stack has been seen, so that others can be counted from it. */
  get hasStamps(): boolean {
    return this.#firstStamp !== null;
  }

  /** What the script called the TSval `live`; the first one fixes where both counts begin. */
  learnStamp(script: number, live: number): void {
    this.#firstStamp ??= { script, live };
    this.#stamps.set(script, live);
  }
}

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);
