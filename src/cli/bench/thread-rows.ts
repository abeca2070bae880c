/** The rows of stacks on one thread and applications on others. @module */
import * as api from './api.ts';
import { beside, median, type Row } from './table.ts';
import { pingPong, StackThread } from './threads.ts';

export async function threadRows(rounds: number, ms: number): Promise<Row[]> {
  const stacks = new StackThread();
  const pair = api.hostPair();
  const oneThread = (): Promise<number> => api.bulk(pair, true, ms);
  const rows: Row[] = [];
  for (const [direction, name] of [
    ['send', 'TCP bulk out, application on a thread'],
    ['receive', 'TCP bulk in, application on a thread'],
  ] as const) {
    const spec = { name, unit: 'Gbit/s', peer: 'write/readInto on one thread' };
    rows.push(await beside(spec, rounds, () => stacks.bulk(direction, ms), oneThread));
  }
  const echo = { name: '64 B round trips, blocking, 3 threads', unit: '/s', peer: 'bare Atomics.wait ping-pong' };
  rows.push(
    await beside(
      echo,
      rounds,
      () => stacks.roundTrips(ms),
      () => pingPong(ms),
    ),
  );
  const runs: (readonly [number, number])[] = [];
  for (let i = 0; i < rounds; i++) runs.push(await stacks.blockedReceivers(ms));
  rows.push({
    name: 'datagram, 1,000 receivers blocked beside',
    unit: 'us',
    ours: median(runs.map(([, beside]) => beside)),
    peer: 'none blocked',
    theirs: median(runs.map(([alone]) => alone)),
    ratio: median(runs.map(([alone, beside]) => beside / alone)),
    lessIsBetter: true,
  });
  await pair.client.close();
  await pair.server.close();
  await stacks.close();
  return rows;
}
