/** The part of `ethertype bench` that needs root: Linux's TCP through TUN, both ways. @module */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { served } from '../../src/cli/bench/server-rows.ts';
import { tunRates, tunUnavailable } from '../../src/cli/bench/tun.ts';
import { skipReason } from './namespace.ts';

describe('bench over TUN', { skip: skipReason('ip', 'iperf3') }, () => {
  test('server --threads 2 beside one thread: each thread carries a flow, up and down', {
    timeout: 60_000,
  }, async () => {
    for (const direction of ['up', 'down'] as const) {
      const runs = await served(2, direction, 300);
      for (const { gbit, gbitOfProcessor } of runs) {
        assert.ok(gbit > 0.1 && gbitOfProcessor > gbit / 4 && Number.isFinite(gbitOfProcessor), JSON.stringify(runs));
      }
    }
    const left = await promisify(execFile)('ip', ['netns', 'list']);
    assert.doesNotMatch(left.stdout, new RegExp(`etserve-${process.pid}\\b`));
  });

  test('figures both ways, beside iperf3, and no namespace left', { timeout: 60_000 }, async () => {
    assert.equal(await tunUnavailable(), null);
    for (const [name, gbit] of Object.entries(await tunRates(300))) {
      assert.ok(gbit > 0.1 && Number.isFinite(gbit), `${name}: ${gbit} Gbit/s`);
    }
    const left = await promisify(execFile)('ip', ['netns', 'list']);
    assert.doesNotMatch(left.stdout, new RegExp(`etbench-${process.pid}\\b`));
  });
});
