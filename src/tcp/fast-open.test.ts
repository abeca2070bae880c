import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bytesOf, hostPair, inTime, readAll, SERVER, text } from '../../test/hosts.ts';
import { createHost, type Host } from '../index.ts';
import { pipePair } from '../phy/index.ts';
import { VirtualClock } from '../sim/clock.ts';
import { SipHash, swapBytes } from './isn.ts';
import { mergeSettings, TCP_DEFAULTS } from './settings.ts';

const KEY = 'a1a1a1a1b2b2b2b2c3c3c3c3d4d4d4d4';
const SERVES = { fastOpenBacklog: 8, fastOpenKey: KEY };
const ASKS = { fastOpen: true };

/** One exchange: the client's first bytes are `data`; gives how many packets the client had sent when they were there. */
async function exchange(client: Host, server: Host, data: string, tcp: object = ASKS): Promise<boolean> {
  const listener = await server.tcp.listen({ port: 80, tcp: SERVES });
  const before = server.stack.stats.tcpFastOpenPassive;
  const connecting = client.tcp.connect({ host: SERVER, port: 80, tcp, data: bytesOf(data) });
  const peer = await listener.accept();
  const isEarly = server.stack.stats.tcpFastOpenPassive > before;
  const stream = await connecting;
  await stream.end();
  assert.equal(text(await readAll(peer)), data);
  await peer.close();
  await stream.close();
  await listener.close();
  return isEarly;
}

describe('Fast Open', () => {
  test('RFC 7413 §3: a cookie with the first connection, text on the SYN of the next one', async () => {
    const { client, server, close } = hostPair();
    assert.equal(await exchange(client, server, 'first'), false);
    assert.equal(await exchange(client, server, 'second'), true);
    assert.equal(await exchange(client, server, 'x'.repeat(20_000)), true);
    const { stats } = client.stack;
    assert.deepEqual([stats.tcpFastOpenActive, stats.tcpFastOpenActiveFailed], [2, 0]);
    assert.deepEqual([server.stack.stats.tcpFastOpenCookiesAsked, server.stack.stats.tcpFastOpenPassive], [1, 2]);
    await close();
  });

  test('data without the setting follows the handshake', async () => {
    const { client, server, close } = hostPair();
    assert.equal(await exchange(client, server, 'plain', {}), false);
    assert.equal(await exchange(client, server, 'plain', {}), false);
    assert.equal(server.stack.stats.tcpFastOpenCookiesAsked, 0);
    await close();
  });

  test('another key: the cookie is refused, the text comes again, and the new cookie is good', async () => {
    const { client, server, close } = hostPair();
    await exchange(client, server, 'first');
    Object.assign(SERVES, { fastOpenKey: KEY.replace('a', 'b') });
    assert.equal(await exchange(client, server, 'second'), false);
    assert.equal(server.stack.stats.tcpFastOpenPassiveFailed, 1);
    assert.equal(client.stack.stats.tcpFastOpenActiveFailed, 1);
    assert.equal(await exchange(client, server, 'third'), true);
    // A former key is still known, and its clients are given a cookie of the new one.
    Object.assign(SERVES, { fastOpenKey: `${KEY},${KEY.replace('a', 'b')}` });
    assert.equal(await exchange(client, server, 'fourth'), true);
    Object.assign(SERVES, { fastOpenKey: KEY });
    assert.equal(await exchange(client, server, 'fifth'), true);
    await close();
  });

  test('over IPv6', async () => {
    const [left, right] = pipePair({ medium: 'ip', mtu: 1500 });
    const client = createHost({ device: left, addresses: ['fd00::1/64'] });
    const server = createHost({ device: right, addresses: ['fd00::2/64'] });
    for (const isEarly of [false, true]) {
      const listener = await server.tcp.listen({ port: 80, tcp: SERVES });
      const connecting = client.tcp.connect({ host: 'fd00::2', port: 80, tcp: ASKS, data: bytesOf('six') });
      const peer = await listener.accept();
      assert.equal(server.stack.stats.tcpFastOpenPassive === 1, isEarly);
      const stream = await connecting;
      await stream.end();
      assert.equal(text(await readAll(peer)), 'six');
      await Promise.all([peer.close(), stream.close(), listener.close()]);
    }
    await Promise.all([client.close(), server.close()]);
    assert.deepEqual([client.memory.usedBytes, server.memory.usedBytes], [0, 0]);
  });

  test('loss, duplicates and disorder: every byte arrives, from whichever SYN', async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const clock = new VirtualClock();
      const faults = { loss: 0.15, duplicate: 0.1, reorder: 0.2, delay: 20, seed };
      const { client, server, close } = hostPair({ clock, faults });
      const listener = await server.tcp.listen({ port: 80, tcp: SERVES });
      for (const data of ['cookie', 'text of a SYN', 'y'.repeat(5000)]) {
        const connecting = client.tcp.connect({ host: SERVER, port: 80, tcp: ASKS, data: bytesOf(data) });
        const peer = await inTime(clock, listener.accept());
        const reading = readAll(peer);
        const stream = await inTime(clock, connecting);
        await inTime(clock, stream.end());
        assert.equal(text(await inTime(clock, reading)), data, `seed ${seed}`);
        await inTime(clock, Promise.all([peer.close(), stream.close()]));
      }
      await listener.close();
      await inTime(clock, close());
    }
  });

  test('no more are handed out early than the listener allows; the others are served as any', async () => {
    const { client, server, close } = hostPair();
    await exchange(client, server, 'cookie');
    const listener = await server.tcp.listen({ port: 80, tcp: { ...SERVES, fastOpenBacklog: 2 } });
    const streams = Array.from({ length: 5 }, (_, i) =>
      client.tcp.connect({ host: SERVER, port: 80, tcp: ASKS, data: bytesOf(`${i}`) }),
    );
    const got: string[] = [];
    for (let i = 0; i < 5; i++) {
      const peer = await listener.accept();
      got.push(text(await peer.read())!);
      await peer.close();
    }
    assert.deepEqual(got.sort(), ['0', '1', '2', '3', '4']);
    assert.ok(server.stack.stats.tcpFastOpenOverflows >= 1);
    for (const stream of await Promise.all(streams)) await stream.close();
    await listener.close();
    await close();
  });

  test('more data than the send buffer takes is refused, and nothing is left', async () => {
    const { client, close } = hostPair();
    const data = new Uint8Array(300_000);
    await assert.rejects(client.tcp.connect({ host: SERVER, port: 80, data }), /expected data of at most \d+ bytes/);
    assert.equal(client.stack.tcp.connections.count, 0);
    await close();
  });
});

test("SipHash-2-4: the first of its authors' vectors, and Linux's cookie for two addresses", () => {
  const hash = SipHash.withKey('000102030405060708090a0b0c0d0e0f');
  const vector = hash.hash(new Int32Array(0));
  assert.deepEqual([vector >>> 0, hash.high >>> 0], [0xdd0e0e31, 0x726fdb47]);
  const cookie = SipHash.withKey('a1a1a1a1b2b2b2b2c3c3c3c3d4d4d4d4');
  const low = cookie.hash(Int32Array.of(swapBytes(0xc0000201), swapBytes(0xc0a80001)));
  assert.deepEqual([swapBytes(low) >>> 0, swapBytes(cookie.high) >>> 0], [0x3021b9d8, 0x89017eeb]);
});

test('settings: a key is 32 hexadecimal digits, or two of them', () => {
  for (const fastOpenKey of ['', KEY, `${KEY},${KEY}`]) mergeSettings(TCP_DEFAULTS, { fastOpenKey });
  for (const fastOpenKey of ['x', KEY.slice(1), `${KEY},`, `${KEY},${KEY},${KEY}`]) {
    assert.throws(
      () => mergeSettings(TCP_DEFAULTS, { fastOpenKey }),
      /^RangeError: fastOpenKey: expected 32 hexadecimal/,
    );
  }
});
