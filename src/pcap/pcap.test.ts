import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { toHex } from '../../test/hex.ts';
import { randomOf } from '../../test/random.ts';
import {
  type CapturedPacket,
  CaptureError,
  CaptureReader,
  CaptureWriter,
  LINKTYPE_ETHERNET,
  LINKTYPE_RAW,
  readCapture,
  readCaptureStream,
} from './index.ts';
import { Resolution } from './resolution.ts';

/** Bytes put together by the text of the formats and by none of the code under test. */
class Bytes {
  readonly #little: boolean;
  readonly #bytes: number[] = [];

  constructor(little: boolean) {
    this.#little = little;
  }

  uint(width: 1 | 2 | 4, ...values: number[]): this {
    for (const value of values) {
      const parts = Array.from({ length: width }, (_, i) => (value >>> (8 * i)) & 0xff);
      this.#bytes.push(...(this.#little ? parts : parts.reverse()));
    }
    return this;
  }

  raw(bytes: Iterable<number>): this {
    this.#bytes.push(...bytes);
    return this;
  }

  pad(): this {
    while (this.#bytes.length % 4 !== 0) this.#bytes.push(0);
    return this;
  }

  option(code: number, value: Iterable<number>): this {
    const bytes = [...value];
    return this.uint(2, code, bytes.length).raw(bytes).pad();
  }

  block(type: number, body: Bytes): this {
    const { array } = body.pad();
    return this.uint(4, type, array.length + 12)
      .raw(array)
      .uint(4, array.length + 12);
  }

  get array(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

const text = (s: string): Uint8Array => new TextEncoder().encode(s);
const PACKET = Uint8Array.of(1, 2, 3, 4, 5, 6, 7);

/** A classic file of two packets; the second was cut. */
function classic(little: boolean, nanoseconds: boolean): Uint8Array {
  const magic = nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4;
  return new Bytes(little)
    .uint(4, magic)
    .uint(2, 2, 4)
    .uint(4, 0, 0, 65535, LINKTYPE_ETHERNET)
    .uint(4, 1_700_000_000, 123_456, PACKET.length, PACKET.length)
    .raw(PACKET)
    .uint(4, 0xffff_fffe, 999_999, 3, 1500)
    .raw(PACKET.slice(0, 3)).array;
}

const section = (bytes: Bytes, little: boolean): Bytes =>
  bytes.block(0x0a0d0d0a, new Bytes(little).uint(4, 0x1a2b3c4d).uint(2, 1, 0).uint(4, 0xffffffff, 0xffffffff));
const iface = (little: boolean, linkType: number): Bytes => new Bytes(little).uint(2, linkType, 0).uint(4, 65535);
const packet = (little: boolean, id: number, high: number, low: number): Bytes =>
  new Bytes(little).uint(4, id, high, low, PACKET.length, 60).raw(PACKET).pad();

/** A pcapng file with what the format allows: two sections, resolutions, options, old and unknown blocks. */
function modern(little: boolean): Uint8Array {
  const bytes = new Bytes(little);
  section(bytes, little);
  bytes.block(1, iface(little, LINKTYPE_ETHERNET).option(2, text('eth0')).option(3, text('first')).option(9, [9]));
  bytes.block(1, iface(little, LINKTYPE_RAW).option(2, text('tun0')));
  bytes.block(0x0bad, new Bytes(little).raw([9, 9, 9]));
  // 1700000000.123456789 s in nanoseconds.
  const withOptions = packet(little, 0, 0x17979cfe, 0x3f54ccd1 + 0)
    .option(1, text('größe'))
    .option(1, text('two'));
  bytes.block(6, withOptions.option(2, little ? [2, 0, 0, 0] : [0, 0, 0, 2]).uint(2, 0, 0));
  // 1 s and 5 us in microseconds, of the second interface.
  bytes.block(6, packet(little, 1, 0, 1_000_005));
  bytes.block(3, new Bytes(little).uint(4, PACKET.length).raw(PACKET));
  bytes.block(2, new Bytes(little).uint(2, 1, 0xffff).uint(4, 0, 7, PACKET.length, 60).raw(PACKET).pad());
  section(bytes, little);
  // A unit of 1/1024 s, and an offset of 100 s.
  const offset = little ? [100, 0, 0, 0, 0, 0, 0, 0] : [0, 0, 0, 0, 0, 0, 0, 100];
  bytes.block(1, iface(little, LINKTYPE_ETHERNET).option(9, [0x8a]).option(14, offset));
  bytes.block(6, packet(little, 0, 0, 1024 + 512));
  return bytes.array;
}

const brief = (p: CapturedPacket): unknown[] => [
  p.interface.name,
  p.interface.linkType,
  p.seconds,
  p.nanoseconds,
  toHex(p.bytes),
  p.originalLength,
  p.direction,
  [...p.comments],
];
const read = (file: Uint8Array): unknown[] => [...readCapture(file)].map(brief);
const HEX = toHex(PACKET);

describe('pcap reader', () => {
  for (const little of [true, false]) {
    const order = little ? 'little' : 'big';
    for (const nanoseconds of [true, false]) {
      it(`classic, ${order}-endian, ${nanoseconds ? 'nano' : 'micro'}seconds`, () => {
        const unit = nanoseconds ? 1 : 1000;
        assert.deepEqual(read(classic(little, nanoseconds)), [
          ['', 1, 1_700_000_000, 123_456 * unit, HEX, 7, null, []],
          ['', 1, 0xffff_fffe, 999_999 * unit, '010203', 1500, null, []],
        ]);
      });
    }
    it(`pcapng, ${order}-endian: interfaces, resolutions, options, sections, old and unknown blocks`, () => {
      const time = (BigInt(0x17979cfe) << 32n) | BigInt(0x3f54ccd1);
      const [seconds, nanoseconds] = [Number(time / 1_000_000_000n), Number(time % 1_000_000_000n)];
      assert.deepEqual(read(modern(little)), [
        ['eth0', 1, seconds, nanoseconds, HEX, 60, 'out', ['größe', 'two']],
        ['tun0', 101, 1, 5000, HEX, 60, null, []],
        ['eth0', 1, 0, 0, HEX, 7, null, []],
        ['tun0', 101, 0, 7000, HEX, 60, null, []],
        ['', 1, 101, 500_000_000, HEX, 60, null, []],
      ]);
    });
  }
  it('sections of different byte orders in one file', () => {
    const both = Uint8Array.of(...modern(true), ...modern(false));
    assert.deepEqual(read(both), [...read(modern(true)), ...read(modern(false))]);
  });
  it('the interfaces met, the format, the number of packets', () => {
    const reader = new CaptureReader();
    assert.equal(reader.format, null);
    reader.push(modern(true));
    assert.equal(reader.next()!.interface, reader.interfaces[0]);
    assert.deepEqual(
      reader.interfaces.map(({ id, name, description }) => [id, name, description]),
      [
        [0, 'eth0', 'first'],
        [1, 'tun0', ''],
      ],
    );
    assert.equal(reader.format, 'pcapng');
    assert.equal(reader.packets, 1);
  });

  const files: [string, Uint8Array][] = [
    ['classic', classic(true, true)],
    ['pcapng', modern(false)],
  ];
  for (const [name, file] of files) {
    it(`${name}, byte by byte: the same packets`, async () => {
      const pieces = async function* () {
        for (const byte of file) yield Uint8Array.of(byte);
      };
      const got: unknown[] = [];
      for await (const one of readCaptureStream(pieces())) got.push(brief(one));
      assert.deepEqual(got, read(file));
    });
    it(`${name}, cut anywhere: what it holds, then one error, or none at a border of records`, () => {
      const whole = read(file);
      let borders = 0;
      for (let length = 0; length < file.length; length++) {
        const got: unknown[] = [];
        let error: unknown;
        try {
          for (const one of readCapture(file.slice(0, length))) got.push(brief(one));
        } catch (thrown) {
          error = thrown;
        }
        assert.deepEqual(got, whole.slice(0, got.length));
        if (error === undefined) borders++;
        else {
          assert.ok(error instanceof CaptureError, String(error));
          assert.match(error.message, /the file (is empty|ends)/);
          assert.ok(error.offset <= length);
        }
      }
      assert.equal(borders, name === 'classic' ? 2 : 10);
    });
  }

  const ng = modern(true);
  const patched = (file: Uint8Array, at: number, ...bytes: number[]): Uint8Array => {
    const copy = file.slice();
    copy.set(bytes, at);
    return copy;
  };
  const bad: [string, Uint8Array, RegExp, number][] = [
    ['text', text('hello, world'), /no capture file: expected pcap or pcapng, got 0x68656c6c/, 0],
    ['a modified pcap', Uint8Array.of(0x34, 0xcd, 0xb2, 0xa1), /no capture file/, 0],
    ['pcap version 3', patched(classic(true, true), 4, 3), /expected version 2, got 3/, 0],
    [
      'a record of 4 GB',
      patched(classic(true, true), 32, 255, 255, 255, 255),
      /behind packet 0 is damaged: it claims/,
      24,
    ],
    ['no byte order', patched(ng, 8, 0), /no byte order/, 0],
    ['pcapng version 2', patched(ng, 12, 2), /expected version 1, got 2/, 0],
    ['a block of 5 bytes', patched(ng, 32, 5), /behind packet 0 is damaged: it claims 5 bytes/, 28],
    ['a block of 2 GB', patched(ng, 32, 0, 0, 0, 128), /it claims 2147483648 bytes/, 28],
    ['two lengths', patched(ng, 24, 9), /its two lengths differ/, 0],
  ];
  for (const [name, file, message, offset] of bad) {
    it(`damaged: ${name}`, () => {
      assert.throws(
        () => [...readCapture(file)],
        (error: unknown) => {
          assert.ok(error instanceof CaptureError);
          assert.match(error.message, message);
          assert.equal(error.offset, offset);
          return true;
        },
      );
    });
  }
  it('an error is given again, and finish gives it too', () => {
    const reader = new CaptureReader();
    reader.push(text('hello'));
    for (let i = 0; i < 2; i++) assert.throws(() => reader.next(), /no capture file/);
    assert.throws(() => reader.finish(), /no capture file/);
  });
  it('a packet of an interface that is not there', () => {
    const bytes = section(new Bytes(true), true).block(6, packet(true, 3, 0, 0)).array;
    assert.throws(() => [...readCapture(bytes)], /is of interface 3, which is not there/);
  });
  it('a block that claims more captured bytes than it has', () => {
    const bytes = section(new Bytes(true), true).block(1, iface(true, 1));
    const body = new Bytes(true).uint(4, 0, 0, 0, 100, 100).raw(PACKET);
    assert.throws(() => [...readCapture(bytes.block(6, body).array)], /claims 100 captured bytes/);
  });
  it('30000 spoiled files: packets or a CaptureError, nothing else', () => {
    const random = randomOf(5);
    const seeds = [classic(true, false), classic(false, true), modern(true), modern(false)];
    let packets = 0;
    for (let i = 0; i < 30_000; i++) {
      const file = random.pick(seeds).slice(0, random.below(4) === 0 ? random.below(500) : 500);
      for (let n = random.below(5); n > 0; n--)
        file[random.below(file.length)] = random.pick([0, 255, random.below(256)]);
      try {
        for (const one of readCapture(file)) packets += one.bytes.length > 0 ? 1 : 0;
      } catch (error) {
        assert.ok(error instanceof CaptureError, `file ${i}, ${toHex(file)}: ${(error as Error).stack}`);
      }
    }
    assert.ok(packets > 30_000, `only ${packets} packets were read`);
  });
});

describe('pcap resolution: against whole numbers of any size', () => {
  const u32 = fc.integer({ min: 0, max: 0xffffffff });
  for (const code of [0, 3, 6, 7, 9, 12, 18, 0x80, 0x8a, 0x9e, 0xbf]) {
    it(`if_tsresol ${code}`, () => {
      const resolution = new Resolution(code, 0);
      const units = (code & 0x80) !== 0 ? 2n ** BigInt(code & 0x7f) : 10n ** BigInt(code);
      fc.assert(
        fc.property(u32, u32, (high, low) => {
          const count = (BigInt(high) << 32n) | BigInt(low);
          fc.pre(count / units < 2n ** 53n);
          resolution.set(high, low);
          assert.equal(resolution.seconds, Number(count / units));
          assert.equal(resolution.nanoseconds, Number(((count % units) * 1_000_000_000n) / units));
        }),
        { seed: 20261122, numRuns: 300 },
      );
    });
  }
});

describe('pcap writer', () => {
  function rig(format: 'pcap' | 'pcapng', snaplen?: number) {
    const pieces: Uint8Array[] = [];
    const options = snaplen === undefined ? { format } : { format, snaplen };
    const writer = new CaptureWriter({ write: (bytes) => pieces.push(bytes) }, options);
    return { writer, file: () => Uint8Array.from(pieces.flatMap((piece) => [...piece])) };
  }
  it('what was written is read: pcapng', () => {
    const { writer, file } = rig('pcapng');
    const a = writer.addInterface({ linkType: LINKTYPE_ETHERNET, name: 'eth0' });
    const b = writer.addInterface({ linkType: LINKTYPE_RAW, name: 'tün0' });
    const time = { seconds: 1_700_000_000, nanoseconds: 999_999_999 };
    writer.write({
      ...time,
      bytes: PACKET,
      interfaceId: a,
      direction: 'in',
      comments: ['dropped: udp-no-socket', 'é'],
    });
    writer.write({ ...time, bytes: PACKET.slice(1), interfaceId: b, direction: 'out', originalLength: 1500 });
    writer.writeStatistics(a, 1_700_000_001, 0, { received: 10, dropped: 3 });
    writer.write({ seconds: 0, nanoseconds: 0, bytes: new Uint8Array(0) });
    assert.equal(writer.packets, 3);
    assert.deepEqual(read(file()), [
      ['eth0', 1, 1_700_000_000, 999_999_999, HEX, 7, 'in', ['dropped: udp-no-socket', 'é']],
      ['tün0', 101, 1_700_000_000, 999_999_999, HEX.slice(2), 1500, 'out', []],
      ['eth0', 1, 0, 0, '', 0, null, []],
    ]);
  });
  it('what was written is read: classic, which has no comments and directions', () => {
    const { writer, file } = rig('pcap', 4);
    const id = writer.addInterface({ linkType: LINKTYPE_RAW });
    writer.write({ seconds: 5, nanoseconds: 7, bytes: PACKET, interfaceId: id, direction: 'in', comments: ['lost'] });
    writer.writeStatistics(id, 6, 0, { received: 1, dropped: 0 });
    assert.deepEqual(read(file()), [['', 101, 5, 7, '01020304', 7, null, []]]);
    assert.throws(() => writer.addInterface({ linkType: LINKTYPE_ETHERNET }), /expected link type 101, got 1/);
  });
  it('a comment longer than its length field is cut at a character', () => {
    const { writer, file } = rig('pcapng');
    writer.addInterface({ linkType: LINKTYPE_RAW });
    writer.write({ seconds: 0, nanoseconds: 0, bytes: PACKET, comments: ['é'.repeat(40_000)] });
    assert.equal([...readCapture(file())][0]!.comments[0], 'é'.repeat(32_767));
  });
  const wrong: [string, Parameters<CaptureWriter['write']>[0], RegExp][] = [
    ['interface', { seconds: 0, nanoseconds: 0, bytes: PACKET, interfaceId: 1 }, /interfaceId of 0 to 0, got 1/],
    ['seconds', { seconds: -1, nanoseconds: 0, bytes: PACKET }, /seconds of 0 to 4294967295, got -1/],
    ['nanoseconds', { seconds: 0, nanoseconds: 1e9, bytes: PACKET }, /nanoseconds of 0 to 999999999/],
    ['length', { seconds: 0, nanoseconds: 0, bytes: PACKET, originalLength: 1.5 }, /originalLength of 0 to/],
  ];
  for (const [name, packetRecord, message] of wrong) {
    it(`a wrong ${name}`, () => {
      const { writer } = rig('pcapng');
      writer.addInterface({ linkType: LINKTYPE_RAW });
      assert.throws(
        () => writer.write(packetRecord),
        (error) => error instanceof RangeError && message.test(error.message),
      );
    });
  }
});
