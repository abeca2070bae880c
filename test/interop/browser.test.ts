/**
 * In a browser: hosts in a page, and a stack in a worker with its sockets on the page or in another worker, over a port and
 * over shared memory. Debian's Chromium is driven by playwright-core; where there is none, the tests are skipped.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { delimiter, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Browser, Page } from 'playwright-core';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const names = ['chromium', 'chromium-browser', 'google-chrome'];
const chromium = (process.env.PATH ?? '')
  .split(delimiter)
  .flatMap((folder) => names.map((name) => join(folder, name)))
  .find((path) => existsSync(path));
const skip = chromium === undefined ? 'needs Chromium' : false;

/** What the page loads, by its path. Bundled for a browser, so that whatever a browser has not fails here. */
async function bundle(): Promise<Map<string, Uint8Array>> {
  const { outputFiles } = await build({
    entryPoints: {
      page: join(root, 'test/browser/page.ts'),
      worker: join(root, 'test/browser/worker.ts'),
      'spawn-worker': join(root, 'src/netstack/spawn-worker.ts'),
    },
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    outdir: '/',
    write: false,
    logLevel: 'error',
  });
  return new Map(outputFiles.map(({ path, contents }) => [path, contents]));
}

function serve(files: ReadonlyMap<string, Uint8Array>): Promise<Server> {
  const html =
    '<!doctype html><meta charset="utf-8"><title>ethertype</title><script type="module" src="/page.js"></script>';
  const server = createServer(({ url = '/' }, response) => {
    const { pathname } = new URL(url, 'http://127.0.0.1');
    const script = files.get(pathname);
    const isPage = pathname === '/plain' || pathname === '/isolated';
    // A page without the first two headers is not cross-origin isolated, and has no shared memory.
    if (pathname !== '/plain') response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    if (pathname === '/isolated') response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    response.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
    response.setHeader('Content-Type', isPage ? 'text/html' : 'text/javascript');
    response.statusCode = isPage || script !== undefined ? 200 : 404;
    response.end(isPage ? html : (script ?? ''));
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

type Results = [title: string, error: string | null][];

/** Path of the page, what its engine lacks, the test of `test/browser/page-tests.ts` and its arguments, and its result. */
type Row = readonly [title: string, path: string, without: string, name: string, args: unknown[], result?: unknown];

const rows: readonly Row[] = [
  ['a page is not isolated by itself', 'plain', '', 'isolated', [], false],
  ['but with its headers', 'isolated', '', 'isolated', [], true],
  ['two hosts in the page', 'plain', '', 'hosts', []],
  ['two hosts in an isolated page', 'isolated', '', 'hosts', []],
  ['a request and its answer over IPv6', 'plain', '', 'http', [], /200 OK[\s\S]*you asked for \/page$/],
  ['a stack in the page behind a channel', 'plain', '', 'here', []],
  ['a stack in an isolated page behind a channel', 'isolated', '', 'here', []],
  ['a stack in the page, sockets in a worker', 'plain', '', 'stackHere', [false]],
  ['a stack in the page, a worker that blocks', 'isolated', '', 'stackHere', [true]],
  ['over a port: sockets in the page', 'plain', '', 'page', [false]],
  ['over a port: sockets in another worker', 'plain', '', 'worker', [false, false]],
  ['over a port: bulk', 'plain', '', 'bulk', [false], 0],
  ['over a port: a worker that ends leaves no socket', 'plain', '', 'appEnds', [false]],
  ['over a port: a stack that ends is told of', 'plain', '', 'stackEnds', [false]],
  ['over a port, locks only: a worker that ends leaves no socket', 'plain', 'close', 'appEnds', [false]],
  ['over a port, locks only: a stack that ends is told of', 'plain', 'close', 'stackEnds', [false]],
  ['over a port: of a worker with a channel of the page’s, too', 'plain', '', 'appEnds', [false, true]],
  ['shared memory: sockets in the page', 'isolated', '', 'page', [true]],
  ['shared memory: sockets in another worker', 'isolated', '', 'worker', [true, false]],
  ['shared memory: blocking in another worker', 'isolated', '', 'worker', [true, true]],
  ['shared memory: worker and stack block', 'isolated', '', 'worker', [true, true, true]],
  ['shared memory: bulk', 'isolated', '', 'bulk', [true], 0],
  ['shared memory: a worker that ends leaves no socket', 'isolated', '', 'appEnds', [true]],
  ['shared memory: of a worker with a channel of the page’s, too', 'isolated', '', 'appEnds', [true, true]],
  ['shared memory: a stack that ends is told of', 'isolated', '', 'stackEnds', [true]],
  ['shared memory: a blocked worker is told that the stack ended', 'isolated', '', 'stackEndsUnderBlocked', []],
  ['shared memory, locks only: a worker that ends leaves no socket', 'isolated', 'close', 'appEnds', [true]],
  ['shared memory, locks only: a stack that ends is told of', 'isolated', 'close', 'stackEnds', [true]],
  ['without Atomics.waitAsync: sockets in the page', 'isolated', 'waitAsync', 'page', [true]],
  ['without Atomics.waitAsync: sockets in another worker', 'isolated', 'waitAsync', 'worker', [true, false]],
  ['without Atomics.waitAsync: blocking in another worker', 'isolated', 'waitAsync', 'worker', [true, true]],
  ['without Atomics.waitAsync: worker and stack block', 'isolated', 'waitAsync', 'worker', [true, true, true]],
  [
    'without Atomics.waitAsync: a stack in the page, a worker that blocks',
    'isolated',
    'waitAsync',
    'stackHere',
    [true],
  ],
  ['without Atomics.waitAsync: a channel of the page’s', 'isolated', 'waitAsync', 'appEnds', [true, true]],
  ['without Atomics.waitAsync: bulk', 'isolated', 'waitAsync', 'bulk', [true], 0],
  ['without Atomics.waitAsync: a blocked worker, a dead stack', 'isolated', 'waitAsync', 'stackEndsUnderBlocked', []],
  ['spawn', 'plain', '', 'spawned', [], '33 bytes, IPv4: hello'],
  ['spawn with shared memory', 'isolated', '', 'spawned', [], '33 bytes, IPv4: hello'],
  ['spawn without Atomics.waitAsync', 'isolated', 'waitAsync', 'spawned', [], '33 bytes, IPv4: hello'],
];

describe('in a browser', { skip }, () => {
  let browser: Browser;
  let server: Server;

  before(async () => {
    const { chromium: engine } = await import('playwright-core');
    server = await serve(await bundle());
    browser = await engine.launch({ executablePath: chromium!, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
  });

  after(async () => {
    await browser?.close();
    server?.close();
  });

  async function open(path: string, without: string): Promise<Page> {
    const page = await browser.newPage();
    page.on('pageerror', (error) => console.log(`  page: ${error.stack}`));
    const { port } = server.address() as AddressInfo;
    await page.goto(`http://127.0.0.1:${port}/${path}${without === '' ? '' : `?without=${without}`}`);
    await page.waitForFunction(() => document.title === 'ready', undefined, { timeout: 10_000 });
    return page;
  }

  for (const [title, path, without, name, args, expected] of rows) {
    test(title, { timeout: 30_000 }, async (t) => {
      const page = await open(path, without);
      const result: unknown = await page.evaluate(
        ([name, args]) =>
          (globalThis as unknown as { run(name: string, args: unknown): Promise<unknown> }).run(name as string, args),
        [name, args] as const,
      );
      await page.close();
      if (Array.isArray(result)) {
        assert.ok(result.length >= 12, `only ${result.length} tests ran`);
        for (const [title, error] of result as Results) await t.test(title, () => assert.equal(error, null));
      } else if (expected instanceof RegExp) {
        assert.match(String(result), expected);
      } else {
        assert.equal(result, expected);
      }
    });
  }
});
