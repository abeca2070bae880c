/** The table of `ethertype bench`: figures, each beside its peer, as they are measured and printed. @module */

/** One figure beside its peer. */
export interface Row {
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  readonly peer: string;
  readonly theirs: number;
  /** Median of the ratios of paired runs. */
  readonly ratio: number;
  /** Set where a smaller figure is the better one. */
  readonly lessIsBetter?: true;
  readonly note?: string;
}

export const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

/** Runs `ours` and `theirs` in turn, `rounds` times after one run of each to warm up. */
export async function beside(
  spec: Pick<Row, 'name' | 'unit' | 'peer'>,
  rounds: number,
  ours: () => number | Promise<number>,
  theirs: () => number | Promise<number>,
): Promise<Row> {
  await ours();
  await theirs();
  const pairs: [number, number][] = [];
  for (let i = 0; i < rounds; i++) pairs.push([await ours(), await theirs()]);
  return {
    ...spec,
    ours: median(pairs.map(([a]) => a)),
    theirs: median(pairs.map(([, b]) => b)),
    ratio: median(pairs.map(([a, b]) => a / b)),
  };
}

const NAME_WIDTH = 42;

const number = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString('en') : value.toFixed(value < 10 ? 2 : 1);

/** One line a figure: ours, how many times the peer's that is, and the peer's. */
export function formatTable(rows: readonly Row[]): string {
  const head = `${''.padEnd(NAME_WIDTH)}${'ethertype'.padStart(10)} ${''.padEnd(8)}${'ratio'.padStart(6)}${'peer'.padStart(10)}`;
  return [head, ...rows.map(formatRow)].join('\n');
}

function formatRow(row: Row): string {
  const notes = [row.peer];
  if (row.lessIsBetter) notes.push('less is better');
  if (row.note !== undefined) notes.push(row.note);
  return (
    `${row.name.padEnd(NAME_WIDTH)}${number(row.ours).padStart(10)} ${row.unit.padEnd(8)}` +
    `${row.ratio.toFixed(2).padStart(6)}${number(row.theirs).padStart(10)}  ${notes.join('; ')}`
  );
}
