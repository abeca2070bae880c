/** The suite, run wherever it is; its results can be posted. */
import { type Setting, suite, waitingCalls, waitingSuite } from '../netstack/suite.ts';
import { said } from './without.ts';

/** Each test, and what went wrong in it. */
export type Results = [title: string, error: string | null][];

/** @param end - ends the setting of one test, where each has its own; gives the bytes that are still held */
export async function runSuite(begin: () => Setting, end?: (setting: Setting) => Promise<number>): Promise<Results> {
  const results: Results = [];
  for (const [title, run] of Object.entries({ ...suite, ...waitingSuite })) {
    try {
      const setting = begin();
      if (setting.calls !== waitingCalls && waitingSuite[title] !== undefined) continue;
      await run(setting);
      const held = (await end?.(setting)) ?? 0;
      results.push([title, held === 0 ? null : `${held} bytes are still held`]);
    } catch (error) {
      results.push([title, said(error)]);
    }
  }
  return results;
}
