/** The network of a simulated run: one device for each stack, and what goes on in between. @module */
import { Memory } from '../../src/memory/memory.ts';
import type { Device } from '../../src/phy/device.ts';
import { FaultInjector } from '../../src/phy/fault-injector.ts';
import type { FaultSettings } from '../../src/phy/faults.ts';
import { pipePair } from '../../src/phy/pipe.ts';
import type { Random } from '../../src/phy/random.ts';
import { Switch } from '../../src/phy/switch.ts';
import { Link } from '../../src/sim/link.ts';
import { Router } from '../../src/sim/router.ts';
import type { LinkChange } from '../../src/sim/schedule.ts';
import type { Plan } from './plan.ts';

const HELD_FRAMES = 512;
/** Bytes under way in a network, at most: never used up, so that runs which share it do not disturb each other. */
const NETWORK_BYTES = 64 << 20;

let shared: Memory | null = null;

/** What is under way lives here, for all runs of a thread: a memory is slow to make. */
function networkMemory(): Memory {
  shared ??= new Memory({ bytes: NETWORK_BYTES });
  if (shared.usedBytes !== 0) shared = new Memory({ bytes: NETWORK_BYTES }); // a run before failed
  return shared;
}

export interface Network {
  readonly devices: readonly Device[];
  /** When the network itself changes next; a switch's port must be told, links find out by themselves. */
  nextAt(): number;
  advance(now: number): void;
  /** Gives back what is under way, and says how many bytes are still held then. */
  close(): number;
}

/** The address of stack `end`. */
export const addressOf = (family: 4 | 6, end: number): string => (family === 4 ? '10.0.0.' : 'fd00::') + (end + 1);
export const PREFIX = { 4: 24, 6: 64 } as const;

function linkFaults({ link, faults }: Plan): FaultSettings {
  const { delayMs, jitterMs, drop, duplicate, reorder, reorderMs, corrupt, rateBitsPerSecond, queueBytesMax } = link;
  const settings = {
    delayMs,
    jitterMs,
    drop,
    duplicate,
    reorder,
    reorderMs,
    corrupt,
    rateBitsPerSecond,
    queueBytesMax,
  };
  return { ...settings, ...faults };
}

/** What a spell's end must bring back. */
const WITHOUT: FaultSettings = { down: false, sizeBytesMax: Number.POSITIVE_INFINITY };

/** The spells as changes, and the cut that ends all, in order. */
function scheduleOf({ spells, link }: Plan, startMs: number): LinkChange[] {
  const named = (way: string, faults: FaultSettings): object => (way === 'both' ? faults : { [way]: faults });
  const changes: LinkChange[] = spells.flatMap(({ fromMs, untilMs, way, faults }) => [
    { atMs: startMs + fromMs, ...named(way, faults) },
    { atMs: startMs + untilMs, ...named(way, WITHOUT) },
  ]);
  if (link.cutAtMs === Number.POSITIVE_INFINITY) return changes;
  return [...changes.filter(({ atMs }) => atMs < link.cutAtMs), { atMs: link.cutAtMs, down: true }];
}

const passive = (devices: readonly Device[], close: () => number): Network => ({
  devices,
  nextAt: () => Number.POSITIVE_INFINITY,
  advance: () => {},
  close,
});

function wire(plan: Plan, seeds: readonly number[]): Network {
  const { link } = plan;
  const pair = pipePair({ medium: link.medium, mtu: link.mtu, offload: link.offload });
  const injected = (inner: Device, seed: number): Device =>
    new FaultInjector(inner, { seed, tx: linkFaults(plan), heldFramesMax: HELD_FRAMES });
  const devices = link.offload ? pair : pair.map((end, i) => injected(end, seeds[i]!));
  return passive(devices, () => 0);
}

function direct(plan: Plan, random: Random, startMs: number): Network {
  const { mtu } = plan.link;
  const memory = networkMemory();
  const schedule = scheduleOf(plan, startMs);
  const link = new Link({
    memory,
    mtu,
    seed: random.next(),
    heldFramesMax: HELD_FRAMES,
    schedule,
    ...linkFaults(plan),
  });
  const close = (): number => {
    link.close();
    return memory.usedBytes;
  };
  return passive([link.left, link.right], close);
}

/** Half of the path's delay is the trunk's and half the port's, in different measure, so that paths differ. */
function routed(plan: Plan, random: Random, startMs: number): Network {
  const { mtu } = plan.link;
  const memory = networkMemory();
  const schedule = scheduleOf(plan, startMs);
  const trunk = linkFaults(plan);
  const router = new Router({ memory, mtu, seed: random.next(), heldFramesMax: HELD_FRAMES, schedule, ...trunk });
  const devices = plan.stacks.map((_, i) => {
    const addresses = [addressOf(plan.link.family, i)];
    const delayMs = (plan.link.delayMs * random.float()) / 2;
    return router.port({ side: i % 2 === 0 ? 'left' : 'right', addresses, delayMs });
  });
  const close = (): number => {
    router.close();
    return memory.usedBytes;
  };
  return passive(devices, close);
}

function switched(plan: Plan, random: Random, startMs: number): Network {
  const memory = networkMemory();
  const lan = new Switch({ memory, mtu: plan.link.mtu });
  const base = linkFaults(plan);
  const ports = plan.stacks.map(
    () => new FaultInjector(lan.port(), { seed: random.next(), heldFramesMax: HELD_FRAMES, tx: base }),
  );
  // Only the first stack's port changes: the others stay joined while it is away. The end of all is everybody's.
  const changes = scheduleOf(plan, startMs);
  let done = 0;
  const advance = (now: number): void => {
    for (; done < changes.length && changes[done]!.atMs <= now; done++) {
      const { atMs, forward = {}, backward = {}, ...both } = changes[done]!;
      const isEnd = atMs === plan.link.cutAtMs;
      for (const port of isEnd ? ports : ports.slice(0, 1)) {
        port.configure({ tx: { ...base, ...both, ...forward }, rx: { ...both, ...backward } });
      }
    }
  };
  const close = (): number => {
    lan.close();
    return memory.usedBytes;
  };
  return { devices: ports, nextAt: () => changes[done]?.atMs ?? Number.POSITIVE_INFINITY, advance, close };
}

/** Builds the network of `plan`. @param wireSeeds - of the fault injectors of a wire */
export function networkOf(plan: Plan, random: Random, wireSeeds: readonly number[], startMs: number): Network {
  switch (plan.topology) {
    case 'wire':
      return wire(plan, wireSeeds);
    case 'link':
      return direct(plan, random, startMs);
    case 'router':
      return routed(plan, random, startMs);
    case 'switch':
      return switched(plan, random, startMs);
  }
}
