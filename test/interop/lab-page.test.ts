/** The page of `ethertype lab --html`, in a browser. @module */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { Flow } from '../../src/cli/lab/flow.ts';
import { Observer } from '../../src/cli/lab/observer.ts';
import { pageOf } from '../../src/cli/lab/page.ts';
import type { PageData } from '../../src/cli/lab/page-client.ts';
import { inkOf, launch, type Picture, pixelsOf, readPng, skipBrowser } from './screen.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const LAB = fileURLToPath(new URL('../../../examples/lab.json', import.meta.url));
const PICTURE = fileURLToPath(new URL('../../../test/interop/lab-page.txt', import.meta.url));
const options = { timeout: 60_000 };
const PLOTS = ['Sequence numbers', 'Congestion window', 'Round trip'];
/** Cells of the picture of a plot, and how far all its digits together may be off: another Chromium draws other edges. */
const CELLS = { columns: 64, rows: 12 };
const PICTURE_OFF_MAX = 0.06;

function ethertype(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    timeout: 30_000,
  });
  assert.equal(status, 0, stderr);
  return stdout;
}

/** A page of numbers that no change of the stack changes: a slow start, a loss, and what follows. */
function drawnPage(): string {
  const observer = new Observer({ lists: true });
  const flow = new Flow(
    1,
    4,
    { host: 'a', address: '10.0.0.1', port: 1 },
    { host: 'b', address: '10.0.0.2', port: 2 },
    0,
  );
  const half = flow.forward;
  for (let i = 0, seq = 1; i < 200; i++) {
    const at = i * 10;
    half.data.push(at, seq, seq + 5000);
    half.acked.push(at + 5, seq);
    half.edge.push(at + 5, seq + 400_000);
    if (i % 50 === 49) half.again.push(at, seq - 50_000, seq - 40_000);
    if (i % 50 === 39) half.lost.push(at, seq, seq + 5000);
    half.cwnd.push(at, 10_000 + (i % 100) * 500);
    half.inFlight.push(at, 5000 + (i % 100) * 400);
    half.ssthresh.push(at, i < 100 ? 60_000 : 30_000);
    half.rtt.push(at, 20 + 10 * Math.sin(i / 10));
    half.srtt.push(at, 20 + 5 * Math.sin(i / 10));
    seq += 5000;
  }
  flow.endMs = 2000;
  observer.flows.push(flow);
  observer.packets.push({ atMs: 5, from: 'a', line: 'ARP, who-has', flow: 0 });
  return pageOf({ observer, virtualMs: 2000, hosts: [], done: [] }, { title: 'drawn', seed: 1 });
}

describe('the page of the lab', { skip: skipBrowser() }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'et-page-'));
  const file = join(folder, 'lab.html');
  const drawn = join(folder, 'drawn.html');
  const capture = join(folder, 'lab.pcapng');
  let browser: Browser;
  before(async () => {
    ethertype('lab', LAB, '--html', file, '--pcap', capture);
    writeFileSync(drawn, drawnPage());
    browser = await launch();
  }, options);
  after(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true });
  });

  /** Opens a page, does what is to be done, and sees to it that the page was content and asked nobody for anything. */
  async function open(
    path: string,
    size: { width: number; height: number },
    scheme: 'light' | 'dark',
    work: (page: Page) => Promise<void>,
  ): Promise<void> {
    const page = await browser.newPage({ viewport: size, colorScheme: scheme });
    const said: string[] = [];
    const asked: string[] = [];
    page.on('console', (message) => said.push(message.text()));
    page.on('pageerror', (error) => said.push(String(error)));
    page.on('request', (request) => asked.push(request.url()));
    try {
      await page.goto(pathToFileURL(path).href);
      await work(page);
      assert.deepEqual(said, []);
      assert.deepEqual(asked, [pathToFileURL(path).href]);
    } finally {
      await page.close();
    }
  }
  const wide = { width: 1280, height: 900 };
  const plotOf = (page: Page, i: number) => page.locator('figure > svg').nth(i);
  /** What stands between the axes. */
  const inside = async (page: Page, i: number): Promise<Picture> =>
    readPng(await page.locator('figure > svg > svg').nth(i).screenshot());
  const boxOf = async (page: Page, i: number) => (await plotOf(page, i).boundingBox())!;

  for (const scheme of ['light', 'dark'] as const) {
    test(`${scheme}: every line of every plot is there, in its own colour`, options, () =>
      open(file, wide, scheme, async (page) => {
        assert.deepEqual(await page.locator('figcaption b').allTextContents(), PLOTS);
        for (const i of PLOTS.keys()) {
          const picture = await inside(page, i);
          const lines = await plotOf(page, i)
            .locator('path.line')
            .evaluateAll((paths) =>
              paths.map((path) => ({
                name: path.getAttribute('data-name'),
                color: getComputedStyle(path).stroke.match(/\d+/g)!.slice(0, 3).map(Number),
              })),
            );
          for (const { name, color } of lines) {
            const pixels = pixelsOf(picture, color);
            assert.ok(pixels.length > 50, `${PLOTS[i]}, ${name}: ${pixels.length} pixels`);
          }
        }
      }),
    );
  }

  test('the sequence numbers rise from the left below to the right above', options, () =>
    open(drawn, wide, 'light', async (page) => {
      const picture = await inside(page, 0);
      const blue = pixelsOf(picture, [0x1f, 0x5f, 0xd0]);
      const mean = (pixels: { y: number }[]): number => pixels.reduce((sum, { y }) => sum + y, 0) / pixels.length;
      const left = mean(blue.filter(({ x }) => x < picture.width / 10));
      const right = mean(blue.filter(({ x }) => x > (picture.width * 9) / 10));
      assert.ok(left - right > picture.height / 2, `${left} to ${right} of ${picture.height}`);
      const crosses = pixelsOf(picture, [0xd0, 0x20, 0x2b]).map(({ x }) => x);
      // Lost at 390, 890, 1390 and 1890 of 2000 ms.
      const places = [...new Set(crosses.map((x) => Math.round(((x / picture.width) * 2000 - 390) / 500)))];
      assert.deepEqual(places.sort(), [0, 1, 2, 3]);
    }),
  );

  // Where it should look otherwise: remove test/interop/lab-page.txt, run this, and look at what it wrote.
  test('it looks as it did: test/interop/lab-page.txt', options, () =>
    open(drawn, wide, 'light', async (page) => {
      const seen: string[] = [];
      for (const [i, title] of PLOTS.entries()) {
        seen.push(title, ...inkOf(await inside(page, i), CELLS.columns, CELLS.rows));
      }
      let wanted: string[];
      try {
        wanted = readFileSync(PICTURE, 'utf8').trimEnd().split('\n');
      } catch {
        writeFileSync(PICTURE, `${seen.join('\n')}\n`);
        assert.fail('there was no picture to compare with: look at the one written, and commit it');
      }
      const value = (cell: string | undefined): number => (cell === '.' ? 0 : 1 + Number(cell));
      const off = seen
        .join('')
        .split('')
        .reduce((sum, cell, k) => {
          const other = wanted.join('')[k];
          return cell === other || /[a-z ]/i.test(cell) ? sum : sum + Math.abs(value(cell) - value(other));
        }, 0);
      const all = wanted
        .join('')
        .replace(/[^\d]/g, '')
        .split('')
        .reduce((sum, cell) => sum + value(cell), 0);
      assert.ok(off / all <= PICTURE_OFF_MAX, `${off} of ${all} are off:\n${seen.join('\n')}`);
    }),
  );

  for (const size of [wide, { width: 800, height: 600 }, { width: 390, height: 800 }, { width: 320, height: 568 }]) {
    for (const scheme of ['light', 'dark'] as const) {
      test(`${size.width} by ${size.height}, ${scheme}: nothing is cut off or over another`, options, () =>
        open(file, size, scheme, async (page) => {
          const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(overflow <= 0, `${overflow} pixels too wide`);
          let below = 0;
          for (const selector of [
            'h1',
            '#flow',
            '#facts',
            'figure >> nth=0',
            'figure >> nth=1',
            'figure >> nth=2',
            '#filter',
            '#packets',
          ]) {
            const box = await page.locator(selector).boundingBox();
            assert.ok(box !== null && box.width > 0 && box.height > 0, `${selector} can be seen`);
            assert.ok(box.y >= below, `${selector} is at ${box.y}, below ${below}`);
            assert.ok(box.x >= 0 && box.x + box.width <= size.width, `${selector}: ${JSON.stringify(box)}`);
            below = box.y + box.height - 1;
          }
          for (const i of PLOTS.keys()) {
            const { width } = await boxOf(page, i);
            // Drawn for this width, and not made smaller: its letters have the size they should have.
            assert.equal(await plotOf(page, i).getAttribute('width'), `${Math.round(width)}`);
            const letters = await plotOf(page, i)
              .locator('text')
              .evaluateAll((texts) => texts.map((text) => text.getBoundingClientRect()));
            assert.ok(letters.length >= 6);
            for (const { height, left, right } of letters) assert.ok(height >= 10 && left >= 0 && right <= size.width);
          }
          const ink = await page.evaluate(() => getComputedStyle(document.querySelector('svg text')!).fill);
          assert.equal(ink, scheme === 'light' ? 'rgb(0, 0, 0)' : 'rgb(255, 255, 255)');
        }),
      );
    }
  }

  test('long names and wide letters make it no wider', options, async () => {
    const long = join(folder, `${'lab-of-'.repeat(30)}.json`);
    const name = 'a-host-whose-name-is-as-long-as-a-name-of-dns-may-be-63-letters';
    writeFileSync(long, readFileSync(LAB, 'utf8').replaceAll('"laptop"', `"${name}"`));
    const page = join(folder, 'long.html');
    ethertype('lab', long, '--html', page);
    await open(page, { width: 320, height: 568 }, 'light', async (page) => {
      await page.locator('summary').click();
      for (const spacing of [0, 4]) {
        // As a font would that is half as wide again.
        await page.addStyleTag({ content: `* { letter-spacing: ${spacing}px }` });
        assert.match((await page.locator('h1').textContent())!, /^ethertype lab: lab-of-/);
        assert.match((await page.locator('table').textContent())!, new RegExp(name));
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${overflow} pixels too wide at a spacing of ${spacing}`);
      }
    });
  });

  /** Presses at a part of the width of the first plot, moves to another, and lets go. */
  async function drag(page: Page, from: number, to: number): Promise<void> {
    const { x, y, width } = await boxOf(page, 0);
    const at = (part: number): number => x + 58 + part * (width - 70);
    await page.mouse.move(at(from), y + 100);
    await page.mouse.down();
    await page.mouse.move(at((from + to) / 2), y + 120, { steps: 3 });
    assert.ok(Number(await plotOf(page, 0).locator('.band').getAttribute('width')) > 0, 'what is chosen can be seen');
    await page.mouse.move(at(to), y + 130);
    await page.mouse.up();
  }
  const rangeOf = async (page: Page): Promise<number[]> =>
    ((await page.locator('#range').textContent()) ?? '').match(/[\d.]+/g)!.map(Number);

  test('zoom: by dragging, wider, and back', options, () =>
    open(drawn, wide, 'light', async (page) => {
      const near = (range: number[], wanted: number[]): void => {
        for (const [i, want] of wanted.entries()) assert.ok(Math.abs(range[i]! - want) < 0.01, `${range}`);
      };
      const path = plotOf(page, 0).locator('[data-name=sent]');
      const before = await path.getAttribute('d');
      near(await rangeOf(page), [0, 2]);
      await drag(page, 0.25, 0.75);
      near(await rangeOf(page), [0.5, 1.5]);
      assert.notEqual(await path.getAttribute('d'), before);
      await page.locator('#wider').click();
      near(await rangeOf(page), [0, 2]);
      await drag(page, 0.9, 0.4); // the other way round
      near(await rangeOf(page), [0.8, 1.8]);
      const { x, y } = await boxOf(page, 1);
      await page.mouse.dblclick(x + 300, y + 50);
      near(await rangeOf(page), [0, 2]);
      assert.equal(await path.getAttribute('d'), before);
    }),
  );

  test('what is pointed at is read out in all plots, and hidden lines are not drawn', options, () =>
    open(drawn, wide, 'light', async (page) => {
      const { x, y, width } = await boxOf(page, 1);
      await page.mouse.move(x + 58 + 0.25 * (width - 70), y + 60); // 500 ms
      const read = async (): Promise<Record<string, string>> =>
        Object.fromEntries(
          await page
            .locator('figcaption button')
            .evaluateAll((buttons) =>
              buttons.map((button) => [button.getAttribute('data-key'), button.querySelector('output')!.textContent]),
            ),
        );
      const values = await read();
      assert.equal(values['Congestion window cwnd'], '35,000');
      assert.equal(values['Congestion window ssthresh'], '60,000');
      assert.equal(values['Sequence numbers sent'], '250,001 to 255,001');
      assert.equal(values['Round trip measured'], '10.41 ms');
      assert.match((await plotOf(page, 2).locator('.cross').getAttribute('d'))!, /^M\d/);
      await page.mouse.move(5, 5);
      assert.deepEqual([...new Set(Object.values(await read()))], ['']);
      const window = page.locator('[data-key="Sequence numbers window"]');
      await window.click();
      assert.deepEqual(
        [await window.getAttribute('aria-pressed'), await plotOf(page, 0).locator('[data-name=window]').count()],
        ['false', 0],
      );
      await window.click();
      assert.equal(await plotOf(page, 0).locator('[data-name=window]').count(), 1);
    }),
  );

  test('the packets: of a flow, of all, with a text, found by their time; the lines are those of dump', options, () =>
    open(file, wide, 'light', async (page) => {
      const data = JSON.parse((await page.locator('#data').textContent())!) as PageData;
      // The capture has also what was dropped where it came in, and says why of what was lost on its way.
      const sent = ethertype('dump', '-t', '-r', capture)
        .split('\n')
        .filter((line) => !/^\S+ In /.test(line));
      const lines = sent.slice(0, data.packets.length).map((line) => line.replace(/ -- dropped: fault-\S+$/, ''));
      assert.ok(data.packets.length > 10_000);
      for (const [i, [, name, line]] of data.packets.entries()) {
        // With several interfaces dump says which one it was.
        assert.equal(line, lines[i]!.replace(`${name} Out `, ''), `packet ${i + 1}`);
      }
      const shown = async (): Promise<string[]> => (await page.locator('#packets').textContent())!.split('\n');
      const ofFirst = data.packets.filter(([, , , flow]) => flow === 1);
      const [first] = await shown();
      assert.ok(first!.endsWith(ofFirst[0]![2]), first);
      const count = page.locator('#count');
      assert.equal(await count.textContent(), `the first 2000 of ${ofFirst.length} packets`);
      await page.locator('#filter').fill('Flags [S');
      assert.equal((await shown()).length, ofFirst.filter(([, , line]) => line.includes('Flags [S')).length);
      await page.locator('#flow').selectOption('2');
      const starts = data.packets.filter(([, , line, flow]) => flow === 2 && line.includes('Flags [S'));
      assert.equal(await count.textContent(), `${starts.length} packets`);
      assert.match((await page.locator('#facts').textContent())!, /goodput[\d.]+ [kM]bit\/s/);
      await page.locator('#filter').fill('');
      await page.locator('#flow').selectOption('0');
      assert.equal(await page.locator('figure').count(), 0);
      assert.equal(await count.textContent(), `the first 2000 of ${data.packets.length} packets`);
      await page.locator('#flow').selectOption('1');
      const { x, y, width } = await boxOf(page, 0);
      await page.mouse.click(x + 58 + 0.04 * (width - 70), y + 50);
      const at = await page.locator('#packets').evaluate((list) => list.scrollTop);
      assert.ok(at > 0, 'the list went along');
    }),
  );
});
