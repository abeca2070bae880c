/**
 * What is asked of a stack behind a channel, and what it answers: closed unions of plain records, which pass between
 * threads as they are. A command names its socket by a handle; every answer that opens a socket brings one. @module
 */
import { type ErrorCode, NetError } from '../errors.ts';
import type { PathMtuDiscovery } from '../iface/path-mtu.ts';
import type { Configuration } from '../sockets/autoconfig.ts';
import type { MembershipChange } from '../sockets/backend.ts';
import type { EchoInterceptOptions } from '../sockets/echo-intercept.ts';
import type { SynDecision } from '../sockets/incoming-syn.ts';
import type { PingReply, PingStatistics } from '../sockets/ping.ts';
import type { TcpInterceptOptions } from '../sockets/tcp-intercept.ts';
import type { TraceOptions } from '../sockets/trace.ts';
import type { UdpInterceptOptions } from '../sockets/udp-intercept.ts';
import type { TcpInfo } from '../tcp/info.ts';
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
      /** Whether each SYN waits for a `tcp-decide`; `tcp-next-syn` tells of it. Default false. */
      readonly holdsSyns?: boolean | undefined;
    }
  | { readonly kind: 'tcp-accept'; readonly handle: Handle }
  /** Answered with the oldest SYN that was not told of. */
  | { readonly kind: 'tcp-next-syn'; readonly handle: Handle }
  /** Decides about a SYN of a listener; the answer says whether it was in time. */
  | { readonly kind: 'tcp-decide'; readonly handle: Handle; readonly syn: number; readonly decision: SynDecision }
  | {
      readonly kind: 'tcp-connect';
      /** An address, or a name: then its addresses of both families are tried in turn (RFC 8305). */
      readonly host: string;
      readonly port: number;
      readonly localHost?: string | undefined;
      readonly localPort?: number | undefined;
      readonly tcp?: PlainTcpSettings | undefined;
      /** The first bytes to send, see `ConnectOptions`. */
      readonly data?: Uint8Array | undefined;
    }
  /** Answered when all of it is in the stack's buffers. */
  | { readonly kind: 'tcp-send'; readonly handle: Handle; readonly data: Uint8Array }
  /** Answered with 1 to `max` bytes, or with none at the end of the stream. */
  | { readonly kind: 'tcp-receive'; readonly handle: Handle; readonly max: number }
  /** Closes the sending half. */
  | { readonly kind: 'tcp-shutdown'; readonly handle: Handle }
  /** Lets go: what was taken is still sent. Also of a listener. With `lingerMs` answered when all of it is acknowledged, or then. */
  | { readonly kind: 'tcp-close'; readonly handle: Handle; readonly lingerMs?: number | undefined }
  | { readonly kind: 'tcp-abort'; readonly handle: Handle }
  | { readonly kind: 'tcp-status'; readonly handle: Handle }
  | { readonly kind: 'tcp-info'; readonly handle: Handle }
  /** Whether segments, timers and changes of the window are recorded; `tcp-next-traces` takes the records. */
  | { readonly kind: 'tcp-trace'; readonly handle: Handle; readonly isOn: boolean }
  /** Answered when there are records. */
  | { readonly kind: 'tcp-next-traces'; readonly handle: Handle };

/** What becomes of a flow that was told of: `end` ends it in whatever state it is, for a handler that has failed. */
export type FlowDecision = 'reset' | 'unreachable' | 'port' | 'host' | 'reply' | 'drop' | 'end';

/** Flows of others on an any-IP interface: as `host.tcp.intercept` and the like have them. */
export type InterceptCommand =
  | ({ readonly kind: 'intercept-tcp'; readonly tcp?: PlainTcpSettings | undefined } & Omit<TcpInterceptOptions, 'tcp'>)
  | ({ readonly kind: 'intercept-udp' } & UdpInterceptOptions)
  | ({ readonly kind: 'intercept-icmp' } & EchoInterceptOptions)
  /** Answered with a flow that was not told of, or with those that are over. */
  | { readonly kind: 'intercept-next'; readonly handle: Handle }
  /** Answered with the flow as a socket: of TCP when the handshake is done. */
  | { readonly kind: 'intercept-accept'; readonly handle: Handle; readonly flow: number }
  /** The answer says whether it was in time. */
  | {
      readonly kind: 'intercept-decide';
      readonly handle: Handle;
      readonly flow: number;
      readonly decision: FlowDecision;
    }
  | { readonly kind: 'intercept-idle'; readonly handle: Handle; readonly flow: number; readonly idleMs: number }
  | { readonly kind: 'intercept-status'; readonly handle: Handle }
  | { readonly kind: 'intercept-close'; readonly handle: Handle };

/** What can be changed of a UDP socket. */
export interface UdpSettings {
  readonly pathMtuDiscovery: PathMtuDiscovery;
  readonly broadcast: boolean;
  readonly ttl: number;
  readonly multicastTtl: number;
  readonly multicastLoopback: boolean;
  /** Where what goes to groups leaves: an interface by its name or address; '': the routes decide. */
  readonly multicastInterface: string;
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
      /** The address of ours to send from. */
      readonly localHost?: string | undefined;
      readonly data: Uint8Array;
    }
  /** Answered with the oldest datagram; what is beyond `max` bytes is lost, and `length` tells. */
  | { readonly kind: 'udp-receive'; readonly handle: Handle; readonly max?: number | undefined }
  | { readonly kind: 'udp-membership'; readonly handle: Handle; readonly membership: MembershipChange }
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
  /** All of them, those of other interfaces too. */
  | { readonly kind: 'get-routes' }
  | { readonly kind: 'get-stats' }
  /** Ends the call with this id, unless it is answered already. */
  | { readonly kind: 'cancel'; readonly id: number }
  /** The client ends: all its sockets are closed. */
  | { readonly kind: 'leave' };

/** What a stack does besides sockets. */
export type ServiceCommand =
  /** The one address of a name that a datagram would go to; `syscall` stands in its errors. */
  | { readonly kind: 'lookup'; readonly host: string; readonly syscall: string }
  /** Addresses of a name, or with `type` its records: as `host.resolve`. */
  | {
      readonly kind: 'resolve';
      readonly name: string;
      readonly family?: 4 | 6 | undefined;
      readonly type?: string | undefined;
    }
  /** One echo request, or with `count` so many; times in milliseconds. */
  | {
      readonly kind: 'ping';
      readonly host: string;
      readonly size?: number;
      readonly timeout?: number;
      readonly sequence?: number;
      readonly ttl?: number;
      readonly count?: number;
      readonly interval?: number;
      /**
       * Answered at once with a handle, of which `report-next` gives each reply and failure, and then the statistics; so
       * `count` may be Number.MAX_VALUE, which is without an end.
       */
      readonly reports?: boolean;
    }
  /** Answered with a handle, of which `report-next` gives hop after hop. */
  | ({ readonly kind: 'trace-route'; readonly host: string } & Omit<TraceOptions, 'signal'>)
  /** Answered when there is something to tell. */
  | { readonly kind: 'report-next'; readonly handle: Handle }
  /** Ends what is reported of, as a signal would: what it came to is still told, unless nobody wants to know. */
  | { readonly kind: 'report-end'; readonly handle: Handle; readonly isDiscarded?: boolean | undefined }
  /** Answered once the first interface has an address to be reached by. */
  | { readonly kind: 'configured'; readonly timeoutMs?: number | undefined }
  /** What DHCP, router advertisements and the like have told of last. */
  | { readonly kind: 'get-configuration' };

/** A call of `ethertype/posix`, run on the stack's thread; buffers to read into are their lengths. */
export interface PosixCommand {
  readonly kind: 'posix';
  readonly call: string;
  readonly args: readonly unknown[];
  readonly data?: Uint8Array | undefined;
}

export type Command =
  | TcpCommand
  | UdpCommand
  | RawCommand
  | InterceptCommand
  | StackCommand
  | ServiceCommand
  | PosixCommand;

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

/** A SYN that waits for a decision; an MSS of 0 and a scale of -1 where it had none. */
export interface HeldSyn {
  readonly syn: number;
  readonly local: Local;
  readonly remote: Local;
  readonly mss: number;
  readonly windowScale: number;
  readonly sackPermitted: boolean;
  readonly timestamps: boolean;
}

/** A flow that waits for a decision. What stands in it depends on its protocol. */
export interface HeldFlow {
  readonly flow: number;
  readonly source: Local;
  readonly destination: Local;
  /** Of TCP: the options of the SYN. */
  readonly options?: Pick<HeldSyn, 'mss' | 'windowScale' | 'sackPermitted' | 'timestamps'> | undefined;
  /** Of an echo request. */
  readonly echo?: { readonly identifier: number; readonly sequence: number; readonly ttl: number } | undefined;
  readonly data?: Uint8Array | undefined;
}

export type Response =
  | { readonly kind: 'ok' }
  | ({ readonly kind: 'listening'; readonly handle: Handle } & { readonly local: Local })
  | ({ readonly kind: 'accepted' } & StreamOpened)
  | ({ readonly kind: 'syn' } & HeldSyn)
  | { readonly kind: 'intercepting'; readonly handle: Handle }
  | ({ readonly kind: 'flow' } & HeldFlow)
  /** Flows that were told of and are over. */
  | { readonly kind: 'flows-gone'; readonly flows: readonly number[] }
  | {
      readonly kind: 'interception';
      readonly stats: Readonly<Record<string, number>>;
      readonly count: number;
      readonly bytes: number;
    }
  | { readonly kind: 'info'; readonly info: TcpInfo | null }
  /** Records as `trace-records.ts` has them; and how many there was no room for since the last answer. */
  | { readonly kind: 'traces'; readonly lost: number; readonly data: Uint8Array }
  | { readonly kind: 'reporting'; readonly handle: Handle }
  /** What was not told yet; with `result` it is over. */
  | {
      readonly kind: 'reports';
      readonly reports: readonly unknown[];
      readonly lost: number;
      readonly result?: Response | undefined;
    }
  | { readonly kind: 'decided'; readonly isInTime: boolean }
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
      /** The address it was sent to. */
      readonly localAddress: string;
      /** Of the whole datagram, which `data` may be the beginning of. */
      readonly length: number;
      readonly ttl: number;
    }
  | { readonly kind: 'opened'; readonly handle: Handle }
  | { readonly kind: 'addresses'; readonly addresses: readonly string[] }
  | { readonly kind: 'routes'; readonly routes: readonly PlainRoute[] }
  | { readonly kind: 'stats'; readonly stats: Readonly<Record<string, unknown>> }
  | { readonly kind: 'found'; readonly address: string }
  /** Addresses as strings, records as {@link plainRecord} makes them. */
  | { readonly kind: 'resolved'; readonly records: readonly unknown[] }
  | { readonly kind: 'pinged'; readonly reply: PingReply }
  | { readonly kind: 'ping-statistics'; readonly statistics: PingStatistics }
  | { readonly kind: 'configuration'; readonly configurations: readonly Configuration[] }
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
  'tcp-next-syn': 'syn';
  'tcp-decide': 'decided';
  'tcp-connect': 'connected';
  'tcp-send': 'sent';
  'tcp-receive': 'received' | 'finished';
  'tcp-shutdown': 'ok';
  'tcp-close': 'ok';
  'tcp-abort': 'ok';
  'tcp-status': 'status';
  'tcp-info': 'info';
  'tcp-trace': 'ok';
  'tcp-next-traces': 'traces';
  'intercept-tcp': 'intercepting';
  'intercept-udp': 'intercepting';
  'intercept-icmp': 'intercepting';
  'intercept-next': 'flow' | 'flows-gone';
  'intercept-accept': 'accepted' | 'bound';
  'intercept-decide': 'decided';
  'intercept-idle': 'ok';
  'intercept-status': 'interception';
  'intercept-close': 'ok';
  'udp-bind': 'bound';
  'udp-connect': 'bound';
  'udp-send': 'sent';
  'udp-receive': 'datagram';
  'udp-membership': 'ok';
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
  'get-routes': 'routes';
  'get-stats': 'stats';
  cancel: 'ok';
  leave: 'ok';
  lookup: 'found';
  resolve: 'resolved';
  ping: 'pinged' | 'ping-statistics' | 'reporting';
  'trace-route': 'reporting';
  'report-next': 'reports';
  'report-end': 'ok';
  configured: 'addresses';
  'get-configuration': 'configuration';
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
