/** When events are due, and whether what happened came at the right time. Microseconds of virtual time. @module */
import type { DrillOptions } from './options.ts';

const US_PER_S = 1e6;

/** Seconds with six places, as traces show them. */
export const formatUs = (us: number): string => (us / US_PER_S).toFixed(6);

/**
 * How far off an event may be: a fixed time, or a part of what has passed since the event before, whichever is more: timers
 * of real systems have grains.
 */
export const toleranceUs = (options: DrillOptions, sinceUs: number): number =>
  Math.max(options.toleranceUs, (options.tolerancePercent / 100) * sinceUs);

/** What is wrong with a time, or null. */
export function timeFault(
  what: string,
  actualUs: number,
  fromUs: number,
  toUs: number,
  tolerance: number,
): string | null {
  if (actualUs >= fromUs - tolerance && actualUs <= toUs + tolerance) return null;
  const expected = fromUs === toUs ? formatUs(fromUs) : `${formatUs(fromUs)} to ${formatUs(toUs)}`;
  return `${what} at the wrong time: expected ${expected} s, got ${formatUs(actualUs)} s, tolerance ${formatUs(tolerance)} s`;
}
