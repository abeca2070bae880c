/**
 * What is asked of a stack behind a channel, and what it answers: closed unions of plain records, which pass between
 * threads as they are. A command names its socket by a handle; every answer that opens a socket brings one. @module
 */
import { type ErrorCode, NetError } from '../errors.ts';
import type { PathMtuDiscovery } from '../iface/path-mtu.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import type { TcpState } from '../tcp/state.ts';

/** Names a socket of one client: the place in a table, and how often that place was taken. A stale one names nothing. */
export type Handle = number;

/** Settings as they can be posted: the congestion control by its name. */
export type PlainTcpSettings = Omit<Partial<TcpSettings>, 'congestion'> & { readonly congestion?: string };

export interface Local {
  readonly address: string;
  readonly port: number;
}

/** An address and a prefix (`10.0.0.0/8`), and the router to it; null: on the link of the first interface. */
export interface PlainRoute {
  readonly prefix: string;
  readonly gateway: string | null;
}

export type TcpCommand =
  | {
      readonly kind: 'tcp-listen';
      /** By default all, of both families. */
      readonly host?: string | undefined;
      /** 0: a free one is chosen. */
      readonly port: number;
      readonly backlog?: number | undefined;
      readonly ipv6Only?: boolean | undefined;
      readonly tcp?: PlainTcpSettings | undefined;
    }
  | { readonly kind: 'tcp-accept'; readonly handle: Handle }
  | {
      readonly kind: 'tcp-connect';
      readonly host: string;
      readonly port: number;
      readonly localHost?: string | undefined;
      readonly localPort?: number | undefined;
      readonly tcp?: PlainTcpSettings | undefined;
    }
  /** Answered when all of it is in the stack's buffers. */
  | { readonly kind: 'tcp-send'; readonly handle: Handle; readonly data: Uint8Array }
  /** Answered with 1 to `max` bytes, or with none at the end of the stream. */
  | { readonly kind: 'tcp-receive'; readonly handle: Handle; readonly max: number }
  /** Closes the sending half. */
  | { readonly kind: 'tcp-shutdown'; readonly handle: Handle }
  /** Lets go: what was taken is still sent. Also of a listener. */
  | { readonly kind: 'tcp-close'; readonly handle: Handle }
  | { readonly kind: 'tcp-abort'; readonly handle: Handle }
  | { readonly kind: 'tcp-status'; readonly handle: Handle };

/** What can be changed of a UDP socket. */
export interface UdpSettings {
  readonly pathMtuDiscovery: PathMtuDiscovery;
  readonly broadcast: boolean;
  readonly ttl: number;
  readonly multicastTtl: number;
  readonly multicastLoopback: boolean;
}

export type UdpCommand =
  | {
      readonly kind: 'udp-bind';
      readonly host?: string | undefined;
      readonly port: number;
      readonly reuse?: boolean | undefined;
      readonly ipv6Only?: boolean | undefined;
    }
  | {
      readonly kind: 'udp-connect';
      readonly host: string;
      readonly port: number;
      readonly localHost?: string | undefined;
      readonly localPort?: number | undefined;
    }
  /** Without `host`: to the peer of a connected socket. Answered when the datagram has left. */
  | {
      readonly kind: 'udp-send';
      readonly handle: Handle;
      readonly host?: string | undefined;
      readonly port?: number | undefined;
      readonly data: Uint8Array;
    }
  /** Answered with the oldest datagram; what is beyond `max` bytes is lost, and `length` tells. */
  | { readonly kind: 'udp-receive'; readonly handle: Handle; readonly max?: number | undefined }
  | { readonly kind: 'udp-configure'; readonly handle: Handle; readonly settings: Partial<UdpSettings> }
  | { readonly kind: 'udp-close'; readonly handle: Handle };

export type RawCommand =
  | {
      readonly kind: 'raw-open';
      readonly family: 4 | 6;
      readonly protocol: number;
      readonly headerIncluded?: boolean | undefined;
      readonly ttl?: number | undefined;
      readonly localHost?: string | undefined;
      readonly remoteHost?: string | undefined;
      readonly receiveBytes?: number | undefined;
    }
  | {
      readonly kind: 'raw-send';
      readonly handle: Handle;
      readonly host?: string | undefined;
      readonly data: Uint8Array;
    }
  | { readonly kind: 'raw-receive'; readonly handle: Handle; readonly max?: number | undefined }
  | { readonly kind: 'raw-close'; readonly handle: Handle };

export type StackCommand =
  /** Replaces the addresses of the first interface, all or none. */
  | { readonly kind: 'set-addresses'; readonly addresses: readonly string[] }
  | { readonly kind: 'get-addresses' }
  | { readonly kind: 'add-route'; readonly route: PlainRoute }
  | { readonly kind: 'remove-route'; readonly prefix: string }
  | { readonly kind: 'get-stats' }
  /** Ends the call with this id, unless it is answered already. */
  | { readonly kind: 'cancel'; readonly id: number }
  /** The client ends: all its sockets are closed. */
  | { readonly kind: 'leave' };

/** A call of `ethertype/posix`, run on the stack's thread; buffers to read into are their lengths. */
export interface PosixCommand {
  readonly kind: 'posix';
  readonly call: string;
  readonly args: readonly unknown[];
  readonly data?: Uint8Array | undefined;
}

export type Command = TcpCommand | UdpCommand | RawCommand | StackCommand | PosixCommand;

/** Rings of a stream in the stack's shared memory: where they stand, and how many bytes each holds. */
export interface RingPlace {
  readonly offset: number;
  readonly bytes: number;
}

export interface StreamOpened {
  readonly handle: Handle;
  readonly local: Local;
  readonly remote: Local;
  readonly rings?: RingPlace | undefined;
}

export type Response =
  | { readonly kind: 'ok' }
  | ({ readonly kind: 'listening'; readonly handle: Handle } & { readonly local: Local })
  | ({ readonly kind: 'accepted' } & StreamOpened)
  | ({ readonly kind: 'connected' } & StreamOpened)
  | { readonly kind: 'sent'; readonly count: number; readonly pathMtu?: number | null | undefined }
  | { readonly kind: 'received'; readonly data: Uint8Array }
  /** The peer has closed its half and everything before was read. */
  | { readonly kind: 'finished' }
  | {
      readonly kind: 'status';
      readonly state: TcpState;
      readonly error: ErrorCode | null;
      readonly isDrained: boolean;
    }
  | { readonly kind: 'bound'; readonly handle: Handle; readonly local: Local; readonly pathMtu: number | null }
  | {
      readonly kind: 'datagram';
      readonly data: Uint8Array;
      readonly address: string;
      readonly port: number;
      /** Of the whole datagram, which `data` may be the beginning of. */
      readonly length: number;
      readonly ttl: number;
    }
  | { readonly kind: 'opened'; readonly handle: Handle }
  | { readonly kind: 'addresses'; readonly addresses: readonly string[] }
  | { readonly kind: 'stats'; readonly stats: Readonly<Record<string, unknown>> }
  | { readonly kind: 'posix'; readonly result: unknown; readonly data?: Uint8Array | undefined }
  | ErrorResponse;

export interface ErrorResponse {
  readonly kind: 'error';
  /** `TypeError` and `RangeError`: an argument was wrong. */
  readonly code: ErrorCode | 'TypeError' | 'RangeError';
  readonly syscall: string;
  readonly address?: string | undefined;
  readonly port?: number | undefined;
  readonly detail?: string | undefined;
}

type Kind = Command['kind'];

/** The kind of answer that each kind of command has, where it is no error. */
interface Answers extends Record<Kind, Response['kind']> {
  'tcp-listen': 'listening';
  'tcp-accept': 'accepted';
  'tcp-connect': 'connected';
  'tcp-send': 'sent';
  'tcp-receive': 'received' | 'finished';
  'tcp-shutdown': 'ok';
  'tcp-close': 'ok';
  'tcp-abort': 'ok';
  'tcp-status': 'status';
  'udp-bind': 'bound';
  'udp-connect': 'bound';
  'udp-send': 'sent';
  'udp-receive': 'datagram';
  'udp-configure': 'ok';
  'udp-close': 'ok';
  'raw-open': 'opened';
  'raw-send': 'sent';
  'raw-receive': 'datagram';
  'raw-close': 'ok';
  'set-addresses': 'ok';
  'get-addresses': 'addresses';
  'add-route': 'ok';
  'remove-route': 'ok';
  'get-stats': 'stats';
  cancel: 'ok';
  leave: 'ok';
  posix: 'posix';
}

/** What `C` is answered with. */
export type ResponseTo<C extends Command> = Extract<Response, { readonly kind: Answers[C['kind']] }>;

/** `error` as it is posted. */
export function errorResponse(error: unknown, syscall: string): ErrorResponse {
  if (error instanceof NetError) {
    const { code, address, port, detail } = error;
    return { kind: 'error', code, syscall: error.syscall, address, port, detail };
  }
  const detail = error instanceof Error ? error.message : String(error);
  if (error instanceof RangeError) return { kind: 'error', code: 'RangeError', syscall, detail };
  if (error instanceof TypeError) return { kind: 'error', code: 'TypeError', syscall, detail };
  return { kind: 'error', code: 'EPROTO', syscall, detail };
}

/** The error that was posted. */
export function errorOf({ code, syscall, address, port, detail }: ErrorResponse): Error {
  if (code === 'RangeError') return new RangeError(detail);
  if (code === 'TypeError') return new TypeError(detail);
  return new NetError(code, syscall, { address, port, detail });
}
