/** Captures of an interface, by a ring that the kernel shares and by batches: the same is seen. @module */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import * as control from '../packets-control.ts';
import { Namespace, type Running, skipReason } from './namespace.ts';

const CHILD = fileURLToPath(new URL('./capture-child.js', import.meta.url));
const SEND = fileURLToPath(new URL('./send-frame.js', import.meta.url));
const options = { timeout: 60_000 };
/** What is under way reaches the child by then: a block of a ring waits for 10 ms. */
const SETTLE_MS = 300;

interface Seen {
  readonly isRing: boolean;
  readonly count: number;
  readonly received: number;
  readonly dropped: number;
  readonly packets: readonly { hex: string; outgoing: boolean; length: number; ms: number }[];
}

const watch = async (space: Namespace, name: string, how: string): Promise<Running> => {
  const child = space.spawn(process.execPath, CHILD, name, how);
  await child.line(/ready/);
  return child;
};

async function end(child: Running): Promise<Seen> {
  await sleep(SETTLE_MS);
  child.child.stdin!.write('end\n');
  return JSON.parse(await child.line(/^\{/)) as Seen;
}

describe('captures', { skip: skipReason('ping', 'ip') }, () => {
  for (const how of ['ring', 'batches']) {
    test(`${how}: directions, times, lengths, and a tag that the kernel took out`, options, async () => {
      await using left = await Namespace.create();
      await using right = await Namespace.create();
      await left.connect(right, 'left', 'right');
      await left.must('ip', 'addr', 'add', '10.0.0.1/24', 'dev', 'left');
      await right.must('ip', 'addr', 'add', '10.0.0.2/24', 'dev', 'right');
      const child = await watch(left, 'left', how);
      await left.must('ping', '-c', '2', '-i', '0.05', '-s', '1000', '10.0.0.2');
      await right.must(process.execPath, SEND, 'right', Buffer.from(control.VLAN).toString('hex'));
      const { isRing, packets, dropped } = await end(child);
      assert.equal(isRing, how === 'ring');
      assert.equal(dropped, 0);
      const echoes = packets.filter(({ length }) => length === 1042);
      assert.deepEqual(
        echoes.map(({ outgoing, hex }) => [outgoing, hex.length]),
        [true, false, true, false].map((outgoing) => [outgoing, 2 * 1042]),
      );
      for (const [i, { ms }] of echoes.entries()) {
        assert.ok(Math.abs(Date.now() - ms) < 30_000 && ms >= (echoes[i - 1]?.ms ?? 0), `${ms}`);
      }
      assert.ok(packets.some(({ hex }) => hex === Buffer.from(control.VLAN).toString('hex')));
    });

    test(`${how}: a flood, of which every packet was seen or counted as dropped`, options, async () => {
      await using space = await Namespace.create();
      const child = await watch(space, 'lo', how);
      const flood = `const s = require('node:dgram').createSocket('udp4'); let n = 0;
        const go = () => { if (n++ === 50000) s.close(); else s.send('x', 9, '127.0.0.1', go); }; go();`;
      await space.must(process.execPath, '-e', flood);
      const { count, received, dropped } = await end(child);
      assert.ok(count > 1000, `${count} seen`);
      // On the loopback each comes by twice, and is shown once.
      const least = 2 * count;
      assert.ok(
        received - dropped >= least - 2 && received - dropped <= least + 2 * dropped + 2,
        `${count} of ${received}, ${dropped} dropped`,
      );
    });
  }
});
