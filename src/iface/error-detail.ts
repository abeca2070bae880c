/** What the network says about a packet that was sent, with its origin: what IP_RECVERR tells on Linux. @module */
import type { ErrorCode } from '../errors.ts';
import type { Memory } from '../memory/memory.ts';
import type { IpAddress } from '../wire/address.ts';

/** Errors that wait for their reader; beyond, new ones are dropped and counted. A quote is below 1280 bytes. */
const ERRORS_MAX = 32;

/** One error about a packet of ours. */
export interface ErrorDetail {
  /** What it means for a socket. */
  readonly code: ErrorCode;
  /** Who says so: a host or router by ICMP, or this stack itself, whose neighbour does not answer. */
  readonly origin: 'icmp' | 'icmp6' | 'local';
  /** Type and code of the ICMP message; 0 for a local one. */
  readonly type: number;
  readonly icmpCode: number;
  /** The MTU of the next hop of "too big", the pointer of a parameter problem; else 0. */
  readonly info: number;
  /** Where the ICMP message came from; null for a local one. */
  readonly offender: IpAddress | null;
  /** Where the packet was to go. */
  readonly address: IpAddress;
  /** Its destination port; the sequence number of an echo request; 0 of other protocols. */
  readonly port: number;
  /** What was quoted of its payload. */
  readonly data: Uint8Array;
}

/** Where the error that is being delivered comes from: one record a stack, filled by who found out. */
export class ErrorCause {
  origin: ErrorDetail['origin'] = 'local';
  type = 0;
  icmpCode = 0;
  info = 0;
  offender: IpAddress | null = null;

  /** This stack itself found out. */
  setLocal(): void {
    this.origin = 'local';
    this.type = this.icmpCode = this.info = 0;
    this.offender = null;
  }
}

/** Errors that wait to be taken; memory is only held while there are any. */
export class ErrorQueue {
  readonly #errors: ErrorDetail[] = [];

  get isEmpty(): boolean {
    return this.#errors.length === 0;
  }

  /** Keeps an error about a packet whose payload is quoted in `[p, end)`; false when the queue is full. */
  push(
    cause: ErrorCause,
    code: ErrorCode,
    to: IpAddress,
    port: number,
    memory: Memory,
    p: number,
    end: number,
  ): boolean {
    if (this.#errors.length >= ERRORS_MAX) return false;
    const { origin, type, icmpCode, info, offender } = cause;
    const data = memory.u8.slice(p, Math.max(p, end));
    this.#errors.push({ code, origin, type, icmpCode, info, offender, address: to, port, data });
    return true;
  }

  /** The oldest, or null. */
  shift(): ErrorDetail | null {
    return this.#errors.shift() ?? null;
  }

  clear(): void {
    this.#errors.length = 0;
  }
}
