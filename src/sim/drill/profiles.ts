/**
 * Which system a script was written against: the settings that make this stack show the same numbers. A profile changes
 * what systems differ in (the order of options, buffers, timers), never what the RFCs ask. @module
 */
import { mergeSettings, TCP_DEFAULTS, type TcpSettings } from '../../tcp/settings.ts';

export const PROFILE_NAMES = ['ethertype', 'linux', 'freebsd'] as const;
export type ProfileName = (typeof PROFILE_NAMES)[number];

/** Settings by name. Those that this stack does not have are left out by {@link knownSettings}. */
export type SettingsByName = Readonly<Record<string, number | boolean | string>>;

export interface Profile {
  readonly tcp: SettingsByName;
}

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  ethertype: { tcp: {} },
  /** Linux 6.18 with the sysctls that its own suite begins with: tcp_rmem 4096 540000 15728640 and so a shift of 8. */
  linux: {
    tcp: {
      // Half of a buffer is for the segments' own overhead (TCP_DEFAULT_SCALING_RATIO).
      receiveBufferBytes: 270_000,
      receiveBufferMaxBytes: 1 << 23,
      sendBufferBytes: 1 << 17,
      sendBufferMaxBytes: 1 << 22,
      windowShift: 8,
      linux: true,
      synOptions: 'linux',
      rtoMinMs: 200,
      mtuProbing: 0,
      delayedAckMs: 40,
      sackDelayMs: 1,
      synRetriesMax: 6,
      synLinearTimeouts: 4,
      slowStartAfterIdle: false,
      congestion: 'cubic',
    },
  },
  /** FreeBSD: a shift from kern.ipc.maxsockbuf (2 MiB), options padded at their end, 8 silent probes. */
  freebsd: {
    tcp: {
      receiveBufferBytes: 1 << 16,
      receiveBufferMaxBytes: 1 << 21,
      sendBufferBytes: 1 << 15,
      sendBufferMaxBytes: 1 << 21,
      bsd: true,
      dropSynFin: false,
      synRetriesMax: 10,
      rtoMaxMs: 64_000,
      connectTimeoutMs: 75_000,
      windowShift: 6,
      synOptions: 'freebsd',
      rtoMinMs: 230,
      mtuProbing: 0,
      delayedAckMs: 40,
      keepAliveProbesMax: 8,
      congestion: 'cubic',
    },
  },
};

/** Whether the stack has such a setting, and takes such a value. */
function isKnown(name: string, value: unknown): boolean {
  try {
    mergeSettings(TCP_DEFAULTS, { [name]: value });
    return true;
  } catch {
    return false;
  }
}

/** Those of `settings` that the stack has. */
export function knownSettings(settings: SettingsByName): Partial<TcpSettings> {
  return Object.fromEntries(Object.entries(settings).filter(([name, value]) => isKnown(name, value)));
}

/** Those that it does not have. */
export const unknownSettings = (settings: SettingsByName): string[] =>
  Object.entries(settings)
    .filter(([name, value]) => !isKnown(name, value))
    .map(([name]) => name);
