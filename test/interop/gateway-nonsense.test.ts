/** Proxies that say what is no answer, and datagrams that come while a gateway closes. @module */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { Associations } from '../../src/proxy/association.ts';
import { dialUpstream } from '../../src/proxy/upstream.ts';
import { closeAll, options, pause, rig, serve } from './gateway-rig.ts';

const PORT = [0x30, 0x39];

/** A proxy that asks for no password, and answers to the request with these bytes, and its end if `ends`. */
const saying =
  (bytes: readonly number[], ends = false) =>
  (socket: Socket): void => {
    socket.once('data', () => {
      socket.write(Uint8Array.of(5, 0));
      socket.once('data', () => {
        if (ends) socket.end(Uint8Array.from(bytes));
        else socket.write(Uint8Array.from(bytes));
      });
    });
  };

describe('a SOCKS5 proxy that answers nonsense', options, () => {
  afterEach(closeAll);

  const ROWS: readonly [name: string, onSocket: (socket: Socket) => void, code: string][] = [
    ['nothing but its end', (socket) => void socket.end(), 'ECONNRESET'],
    ['HTTP', (socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'), 'EACCES'],
    ['half an answer', saying([5, 0, 0, 1, 127], true), 'ECONNRESET'],
    ['an address of no type there is, short', saying([5, 0, 0, 9, 3, 1, 2, 3, ...PORT]), 'ECONNRESET'],
    ['an address of no type there is, long', saying([5, 0, 0, 9, 16, ...new Array(16).fill(1), ...PORT]), 'ECONNRESET'],
    ['a name of no bytes', saying([5, 0, 0, 3, 0, ...PORT]), 'ECONNRESET'],
    ['no port', saying([5, 0, 0, 1, 127, 0, 0, 1, 0, 0]), 'ECONNRESET'],
    ['an address datagrams cannot go to', saying([5, 0, 0, 1, 255, 255, 255, 255, ...PORT]), 'EACCES'],
  ];

  for (const [name, onSocket, code] of ROWS) {
    test(`${name}: the flow fails with ${code}, and nothing is left`, async () => {
      const upstream = { kind: 'socks5', host: '127.0.0.1', port: await serve(onSocket), user: null } as const;
      const associations = new Associations(upstream, () => performance.now());
      const place = { host: '192.0.2.1', port: 53 };
      await assert.rejects(associations.open('guest', place, AbortSignal.timeout(5000)), { code });
      assert.equal(associations.count, 0);
    });
  }

  test('an address of no type there is, to a connection', async () => {
    const port = await serve(saying([5, 0, 0, 9, 3, 1, 2, 3, ...PORT]));
    const upstream = { kind: 'socks5', host: '127.0.0.1', port, user: null } as const;
    const dialing = dialUpstream(upstream, '192.0.2.1', 80, AbortSignal.timeout(5000));
    await assert.rejects(dialing, { code: 'ECONNRESET' });
  });

  test('names that are too long are none, and IPv6 goes', async () => {
    const port = await serve(saying([5, 0, 0, 1, 127, 0, 0, 1, ...PORT]));
    const associations = new Associations({ kind: 'socks5', host: '127.0.0.1', port, user: null }, () => 0);
    const open = (host: string) => associations.open('guest', { host, port: 53 }, AbortSignal.timeout(5000));
    for (const host of ['a'.repeat(256), 'a'.repeat(300), 'é'.repeat(130)]) {
      await assert.rejects(open(host), { code: 'EINVAL' });
      assert.equal(associations.count, 0);
    }
    for (const host of ['a'.repeat(255), '2001:db8::1']) (await open(host)).close();
    assert.equal(associations.count, 0);
  });
});

describe('a gateway that closes', options, () => {
  afterEach(closeAll);

  test('under a flood to a port it publishes: it begins no flow any more, and ends with all of them', async () => {
    const { guest, gateway, records } = await rig({ publish: [{ port: 0, guestPort: 7, protocol: 'udp' }] });
    await guest.udp.bind({ port: 7 });
    const { port } = gateway.published[0]!;
    let isOver = false;
    const flood = (async () => {
      while (!isOver) {
        const client = createSocket('udp4'); // a source that is new
        client.send('x', port, '127.0.0.1', () => client.close());
        await new Promise((resolve) => setImmediate(resolve)); // a send alone never waits for the loop
      }
    })();
    for (let i = 0; i < 200 && records.length + gateway.use.udp < 20; i++) await pause(10);
    await gateway.close();
    const told = records.length;
    assert.deepEqual([gateway.use.udp, gateway.host.memory.usedBytes], [0, 0]);
    await pause(100);
    assert.equal(records.length, told, 'lines of flows that began later');
    isOver = true;
    await flood;
  });
});
