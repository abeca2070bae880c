/**
 * What a connection remembers of losses, and of the reductions of its window that came of them: recovery.ts, retransmit.ts,
 * sack.ts, rack.ts. Most connections never lose anything, and share one record of nothing. @module
 */
import type { Connection } from './connection.ts';
import type { Seq } from './seq.ts';

const ZERO = 0 as Seq;

export class Losses {
  // RFC 6937: proportional rate reduction.
  prrDelivered = 0;
  prrOut = 0;
  /** cwnd and ssthresh before the last reduction, and whether it may still turn out to be a mistake. */
  priorCwnd = 0;
  priorSsthresh = 0;
  undoMarker = ZERO;
  mayUndo = false;
  /** Segments sent again that the peer has not reported as duplicates: 0 of them means none was needed. -1: none sent. */
  undoRetrans = -1;
  /** Our timestamp when the first segment was sent again in this episode: RFC 3522. */
  retransTs = 0;
  hasRetransTs = false;
  /** RFC 5682: whether a timeout is being tested, and new data goes out instead of retransmissions. */
  isFrto = false;
  sendsNew = false;
  // RFC 8985: the window of reordering in quarters of min_RTT, and what has widened it.
  reorderingSteps = 1;
  reorderingPersist = 0;
  dsackRound: Seq;
  /** How often a segment was seen to arrive after later ones. */
  reorderSeen = 0;
  // For TCP_INFO: info.ts.
  dsackDups = 0;
  totalRetrans = 0;
  bytesRetrans = 0;
  totalRto = 0;
  totalRtoRecoveries = 0;
  totalRtoMs = 0;
  /** When the first of the timeouts in a row struck, 0: none has. */
  rtoAtMs = 0;

  /** @param sndUna - where the rounds begin: ISS would be ahead of it once 2 GiB are acknowledged */
  constructor(sndUna: Seq) {
    this.dsackRound = sndUna;
  }
}

/** The record of those that never lost anything. Nobody may write to it: {@link lossesOf}. */
export const NO_LOSSES: Readonly<Losses> = /* @__PURE__ */ Object.freeze(new Losses(ZERO));

/** The record of `c`, to be written to. */
export function lossesOf(c: Connection): Losses {
  if (c.losses === NO_LOSSES) c.losses = new Losses(c.sndUna);
  return c.losses as Losses;
}
