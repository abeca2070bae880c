/** What the options of a stream mean for its connection. @module */
import { NetError } from '../errors.ts';
import type { TcpInfo } from '../tcp/info.ts';
import { setQuickAck } from '../tcp/quick-ack.ts';
import { TCP_DEFAULTS, type TcpSettings } from '../tcp/settings.ts';
import type { TcpSocket } from '../tcp/socket.ts';
import { isSynchronized } from '../tcp/state.ts';
import { LINUX as L } from './constants.ts';
import type { Option, OptionStore, OptionValue } from './options.ts';

/** Linux's names of the algorithms that have another one here. */
const CONGESTION_NAMES: Readonly<Record<string, string>> = { reno: 'newreno' };
const DEFAULT_KEEP_IDLE_MS = 7_200_000;

const isTcp = (option: Option, name: number): boolean => option.level === L.SOL_TCP && option.name === name;

/** @throws NetError ENOENT: no such algorithm; EINVAL: a value that the core refuses */
export function applyOption(core: TcpSocket, options: OptionStore, option: Option): void {
  const value = options.get(option);
  const isKeepAlive = option.level === L.SOL_SOCKET && option.name === L.SO_KEEPALIVE;
  const { connection } = core;
  if (isTcp(option, L.TCP_QUICKACK)) {
    if (connection !== null && connection.acks !== null) setQuickAck(connection, value as number);
  } else if (isTcp(option, L.TCP_FASTOPEN_NO_COOKIE)) {
    configure(core, 'fastOpenCookie', value === 0 ? 1 : 0);
  } else if (isTcp(option, L.TCP_WINDOW_CLAMP) && core.settings.linux) {
    applyClamp(core, value as number);
  } else if (isTcp(option, L.TCP_FASTOPEN_KEY)) {
    core.configure({ fastOpenKey: value as string });
  } else if (isKeepAlive || isTcp(option, L.TCP_KEEPIDLE)) applyKeepAlive(core, options);
  else if (isTcp(option, L.TCP_CONGESTION)) applyCongestion(core, value as string);
  else if (option.name === L.SO_RCVBUF && option.level === L.SOL_SOCKET && core.settings.linux) {
    core.configure(receiveBufferAsLinux(value as number, core.settings));
  } else if (option.setting !== null && typeof value === 'number') {
    configure(
      core,
      option.setting,
      value === 0 || (value === option.initial && UNLIMITED_AT_ZERO.includes(option.setting))
        ? 0
        : Math.max(1, Math.round(value * option.unit)),
    );
  }
}

/** TCP_WINDOW_CLAMP: no larger window, and no larger scale than it needs. */
function applyClamp(core: TcpSocket, bytes: number): void {
  if (bytes === 0) return;
  const least = Math.min(core.settings.receiveBufferBytes, bytes);
  core.configure({ ...receiveBufferAsLinux(2 * bytes, core.settings), receiveBufferBytes: least });
}

/** SO_RCVBUF fixes the scale too: what half of the buffer needs, Linux's ilog2(space) - 15. */
function receiveBufferAsLinux(value: number, { windowScaling }: TcpSettings): Partial<TcpSettings> {
  const bytes = Math.floor(value / 2);
  const shift = Math.min(Math.max(31 - Math.clz32(bytes) - 15, 0), 14);
  return { receiveBufferBytes: bytes, windowShift: windowScaling ? shift : 0 };
}

/** Sets what the core has under the name `setting`; what it does not have is only remembered by the option itself. */
export function configure(core: TcpSocket, setting: string, value: number): void {
  if (!Object.hasOwn(TCP_DEFAULTS, setting)) return;
  const isFlag = typeof TCP_DEFAULTS[setting as keyof TcpSettings] === 'boolean';
  try {
    core.configure({ [setting]: isFlag ? value !== 0 : value });
  } catch (error) {
    throw error instanceof RangeError ? new NetError('EINVAL', 'setsockopt', { detail: error.message }) : error;
  }
}

/** The core has one number for both: 0 is off. */
function applyKeepAlive(core: TcpSocket, options: OptionStore): void {
  const isOn = options.isOn(L.SOL_SOCKET, L.SO_KEEPALIVE);
  configure(core, 'keepAliveMs', isOn ? options.number(L.SOL_TCP, L.TCP_KEEPIDLE) * 1000 : 0);
}

function applyCongestion(core: TcpSocket, name: string): void {
  try {
    core.configure({ congestion: (CONGESTION_NAMES[name] ?? name) as TcpSettings['congestion'] });
  } catch {
    throw new NetError('ENOENT', 'setsockopt', { detail: `no congestion control is called ${name}` });
  }
}

/** What getsockopt gives of `option` where the connection or its settings say it; undefined: what was stored. */
export function readTcpOption(core: TcpSocket, options: OptionStore, option: Option): OptionValue | undefined {
  const { connection, settings } = core;
  if (option.level === L.SOL_TCP) {
    if (option.name === L.TCP_INFO) return infoOf(core);
    if (option.name === L.TCP_MAXSEG && connection !== null && isSynchronized(connection.state)) return connection.mss;
    if (option.name === L.TCP_QUICKACK && connection !== null && connection.acks !== null) {
      return connection.acks.isPingPong ? 0 : 1;
    }
    if (option.name === L.TCP_FASTOPEN_KEY) return connection === null ? bytesOfKeys(settings.fastOpenKey) : [];
    if (option.name === L.TCP_CONGESTION) return congestionOf(settings);
    if (option.name === L.TCP_TIMESTAMP) {
      const { nowMs } = connection?.context ?? { nowMs: 0 };
      return (nowMs + (connection?.tsOffset ?? 0)) >>> 0;
    }
  }
  // Buffers grow, and are rounded: a connection says what it has.
  if (option.level === L.SOL_SOCKET && connection !== null && isSynchronized(connection.state)) {
    if (option.name === L.SO_RCVBUF) return 2 * (settings.linux ? settings.receiveBufferBytes : connection.rxBytes);
    if (option.name === L.SO_SNDBUF) return 2 * connection.txBytes;
  }
  const stored = options.get(option);
  if (stored !== undefined) return stored;
  if (option.level === L.SOL_SOCKET && option.name === L.SO_KEEPALIVE) return settings.keepAliveMs > 0 ? 1 : 0;
  if (isTcp(option, L.TCP_KEEPIDLE)) return (settings.keepAliveMs || DEFAULT_KEEP_IDLE_MS) / 1000;
  if (isMtu(option)) {
    if (connection === null) throw new NetError('ENOTCONN', 'getsockopt');
    return connection.path.mtu;
  }
  return settingOf(settings, option);
}

/** The bytes of hexadecimal keys; none where the stack draws its own. */
const bytesOfKeys = (keys: string): number[] =>
  (keys.match(/[0-9a-f]{2}/gi) ?? []).map((pair) => Number.parseInt(pair, 16));

export const isMtu = (option: Option): boolean =>
  (option.level === L.SOL_IP && option.name === L.IP_MTU) ||
  (option.level === L.SOL_IPV6 && option.name === L.IPV6_MTU);

/** Settings whose 0 says that there is no limit: the option then has its own way to say so. */
const UNLIMITED_AT_ZERO = ['mssMax', 'maxPacingRate'];

/** The value of the setting behind `option`, as the option counts it. */
function settingOf(settings: TcpSettings, option: Option): OptionValue | undefined {
  if (option.setting === null || !Object.hasOwn(settings, option.setting)) return undefined;
  const value = settings[option.setting as keyof TcpSettings] as unknown;
  if (value === 0 && UNLIMITED_AT_ZERO.includes(option.setting)) return undefined;
  if (typeof value === 'boolean') return value ? 1 : 0;
  return typeof value === 'number' ? Math.round(value / option.unit) : undefined;
}

function congestionOf(settings: TcpSettings): string {
  const { congestion } = settings;
  const name = typeof congestion === 'string' ? congestion : congestion.name;
  return Object.entries(CONGESTION_NAMES).find(([, ours]) => ours === name)?.[0] ?? name;
}

/** Linux's numbers of states. */
const TIME_WAIT = 6;
const CLOSE = 7;

/** TCP_INFO of a core that has it. */
function infoOf(core: TcpSocket): TcpInfo {
  const { info } = core as { info?: () => TcpInfo };
  if (info === undefined) throw new NetError('ENOPROTOOPT', 'getsockopt');
  const told = info.call(core);
  // On Linux a connection in TIME-WAIT has left its socket, which is closed.
  return core.settings.linux && told !== null && told.state === TIME_WAIT ? { ...told, state: CLOSE } : told;
}
