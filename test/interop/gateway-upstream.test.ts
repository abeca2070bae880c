/** A gateway whose way out is another proxy. Needs no privilege. @module */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { type GatewayOptions, Policy, parseUpstream } from '../../src/proxy/index.ts';
import { bytesOf, text } from '../hosts.ts';
import { closeAll, closers, echoDatagrams, open, options, pause, rig, serve } from './gateway-rig.ts';
import { type SocksOptions, SocksServer } from './socks-server.ts';

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

  test('datagrams through SOCKS5: with and without a password, whatever address the proxy names', async () => {
    const port = await echoDatagrams();
    for (const settings of [
      {},
      { user: { name: 'me', password: 'secret' } },
      { bound: 'zero' },
      { bound: 'name' },
    ] as const) {
      const { guest, gateway, socks } = await behind(settings);
      const one = await guest.udp.connect({ host: FAR, port });
      for (const said of ['first', '', 'third', 'x'.repeat(8000)]) {
        await one.send(bytesOf(said));
        assert.equal(text((await one.receive()).data), said);
      }
      await one.close();
      assert.deepEqual([gateway.relay.associations!.count, socks.asked], [1, 1]);
    }
  });

  test('flows of one socket share an association, those of another have their own; the last one ends it', async () => {
    const ports = [await echoDatagrams(), await echoDatagrams(), await echoDatagrams()];
    const { guest, gateway, socks, records } = await behind({});
    const sockets = await Promise.all([guest.udp.bind(), guest.udp.bind()]);
    for (const [i, socket] of sockets.entries()) {
      for (const port of ports) {
        await socket.send(bytesOf(`${i} to ${port}`), { host: FAR, port });
        const { data, port: from } = await socket.receive();
        assert.deepEqual([text(data), from], [`${i} to ${port}`, port]);
      }
    }
    const { associations, udp } = gateway.relay;
    assert.deepEqual([associations!.count, socks.asked, udp.count, associations!.stats.opened], [2, 2, 6, 2]);
    for (const flow of udp.flows.filter(({ sourcePort }) => sourcePort === sockets[0]!.port)) flow.close();
    await until(() => socks.controls.size === 1);
    await sockets[1]!.send(bytesOf('still'), { host: FAR, port: ports[0]! });
    assert.equal(text((await sockets[1]!.receive()).data), 'still');
    for (const flow of udp.flows) flow.close();
    await until(() => socks.controls.size === 0);
    assert.equal(associations!.count, 0);
    assert.ok(records.every(({ result }) => result === 'closed'));
    for (const socket of sockets) await socket.close();
  });

  test('pieces, headers that are none and answers of strangers are dropped, each under its name', async () => {
    const port = await echoDatagrams();
    const { guest, gateway } = await behind({ isRude: true });
    const socket = await guest.udp.connect({ host: FAR, port });
    for (const said of ['a', 'b']) {
      await socket.send(bytesOf(said));
      assert.equal(text((await socket.receive()).data), said);
    }
    const { fragments, malformed, strangers, unsent } = gateway.relay.associations!.stats;
    assert.deepEqual(
      { fragments, malformed, strangers, unsent },
      { fragments: 2, malformed: 8, strangers: 4, unsent: 0 },
    );
    await socket.send(new Uint8Array(65_500)); // with the header in front it is longer than a datagram may be
    await until(() => gateway.relay.associations!.stats.unsent === 1);
    await socket.close();
  });

  test('a flood of datagrams costs the proxy no more associations than there may be flows', async () => {
    const port = await echoDatagrams();
    const { guest, gateway, socks } = await behind({}, 'socks5', { udp: { flowsMax: 8 } });
    let most = 0;
    for (let i = 0; i < 100; i++) {
      const socket = await guest.udp.bind();
      await socket.send(bytesOf('x'), { host: FAR, port });
      if (i % 10 === 0) await pause(5);
      most = Math.max(most, gateway.relay.associations!.count);
      await socket.close();
    }
    await until(() => gateway.relay.udp.stats.opened === 100);
    await until(() => socks.controls.size <= 8);
    assert.ok(most <= 9, `${most} at once`);
    assert.ok(gateway.relay.udp.count <= 8 && gateway.relay.associations!.count <= 8);
    const another = await guest.udp.connect({ host: FAR, port });
    await another.send(bytesOf('served'));
    assert.equal(text((await another.receive()).data), 'served');
    await another.close();
    await gateway.close();
    await until(() => socks.controls.size === 0);
  });

  test('an association that is lost ends its flows: the guest hears that there is no way; the next datagram makes another', async () => {
    const port = await echoDatagrams();
    const { guest, gateway, socks, records } = await behind({});
    const socket = await guest.udp.connect({ host: FAR, port });
    await socket.send(bytesOf('x'));
    await socket.receive();
    const told = new Promise<void>((resolve) => {
      const { icmpErrorsOut } = gateway.host.stack.stats;
      void until(() => gateway.host.stack.stats.icmpErrorsOut > icmpErrorsOut).then(resolve);
    });
    socks.cut();
    await told;
    const { result, reason } = records.at(-1)!;
    assert.deepEqual([result, reason], ['EHOSTUNREACH', 'the upstream proxy has ended the association']);
    assert.deepEqual([gateway.relay.udp.count, gateway.relay.associations!.stats.lost], [0, 1]);
    await socket.send(bytesOf('again')).catch(() => socket.send(bytesOf('again')));
    for (;;) {
      const answer = await socket.receive().catch(() => null); // the error may come first
      if (answer === null) continue;
      assert.equal(text(answer.data), 'again');
      break;
    }
    await socket.close();
  });

  test('a proxy without datagrams is asked once a minute, and people are told', async () => {
    for (const [settings, reason, result] of [
      [{ reply: 7 }, 'the upstream proxy carries no udp', 'ECONNREFUSED'],
      [{ reply: 2 }, 'no rule denies it', 'EACCES'],
    ] as const) {
      const { guest, gateway, socks, records } = await behind(settings);
      for (let i = 0; i < 3; i++) {
        const socket = await guest.udp.connect({ host: FAR, port: 9 });
        await socket.send(bytesOf('x'));
        await assert.rejects(socket.receive(), { code: 'ECONNREFUSED' });
        await socket.close();
      }
      assert.deepEqual(
        records.map((record) => [record.reason, record.result]),
        [0, 1, 2].map(() => [reason, result]),
      );
      assert.equal(socks.asked, settings.reply === 7 ? 1 : 3);
      assert.equal(gateway.relay.associations!.count, 0);
    }
    const gone = await behind({});
    gone.socks.close();
    const socket = await gone.guest.udp.connect({ host: FAR, port: 9 });
    await socket.send(bytesOf('x'));
    await assert.rejects(socket.receive(), { code: 'ECONNREFUSED' });
    await socket.close();
  });

  test('a proxy that says nothing holds a flow until its time is over, and no longer', async () => {
    const port = await serve((socket) => socket.resume());
    const { guest, gateway } = await rig({
      upstream: parseUpstream(`socks5://127.0.0.1:${port}`),
      udp: { deadlineMs: 300 },
    });
    const socket = await guest.udp.connect({ host: FAR, port: 9 });
    await socket.send(bytesOf('x'));
    await until(() => gateway.relay.udp.count === 1);
    await until(() => gateway.relay.udp.count === 0 && gateway.relay.associations!.count === 0);
    assert.equal(gateway.relay.udp.stats.undecided, 1);
    await socket.close();
  });

  test('socks5h: a name goes where the address has no part in the decision, and an address where it has', async () => {
    const port = await echoDatagrams();
    const hosts = { 'one.test': FAR, 'two.test': '198.51.100.8' };
    const rows: [policy: ConstructorParameters<typeof Policy>[0], scheme: string, target: string][] = [
      [{}, 'socks5h', 'one.test'],
      [{}, 'socks5', FAR],
      [{ allow: ['*.test'] }, 'socks5h', 'one.test'],
      [{ allow: ['*'] }, 'socks5h', 'one.test'],
      [{ allow: ['198.51.100.0/24'] }, 'socks5h', FAR],
      [{ deny: ['10.0.0.0/8'] }, 'socks5h', FAR],
      [{ deny: ['tcp:10.0.0.0/8', 'else.test'] }, 'socks5h', 'one.test'],
    ];
    for (const [policy, scheme, target] of rows) {
      const { guest, socks } = await behind({ names: { 'one.test': '127.0.0.1' } }, scheme, {
        policy: new Policy(policy),
        hosts,
      });
      const socket = await guest.udp.connect({ host: 'one.test', port });
      await socket.send(bytesOf('x'));
      assert.equal(text((await socket.receive()).data), 'x', JSON.stringify(policy));
      assert.deepEqual(socks.targets, [`${target} ${port}`], JSON.stringify(policy));
      await socket.close();
    }
  });

  test('socks5h: TCP goes by name, too', async () => {
    let asked = '';
    const port = await serve((socket) => {
      const steps = [
        (): void => void socket.write(Uint8Array.of(5, 0)),
        (data: Buffer): void => {
          asked = data.toString('hex');
          socket.write(Uint8Array.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0));
        },
      ];
      socket.on('data', (data) => {
        const step = steps.shift();
        if (step === undefined) socket.end(data);
        else step(data);
      });
    });
    for (const [scheme, place] of [
      ['socks5h', `03${'08'}${Buffer.from('one.test').toString('hex')}`],
      ['socks5', '01c6336407'],
    ] as const) {
      const upstream = parseUpstream(`${scheme}://127.0.0.1:${port}`);
      const { guest, quiet } = await rig({ upstream, hosts: { 'one.test': FAR } });
      const stream = await open(guest, 443, 'one.test');
      await stream.write(bytesOf('through'));
      assert.equal(text(await stream.read()), 'through');
      assert.equal(asked, `050100${place}01bb`);
      await stream.end();
      await stream.close();
      await quiet();
    }
  });

  test('pings are refused, and so are datagrams where the proxy speaks HTTP, each with its line', async () => {
    for (const [scheme, protocols] of [
      ['socks5', ['icmp']],
      ['http', ['icmp', 'udp']],
    ] as const) {
      const { guest, records } = await behind({}, scheme);
      await assert.rejects(guest.ping(FAR, { timeout: 5000 }), { code: 'EHOSTUNREACH' });
      if (scheme === 'http') {
        const socket = await guest.udp.connect({ host: FAR, port: 9 });
        await socket.send(bytesOf('x'));
        await assert.rejects(socket.receive(), { code: 'ECONNREFUSED' });
        await socket.close();
      }
      assert.deepEqual(
        records.map(({ protocol, verdict, reason }) => [protocol, verdict, reason]),
        protocols.map((protocol) => [protocol, 'deny', `the upstream proxy carries no ${protocol}`]),
      );
    }
  });
});

const FAR = '198.51.100.7';

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !what(); i++) await pause(10);
  assert.ok(what(), `${what}`);
}

/** A guest whose way out is a SOCKS5 proxy with datagrams. */
async function behind(settings: SocksOptions, scheme = 'socks5', more: Partial<GatewayOptions> = {}) {
  const socks = await SocksServer.start(settings);
  closers.push(() => socks.close());
  const upstream = parseUpstream(socks.url.replace('socks5', scheme));
  return { ...(await rig({ upstream, ...more })), socks };
}
