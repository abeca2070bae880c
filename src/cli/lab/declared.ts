/** Runs a declared lab: in virtual time, the same at every run of a seed. @module */

import type { FaultStats } from '../../phy/faults.ts';
import { Capture, type CaptureFormat, type CaptureSink } from '../../phy/index.ts';
import { Random, VirtualClock } from '../../sim/index.ts';
import { type Change, cableTarget, type FaultTarget, linkTarget, type Scenario, ScenarioPlayer } from '../scenario.ts';
import { ServiceRunner } from '../services.ts';
import { describe, type Outcome, perform, servicesOf } from './activities.ts';
import type { ActivityDeclaration } from './declaration.ts';
import { type Found, type GivenLease, Network, type NetworkAccount } from './network.ts';
import { Observer } from './observer.ts';
import type { LabFile } from './read-declaration.ts';
import { inVirtualTime, pass } from './virtual.ts';

/** What still runs after so many virtual seconds is ended, unless the file says otherwise. */
const SECONDS_DEFAULT = 600;
/** Between the end of what runs and the end of the lab: what is under way arrives. */
const SETTLE_MS = 100;

export interface DeclaredOptions {
  readonly file: LabFile;
  readonly seed: number;
  /** Besides the file's own schedule. */
  readonly scenario: Scenario | null;
  readonly recording: { readonly sink: CaptureSink; readonly format: CaptureFormat } | null;
  /** Whether packets are listed, for the page. */
  readonly lists: boolean;
}

/** What one host did. Times count from when every host had its addresses. */
export interface Done extends Outcome {
  readonly host: string;
  readonly what: string;
  readonly atMs: number;
  readonly endMs: number;
}

export interface DeclaredHost {
  readonly name: string;
  readonly mac: string;
  readonly addresses: readonly string[];
}

export interface DeclaredAccount {
  readonly ok: boolean;
  /** On the machine's clock. */
  readonly ms: number;
  /** Virtual: when every host had its addresses, and all of it. */
  readonly readyMs: number;
  readonly virtualMs: number;
  readonly hosts: readonly DeclaredHost[];
  readonly leases: readonly GivenLease[];
  readonly found: readonly Found[];
  readonly done: readonly Done[];
  readonly observer: Observer;
  /** By host, `router.switch`, `link` and `link (back)`: those that did something to frames. */
  readonly faults: Readonly<Record<string, FaultStats>>;
  readonly network: NetworkAccount;
  readonly capturedPackets: number;
}

export async function runDeclared(options: DeclaredOptions): Promise<DeclaredAccount> {
  const clock = new VirtualClock();
  const run = new DeclaredRun(clock, options);
  return inVirtualTime(clock, run.run());
}

class DeclaredRun {
  readonly #clock: VirtualClock;
  readonly #options: DeclaredOptions;
  readonly #observer: Observer;
  readonly #capture: Capture | null;
  readonly #end = new AbortController();
  readonly #done: Done[] = [];
  #readyMs = 0;

  constructor(clock: VirtualClock, options: DeclaredOptions) {
    const { recording, lists } = options;
    this.#clock = clock;
    this.#options = options;
    this.#observer = new Observer({ lists });
    // The clock begins at the epoch, so that the file is the same at every run.
    this.#capture = recording === null ? null : new Capture(recording.sink, { format: recording.format });
  }

  async run(): Promise<DeclaredAccount> {
    const startedAt = performance.now();
    const { file, seed } = this.#options;
    const network = await Network.build(file.network, {
      clock: this.#clock,
      random: new Random(seed),
      capture: this.#capture,
      allCables: true,
      wrap: (name, device, host) => this.#observer.tap(name, host, device),
    });
    try {
      await network.ready();
      this.#readyMs = this.#clock.now();
      const hosts = [...network.hosts].map(([name, { iface }]) => ({
        name,
        mac: `${iface!.mac}`,
        addresses: iface!.addresses.filter(({ address }) => !address.isLinkLocal).map(String),
      }));
      await this.#play(network);
      const virtualMs = this.#clock.now();
      const account = await network.close();
      const ok = account.usedBytes === 0 && this.#done.every((one) => one.ok);
      return {
        ok,
        ms: performance.now() - startedAt,
        readyMs: this.#readyMs,
        virtualMs,
        hosts,
        leases: network.leases,
        found: network.found,
        done: this.#done.sort((a, b) => a.atMs - b.atMs),
        observer: this.#observer,
        faults: faultsOf(network),
        network: account,
        capturedPackets: this.#capture?.packets ?? 0,
      };
    } finally {
      await network.close();
    }
  }

  /** All activities, with what changes meanwhile. */
  async #play(network: Network): Promise<void> {
    const { file } = this.#options;
    const runners: ServiceRunner[] = [];
    const bugs: unknown[] = [];
    for (const [name, declared] of Object.entries(file.network.hosts)) {
      const services = servicesOf(declared, (stream) => this.#observer.watch(stream, () => this.#clock.now()));
      const runner = new ServiceRunner(network.host(name), services, (error) => {
        bugs.push(error);
        this.#end.abort();
      });
      await runner.start(services);
      runners.push(runner);
    }
    const players = this.#players(network);
    for (const player of players) player.start();
    const seconds = file.seconds ?? SECONDS_DEFAULT;
    const late = this.#clock.setTimer(this.#clock.now() + seconds * 1000, () => this.#end.abort());
    const all = Object.entries(file.network.hosts).flatMap(([name, { run = [] }]) =>
      run.map((activity) => this.#perform(network, name, activity)),
    );
    await Promise.all(all);
    await pass(this.#clock, SETTLE_MS);
    this.#clock.clearTimer(late);
    for (const player of players) player.stop();
    for (const runner of runners) await runner.close();
    if (bugs.length > 0) throw bugs[0];
  }

  async #perform(network: Network, name: string, activity: ActivityDeclaration): Promise<void> {
    await pass(this.#clock, activity.atMs ?? 0);
    const atMs = this.#clock.now() - this.#readyMs;
    const watch = (stream: Parameters<Observer['watch']>[0]): void =>
      this.#observer.watch(stream, () => this.#clock.now());
    const stage = { network, name, host: network.host(name), signal: this.#end.signal, watch };
    const outcome = await perform(stage, activity);
    const endMs = this.#clock.now() - this.#readyMs;
    this.#done.push({ host: name, what: describe(activity), atMs, endMs, ...outcome });
  }

  /** What plays the file's schedule, and the scenario besides. */
  #players(network: Network): ScenarioPlayer[] {
    const { file, scenario } = this.#options;
    const targets = targetsOf(network, file);
    const find = ({ on }: Change): FaultTarget[] => on.map((name) => targets.get(name)!);
    const scenarios: Scenario[] = [{ changes: file.schedule, repeatMs: null }];
    if (scenario !== null) scenarios.push(scenario);
    return scenarios.map((one) => new ScenarioPlayer(this.#clock, one, find));
  }
}

/** What a schedule can change, by name. Cables keep what a change does not name, of the file and of changes before. */
function targetsOf(network: Network, { network: { hosts, routers } }: LabFile): Map<string, FaultTarget> {
  const targets = new Map<string, FaultTarget>();
  for (const [name, cable] of network.cables) {
    const [owner, on] = name.split('.');
    const declared = on === undefined ? hosts[owner!] : routers[owner!]?.interfaces.find((one) => one.on === on);
    targets.set(name, cableTarget(cable, declared?.faults ?? {}));
  }
  for (const [name, link] of network.links) targets.set(name, linkTarget(link));
  return targets;
}

function faultsOf(network: Network): Record<string, FaultStats> {
  const all: (readonly [string, FaultStats])[] = [...network.cables].map(([name, { stats }]) => [name, stats]);
  for (const [name, { stats }] of network.links) all.push([name, stats.forward], [`${name} (back)`, stats.backward]);
  return Object.fromEntries(all.filter(([, stats]) => Object.values(stats).some((count) => count > 0)));
}
