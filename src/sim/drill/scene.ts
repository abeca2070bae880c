/** What a script is played against: usually a stack in virtual time (stage.ts). @module */
import type { Posix } from '../../posix/index.ts';
import type { TcpInfo } from '../../tcp/info.ts';
import type { IpAddress } from '../../wire/address.ts';
import type { Sent } from './device.ts';
import type { SettingsByName } from './profiles.ts';

type Waiting =
  | 'accept'
  | 'connect'
  | 'read'
  | 'readv'
  | 'recv'
  | 'recvfrom'
  | 'recvmsg'
  | 'write'
  | 'writev'
  | 'send'
  | 'sendto'
  | 'sendmsg'
  | 'close'
  | 'poll'
  | 'epollWait';
type Prompt =
  | 'socket'
  | 'epollCreate'
  | 'epollCtl'
  | 'bind'
  | 'listen'
  | 'shutdown'
  | 'fcntl'
  | 'ioctl'
  | 'setsockopt'
  | 'getsockopt'
  | 'tcpSocket';

/** The system calls that scripts make. */
export interface ScriptCalls extends Pick<Posix, Prompt> {
  readonly blocking: Pick<Posix['blocking'], Waiting>;
}

export interface Scene {
  /** The address under test, and that of whoever injects packets. */
  readonly local: IpAddress;
  readonly remote: IpAddress;
  readonly posix: ScriptCalls;
  /** Since the script began. */
  readonly nowUs: number;
  /** Packets sent to the remote address that nobody has looked at. */
  readonly sent: Sent[];
  inject(bytes: Uint8Array): void;
  /** Lets everything happen that can happen now. */
  settle(): Promise<void>;
  /** Goes on in time up to `us`, or until `until` says so. Returns whether it did. */
  advance(us: number, until?: () => boolean): Promise<boolean>;
  /** Takes over settings of a command. */
  apply(settings: SettingsByName): void;
  /** TCP_INFO of a socket. Before there is a connection, and after, its state is all that is known. */
  info(fd: number): Partial<TcpInfo>;
  /** States of all connections, by the RFC's names. */
  states(): string[];
  /** Runs a command of the script and says what failed; null: there is no shell, and the runner knows what it means. */
  readonly shell: ((command: string) => string | null) | null;
  /** @returns bytes of memory that did not come back */
  close(): number;
}
