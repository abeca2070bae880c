/** Our side as a client: client-child.ts connects to a server on Linux. @module */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Namespace, skipReason } from './namespace.ts';
import { CLIENT, downloadHash, LINUX, LOAD } from './server.ts';

const LARGE = 100 << 20;
const SMALL = 1 << 20;
const PORT = 5000;
const options = { timeout: 60_000 };

interface Outcome {
  readonly result?: { readonly bytes: number; readonly sha256: string; readonly text: string };
  readonly error?: { readonly code: string; readonly syscall: string; readonly address: string; readonly port: number };
  readonly ms: number;
  readonly leakedBytes: number;
}

/** Runs the client in a namespace where Linux serves downloads of `count` bytes, sums, and sums behind its own end. */
async function inSpace(
  count: number,
  body: (run: (...args: string[]) => Promise<Outcome>, sum: () => Promise<string>) => Promise<void>,
): Promise<void> {
  const space = await Namespace.create();
  try {
    const peer = space.spawn(process.execPath, LOAD, 'serve', `${PORT}`, `${count}`);
    for (let i = 0; i < 3; i++) await peer.line(/"port"/);
    const run = async (...args: string[]): Promise<Outcome> => {
      const { code, stdout, stderr } = await space.execWith({ timeoutMs: 50_000 }, process.execPath, CLIENT, ...args);
      assert.equal(code, 0, stderr);
      const outcome = JSON.parse(stdout) as Outcome;
      assert.equal(outcome.leakedBytes, 0);
      return outcome;
    };
    await body(run, async () => JSON.parse(await peer.line(/"sum"/)).sum as string);
    assert.deepEqual(
      peer.lines.filter((line) => line.includes('error')),
      [],
    );
  } finally {
    await space.dispose();
  }
}

describe('as a client', { skip: skipReason() }, () => {
  for (const kind of ['tun', 'tap']) {
    test(`ping Linux over ${kind}`, options, () =>
      inSpace(0, async (run) => {
        assert.deepEqual((await run(kind, 'ping', LINUX)).result, { size: 56 });
      }),
    );

    test(`100 MB from Linux over ${kind}`, options, () =>
      inSpace(LARGE, async (run) => {
        const { result, error } = await run(kind, 'download', LINUX, `${PORT}`);
        assert.equal(error, undefined);
        assert.equal(result!.bytes, LARGE);
        assert.equal(result!.sha256, downloadHash(LARGE));
      }),
    );

    test(`100 MB to Linux over ${kind}, which answers once our half has ended`, options, () =>
      inSpace(0, async (run) => {
        const { result, error } = await run(kind, 'upload', LINUX, `${PORT + 1}`, `${LARGE}`);
        assert.equal(error, undefined);
        assert.equal(result!.text, `${LARGE} ${downloadHash(LARGE)}`);
      }),
    );

    test(`Linux ends its half first, over ${kind}: ours still sends everything`, options, () =>
      inSpace(0, async (run, sum) => {
        const { result, error } = await run(kind, 'after-end', LINUX, `${PORT + 2}`, `${SMALL}`);
        assert.equal(error, undefined);
        assert.equal(result!.text, 'over');
        assert.equal(await sum(), `${SMALL} ${downloadHash(SMALL)}`);
      }),
    );

    test(`a closed port over ${kind}`, options, () =>
      inSpace(0, async (run) => {
        const { error, ms } = await run(kind, 'connect', LINUX, '4999');
        assert.equal(error!.code, 'ECONNREFUSED');
        assert.equal(error!.syscall, 'connect');
        assert.equal(error!.address, LINUX);
        assert.equal(error!.port, 4999);
        assert.ok(ms < 1000, `after ${ms} ms`);
      }),
    );
  }

  test('an address nobody has, on the link of a TAP', options, () =>
    inSpace(0, async (run) => {
      const { error, ms } = await run('tap', 'connect', '192.168.69.77', '80');
      assert.equal(error!.code, 'EHOSTUNREACH');
      assert.ok(ms < 5000, `after ${ms} ms`);
    }),
  );
});
