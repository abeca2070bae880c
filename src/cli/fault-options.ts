/**
 * What every command shares that spoils a wire: its options, which are the settings of `src/phy/faults.ts` under short
 * names, and a scenario over time. @module
 */
import { type Device, FaultInjector, type FaultOptions } from '../phy/index.ts';
import type { Clock } from '../sim/index.ts';
import { readBytes, readChoice, readInteger, readNumber, readPercent, readRate } from './args.ts';
import { UsageError } from './command.ts';
import { readJsonFile } from './json-file.ts';
import { cableTarget, readScenario, type Scenario, ScenarioPlayer } from './scenario.ts';

const MS_MAX = 60_000;
const BYTES_MAX = 2 ** 31;
const FRAMES_MAX = 1e6;
/** An Ethernet header, and the largest IP packet. */
const FRAME_BYTES_MAX = 65_549;
const SEED_DEFAULT = 1;

const text = { type: 'string' } as const;

export const FAULT_OPTIONS = {
  drop: text,
  'bad-enter': text,
  'bad-leave': text,
  'bad-drop': text,
  down: { type: 'boolean' },
  corrupt: text,
  duplicate: text,
  reorder: text,
  'reorder-delay': text,
  delay: text,
  jitter: text,
  'jitter-shape': text,
  rate: text,
  burst: text,
  'queue-bytes': text,
  'queue-frames': text,
  'mark-bytes': text,
  'size-limit': text,
  scenario: text,
  seed: text,
} as const;

/** The lines of {@link FAULT_OPTIONS} for the help of a command. */
export const FAULT_USAGE = `Faults, made in both directions to frames of wire size (they turn offload off). P is in percent: 2, 0.5 or 2%.
  --drop P, --corrupt P, --duplicate P, --reorder P
  --reorder-delay MS       how much later a reordered frame comes; default 5
  --bad-enter P            bursts of loss: at each frame, the chance that a bad spell begins,
  --bad-leave P            that it ends (default 25), and
  --bad-drop P             that a frame is lost in it (default 100)
  --down                   nothing passes
  --delay MS, --jitter MS  the time each frame takes, and how much more or less it may be,
  --jitter-shape SHAPE     uniform (the default), normal, or pareto: never less, now and then far more
  --rate BITS              bits a second, like 500k, 10M or 1G, with
  --burst BYTES            that pass at once after a pause; default 0
  --queue-bytes BYTES, --queue-frames N   that may wait for the rate; default 128K, and any number
  --mark-bytes BYTES       with more waiting, packets that can are marked "congestion experienced"
  --size-limit N           larger frames are lost
  --scenario FILE          faults that change over time, as JSON: { "schedule": [{ "atMs": 5000, "drop": 0.1 }, ...] },
                           in one direction too: { "atMs": 0, "rx": { "down": true } }
  --seed N                 repeats the same faults; default 1`;

/** What `readOptions` makes of {@link FAULT_OPTIONS}. */
export type FaultValues = {
  readonly [Name in keyof typeof FAULT_OPTIONS]?: (Name extends 'down' ? boolean : string) | undefined;
};

/** The faults of a wire, read and checked. */
export interface FaultPlan {
  readonly options: FaultOptions;
  readonly seed: number;
  readonly scenario: Scenario | null;
}

/**
 * The faults that the options ask for; null: none.
 * @throws UsageError, CommandError where the scenario cannot be read
 */
export function readFaults(values: FaultValues): FaultPlan | null {
  const options = readFaultSettings(values);
  const seed = readInteger('seed', values.seed, 0, 0xffff_ffff) ?? SEED_DEFAULT;
  const scenario = values.scenario === undefined ? null : readScenario(readJsonFile(values.scenario), null);
  if (scenario === null) refuseIdle(values); // it may bring what they are for
  return Object.keys(options).length === 0 && scenario === null ? null : { options, seed, scenario };
}

/** Settings of a fault that is not there, which would do nothing. */
const SETTINGS_OF: readonly [of: keyof FaultValues, settings: readonly (keyof FaultValues)[]][] = [
  ['bad-enter', ['bad-leave', 'bad-drop']],
  ['reorder', ['reorder-delay']],
  ['jitter', ['jitter-shape']],
  ['rate', ['burst', 'queue-bytes', 'queue-frames', 'mark-bytes']],
];
function refuseIdle(values: FaultValues): void {
  for (const [of, settings] of SETTINGS_OF) {
    const idle = values[of] === undefined && settings.find((setting) => values[setting] !== undefined);
    if (idle) throw new UsageError(`--${idle} is for --${of}: expected both, got no --${of}`);
  }
}

/** Those of them that do not change. @throws UsageError */
export function readFaultSettings(values: FaultValues): FaultOptions {
  const settings: FaultOptions = {
    drop: readPercent('drop', values.drop),
    badEnter: readPercent('bad-enter', values['bad-enter']),
    badLeave: readPercent('bad-leave', values['bad-leave']),
    badDrop: readPercent('bad-drop', values['bad-drop']),
    down: values.down,
    corrupt: readPercent('corrupt', values.corrupt),
    duplicate: readPercent('duplicate', values.duplicate),
    reorder: readPercent('reorder', values.reorder),
    reorderMs: readNumber('reorder-delay', values['reorder-delay'], 0, MS_MAX),
    delayMs: readNumber('delay', values.delay, 0, MS_MAX),
    jitterMs: readNumber('jitter', values.jitter, 0, MS_MAX),
    jitterShape: readChoice('jitter-shape', values['jitter-shape'], ['uniform', 'normal', 'pareto']),
    rateBitsPerSecond: readRate('rate', values.rate),
    burstBytes: readBytes('burst', values.burst, 0, BYTES_MAX),
    queueBytesMax: readBytes('queue-bytes', values['queue-bytes'], 0, BYTES_MAX),
    queueFramesMax: readInteger('queue-frames', values['queue-frames'], 0, FRAMES_MAX),
    markBytes: readBytes('mark-bytes', values['mark-bytes'], 0, BYTES_MAX),
    sizeBytesMax: readInteger('size-limit', values['size-limit'], 1, FRAME_BYTES_MAX),
  } as FaultOptions;
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

/** `device`, spoilt. */
export const spoil = (device: Device, { options, seed }: FaultPlan): FaultInjector =>
  new FaultInjector(device, { ...options, seed });

/** Begins to change the faults in time, from now on; null: they stay as they are. */
export function playScenario(
  { options, scenario }: FaultPlan,
  injector: FaultInjector,
  clock: Clock,
): ScenarioPlayer | null {
  if (scenario === null) return null;
  const target = cableTarget(injector, options);
  const player = new ScenarioPlayer(clock, scenario, () => [target]);
  player.start();
  return player;
}
