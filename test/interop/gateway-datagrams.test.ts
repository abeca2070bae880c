/** Datagrams and names through a gateway. Needs no privilege. @module */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { afterEach, describe, test } from 'node:test';
import { Policy } from '../../src/proxy/index.ts';
import { bytesOf, readAll, text } from '../hosts.ts';
import { closeAll, closers, freePort, open, options, pause, ROUTER, rig, serve } from './gateway-rig.ts';

afterEach(closeAll);

describe('gateway: datagrams and names', options, () => {
  test('UDP answers, its refusal, and a denial', async () => {
    const { guest, records, gateway } = await rig({ policy: new Policy({ deny: ['udp:*:9'] }) });
    const server = createSocket('udp4');
    server.on('message', (data, { port, address }) =>
      server.send(Buffer.concat([Buffer.from('re: '), data]), port, address),
    );
    await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
    closers.push(() => void server.close());
    const socket = await guest.udp.connect({ host: ROUTER, port: server.address().port });
    for (let i = 0; i < 20; i++) {
      await socket.send(bytesOf(`${i}`));
      assert.equal(text((await socket.receive()).data), `re: ${i}`);
    }
    const large = new Uint8Array(9000).fill(7);
    await socket.send(large);
    assert.equal((await socket.receive()).data.length, 9004);
    await socket.send(new Uint8Array(65_503).fill(7));
    assert.equal((await socket.receive()).data.length, 65_507, 'the longest there is');
    await socket.close();
    assert.equal(gateway.relay.udp.count, 1);
    const port = await freePort();
    const refused = await guest.udp.connect({ host: ROUTER, port });
    await refused.send(bytesOf('x'));
    await assert.rejects(refused.receive(), { code: 'ECONNREFUSED' });
    await refused.close();
    const denied = await guest.udp.connect({ host: '198.51.100.9', port: 9 });
    await denied.send(bytesOf('x'));
    await assert.rejects(denied.receive(), { code: 'ECONNREFUSED' });
    await denied.close();
    assert.deepEqual(
      records.map(({ verdict, result }) => [verdict, result]),
      [
        ['allow', 'ECONNREFUSED'],
        ['deny', 'ECONNREFUSED'],
      ],
    );
  });

  test('a name server of the machine is asked, and its answers are remembered', async () => {
    const { emit, message, parse, record } = await import('../../src/wire/dns.ts');
    const { IpAddress } = await import('../../src/wire/address.ts');
    const server = createSocket('udp4');
    server.on('message', (data, { port, address }) => {
      const query = parse(new Uint8Array(data));
      if (typeof query === 'string') return;
      const [question] = query.questions;
      const found =
        question!.type === 'A' ? [record(question!.name, 60, { type: 'A', address: IpAddress.parse(ROUTER) })] : [];
      server.send(
        emit(message({ id: query.id, isResponse: true, questions: query.questions, answers: found })),
        port,
        address,
      );
    });
    await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
    closers.push(() => void server.close());
    const policy = new Policy({ allow: ['asked.test'] });
    const { guest, records } = await rig({ policy, nameServers: [`127.0.0.1:${server.address().port}`] });
    const port = await serve((socket) => socket.end('ok'));
    await assert.rejects(open(guest, port), { code: 'ECONNREFUSED' });
    assert.deepEqual(await guest.resolve('asked.test', { family: 4 }), [ROUTER]);
    const stream = await open(guest, port);
    assert.equal(text(await readAll(stream)), 'ok');
    await stream.close();
    await pause(50);
    assert.equal(records.at(-1)?.name, 'asked.test');
  });

  test('without a name server an unknown name is an error at once', async () => {
    const { guest } = await rig();
    await assert.rejects(guest.resolve('nowhere.test'), { name: 'NetError' });
  });
});
