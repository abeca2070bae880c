/** Published ports of a gateway. Needs no privilege. @module */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { createServer, connect as netConnect } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { Policy } from '../../src/proxy/index.ts';
import { bytesOf, readAll, text } from '../hosts.ts';
import { closeAll, closers, freePort, options, pause, rig, serve } from './gateway-rig.ts';

afterEach(closeAll);

describe('gateway: published ports', options, () => {
  test('a published port leads in, and its reset too', async () => {
    const { guest, gateway, records } = await rig({
      publish: [
        { port: 0, guestPort: 8080 },
        { port: 0, guestPort: 81 },
      ],
    });
    const listener = await guest.tcp.listen({ port: 8080 });
    const [port, none] = gateway.published.map((one) => one.port);
    const client = netConnect({ port: port!, host: '127.0.0.1', allowHalfOpen: true });
    client.end('from outside');
    const stream = await listener.accept();
    assert.equal(text(await readAll(stream)), 'from outside');
    await stream.write(bytesOf('answer'));
    await stream.end();
    let got = '';
    for await (const chunk of client) got += chunk;
    assert.equal(got, 'answer');
    await stream.close();
    const refused = netConnect({ port: none!, host: '127.0.0.1' });
    const code = await new Promise((resolve) =>
      refused.once('error', (error) => resolve((error as { code?: string }).code)),
    );
    assert.equal(code, 'ECONNRESET');
    assert.ok(records.some(({ direction, result }) => direction === 'in' && result === 'closed'));
  });

  test('an IPv6 one leads to the IPv6 address of the guest, and its range has as many', async () => {
    const ports = await freePorts(3);
    const policy = new Policy({ publish: [`[::1]:${ports}-${ports + 2}:80-82`] });
    const { guest, gateway, records } = await rig({ policy, publish: [{ host: '::1', port: 0, guestPort: 80 }] });
    assert.deepEqual(
      gateway.published.slice(0, 3),
      [0, 1, 2].map((i) => ({ host: '::1', port: ports + i, guestPort: 80 + i, protocol: 'tcp' })),
    );
    const listener = await guest.tcp.listen({ port: 81, host: 'fd00:2::64' });
    const client = netConnect({ port: ports + 1, host: '::1' });
    client.end('over IPv6');
    const stream = await listener.accept();
    assert.equal(text(await readAll(stream)), 'over IPv6');
    await stream.close();
    for (let i = 0; i < 100 && records.length === 0; i++) await pause(10);
    assert.deepEqual(
      records.map(({ direction, destination, result }) => [direction, destination, result]),
      [['in', '[fd00:2::64]:81', 'closed']],
    );
  });

  test('datagrams: each source is a flow, and gets the answers to its own', async () => {
    for (const [host, guestHost] of [
      ['127.0.0.1', '10.0.2.100'],
      ['::1', 'fd00:2::64'],
    ] as const) {
      const { guest, gateway, records } = await rig({ publish: [{ host, port: 0, guestPort: 7, protocol: 'udp' }] });
      const server = await guest.udp.bind({ port: 7, host: guestHost });
      const heard = new Set<number>();
      const echoing = (async () => {
        for await (const { data, address, port } of server) {
          heard.add(port);
          await server.send(bytesOf(`re: ${text(data)}`), { host: address, port });
        }
      })();
      const { port } = gateway.published[0]!;
      const clients = await Promise.all([0, 1, 2].map(() => datagramClient(host)));
      for (let round = 0; round < 5; round++) {
        for (const [i, client] of clients.entries()) client.send(`${i}.${round}`, port, host);
      }
      for (const [i, client] of clients.entries()) {
        const answers = Array.from({ length: 5 }, (_, round) => `re: ${i}.${round}`);
        assert.deepEqual(await client.heard(5), answers);
      }
      assert.equal(heard.size, 3, 'ports of the router');
      assert.equal(gateway.use.udp, 3);
      await guest.close();
      await gateway.close();
      await echoing.catch(() => {});
      assert.equal(gateway.use.udp, 0);
      assert.equal(records.filter(({ result, bytesIn }) => result === 'closed' && bytesIn === 15).length, 3);
      assert.equal(records.filter(({ direction, protocol }) => direction === 'in' && protocol === 'udp').length, 3);
    }
  });

  test('datagrams: idle flows end, the oldest makes room, a closed port of the guest has its line', async () => {
    const { guest, gateway, records } = await rig({
      udp: { flowsMax: 4, idleMs: 400 },
      publish: [
        { port: 0, guestPort: 7, protocol: 'udp' },
        { port: 0, guestPort: 8, protocol: 'udp' },
      ],
    });
    const server = await guest.udp.bind({ port: 7 });
    const [port, closed] = gateway.published.map((one) => one.port);
    const refused = await datagramClient('127.0.0.1');
    refused.send('x', closed!, '127.0.0.1');
    for (let i = 0; i < 100 && records.length === 0; i++) await pause(10);
    assert.deepEqual([records[0]?.direction, records[0]?.result], ['in', 'ECONNREFUSED']);
    assert.equal(gateway.use.udp, 0);

    const clients = await Promise.all(Array.from({ length: 10 }, () => datagramClient('127.0.0.1')));
    for (const client of clients) {
      client.send('x', port!, '127.0.0.1');
      await server.receive();
    }
    assert.equal(gateway.use.udp, 4);
    assert.equal(records.filter(({ result }) => result === 'closed').length, 6);
    for (let i = 0; i < 20; i++) {
      clients[9]!.send('y', port!, '127.0.0.1');
      await pause(50);
    }
    assert.equal(gateway.use.udp, 1, 'the one with traffic stays');
    for (let i = 0; i < 100 && gateway.use.udp > 0; i++) await pause(20);
    assert.equal(gateway.use.udp, 0);
    assert.equal(records.length, 11);
    await server.close();
  });

  test('a port that is taken is one clear error, and nothing stays open', async () => {
    const taken = await datagramClient('127.0.0.1');
    const tcp = await serve((socket) => socket.destroy());
    for (const publication of [
      { port: taken.port, guestPort: 1, protocol: 'udp' },
      { port: tcp, guestPort: 1 },
    ] as const) {
      await assert.rejects(rig({ publish: [publication] }), { code: 'EADDRINUSE' });
    }
  });
});

/** The first of some ports of the loopback, in a row, that nobody listens on. */
async function freePorts(count: number): Promise<number> {
  for (;;) {
    const first = await freePort();
    const listeners = await Promise.all(
      Array.from({ length: count }, async (_, i) => {
        const server = createServer();
        const isFree = await new Promise<boolean>((resolve) => {
          server.once('error', () => resolve(false));
          server.listen(first + i, '::1', () => resolve(true));
        });
        await new Promise((resolve) => server.close(resolve));
        return isFree;
      }),
    );
    if (listeners.every(Boolean)) return first;
  }
}

interface DatagramClient {
  readonly port: number;
  send(text: string, port: number, host: string): void;
  /** Waits for so many. */
  heard(count: number): Promise<string[]>;
}

async function datagramClient(host: string): Promise<DatagramClient> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  const heard: string[] = [];
  socket.on('message', (data) => heard.push(`${data}`));
  await new Promise<void>((resolve) => socket.bind(0, host, resolve));
  closers.push(() => void socket.close());
  return {
    port: socket.address().port,
    send: (said, port, to) => socket.send(said, port, to),
    heard: async (count) => {
      for (let i = 0; i < 200 && heard.length < count; i++) await pause(10);
      return heard;
    },
  };
}
