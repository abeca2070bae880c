/** Runs the phases of the lab one after the other and gathers what they say. @module */
import { Capture, type CaptureFormat, type CaptureSink } from '../../phy/index.ts';
import { badInput } from './bad-input.ts';
import { bulkTransfer } from './bulk.ts';
import { allHosts, httpExchange, pingEveryone, udpEcho } from './greet.ts';
import { addCounts, Lan, type LanAccount } from './lan.ts';
import { lossyTransfer } from './lossy.ts';
import type { Bench, LabOptions } from './phase.ts';

/** A phase that takes longer on the machine's clock has failed. */
const PHASE_MS_MAX = 30_000;

export type PhaseName = 'ping' | 'http' | 'udp echo' | 'bulk' | 'lossy' | 'bad input';

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

export interface LabAccount {
  readonly ok: boolean;
  readonly ms: number;
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
  readonly #lans: LanAccount[] = [];
  readonly #captures: Capture[] = [];
  #virtualMs = 0; // passed in phases that are over

  constructor(run: LabRun) {
    this.#run = run;
  }

  /** The phases that share a LAN on the machine's clock. */
  async greet(): Promise<void> {
    const { seed } = this.#run.options;
    const lan = new Lan({ capture: this.#bench('ping').capture(false) });
    const hosts = allHosts(lan);
    await this.#phase('ping', async () => ({ name: 'ping', ...(await pingEveryone(hosts)) }));
    await this.#phase('http', async () => ({ name: 'http', ...(await httpExchange(hosts)) }));
    await this.#phase('udp echo', async () => ({ name: 'udp echo', ...(await udpEcho(hosts, seed)) }));
    this.#lans.push(await lan.close());
  }

  /** A phase that has a LAN of its own. */
  async alone(name: PhaseName, work: (bench: Bench) => Promise<Outcome & { lan: LanAccount }>): Promise<void> {
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
    const { options, onProgress } = this.#run;
    return {
      options,
      progress: (part) => onProgress(name, part),
      capture: (virtual) => this.#capture(virtual),
    };
  }

  /** The file goes on with the next LAN: as a new section with its own clock, where the format has sections. */
  #capture(virtual: boolean): Capture | null {
    const { recording } = this.#run;
    if (recording === null) return null;
    const { sink, format } = recording;
    // Virtual time goes on from now, so that no packet of the file is before the last.
    const epochMs = virtual ? Date.now() + this.#virtualMs : Date.now() - performance.now();
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
    return { ok, ms, rows: this.#rows, drops, memory: { peakBytes, usedBytes }, capturedPackets };
  }
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
