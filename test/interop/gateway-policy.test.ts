/** The policy of a gateway. Needs no privilege. @module */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { type GatewayOptions, Policy, parseRule } from '../../src/proxy/index.ts';
import { bytesOf, readAll, text } from '../hosts.ts';
import { closeAll, open, options, pause, ROUTER, rig, serve } from './gateway-rig.ts';

afterEach(closeAll);

/** The first bytes that Node's own TLS says to a server of that name. */
async function helloOf(servername: string): Promise<Uint8Array> {
  let told: (bytes: Uint8Array) => void = () => {};
  const bytes = new Promise<Uint8Array>((resolve) => {
    told = resolve;
  });
  const port = await serve((socket) => {
    socket.once('data', (chunk) => {
      told(new Uint8Array(chunk));
      socket.destroy();
    });
  });
  tlsConnect({ port, host: '127.0.0.1', servername }).on('error', () => {});
  return bytes;
}

describe('gateway: policy', options, () => {
  test('deny and allow by address, port and name, and what is said of it', async () => {
    const hosts = { 'good.test': ROUTER, 'bad.test': ROUTER, 'x.sub.test': ROUTER };
    const port = await serve((socket) => socket.end('ok'));
    const rows: [policy: ConstructorParameters<typeof Policy>[0], name: string, expected: string][] = [
      [{}, ROUTER, 'ok'],
      [{ deny: ['10.0.0.0/8'] }, ROUTER, 'denied by 10.0.0.0/8'],
      [{ deny: [`tcp:*:${port}`] }, ROUTER, `denied by tcp:*:${port}`],
      [{ deny: [`udp:*:${port}`] }, ROUTER, 'ok'],
      [{ allow: ['good.test'] }, 'good.test', 'ok'],
      [{ allow: ['good.test'] }, ROUTER, 'no rule allows it'],
      [{ allow: ['*.sub.test'] }, 'x.sub.test', 'ok'],
      [{ allow: ['good.test', '*.sub.test'] }, 'bad.test', 'no rule allows it'],
      [{ deny: [`bad.test:${port}`] }, 'bad.test', `denied by bad.test:${port}`],
      [{ allow: [`${ROUTER}:${port}`], deny: ['bad.test:1'] }, 'bad.test', 'ok'],
      [{ default: 'deny' }, ROUTER, 'no rule allows it'],
    ];
    for (const [policy, name, expected] of rows) {
      const { guest, records } = await rig({ policy: new Policy(policy), hosts });
      const got = await open(guest, port, name).then(
        async (stream) => text(await readAll(stream)),
        (error: { code: string }) => (error.code === 'ECONNREFUSED' ? records.at(-1)?.reason : error.code),
      );
      assert.equal(got, expected, JSON.stringify({ policy, name }));
    }
    const denied = await rig({ policy: new Policy({ deny: ['bad.test'] }), hosts });
    await assert.rejects(denied.guest.resolve('bad.test'), { code: 'ENOTFOUND' });
  });

  test('a function decides; one that fails denies', async () => {
    const port = await serve((socket) => socket.end('ok'));
    const ways: [GatewayOptions['policy'], string | undefined][] = [
      [async ({ protocol, port: to }) => protocol === 'tcp' && to === port, undefined],
      [() => false, 'the policy says so'],
      [
        () => {
          throw new Error('oh');
        },
        'the policy failed: oh',
      ],
    ];
    for (const [policy, reason] of ways) {
      const { guest, records } = await rig({ policy });
      const result = open(guest, port).then(async (stream) => text(await readAll(stream)));
      if (reason === undefined) assert.equal(await result, 'ok');
      else {
        await assert.rejects(result, { code: 'ECONNREFUSED' });
        assert.equal(records.pop()?.reason, reason);
      }
    }
  });

  test('the TLS name decides, and what was read of the hello goes on unchanged', async () => {
    const policy = new Policy({ allow: ['sni=good.test'] });
    const port = await serve((socket) => socket.pipe(socket));
    for (const [name, isAllowed] of [
      ['good.test', true],
      ['bad.test', false],
      [null, false],
    ] as const) {
      const { guest, records, quiet } = await rig({ policy });
      const bytes = name === null ? bytesOf('GET / HTTP/1.1\r\n\r\n') : await helloOf(name);
      const stream = await open(guest, port);
      for (const half of [bytes.subarray(0, 50), bytes.subarray(50)]) {
        if (half.length > 0) await stream.write(half).catch(() => {});
        await pause(20);
      }
      if (isAllowed) {
        await stream.end();
        assert.deepEqual(await readAll(stream), bytes);
        await stream.close();
      } else {
        await assert.rejects(readAll(stream), { code: 'ECONNRESET' });
      }
      await quiet();
      const { verdict, name: said } = records.pop()!;
      assert.deepEqual([verdict, said], [isAllowed ? 'allow' : 'deny', name]);
    }
  });

  test('rules that are none are refused by name', () => {
    for (const text of [
      '',
      ':80',
      'tcp:',
      '443',
      '10.0.0.0/33',
      'a..b',
      '*:99999',
      '*:9-8',
      'icmp:*:1',
      'sni=',
      'a*b.c',
      '::::',
    ]) {
      assert.throws(() => parseRule(text), { name: 'TypeError', message: /^rule / }, text);
    }
    assert.throws(() => new Policy({ allow: 'x' as never }), /allow: expected an array/);
    assert.throws(
      () => new Policy({ alow: [] } as never),
      /expected default, allow, deny, limits, publish, got "alow"/,
    );
  });
});
