/**
 * Congestion control algorithms, and what it takes to write one. A stack of the core knows `cubic` by name, and the others
 * if it is made with them: `new Stack({ congestion: ALGORITHMS, ... })`; a host knows them all. Any socket takes one as an
 * object: `host.tcp.connect({ tcp: { congestion: bbr }, ... })`. @module
 */

import type { CongestionName } from '../settings.ts';
import { bbr } from './bbr.ts';
import type { CongestionControl } from './controller.ts';
import { cubic } from './cubic.ts';
import { newreno } from './newreno.ts';

export {
  type Cause,
  type CongestionControl,
  CWND_MAX,
  initialWindow,
  type RateSample,
  restartWindow,
  SSTHRESH_MAX,
  sendQuantum,
  slowStart,
} from './controller.ts';
export { bbr, cubic, newreno };

/** All there are. */
export const ALGORITHMS: readonly CongestionControl[] = [newreno, cubic, bbr];
/** Their names. */
export const CONGESTION_NAMES: readonly CongestionName[] = ['newreno', 'cubic', 'bbr'];
