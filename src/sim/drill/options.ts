/** What option lines set: addresses, tolerances, how strictly segments are compared. @module */
import { IpAddress } from '../../wire/address.ts';
import type { OptionLine } from './ast.ts';
import { PROFILE_NAMES, type ProfileName } from './profiles.ts';
import { ScriptError } from './scanner.ts';

export interface DrillOptions {
  /** Whose script it is; null: it does not say. */
  profile: ProfileName | null;
  ipVersion: 'ipv4' | 'ipv4-mapped-ipv6' | 'ipv6';
  localIp: string | null;
  remoteIp: string | null;
  /** Bits of the local network's prefix. */
  prefixBits: number | null;
  /** What `...` stands for in bind() and connect(). */
  bindPort: number;
  connectPort: number;
  mtu: number;
  toleranceUs: number;
  /** Of the time since the event before. */
  tolerancePercent: number;
  /** Microseconds of one tick of TSval; 0: TSval is not compared. */
  tsTickUs: number;
  /** TSecr of injected packets goes out as written. */
  tsEcrScaled: boolean;
  strictSegments: boolean;
  /** Failures of these kinds are noted and the script goes on. */
  nonFatal: { packet: boolean; syscall: boolean };
}

const defaults = (): DrillOptions => ({
  profile: null,
  ipVersion: 'ipv4',
  localIp: null,
  remoteIp: null,
  prefixBits: null,
  bindPort: 8080,
  connectPort: 8080,
  mtu: 1500,
  toleranceUs: 4000,
  tolerancePercent: 12.5,
  tsTickUs: 0,
  tsEcrScaled: false,
  strictSegments: false,
  nonFatal: { packet: false, syscall: false },
});

/** Options of packetdrill that mean nothing here: there is no kernel, no device and no wire. */
const IGNORED =
  /^(?:wire_\w+|so_\w+|tun_dev|persistent_tun_dev|gateway_ip|is_anyip|init_scripts|verbose|dry_run|speed|mss|fuzz\w*|no_cleanup|debug|send_omit_free|timeout_usecs|code_command|code_format|code_sockopt|tcp_md5_secret|udp_encapsulation|define|features)$/;

const MTU_MAX = 65_535;
const PORT_MAX = 65_535;
const US_MAX = 3_600e6;

/** What an option does with its value; throws a string: what was expected. */
type Setter = (options: DrillOptions, value: string | null) => void;

const number = (value: string | null, what: string, max: number, pattern = /^\d+$/): number => {
  const parsed = value !== null && pattern.test(value) ? Number(value) : Number.NaN;
  if (parsed <= max) return parsed;
  throw new RangeError(`${what} up to ${max}`);
};

const flag = (value: string | null): boolean => {
  if (value === null || /^(?:1|true|yes|on)$/.test(value)) return true;
  if (/^(?:0|false|no|off)$/.test(value)) return false;
  throw new RangeError('0 or 1');
};

const address = (value: string | null): string => {
  try {
    return IpAddress.parse(value ?? '').toString();
  } catch {
    throw new RangeError('an IP address');
  }
};

const SETTERS: Readonly<Record<string, Setter>> = {
  profile: (o, value) => {
    o.profile = PROFILE_NAMES.find((name) => name === value) ?? null;
    if (o.profile === null) throw new RangeError(PROFILE_NAMES.join(', '));
  },
  ip_version: (o, value) => {
    if (value !== 'ipv4' && value !== 'ipv6' && value !== 'ipv4-mapped-ipv6') {
      throw new RangeError('ipv4, ipv6 or ipv4-mapped-ipv6');
    }
    o.ipVersion = value;
  },
  local_ip: (o, value) => {
    o.localIp = address(value);
  },
  remote_ip: (o, value) => {
    // A prefix may stand behind it, of the network that the kernel is to route.
    o.remoteIp = address(value?.split('/')[0] ?? null);
  },
  netmask_ip: (o, value) => {
    const { a, b, c, d } = IpAddress.parse(address(value));
    const ones = [a, b, c, d].map((w) => (w >>> 0).toString(2).replaceAll('0', '').length);
    o.prefixBits = IpAddress.parse(address(value)).isV4 ? ones[3]! : ones.reduce((x, y) => x + y, 0);
  },
  bind_port: (o, value) => {
    o.bindPort = number(value, 'a port', PORT_MAX);
  },
  connect_port: (o, value) => {
    o.connectPort = number(value, 'a port', PORT_MAX);
  },
  mtu: (o, value) => {
    o.mtu = number(value, 'an MTU', MTU_MAX);
  },
  tolerance_usecs: (o, value) => {
    o.toleranceUs = number(value, 'microseconds', US_MAX);
  },
  tolerance_percent: (o, value) => {
    o.tolerancePercent = number(value, 'a percentage', 100, /^\d+(?:\.\d+)?$/);
  },
  tcp_ts_tick_usecs: (o, value) => {
    o.tsTickUs = number(value, 'microseconds', US_MAX);
  },
  tcp_ts_ecr_scaled: (o, value) => {
    o.tsEcrScaled = flag(value);
  },
  strict_segments: (o, value) => {
    o.strictSegments = flag(value);
  },
  non_fatal: (o, value) => {
    for (const kind of (value ?? '').split(',')) {
      if (kind !== 'packet' && kind !== 'syscall') throw new RangeError('packet, syscall or both');
      o.nonFatal[kind] = true;
    }
  },
};

/** The options of a script over those it is run with, which come first. @throws ScriptError */
export function readDrillOptions(...layers: (readonly OptionLine[])[]): DrillOptions {
  const options = defaults();
  for (const { name, value, at } of layers.flat()) {
    const setter = Object.hasOwn(SETTERS, name) ? SETTERS[name]! : null;
    if (setter === null && !IGNORED.test(name)) throw new ScriptError(at, `expected a known option, got --${name}`);
    try {
      setter?.(options, value);
    } catch (error) {
      throw new ScriptError(at, `--${name}: expected ${(error as Error).message}, got ${JSON.stringify(value ?? '')}`);
    }
  }
  return options;
}

/** Options that mean something, by name; `profile` is said apart. */
export const SCRIPT_OPTIONS: readonly string[] = Object.keys(SETTERS).filter((name) => name !== 'profile');
