/** What a netstack is made with. @module */
import type { ForwardOptions } from '../iface/forward.ts';
import type { Ipv6Options } from '../iface/nd.ts';
import { Memory } from '../memory/memory.ts';
import type { Medium } from '../phy/device.ts';
import type { AutoconfigOptions } from '../sockets/autoconfig.ts';
import type { HostMdnsOptions } from '../sockets/mdns.ts';
import type { NamesOptions } from '../sockets/names.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import { Control, SLOTS_MAX } from './control.ts';
import type { Netstack } from './netstack.ts';
import { Slots } from './slots.ts';

const CAPACITY_DEFAULT = 32;
const SLOTS_DEFAULT = 16;
const SLOT_BYTES_DEFAULT = 1 << 18;
const SLOT_BYTES_MIN = 1 << 12;
const STREAM_BYTES_DEFAULT = 1 << 21;
const STREAM_BYTES_MIN = 1 << 12;

export interface NetstackConfig extends NamesOptions {
  /**
   * Addresses with prefixes of the first interface: `10.0.0.1/24`; or what finds one: `slaac` by what IPv6 routers tell, and
   * on Ethernet `dhcp` and `link-local`. The command `configured` waits for them.
   */
  readonly addresses?: readonly string[];
  /** What the DHCP client is told: a lease of before, a name, how it probes. */
  readonly dhcp?: NonNullable<AutoconfigOptions['dhcp']>;
  /** How IPv6 behaves: temporary addresses, a secret for stable ones, probes for duplicates. */
  readonly ipv6?: Omit<Ipv6Options, 'onDns' | 'onManaged' | 'autoconfigure'>;
  /** Whether the first interface takes what is sent to any address, so that flows can be intercepted. Default false. */
  readonly anyIp?: boolean;
  /** Answers and asks on the link by mDNS (RFC 6762), so that names under `.local` are found; default false. */
  readonly mdns?: boolean | HostMdnsOptions;
  /** Routers for what no network of ours holds, at most one a family. */
  readonly gateway?: string | readonly string[];
  /** The largest IP packet of the first interface. Default 1500; a device that takes less counts. */
  readonly mtu?: number;
  /** Default `ip`. */
  readonly medium?: Medium;
  /** The Ethernet address; random by default. */
  readonly mac?: string;
  readonly name?: string;
  /** Bytes of memory the stack may use, in all; or a memory of one's own. Default 64 MiB. */
  readonly memory?: number | Memory;
  /** Whether other threads may share the memory: they may block then. Default: where the engine allows it. */
  readonly shared?: boolean;
  /** Commands that may wait to be processed, for each channel; beyond, callers wait. Default 32. */
  readonly channelCapacity?: number;
  /** Threads that may have sockets at once over shared memory, 1 to 32. Default 16. */
  readonly clients?: number;
  /** Bytes of either ring of such a thread, a power of two from 4 KiB; a command has at most half. Default 256 KiB. */
  readonly channelBytes?: number;
  /**
   * The most bytes that both rings of a stream take, a power of two from 4 KiB to 16 MiB; never more than a 32nd of the
   * memory that is free. Default 2 MiB.
   */
  readonly streamBytes?: number;
  /** A netstack of the same thread whose doorbell this one shares, so that one blocking driver can serve both. */
  readonly beside?: Netstack;
  readonly forward?: boolean | ForwardOptions;
  /** What TCP sockets start with. */
  readonly tcp?: Partial<TcpSettings>;
  /** Uniform uint32; by default the engine's cryptographic source. */
  readonly random?: () => number;
}

/** Whether this engine hands shared memory between threads. Pages must be cross-origin isolated for it. */
const canShare = (): boolean =>
  typeof SharedArrayBuffer !== 'undefined' &&
  (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated !== false;

function checkPower(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most && (value & (value - 1)) === 0) return value;
  throw new RangeError(`${name}: expected a power of two from ${least} to ${most}, got ${value}`);
}

function checkCount(name: string, value: number, most: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new RangeError(`${name}: expected 1 to ${most}, got ${value}`);
}

/** @throws RangeError */
export const capacityOf = ({ channelCapacity = CAPACITY_DEFAULT }: NetstackConfig): number =>
  checkCount('channelCapacity', channelCapacity, 1 << 20);

/** The memory of the stack. @throws RangeError */
export function memoryOf(config: NetstackConfig): Memory {
  const { memory, shared = canShare() } = config;
  if (memory instanceof Memory) return memory;
  return new Memory(memory === undefined ? { shared } : { bytes: memory, shared });
}

/** Where the memory is shared, what its clients are served with. @throws RangeError */
export function makeSlots(config: NetstackConfig, memory: Memory, capacity: number): Slots {
  const slots = checkCount('clients', config.clients ?? SLOTS_DEFAULT, SLOTS_MAX);
  const bytes = checkPower('channelBytes', config.channelBytes ?? SLOT_BYTES_DEFAULT, SLOT_BYTES_MIN, 1 << 26);
  const stream = checkPower('streamBytes', config.streamBytes ?? STREAM_BYTES_DEFAULT, STREAM_BYTES_MIN, 1 << 24);
  return new Slots(Control.make(slots, bytes, capacity, config.beside?.control ?? undefined), memory, stream);
}
