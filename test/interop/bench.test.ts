/** The parts of `ethertype bench` that need namespaces: Linux's TCP through TUN, both ways, and the proxies. @module */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { proxyRows, proxyUnavailable } from '../../src/cli/bench/proxy.ts';
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

const missing = await proxyUnavailable();

describe('bench of the proxy', { skip: missing !== null && missing }, () => {
  test('every figure, beside each proxy that is installed', { timeout: 120_000 }, async (t) => {
    const rows = await proxyRows(1, 1000);
    const peers = new Set(rows.map(({ peer }) => peer));
    for (const peer of peers) assert.equal(rows.filter((row) => row.peer === peer).length, 4, peer);
    assert.ok(peers.size >= 2, [...peers].join());
    for (const { name, peer, ours, theirs, ratio, unit } of rows) {
      t.diagnostic(`${name}: ${ours.toFixed(2)} ${unit}, ${ratio.toFixed(2)} of ${peer}`);
      assert.ok(ours > 0.05 && theirs > 0 && Number.isFinite(ratio), name);
    }
  });
});
