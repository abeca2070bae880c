/** Requests as they should not be, and some as they should, over a wire in memory. @module */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { createHost } from '../index.ts';
import { pipePair } from '../phy/index.ts';
import { byteAt, downloadBlock, serveHttp } from './http-server.ts';

const timeout = 10_000;

/** Sends `request` in pieces of `step` bytes, ends our half, and gives all that came back. */
async function exchange(request: string, step = request.length): Promise<string> {
  const [left, right] = pipePair({ medium: 'ip' });
  const server = createHost({ device: left, addresses: ['10.0.0.1/24'] });
  const client = createHost({ device: right, addresses: ['10.0.0.2/24'], tcp: { noDelay: true } });
  const listener = await server.tcp.listen({ port: 80 });
  const served = listener.accept().then(async (stream) => {
    await serveHttp(stream);
    await stream.close();
  });
  const stream = await client.tcp.connect({ host: '10.0.0.1', port: 80 });
  const bytes = Buffer.from(request, 'latin1');
  const sent = (async () => {
    for (let at = 0; at < bytes.length; at += step) await stream.write(bytes.subarray(at, at + step));
    await stream.end();
  })();
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  await sent.catch(() => {}); // a refusal may come before all was sent
  await served;
  await client.close();
  await server.close();
  assert.equal(server.memory.usedBytes, 0);
  return Buffer.concat(chunks).toString('latin1');
}

const get = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
const post = (fields: string, body = ''): string => `POST /sum HTTP/1.1\r\nHost: x\r\n${fields}\r\n${body}`;
const statuses = (answer: string): number[] => [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((m) => Number(m[1]));
const sum = (text: string): string =>
  JSON.stringify({ bytes: text.length, sha256: createHash('sha256').update(text).digest('hex') });

describe('status', () => {
  const chunked = 'Transfer-Encoding: chunked\r\n';
  const rows: readonly (readonly [name: string, request: string, expected: readonly number[]])[] = [
    ['a page', get('/'), [200]],
    ['a query', get('/?a=b'), [200]],
    ['an absolute target', get('http://other/bytes/1'), [200]],
    ['empty lines before it', `\r\n\r\n${get('/')}`, [200]],
    ['bare line feeds', 'GET / HTTP/1.1\nHost: x\n\n', [200]],
    ['three at once', get('/bytes/1') + get('/none') + get('/bytes/2'), [200, 404, 200]],
    ['the last of three', get('/') + get('/', 'Connection: close\r\n') + get('/'), [200, 200]],
    ['HTTP/1.0 ends', `GET / HTTP/1.0\r\n\r\n${get('/')}`, [200]],
    ['HTTP/1.0 kept', `GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n${get('/')}`, [200, 200]],
    ['a body nobody wants', `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc${get('/')}`, [405]],
    ['an upload, then another request', post('Content-Length: 3\r\n', 'abc') + get('/'), [200, 200]],
    ['an expectation', post('Expect: 100-continue\r\nContent-Length: 1\r\n', 'x'), [100, 200]],
    ['an expectation of something else', post('Expect: wonders\r\nContent-Length: 1\r\n', 'x'), [417]],
    ['nothing', '', []],
    ['noise', '\x16\x03\x01\x02\0\x01\0\0\xfc\x03\x03\r\n\r\n', [400]],
    ['no version', 'GET /\r\n\r\n', [400]],
    ['two spaces', 'GET  / HTTP/1.1\r\nHost: x\r\n\r\n', [400]],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [505]],
    ['no Host', 'GET / HTTP/1.1\r\n\r\n', [400]],
    ['two Hosts', get('/', 'Host: y\r\n'), [400]],
    ['a space before the colon', get('/', 'A : b\r\n'), [400]],
    ['a folded line', get('/', 'A: b\r\n c\r\n'), [400]],
    ['a zero in a value', get('/', 'A: b\0\r\n'), [400]],
    ['a request cut off', 'GET / HTTP/1.1\r\nHost', [400]],
    ['a header without end', get('/', `A: ${'b'.repeat(20_000)}\r\n`), [431]],
    ['lengths that differ', post('Content-Length: 1\r\nContent-Length: 2\r\n', 'xy'), [400]],
    ['a length that is none', post('Content-Length: +1\r\n', 'x'), [400]],
    ['a length and chunks', post(`Content-Length: 1\r\n${chunked}`, '0\r\n\r\n'), [400]],
    ['another coding', post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'), [501]],
    ['a body cut off', post('Content-Length: 10\r\n', 'abc'), [400]],
    ['a chunk cut off', post(chunked, '5\r\nabc'), [400]],
    ['a chunk size that is none', post(chunked, 'x\r\nabc\r\n0\r\n\r\n'), [400]],
    ['a chunk size too large', post(chunked, `${'f'.repeat(14)}\r\nabc`), [400]],
    ['a chunk longer than it says', post(chunked, '1\r\nabc\r\n0\r\n\r\n'), [400]],
    ['an endless chunk extension', post(chunked, `1;${'x'.repeat(1000)}\r\na\r\n0\r\n\r\n`), [400]],
    ['endless trailers', post(chunked, `0\r\n${'a: b\r\n'.repeat(5000)}\r\n`), [431]],
    ['too many bytes', get('/bytes/9999999999999'), [400]],
    ['bytes of nothing', get('/bytes/'), [404]],
  ];
  for (const [name, request, expected] of rows) {
    test(name, { timeout }, async () => assert.deepEqual(statuses(await exchange(request)), expected));
  }
});

describe('bodies', () => {
  test('HEAD has the length and no body', { timeout }, async () => {
    const answer = await exchange('HEAD /bytes/70000 HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.match(answer, /\r\nContent-Length: 70000\r\n(.*\r\n)*\r\n$/);
  });

  for (const count of [0, 1, 65_535, 65_536, 65_537, 200_000]) {
    test(`${count} bytes, each where it belongs`, { timeout }, async () => {
      const answer = Buffer.from(await exchange(get(`/bytes/${count}`)), 'latin1');
      const body = answer.subarray(answer.indexOf('\r\n\r\n') + 4);
      assert.equal(body.length, count);
      assert.equal(
        body.findIndex((byte, i) => byte !== byteAt(i)),
        -1,
      );
    });
  }

  test('a block far into a download', () => {
    const index = 0x123456;
    const block = downloadBlock(index);
    for (const i of [0, 1, 0x1234, 0xffff]) assert.equal(block[i], byteAt(((index << 16) | i) >>> 0) ^ 0);
  });

  for (const step of [1, 2, 7, 1000]) {
    test(`a chunked upload in pieces of ${step} bytes`, { timeout }, async () => {
      const long = 'a piece of it'.repeat(100);
      const chunks = `5;a=b\r\nhello\r\n${long.length.toString(16)}\r\n${long}\r\n0\r\nTrailer: yes\r\n\r\n`;
      const answer = await exchange(post('Transfer-Encoding: chunked\r\n', chunks) + get('/bytes/0'), step);
      assert.deepEqual(statuses(answer), [200, 200]);
      assert.ok(answer.includes(sum(`hello${long}`)));
    });
  }
});
