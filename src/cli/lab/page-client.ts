/**
 * What the page of `--html` does once it is open. As in `page-plot.ts`, the functions are put into the page as text.
 * @module
 */
import { figure, marginsOf, type Plot, type PlotLine, widthOf } from './page-plot.ts';

export interface PageFlow {
  readonly name: string;
  readonly fromMs: number;
  readonly untilMs: number;
  /** What there is to say of it: what, and how much. */
  readonly facts: readonly (readonly [string, string])[];
  readonly plots: readonly Plot[];
}

/** What the page shows. Packets: time, interface, line, flow. */
export interface PageData {
  readonly flows: readonly PageFlow[];
  readonly packets: readonly (readonly [number, string, string, number])[];
}

/** Packets between two times, of a flow (0: of all), with a text in their line; at most so many. */
export function choosePackets(
  packets: PageData['packets'],
  from: number,
  until: number,
  flow: number,
  text: string,
  max: number,
): { lines: string[]; times: number[]; count: number } {
  const chosen = packets.filter(([at, name, line, number]) => {
    if (at < from || at > until || (flow > 0 && number !== flow)) return false;
    return text === '' || line.includes(text) || name.includes(text);
  });
  const shown = chosen.slice(0, max);
  const width = Math.max(0, ...shown.map(([, name]) => name.length));
  return {
    lines: shown.map(([at, name, line]) => `${at.toFixed(3).padStart(12)}  ${name.padEnd(width)}  ${line}`),
    times: shown.map(([at]) => at),
    count: chosen.length,
  };
}

/** What a line says of a time: steps what holds then, others the nearest point; empty: nothing near. */
export function valueAt(line: PlotLine, t: number, nearMs: number, unit: string): string {
  const { points, kind } = line;
  const width = widthOf(line);
  let [low, high] = [0, points.length / width];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle * width]! <= t) low = middle + 1;
    else high = middle;
  }
  let i = low - 1; // the last one at or before it
  if (kind !== 'steps') {
    const next = points[low * width];
    if (next !== undefined && (i < 0 || next - t < t - points[i * width]!)) i = low;
    if (i < 0 || Math.abs(points[i * width]! - t) > nearMs) return '';
  }
  if (i < 0) return '';
  const text = (value: number): string =>
    unit === 'ms' ? `${Number(value.toFixed(2))} ms` : Math.round(value).toLocaleString('en');
  const first = text(points[i * width + 1]!);
  return width === 3 ? `${first} to ${text(points[i * width + 2]!)}` : first;
}

/** The time under the pointer, in a plot of the usual margins; null: it is over none. */
export function timeAt(event: MouseEvent, from: number, until: number): number | null {
  const svg = (event.target as Element).closest('figure > svg');
  if (svg === null) return null;
  const [left, , right] = marginsOf();
  const box = svg.getBoundingClientRect();
  const part = (event.clientX - box.left - left) / (box.width - left - right);
  return from + Math.min(Math.max(part, 0), 1) * (until - from);
}

/** Shows what the lines of all plots say of a time, and where it is; null: of none. @param band - where dragging began */
export function pointAt(
  page: Document,
  plots: readonly Plot[],
  [from, until]: readonly [number, number],
  t: number | null,
  band: number | null,
): void {
  const [left, , right] = marginsOf();
  for (const [i, shown] of [...page.querySelectorAll('figure')].entries()) {
    const plot = plots[i]!;
    const w = Number(shown.querySelector('svg')!.getAttribute('width')) - left - right;
    const x = (time: number): number => ((time - from) / (until - from || 1)) * w;
    shown.querySelector('.cross')!.setAttribute('d', t === null ? '' : `M${x(t).toFixed(1)} 0v${plot.height}`);
    const rect = shown.querySelector('.band')!;
    const ends = t === null || band === null ? [0, 0] : [x(Math.min(t, band)), x(Math.max(t, band))];
    rect.setAttribute('x', `${ends[0]}`);
    rect.setAttribute('width', `${ends[1]! - ends[0]!}`);
    const near = ((until - from) / w) * 6;
    for (const [k, output] of [...shown.querySelectorAll('output')].entries()) {
      output.textContent = t === null ? '' : valueAt(plot.lines[k]!, t, near, plot.unit);
    }
  }
}

/** What is chosen, and how it is shown. */
export class View {
  readonly data: PageData;
  readonly page: Document;
  number = 0;
  span: [number, number] = [0, 1];
  times: readonly number[] = [];
  readonly hidden = new Set<string>();

  constructor(data: PageData, page: Document) {
    this.data = data;
    this.page = page;
  }

  element<T extends HTMLElement>(id: string): T {
    return this.page.getElementById(id) as T;
  }

  get plots(): readonly Plot[] {
    return this.data.flows[this.number - 1]?.plots ?? [];
  }

  showPackets(): void {
    const text = this.element<HTMLInputElement>('filter').value;
    const { lines, times, count } = choosePackets(this.data.packets, ...this.span, this.number, text, 2000);
    this.times = times;
    this.element('packets').textContent = lines.join('\n');
    const noun = count === 1 ? 'packet' : 'packets';
    this.element('count').textContent =
      count > lines.length ? `the first ${lines.length} of ${count} ${noun}` : `${count} ${noun}`;
  }

  showPlots(): void {
    const [from, until] = this.span;
    const box = this.element('plots');
    const width = Math.max(280, Math.floor(box.clientWidth));
    box.innerHTML = this.plots.map((plot) => figure(plot, from, until, width, this.hidden)).join('');
    this.element('range').textContent = `${(from / 1000).toFixed(4)} to ${(until / 1000).toFixed(4)} s`;
  }

  show(from: number, until: number): void {
    this.span = [from, until];
    this.showPlots();
    this.showPackets();
  }

  /** All of the flow that is chosen. */
  reset(): void {
    this.number = Number(this.element<HTMLSelectElement>('flow').value);
    const { flows, packets } = this.data;
    const flow = flows[this.number - 1];
    const last = packets.length === 0 ? 1 : packets[packets.length - 1]![0];
    const facts = (flow?.facts ?? []).map(([what, value]) => `<div><dt>${what}</dt><dd>${value}</dd></div>`);
    this.element('facts').innerHTML = facts.join('');
    if (flow === undefined) this.show(0, last);
    else this.show(flow.fromMs, flow.untilMs);
  }

  /** Half as much more on either side, as far as the flow goes. */
  widen(): void {
    const flow = this.data.flows[this.number - 1];
    if (flow === undefined) return;
    const [from, until] = this.span;
    const more = (until - from) / 2;
    this.show(Math.max(flow.fromMs, from - more), Math.min(flow.untilMs, until + more));
  }

  /** The list from a time on. */
  scrollTo(t: number): void {
    const list = this.element('packets');
    const before = this.times.filter((at) => at < t).length;
    list.scrollTop = (list.scrollHeight * before) / Math.max(1, this.times.length);
  }
}

/** Lets the page live: choose a flow, point, drag over a plot to zoom, click twice to see all, filter the packets. */
export function startPage(data: PageData, page: Document): void {
  const view = new View(data, page);
  const plots = view.element('plots');
  let pressed: number | null = null;
  const point = (event: PointerEvent): void =>
    pointAt(page, view.plots, view.span, timeAt(event, ...view.span), pressed);
  plots.addEventListener('pointerdown', (event) => {
    pressed = timeAt(event, ...view.span);
    if (pressed !== null) event.preventDefault();
  });
  plots.addEventListener('pointermove', point);
  plots.addEventListener('pointerup', (event) => {
    const [from, until] = [pressed, timeAt(event, ...view.span)];
    pressed = null;
    if (from === null || until === null) return;
    const isDrag = Math.abs(until - from) > (view.span[1] - view.span[0]) / 200;
    if (isDrag) view.show(Math.min(from, until), Math.max(from, until));
    else view.scrollTo(until);
  });
  plots.addEventListener('pointerleave', () => {
    pressed = null;
    pointAt(page, view.plots, view.span, null, null);
  });
  plots.addEventListener('click', (event) => {
    const key = (event.target as Element).closest('button')?.getAttribute('data-key');
    if (key === undefined || key === null) return;
    if (!view.hidden.delete(key)) view.hidden.add(key);
    view.showPlots();
  });
  plots.addEventListener('dblclick', (event) => {
    if (timeAt(event, ...view.span) !== null) view.reset();
  });
  view.element('all').addEventListener('click', () => view.reset());
  view.element('wider').addEventListener('click', () => view.widen());
  view.element('flow').addEventListener('change', () => view.reset());
  view.element('filter').addEventListener('input', () => view.showPackets());
  page.defaultView?.addEventListener('resize', () => view.showPlots());
  view.reset();
}
