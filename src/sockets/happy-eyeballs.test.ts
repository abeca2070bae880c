import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inTime } from '../../test/hosts.ts';
import { VirtualClock } from '../sim/clock.ts';
import { IpAddress } from '../wire/address.ts';
import { interleaved, Race } from './happy-eyeballs.ts';

const ip = (text: string): IpAddress => IpAddress.parse(text);

/** What an address does when it is tried: connects or fails after so many ms, or never says anything. */
type Behaviour = readonly ['ok' | 'fail', number] | 'silent';

interface Row {
  readonly name: string;
  /** When which addresses become known, ms; `end`: that these were all. */
  readonly known: readonly (readonly [at: number, addresses: readonly string[] | 'end'])[];
  readonly peers: Readonly<Record<string, Behaviour>>;
  /** Each attempt with its time, then who won and when. */
  readonly attempts: readonly string[];
  readonly result: string;
}

const V6 = 'fd00::1';
const V6B = 'fd00::2';
const V4 = '10.0.0.1';
const V4B = '10.0.0.2';

const rows: Row[] = [
  {
    name: 'IPv6 known first: tried at once',
    known: [
      [5, [V6]],
      [8, [V4]],
      [8, 'end'],
    ],
    peers: { [V6]: ['ok', 20] },
    attempts: ['5 fd00::1'],
    result: '25 fd00::1',
  },
  {
    name: '§3: IPv4 known first waits 50 ms for IPv6, which comes',
    known: [
      [5, [V4]],
      [40, [V6]],
      [40, 'end'],
    ],
    peers: { [V6]: ['ok', 20] },
    attempts: ['40 fd00::1'],
    result: '60 fd00::1',
  },
  {
    name: '§3: IPv4 known first waits 50 ms for IPv6, which does not come',
    known: [
      [5, [V4]],
      [500, 'end'],
    ],
    peers: { [V4]: ['ok', 20] },
    attempts: ['55 10.0.0.1'],
    result: '75 10.0.0.1',
  },
  {
    name: '§3: once it is known that there is no IPv6, IPv4 waits no longer',
    known: [
      [5, [V4]],
      [10, 'end'],
    ],
    peers: { [V4]: ['ok', 20] },
    attempts: ['10 10.0.0.1'],
    result: '30 10.0.0.1',
  },
  {
    name: '§5: a silent address: the next one after 250 ms, families in turn',
    known: [
      [0, [V6, V6B]],
      [0, [V4, V4B]],
      [0, 'end'],
    ],
    peers: { [V6]: 'silent', [V4]: 'silent', [V6B]: 'silent', [V4B]: ['ok', 10] },
    attempts: ['0 fd00::1', '250 10.0.0.1', '500 fd00::2', '750 10.0.0.2'],
    result: '760 10.0.0.2',
  },
  {
    name: '§5: a refused one: the next at once, and the delay begins anew',
    known: [
      [0, [V6, V6B]],
      [0, [V4]],
      [0, 'end'],
    ],
    peers: { [V6]: ['fail', 10], [V4]: 'silent', [V6B]: ['ok', 5] },
    attempts: ['0 fd00::1', '10 10.0.0.1', '260 fd00::2'],
    result: '265 fd00::2',
  },
  {
    name: 'the earlier attempt goes on beside the later one, and may win',
    known: [
      [0, [V6]],
      [0, [V4]],
      [0, 'end'],
    ],
    peers: { [V6]: ['ok', 300], [V4]: ['ok', 100] },
    attempts: ['0 fd00::1', '250 10.0.0.1'],
    result: '300 fd00::1',
  },
  {
    name: 'addresses that come late join those that wait',
    known: [
      [0, [V6]],
      [400, [V4]],
      [400, 'end'],
    ],
    peers: { [V6]: 'silent', [V4]: ['ok', 10] },
    attempts: ['0 fd00::1', '650 10.0.0.1'],
    result: '660 10.0.0.1',
  },
  {
    name: 'addresses that come when all others have failed are tried at once',
    known: [
      [0, [V6]],
      [400, [V4]],
      [400, 'end'],
    ],
    peers: { [V6]: ['fail', 10], [V4]: ['ok', 10] },
    attempts: ['0 fd00::1', '400 10.0.0.1'],
    result: '410 10.0.0.1',
  },
  {
    name: 'all fail: the error of the one preferred most',
    known: [
      [0, [V4]],
      [0, [V6]],
      [5, 'end'],
    ],
    peers: { [V6]: ['fail', 10], [V4]: ['fail', 20] },
    attempts: ['0 fd00::1', '10 10.0.0.1'],
    result: '30 failed: fd00::1',
  },
  {
    name: 'the end becomes known when all have failed',
    known: [
      [0, [V6]],
      [90, 'end'],
    ],
    peers: { [V6]: ['fail', 10] },
    attempts: ['0 fd00::1'],
    result: '90 failed: fd00::1',
  },
  { name: 'no address at all', known: [[7, 'end']], peers: {}, attempts: [], result: '7 failed: none' },
];

async function play({ known, peers }: Row) {
  const clock = new VirtualClock();
  const attempts: string[] = [];
  const aborted: string[] = [];
  const race = new Race<string>({
    clock,
    sort: (addresses) => addresses.toSorted((a, b) => b.family - a.family),
    attempt: (address, signal) =>
      new Promise((resolve, reject) => {
        attempts.push(`${clock.now()} ${address}`);
        signal.addEventListener('abort', () => {
          aborted.push(`${address}`);
          reject(signal.reason);
        });
        const peer = peers[`${address}`]!;
        if (peer === 'silent') return;
        const finish = (): void => (peer[0] === 'ok' ? resolve(`${address}`) : reject(new Error(`${address}`)));
        clock.setTimer(clock.now() + peer[1], finish);
      }),
    discard: () => {},
  });
  for (const [at, addresses] of known) {
    const tell = (): void => (addresses === 'end' ? race.end(new Error('none')) : race.add(addresses.map(ip)));
    clock.setTimer(at, tell);
  }
  let text = '';
  const ended = race.result.then(
    (winner) => {
      text = `${clock.now()} ${winner}`;
    },
    (error: Error) => {
      text = `${clock.now()} failed: ${error.message}`;
    },
  );
  await inTime(clock, ended);
  return { attempts, aborted, text, clock };
}

describe('happy eyeballs: RFC 8305', () => {
  for (const row of rows) {
    test(row.name, async () => {
      const { attempts, text, aborted } = await play(row);
      assert.deepEqual(attempts, row.attempts);
      assert.equal(text, row.result);
      const tried = attempts.map((line) => line.split(' ')[1]!);
      const failed = tried.filter((address) => row.peers[address]?.[0] === 'fail');
      // Whoever neither won nor failed was cancelled.
      const left = tried.filter((address) => !failed.includes(address) && !text.endsWith(` ${address}`));
      assert.deepEqual(aborted, left);
    });
  }

  test('cancelled: attempts end, and nothing more is tried', async () => {
    const clock = new VirtualClock();
    const signals: AbortSignal[] = [];
    const race = new Race<never>({
      clock,
      sort: (addresses) => [...addresses],
      attempt: (_, signal) => {
        signals.push(signal);
        return new Promise(() => {});
      },
      discard: () => {},
    });
    race.add([ip(V6), ip(V4)]);
    race.cancel(new Error('enough'));
    race.add([ip(V4B)]);
    race.end(new Error('none'));
    await assert.rejects(race.result, { message: 'enough' });
    assert.deepEqual([signals.length, signals[0]!.aborted, clock.pending], [1, true, 0]);
  });

  test('what is won after the race is given back', async () => {
    const clock = new VirtualClock();
    const discarded: string[] = [];
    const race = new Race<string>({
      clock,
      sort: (addresses) => [...addresses],
      attempt: (address) => new Promise((resolve) => void clock.setTimer(300, () => resolve(`${address}`))),
      discard: (value) => discarded.push(value),
    });
    race.add([ip(V6), ip(V4)]);
    assert.equal(await inTime(clock, race.result), V6);
    await inTime(clock, new Promise<void>((resolve) => void clock.setTimer(1000, resolve)));
    assert.deepEqual(discarded, [V4]);
  });

  test('at most 32 addresses of a name are tried', async () => {
    const clock = new VirtualClock();
    let count = 0;
    const race = new Race<string>({
      clock,
      sort: (addresses) => [...addresses],
      attempt: () => {
        count++;
        return Promise.reject(new Error('no'));
      },
      discard: () => {},
    });
    race.add(Array.from({ length: 1000 }, (_, i) => IpAddress.v4(i)));
    race.end(new Error('none'));
    await assert.rejects(inTime(clock, race.result), { message: 'no' });
    assert.equal(count, 32);
  });

  test('§4: families in turn', () => {
    const list = (text: string): string => interleaved(text.split(' ').map(ip), 0).join(' ');
    assert.equal(list('::1 ::2 ::3 1.1.1.1 2.2.2.2'), '::1 1.1.1.1 ::2 2.2.2.2 ::3');
    assert.equal(list('1.1.1.1 ::1 2.2.2.2'), '1.1.1.1 ::1 2.2.2.2');
    assert.equal(interleaved(['::1', '1.1.1.1'].map(ip), 6).join(' '), '1.1.1.1 ::1');
    assert.deepEqual(interleaved([], 0), []);
  });
});
