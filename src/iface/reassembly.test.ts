import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Cut, datagramOf, FragmentRig, fragmentOf, fragmentsOf, type Version } from '../../test/fragments.ts';
import { randomOf } from '../../test/random.ts';
import { IpAddress } from '../wire/address.ts';
import * as icmpv6 from '../wire/icmpv6.ts';
import { PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip.ts';
import { octetsOf } from '../wire/octets.ts';

const VERSIONS: readonly Version[] = [4, 6];
const bytes = (length: number, seed = 1): Uint8Array => randomOf(seed).bytes(length);

/** Ends a rig that must hold nothing but what its sockets do. */
function end(rig: FragmentRig): void {
  rig.stack.close();
  assert.equal(rig.stack.memory.usedBytes, 0);
}

for (const version of VERSIONS) {
  test(`reassembly, IPv${version}: in order, in reverse, duplicated, and with another datagram in between`, () => {
    const rig = new FragmentRig();
    const data = bytes(4000);
    const other = bytes(3000, 2);
    const pieces = fragmentsOf(version, datagramOf(version, data), 1480);
    const others = fragmentsOf(version, datagramOf(version, other), 1480, { id: 8 });
    rig.send(...pieces);
    rig.send(...[...pieces].reverse());
    rig.send(pieces[0]!, pieces[0]!, pieces[2]!, others[0]!, pieces[2]!, pieces[1]!, others[1]!, others[2]!);
    assert.deepEqual(rig.take(), [data, data, data, other]);
    assert.equal(rig.drops('ip-fragment-duplicate'), 2);
    assert.equal(rig.stack.stats.datagramsReassembled, 4);
    assert.equal(rig.stack.ip.reassembly.heldBytes, 0);
    assert.equal(rig.stack.memory.usedBytes, rig.idleBytes);
    end(rig);
  });

  test(`reassembly, IPv${version}: up to 65535 bytes, in pieces of 8 too, and not a byte more`, () => {
    const rig = new FragmentRig();
    const most = version === 4 ? 65_507 : 65_527;
    const data = bytes(most);
    const whole = datagramOf(version, data);
    rig.send(...fragmentsOf(version, whole, 1448));
    rig.send(...fragmentsOf(version, whole, 8, { id: 9 }));
    const got = rig.take();
    assert.deepEqual(
      got.map((datagram) => Buffer.compare(datagram, data)),
      [0, 0],
    );
    // The ping of death: the last fragment reaches beyond what the length field can say.
    const long = new Uint8Array(65_536 + 8);
    rig.send(fragmentOf(version, long, { start: 0, end: 1448, more: true, id: 3 }));
    rig.send(fragmentOf(version, long, { start: 65_528, end: 65_536, more: false, id: 3 }));
    assert.equal(rig.drops('ip-fragment-too-long'), 1);
    assert.equal(rig.lines().length, version === 4 ? 0 : 1, 'RFC 8200 §4.5: a parameter problem');
    end(rig);
  });

  test(`reassembly, IPv${version}: RFC 5722: an overlap drops all of the datagram, and what still comes of it`, () => {
    const whole = datagramOf(version, bytes(3000));
    const cut = (start: number, end: number, more = true): Uint8Array =>
      fragmentOf(version, whole, { start, end, more });
    const rows: [string, Uint8Array[]][] = [
      ['the end of the one before', [cut(0, 1480), cut(1472, 2960)]],
      ['the beginning of the one behind', [cut(1480, 2960), cut(0, 1488)]],
      ['inside of another', [cut(0, 2960), cut(1480, 1488)]],
      ['around another', [cut(1480, 1488), cut(0, 2960)]],
      [
        'the same bounds with other bytes',
        [cut(0, 1480), fragmentOf(version, bytes(3008, 9), { start: 0, end: 1480, more: true })],
      ],
      ['two ends', [cut(2960, 3008, false), cut(2952, 2960, false)]],
      ['behind the end', [cut(1480, 2960, false), cut(2960, 2968)]],
      ['an end before what came', [cut(2960, 2968), cut(1480, 1488, false)]],
    ];
    for (const [name, pieces] of rows) {
      const rig = new FragmentRig();
      rig.send(...pieces);
      assert.equal(rig.drops('ip-fragment-overlap'), 2, name);
      rig.send(...fragmentsOf(version, whole, 1480));
      assert.deepEqual(rig.take(), [], name);
      assert.equal(rig.drops('ip-fragment-overlap'), 5, name);
      assert.equal(rig.stack.memory.usedBytes, rig.idleBytes, name);
      rig.pass(60_000);
      assert.deepEqual(rig.lines(), [], `${name}: silently`);
      rig.send(...fragmentsOf(version, whole, 1480));
      assert.equal(rig.take().length, 1, `${name}: the number is free again`);
      end(rig);
    }
  });

  test(`reassembly, IPv${version}: time exceeded, if the first fragment has come, which it quotes`, () => {
    const lifetime = version === 4 ? 30_000 : 60_000;
    for (const [first, name] of [
      [true, 'with the first'],
      [false, 'without it'],
    ] as const) {
      const rig = new FragmentRig();
      const pieces = fragmentsOf(version, datagramOf(version, bytes(4000)), 1200);
      rig.send(...(first ? [pieces[2]!, pieces[0]!] : [pieces[1]!, pieces[2]!]));
      rig.pass(lifetime - 1);
      assert.deepEqual([rig.device.sent.length, rig.stack.ip.reassembly.count], [0, 1], name);
      rig.pass(1);
      const sent = rig.device.sent.splice(0);
      assert.equal(sent.length, first ? 1 : 0, name);
      assert.equal(rig.drops('ip-fragment-timeout'), 2);
      assert.equal(rig.stack.memory.usedBytes, rig.idleBytes);
      if (first) {
        const header = version === 4 ? 20 : 40;
        assert.deepEqual([sent[0]![header], sent[0]![header + 1]], version === 4 ? [11, 1] : [3, 1]);
        const quoted = sent[0]!.subarray(header + 8);
        assert.deepEqual(quoted, pieces[0]!.subarray(0, quoted.length));
        assert.ok(quoted.length >= 540);
      }
      assert.equal(rig.stack.pollAt(), Number.POSITIVE_INFINITY, 'no timer is left');
      end(rig);
    }
  });

  test(`reassembly, IPv${version}: the length of all but the last is a multiple of 8; none is empty`, () => {
    const rig = new FragmentRig();
    const whole = datagramOf(version, bytes(3000));
    rig.send(fragmentOf(version, whole, { start: 0, end: 1479, more: true }));
    assert.equal(rig.drops('ip-fragment-bad-length'), 1);
    const told = rig.device.sent.splice(0);
    if (version === 4) assert.deepEqual(told, []);
    else assert.deepEqual([...told[0]!.subarray(40, 42), ...told[0]!.subarray(44, 48)], [4, 0, 0, 0, 0, 4]);
    rig.send(fragmentOf(version, whole, { start: 8, end: 8, more: true }));
    assert.equal(rig.drops('ip-fragment-empty'), 1);
    assert.equal(rig.stack.ip.reassembly.count, 0);
    end(rig);
  });

  test(`reassembly, IPv${version}: RFC 3168 §5.3: the ECN bits of the whole`, () => {
    const rows: [string, number[], number | null][] = [
      ['not ECN-capable', [0, 0, 0], 0],
      ['capable', [2, 2, 2], 2],
      ['one marked', [2, 3, 2], 3],
      ['the first marked', [3, 2, 2], 3],
      ['both codepoints: that of the first', [1, 2, 2], 1],
      ['marked, and not capable', [0, 3, 0], null],
      ['capable, and not capable', [0, 2, 0], null],
    ];
    for (const [name, ecn, expected] of rows) {
      const rig = new FragmentRig();
      const seen: number[] = [];
      const { udp } = rig.stack;
      const input = udp.input.bind(udp);
      udp.input = (packet) => {
        seen.push(packet.ds);
        input(packet);
      };
      const whole = datagramOf(version, bytes(4000));
      for (const [i, ds] of ecn.entries()) {
        const start = i * 1480;
        const stop = Math.min(whole.length, start + 1480);
        rig.send(fragmentOf(version, whole, { start, end: stop, more: i < 2, ds: ds | 0xb8 }));
      }
      assert.deepEqual(seen, expected === null ? [] : [expected | 0xb8], name);
      assert.equal(rig.drops('ip-fragment-ecn'), expected === null ? 3 : 0, name);
      end(rig);
    }
  });

  test(`reassembly, IPv${version}: thousands of half datagrams of one host cost another nothing`, () => {
    const rig = new FragmentRig(16 << 20);
    const { reassembly } = rig.stack.ip;
    const hostile = version === 4 ? IpAddress.parse('10.0.0.66') : IpAddress.parse('fd66::2');
    const half = (i: number): Uint8Array =>
      fragmentOf(version, datagramOf(version, bytes(100), hostile), {
        start: 0,
        end: 96,
        more: true,
        id: i,
        source: hostile,
      });
    const data = bytes(9000);
    const pieces = fragmentsOf(version, datagramOf(version, data), 1480);
    let i = 0;
    for (; i < 2000; i++) rig.send(half(i));
    for (const piece of pieces) {
      rig.send(piece);
      for (const until = i + 700; i < until; i++) rig.send(half(i));
    }
    assert.deepEqual(rig.take(), [data]);
    assert.ok(reassembly.heldBytes <= reassembly.heldBytesMax, 'the limit holds');
    assert.ok(rig.drops('ip-fragment-shed') > 3000);
    assert.equal(rig.drops('ip-fragment-shed') + reassembly.count, i, 'every one is counted');
    rig.pass(60_000);
    assert.equal(rig.stack.memory.usedBytes, rig.idleBytes);
    end(rig);
  });

  test(`reassembly, IPv${version}: a flood from thousands of hosts sheds the oldest, and lets through who is quick`, () => {
    const rig = new FragmentRig(16 << 20);
    const { reassembly } = rig.stack.ip;
    const random = randomOf(5);
    const flood = (): Uint8Array => {
      const n = random.below(1 << 24);
      const source = version === 4 ? IpAddress.v4(0x0a000000 | n) : new IpAddress(0xfd000000 | n, n, 0, 9);
      return fragmentOf(version, new Uint8Array(96), { start: 0, end: 96, more: true, id: n, source });
    };
    for (let i = 0; i < 3000; i++) rig.send(flood());
    const data = bytes(20_000);
    for (const piece of fragmentsOf(version, datagramOf(version, data), 1480)) {
      rig.send(piece);
      for (let i = 0; i < 30; i++) rig.send(flood());
    }
    assert.deepEqual(rig.take(), [data]);
    assert.ok(reassembly.heldBytes <= reassembly.heldBytesMax);
    end(rig);
  });

  test(`reassembly, IPv${version}: random splits, orders, duplicates and overlaps, beside a slow twin`, () => {
    for (let seed = 1; seed <= 60; seed++) shuffled(version, seed);
  });
}

/** What RFC 8200 §4.5 says of one datagram, byte by byte. */
class Twin {
  readonly #owner: Int32Array;
  readonly #pieces: Bounds[] = [];
  readonly #length: number;
  isDead = false;
  dropped = 0;

  constructor(length: number) {
    this.#length = length;
    this.#owner = new Int32Array(length + 8).fill(-1);
  }

  /** Fragments held. */
  get count(): number {
    return this.#pieces.length;
  }

  /** Takes a piece; true when the datagram is whole, and begins anew. */
  take({ start, end: stop }: Bounds): boolean {
    if (this.isDead || this.#pieces.some((piece) => piece.start === start && piece.end === stop)) {
      this.dropped++;
      return false;
    }
    const place = this.#owner.subarray(start, stop);
    if (place.some((owner) => owner >= 0)) {
      this.isDead = true;
      this.dropped += 1 + this.#pieces.splice(0).length;
      return false;
    }
    place.fill(this.#pieces.push({ start, end: stop }));
    if (this.#owner.subarray(0, this.#length).some((owner) => owner < 0)) return false;
    this.#pieces.length = 0;
    this.#owner.fill(-1);
    return true;
  }
}

/** Several datagrams at once, each cut and shuffled at random. */
function shuffled(version: Version, seed: number): void {
  const random = randomOf(seed);
  const rig = new FragmentRig();
  const sent: { piece: Uint8Array; id: number; bounds: Bounds; at: number }[] = [];
  const datagrams: { data: Uint8Array; twin: Twin }[] = [];
  for (let id = 0; id < 5; id++) {
    const data = random.bytes(random.below(random.next() < 0.2 ? 40_000 : 4000) + 17);
    const whole = datagramOf(version, data);
    const cuts = randomCuts(whole.length, random.below);
    if (random.next() < 0.3) cuts.push(overlapping(cuts, whole.length, random.below));
    datagrams.push({ data, twin: new Twin(whole.length) });
    for (const bounds of cuts) {
      const piece = fragmentOf(version, whole, { ...bounds, more: bounds.end < whole.length, id });
      for (let copies = random.next() < 0.2 ? 2 : 1; copies > 0; copies--) {
        sent.push({ piece, id, bounds, at: random.next() });
      }
    }
  }
  const expected: Uint8Array[] = [];
  for (const { piece, id, bounds } of sent.sort((a, b) => a.at - b.at)) {
    rig.send(piece);
    if (datagrams[id]!.twin.take(bounds)) expected.push(datagrams[id]!.data);
  }
  assert.deepEqual(rig.take(), expected, `seed ${seed}`);
  rig.pass(60_000);
  const dropped = datagrams.reduce((sum, { twin }) => sum + twin.dropped + twin.count, 0);
  assert.equal(rig.fragmentsDropped, dropped, `seed ${seed}: every fragment is counted`);
  assert.equal(rig.stack.stats.fragmentsIn, sent.length);
  assert.equal(rig.stack.ip.reassembly.heldBytes, 0);
  assert.equal(rig.stack.memory.usedBytes, rig.idleBytes, `seed ${seed}`);
  end(rig);
}

type Bounds = Pick<Cut, 'start' | 'end'>;

function randomCuts(length: number, below: (n: number) => number): Bounds[] {
  const cuts: Bounds[] = [];
  for (let start = 0; start < length; ) {
    const size = Math.max(start === 0 ? 16 : 8, (below(1600) & ~7) + 8);
    const stop = start + size >= length - 8 ? length : start + size;
    cuts.push({ start, end: stop });
    start = stop;
  }
  return cuts.length > 1
    ? cuts
    : [
        { start: 0, end: 16 },
        { start: 16, end: length },
      ];
}

/** Bounds that cut across those of another piece. */
function overlapping(cuts: readonly Bounds[], length: number, below: (n: number) => number): Bounds {
  const { start, end: stop } = cuts[below(cuts.length)]!;
  if (stop - start > 16) return { start: start + 8, end: Math.min(length, stop) };
  return start > 0 ? { start: start - 8, end: stop } : { start, end: Math.min(length, stop + 8) };
}

test('reassembly: pieces of other flows do not mix: source, destination, number, and protocol in IPv4', () => {
  const rig = new FragmentRig();
  const data = bytes(2000);
  const [first, second] = fragmentsOf(4, datagramOf(4, data), 1480) as [Uint8Array, Uint8Array];
  const other = IpAddress.parse('10.0.0.9');
  const whole = datagramOf(4, data);
  const last = { start: 1480, end: 2008, more: false };
  rig.send(first);
  rig.send(fragmentOf(4, whole, { ...last, source: other }));
  rig.send(fragmentOf(4, whole, { ...last, id: 8 }));
  rig.send(fragmentOf(4, whole, { ...last, protocol: 99 }));
  assert.equal(rig.stack.ip.reassembly.count, 4);
  assert.deepEqual(rig.take(), []);
  rig.send(second);
  assert.deepEqual(rig.take(), [data]);
  end(rig);
});

test('reassembly: the whole is that of the first fragment: TTL, options left out; what comes up is checked as ever', () => {
  const rig = new FragmentRig();
  const whole = datagramOf(4, bytes(2000));
  whole[100]! ^= 1;
  rig.send(...fragmentsOf(4, whole, 1480));
  assert.deepEqual(rig.take(), []);
  assert.equal(rig.drops('udp-bad-checksum'), 1);
  end(rig);
});

test('reassembly: RFC 1858, RFC 3128: tiny first fragments of TCP, and those that would overwrite its flags', () => {
  const rig = new FragmentRig();
  const whole = new Uint8Array(64);
  rig.send(fragmentOf(4, whole, { start: 0, end: 8, more: true, protocol: PROTOCOL_TCP }));
  rig.send(fragmentOf(4, whole, { start: 8, end: 64, more: false, protocol: PROTOCOL_TCP }));
  assert.equal(rig.drops('ip-fragment-tiny'), 2);
  rig.send(fragmentOf(4, whole, { start: 0, end: 16, more: true, protocol: PROTOCOL_TCP }));
  assert.equal(rig.stack.ip.reassembly.count, 1);
  end(rig);
});

test('reassembly: a TCP segment in fragments is a segment', () => {
  const rig = new FragmentRig();
  const whole = new Uint8Array(40);
  whole.set([0, 99, 0, 98, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff]);
  rig.send(...fragmentsOf(4, whole, 24, { protocol: PROTOCOL_TCP }));
  assert.equal(rig.drops('tcp-bad-checksum'), 1, 'it came as far as TCP');
  end(rig);
});

test('reassembly: RFC 6946: an atomic fragment is taken by itself, though others have its number', () => {
  const rig = new FragmentRig();
  const data = bytes(2000);
  const small = bytes(64, 3);
  const [first, second] = fragmentsOf(6, datagramOf(6, data), 1480) as [Uint8Array, Uint8Array];
  rig.send(first);
  const whole = datagramOf(6, small);
  rig.send(fragmentOf(6, whole, { start: 0, end: whole.length, more: false }));
  assert.deepEqual(rig.take(), [small]);
  rig.send(second);
  assert.deepEqual(rig.take(), [data]);
  end(rig);
});

test('reassembly: RFC 7112: a first fragment holds all headers; code 3 tells of it', () => {
  const zeros = new Array<number>(8).fill(0);
  const rows: [string, number, number[], boolean][] = [
    ['8 bytes of TCP', PROTOCOL_TCP, zeros, false],
    ['8 bytes of UDP', PROTOCOL_UDP, zeros, true],
    ['options, and nothing behind', 60, [PROTOCOL_UDP, 0, 1, 4, 0, 0, 0, 0], false],
    ['options longer than the fragment', 60, [PROTOCOL_UDP, 9, 1, 4, 0, 0, 0, 0, ...zeros], false],
    ['options and UDP', 60, [PROTOCOL_UDP, 0, 1, 4, 0, 0, 0, 0, ...zeros], true],
    ['authentication and UDP', 51, [PROTOCOL_UDP, 2, 0, 0, 0, 0, 0, 0, ...zeros, ...zeros], true],
    ['no next header', 59, [1, 2, 3, 4, 5, 6, 7, 8], true],
    ['options without end', 60, new Array(17).fill([60, 0, 1, 4, 0, 0, 0, 0]).flat(), false],
  ];
  for (const [name, protocol, first, isTaken] of rows) {
    const rig = new FragmentRig();
    rig.send(fragmentOf(6, Uint8Array.from(first), { start: 0, end: first.length, more: true, protocol }));
    assert.equal(rig.stack.ip.reassembly.count, isTaken ? 1 : 0, name);
    assert.equal(rig.drops('ip-fragment-header-chain'), isTaken ? 0 : 1, name);
    const told = rig.device.sent.splice(0);
    assert.deepEqual(
      told.map((packet) => [packet[40], packet[41], packet[47]]),
      isTaken ? [] : [[4, 3, 0]],
      name,
    );
    end(rig);
  }
});

test('reassembly: RFC 4443 §2.4 (e): no error about an error, about a group, or about too many', () => {
  const rig = new FragmentRig();
  const error = new Uint8Array(1000);
  error[0] = icmpv6.UNREACHABLE;
  rig.send(fragmentOf(6, error, { start: 0, end: 800, more: true, protocol: PROTOCOL_ICMPV6 }));
  rig.send(fragmentOf(6, error, { start: 0, end: 801, more: true, protocol: PROTOCOL_ICMPV6, id: 1 }));
  rig.pass(60_000);
  assert.deepEqual(rig.lines(), []);
  for (let id = 0; id < 200; id++) {
    rig.send(fragmentOf(6, error, { start: 0, end: 800, more: true, protocol: PROTOCOL_UDP, id }));
  }
  rig.pass(60_000);
  assert.equal(rig.lines().length, 20, 'the burst of the limit of one destination');
  assert.equal(rig.drops('icmp-rate-limited'), 180);
  end(rig);
});

test('reassembly: fragments of a fragment, and one cut short, are dropped', () => {
  const rig = new FragmentRig();
  const inner = new Uint8Array(1008);
  inner[0] = PROTOCOL_UDP;
  rig.send(...fragmentsOf(6, inner, 504, { protocol: 44 }));
  assert.equal(rig.drops('ip-fragment-nested'), 1);
  rig.send(fragmentOf(6, inner, { start: 0, end: 504, more: false, protocol: 44 }));
  assert.equal(rig.drops('ip-fragment-nested'), 2, 'inside of an atomic one');
  const short = fragmentOf(6, inner, { start: 0, end: 504, more: true }).slice(0, 44);
  octetsOf(short).dv.setUint16(4, 4);
  rig.send(short);
  assert.equal(rig.drops('ip-fragment-truncated'), 1);
  end(rig);
});

test('reassembly: without memory a fragment is dropped, and nothing is left of it', () => {
  const rig = new FragmentRig(1 << 19);
  const { memory } = rig.stack;
  const packet = fragmentsOf(4, datagramOf(4, bytes(3000)), 1480)[0]!;
  rig.device.deliver(packet);
  const taken: number[] = [];
  for (let block = memory.alloc(2048); block !== 0; block = memory.alloc(2048)) taken.push(block);
  rig.stack.poll(rig.now);
  assert.equal(rig.drops('no-memory'), 1);
  assert.equal(rig.stack.ip.reassembly.count, 0);
  for (const block of taken) memory.free(block);
  end(rig);
});

test('reassembly: in the smallest memory the limit holds, and a datagram that is too much for it is dropped', () => {
  const rig = new FragmentRig(1 << 18);
  const { reassembly } = rig.stack.ip;
  const data = bytes(10_000);
  rig.send(...fragmentsOf(4, datagramOf(4, data), 1480));
  assert.deepEqual(rig.take(), [data]);
  rig.send(...fragmentsOf(4, datagramOf(4, bytes(60_000)), 1480));
  assert.ok(reassembly.heldBytes <= reassembly.heldBytesMax);
  assert.deepEqual(rig.take(), []);
  rig.pass(60_000);
  assert.equal(rig.stack.memory.usedBytes, rig.idleBytes);
  end(rig);
});

test('reassembly: closing the stack gives everything back', () => {
  const rig = new FragmentRig();
  for (let id = 0; id < 100; id++) {
    for (const version of VERSIONS) {
      rig.send(fragmentOf(version, bytes(2000, id), { start: 0, end: 1480, more: true, id, protocol: PROTOCOL_UDP }));
    }
  }
  assert.equal(rig.stack.ip.reassembly.count, 200);
  end(rig);
});

test('reassembly: fragments at random, of few numbers and of any: nothing is thrown, the limit holds, all comes back', () => {
  for (let seed = 1; seed <= 6; seed++) {
    const random = randomOf(seed);
    const rig = new FragmentRig(seed % 2 === 0 ? 1 << 18 : 1 << 21);
    const { reassembly } = rig.stack.ip;
    for (let i = 0; i < 3000; i++) {
      const version = random.pick(VERSIONS);
      const start = random.below(random.next() < 0.9 ? 64 : 8192) * 8;
      const length = random.next() < 0.8 ? random.below(8) * 8 : random.below(1400);
      const whole = new Uint8Array(start + length).fill(random.below(3));
      const id = random.next() < 0.9 ? random.below(8) : random.below(1 << 16);
      const protocol = random.pick([1, 6, 17, 44, 58, 59, 60, 0, 43, 200]);
      const more = random.next() < 0.6;
      const packet = fragmentOf(version, whole, {
        start,
        end: whole.length,
        more,
        id,
        protocol,
        ds: random.below(256),
      });
      if (random.next() < 0.1) packet[random.below(packet.length)]! ^= 1 << random.below(8);
      rig.send(packet);
      assert.ok(reassembly.heldBytes <= reassembly.heldBytesMax);
      if (random.next() < 0.05) {
        rig.send(...fragmentsOf(version, datagramOf(version, random.bytes(100)), 64, { id: 0x10000 - 1 - i }));
      }
      if (random.next() < 0.01) rig.pass(random.below(20_000));
      if (i % 100 === 0) rig.device.sent.length = 0;
    }
    assert.ok(rig.drops('ip-fragment-overlap') > 100 && rig.stack.stats.datagramsReassembled > 10, `seed ${seed}`);
    rig.pass(60_000);
    rig.take();
    assert.deepEqual([reassembly.count, reassembly.heldBytes], [0, 0]);
    assert.equal(rig.stack.memory.usedBytes, rig.idleBytes, `seed ${seed}`);
    end(rig);
  }
});
