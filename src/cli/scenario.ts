/**
 * Faults that change over time, as a file tells: `--scenario FILE` of `lab` and `server`. The faults are those of
 * `src/phy/faults.ts`; a change names what changes, and the rest stays as it is. @module
 */
import type { FaultInjector, FaultOptions } from '../phy/fault-injector.ts';
import { NO_FAULTS, type ResolvedFaults, resolveFaults } from '../phy/faults.ts';
import type { Clock, FaultSettings, Link } from '../sim/index.ts';
import type { JsonNode } from './json-file.ts';

/** Changes of a scenario, at most. */
const CHANGES_MAX = 10_000;
const DAY_MS = 86_400_000;

/** At a time, what becomes different, both ways or in one direction. */
export interface Change {
  readonly atMs: number;
  /** Cables or links; empty: the only one there is. */
  readonly on: readonly string[];
  readonly both: FaultSettings;
  /** On the way in, for a cable to the host; for a link, from its first end. */
  readonly first: FaultSettings;
  readonly second: FaultSettings;
}

export interface Scenario {
  readonly changes: readonly Change[];
  /** After so long it begins again; null: it does not. */
  readonly repeatMs: number | null;
}

/** What a scenario changes. */
export interface FaultTarget {
  apply(change: Omit<Change, 'atMs' | 'on'>): void;
}

/** How the directions of one target are called: a cable's `rx` and `tx`, a link's `forward` and `backward`. */
export interface Directions {
  readonly kind: 'cable' | 'link';
}

const NAMES = { cable: ['rx', 'tx'], link: ['forward', 'backward'] } as const;

/**
 * Reads `{ "schedule": [{ "atMs": 1000, "drop": 0.1, "rx": { "delayMs": 20 } }], "repeatMs": 5000 }`.
 * @param targets - by name; null: there is one, a cable, and changes do not say which
 */
export function readScenario(node: JsonNode, targets: ReadonlyMap<string, Directions> | null): Scenario {
  const { schedule, repeatMs } = node.fields(['schedule', 'repeatMs']);
  if (schedule === undefined) throw node.error('expected a schedule, got none');
  const changes = readSchedule(schedule, targets);
  const last = changes.at(-1)?.atMs ?? 0;
  if (repeatMs === undefined) return { changes, repeatMs: null };
  const period = repeatMs.number(1, DAY_MS);
  return period > last ? { changes, repeatMs: period } : repeatMs.fail(`more than the last change's ${last} ms`);
}

/** Reads the changes alone. */
export function readSchedule(node: JsonNode, targets: ReadonlyMap<string, Directions> | null): Change[] {
  let last = 0;
  return node.list((one) => {
    const change = readChange(one, targets);
    if (change.atMs < last)
      throw one.child('atMs', change.atMs).error(`expected ${last} or later: changes are in order`);
    last = change.atMs;
    return change;
  }, CHANGES_MAX);
}

function readChange(node: JsonNode, targets: ReadonlyMap<string, Directions> | null): Change {
  const own = targets === null ? ['atMs', 'rx', 'tx'] : ['atMs', 'on', 'rx', 'tx', 'forward', 'backward'];
  const both = node.faults(own);
  const read = node.value as Readonly<Record<string, unknown>>;
  const field = (name: string): JsonNode | undefined => (name in read ? node.child(name, read[name]) : undefined);
  const atMs = (field('atMs') ?? node.child('atMs', undefined)).number(0, 365 * DAY_MS);
  const on = targets === null ? [] : readTargets(field('on') ?? node.child('on', undefined), targets);
  const kinds = new Set(on.map((name) => targets!.get(name)!.kind));
  const kind = kinds.has('link') ? 'link' : 'cable';
  for (const [other, names] of Object.entries(NAMES)) {
    const wrong = other === kind && kinds.size < 2 ? undefined : names.map(field).find((one) => one !== undefined);
    if (wrong !== undefined) throw wrong.error(`expected ${NAMES[kind].join(' or ')} for a ${kind}`);
  }
  const [first, second] = NAMES[kind].map((name) => field(name)?.faults() ?? {});
  return { atMs, on, both, first: first!, second: second! };
}

/** A name, or a list of them. */
function readTargets(node: JsonNode, targets: ReadonlyMap<string, Directions>): string[] {
  const one = (name: JsonNode): string => name.choice([...targets.keys()]);
  return Array.isArray(node.value) ? node.list(one, targets.size) : [one(node)];
}

/** The cable of a host. @param initial - what it does before the first change */
export function cableTarget(cable: FaultInjector, initial: FaultOptions): FaultTarget {
  let rx: ResolvedFaults = resolveFaults(NO_FAULTS, initial, initial.rx);
  let tx: ResolvedFaults = resolveFaults(NO_FAULTS, initial, initial.tx);
  return {
    apply({ both, first, second }) {
      rx = resolveFaults(rx, both, first);
      tx = resolveFaults(tx, both, second);
      cable.configure({ rx, tx });
    },
  };
}

export const linkTarget = (link: Link): FaultTarget => ({
  apply: ({ both, first, second }) => link.configure({ ...both, forward: first, backward: second }),
});

/** Applies a scenario in time. */
export class ScenarioPlayer {
  readonly #clock: Clock;
  readonly #scenario: Scenario;
  readonly #targetsOf: (change: Change) => readonly FaultTarget[];
  #startedAt = 0;
  #next = 0;
  #timer = 0;

  constructor(clock: Clock, scenario: Scenario, targetsOf: (change: Change) => readonly FaultTarget[]) {
    this.#clock = clock;
    this.#scenario = scenario;
    this.#targetsOf = targetsOf;
  }

  /** Counts times from now on. */
  start(): void {
    this.#startedAt = this.#clock.now();
    this.#step();
  }

  stop(): void {
    this.#clock.clearTimer(this.#timer);
  }

  /** Applies what is due, and sets the timer for what comes next. */
  #step(): void {
    const { changes, repeatMs } = this.#scenario;
    if (changes.length === 0) return;
    for (;;) {
      if (this.#next === changes.length) {
        if (repeatMs === null) return;
        this.#next = 0;
        this.#startedAt += repeatMs;
      }
      const change = changes[this.#next]!;
      const at = this.#startedAt + change.atMs;
      if (at > this.#clock.now()) {
        this.#timer = this.#clock.setTimer(at, () => this.#step());
        return;
      }
      for (const target of this.#targetsOf(change)) target.apply(change);
      this.#next++;
    }
  }
}
