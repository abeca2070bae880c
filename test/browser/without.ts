/**
 * Makes the engine one that lacks what the address asks for, `?without=waitAsync,close`; called before anything of ours is
 * loaded. `waitAsync`: Atomics.waitAsync, as in Firefox for long. `close`: ports do not tell that their other end is gone.
 */
export function strip(search: string): void {
  const without = new URLSearchParams(search).get('without')?.split(',') ?? [];
  if (without.includes('waitAsync')) delete (Atomics as { waitAsync?: unknown }).waitAsync;
  if (!without.includes('close')) return;
  const { prototype } = MessagePort;
  delete (prototype as { onclose?: unknown }).onclose;
  const { addEventListener } = prototype;
  prototype.addEventListener = function (this: MessagePort, type: string, ...rest: unknown[]): void {
    if (type !== 'close') (addEventListener as (...args: unknown[]) => void).call(this, type, ...rest);
  } as typeof addEventListener;
}

/** An error as it can be posted. */
export const said = (error: unknown): string => (error as Error | null)?.stack ?? String(error);
