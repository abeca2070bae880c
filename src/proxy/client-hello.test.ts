import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concat, serverName } from './client-hello.ts';

const u16 = (n: number): number[] => [n >> 8, n & 0xff];
const vector = (size: 1 | 2, bytes: number[]): number[] => [
  ...(size === 1 ? [bytes.length] : u16(bytes.length)),
  ...bytes,
];
const text = (s: string): number[] => [...new TextEncoder().encode(s)];

/** A hello as RFC 8446 §4.1.2 has it, in records of at most `recordBytes`. */
function hello(name: string | null, recordBytes = 16_384): Uint8Array {
  const list = name === null ? [] : [...u16(0), ...vector(2, vector(2, [0, ...vector(2, text(name))]))];
  const extensions = [...u16(43), ...vector(2, [2, 3, 4]), ...list, ...u16(21), ...vector(2, new Array(300).fill(0))];
  const random = Array.from({ length: 32 }, (_, i) => i);
  const body = [
    3,
    3,
    ...random,
    ...vector(1, [1, 2]),
    ...vector(2, [0x13, 1]),
    ...vector(1, [0]),
    ...vector(2, extensions),
  ];
  const handshake = [1, 0, ...u16(body.length), ...body];
  const records: Uint8Array[] = [];
  for (let at = 0; at < handshake.length; at += recordBytes) {
    const piece = handshake.slice(at, at + recordBytes);
    records.push(Uint8Array.from([22, 3, 1, ...u16(piece.length), ...piece]));
  }
  return concat(records);
}

test('the name in a hello, whole or in records of any size', () => {
  for (const recordBytes of [16_384, 100, 7, 1]) {
    const bytes = hello('Www.Example.ORG', recordBytes);
    assert.equal(serverName(bytes), 'www.example.org', `${recordBytes}`);
    for (let length = 0; length < bytes.length; length++) {
      assert.equal(serverName(bytes.subarray(0, length)), undefined, `${length} bytes of records of ${recordBytes}`);
    }
  }
});

test('what has no name', () => {
  assert.equal(serverName(hello(null)), null);
  assert.equal(serverName(new TextEncoder().encode('GET / HTTP/1.1\r\n\r\n')), null);
  assert.equal(serverName(Uint8Array.of(22, 2, 0, 0, 5)), null, 'SSL 2');
  const other = hello('a.test');
  other[5] = 2;
  assert.equal(serverName(other), null, 'a server hello');
  const huge = hello('a.test');
  huge[6] = 0xff;
  assert.equal(serverName(huge), null, 'longer than is looked at');
});

test('spoiled bytes give a name, none, or the wish for more: never an exception', () => {
  const bytes = hello('spoiled.example.org');
  for (let at = 0; at < bytes.length; at++) {
    for (const value of [0, 0x7f, 0xff]) {
      const spoiled = bytes.slice();
      spoiled[at] = value;
      const name = serverName(spoiled);
      assert.ok(name === undefined || name === null || typeof name === 'string');
    }
  }
});
