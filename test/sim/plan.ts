/** What a simulated run is like: link, stacks and applications, all drawn from one seed. @module */
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
}

export interface ConnectionPlan {
  readonly opener: 0 | 1;
  readonly startMs: number;
  readonly sides: readonly [SidePlan, SidePlan];
}

export interface Plan {
  readonly seed: number;
  readonly link: LinkPlan;
  readonly stacks: readonly [StackPlan, StackPlan];
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
  };
}

/** Draws the whole run of `seed`. */
export function planOf(seed: number): Plan {
  const r = new Random(seed);
  const link = linkPlan(r);
  const count = r.chance(0.6) ? 1 + r.below(3) : 1 + r.below(10);
  const heavy = link.drop + link.corrupt > 0.05 || link.rateBitsPerSecond < 1e6 || link.mtu < 500;
  const bytesMax = Math.ceil((heavy ? 20_000 : r.chance(0.2) ? 600_000 : 80_000) / Math.sqrt(count));
  const connections: ConnectionPlan[] = [];
  for (let i = 0; i < count; i++) {
    const sides: [SidePlan, SidePlan] = [sidePlan(r, bytesMax), sidePlan(r, bytesMax)];
    // Two that wait for each other would wait for ever.
    if (sides[0].closesLast && sides[1].closesLast) sides[1] = { ...sides[1], closesLast: false };
    connections.push({ opener: r.chance(0.7) ? 0 : 1, startMs: r.chance(0.5) ? 0 : r.below(2000), sides });
  }
  const mustComplete =
    link.cutAtMs === Number.POSITIVE_INFINITY &&
    connections.every(({ sides }) => sides.every((s) => s.end === 'close'));
  return {
    seed,
    link,
    stacks: [stackPlan(r, !mustComplete), stackPlan(r, !mustComplete)],
    backlog: pick(r, [1, 2, 16, 511]),
    acceptDelayMs: r.chance(0.7) ? 0 : r.below(2000),
    connections,
    mustComplete,
  };
}
