/** `node:worker_threads`, where it is needed and there. @module */

/** Whether this is Node, or an engine that says so. */
export const isNode =
  (globalThis as { process?: { versions?: { node?: string } } }).process?.versions?.node !== undefined;

/** Not a constant, which bundlers for browsers would look for and not find. */
const MODULE = ['node', 'worker_threads'].join(':');

export const nodeThreads = (): Promise<typeof import('node:worker_threads')> =>
  import(/* webpackIgnore: true */ /* @vite-ignore */ MODULE);
