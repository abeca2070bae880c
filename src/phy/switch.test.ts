import assert from 'node:assert/strict';
import { test } from 'node:test';
import { etherFrame, packet, takeTag } from '../../test/phy-frames.ts';
import {
  allocFrame,
  CHECKSUM_PARTIAL,
  frameChecksum,
  frameFrom,
  frameGsoSize,
  frameTransport,
} from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import { Random } from './random.ts';
import { Switch, type SwitchOptions } from './switch.ts';

const ALL = 'ff:ff:ff:ff:ff:ff';
const station = (i: number): string => {
  const byte = (n: number): string => (n & 0xff).toString(16).padStart(2, '0');
  return `02:00:00:${byte(i >> 16)}:${byte(i >> 8)}:${byte(i)}`;
};
const A = station(1);
const B = station(2);
const C = station(3);

/** A switch whose every port has a stack with the switch's memory, or with one of its own. */
function rig(ports: number, options: SwitchOptions = {}, ownMemory = false) {
  const memory = options.memory ?? new Memory({ bytes: 4 << 20 });
  const lan = new Switch({ ...options, memory });
  const wakes = new Array<number>(ports).fill(0);
  const hosts = Array.from({ length: ports }, (_, i) => {
    const port = lan.port();
    const own = ownMemory ? new Memory({ bytes: 1 << 20 }) : port.memory;
    port.attach(own, () => wakes[i]!++);
    return {
      port,
      memory: own,
      send: (destination: string, source: string, tag: number, now = 0) =>
        port.transmit(etherFrame(own, destination, source, tag), now),
      tags: (): number[] => {
        const tags: number[] = [];
        for (let frame = port.receive(0); frame !== 0; frame = port.receive(0)) tags.push(takeTag(own, frame));
        return tags;
      },
    };
  });
  const close = (): void => {
    lan.close();
    assert.equal(memory.usedBytes, 0);
    for (const host of hosts) assert.equal(host.memory.usedBytes, 0);
  };
  /** What each port got since the last call. */
  const tags = (): number[][] => hosts.map((host) => host.tags());
  return { memory, lan, hosts, wakes, tags, close };
}

for (const ownMemory of [false, true]) {
  const where = ownMemory ? 'own memories' : 'one memory';

  test(`switch: floods what it does not know, then forwards what it learned (${where})`, () => {
    const { lan, hosts, tags, close } = rig(3, {}, ownMemory);
    hosts[0]!.send(B, A, 1);
    assert.deepEqual(tags(), [[], [1], [1]]);
    hosts[1]!.send(A, B, 2);
    assert.deepEqual(tags(), [[2], [], []]);
    hosts[0]!.send(B, A, 3);
    assert.deepEqual(tags(), [[], [3], []]);
    const { forwarded, flooded, learned } = lan.stats;
    assert.deepEqual({ forwarded, flooded, learned }, { forwarded: 2, flooded: 1, learned: 2 });
    assert.deepEqual(hosts[0]!.port.stats, { transmitted: 2, received: 1, dropped: 0 });
    close();
  });

  test(`switch: broadcast and multicast go to all others (${where})`, () => {
    const { hosts, tags, close } = rig(4, {}, ownMemory);
    hosts[2]!.send(ALL, C, 1);
    hosts[2]!.send('33:33:00:00:00:01', C, 2);
    hosts[2]!.send('01:00:5e:00:00:01', C, 3);
    assert.deepEqual(tags(), [[1, 2, 3], [1, 2, 3], [], [1, 2, 3]]);
    close();
  });
}

test('switch: a frame with one receiver is passed on as it is, without a copy', () => {
  const { memory, hosts, close } = rig(2);
  const frame = etherFrame(memory, B, A);
  hosts[0]!.port.transmit(frame, 0);
  assert.equal(hosts[1]!.port.receive(0), frame);
  memory.free(frame);
  close();
});

test('switch: of copies, the last receiver gets the frame itself', () => {
  const { memory, hosts, close } = rig(3);
  const frame = etherFrame(memory, ALL, A);
  hosts[0]!.port.transmit(frame, 0);
  assert.equal(memory.usedBytes, 2 << 11);
  const copy = hosts[1]!.port.receive(0);
  assert.notEqual(copy, frame);
  assert.equal(hosts[2]!.port.receive(0), frame);
  memory.free(copy);
  memory.free(frame);
  close();
});

test('switch: a station is forgotten after the ageing time, unless it is heard', () => {
  const { hosts, tags, close, lan } = rig(3, { ageMs: 1000 });
  hosts[1]!.send(ALL, B, 0, 0);
  tags();
  hosts[0]!.send(B, A, 1, 1000);
  assert.deepEqual(tags(), [[], [1], []]);
  hosts[0]!.send(B, A, 2, 1001);
  assert.deepEqual(tags(), [[], [2], [2]]);
  hosts[1]!.send(A, B, 3, 1500); // heard again
  tags();
  hosts[0]!.send(B, A, 4, 2500);
  assert.deepEqual(tags(), [[], [4], []]);
  assert.equal(lan.stats.learned, 4); // each of the two, and each once more after it was forgotten
  close();
});

test('switch: the default ageing time is 300 s', () => {
  const { hosts, tags, close } = rig(3);
  hosts[1]!.send(ALL, B, 0, 0);
  tags();
  hosts[0]!.send(B, A, 1, 300_000);
  hosts[0]!.send(B, A, 2, 300_001);
  assert.deepEqual(tags(), [[], [1, 2], [2]]);
  close();
});

test('switch: a station that moves is followed', () => {
  const { hosts, tags, close } = rig(3);
  hosts[1]!.send(ALL, B, 0);
  hosts[2]!.send(ALL, B, 1);
  tags();
  hosts[0]!.send(B, A, 2);
  assert.deepEqual(tags(), [[], [], [2]]);
  close();
});

test('switch: a frame for a station at its own port goes nowhere', () => {
  const { lan, hosts, tags, close } = rig(2);
  hosts[0]!.send(ALL, A, 0); // two stations behind one port
  hosts[0]!.send(ALL, C, 0);
  tags();
  hosts[0]!.send(C, A, 1);
  assert.deepEqual(tags(), [[], []]);
  assert.equal(lan.stats.filtered, 1);
  close();
});

test('switch: IEEE 802.1D §7.12.6: reserved addresses are not relayed', () => {
  const { lan, hosts, tags, close } = rig(2);
  hosts[0]!.send('01:80:c2:00:00:00', A, 1);
  hosts[0]!.send('01:80:c2:00:00:0e', A, 2);
  hosts[0]!.send('01:80:c2:00:00:10', A, 3);
  assert.deepEqual(tags(), [[], [3]]);
  assert.equal(lan.stats.filtered, 2);
  close();
});

test('switch: IEEE 802.1D §7.8: a group address is not learned', () => {
  const { lan, hosts, tags, close } = rig(2);
  hosts[0]!.send(ALL, '03:00:00:00:00:01', 1);
  assert.equal(lan.stats.learned, 0);
  assert.deepEqual(tags(), [[], [1]]);
  close();
});

test('switch: a frame too short for a header is dropped', () => {
  const { memory, lan, hosts, tags, close } = rig(2);
  hosts[0]!.port.transmit(frameFrom(memory, new Uint8Array(13)), 0);
  hosts[0]!.port.transmit(allocFrame(memory, 0), 0);
  assert.deepEqual(tags(), [[], []]);
  assert.equal(lan.stats.malformed, 2);
  close();
});

test('switch: a full port drops, the others do not, and the sender is not held up', () => {
  const { hosts, tags, close } = rig(3, { queueFrames: 4 });
  for (let tag = 0; tag < 4; tag++) hosts[0]!.send(ALL, A, tag);
  hosts[1]!.tags();
  for (let tag = 4; tag < 7; tag++) hosts[0]!.send(ALL, A, tag);
  assert.ok(hosts[0]!.port.room() > 0);
  assert.deepEqual(tags(), [[], [4, 5, 6], [0, 1, 2, 3]]);
  assert.deepEqual(
    hosts.map(({ port }) => port.stats.dropped),
    [0, 0, 3],
  );
  hosts[2]!.send(ALL, C, 0);
  tags();
  for (let tag = 0; tag < 6; tag++) hosts[0]!.send(C, A, tag);
  assert.deepEqual(tags(), [[], [], [0, 1, 2, 3]]);
  assert.equal(hosts[2]!.port.stats.dropped, 5);
  close();
});

test('switch: wake is called for the first frame of an empty queue, for that port', () => {
  const { hosts, wakes, tags, close } = rig(3);
  hosts[0]!.send(ALL, A, 1);
  hosts[0]!.send(ALL, A, 2);
  assert.deepEqual(wakes, [0, 1, 1]);
  tags();
  hosts[1]!.send(A, B, 3);
  assert.deepEqual(wakes, [1, 1, 1]);
  close();
});

test('switch: a full table forgets who was silent longest', () => {
  const { lan, hosts, tags, close } = rig(3, { tableMax: 8 });
  for (let i = 0; i < 8; i++) hosts[1]!.send(ALL, station(100 + i), 0, i);
  hosts[1]!.send(ALL, station(100), 0, 8); // heard again: now 101 is the one
  hosts[1]!.send(ALL, station(200), 0, 9);
  assert.deepEqual([lan.stats.learned, lan.stats.evicted], [9, 1]);
  tags();
  const flooded: number[] = [];
  for (const i of [100, 101, 102, 107, 200]) {
    hosts[0]!.send(station(i), '03:00:00:00:00:01', i & 0xff, 10); // a source that is not learned
    if (tags()[2]!.length > 0) flooded.push(i);
  }
  assert.deepEqual(flooded, [101]);
  close();
});

test('switch: as a map of all stations does it, while the table has room', () => {
  const { hosts, tags, close } = rig(5, { tableMax: 4096, ageMs: 50 });
  const random = new Random(4);
  const known = new Map<number, { port: number; at: number }>(); // the slow twin
  for (let now = 0; now < 5000; now++) {
    const from = random.below(5);
    const source = random.below(60);
    const destination = random.below(60);
    hosts[from]!.send(station(destination), station(source), 1, now);
    known.set(source, { port: from, at: now });
    const entry = known.get(destination);
    const expected = [0, 1, 2, 3, 4].filter((port) =>
      entry === undefined || now - entry.at > 50 ? port !== from : port === entry.port && port !== from,
    );
    const got = tags().flatMap((list, port) => (list.length > 0 ? [port] : []));
    assert.deepEqual(got, expected);
  }
  close();
});

test('switch: a closed port leaves, and its number is used again', () => {
  const { memory, lan, hosts, tags, close } = rig(3);
  hosts[1]!.send(ALL, B, 1);
  hosts[0]!.send(ALL, A, 2);
  hosts[1]!.port.close();
  hosts[1]!.port.close();
  assert.equal(hosts[1]!.port.room(), 0);
  hosts[1]!.send(ALL, B, 3); // given back at once
  assert.deepEqual(tags(), [[1], [], [1, 2]]);
  hosts[0]!.send(B, A, 4); // forgotten: floods
  assert.deepEqual(tags(), [[], [], [4]]);
  const again = lan.port();
  assert.equal(again.number, 1);
  hosts[0]!.send(ALL, A, 5); // no stack yet: takes nothing
  assert.deepEqual(tags(), [[], [], [5]]);
  again.attach(memory, () => {});
  hosts[0]!.send(ALL, A, 6);
  assert.equal(takeTag(memory, again.receive(0)), 6);
  hosts[2]!.tags();
  close();
  assert.throws(() => lan.port());
});

test('switch: its own memory is made with the first port', () => {
  const lan = new Switch({ mtu: 9000 });
  const port = lan.port();
  assert.equal(lan.port().memory, port.memory);
  assert.deepEqual([port.medium, port.mtu, port.offload], ['ethernet', 9000, false]);
  assert.equal(port.pollAt(), Number.POSITIVE_INFINITY);
  lan.close();
});

test('switch: with offload, super-segments pass as they are, across memories too', () => {
  for (const ownMemory of [false, true]) {
    const { hosts, close } = rig(2, { offload: true }, ownMemory);
    assert.equal(hosts[0]!.port.offload, true);
    const options = { medium: 'ethernet', length: 20_000, partial: true, gsoSize: 1400 } as const;
    hosts[0]!.port.transmit(packet(hosts[0]!.memory, options), 0);
    const { memory } = hosts[1]!;
    const frame = hosts[1]!.port.receive(0);
    assert.deepEqual([frameChecksum(memory, frame), frameGsoSize(memory, frame)], [CHECKSUM_PARTIAL, 1400]);
    assert.equal(frameTransport(memory, frame), frame + 128 + 20);
    memory.free(frame);
    close();
  }
});

test('switch: exhausted memory loses frames, is counted, and is balanced', () => {
  const { memory, lan, hosts, close } = rig(4, { memory: new Memory({ bytes: 1 << 18 }) });
  while (memory.freeBytes >= 1 << 11) hosts[0]!.send(ALL, A, 0);
  assert.ok(lan.stats.exhausted > 0);
  close();
});

test('switch: exhausted memory of a stack', () => {
  const { lan, hosts, close } = rig(2, {}, true);
  const { memory, port } = hosts[1]!;
  hosts[0]!.send(ALL, A, 1);
  const taken: number[] = [];
  for (let block = memory.alloc(100); block !== 0; block = memory.alloc(100)) taken.push(block);
  assert.equal(port.receive(0), 0);
  assert.deepEqual([port.stats.dropped, lan.stats.exhausted], [1, 1]);
  for (const block of taken) memory.free(block);
  close();
});

const REFUSED: SwitchOptions[] = [
  { mtu: 20 },
  { mtu: 1e6 },
  { tableMax: 4 },
  { tableMax: 100 },
  { ageMs: -1 },
  { portsMax: 0 },
];
for (const options of REFUSED) {
  test(`switch: refused: ${Object.keys(options)} ${Object.values(options)}`, () => {
    assert.throws(() => new Switch(options), RangeError);
  });
}

test('switch: its ports are limited', () => {
  const lan = new Switch({ portsMax: 2, memory: new Memory({ bytes: 1 << 18 }) });
  lan.port();
  lan.port().close();
  lan.port();
  assert.throws(() => lan.port(), RangeError);
  lan.close();
});
