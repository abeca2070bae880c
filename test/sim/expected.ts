/** What each congestion control algorithm must reach: the one place to add one to. @module */

/** Path MTU 1500 with timestamps: payload of a segment. */
const MSS = 1448;

export interface Expected {
  /** Least goodput, octets a second, on a path of `bitsPerSecond` with random loss `p`. */
  goodput(bitsPerSecond: number, rttMs: number, p: number): number;
  /** Least of Jain's index of four flows with one round-trip time over 60 s. */
  readonly jain: number;
  /** It does not take every loss for congestion: smoltcp's figures without congestion control are the measure. */
  readonly bearsLoss: boolean;
}

/** RFC 5681 as RFC 9438 §5.1 has it: the average window of Reno, 1.2 / sqrt(p) segments. */
const renoSegments = (p: number): number => Math.sqrt(1.5 / p);

/** RFC 9438 §5.1, with C 0.4 and beta 0.7: the average window of CUBIC, in segments; in its Reno-friendly region, Reno's. */
const cubicSegments = (p: number, rttMs: number): number => {
  const rtt = rttMs / 1000;
  return Math.max((((0.4 * 3.7) / (4 * 0.3)) * (rtt / p) ** 3) ** (1 / 4), renoSegments(p));
};

const link = (bitsPerSecond: number): number => bitsPerSecond / 8;
const octets = (segments: number, rttMs: number): number => (segments * MSS * 1000) / rttMs;

export const EXPECTED: Readonly<Record<string, Expected>> = {
  newreno: {
    goodput: (rate, rttMs, p) => 0.75 * Math.min(link(rate), octets(renoSegments(p), rttMs)),
    jain: 0.9,
    bearsLoss: false,
  },
  cubic: {
    goodput: (rate, rttMs, p) => 0.9 * Math.min(link(rate), octets(cubicSegments(p, rttMs), rttMs)),
    jain: 0.95,
    bearsLoss: false,
  },
  bbr: { goodput: (rate) => 0.8 * link(rate), jain: 0.85, bearsLoss: true },
};

/** smoltcp's figures, octets a second at losses of 0, 0.1, 1, 2, 5 %: 100 ms RTT. */
export const SMOLTCP: readonly {
  readonly bufferBytes: number;
  readonly hasControl: boolean;
  readonly octets: readonly number[];
}[] = [
  { bufferBytes: 1 << 18, hasControl: true, octets: [876_730, 298_097, 58_833, 33_222, 12_395] },
  { bufferBytes: 1 << 20, hasControl: false, octets: [9_200_000, 4_500_000, 162_000, 16_000, 2500] },
];
