/** `npm run long`: what the tests of `ethertype run` do, for longer than a run of all tests may take. @module */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { Machine, Source, skipRun } from './machine.ts';

const options = { timeout: 300_000 };
const timeoutMs = options.timeout;
const GIB = 1 << 30;

describe('run, for longer', { skip: skipRun('curl', 'wrk') }, () => {
  const source = new Source();
  let machine: Machine;
  let port = 0;
  let port6 = 0;
  before(async () => {
    machine = new Machine();
    port = await machine.serveHttp(source.answer);
    port6 = await machine.serveHttp(source.answer, '::1');
  });
  after(() => machine.close());

  test('curl: 1 GB both ways at once, over either family', options, async () => {
    const zeros = createHash('sha256');
    for (let i = 0; i < 1024; i++) zeros.update(Buffer.alloc(1 << 20));
    const up = zeros.digest('hex');
    for (const url of [`http://10.0.2.2:${port}`, `http://[fd00:2::2]:${port6}`]) {
      const script = `curl -gsS '${url}/${GIB}' | sha256sum & head -c ${GIB} /dev/zero | curl -gsS -T - '${url}/'; echo; wait $!`;
      const { stdout } = await machine.script(script, { timeoutMs, settleSeconds: 3 });
      assert.deepEqual(stdout.replace('  -', '').trim().split('\n').sort(), [source.hash(GIB), up].sort());
    }
  });

  test('wrk with 500 connections for 30 s, and beside it one that is served', options, async () => {
    const script = `wrk -t 2 -c 500 -d 30s --timeout 5s --latency http://10.0.2.2:${port}/100 &
      for i in $(seq 28); do curl -sS -m 5 http://10.0.2.2:${port}/10 | wc -c; sleep 1; done; wait $!`;
    const { stdout, flows } = await machine.script(script, { timeoutMs, settleSeconds: 3 });
    console.log(stdout.replace(/^10\n/gm, ''));
    assert.doesNotMatch(stdout, /Socket errors|Non-2xx/);
    assert.equal(stdout.match(/^10$/gm)?.length, 28);
    assert.ok(flows.length >= 528 && flows.length <= 531, `${flows.length} flows`);
  });

  test('24,000 connections opened and closed', options, async () => {
    // Half of them of either family: Linux itself grows slow when half of its ports wait for the same destination.
    for (const [inside, address] of [
      ['10.0.2.2', '127.0.0.1'],
      ['fd00:2::2', '::1'],
    ] as const) {
      const echo = createServer({ allowHalfOpen: true }, (socket) => {
        socket.on('data', (chunk) => socket.write(chunk));
        socket.on('end', () => socket.end());
      });
      const to = await machine.serve(echo, address);
      const program = `const net = require("node:net");
        const one = () => new Promise((resolve, reject) => { let n = 0;
          const socket = net.connect({ port: ${to}, host: "${inside}", allowHalfOpen: true });
          socket.on("data", (c) => { n += c.length; }); socket.on("error", reject);
          socket.on("end", () => n === 5 ? resolve() : reject(new Error(n))); socket.end("hello"); });
        let left = 12000;
        const worker = async () => { while (left-- > 0) await one(); };
        Promise.all(Array.from({ length: 200 }, worker)).then(() => console.log("done"));`;
      const { stdout, flows } = await machine.script(`'${process.execPath}' -e '${program}'`, {
        timeoutMs,
        settleSeconds: 3,
      });
      assert.equal(stdout, 'done\n');
      assert.equal(flows.filter(({ result }) => result === 'closed').length, 12_000);
    }
  });
});
