/** Runs the phases of the lab one after the other and gathers what they say. @module */
import { Capture, type CaptureFormat, type CaptureSink } from '../../phy/index.ts';
import { Random, VirtualClock } from '../../sim/index.ts';
import { findAddresses, resolveNames } from './autoconfigure.ts';
import { badInput } from './bad-input.ts';
import { bulkTransfer } from './bulk.ts';
import { DEFAULT_NETWORK } from './default-network.ts';
import { httpExchange, pingEveryone, udpEcho } from './greet.ts';
import { lossyTransfer } from './lossy.ts';
import { addCounts, Network, type NetworkAccount } from './network.ts';
import type { Observer } from './observer.ts';
import type { Bench, LabOptions } from './phase.ts';
import { inVirtualTime } from './virtual.ts';

/** A phase that takes longer on the machine's clock has failed. */
const PHASE_MS_MAX = 30_000;

export type PhaseName = 'addresses' | 'names' | 'ping' | 'http' | 'udp echo' | 'bulk' | 'lossy' | 'bad input';

/** One row of the account. */
export interface Row {
  readonly name: PhaseName;
  readonly ok: boolean;
  /** Time it took on the machine's clock, and in virtual time where it lived there. */
  readonly ms: number;
  readonly virtualMs: number | null;
  readonly did: readonly string[];
  readonly saw: readonly string[];
  /** What was measured, by name; empty where the phase failed before its end. */
  readonly details: object;
}

/** A host as it was found. */
export interface LabHost {
  readonly name: string;
  readonly mac: string;
  /** Of the first IPv4 and IPv6 address that others reach it by; null: it never had one. */
  readonly address: string | null;
  readonly address6: string | null;
}

export interface LabAccount {
  readonly ok: boolean;
  readonly ms: number;
  readonly hosts: readonly LabHost[];
  readonly rows: readonly Row[];
  /** Packets dropped by all hosts of all phases, by reason. */
  readonly drops: Record<string, number>;
  /** The most that one LAN had in use, and what all together have in use after their end. */
  readonly memory: { readonly peakBytes: number; readonly usedBytes: number };
  readonly capturedPackets: number;
}

/** Where the lab records its traffic. */
export interface Recording {
  readonly sink: CaptureSink;
  readonly format: CaptureFormat;
}

export interface LabRun {
  readonly options: LabOptions;
  readonly recording: Recording | null;
  /** Looks at the lossy transfer. */
  readonly observer?: Observer | null;
  readonly onProgress: (phase: PhaseName, part: number) => void;
}

type Outcome = Omit<Row, 'ms' | 'virtualMs'> & { readonly virtualMs?: number };

export async function runLab(run: LabRun): Promise<LabAccount> {
  const lab = new Lab(run);
  const startedAt = performance.now();
  await lab.greet();
  await lab.alone('bulk', bulkTransfer);
  await lab.alone('lossy', lossyTransfer);
  await lab.alone('bad input', badInput);
  return lab.account(performance.now() - startedAt);
}

class Lab {
  readonly #run: LabRun;
  readonly #rows: Row[] = [];
  #hosts: readonly LabHost[] = [];
  readonly #lans: NetworkAccount[] = [];
  readonly #captures: Capture[] = [];
  #virtualMs = 0; // passed in phases that are over

  constructor(run: LabRun) {
    this.#run = run;
  }

  /** The phases that share a network: it finds its addresses and its names, and greets. */
  async greet(): Promise<void> {
    const { seed } = this.#run.options;
    const clock = new VirtualClock();
    const capture = this.#bench('addresses').capture();
    const network = await Network.build(DEFAULT_NETWORK, { clock, random: new Random(seed), capture });
    const share = (name: PhaseName, work: (network: Network) => Promise<Omit<Outcome, 'name'>>) =>
      this.#phase(name, async () => {
        const startedAt = clock.now();
        const outcome = await inVirtualTime(clock, work(network));
        return { name, ...outcome, virtualMs: clock.now() - startedAt };
      });
    await share('addresses', findAddresses);
    this.#hosts = [...network.hosts.keys()].map((name) => hostOf(network, name));
    await share('names', resolveNames);
    await share('ping', pingEveryone);
    await share('http', httpExchange);
    await share('udp echo', () => udpEcho(network, seed));
    this.#lans.push(await inVirtualTime(clock, network.close()));
  }

  /** A phase that has a LAN of its own. */
  async alone(name: PhaseName, work: (bench: Bench) => Promise<Outcome & { lan: NetworkAccount }>): Promise<void> {
    await this.#phase(name, async () => {
      const { lan, ...outcome } = await work(this.#bench(name));
      this.#lans.push(lan);
      return outcome;
    });
  }

  /** Runs one phase; what it throws is its failure. */
  async #phase(name: PhaseName, work: () => Promise<Outcome>): Promise<void> {
    this.#run.onProgress(name, 0);
    const startedAt = performance.now();
    let outcome: Outcome;
    try {
      outcome = await inTime(work());
    } catch (error) {
      outcome = { name, ok: false, did: [], saw: [(error as Error).message], details: {} };
    }
    const { virtualMs = null, ...rest } = outcome;
    this.#virtualMs += virtualMs ?? 0;
    this.#rows.push({ ...rest, ms: performance.now() - startedAt, virtualMs });
  }

  #bench(name: PhaseName): Bench {
    const { options, observer = null, onProgress } = this.#run;
    return {
      options,
      observer,
      progress: (part) => onProgress(name, part),
      capture: () => this.#capture(),
    };
  }

  /** The file goes on with the next network: as a new section with its own clock, where the format has sections. */
  #capture(): Capture | null {
    const { recording } = this.#run;
    if (recording === null) return null;
    const { sink, format } = recording;
    // Virtual time goes on from now, so that no packet of the file is before the last.
    const epochMs = Date.now() + this.#virtualMs;
    const isContinued = format === 'pcap' && this.#captures.length > 0;
    const capture = new Capture(isContinued ? withoutHeader(sink) : sink, { format, epochMs });
    this.#captures.push(capture);
    return capture;
  }

  account(ms: number): LabAccount {
    const drops: Record<string, number> = {};
    let peakBytes = 0;
    let usedBytes = 0;
    for (const lan of this.#lans) {
      addCounts(drops, lan.drops);
      peakBytes = Math.max(peakBytes, lan.peakBytes);
      usedBytes += lan.usedBytes;
    }
    const capturedPackets = this.#captures.reduce((total, capture) => total + capture.packets, 0);
    const ok = usedBytes === 0 && this.#rows.every((row) => row.ok);
    return { ok, ms, hosts: this.#hosts, rows: this.#rows, drops, memory: { peakBytes, usedBytes }, capturedPackets };
  }
}

function hostOf(network: Network, name: string): LabHost {
  const iface = network.host(name).iface!;
  const first = (family: 4 | 6): string | null => {
    const found = iface.addresses.find(({ address }) => address.family === family && !address.isLinkLocal);
    return found === undefined ? null : `${found.address}`;
  };
  return { name, mac: `${iface.mac}`, address: first(4), address6: first(6) };
}

/** Lets all but the first piece pass: a classic capture file has one header. */
function withoutHeader(sink: CaptureSink): CaptureSink {
  let isFirst = true;
  return {
    write: (bytes) => {
      if (!isFirst) sink.write(bytes);
      isFirst = false;
    },
  };
}

/** Gives up on work that does not end. */
function inTime<T>(work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = (): void => reject(new Error(`not done after ${PHASE_MS_MAX / 1000} s`));
    const timer = setTimeout(late, PHASE_MS_MAX);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
