import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { randomOf } from '../../test/random.ts';
import { createKernel, type Kernel } from './kernel.ts';

const PAGES = 4;

/** RFC 1071 as its text has it: one word after the other. */
function naiveSum(u8: Uint8Array, p: number, length: number, acc: number): number {
  let s = acc;
  for (let i = 0; i < length; i++) s += u8[p + i]! * (i % 2 === 0 ? 1 : 256);
  while (s > 0xffff) s = (s % 0x10000) + Math.floor(s / 0x10000);
  return s;
}

const rows: { name: string; shared: boolean; choice: 'simd' | 'plain' }[] = [
  { name: 'simd', shared: false, choice: 'simd' },
  { name: 'plain', shared: false, choice: 'plain' },
  { name: 'simd, shared', shared: true, choice: 'simd' },
  { name: 'plain, shared', shared: true, choice: 'plain' },
];

for (const { name, shared, choice } of rows) {
  const fresh = (): { kernel: Kernel; u8: Uint8Array } => {
    const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared });
    return { kernel: createKernel(memory, shared, choice), u8: new Uint8Array(memory.buffer) };
  };

  describe(`kernel ${name}: sum`, () => {
    it('every length to 200 at every offset to 7', () => {
      const { kernel, u8 } = fresh();
      u8.set(randomOf(1).bytes(256));
      for (let length = 0; length <= 200; length++) {
        for (let p = 0; p < 8; p++) {
          assert.equal(kernel.sum(p, length, 0), naiveSum(u8, p, length, 0), `length ${length} offset ${p}`);
        }
      }
    });

    for (const acc of [0, 1, 0xfffe, 0xffff, 0x10000, 0x12345678, 0xffffffff]) {
      it(`adds ${acc} in`, () => {
        const { kernel, u8 } = fresh();
        u8.set(randomOf(2).bytes(256));
        for (const length of [0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100]) {
          assert.equal(kernel.sum(3, length, acc), naiveSum(u8, 3, length, acc), `length ${length}`);
        }
      });
    }

    for (const length of [65534, 65535, 65536, 131071, 200_000]) {
      it(`${length} bytes of 0xff carry nothing away`, () => {
        const { kernel, u8 } = fresh();
        u8.fill(0xff);
        for (const acc of [0, 0xffff, 0xffffffff]) {
          assert.equal(kernel.sum(1, length, acc), naiveSum(u8, 1, length, acc), `acc ${acc}`);
        }
      });
    }

    it('zeros are zero, and only zeros', () => {
      const { kernel, u8 } = fresh();
      assert.equal(kernel.sum(0, 1460, 0), 0);
      u8.fill(0xff, 0, 4);
      assert.equal(kernel.sum(0, 1460, 0), 0xffff);
    });

    it('a sum goes on from another one of even length', () => {
      const { kernel, u8 } = fresh();
      u8.set(randomOf(3).bytes(3000));
      for (const cut of [0, 2, 20, 40, 54, 1460]) {
        const whole = kernel.sum(5, 2000, 0);
        assert.equal(kernel.sum(5 + cut, 2000 - cut, kernel.sum(5, cut, 0)), whole, `cut at ${cut}`);
      }
    });
  });

  describe(`kernel ${name}: copies`, () => {
    it('copySum: every length to 200, source offset to 7, destination offset to 3; nothing beside it touched', () => {
      const { kernel, u8 } = fresh();
      u8.set(randomOf(4).bytes(256));
      for (let length = 0; length <= 200; length++) {
        for (let p = 0; p < 8; p++) {
          const d = 1001 + (p & 3);
          u8.fill(0xa5, 1000, 1300);
          assert.equal(kernel.copySum(d, p, length, 7), naiveSum(u8, p, length, 7), `length ${length} offset ${p}`);
          assert.deepEqual(u8.slice(d, d + length), u8.slice(p, p + length));
          assert.ok(u8.subarray(1000, d).every((b) => b === 0xa5));
          assert.ok(u8.subarray(d + length, 1300).every((b) => b === 0xa5));
        }
      }
    });

    it('copySum: a super-segment of 0xff', () => {
      const { kernel, u8 } = fresh();
      u8.fill(0xff, 0, 65535);
      assert.equal(kernel.copySum(70000, 0, 65535, 0xffff), naiveSum(u8, 0, 65535, 0xffff));
      assert.ok(u8.subarray(70000, 135535).every((b) => b === 0xff));
      assert.equal(u8[135535], 0);
    });

    const overlaps = [
      { name: 'apart', d: 500, p: 0 },
      { name: 'down by one', d: 99, p: 100 },
      { name: 'up by one', d: 101, p: 100 },
      { name: 'up by 17', d: 117, p: 100 },
      { name: 'onto itself', d: 100, p: 100 },
    ];
    for (const { name: where, d, p } of overlaps) {
      it(`copy: ${where}`, () => {
        const { kernel, u8 } = fresh();
        for (const length of [0, 1, 7, 16, 33, 200]) {
          u8.set(randomOf(5).bytes(1000));
          const want = u8.slice(p, p + length);
          kernel.copy(d, p, length);
          assert.deepEqual(u8.slice(d, d + length), want, `length ${length}`);
        }
      });
    }
  });
}

it('kernel: both kernels agree on random blocks', () => {
  const random = randomOf(6);
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
  const u8 = new Uint8Array(memory.buffer);
  u8.set(random.bytes(PAGES * 65536));
  const simd = createKernel(memory, false, 'simd');
  const plain = createKernel(memory, false, 'plain');
  for (let round = 0; round < 2000; round++) {
    const p = random.below(65536);
    const length = random.below(random.pick([100, 2000, 65536]));
    const acc = random.below(0x10000);
    assert.equal(simd.sum(p, length, acc), plain.sum(p, length, acc), `sum(${p}, ${length}, ${acc})`);
  }
});
