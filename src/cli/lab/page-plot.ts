/**
 * How the page of `--html` draws. The functions are put into the page as text, by `page.ts`: so each stands alone, and what
 * they use is one of them or a parameter. @module
 */

/** A curve, or what is drawn instead of one. */
export interface PlotLine {
  readonly name: string;
  /** A name of the palette. */
  readonly color: 'blue' | 'red' | 'green' | 'orange' | 'grey';
  /**
   * `line`, `steps`, `dots`: time and value of each point. `bars`, `marks`, `crosses`: time, and from one value to
   * another; marks can be seen from afar, and so can crosses.
   */
  readonly kind: 'line' | 'steps' | 'dots' | 'bars' | 'marks' | 'crosses';
  readonly points: readonly number[];
}

export interface Plot {
  readonly title: string;
  readonly unit: string;
  /** In CSS pixels. */
  readonly height: number;
  readonly lines: readonly PlotLine[];
}

/** Round numbers between two, about so many. */
export function ticks(from: number, until: number, count: number): number[] {
  const span = until - from;
  if (!(span > 0)) return [from];
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10) * power;
  const found: number[] = [];
  for (let i = Math.ceil(from / step); i * step <= until; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** `1.5M`, `20k`, `0.25`. */
export function short(value: number): string {
  const [scale, unit] = Math.abs(value) >= 1e6 ? [1e6, 'M'] : Math.abs(value) >= 1e4 ? [1e3, 'k'] : [1, ''];
  return `${Number((value / (scale as number)).toPrecision(6))}${unit}`;
}

/** Numbers a point of a line. */
export function widthOf({ kind }: PlotLine): number {
  return kind === 'bars' || kind === 'marks' || kind === 'crosses' ? 3 : 2;
}

/** The least and the most value between two times, a little apart; null: there are none. */
export function extent(plot: Plot, from: number, until: number): [number, number] | null {
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const line of plot.lines) {
    const { points } = line;
    const width = widthOf(line);
    for (let i = 0; i < points.length; i += width) {
      if (points[i]! < from || points[i]! > until) continue;
      for (let j = 1; j < width; j++) {
        least = Math.min(least, points[i + j]!);
        most = Math.max(most, points[i + j]!);
      }
    }
  }
  if (least > most) return null;
  const margin = (most - least) * 0.04 || 1;
  return [Math.max(least - margin, least >= 0 ? 0 : least - margin), most + margin];
}

/** The path of one line; `x` and `y` place times and values. */
export function pathOf(line: PlotLine, x: (t: number) => number, y: (v: number) => number): string {
  const { kind, points } = line;
  const width = widthOf(line);
  const parts: string[] = [];
  for (let i = 0; i < points.length; i += width) {
    const px = x(points[i]!).toFixed(1);
    const py = y(points[i + 1]!).toFixed(1);
    const middle = width === 3 ? ((Number(py) + y(points[i + 2]!)) / 2).toFixed(1) : py;
    if (kind === 'bars') parts.push(`M${px} ${py}V${Math.min(y(points[i + 2]!), Number(py) - 1).toFixed(1)}`);
    else if (kind === 'dots' || kind === 'marks') parts.push(`M${px} ${middle}h0`);
    else if (kind === 'crosses') parts.push(`M${px} ${middle}m-3.5-3.5l7 7m0-7l-7 7`);
    else if (i === 0) parts.push(`M${px} ${py}`);
    else parts.push(kind === 'steps' ? `H${px}V${py}` : `L${px} ${py}`);
  }
  return parts.join('');
}

/** Where the lines of a plot stand in its SVG: left, top, and what is left free at the right and at the bottom. */
export function marginsOf(): readonly [number, number, number, number] {
  return [58, 8, 12, 36];
}

/** A plot as SVG, between two times, `width` CSS pixels wide. */
export function plotSvg(plot: Plot, from: number, until: number, width: number): string {
  const { height, title, unit } = plot;
  const [left, top, right, bottom] = marginsOf();
  const [w, h] = [width - left - right, height - top - bottom];
  const [least, most] = extent(plot, from, until) ?? [0, 1];
  const x = (t: number): number => ((t - from) / (until - from || 1)) * w;
  const y = (v: number): number => h - ((v - least) / (most - least || 1)) * h;
  const grid = [
    ...ticks(least, most, Math.max(2, h / 36)).map((v) => {
      const at = (top + y(v)).toFixed(1);
      return `<path class="grid" d="M${left} ${at}h${w}"/><text x="${left - 6}" y="${at}" dy="4" text-anchor="end">${short(v)}</text>`;
    }),
    ...ticks(from, until, Math.max(2, w / 110)).map((t) => {
      const at = (left + x(t)).toFixed(1);
      return `<path class="grid" d="M${at} ${top}v${h}"/><text x="${at}" y="${top + h + 15}" text-anchor="middle">${short(t / 1000)}</text>`;
    }),
  ];
  const lines = plot.lines.map(
    (line) => `<path class="line ${line.color} ${line.kind}" data-name="${line.name}" d="${pathOf(line, x, y)}"/>`,
  );
  return (
    `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${title}, ${unit}, over time">` +
    `${grid.join('')}<rect class="frame" x="${left}" y="${top}" width="${w}" height="${h}"/>` +
    `<text class="axis" x="${left + w}" y="${height - 5}" text-anchor="end">time, s</text>` +
    `<text class="axis" x="13" y="${top + h / 2}" text-anchor="middle" transform="rotate(-90 13 ${top + h / 2})">${unit}</text>` +
    `<svg x="${left}" y="${top}" width="${w}" height="${h}">${lines.join('')}` +
    `<rect class="band" width="0" height="${h}"/><path class="cross" d=""/></svg></svg>`
  );
}

/** A plot with its title and legend. @param hidden - names of lines that are not drawn, each behind its plot's title */
export function figure(plot: Plot, from: number, until: number, width: number, hidden: ReadonlySet<string>): string {
  const shown = { ...plot, lines: plot.lines.filter(({ name }) => !hidden.has(`${plot.title} ${name}`)) };
  const legend = plot.lines.map(({ name, color, kind }) => {
    const key = `${plot.title} ${name}`;
    const sign = kind === 'crosses' ? '\u00d7' : kind === 'dots' || kind === 'marks' ? '\u25cf' : '\u25ac';
    return (
      `<button type="button" data-key="${key}" aria-pressed="${!hidden.has(key)}">` +
      `<i class="${color}">${sign}</i> ${name} <output></output></button>`
    );
  });
  return (
    `<figure><figcaption><b>${plot.title}</b> ${legend.join('')}</figcaption>` +
    `${plotSvg(shown, from, until, width)}</figure>`
  );
}
