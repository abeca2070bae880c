/** What a simulated run is like: network, stacks and applications, all drawn from one seed. @module */
import type { FaultSettings } from '../../src/phy/faults.ts';
import { Random } from '../../src/phy/random.ts';
import type { TcpSettings } from '../../src/tcp/settings.ts';

export interface LinkPlan {
  readonly medium: 'ip' | 'ethernet';
  readonly family: 4 | 6;
  readonly mtu: number;
  /** Super-segments pass; then the link is a plain pipe on which only loss happens. */
  readonly offload: boolean;
  readonly delayMs: number;
  readonly jitterMs: number;
  readonly drop: number;
  readonly duplicate: number;
  readonly reorder: number;
  readonly reorderMs: number;
  readonly corrupt: number;
  readonly rateBitsPerSecond: number;
  readonly queueBytesMax: number;
  /** The link goes dead for good at this time; Infinity: it does not. */
  readonly cutAtMs: number;
}

/**
 * How stacks are joined. `wire`: two, a pipe with fault injectors. `link`: two, a simulated link. `router`: a simulated
 * router with a trunk. `switch`: Ethernet, with a fault injector at each port.
 */
export type Topology = 'wire' | 'link' | 'router' | 'switch';

/** For a time something of the network is different: a partition, a black hole one way, a small path MTU. */
export interface Spell {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly way: 'both' | 'forward' | 'backward';
  readonly faults: FaultSettings;
}

/** Datagrams of one stack to another, beside the connections. */
export interface DatagramPlan {
  readonly from: number;
  readonly to: number;
  readonly startMs: number;
  readonly count: number;
  readonly everyMs: number;
  readonly bytes: number;
}

export interface StackPlan {
  readonly memoryBytes: number;
  readonly tcp: Partial<TcpSettings>;
}

/** How one end of a connection behaves. */
export interface SidePlan {
  readonly bytes: number;
  readonly writeBytes: number;
  readonly writeEveryMs: number;
  readonly readBytes: number;
  readonly readEveryMs: number;
  /**
   * `close`: a half-close when all is written, then reads to the end. `abort`: a reset once so many bytes were moved.
   * `release`: lets go once so many bytes were moved, whatever comes.
   */
  readonly end: 'close' | 'abort' | 'release';
  readonly endAfterBytes: number;
  /** The half-close waits for the peer's end. */
  readonly closesLast: boolean;
  /** The reader stops after so many bytes, once, for so long. */
  readonly pauseAfterBytes: number;
  readonly pauseMs: number;
  /** Every so many writes one is urgent; 0: none. */
  readonly urgentEvery: number;
  /** Whether urgent bytes stay in the stream that is read. */
  readonly urgentInline: boolean;
}

export interface ConnectionPlan {
  readonly opener: number;
  readonly acceptor: number;
  readonly startMs: number;
  readonly sides: readonly [SidePlan, SidePlan];
}

export interface Plan {
  readonly seed: number;
  readonly topology: Topology;
  readonly link: LinkPlan;
  /** What the path does beside what `link` says; not on a `wire`. */
  readonly faults: FaultSettings;
  readonly spells: readonly Spell[];
  readonly stacks: readonly StackPlan[];
  readonly datagrams: readonly DatagramPlan[];
  /** When the listener of each stack closes; Infinity: it does not. */
  readonly unlistenAtMs: readonly number[];
  readonly backlog: number;
  readonly acceptDelayMs: number;
  readonly connections: readonly ConnectionPlan[];
  /** Nothing was planned that could end a connection early: every byte must arrive. */
  readonly mustComplete: boolean;
}

const pick = <T>(r: Random, choices: readonly T[]): T => choices[r.below(choices.length)]!;

function linkPlan(r: Random): LinkPlan {
  const offload = r.chance(0.15);
  const medium = offload || r.chance(0.6) ? 'ip' : 'ethernet';
  const family = medium === 'ip' && r.chance(0.25) ? 6 : 4; // no neighbour discovery yet
  const clean = r.chance(0.15);
  const chance = (choices: readonly number[]): number => (clean ? 0 : pick(r, choices));
  const delayMs = offload ? 0 : pick(r, [0, 0, 1, 10, 50, 200]);
  const rate = offload ? Number.POSITIVE_INFINITY : pick(r, [Number.POSITIVE_INFINITY, 2e5, 1e6, 1e7, 1e8]);
  return {
    medium,
    family,
    mtu: pick(r, family === 6 ? [1280, 1500, 9000] : [1500, 1500, 576, 296, 9000]),
    offload,
    delayMs,
    jitterMs: r.chance(0.5) ? delayMs * r.float() : 0,
    drop: chance([0, 0.001, 0.01, 0.05, 0.15]),
    duplicate: chance([0, 0, 0.01, 0.1]),
    reorder: chance([0, 0, 0.01, 0.1, 0.3]),
    reorderMs: 1 + r.below(50),
    // An Ethernet wire checks its frames; ARP alone could not stand it.
    corrupt: medium === 'ip' ? chance([0, 0, 0.01, 0.05]) : 0,
    rateBitsPerSecond: rate,
    queueBytesMax: pick(r, [3000, 10_000, 65_536, 131_072]),
    cutAtMs: r.chance(0.04) ? r.below(3000) : Number.POSITIVE_INFINITY,
  };
}

function stackPlan(r: Random, disruptive: boolean): StackPlan {
  const small = r.chance(0.4);
  const buffers = small ? [1 << 12, 1 << 13, 1 << 14] : [1 << 14, 1 << 16, 1 << 19];
  return {
    memoryBytes: r.chance(0.15) ? 1 << 18 : pick(r, [1 << 19, 1 << 22, 1 << 24]),
    tcp: {
      receiveBufferBytes: pick(r, buffers),
      sendBufferBytes: pick(r, buffers),
      timestamps: r.chance(0.7),
      windowScaling: r.chance(0.8),
      sack: r.chance(0.7),
      noDelay: r.chance(0.3),
      delayedAckMs: pick(r, [40, 40, 40, 200, 1]),
      rtoMinMs: pick(r, [200, 200, 50, 1000]),
      rtoMaxMs: 20_000,
      retriesMax: disruptive ? 6 : 40,
      synRetriesMax: 25,
      synAckRetriesMax: 25,
      keepAliveMs: disruptive ? 20_000 : pick(r, [0, 0, 2000]),
      keepAliveIntervalMs: 3000,
      keepAliveProbesMax: disruptive ? 5 : 40,
      timeWaitMs: pick(r, [60_000, 1000]),
      // Buffers that grow while the connection lives; segments smaller than the path would take.
      ...(r.chance(0.3) ? { receiveBufferMaxBytes: 1 << 21, sendBufferMaxBytes: 1 << 21 } : {}),
      mssMax: pick(r, [0, 0, 0, 500]),
    },
  };
}

function sidePlan(r: Random, bytesMax: number): SidePlan {
  const bytes = pick(r, [0, r.below(10), r.below(3000), r.below(bytesMax), r.below(bytesMax)]);
  const slow = r.chance(0.3);
  const end = r.chance(0.9) ? 'close' : r.chance(0.5) ? 'abort' : 'release';
  return {
    bytes,
    writeBytes: r.chance(0.5) ? 65_536 : 1 + r.below(5000),
    // Kept to a few hundred steps a stream.
    writeEveryMs: r.chance(0.3) && bytes < 20_000 ? r.below(60) : 0,
    readBytes: slow ? Math.ceil(1 + bytesMax / 100 + r.below(3000)) : 65_536,
    readEveryMs: slow ? 1 + r.below(300) : 0,
    end,
    endAfterBytes: r.below(bytesMax),
    closesLast: r.chance(0.2),
    pauseAfterBytes: Number.POSITIVE_INFINITY,
    pauseMs: 0,
    urgentEvery: 0,
    urgentInline: true,
  };
}

/** Draws the connections of a run between stacks that `ends` chooses. */
function connectionPlans(r: Random, link: LinkPlan, ends: () => [number, number]): ConnectionPlan[] {
  const count = r.chance(0.6) ? 1 + r.below(3) : 1 + r.below(10);
  const heavy = link.drop + link.corrupt > 0.05 || link.rateBitsPerSecond < 1e6 || link.mtu < 500;
  const bytesMax = Math.ceil((heavy ? 20_000 : r.chance(0.2) ? 600_000 : 80_000) / Math.sqrt(count));
  const connections: ConnectionPlan[] = [];
  for (let i = 0; i < count; i++) {
    const sides: [SidePlan, SidePlan] = [sidePlan(r, bytesMax), sidePlan(r, bytesMax)];
    // Two that wait for each other would wait for ever.
    if (sides[0].closesLast && sides[1].closesLast) sides[1] = { ...sides[1], closesLast: false };
    const [opener, acceptor] = ends();
    connections.push({ opener, acceptor, startMs: r.chance(0.5) ? 0 : r.below(2000), sides });
  }
  return connections;
}

const endsWell = (connections: readonly ConnectionPlan[]): boolean =>
  connections.every(({ sides }) => sides.every((side) => side.end === 'close'));

/** Draws a run of two stacks on a wire. */
export const pairPlanOf = (seed: number): Plan => withMore(pairOf(seed));

function pairOf(seed: number): Plan {
  const r = new Random(seed);
  const link = linkPlan(r);
  const connections = connectionPlans(r, link, () => (r.chance(0.7) ? [0, 1] : [1, 0]));
  const mustComplete = link.cutAtMs === Number.POSITIVE_INFINITY && endsWell(connections);
  return {
    seed,
    topology: 'wire',
    link,
    faults: {},
    spells: [],
    stacks: [stackPlan(r, !mustComplete), stackPlan(r, !mustComplete)],
    datagrams: [],
    unlistenAtMs: [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
    backlog: pick(r, [1, 2, 16, 511]),
    acceptDelayMs: r.chance(0.7) ? 0 : r.below(2000),
    connections,
    mustComplete,
  };
}

/** A link as a network of `topology` can have it. */
function networkLink(r: Random, topology: Topology): LinkPlan {
  const link = linkPlan(r);
  if (topology === 'switch') return { ...link, medium: 'ethernet', family: 4, offload: false, corrupt: 0 };
  return { ...link, medium: 'ip', offload: false };
}

/** Bursts of loss, other jitter, a short queue, marks: what a wire's plan does not have. */
function networkFaults(r: Random, link: LinkPlan): FaultSettings {
  const bursts = r.chance(0.3) ? { badEnter: 0.002 + 0.02 * r.float(), badLeave: 0.1 + 0.5 * r.float() } : {};
  return {
    ...bursts,
    badDrop: r.chance(0.7) ? 1 : 0.5,
    jitterShape: pick(r, ['uniform', 'normal', 'pareto']),
    queueFramesMax: r.chance(0.3) ? 3 + r.below(60) : Number.POSITIVE_INFINITY,
    markBytes: r.chance(0.3) ? link.queueBytesMax / 4 : Number.POSITIVE_INFINITY,
  };
}

function spellPlan(r: Random, link: LinkPlan): Spell {
  const fromMs = r.below(3000);
  const overhead = link.medium === 'ethernet' ? 14 : 0;
  return {
    fromMs,
    untilMs: fromMs + 1 + r.below(r.chance(0.8) ? 3000 : 30_000),
    way: pick(r, ['both', 'forward', 'backward']),
    faults: r.chance(0.7) ? { down: true } : { sizeBytesMax: Math.ceil(link.mtu * 0.6) + overhead },
  };
}

function datagramPlan(r: Random, stacks: number, link: LinkPlan): DatagramPlan {
  const from = r.below(stacks);
  return {
    from,
    to: (from + 1 + r.below(stacks - 1)) % stacks,
    startMs: r.below(1000),
    count: 1 + r.below(40),
    everyMs: r.below(200),
    bytes: 4 + r.below(link.mtu - 60),
  };
}

const list = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));

/** Draws a run of two to eight stacks on a simulated network. */
function networkPlanOf(seed: number): Plan {
  const r = new Random(seed ^ 0x6e65_7477);
  const topology = pick<Topology>(r, ['link', 'link', 'router', 'router', 'switch']);
  const count = topology === 'link' ? 2 : 2 + r.below(7);
  const link = networkLink(r, topology);
  const other = (end: number): number => (end + 1 + r.below(count - 1)) % count;
  const drawn = connectionPlans(r, link, () => {
    const opener = r.below(count);
    return [opener, other(opener)];
  });
  const pausing = (side: SidePlan): SidePlan =>
    r.chance(0.2) ? { ...side, pauseAfterBytes: r.below(side.readBytes), pauseMs: r.below(20_000) } : side;
  const connections = drawn.map((c) => ({ ...c, sides: [pausing(c.sides[0]), pausing(c.sides[1])] as const }));
  const unlistenAtMs = list(count, () => (r.chance(0.02) ? r.below(2500) : Number.POSITIVE_INFINITY));
  const mustComplete =
    link.cutAtMs === Number.POSITIVE_INFINITY &&
    unlistenAtMs.every((at) => at === Number.POSITIVE_INFINITY) &&
    endsWell(connections);
  return {
    seed,
    topology,
    link,
    faults: networkFaults(r, link),
    spells: r.chance(0.25) ? [spellPlan(r, link)] : [],
    stacks: list(count, () => stackPlan(r, !mustComplete)),
    datagrams: r.chance(0.4) ? list(1 + r.below(3), () => datagramPlan(r, count, link)) : [],
    unlistenAtMs,
    backlog: pick(r, [1, 2, 16, 511]),
    acceptDelayMs: r.chance(0.7) ? 0 : r.below(2000),
    connections,
    mustComplete,
  };
}

/** By draws of their own: a third of the streams have urgent data, and half of the stacks speak AccECN. */
function withMore(plan: Plan): Plan {
  const r = new Random(plan.seed ^ 0x75_7267);
  const side = (plain: SidePlan): SidePlan => ({
    ...plain,
    urgentEvery: r.chance(0.3) ? 1 + r.below(10) : 0,
    urgentInline: r.chance(0.5),
  });
  const connections = plan.connections.map((c) => ({ ...c, sides: [side(c.sides[0]), side(c.sides[1])] as const }));
  const stacks = plan.stacks.map((stack) =>
    r.chance(0.5) ? { ...stack, tcp: { ...stack.tcp, ecn: 'accurate' as const, ecnOption: r.chance(0.8) } } : stack,
  );
  return { ...plan, connections, stacks };
}

/** Draws the whole run of `seed`: every third is a pair on a wire. */
export const planOf = (seed: number): Plan => (seed % 3 === 0 ? pairPlanOf(seed) : withMore(networkPlanOf(seed)));
