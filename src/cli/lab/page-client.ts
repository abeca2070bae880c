/**
 * What runs in the page of `--html`. The functions are put into the page as text, by `page.ts`: so each stands alone, and
 * what they use is one of them or a parameter. @module
 */

/** A curve, or what is drawn instead of one. */
export interface PlotLine {
  readonly name: string;
  readonly color: string;
  /** `bars`: from one value to another, three numbers a point; else time and value. */
  readonly kind: 'line' | 'steps' | 'dots' | 'bars';
  readonly points: readonly number[];
}

export interface Plot {
  readonly title: string;
  readonly unit: string;
  readonly lines: readonly PlotLine[];
}

export interface PageFlow {
  readonly name: string;
  readonly fromMs: number;
  readonly untilMs: number;
  readonly plots: readonly Plot[];
}

/** What the page shows. Packets: time, interface, line, flow. */
export interface PageData {
  readonly flows: readonly PageFlow[];
  readonly packets: readonly (readonly [number, string, string, number])[];
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

/** The least and the most value between two times, a little apart; null: there are none. */
export function extent(plot: Plot, from: number, until: number): [number, number] | null {
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const { kind, points } of plot.lines) {
    const width = kind === 'bars' ? 3 : 2;
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
  const width = kind === 'bars' ? 3 : 2;
  const parts: string[] = [];
  for (let i = 0; i < points.length; i += width) {
    const px = x(points[i]!).toFixed(1);
    const py = y(points[i + 1]!).toFixed(1);
    if (kind === 'bars') parts.push(`M${px} ${py}V${Math.min(y(points[i + 2]!), Number(py) - 1).toFixed(1)}`);
    else if (kind === 'dots') parts.push(`M${px} ${py}h0`);
    else if (i === 0) parts.push(`M${px} ${py}`);
    else parts.push(kind === 'steps' ? `H${px}V${py}` : `L${px} ${py}`);
  }
  return parts.join('');
}

/** A plot as SVG, between two times. */
export function plotSvg(plot: Plot, from: number, until: number, width: number, height: number): string {
  const [left, top, right, bottom] = [64, 22, 10, 22];
  const [w, h] = [width - left - right, height - top - bottom];
  const [least, most] = extent(plot, from, until) ?? [0, 1];
  const x = (t: number): number => ((t - from) / (until - from || 1)) * w;
  const y = (v: number): number => h - ((v - least) / (most - least || 1)) * h;
  const grid = [
    ...ticks(least, most, 5).map((v) => {
      const at = (top + y(v)).toFixed(1);
      return `<path class="grid" d="M${left} ${at}h${w}"/><text x="${left - 6}" y="${at}" dy="4" text-anchor="end">${short(v)}</text>`;
    }),
    ...ticks(from, until, 8).map((t) => {
      const at = (left + x(t)).toFixed(1);
      return `<path class="grid" d="M${at} ${top}v${h}"/><text x="${at}" y="${height - 6}" text-anchor="middle">${short(t / 1000)} s</text>`;
    }),
  ];
  const lines = plot.lines.map((line) => {
    const dots = line.kind === 'dots' ? ' stroke-width="3" stroke-linecap="round"' : '';
    return `<path fill="none" stroke="${line.color}"${dots} d="${pathOf(line, x, y)}"/>`;
  });
  const legend = plot.lines.map((line) => `<tspan fill="${line.color}"> ■ ${line.name}</tspan>`).join('');
  return (
    `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${plot.title}">` +
    `<text x="${left}" y="14"><tspan class="title">${plot.title}, ${plot.unit}</tspan>${legend}</text>${grid.join('')}` +
    `<svg x="${left}" y="${top}" width="${w}" height="${h}">${lines.join('')}</svg></svg>`
  );
}

/** Packets between two times, of a flow (0: of all), with a text in their line; at most so many. */
export function choosePackets(
  packets: PageData['packets'],
  from: number,
  until: number,
  flow: number,
  text: string,
  max: number,
): { lines: string[]; count: number } {
  const lines: string[] = [];
  let count = 0;
  for (const [at, name, line, number] of packets) {
    if (at < from || at > until || (flow > 0 && number !== flow)) continue;
    if (text !== '' && !line.includes(text) && !name.includes(text)) continue;
    if (count++ < max) lines.push(`${at.toFixed(3).padStart(12)}  ${name.padEnd(16)}  ${line}`);
  }
  return { lines, count };
}

/** The time under the pointer, in a plot of the usual margins; null: it is over none. */
export function timeAt(event: MouseEvent, from: number, until: number): number | null {
  const svg = (event.target as Element).closest('#plots > svg');
  if (svg === null) return null;
  const box = svg.getBoundingClientRect();
  const part = (((event.clientX - box.left) / box.width) * 960 - 64) / (960 - 64 - 10);
  return from + Math.min(Math.max(part, 0), 1) * (until - from);
}

/** Lets the page live: choose a flow, drag over a plot to zoom, twice clicked to see all, filter the packets. */
export function startPage(data: PageData, page: Document): void {
  const element = <T extends HTMLElement>(id: string): T => page.getElementById(id) as T;
  const flowBox = element<HTMLSelectElement>('flow');
  const filterBox = element<HTMLInputElement>('filter');
  const plots = element('plots');
  const list = element('packets');
  let number = 0;
  let [from, until] = [0, 1];
  const showPackets = (): void => {
    const { lines, count } = choosePackets(data.packets, from, until, number, filterBox.value, 2000);
    list.textContent = lines.join('\n');
    element('count').textContent = count > lines.length ? `${lines.length} of ${count} packets` : `${count} packets`;
  };
  const show = (): void => {
    const flow = data.flows[number - 1];
    plots.innerHTML = (flow?.plots ?? []).map((plot) => plotSvg(plot, from, until, 960, 240)).join('');
    element('range').textContent = `${(from / 1000).toFixed(4)} to ${(until / 1000).toFixed(4)} s`;
    showPackets();
  };
  const reset = (): void => {
    number = Number(flowBox.value);
    const flow = data.flows[number - 1];
    const last = data.packets.length === 0 ? 1 : data.packets[data.packets.length - 1]![0];
    [from, until] = flow === undefined ? [0, last] : [flow.fromMs, flow.untilMs];
    show();
  };
  let pressed: number | null = null;
  plots.addEventListener('mousedown', (event) => {
    pressed = timeAt(event, from, until);
    event.preventDefault();
  });
  plots.addEventListener('mouseup', (event) => {
    const released = timeAt(event, from, until);
    if (pressed === null || released === null || Math.abs(released - pressed) < (until - from) / 200) return;
    [from, until] = [Math.min(pressed, released), Math.max(pressed, released)];
    pressed = null;
    show();
  });
  plots.addEventListener('dblclick', reset);
  flowBox.addEventListener('change', reset);
  filterBox.addEventListener('input', showPackets);
  reset();
}
