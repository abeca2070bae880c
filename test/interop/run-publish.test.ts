/** `ethertype run --publish` of every kind: TCP and UDP, both families, ranges, and in the file of a policy. @module */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { assertNothingLeft, execute, MAIN, Machine, pause, skipRun } from './machine.ts';

const options = { timeout: 60_000 };

/** Serves ports 7 and 8 of both protocols and families; ends when TCP says `end`. */
const SERVER = `const net = require('node:net'), dgram = require('node:dgram');
  for (const port of [7, 8]) {
    net.createServer({ allowHalfOpen: true }, (socket) => {
      const where = [socket.localAddress, port, socket.remoteAddress].join(' ');
      socket.on('error', () => {});
      socket.on('data', (data) => { socket.end(where + ' ' + data); if (String(data) === 'end') setTimeout(() => process.exit(0), 300); });
    }).listen(port, '::', () => console.error('ready'));
    for (const [type, address] of [['udp4', '10.0.2.100'], ['udp6', 'fd00:2::64']]) {
      const socket = dgram.createSocket(type);
      socket.on('message', (data, from) => socket.send([address, port, from.address, data].join(' '), from.port, from.address));
      socket.bind(port, address);
    }
  }`;

async function asked(host: string, port: number, text: string): Promise<string> {
  for (let i = 0; ; i++) {
    try {
      return await new Promise<string>((resolve, reject) => {
        let heard = '';
        const socket = connect({ host, port }, () => socket.end(text));
        socket.on('data', (data) => {
          heard += data;
        });
        socket.on('end', () => resolve(heard.replaceAll('::ffff:', '')));
        socket.on('error', reject);
      });
    } catch (error) {
      if (i > 200) throw error;
      await pause(50); // it does not serve yet
    }
  }
}

async function askedByDatagram(host: string, port: number, text: string): Promise<string> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  try {
    return await new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no answer')), 5000);
      socket.on('message', (data) => {
        clearTimeout(timer);
        resolve(`${data}`);
      });
      socket.send(text, port, host);
    });
  } finally {
    socket.close();
  }
}

describe('run --publish', { skip: skipRun() }, () => {
  let machine: Machine;
  before(() => {
    machine = new Machine();
  });
  after(() => machine.close());

  test('ports of both protocols and families lead to the guest, and nothing is left', options, async () => {
    const [port, inFile] = [await machine.freePort(), await machine.freePort()];
    const policy = machine.path('policy.json');
    writeFileSync(policy, JSON.stringify({ publish: [`${inFile}:8/udp`, `${inFile}:8`] }));
    const flags = ['--policy', policy];
    for (const [place, protocol] of [
      ['', ''],
      ['', '/udp'],
      ['[::1]:', ''],
      ['[::1]:', '/udp'],
    ])
      flags.push('--publish', `${place}${port}:7${protocol}`);
    const running = machine.run({ flags }, process.execPath, '-e', SERVER);
    const own = { v4: '10.0.2.100', v6: 'fd00:2::64' };
    assert.equal(await asked('127.0.0.1', port, 'a'), `${own.v4} 7 10.0.2.2 a`);
    assert.equal(await asked('::1', port, 'b'), `${own.v6} 7 fd00:2::2 b`);
    assert.equal(await askedByDatagram('127.0.0.1', port, 'c'), `${own.v4} 7 10.0.2.2 c`);
    assert.equal(await askedByDatagram('::1', port, 'd'), `${own.v6} 7 fd00:2::2 d`);
    assert.equal(await asked('127.0.0.1', inFile, 'e'), `${own.v4} 8 10.0.2.2 e`);
    assert.equal(await askedByDatagram('127.0.0.1', inFile, 'f'), `${own.v4} 8 10.0.2.2 f`);
    assert.equal(await asked('127.0.0.1', port, 'end'), `${own.v4} 7 10.0.2.2 end`);
    const { code, flows, start, end, after: left, stderr } = await running;
    assert.equal(code, 0, stderr);
    assert.equal(end.udp, 3, 'flows of datagrams last until they are idle');
    assertNothingLeft({ flows, start, end: { ...end, udp: 0 }, after: left });
    const datagrams = flows.filter(({ protocol }) => protocol === 'udp');
    assert.deepEqual(
      datagrams.map(({ direction, destination, result }) => `${direction} ${destination} ${result}`).sort(),
      ['in 10.0.2.100:7 closed', 'in 10.0.2.100:8 closed', 'in [fd00:2::64]:7 closed'],
    );
  });

  test('free ports are told, each with where it leads', options, async () => {
    const policy = machine.path('free.json');
    writeFileSync(policy, JSON.stringify({ publish: ['0:8/udp'] }));
    const flags = ['--policy', policy, '--publish', '0:80', '--publish', '[::1]:0:81'];
    const { code, stderr } = await execute(process.execPath, [MAIN, 'run', ...flags, '--', 'true']);
    assert.equal(code, 0);
    const [first, second, third, ...rest] = stderr.split('\n');
    assert.match(first!, /^ethertype run: 127\.0\.0\.1:[1-9]\d+ leads to udp port 8 of the guest$/);
    assert.match(second!, /^ethertype run: 127\.0\.0\.1:[1-9]\d+ leads to tcp port 80 of the guest$/);
    assert.match(third!, /^ethertype run: \[::1\]:[1-9]\d+ leads to tcp port 81 of the guest$/);
    assert.deepEqual(rest, ['']);
  });

  test('a port that is taken, or that is none, is one line', options, async () => {
    const taken = await machine.serveHttp(() => {});
    for (const [flag, code, line] of [
      [`${taken}:80`, 1, /^ethertype run: listen EADDRINUSE: address already in use 127\.0\.0\.1:\d+\n$/],
      ['[::1]:99999:80', 2, /^ethertype run: --publish: expected HOST:GUEST/],
    ] as const) {
      const ended = await execute(process.execPath, [MAIN, 'run', '--publish', flag, '--', 'true']);
      assert.equal(ended.code, code);
      assert.match(ended.stderr, line);
    }
  });
});
