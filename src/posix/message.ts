/** What goes through one receiving or sending call. @module */
import type { IpAddress } from '../wire/address.ts';
import type { SockAddr } from './address.ts';
import type { ExtendedError } from './error-queue.ts';
import type { ArrivalTime } from './timestamps.ts';

/** Where a datagram came in, or is to leave from: `in_pktinfo` and `in6_pktinfo`. */
export interface PacketInfo {
  /** 0: any. */
  readonly ifindex: number;
  /** The address it was sent to; of a datagram to send, the address of ours to send it from. */
  readonly address: IpAddress;
}

/** Ancillary data: a `cmsghdr` with its value. */
export interface ControlMessage {
  readonly level: number;
  readonly type: number;
  readonly value: number;
  /** Of IP_PKTINFO and IPV6_PKTINFO, whose value is 0. */
  readonly info?: PacketInfo;
  /** Of IP_RECVERR and IPV6_RECVERR, whose value is 0. */
  readonly error?: ExtendedError;
  /** Of SO_TIMESTAMP and its like, whose value is 0. */
  readonly time?: ArrivalTime;
}

/** A receiving call under way; what it has taken stays in it while it waits. */
export class Reading {
  readonly buffers: readonly Uint8Array[];
  readonly flags: number;
  /** Bytes the buffers take. */
  readonly room: number;
  /** Whether the descriptor blocks: the end after SHUT_RD of a datagram socket is told to those only. */
  isBlocking = false;
  /** What the call returns. */
  count = 0;
  address: SockAddr | null = null;
  /** `msg_flags` of recvmsg. */
  outFlags = 0;
  readonly control: ControlMessage[] = [];

  constructor(buffers: readonly Uint8Array[], flags: number) {
    this.buffers = buffers;
    this.flags = flags;
    this.room = lengthOf(buffers);
  }
}

/** A sending call under way. */
export class Writing {
  readonly buffers: readonly Uint8Array[];
  readonly flags: number;
  readonly address: SockAddr | null;
  readonly control: readonly ControlMessage[];
  /** Whether the call waits for what it cannot do at once. */
  isBlocking = false;
  /** Bytes to send. */
  readonly length: number;
  /** Bytes taken so far: what the call returns. */
  count = 0;

  constructor(
    buffers: readonly Uint8Array[],
    flags: number,
    address: SockAddr | null = null,
    control: readonly ControlMessage[] = [],
  ) {
    this.buffers = buffers;
    this.flags = flags;
    this.address = address;
    this.control = control;
    this.length = lengthOf(buffers);
  }
}

export const lengthOf = (buffers: readonly Uint8Array[]): number =>
  buffers.reduce((sum, buffer) => sum + buffer.length, 0);

/** Calls `part` for the pieces of `buffers` from byte `from` on, until one takes less than it could; returns the sum. */
export function eachFrom(
  buffers: readonly Uint8Array[],
  from: number,
  part: (buffer: Uint8Array, start: number) => number,
): number {
  let skip = from;
  let sum = 0;
  for (const buffer of buffers) {
    if (skip >= buffer.length) {
      skip -= buffer.length;
      continue;
    }
    const done = part(buffer, skip);
    sum += done;
    if (done < buffer.length - skip) break;
    skip = 0;
  }
  return sum;
}

/** All bytes as one array: the only buffer itself where there is one. */
export function gather(buffers: readonly Uint8Array[]): Uint8Array {
  if (buffers.length === 1) return buffers[0]!;
  const all = new Uint8Array(lengthOf(buffers));
  let at = 0;
  for (const buffer of buffers) {
    all.set(buffer, at);
    at += buffer.length;
  }
  return all;
}

/** Spreads `bytes` over `buffers`; returns how many found room. */
export function scatter(bytes: Uint8Array, buffers: readonly Uint8Array[]): number {
  let at = 0;
  for (const buffer of buffers) {
    const piece = bytes.subarray(at, at + buffer.length);
    buffer.set(piece);
    at += piece.length;
  }
  return at;
}

/** What recvfrom() gives; `address` is null on a stream. */
export interface Received {
  readonly count: number;
  readonly address: SockAddr | null;
}

/** What recvmsg() gives. */
export interface ReceivedMessage extends Received {
  /** MSG_TRUNC: a datagram was longer than the buffers. */
  readonly flags: number;
  readonly control: readonly ControlMessage[];
}

/** What sendmsg() sends. */
export interface Message {
  readonly buffers: readonly Uint8Array[];
  readonly address?: SockAddr | null | undefined;
  readonly control?: readonly ControlMessage[] | undefined;
}

export const received = ({ count, address }: Reading): Received => ({ count, address });
export const receivedMessage = ({ count, address, outFlags, control }: Reading): ReceivedMessage => ({
  count,
  address,
  flags: outFlags,
  control: [...control],
});

export const writingOf = ({ buffers, address, control }: Message, flags: number): Writing =>
  new Writing(buffers, flags, address ?? null, control ?? []);
