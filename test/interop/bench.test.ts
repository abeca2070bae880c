/** The part of `ethertype bench` that needs root: Linux's TCP through TUN, both ways. @module */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { tunRates, tunUnavailable } from '../../src/cli/bench/tun.ts';
import { skipReason } from './namespace.ts';

describe('bench over TUN', { skip: skipReason('ip', 'iperf3') }, () => {
  test('figures both ways, beside iperf3, and no namespace left', { timeout: 60_000 }, async () => {
    assert.equal(await tunUnavailable(), null);
    for (const [name, gbit] of Object.entries(await tunRates(300))) {
      assert.ok(gbit > 0.1 && Number.isFinite(gbit), `${name}: ${gbit} Gbit/s`);
    }
    const left = await promisify(execFile)('ip', ['netns', 'list']);
    assert.doesNotMatch(left.stdout, new RegExp(`etbench-${process.pid}\\b`));
  });
});
