import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MulticastRig } from '../../test/multicast-rig.ts';
import { randomOf } from '../../test/random.ts';
import { IpAddress } from '../wire/address.ts';
import { excludeOf, includeOf } from './filter.ts';

const ip = (text: string): IpAddress => IpAddress.parse(text);

/** The same tests for both families: their words differ, the state machine is one. */
interface Family {
  readonly family: 4 | 6;
  readonly group: IpAddress;
  readonly other: IpAddress;
  readonly a: IpAddress;
  readonly b: IpAddress;
  readonly c: IpAddress;
  /** What a report of these records looks like, and what those of generation 2 do. */
  readonly report: (at: number, ...records: string[]) => string;
  readonly old: (at: number, group: IpAddress) => string;
  readonly leave: (at: number, group: IpAddress) => string;
}

const record = (group: IpAddress, type: string, ...sources: IpAddress[]): string =>
  `[gaddr ${group} ${type} {${sources.map((source) => ` ${source}`).join('')} }]`;

const FAMILIES: readonly Family[] = [
  {
    family: 4,
    group: ip('239.1.2.3'),
    other: ip('239.1.2.4'),
    a: ip('10.0.0.7'),
    b: ip('10.0.0.8'),
    c: ip('10.0.0.9'),
    report: (at, ...records) =>
      `${at}: 224.0.0.22 igmp v3 report, ${records.length} group record(s) ${records.join(' ')}`,
    old: (at, group) => `${at}: ${group} igmp v2 report ${group}`,
    leave: (at, group) => `${at}: 224.0.0.2 igmp leave ${group}`,
  },
  {
    family: 6,
    group: ip('ff15::1:2'),
    other: ip('ff15::1:3'),
    a: ip('fd00::7'),
    b: ip('fd00::8'),
    c: ip('fd00::9'),
    report: (at, ...records) =>
      `${at}: ff02::16 multicast listener report v2, ${records.length} group record(s) ${records.join(' ')}`,
    old: (at, group) => `${at}: ${group} multicast listener report ${group}`,
    leave: (at, group) => `${at}: ff02::2 multicast listener done ${group}`,
  },
];

for (const { family, group, other, a, b, c, report, old, leave } of FAMILIES) {
  const rigOf = (settings = {}): MulticastRig => new MulticastRig(family, settings);
  const name = family === 4 ? 'IGMPv3' : 'MLDv2';

  describe(`${name}: state changes (RFC 3376 §5.1, RFC 3810 §6.1)`, () => {
    test('a join is told at once, and once more within a second', () => {
      const rig = rigOf();
      rig.socket().join(group);
      const line = record(group, 'to_ex');
      assert.deepEqual(rig.advance(60_000), [report(0, line), report(500, line)]);
      rig.end();
    });

    test('a leave likewise', () => {
      const rig = rigOf();
      const socket = rig.socket();
      socket.join(group);
      rig.advance(10_000);
      socket.leave(group);
      const line = record(group, 'to_in');
      assert.deepEqual(rig.advance(60_000), [report(10_000, line), report(10_500, line)]);
      rig.end();
    });

    test('the robustness of the querier says how often, 0 the default', () => {
      for (const [robustness, times] of [
        [1, 1],
        [4, 4],
        [0, 2],
      ] as const) {
        const rig = rigOf();
        rig.query({ robustness, maxResponseMs: 100 });
        assert.deepEqual(rig.advance(1000), []);
        rig.socket().join(group);
        assert.equal(rig.advance(60_000).length, times);
        rig.end();
      }
    });

    test('sources that come and go: ALLOW and BLOCK', () => {
      const rig = rigOf();
      const socket = rig.socket();
      socket.join(group, { source: a });
      const allowA = record(group, 'allow', a);
      assert.deepEqual(rig.advance(10_000), [report(0, allowA), report(500, allowA)]);
      socket.setSourceFilter(group, includeOf([b]));
      const both = [record(group, 'allow', b), record(group, 'block', a)];
      assert.deepEqual(rig.advance(10_000), [report(10_000, ...both), report(10_500, ...both)]);
      socket.leave(group, { source: b });
      const blockB = record(group, 'block', b);
      assert.deepEqual(rig.advance(10_000), [report(20_000, blockB), report(20_500, blockB)]);
      rig.end();
    });

    test('blocked sources: BLOCK, and ALLOW when they are not any more', () => {
      const rig = rigOf();
      const socket = rig.socket();
      socket.join(group);
      rig.advance(10_000);
      socket.blockSource(group, a);
      assert.deepEqual(rig.advance(100), [report(10_000, record(group, 'block', a))]);
      rig.advance(9900);
      socket.unblockSource(group, a);
      assert.deepEqual(rig.advance(100), [report(20_000, record(group, 'allow', a))]);
      rig.end();
    });

    test('a change of the filter mode tells the whole filter', () => {
      const rig = rigOf();
      const socket = rig.socket();
      socket.setSourceFilter(group, includeOf([a]));
      rig.advance(10_000);
      socket.setSourceFilter(group, excludeOf([b, c]));
      assert.deepEqual(rig.advance(100), [report(10_000, record(group, 'to_ex', b, c))]);
      rig.advance(9900);
      socket.setSourceFilter(group, includeOf([a, b]));
      assert.deepEqual(rig.advance(100), [report(20_000, record(group, 'to_in', a, b))]);
      rig.end();
    });

    test('a change while reports are pending goes with them and begins the count anew', () => {
      const rig = rigOf();
      const socket = rig.socket();
      socket.join(group, { source: a });
      rig.advance(100);
      socket.join(group, { source: b });
      // The second report of a is the first of b.
      assert.deepEqual(rig.advance(10_000), [
        report(100, record(group, 'allow', a, b)),
        report(600, record(group, 'allow', b)),
      ]);
      rig.end();
    });

    test('a source that goes while its coming is pending is told as gone', () => {
      const rig = rigOf();
      const socket = rig.socket();
      socket.join(group, { source: a });
      rig.advance(100);
      socket.join(group, { source: b });
      socket.leave(group, { source: a });
      const gone = record(group, 'block', a);
      assert.deepEqual(rig.advance(10_000), [
        report(100, record(group, 'allow', b), gone),
        report(600, record(group, 'allow', b), gone),
      ]);
      rig.end();
    });

    test('a source that comes while the mode is being told: RFC 3376 §5.1, the mode first', () => {
      const rig = rigOf();
      const socket = rig.socket();
      socket.join(group);
      rig.advance(100);
      socket.blockSource(group, a);
      assert.deepEqual(rig.advance(10_000), [
        report(100, record(group, 'to_ex', a)),
        report(600, record(group, 'block', a)),
      ]);
      rig.end();
    });

    test('leaving while the join is being told: TO_IN the whole number of times', () => {
      const rig = rigOf();
      const socket = rig.socket();
      socket.join(group);
      rig.advance(100);
      socket.leave(group);
      const line = record(group, 'to_in');
      assert.deepEqual(rig.advance(10_000), [report(100, line), report(600, line)]);
      rig.end();
    });

    test('groups that change together are told in one report, each with its own count', () => {
      const rig = rigOf();
      const socket = rig.socket();
      socket.join(group);
      rig.advance(100);
      socket.join(other);
      assert.deepEqual(rig.advance(10_000), [
        report(100, record(other, 'to_ex')),
        report(500, record(group, 'to_ex')),
        report(600, record(other, 'to_ex')),
      ]);
      const third = family === 4 ? ip('239.9.9.9') : ip('ff15::9');
      socket.leave(group);
      socket.join(third);
      const lines = [record(group, 'to_in'), record(third, 'to_ex')];
      const [first] = rig.advance(10);
      for (const line of lines) assert.ok(first!.includes(line), first);
      rig.end();
    });

    test('sockets are merged: only what changes for the interface is told', () => {
      const rig = rigOf();
      const [one, two] = [rig.socket(), rig.socket()];
      one.join(group);
      rig.advance(10_000);
      two.join(group, { source: a });
      one.blockSource(group, b);
      // EXCLUDE {b} and INCLUDE {a} make EXCLUDE {b}.
      assert.deepEqual(rig.advance(100), [report(10_000, record(group, 'block', b))]);
      rig.advance(9900);
      two.join(group, { source: b });
      // EXCLUDE {b} and INCLUDE {a, b} make EXCLUDE {}.
      assert.deepEqual(rig.advance(100), [report(20_000, record(group, 'allow', b))]);
      rig.advance(9900);
      one.close();
      assert.deepEqual(rig.advance(100), [report(30_000, record(group, 'to_in', a, b))]);
      rig.advance(9900);
      two.close();
      assert.deepEqual(rig.advance(100), [report(40_000, record(group, 'block', a, b))]);
      rig.end();
    });

    test('a second member changes nothing, nor does the first to leave', () => {
      const rig = rigOf();
      const [one, two] = [rig.socket(), rig.socket()];
      one.join(group);
      rig.advance(10_000);
      two.join(group);
      rig.iface.groups.join(group);
      one.close();
      two.close();
      assert.deepEqual(rig.advance(10_000), []);
      rig.iface.groups.leave(group);
      assert.equal(rig.advance(10_000).length, 2);
      rig.end();
    });

    test('the second report is spread over the whole second', () => {
      const random = randomOf(11);
      const times: number[] = [];
      for (let i = 0; i < 200; i++) {
        const rig = rigOf({ random: () => random.below(2 ** 32) });
        rig.socket().join(group);
        times.push(Number(rig.advance(5000)[1]!.split(':')[0]));
        rig.end();
      }
      assert.ok(Math.min(...times) >= 1 && Math.min(...times) < 50, `${Math.min(...times)}`);
      assert.ok(Math.max(...times) <= 1000 && Math.max(...times) > 950, `${Math.max(...times)}`);
    });

    test('close tells what the sockets had joined', () => {
      const rig = rigOf();
      rig.socket().join(group);
      rig.advance(10_000);
      rig.stack.close();
      assert.equal(rig.device.sent.length, 1);
      rig.end();
    });
  });

  describe(`${name}: queries (RFC 3376 §5.2, RFC 3810 §6.2)`, () => {
    /** In EXCLUDE {} of one group and INCLUDE {a, b} of the other, for long. */
    const joined = (settings = {}): MulticastRig => {
      const rig = rigOf(settings);
      const socket = rig.socket();
      socket.join(group);
      socket.setSourceFilter(other, includeOf([a, b]));
      rig.advance(10_000);
      return rig;
    };

    test('a general query: every group, after a delay, in one report', () => {
      const rig = joined();
      rig.query({ maxResponseMs: 8000 });
      assert.deepEqual(rig.advance(60_000), [report(14_000, record(group, 'is_ex'), record(other, 'is_in', a, b))]);
      rig.end();
    });

    test('a query for a group', () => {
      const rig = joined();
      rig.query({ group, maxResponseMs: 1000 });
      rig.query({ group: other, maxResponseMs: 2000 });
      assert.deepEqual(rig.advance(60_000), [
        report(10_500, record(group, 'is_ex')),
        report(11_000, record(other, 'is_in', a, b)),
      ]);
      rig.end();
    });

    test('a query for sources: INCLUDE: those of them that are included', () => {
      const rig = joined();
      rig.query({ group: other, sources: [b, c], maxResponseMs: 1000 });
      assert.deepEqual(rig.advance(60_000), [report(10_500, record(other, 'is_in', b))]);
      rig.query({ group: other, sources: [c], maxResponseMs: 1000 });
      assert.deepEqual(rig.advance(60_000), [], 'nothing to say');
      rig.end();
    });

    test('a query for sources: EXCLUDE: those of them that are not excluded', () => {
      const rig = joined();
      rig.query({ group, sources: [b, c], maxResponseMs: 1000 });
      assert.deepEqual(rig.advance(60_000), [report(10_500, record(group, 'is_in', b, c))]);
      rig.end();
      const excluding = rigOf();
      excluding.socket().setSourceFilter(group, excludeOf([a, b]));
      excluding.advance(10_000);
      excluding.query({ group, sources: [b, c], maxResponseMs: 1000 });
      assert.deepEqual(excluding.advance(60_000), [report(10_500, record(group, 'is_in', c))]);
      excluding.query({ group, sources: [b], maxResponseMs: 1000 });
      assert.deepEqual(excluding.advance(60_000), []);
      excluding.end();
    });

    test('rule 1: an answer to all that is due sooner says it all', () => {
      const rig = joined();
      rig.query({ maxResponseMs: 1000 });
      rig.query({ group, maxResponseMs: 2000 });
      rig.query({ maxResponseMs: 2000 });
      assert.equal(rig.advance(60_000).length, 1);
      rig.end();
    });

    test('rule 2: a later general query that wants it sooner gets it sooner', () => {
      const rig = joined();
      rig.query({ maxResponseMs: 10_000 });
      rig.query({ maxResponseMs: 1000 });
      assert.deepEqual(
        rig.advance(60_000).map((line) => line.split(':')[0]),
        ['10500'],
      );
      rig.end();
    });

    test('rule 4: a query for the whole group takes a pending one for sources in', () => {
      const rig = joined();
      rig.query({ group: other, sources: [a], maxResponseMs: 1000 });
      rig.query({ group: other, maxResponseMs: 2000 });
      assert.deepEqual(rig.advance(60_000), [report(10_500, record(other, 'is_in', a, b))]);
      rig.query({ group: other, maxResponseMs: 2000 });
      rig.query({ group: other, sources: [a], maxResponseMs: 1000 });
      assert.deepEqual(rig.advance(60_000), [report(70_500 + 0, record(other, 'is_in', a, b))]);
      rig.end();
    });

    test('rule 5: sources of several queries are told together, at the earliest of their times', () => {
      const rig = joined();
      rig.query({ group: other, sources: [a], maxResponseMs: 2000 });
      rig.query({ group: other, sources: [b, c], maxResponseMs: 1000 });
      assert.deepEqual(rig.advance(60_000), [report(10_500, record(other, 'is_in', a, b))]);
      rig.end();
    });

    test('an answer tells what holds when it leaves', () => {
      const rig = rigOf();
      const socket = rig.socket();
      socket.join(group);
      rig.advance(10_000);
      rig.query({ maxResponseMs: 8000 });
      socket.leave(group);
      const line = record(group, 'to_in');
      assert.deepEqual(rig.advance(60_000), [report(10_000, line), report(10_500, line)], 'no group, no answer');
      rig.end();
    });

    test('a query for a group that the host is not in is nothing to it', () => {
      const rig = joined();
      rig.query({
        group: family === 4 ? ip('239.9.9.9') : ip('ff15::9'),
        to: family === 4 ? ip('224.0.0.1') : ip('ff02::1'),
      });
      assert.deepEqual(rig.advance(60_000), []);
      rig.end();
    });

    test('a host without groups says nothing', () => {
      const rig = rigOf();
      rig.query();
      assert.deepEqual(rig.advance(60_000), []);
      assert.equal(rig.stack.pollAt(), Number.POSITIVE_INFINITY);
      rig.end();
    });

    test('the delay is even over the time given', () => {
      const random = randomOf(5);
      const times: number[] = [];
      for (let i = 0; i < 200; i++) {
        const rig = joined({ random: () => random.below(2 ** 32) });
        rig.query({ maxResponseMs: 2000 });
        times.push(Number(rig.advance(5000)[0]!.split(':')[0]) - 10_000);
        rig.end();
      }
      assert.ok(Math.min(...times) >= 10 && Math.min(...times) < 100, `${Math.min(...times)}`);
      assert.ok(Math.max(...times) <= 2000 && Math.max(...times) > 1900, `${Math.max(...times)}`);
    });

    test('accepted to an address of the host: RFC 3376 §4.1.12, RFC 3810 §5.1.15', () => {
      const rig = joined();
      rig.query({ to: family === 4 ? ip('10.0.0.1') : ip('fe80::1') });
      assert.equal(rig.advance(60_000).length, 1);
      rig.end();
    });
  });

  describe(`${name}: an older querier (RFC 3376 §7.2.1, RFC 3810 §8.2.1)`, () => {
    test('its version is spoken, a report a group, until it has been silent for long', () => {
      const rig = rigOf();
      const socket = rig.socket();
      socket.join(group);
      socket.join(other, { source: a });
      rig.advance(10_000);
      rig.query({ version: 2, maxResponseMs: 8000 });
      assert.deepEqual(rig.advance(20_000), [old(14_000, group), old(14_000, other)]);
      // 2 x 125 s and 8 s after the query.
      assert.deepEqual(rig.advance(237_000), []);
      socket.leave(group);
      assert.deepEqual(rig.advance(0), [leave(267_000, group)]);
      rig.advance(2000);
      socket.join(group);
      assert.deepEqual(rig.advance(10_000), [
        report(269_000, record(group, 'to_ex')),
        report(269_500, record(group, 'to_ex')),
      ]);
      rig.end();
    });

    test('its own interval and robustness, told before, count', () => {
      const rig = rigOf();
      const reporter = family === 4 ? rig.iface.groups.igmp! : rig.iface.groups.mld!;
      rig.query({ robustness: 3, intervalSeconds: 20, maxResponseMs: 1000 });
      rig.query({ version: 2, maxResponseMs: 1000 });
      assert.equal(reporter.generation, 2);
      rig.advance(60_999);
      assert.equal(reporter.generation, 2);
      rig.advance(1);
      assert.equal(reporter.generation, 3);
      rig.end();
    });

    test('a join is told at once, and again within ten seconds', () => {
      const rig = rigOf();
      rig.query({ version: 2 });
      rig.socket().join(group);
      assert.deepEqual(rig.advance(60_000), [old(0, group), old(5000, group)]);
      rig.end();
    });

    test('the report of another member is enough: ours is not sent, and leaving is not told', () => {
      const rig = rigOf();
      const socket = rig.socket();
      rig.query({ version: 2 });
      socket.join(group);
      assert.deepEqual(rig.advance(100), [old(0, group)]);
      rig.otherReports(group);
      assert.deepEqual(rig.advance(20_000), [], 'suppressed');
      rig.query({ version: 2, maxResponseMs: 4000 });
      rig.advance(1000);
      rig.otherReports(group);
      assert.deepEqual(rig.advance(20_000), []);
      socket.leave(group);
      assert.deepEqual(rig.advance(20_000), []);
      rig.end();
    });

    test('while the querier is of the newest version, the report of another changes nothing', () => {
      const rig = rigOf();
      rig.socket().join(group);
      rig.advance(10_000);
      rig.query({ maxResponseMs: 4000 });
      rig.otherReports(group);
      assert.equal(rig.advance(20_000).length, 1);
      rig.end();
    });

    test('a change of version cancels what is pending', () => {
      const rig = rigOf();
      const socket = rig.socket();
      socket.join(group);
      socket.join(other);
      rig.advance(10_000);
      rig.query({ maxResponseMs: 2000 });
      socket.leave(other);
      assert.deepEqual(rig.advance(0), [report(10_000, record(other, 'to_in'))]);
      rig.query({ version: 2, maxResponseMs: 8000 });
      assert.deepEqual(rig.advance(20_000), [old(14_000, group)], 'neither the answer nor the second report');
      rig.end();
    });

    test('a query for a group sets its timer, unless that is due sooner', () => {
      const rig = rigOf();
      const socket = rig.socket();
      rig.query({ version: 2 });
      socket.join(group);
      socket.join(other);
      rig.advance(30_000);
      rig.query({ version: 2, group, maxResponseMs: 1000 });
      rig.query({ version: 2, group, maxResponseMs: 2000 });
      rig.query({ version: 2, maxResponseMs: 4000 });
      assert.deepEqual(rig.advance(20_000), [old(30_500, group), old(32_000, other)]);
      rig.end();
    });

    test('a newer query is answered in the older version', () => {
      const rig = rigOf();
      rig.socket().join(group);
      rig.advance(10_000);
      rig.query({ version: 2, maxResponseMs: 1000 });
      rig.advance(10_000);
      rig.query({ maxResponseMs: 1000 });
      rig.query({ group, sources: [a], maxResponseMs: 1000 });
      assert.deepEqual(rig.advance(10_000), [old(20_500, group)]);
      rig.end();
    });
  });
}
