/** The page of `--html`: one file, with all it needs in it; it asks no network for anything. @module */
import type { DeclaredAccount } from './declared.ts';
import type { Flow, Half } from './flow.ts';
import { endText, LISTED_MAX, type ListedPacket } from './observer.ts';
import {
  choosePackets,
  type PageData,
  type PageFlow,
  pointAt,
  startPage,
  timeAt,
  View,
  valueAt,
} from './page-client.ts';
import {
  extent,
  figure,
  marginsOf,
  type Plot,
  type PlotLine,
  pathOf,
  plotSvg,
  short,
  ticks,
  widthOf,
} from './page-plot.ts';
import { counted, grouped, inBitsPerSecond, inBytes, inTime } from './text.ts';

/** Flows with plots; the others are in the packet list only. */
const FLOWS_MAX = 50;
/** What the page runs: functions as text, in one scope. */
const FUNCTIONS = [
  ...[ticks, short, widthOf, extent, pathOf, marginsOf, plotSvg, figure],
  ...[choosePackets, valueAt, timeAt, pointAt, View, startPage],
];
/** Of the plots before a script has looked how much room there is. */
const WIDTH = 960;
const SEQUENCE_HEIGHT = 330;
const HEIGHT = 210;

export interface PageOptions {
  readonly title: string;
  readonly seed: number;
}

/** The whole text of the page. */
export function pageOf(
  { observer, virtualMs, hosts, done }: Pick<DeclaredAccount, 'observer' | 'virtualMs' | 'hosts' | 'done'>,
  { title, seed }: PageOptions,
): string {
  const { flows, packets, frames } = observer;
  const data: PageData = { flows: flows.slice(0, FLOWS_MAX).map(pageFlow), packets: packets.map(pagePacket) };
  // No text of the data can end the script it stands in.
  const json = JSON.stringify(data).replaceAll('<', '\\u003c');
  const left = frames > packets.length ? `, the first ${grouped(LISTED_MAX)} of them` : '';
  const options = flows
    .slice(0, FLOWS_MAX)
    .map((flow, i) => `<option value="${i + 1}">${escaped(nameOf(flow))}</option>`);
  const did = done.map(({ host, what, text }) => `<li>${escaped(`${host}: ${what}: ${text}`)}</li>`);
  const first = data.flows[0];
  const figures = (first?.plots ?? []).map((plot) => figure(plot, first!.fromMs, first!.untilMs, WIDTH, new Set()));
  const rows = hosts.map(({ name, addresses }) => `<tr><th>${escaped(name)}<td>${escaped(addresses.join(', '))}`);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>${escaped(title)} - ethertype lab</title>
<style>${STYLE}</style>
<header>
<h1>ethertype lab: ${escaped(title)}</h1>
<p>Seed ${seed}, ${inTime(virtualMs)} of virtual time, ${grouped(frames)} frames${left}.</p>
<details><summary>${counted(hosts.length, 'host')}</summary><table>${rows.join('')}</table></details>
<ul>${did.join('')}</ul>
</header>
<main>
<p class="controls"><label>Flow <select id="flow">${options.join('')}<option value="0">all packets</option></select></label>
<button type="button" id="wider">zoom out</button> <button type="button" id="all">all of it</button> <span id="range"></span></p>
<dl id="facts"></dl>
<div id="plots">${figures.join('')}</div>
<p class="hint">Point to read values. Drag to zoom, double-click to see all. Click to find the time in the list. A name in a
legend hides its line.</p>
<p class="controls"><label>Packets with <input id="filter" size="24" placeholder="a text of their line"></label> <span id="count"></span></p>
<pre id="packets" tabindex="0"></pre>
</main>
<script type="application/json" id="data">${json}</script>
<script>
'use strict';
${FUNCTIONS.map(String).join('\n')}
startPage(JSON.parse(document.getElementById('data').textContent), document);
</script>
</html>
`;
}

const STYLE = `
:root { color-scheme: light dark; font: 14px/1.45 system-ui, sans-serif;
  --blue: #1f5fd0; --red: #d0202b; --green: #0b7d45; --orange: #b86a00; --grey: #767b85; --edge: #8885; --grid: #8883 }
@media (prefers-color-scheme: dark) {
  :root { --blue: #6ea8ff; --red: #ff6b6b; --green: #4fd08b; --orange: #f0a93c; --grey: #9aa0aa } }
* { box-sizing: border-box }
body { max-width: 1280px; margin: 1em auto; padding: 0 1em; overflow-wrap: anywhere }
h1 { font-size: 1.5em; margin: .2em 0 }
header p, header ul { margin: .3em 0 }
table { border-spacing: 0 } th { text-align: left; padding-right: 1em; font-weight: 600 }
label { min-width: 0; max-width: 100% }
.controls { display: flex; flex-wrap: wrap; gap: .6em; align-items: center; margin: 1em 0 .5em }
select, input, button { font: inherit; max-width: 100% }
#flow { max-width: min(46em, 100%) }
#range, #count, .hint { color: var(--grey) }
#facts { display: flex; flex-wrap: wrap; gap: .5em; margin: .5em 0 }
#facts div { border: 1px solid var(--edge); border-radius: .4em; padding: .25em .7em }
dt { font-size: .8em; color: var(--grey) } dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums }
figure { margin: 1em 0 0 }
figcaption { display: flex; flex-wrap: wrap; gap: .1em .9em; align-items: baseline; padding-left: 58px; min-height: 1.6em }
figcaption button { border: 0; background: none; color: inherit; padding: 0; cursor: pointer }
figcaption button[aria-pressed=false] { opacity: .45; text-decoration: line-through }
figcaption i { font-style: normal }
i.blue { color: var(--blue) } i.red { color: var(--red) } i.green { color: var(--green) }
i.orange { color: var(--orange) } i.grey { color: var(--grey) }
output { font-weight: 600; font-variant-numeric: tabular-nums }
svg { display: block; max-width: 100%; user-select: none; cursor: crosshair; touch-action: pan-y }
svg text { font: 11px system-ui, sans-serif; fill: currentColor }
svg .axis { fill: var(--grey) }
.grid { stroke: var(--grid) } .frame { fill: none; stroke: var(--edge) }
.line { fill: none; stroke-width: 1.3; stroke-linejoin: round }
.bars { stroke-width: 2 } .dots { stroke-width: 3; stroke-linecap: round }
.marks { stroke-width: 6; stroke-linecap: round } .crosses { stroke-width: 1.8 }
.line.blue { stroke: var(--blue) } .line.red { stroke: var(--red) } .line.green { stroke: var(--green) }
.line.orange { stroke: var(--orange) } .line.grey { stroke: var(--grey) }
.cross { stroke: currentColor; stroke-width: .7 } .band { fill: var(--blue); opacity: .18 }
pre { font: 12px/1.45 ui-monospace, monospace; overflow: auto; height: 34em; margin: .3em 0; padding: .5em;
  border: 1px solid var(--edge); border-radius: .4em }
`;

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string): string => text.replace(/[&<>"]/g, (char) => ENTITIES[char]!);

const nameOf = ({ number, client, server, family, main, resent }: Flow): string =>
  `${number}: ${endText(client)} > ${endText(server)}, IPv${family}, ${inBytes(main.payloadBytes)}, ` +
  `${inBitsPerSecond(main.goodput)}, ${grouped(resent)} sent again`;

/** A microsecond is as fine as a plot can be. */
const rounded = (values: readonly number[]): number[] => values.map((value) => Math.round(value * 1000) / 1000);

const pagePacket = ({ atMs, from, line, flow }: ListedPacket): PageData['packets'][number] => [
  Math.round(atMs * 1000) / 1000,
  from,
  line,
  flow,
];

function pageFlow(flow: Flow): PageFlow {
  const { main, startMs, endMs } = flow;
  const plots = [sequencePlot(flow), windowPlot(main), rttPlot(main)];
  // As fine as the times of packets, which are all within.
  const fromMs = Math.floor(startMs * 1000) / 1000;
  const untilMs = Math.ceil(Math.max(endMs, startMs + 1) * 1000) / 1000;
  return { name: nameOf(flow), fromMs, untilMs, facts: factsOf(flow), plots };
}

function factsOf({ main, resent, lost, startMs, endMs }: Flow): PageFlow['facts'] {
  const times = main.roundTrips;
  return [
    ['carried', inBytes(main.payloadBytes)],
    ['goodput', inBitsPerSecond(main.goodput)],
    ['duration', inTime(endMs - startMs)],
    [
      'round trip, least / median / most',
      times === null ? 'none' : `${times.map((ms) => ms.toFixed(1)).join(' / ')} ms`,
    ],
    ['segments sent again', grouped(resent)],
    ['segments lost', grouped(lost)],
  ];
}

const line = (name: string, color: PlotLine['color'], kind: PlotLine['kind'], points: readonly number[]): PlotLine => ({
  name,
  color,
  kind,
  points: rounded(points),
});

/** Those segments of the half that the plots are about which came to nobody, in the order of time. */
function lostOf({ main, forward, messages }: Flow): number[] {
  const isForward = main === forward;
  const lost = messages
    .filter((one) => one.isForward === isForward && one.length > 0 && one.arrivedMs === null)
    .map(({ atMs, seq, length }) => [atMs, seq, seq + length]);
  const { values } = main.lost;
  for (let i = 0; i < values.length; i += 3) lost.push(values.slice(i, i + 3));
  return lost.sort(([a], [b]) => a! - b!).flat();
}

/** After Stevens: each segment a bar where it was sent, under the edge of the window and over what is acknowledged. */
function sequencePlot(flow: Flow): Plot {
  const { data, again, acked, edge } = flow.main;
  return {
    title: 'Sequence numbers',
    unit: 'bytes',
    height: SEQUENCE_HEIGHT,
    lines: [
      line('window', 'grey', 'steps', edge.values),
      line('acknowledged', 'green', 'steps', acked.values),
      line('sent', 'blue', 'bars', data.values),
      line('sent again', 'orange', 'marks', again.values),
      line('lost', 'red', 'crosses', lostOf(flow)),
    ],
  };
}

const windowPlot = ({ cwnd, ssthresh, inFlight }: Half): Plot => ({
  title: 'Congestion window',
  unit: 'bytes',
  height: HEIGHT,
  lines: [
    line('in flight', 'grey', 'steps', inFlight.values),
    line('ssthresh', 'orange', 'steps', ssthresh.values),
    line('cwnd', 'blue', 'steps', cwnd.values),
  ],
});

const rttPlot = ({ rtt, srtt }: Half): Plot => ({
  title: 'Round trip',
  unit: 'ms',
  height: HEIGHT,
  lines: [line('measured', 'green', 'dots', rtt.values), line('smoothed', 'blue', 'steps', srtt.values)],
});
