import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../phy/random.ts';
import { IpAddress } from '../wire/address.ts';
import { Secrets, SipHash } from './isn.ts';

test('isn: SipHash-2-4 of the reference: key 00..0f, message 00 01 02 ..., low 32 bits', () => {
  const words = (count: number): Int32Array =>
    new Int32Array(Uint8Array.from({ length: 4 * count }, (_, i) => i).buffer);
  const key = words(4);
  let drawn = 0;
  const hash = new SipHash(() => key[drawn++]! >>> 0);
  // vectors_sip64 of github.com/veorq/SipHash: 31 0e 0e dd ..., for 0, 4, 8, 12 and 16 bytes.
  const expected = [0xdd0e0e31, 0x277187b7, 0x9a932462, 0x860ee5fb, 0x57c29bdb];
  expected.forEach((low, i) => {
    assert.equal(hash.hash(words(i)) >>> 0, low, `${4 * i} bytes`);
  });
});

test('isn: RFC 6528 §3: a clock of 4 microseconds, and another place for every flow and every secret', () => {
  const random = new Random(1);
  const secrets = new Secrets(() => random.next());
  const local = IpAddress.parse('10.0.0.1');
  const remote = IpAddress.parse('10.0.0.2');
  const at = (nowMs: number): number => secrets.isn(local, remote, 80, nowMs);
  assert.equal((at(4) - at(0)) | 0, 1000);
  assert.equal((at(1e12 + 1) - at(1e12)) | 0, 250, 'after 30 years');
  const isns = new Set<number>();
  for (let port = 0; port < 1000; port++) isns.add(secrets.isn(local, remote, port, 0));
  assert.equal(isns.size, 1000);
  assert.equal(secrets.timestampOffset(local, remote), secrets.timestampOffset(local, remote));
  assert.notEqual(secrets.timestampOffset(local, remote), secrets.timestampOffset(remote, local));
  const others = new Secrets(() => random.next());
  assert.notEqual(others.isn(local, remote, 80, 0), at(0));
});
