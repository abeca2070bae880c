/** What every kind of socket behind a descriptor can do, and what all of them do alike. @module */
import { type ErrorCode, NetError } from '../errors.ts';
import type { SockAddr } from './address.ts';
import { LINUX as L } from './constants.ts';
import type { Reading, Writing } from './message.ts';
import type { Membership } from './multicast-options.ts';
import { type Option, type OptionInput, type OptionStore, type OptionValue, parseOption } from './options.ts';
import type { StreamSocket } from './stream.ts';
import type { Waitable } from './waits.ts';

export interface PosixSocket extends Waitable {
  readonly domain: number;
  readonly type: number;
  readonly protocol: number;
  readonly options: OptionStore;
  readonly isListening: boolean;
  bind(address: SockAddr): void;
  listen(backlog: number): void;
  /** The oldest connection that waits, or null. */
  accept(): StreamSocket | null;
  /** Begins to connect, or goes on; false: it is under way. */
  connect(address: SockAddr): boolean;
  /** Whether a connect is under way, or has told that it is done. */
  readonly isConnecting: boolean;
  readonly isConnected: boolean;
  /** Moves what there is; whether the call is done, or has to wait for more. */
  receive(reading: Reading): boolean;
  /** Takes what there is room for; whether the call is done. */
  send(writing: Writing): boolean;
  /** Whether a send that waits waits for a device, and not for an event of the socket. */
  readonly sendsAtOnce: boolean;
  /** @param bits - 1: receiving, 2: sending, 3: both */
  shutdown(bits: number): void;
  /** Lets go of the connection; what is queued is still sent. */
  close(): void;
  /** SO_LINGER: begins to close; whether the call has to wait. @throws nothing */
  beginClose(): boolean;
  /** Whether bytes or the FIN are still not acknowledged after {@link beginClose}. */
  readonly isClosing: boolean;
  /** What poll() says of it: all bits. */
  events(): number;
  /** poll() waits for POLLOUT: the socket is to report when there is room. */
  wantRoom(): void;
  name(): SockAddr;
  peer(): SockAddr;
  /** What SO_ERROR gives, which counts as told from now on. */
  takeError(): ErrorCode | null;
  /** An ioctl of the kind of socket. */
  queued(request: number): number;
  /** Joins or leaves a group, as the option says; only sockets of datagrams have it. */
  changeMembership?(option: Option, input: Membership | Uint8Array): void;
  /** Carries `option` out, which has been stored. */
  applied(option: Option, value: OptionValue): void;
  /** What getsockopt gives of an option that is not just stored, or undefined. */
  readOption(option: Option): OptionValue | undefined;
  /** Called before a value is stored: what the socket makes of it. @throws NetError */
  accepts(option: Option, value: OptionValue): void;
}

/** The two halves of a socket, as `sk_shutdown` has them. */
export const RECEIVING = 1;
export const SENDING = 2;
export const BOTH = RECEIVING | SENDING;

/** @throws NetError ENOPROTOOPT, EINVAL, EDOM, EPERM, and what the socket itself refuses */
export function setOption(socket: PosixSocket, level: number, name: number, input: OptionInput): void {
  const option = socket.options.find('setsockopt', level, name, 'ENOPROTOOPT');
  if (option.kind === 'membership') {
    if (typeof input !== 'object' || !(input instanceof Uint8Array || 'group' in input)) {
      throw new NetError('EINVAL', 'setsockopt');
    }
    if (socket.changeMembership === undefined) throw new NetError('ENOPROTOOPT', 'setsockopt');
    socket.changeMembership(option, input);
    return;
  }
  let value = parseOption(option, input);
  // The ECN bits of a stream are its own.
  if (option.setting === 'tos' && socket.type === L.SOCK_STREAM && typeof value === 'number') value &= ~3;
  socket.accepts(option, value);
  socket.options.set(option, value);
  socket.applied(option, value);
}

/** @throws NetError ENOPROTOOPT, EOPNOTSUPP (such a level), ENOTCONN (the MTU of no path) */
export function getOption(socket: PosixSocket, level: number, name: number): OptionValue {
  const option = socket.options.find('getsockopt', level, name, 'EOPNOTSUPP');
  if (option.level === L.SOL_SOCKET) {
    const value = commonOption(socket, option.name);
    if (value !== undefined) return value;
  }
  const value = socket.readOption(option) ?? socket.options.get(option);
  if (value !== undefined) return value;
  if (option.kind === 'time') return { sec: 0, usec: 0 };
  if (option.kind === 'text') return '';
  return option.initial;
}

function commonOption(socket: PosixSocket, name: number): OptionValue | undefined {
  switch (name) {
    case L.SO_TYPE:
      return socket.type;
    case L.SO_DOMAIN:
      return socket.domain;
    case L.SO_PROTOCOL:
      return socket.protocol;
    case L.SO_ACCEPTCONN:
      return socket.isListening ? 1 : 0;
    case L.SO_LINGER:
      return socket.options.linger;
    case L.SO_ERROR: {
      const code = socket.takeError();
      return code === null ? 0 : -new NetError(code, 'getsockopt').errno;
    }
    default:
      return undefined;
  }
}
