/** The page of `--html`: one file, with all it needs in it; it asks no network for anything. @module */
import type { DeclaredAccount } from './declared.ts';
import type { Flow, Half } from './flow.ts';
import { endText, LISTED_MAX, type ListedPacket } from './observer.ts';
import {
  choosePackets,
  extent,
  type PageData,
  type PageFlow,
  type Plot,
  type PlotLine,
  pathOf,
  plotSvg,
  short,
  startPage,
  ticks,
  timeAt,
} from './page-client.ts';
import { grouped, inBitsPerSecond, inBytes, inTime } from './text.ts';

/** Flows with plots; the others are in the packet list only. */
const FLOWS_MAX = 50;
/** What the page runs: functions as text, in one scope. */
const FUNCTIONS = [ticks, short, extent, pathOf, plotSvg, choosePackets, timeAt, startPage];
const BLUE = '#2a6fdb';
const RED = '#d63031';
const GREEN = '#1e9e5a';
const ORANGE = '#e08e0b';
const GREY = '#8a8f98';

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
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>${escaped(title)} - ethertype lab</title>
<style>${STYLE}</style>
<h1>ethertype lab: ${escaped(title)}</h1>
<p>Seed ${seed}, ${inTime(virtualMs)} of virtual time, ${grouped(frames)} frames${left}.
${hosts.map(({ name, addresses }) => escaped(`${name} ${addresses.join(' ')}`)).join('; ')}.</p>
<ul>${did.join('')}</ul>
<p><label>Flow <select id="flow">${options.join('')}<option value="0">all packets</option></select></label>
<span id="range"></span> <small>drag over a plot to zoom, click twice to see all</small></p>
<div id="plots">${(first?.plots ?? []).map((plot) => plotSvg(plot, first!.fromMs, first!.untilMs, 960, 240)).join('')}</div>
<p><label>Packets with <input id="filter" size="30"></label> <span id="count"></span></p>
<pre id="packets"></pre>
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
:root { color-scheme: light dark; font: 14px/1.45 system-ui, sans-serif }
body { max-width: 980px; margin: 1.5em auto; padding: 0 1em }
h1 { font-size: 1.4em }
svg { max-width: 100%; height: auto; display: block; user-select: none; cursor: crosshair }
svg text { font: 11px system-ui, sans-serif; fill: currentColor }
svg .title { font-weight: bold }
svg .grid { stroke: #8884; fill: none }
pre { font: 12px/1.4 ui-monospace, monospace; overflow: auto; max-height: 40em; border: 1px solid #8886; padding: .5em }
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
  const plots = [sequencePlot(main), windowPlot(main), rttPlot(main)];
  return { name: nameOf(flow), fromMs: startMs, untilMs: Math.max(endMs, startMs + 1), plots };
}

const line = (name: string, color: string, kind: PlotLine['kind'], points: readonly number[]): PlotLine => ({
  name,
  color,
  kind,
  points: rounded(points),
});

/** After Stevens: each segment a bar where it was sent, under the edge of the window and over what is acknowledged. */
const sequencePlot = ({ data, again, acked, edge }: Half): Plot => ({
  title: 'Sequence numbers',
  unit: 'bytes',
  lines: [
    line('window', GREY, 'steps', edge.values),
    line('acknowledged', GREEN, 'steps', acked.values),
    line('sent', BLUE, 'bars', data.values),
    line('sent again', RED, 'bars', again.values),
  ],
});

const windowPlot = ({ cwnd, ssthresh, inFlight }: Half): Plot => ({
  title: 'Congestion window',
  unit: 'bytes',
  lines: [
    line('in flight', GREY, 'steps', inFlight.values),
    line('ssthresh', ORANGE, 'steps', ssthresh.values),
    line('cwnd', BLUE, 'steps', cwnd.values),
  ],
});

const rttPlot = ({ rtt, srtt }: Half): Plot => ({
  title: 'Round trip',
  unit: 'ms',
  lines: [line('measured', GREEN, 'dots', rtt.values), line('smoothed', BLUE, 'steps', srtt.values)],
});
