/**
 * What the sockets of this ring stand on: a socket of the core with the loop of its host, or a socket of a stack behind a
 * channel. Both move what can be moved now, and report changes to their `owner`, which is a {@link Notified}. @module
 */
import type { ErrorCode } from '../errors.ts';
import type { PathMtuDiscovery } from '../iface/path-mtu.ts';
import type { Clock } from '../sim/clock.ts';
import type { TcpInfo } from '../tcp/info.ts';
import type { Endpoint } from '../tcp/socket.ts';
import type { TcpState } from '../tcp/state.ts';
import type { Trace } from '../tcp/trace.ts';
import type { Source } from '../udp/datagram-queue.ts';
import type { IpAddress } from '../wire/address.ts';

/** What every blocking call takes. */
export interface BlockingOptions {
  /** Milliseconds until the call fails with ETIMEDOUT, and nothing that arrives is lost; by default it waits for ever. */
  readonly timeoutMs?: number | undefined;
}

/** What drives a socket. */
export interface SocketLoop {
  readonly clock: Clock;
  readonly isClosed: boolean;
  /** What must be ended when the stack ends. */
  readonly closers: Set<() => void>;
  /** Something was queued that should leave soon. */
  wake(): void;
  /** Tells the stack the time, for what is sent right now. */
  touch(): void;
  /** An address as it is written, with the name of its interface where it has a zone; null: it is none. */
  parseAddress(text: string): IpAddress | null;
  formatAddress(address: IpAddress): string;
  /** Counts those who wait. */
  hold(change: 1 | -1): void;
  /**
   * Stops the thread until `attempt` gives something other than undefined.
   * @throws NetError EDEADLK where the stack runs on this thread, EOPNOTSUPP where a thread may not wait, ETIMEDOUT
   */
  block<T>(syscall: string, attempt: () => T | undefined, options?: BlockingOptions): T;
}

/** Addresses for the calls that take a name. */
export interface Lookup {
  /** The address that `host` is, or null for a name. @throws TypeError where it is no string */
  numeric(host: string): IpAddress | null;
  address(host: string, syscall: string): Promise<IpAddress>;
  /** The same, stopping the thread, where it may. */
  addressBlocking?(host: string, syscall: string, options?: BlockingOptions): IpAddress;
}

/** A change of what groups a socket is in. */
export interface MembershipChange {
  readonly change: 'join' | 'leave' | 'block' | 'unblock';
  readonly group: string;
  /** What only is let in; of `block` and `unblock` what is kept out. */
  readonly source?: string | undefined;
  /** Name or address of one of ours. */
  readonly interface?: string | undefined;
}

interface Backend {
  owner: unknown;
  /** The loop of a socket that has one of its own. */
  readonly loop?: SocketLoop;
}

export interface StreamBackend extends Backend {
  readonly local: Endpoint | null;
  readonly remote: Endpoint | null;
  readonly error: ErrorCode | null;
  readonly connection: { readonly isReady: boolean } | null;
  state(): TcpState;
  send(data: Uint8Array, from?: number): number;
  recv(target: Uint8Array): number;
  recvQueue(): number;
  mayRecv(): boolean;
  /** Somebody waits for bytes; true: there is something after all. */
  wantRecv?(): boolean;
  close(): void;
  release(): void;
  /** The same, where the stack is behind a channel: resolves when everything is acknowledged, or after `ms`. */
  releaseLingering?(ms: number): Promise<void>;
  abort(): void;
  isDrained(): boolean;
  /** Over a channel a promise. */
  info(): TcpInfo | null | Promise<TcpInfo | null>;
  infoBlocking?(options?: BlockingOptions): TcpInfo | null;
  trace(look: Trace | null): void;
  /** Records that there was no room for between the threads. */
  readonly tracesLost?: number;
}

export interface ListenerBackend extends Backend {
  readonly local: Endpoint | null;
  accept(): StreamBackend | null;
  close(): void;
}

/** A send that is not done when the call returns gives a promise; false: no room now. */
export type Sent = boolean | Promise<boolean>;

export interface UdpBackend extends Backend {
  readonly local: IpAddress;
  readonly port: number;
  pathMtuDiscovery: PathMtuDiscovery;
  /** Whether datagrams to broadcast addresses may be sent. */
  broadcast: boolean;
  ttl: number;
  multicastTtl: number;
  multicastLoopback: boolean;
  readonly pathMtu: number | null;
  /** @param from - the address of ours to send from, null: as bound, or by the routes */
  send(data: Uint8Array, to: Endpoint | null, from: IpAddress | null): Sent;
  /** Only where a thread may wait. */
  sendBlocking?(data: Uint8Array, to: Endpoint | null, from: IpAddress | null, options?: BlockingOptions): void;
  /** Where the stack is behind a channel. */
  changeMembership?(change: MembershipChange): Promise<void>;
  changeMembershipBlocking?(change: MembershipChange, options?: BlockingOptions): void;
  /** The same: an interface by its name or address, '': the routes decide. */
  setMulticastInterface?(name: string): Promise<void>;
  peekLength(): number;
  recv(target: Uint8Array, source: Source): number;
  close(): void;
}

export interface RawBackend extends Backend {
  readonly family: 4 | 6;
  readonly protocol: number;
  send(data: Uint8Array, to?: IpAddress | null): Sent;
  sendBlocking?(data: Uint8Array, to: IpAddress | null | undefined, options?: BlockingOptions): void;
  peekLength(): number;
  recv(target: Uint8Array, source: Source): number;
  close(): void;
}
