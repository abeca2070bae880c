/** Variables of Linux's and FreeBSD's sysctl that stand for settings of this stack. @module */
import type { SettingsByName } from './profiles.ts';

/** What a variable sets, from its value; null: the value means nothing. */
type Variable = (value: string) => SettingsByName | null;

/** How long a connection is idle before keep-alive probes it, once a socket asks for them: no setting, but an option. */
export const KEEP_IDLE = 'keepAliveIdleMs';

const MS_PER_S = 1000;
const US_PER_MS = 1000;
const NS_PER_MS = 1e6;
/** RFC 7323 §2.3. */
const SHIFT_MAX = 14;

const whole = (name: string, factor = 1): Variable => {
  return (value) => (/^\d+$/.test(value) ? { [name]: Number(value) * factor } : null);
};
const flag = (...names: string[]): Variable => {
  return (value) => (/^\d+$/.test(value) ? Object.fromEntries(names.map((name) => [name, Number(value) !== 0])) : null);
};
const congestion: Variable = (value) => ({ congestion: value === 'reno' ? 'newreno' : value });

/** The least shift that shows a window of `bytes`. */
function shiftFor(bytes: number): number {
  let shift = 0;
  while (shift < SHIFT_MAX && bytes / 2 ** shift > 0xffff) shift++;
  return shift;
}

/** `min default max`. */
const buffer = (name: string, withShift: boolean): Variable => {
  return (value) => {
    const [, usual, most] = value.split(/\s+/).map(Number);
    if (usual === undefined || most === undefined || Number.isNaN(usual + most)) return null;
    const windowShift = shiftFor(most);
    // Half of the buffer is for the segments' own overhead.
    const first = withShift ? Math.floor(usual / 2) : usual;
    const sizes = { [`${name}Bytes`]: first, [`${name}MaxBytes`]: most };
    return withShift ? { ...sizes, windowShift } : sizes;
  };
};

/** The setting for each number a variable may have. */
const choice = (name: string, ...values: readonly string[]): Variable => {
  return (value) => {
    const chosen = values[Number(value)];
    return chosen === undefined ? null : { [name]: chosen };
  };
};

/** Bits of tcp_fastopen: who listens gives and takes cookies; neither side asks for them; every listener does. */
const FAST_OPEN_SERVER = 2;
const FAST_OPEN_NO_COOKIES = 0x4 | 0x200;
const FAST_OPEN_LISTENERS = 0x400;
/** Linux's somaxconn. */
const LISTENERS_BACKLOG = 4096;

const fastOpen: Variable = (value) => {
  const bits = Number(value);
  if (!Number.isInteger(bits)) return null;
  return {
    fastOpenCookie: (bits & FAST_OPEN_NO_COOKIES) === 0,
    fastOpenBacklog: (bits & FAST_OPEN_LISTENERS) !== 0 ? LISTENERS_BACKLOG : 0,
    fastOpenBacklogMax: (bits & FAST_OPEN_SERVER) !== 0 ? LISTENERS_BACKLOG : 0,
  };
};

/** Four words, each with its lowest byte first. */
const fastOpenKey: Variable = (value) => {
  const key = value
    .split(',')
    .map((text) => text.split('-').map((word) => (word.padStart(8, '0').match(/../g) ?? []).reverse().join('')));
  return { fastOpenKey: key.map((words) => words.join('')).join(',') };
};

const SYN_COOKIES = choice('synCookies', 'never', 'auto', 'always');

const LINUX: Readonly<Record<string, Variable>> = {
  tcp_timestamps: flag('timestamps'),
  tcp_window_scaling: flag('windowScaling'),
  tcp_sack: flag('sack'),
  tcp_dsack: flag('dsack'),
  tcp_rmem: buffer('receiveBuffer', true),
  tcp_wmem: buffer('sendBuffer', false),
  tcp_syn_retries: whole('synRetriesMax'),
  tcp_syn_linear_timeouts: whole('synLinearTimeouts'),
  tcp_synack_retries: whole('synAckRetriesMax'),
  tcp_retries2: whole('retriesMax'),
  tcp_keepalive_time: whole(KEEP_IDLE, MS_PER_S),
  tcp_keepalive_intvl: whole('keepAliveIntervalMs', MS_PER_S),
  tcp_keepalive_probes: whole('keepAliveProbesMax'),
  tcp_fin_timeout: whole('finWait2Ms', MS_PER_S),
  tcp_congestion_control: congestion,
  tcp_slow_start_after_idle: flag('slowStartAfterIdle'),
  tcp_frto: flag('frto'),
  tcp_early_retrans: flag('tailLossProbe'),
  tcp_reordering: whole('reordering'),
  tcp_max_reordering: whole('reorderingMax'),
  tcp_recovery: flag('rack'),
  tcp_rto_min_us: (value) => (/^\d+$/.test(value) ? { rtoMinMs: Number(value) / US_PER_MS } : null),
  tcp_rto_max_ms: whole('rtoMaxMs'),
  tcp_ecn: choice('ecn', 'off', 'on', 'passive', 'accurate', 'accurate', 'accurate'),
  tcp_ecn_option: (value) => (/^[0-3]$/.test(value) ? { ecnOption: value !== '0' } : null),
  tcp_ecn_fallback: flag('ecnFallback'),
  tcp_mtu_probing: whole('mtuProbing'),
  tcp_base_mss: whole('mtuProbeBaseMss'),
  tcp_comp_sack_delay_ns: (value) => (/^\d+$/.test(value) ? { sackDelayMs: Number(value) / NS_PER_MS } : null),
  tcp_comp_sack_nr: (value) => (value === '0' ? { sackDelayMs: 0 } : {}),
  tcp_moderate_rcvbuf: flag('receiveAutotune'),
  tcp_autocorking: flag('autocorking'),
  tcp_notsent_lowat: (value) =>
    /^\d+$/.test(value) ? { notSentLowBytes: Number(value) >= 2 ** 31 ? 0 : Number(value) } : null,
  tcp_thin_linear_timeouts: flag('thinLinearTimeouts'),
  tcp_fastopen: fastOpen,
  tcp_fastopen_key: fastOpenKey,
  tcp_fastopen_blackhole_timeout_sec: () => ({}),
  tcp_challenge_ack_limit: whole('challengeAcksMax'),
  tcp_invalid_ratelimit: whole('invalidRateLimitMs'),
  tcp_shrink_window: flag('shrinkWindow'),
  tcp_syncookies: SYN_COOKIES,
  tcp_rfc1337: flag('rfc1337'),
  tcp_abort_on_overflow: flag('abortOnOverflow'),
  tcp_no_metrics_save: () => ({}),
};

const FREEBSD: Readonly<Record<string, Variable>> = {
  rfc1323: flag('timestamps', 'windowScaling'),
  'sack.enable': flag('sack'),
  'ecn.enable': choice('ecn', 'off', 'on', 'passive', 'accurate', 'accurate'),
  'ecn.maxretries': whole('ecnRetriesMax'),
  recvspace: whole('receiveBufferBytes'),
  sendspace: whole('sendBufferBytes'),
  'fastopen.client_enable': () => ({}),
  'fastopen.server_enable': () => ({}),
  rexmit_initial: whole('rtoInitialMs'),
  rexmit_min: whole('rtoMinMs'),
  rexmit_drop_options: flag('synDropOptions'),
  keepinit: whole('connectTimeoutMs'),
  keepidle: whole(KEEP_IDLE),
  keepintvl: whole('keepAliveIntervalMs'),
  keepcnt: whole('keepAliveProbesMax'),
  delacktime: whole('delayedAckMs'),
  delayed_ack: (value) => (value === '0' ? { delayedAckMs: 0 } : {}),
  insecure_rst: flag('insecureReset'),
  insecure_syn: flag('insecureSyn'),
  drop_synfin: flag('dropSynFin'),
  icmp_may_rst: flag('icmpMayReset'),
  syncookies: SYN_COOKIES,
  syncookies_only: flag('synCookiesOnly'),
  blackhole: flag('blackhole'),
  tolerate_missing_ts: flag('tolerateMissingTimestamps'),
  path_mtu_discovery: flag('pathMtuDiscovery'),
  mssdflt: whole('mssDefault'),
  msl: (value) => (/^\d+$/.test(value) ? { timeWaitMs: 2 * Number(value) } : null),
  'cc.algorithm': congestion,
};

const VALUES: Readonly<Record<string, Variable>> = {
  'kern.ipc.maxsockbuf': (value) =>
    /^\d+$/.test(value) ? { receiveBufferMaxBytes: Number(value), windowShift: shiftFor(Number(value)) } : null,
};

/** What setting a variable means for the stack; null: nothing is known of it. */
export function settingsOf(variable: string, value: string): SettingsByName | null {
  const name = variable.replaceAll('/', '.');
  const linux = /^net\.ipv4\.(tcp_\w+)$/.exec(name)?.[1];
  const freebsd = /^net\.inet\.tcp\.([\w.]+)$/.exec(name)?.[1];
  const [table, key] =
    linux !== undefined ? [LINUX, linux] : freebsd !== undefined ? [FREEBSD, freebsd] : ([VALUES, name] as const);
  return Object.hasOwn(table, key) ? table[key]!(value) : null;
}
