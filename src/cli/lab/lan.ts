/** The network of the lab: hosts on a learning Ethernet switch, in one memory, on one clock. @module */
import { createHost, type Host, type TcpSettings } from '../../index.ts';
import { Memory } from '../../memory/memory.ts';
import type { Device } from '../../phy/device.ts';
import { type Capture, PcapWriter } from '../../phy/pcap-writer.ts';
import { Switch } from '../../phy/switch.ts';
import type { Random, VirtualClock } from '../../sim/index.ts';

/** Memory that a LAN may use, all hosts together. */
const MEMORY_BYTES = 64 << 20;
/** Virtual time after which a run counts as stuck: 30 days, far beyond what any connection takes to give up. */
const VIRTUAL_MS_MAX = 30 * 86_400_000;

/** Who is on the LAN. */
export const HOSTS = [
  { name: 'alice', address: '10.0.0.1', mac: '02:00:00:00:00:01' },
  { name: 'bob', address: '10.0.0.2', mac: '02:00:00:00:00:02' },
  { name: 'carol', address: '10.0.0.3', mac: '02:00:00:00:00:03' },
  { name: 'server', address: '10.0.0.10', mac: '02:00:00:00:00:0a' },
] as const;

export type HostName = (typeof HOSTS)[number]['name'];

export const addressOf = (name: HostName): string => HOSTS.find((host) => host.name === name)!.address;

export interface LanOptions {
  /** Where its traffic is recorded; null: nowhere. */
  readonly capture: Capture | null;
  /** With it the hosts live in virtual time and draw from `random`; without, on the machine's clock. */
  readonly virtual?: { readonly clock: VirtualClock; readonly random: Random };
  readonly tcp?: Partial<TcpSettings>;
}

/** What a LAN leaves behind. */
export interface LanAccount {
  readonly peakBytes: number;
  /** In use after everything was closed: 0, or something was lost. */
  readonly usedBytes: number;
  /** Packets dropped by all hosts, by reason. */
  readonly drops: Record<string, number>;
}

export class Lan {
  readonly memory = new Memory({ bytes: MEMORY_BYTES });
  readonly switch = new Switch({ memory: this.memory });
  readonly #options: LanOptions;
  readonly #hosts: Host[] = [];

  constructor(options: LanOptions) {
    this.#options = options;
  }

  /**
   * Plugs a host in.
   * @param wire - its device: a port of the switch, or one that something is wrapped around
   */
  host(name: HostName, wire: Device = this.switch.port()): Host {
    const { capture, virtual, tcp = {} } = this.#options;
    const { address, mac } = HOSTS.find((host) => host.name === name)!;
    // What hosts send is recorded, not what they receive: so each frame stands once in the file.
    const device = capture === null ? wire : new PcapWriter(wire, capture, { mode: 'tx', name });
    const time = virtual === undefined ? {} : { clock: virtual.clock, random: () => virtual.random.next() };
    const host = createHost({ device, name, mac, addresses: [`${address}/24`], tcp, ...time });
    this.#hosts.push(host);
    return host;
  }

  /** Closes everything and counts what is left. */
  async close(): Promise<LanAccount> {
    await Promise.all(this.#hosts.map((host) => host.close()));
    this.switch.close();
    const drops: Record<string, number> = {};
    for (const host of this.#hosts) addCounts(drops, host.stats.drops);
    const { peakBytes, usedBytes } = this.memory;
    return { peakBytes, usedBytes, drops };
  }
}

/** Adds each of `counts` to what `total` has under its name. */
export function addCounts(total: Record<string, number>, counts: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(counts)) total[name] = (total[name] ?? 0) + count;
}

/**
 * Runs `work`, whose hosts live on `clock`, letting virtual time pass whenever nothing else can happen.
 * @throws Error if the work waits for what never comes
 */
export async function inVirtualTime<T>(clock: VirtualClock, work: Promise<T>): Promise<T> {
  let isDone = false;
  const mark = (): void => {
    isDone = true;
  };
  work.then(mark, mark);
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const until = (): boolean => isDone;
  if (await clock.run({ settle, until, maxMs: VIRTUAL_MS_MAX })) return work;
  throw new Error('stuck: nothing more happens, and the work is not done');
}

/** Lets virtual time pass. */
export const pass = (clock: VirtualClock, ms: number): Promise<void> =>
  new Promise((resolve) => {
    clock.setTimer(clock.now() + ms, resolve);
  });
