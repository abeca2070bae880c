/** Two stacks on one wire, on a thread of their own. */
import { type Driver, pipedPair } from '../../src/netstack/index.ts';
import { OTHER_CONFIG, OWN_CONFIG } from '../netstack/suite.ts';
import type { Scope } from './worker.ts';

export type StackWork =
  | { readonly kind: 'begin'; readonly shared: boolean; readonly blocking?: boolean }
  /** Answered with channels to both. */
  | { readonly kind: 'share' }
  /** Answered with the sockets that clients of the first have open. */
  | { readonly kind: 'count' }
  /** Answered with the bytes that are still held. */
  | { readonly kind: 'close' };

let drivers: [Driver, Driver] | null = null;

export function serve(scope: Scope, work: StackWork): void {
  if (work.kind === 'begin') {
    const { shared, blocking = false } = work;
    const [own, other] = pipedPair({ ...OWN_CONFIG, shared }, OTHER_CONFIG);
    drivers = [own, other];
    if (blocking) void own.runBlocking(other);
    else for (const driver of drivers) driver.run();
    scope.postMessage('begun');
    return;
  }
  const [own, other] = drivers!;
  if (work.kind === 'share') {
    const shared = [own, other].map((driver) => driver.commandChannel().share());
    scope.postMessage(
      shared.map(({ channel }) => channel),
      shared.flatMap(({ transferList }) => transferList),
    );
  } else if (work.kind === 'count') {
    scope.postMessage(own.netstack.socketCount);
  } else {
    for (const driver of drivers!) driver.close();
    scope.postMessage(own.netstack.memory.usedBytes);
  }
}
