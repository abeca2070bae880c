/** Where FreeBSD's socket calls differ from Linux's, for scripts written against it. @module */
import { LINUX, type OptionInput, type OptionValue } from '../../posix/index.ts';
import type { ProfileName } from './profiles.ts';
import type { ScriptCalls } from './scene.ts';

/** FreeBSD's options that Linux has no number for; outside the range of options. */
export const FREEBSD_NAMES: Readonly<Record<string, number>> = { TCP_KEEPINIT: 0x2100 };

const MS_PER_S = 1000;
/** Linux doubles what it is asked for, and gives that back. */
const LINUX_BUFFER_FACTOR = 2;
/** net.inet.tcp.keepinit. */
const KEEPINIT_DEFAULT_MS = 75_000;

/**
 * What FreeBSD says instead of Linux's errors, in Linux's numbers: unreachable protocols (ENOPROTOOPT) and prohibitions
 * (EACCES, ENETUNREACH) are ECONNREFUSED; a reset behind the peer's end (EPIPE) is ECONNRESET.
 */
const ERRORS: Readonly<Record<number, number>> = { 13: 111, 92: 111, 101: 111, 32: 104 };

/** getsockopt as the profile's system has it. */
export function getOption(
  posix: ScriptCalls,
  profile: ProfileName,
  fd: number,
  level: number,
  name: number,
): OptionValue {
  if (profile !== 'freebsd') return posix.getsockopt(fd, level, name);
  if (level === LINUX.SOL_TCP && name === FREEBSD_NAMES.TCP_KEEPINIT) {
    return (posix.tcpSocket(fd)?.settings.connectTimeoutMs || KEEPINIT_DEFAULT_MS) / MS_PER_S;
  }
  const value = posix.getsockopt(fd, level, name);
  if (level === LINUX.SOL_SOCKET && name === LINUX.SO_ERROR) return ERRORS[value as number] ?? value;
  const isBuffer = level === LINUX.SOL_SOCKET && (name === LINUX.SO_RCVBUF || name === LINUX.SO_SNDBUF);
  if (!isBuffer) return value;
  const connection = posix.tcpSocket(fd)?.connection ?? null;
  // A connection has its buffer rounded up to whole segments.
  if (name === LINUX.SO_RCVBUF && connection !== null) return connection.rxBytes;
  return (value as number) / LINUX_BUFFER_FACTOR;
}

/** setsockopt as the profile's system has it. */
export function setOption(
  posix: ScriptCalls,
  profile: ProfileName,
  fd: number,
  level: number,
  name: number,
  value: OptionInput,
): void {
  if (profile === 'freebsd' && level === LINUX.SOL_TCP && name === FREEBSD_NAMES.TCP_KEEPINIT) {
    posix.tcpSocket(fd)?.configure({ connectTimeoutMs: Number(value) * MS_PER_S });
    return;
  }
  // Scripts write bytes as a string.
  const isBytes = level === LINUX.SOL_TCP && name === LINUX.TCP_FASTOPEN_KEY && typeof value === 'string';
  posix.setsockopt(fd, level, name, isBytes ? new TextEncoder().encode(value) : value);
}
