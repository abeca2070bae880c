/** A gateway whose way out is another proxy. Needs no privilege. @module */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { parseUpstream } from '../../src/proxy/index.ts';
import { bytesOf, text } from '../hosts.ts';
import { closeAll, open, options, rig, serve } from './gateway-rig.ts';

afterEach(closeAll);

describe('gateway: upstream proxies', options, () => {
  test('out through SOCKS5 and HTTP CONNECT, and what those say of failures', async () => {
    /** Answers a request for a port below 1000 with that number as its error; else echoes. */
    const socks = await serve((socket) => {
      const steps = [
        (): void => void socket.write(Uint8Array.of(5, 2)),
        (): void => void socket.write(Uint8Array.of(1, 0)),
        (data: Buffer): void => {
          const port = data.readUInt16BE(data.length - 2);
          socket.write(Uint8Array.of(5, port < 1000 ? port : 0, 0, 1, 0, 0, 0, 0, 0, 0));
        },
      ];
      socket.on('data', (data) => {
        const step = steps.shift();
        if (step === undefined) socket.write(data);
        else step(data);
      });
      socket.on('end', () => socket.end());
    });
    const http = await serve((socket) => {
      socket.once('data', (data) => {
        const [, port, ...rest] = /^CONNECT 198\.51\.100\.7:(\d+) HTTP\/1\.1\r\n/.exec(`${data}`) ?? [];
        assert.equal(rest.length, 0);
        const status = Number(port) < 1000 ? port : 200;
        socket.write(`HTTP/1.1 ${status} said\r\nVia: x\r\n\r\n`);
        socket.pipe(socket);
      });
    });
    const ways: [url: string, rows: [port: number, code: string][]][] = [
      [
        `socks5://me:secret@127.0.0.1:${socks}`,
        [
          [5, 'ECONNREFUSED'],
          [4, 'EHOSTUNREACH'],
          [3, 'EHOSTUNREACH'],
          [2, 'ECONNREFUSED'],
        ],
      ],
      [
        `http://127.0.0.1:${http}`,
        [
          [403, 'ECONNREFUSED'],
          [502, 'EHOSTUNREACH'],
          [504, 'EHOSTUNREACH'],
        ],
      ],
    ];
    for (const [url, rows] of ways) {
      const { guest, quiet } = await rig({ upstream: parseUpstream(url) });
      const stream = await open(guest, 4000, '198.51.100.7');
      await stream.write(bytesOf('through'));
      assert.equal(text(await stream.read()), 'through');
      await stream.end();
      assert.equal(await stream.read(), null);
      await stream.close();
      for (const [port, code] of rows)
        await assert.rejects(open(guest, port, '198.51.100.7'), { code }, `${url} ${port}`);
      const udp = await guest.udp.connect({ host: '198.51.100.7', port: 9 });
      await udp.send(bytesOf('x'));
      await assert.rejects(udp.receive(), { code: 'ECONNREFUSED' });
      await udp.close();
      await quiet();
    }
    for (const text of ['', 'socks4://a:1', 'http://a', 'http://a:0', 'http://:1'])
      assert.throws(() => parseUpstream(text), /upstream/);
  });
});
