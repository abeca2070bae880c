/** A thread of the page, in the role that its address names. It says `ready`, and gets its work then. */
import { said, strip } from './without.ts';

/** What a worker of a page has of the engine. */
export interface Scope {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(message: unknown, transfer?: Transferable[]): void;
  close(): void;
}

strip(location.search);
const scope = globalThis as unknown as Scope;
const role = new URLSearchParams(location.search).get('role');
const { serve } = role === 'stack' ? await import('./stack-role.ts') : await import('./app-role.ts');
scope.onmessage = async ({ data }) => {
  try {
    await serve(scope, data as never);
  } catch (error) {
    scope.postMessage(said(error));
  }
};
scope.postMessage('ready');
