import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeclaredAccount } from './declared.ts';
import { Flow } from './flow.ts';
import { Observer } from './observer.ts';
import { pageOf } from './page.ts';
import { choosePackets, type PageData, valueAt } from './page-client.ts';
import { extent, figure, type Plot, pathOf, plotSvg, short, ticks } from './page-plot.ts';

const plot = {
  title: 'Things',
  unit: 'bytes',
  height: 240,
  lines: [
    { name: 'a', color: 'red', kind: 'steps', points: [0, 10, 50, 20, 100, 30] },
    { name: 'b', color: 'blue', kind: 'bars', points: [10, 0, 40, 90, 5, 6] },
  ],
} satisfies Plot;

test('lab/page: ticks are round numbers', () => {
  assert.deepEqual(ticks(0, 10, 5), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(ticks(0.13, 0.31, 4), [0.15, 0.2, 0.25, 0.3]);
  assert.deepEqual(ticks(3, 3, 4), [3]);
  assert.deepEqual([short(1_500_000), short(20_000), short(0.25), short(0)], ['1.5M', '20k', '0.25', '0']);
});

test('lab/page: the extent is that of what is seen', () => {
  const [least, most] = extent(plot, 0, 100)!;
  assert.ok(least === 0 && most > 40 && most < 43);
  const [low, high] = extent(plot, 60, 100)!;
  assert.ok(low > 3 && low < 5 && high > 30 && high < 32);
  assert.equal(extent(plot, 101, 200), null);
});

test('lab/page: paths are steps, bars and dots', () => {
  const id = (n: number): number => n;
  const path = (i: number): string => pathOf(plot.lines[i]!, id, id);
  assert.equal(path(0), 'M0.0 10.0H50.0V20.0H100.0V30.0');
  // A bar that is shorter than a point can be seen still.
  assert.equal(path(1), 'M10.0 0.0V-1.0M90.0 5.0V4.0');
  assert.equal(pathOf({ ...plot.lines[0]!, kind: 'line' }, id, id), 'M0.0 10.0L50.0 20.0L100.0 30.0');
  assert.equal(pathOf({ ...plot.lines[0]!, kind: 'dots' }, id, id), 'M0.0 10.0h0M50.0 20.0h0M100.0 30.0h0');
  assert.equal(pathOf({ ...plot.lines[1]!, kind: 'marks' }, id, id), 'M10.0 20.0h0M90.0 5.5h0');
  assert.equal(
    pathOf({ ...plot.lines[1]!, kind: 'crosses', points: [90, 5, 6] }, id, id),
    'M90.0 5.5m-3.5-3.5l7 7m0-7l-7 7',
  );
  const svg = plotSvg(plot, 0, 100, 960);
  assert.match(svg, /^<svg [^>]*viewBox="0 0 960 240".*<\/svg><\/svg>$/);
  assert.equal(svg.match(/<path class="line (red|blue) (steps|bars)"/g)?.length, 2);
  assert.doesNotMatch(svg, /NaN|Infinity|undefined/);
});

test('lab/page: packets are chosen by time, flow and text', () => {
  const packets: PageData['packets'] = [
    [1, 'alice', 'ARP, who-has', 0],
    [2, 'bob', 'TCP one', 1],
    [3, 'alice', 'TCP two', 1],
    [4, 'alice', 'TCP three', 2],
  ];
  const chosen = (from: number, until: number, flow: number, text: string, max = 9) =>
    choosePackets(packets, from, until, flow, text, max);
  assert.equal(chosen(0, 9, 0, '').count, 4);
  assert.deepEqual(chosen(2, 3, 0, '').lines, ['       2.000  bob    TCP one', '       3.000  alice  TCP two']);
  assert.equal(chosen(0, 9, 1, '').count, 2);
  assert.equal(chosen(0, 9, 0, 'alice').count, 3);
  assert.deepEqual(chosen(0, 9, 0, '', 1), {
    lines: ['       1.000  alice  ARP, who-has'],
    times: [1],
    count: 4,
  });
});

test('lab/page: what lines say of a time', () => {
  const [steps, bars] = plot.lines;
  const at = (t: number): string => valueAt(steps!, t, 1, 'bytes');
  assert.deepEqual([at(-1), at(0), at(49), at(50), at(1e9)], ['', '10', '10', '20', '30']);
  const near = (t: number): string => valueAt(bars!, t, 5, 'bytes');
  assert.deepEqual([near(4), near(5), near(14), near(16), near(86)], ['', '0 to 40', '0 to 40', '', '5 to 6']);
  const dots = { ...steps!, kind: 'dots', points: [10, 20.126, 20, 1234567] } as const;
  assert.equal(valueAt(dots, 11, 5, 'ms'), '20.13 ms');
  assert.equal(valueAt(dots, 19, 5, 'bytes'), '1,234,567');
  assert.equal(valueAt({ ...dots, points: [] }, 19, 5, 'ms'), '');
});

test('lab/page: a legend that hides lines', () => {
  const all = figure(plot, 0, 100, 400, new Set());
  const one = figure(plot, 0, 100, 400, new Set(['Things b']));
  const names = (text: string): string[] => [...text.matchAll(/data-name="(\w)"/g)].map((match) => match[1]!);
  assert.deepEqual([names(all), names(one)], [['a', 'b'], ['a']]);
  assert.match(one, /data-key="Things b" aria-pressed="false"/);
  assert.match(all, /time, s<\/text>/);
});

/** A page with one flow, and a packet whose line would end a script. */
function page(): string {
  const observer = new Observer({ lists: true });
  const flow = new Flow(1, 6, { host: 'a', address: '::1', port: 1 }, { host: 'b', address: '::2', port: 2 }, 1000);
  for (let i = 0; i < 10; i++) {
    flow.forward.cwnd.push(1000 + i, 14_600 + i);
    flow.forward.data.push(1000 + i, i * 100, i * 100 + 100);
  }
  flow.endMs = 1010;
  observer.flows.push(flow);
  observer.packets.push({ atMs: 1000.5, from: 'a', line: 'HTTP: </script><script>alert(1)</script>', flow: 1 });
  observer.packets.push({ atMs: 2000, from: 'b', line: 'ARP', flow: 0 });
  const account: Pick<DeclaredAccount, 'observer' | 'virtualMs' | 'hosts' | 'done'> = {
    observer,
    virtualMs: 2000,
    hosts: [{ name: 'a<b', mac: '', addresses: ['::1/64'] }],
    done: [],
  };
  return pageOf(account, { title: 'x & "y".json', seed: 3 });
}

test('lab/page: the page needs no network, and nothing in it escapes', () => {
  const text = page();
  assert.doesNotMatch(text, /(?:src|href)=|url\(|https?:/, 'nothing is fetched');
  assert.match(text, /Content-Security-Policy" content="default-src 'none'/);
  assert.equal(text.match(/<script/g)?.length, 2);
  assert.equal(text.match(/<\/script>/g)?.length, 2);
  assert.match(text, /<title>x &amp; &quot;y&quot;\.json/);
  assert.match(text, /a&lt;b<td>::1\/64/);
  assert.equal(text.split('<script')[0]!.match(/<figure>/g)?.length, 3, 'the plots are there before any script runs');
});
