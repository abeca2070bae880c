import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FrameReader, listenQemu } from './index.ts';

const frame = (length: number, fill: number): Uint8Array => {
  const bytes = new Uint8Array(4 + length).fill(fill);
  new DataView(bytes.buffer).setUint32(0, length);
  return bytes;
};

test('frames come whole, however the stream is cut', () => {
  const stream = Buffer.concat([frame(60, 1), frame(1514, 2), frame(14, 3), frame(65_553, 4)]);
  for (const piece of [3, 4, 63, 64, 65, 1000, stream.length]) {
    const got: [number, number][] = [];
    const reader = new FrameReader((bytes) => {
      assert.ok(bytes.every((byte) => byte === bytes[0]));
      got.push([bytes.length, bytes[0]!]);
      return true;
    });
    for (let at = 0; at < stream.length; at += piece) assert.equal(reader.push(stream.subarray(at, at + piece)), 'ok');
    assert.deepEqual(got, [
      [60, 1],
      [1514, 2],
      [14, 3],
      [65_553, 4],
    ]);
  }
});

test('byte by byte; a frame that is not taken comes again; a length that cannot be ends it', () => {
  let room = 0;
  const got: number[] = [];
  const reader = new FrameReader(({ length }) => {
    if (room === 0) return false;
    room--;
    got.push(length);
    return true;
  });
  const bytes = Buffer.concat([frame(20, 1), frame(30, 2)]);
  for (const byte of bytes) reader.push(Uint8Array.of(byte));
  assert.deepEqual([got, reader.isFull], [[], true]);
  room = 1;
  assert.equal(reader.push(new Uint8Array(0)), 'full');
  assert.deepEqual(got, [20]);
  room = 5;
  assert.equal(reader.push(new Uint8Array(0)), 'ok');
  assert.deepEqual(got, [20, 30]);
  assert.equal(reader.push(Uint8Array.of(0, 0, 0, 0)), 'bad');
  assert.equal(new FrameReader(() => true).push(Uint8Array.of(0, 1, 0, 19)), 'bad');
});

test('a file that is no socket stays, though nobody listens on it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'et-qemu-'));
  try {
    const path = join(folder, 'notes.txt');
    writeFileSync(path, 'mine');
    await assert.rejects(
      listenQemu(path, () => {}),
      { code: 'EADDRINUSE' },
    );
    assert.equal(readFileSync(path, 'utf8'), 'mine');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
