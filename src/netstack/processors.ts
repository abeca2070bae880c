/** How many threads this machine runs at once, as far as the engine says. @module */

interface Scope {
  readonly navigator?: { readonly hardwareConcurrency?: number };
  readonly process?: { getBuiltinModule?(id: 'node:os'): { availableParallelism(): number } | undefined };
}

const { navigator, process } = globalThis as Scope;

/** 1 where it is not known. */
export const processors: number =
  navigator?.hardwareConcurrency ?? process?.getBuiltinModule?.('node:os')?.availableParallelism() ?? 1;
