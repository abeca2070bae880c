/** What a phase of the lab is. @module */
import type { FaultSettings } from '../../phy/faults.ts';
import type { Capture } from '../../phy/pcap-writer.ts';
import type { Scenario } from '../scenario.ts';
import type { NetworkAccount } from './network.ts';
import type { Observer } from './observer.ts';

export interface LabOptions {
  /** From 0 to 2^32 - 1: everything random comes from it. */
  readonly seed: number;
  /** Loss of the lossy phase, each way. */
  readonly lossPercent: number;
  /** What else its link does, in place of what it does by itself. */
  readonly faults?: FaultSettings;
  /** Faults of the lossy phase over time; null: the loss alone. */
  readonly scenario: Scenario | null;
  /** Bytes of the bulk transfer, at most. */
  readonly bulkBytes: number;
}

/** What a phase gets. */
export interface Bench {
  readonly options: LabOptions;
  /** A capture for one network whose clock is at 0 now; null: nothing is recorded. */
  capture(): Capture | null;
  /** Who looks at the lossy transfer; null: nobody. */
  readonly observer: Observer | null;
  /** Shows how far the phase is, from 0 to 1. */
  progress(part: number): void;
}

/** What a phase gives. */
export interface Result<Name extends string, Details extends object> {
  readonly name: Name;
  readonly ok: boolean;
  /** Virtual time that passed; left out where it says nothing. */
  readonly virtualMs?: number;
  /** What was done, and what came of it, for people: a few short lines each. */
  readonly did: readonly string[];
  readonly saw: readonly string[];
  /** The same and more for programs. */
  readonly details: Details;
  readonly lan: NetworkAccount;
}
