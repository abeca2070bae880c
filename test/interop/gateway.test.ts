/** A guest of ours behind a gateway, and real servers on the machine's loopback. Needs no privilege. @module */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer, connect as netConnect, type Server, type Socket } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { createHost, type Host, type TcpStream } from '../../src/index.ts';
import { type Device, FaultInjector, pipePair } from '../../src/phy/index.ts';
import {
  type FlowRecord,
  Gateway,
  type GatewayOptions,
  Policy,
  parseRule,
  parseUpstream,
} from '../../src/proxy/index.ts';
import { spoofedSyn } from '../any-ip.ts';
import { bytesOf, readAll, text } from '../hosts.ts';

const options = { timeout: 30_000 };
const ROUTER = '10.0.2.2';
const MIB = 1 << 20;

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Rig {
  readonly guest: Host;
  readonly gateway: Gateway;
  readonly records: FlowRecord[];
  /** Waits until nothing is left of the flows there were. */
  quiet(): Promise<void>;
}

async function rig(more: Partial<GatewayOptions> = {}, wrap = (device: Device): Device => device): Promise<Rig> {
  const [left, right] = pipePair({ medium: 'ethernet' });
  const records: FlowRecord[] = [];
  let ended = 0;
  const onFlow = (record: FlowRecord): void => {
    records.push(record);
    if (record.protocol === 'tcp' && record.direction === 'out') ended++;
  };
  const gateway = await Gateway.start({ device: left, hostLoopback: true, onFlow, nameServers: [], ...more });
  const guest = createHost({
    device: wrap(right),
    addresses: ['10.0.2.100/24', 'fd00:2::64/64'],
    gateway: ['10.0.2.2', 'fd00:2::2'],
    nameServers: ['10.0.2.3'],
    ipv6: { dadTransmits: 0 },
    memory: 64 * MIB,
  });
  const quiet = async (): Promise<void> => {
    const { tcp } = gateway.relay;
    for (let i = 0; i < 200 && (tcp.count > 0 || ended < tcp.stats.opened); i++) await pause(10);
    assert.equal(ended, tcp.stats.opened, 'each flow has its line');
    assert.equal(tcp.count, 0, 'flows are left');
  };
  closers.push(async () => {
    await guest.close();
    await gateway.close();
    assert.equal(gateway.host.memory.usedBytes, 0, 'memory is still held');
    assert.equal(gateway.relay.tcp.count + gateway.relay.udp.count + gateway.relay.echo.pending, 0);
  });
  return { guest, gateway, records, quiet };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A server on the machine's loopback. */
async function serve(onSocket: (socket: Socket) => void, host = '127.0.0.1'): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  closers.push(() => void server.close());
  return (server.address() as { port: number }).port;
}

/** A port of the loopback that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const open = (guest: Host, port: number, host = ROUTER): Promise<TcpStream> => guest.tcp.connect({ host, port });

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

describe('gateway: TCP', { timeout: 120_000 }, () => {
  test('20 MB each way at once, unchanged, over both families', async () => {
    const { guest, records, quiet } = await rig();
    const bytes = new Uint8Array(20 * MIB).map((_, i) => (i * 7 + (i >> 9)) & 0xff);
    const hash = createHash('sha256').update(bytes).digest('hex');
    for (const [host, loopback] of [
      [ROUTER, '127.0.0.1'],
      ['fd00:2::2', '::1'],
    ] as const) {
      const port = await serve((socket) => socket.pipe(socket), loopback);
      const stream = await open(guest, port, host);
      const writing = stream.write(bytes).then(() => stream.end());
      const got = await readAll(stream);
      await writing;
      assert.equal(createHash('sha256').update(got).digest('hex'), hash);
      await stream.close();
      await quiet();
      const { result, bytesOut, bytesIn, verdict } = records.pop()!;
      assert.deepEqual(
        { result, bytesOut, bytesIn, verdict },
        { result: 'closed', bytesOut: bytes.length, bytesIn: bytes.length, verdict: 'allow' },
      );
    }
  });

  test('half-close of either side: the other goes on', async () => {
    const { guest, quiet } = await rig();
    const late = await serve((socket) => {
      const got: Buffer[] = [];
      socket.on('data', (chunk) => got.push(chunk));
      socket.on('end', () => setTimeout(() => socket.end(`after the end: ${Buffer.concat(got)}`), 50));
    });
    const stream = await open(guest, late);
    await stream.write(bytesOf('question'));
    await stream.end();
    assert.equal(text(await readAll(stream)), 'after the end: question');
    await stream.close();

    let heard = '';
    const early = await serve((socket) => {
      socket.end('first');
      socket.on('data', (chunk) => {
        heard += chunk;
      });
    });
    const other = await open(guest, early);
    assert.equal(text(await readAll(other)), 'first');
    await other.write(bytesOf('still'));
    await pause(50);
    await other.write(bytesOf(' here'));
    await other.end();
    await quiet();
    assert.equal(heard, 'still here');
    await other.close();
  });

  test('a refusal is one, before the SYN is answered; a gateway without the loopback refuses too', async () => {
    const { guest, records } = await rig();
    const port = await freePort();
    await assert.rejects(open(guest, port), { code: 'ECONNREFUSED' });
    assert.equal(records.pop()?.result, 'ECONNREFUSED');
    const shut = await rig({ hostLoopback: false });
    const served = await serve((socket) => socket.end());
    await assert.rejects(open(shut.guest, served), { code: 'ECONNREFUSED' });
    const { verdict, reason } = shut.records.pop()!;
    assert.deepEqual([verdict, reason], ['deny', '10.0.2.2 is the gateway itself']);
  });

  test('a guest that has its link-local address only is served, and the router is closed at its own', async () => {
    const { guest, records, quiet } = await rig();
    const port = await serve((socket) => socket.end('served'), '::1');
    const localAddress = `${guest.iface!.addresses.find(({ address }) => address.isLinkLocal)!.address.withZone(0)}`;
    const stream = await guest.tcp.connect({ host: 'fd00:2::2', port, localAddress });
    assert.equal(text(await readAll(stream)), 'served');
    await stream.close();
    await quiet();
    assert.match(records.at(-1)!.source, /^\[fe80:.*\]:\d+$/);
    await assert.rejects(open(guest, port, 'fe80::2'), { code: 'ECONNREFUSED' });
    assert.equal(records.at(-1)?.reason, 'fe80::2 is the gateway itself');
    const udp = await guest.udp.connect({ host: 'fe80::2', port });
    await udp.send(bytesOf('x'));
    await assert.rejects(udp.receive(), { code: 'ECONNREFUSED' });
    await udp.close();
  });

  test('resets go through both ways', async () => {
    const { guest, quiet, records } = await rig();
    const resets = await serve((socket) => socket.once('data', () => socket.resetAndDestroy()));
    const stream = await open(guest, resets);
    await stream.write(bytesOf('x'));
    await assert.rejects(stream.read(), { code: 'ECONNRESET' });
    await quiet();
    assert.equal(records.pop()?.result, 'ECONNRESET');
    let told: (code: string) => void = () => {};
    const ended = new Promise<string>((resolve) => {
      told = resolve;
    });
    const port = await serve((socket) => {
      socket.on('error', (error) => told((error as { code?: string }).code ?? ''));
      socket.resume();
    });
    const other = await open(guest, port);
    await other.write(bytesOf('x'));
    await pause(20);
    other.abort();
    assert.equal(await ended, 'ECONNRESET');
    await quiet();
  });

  test('a host that ends, and resets at the same moment, leaves no socket of the machine', async () => {
    const { guest, quiet } = await rig();
    let open = 0;
    const port = await serve((socket) => {
      open++;
      socket.on('close', () => open--);
      socket.write('unread');
      socket.resume();
      // Whoever is gone answers this with another reset; without it Node does not look any more, after the end.
      socket.on('end', () => setTimeout(() => socket.write('more'), 50));
    });
    for (let i = 0; i < 120; i++) {
      const stream = await guest.tcp.connect({ host: ROUTER, port });
      await stream.write(bytesOf('x'));
      await pause(2);
      void stream.end();
      // Now, or a little later in the same turn: some are when the machine's socket has begun to end, and has not yet.
      for (let turn = i % 12; turn > 0; turn--) await new Promise<void>((resolve) => process.nextTick(resolve));
      stream.abort();
    }
    await quiet();
    for (let i = 0; i < 200 && open > 0; i++) await pause(10);
    assert.equal(open, 0);
  });

  test('a guest that has forgotten its connection, and whose reset was lost, is asked', async () => {
    let wire: FaultInjector | null = null;
    const wrap = (device: Device): Device => {
      wire = new FaultInjector(device);
      return wire;
    };
    const { guest, gateway, quiet } = await rig({ tcp: { tcp: { keepAliveMs: 200, keepAliveIntervalMs: 100 } } }, wrap);
    const lose = (drop: number): void => wire!.configure({ drop });
    const port = await serve((socket) => socket.resume());
    const stream = await open(guest, port);
    await stream.write(bytesOf('x'));
    await pause(100);
    lose(1);
    stream.abort();
    await pause(50);
    assert.equal(gateway.use.tcp, 1);
    lose(0);
    await quiet();
  });

  test('who does not read holds up who writes, both ways, and memory stays bounded', async () => {
    const { guest, gateway, quiet } = await rig();
    let paused: Socket | null = null;
    const port = await serve((socket) => {
      socket.pause();
      paused = socket;
    });
    const stream = await open(guest, port);
    let written = 0;
    const piece = new Uint8Array(MIB);
    const writing = (async () => {
      for (let i = 0; i < 64; i++) {
        await stream.write(piece);
        written += MIB;
      }
      await stream.end();
    })();
    await pause(700);
    const held = written;
    await pause(200);
    assert.equal(written, held, 'the writer waits');
    assert.ok(held < 40 * MIB, `${held} bytes are under way`);
    assert.ok(gateway.host.memory.usedBytes < 24 * MIB);
    let got = 0;
    paused!.on('data', (chunk: Buffer) => {
      got += chunk.length;
    });
    const ended = new Promise<void>((resolve) => paused!.on('end', () => resolve(void paused!.end())));
    paused!.resume();
    await writing;
    await ended;
    assert.equal(got, 64 * MIB);
    await stream.close();
    await quiet();

    const floods = await serve((socket) => {
      const more = (): void => {
        while (socket.writable && socket.write(piece));
      };
      socket.on('drain', more);
      more();
    });
    const slow = await open(guest, floods);
    await pause(500);
    assert.ok(gateway.host.memory.usedBytes < 24 * MIB);
    const before = process.memoryUsage().external;
    await pause(200);
    assert.ok(process.memoryUsage().external < before + 8 * MIB);
    slow.abort();
    await quiet();
  });

  test('1,000 connections opened and closed, 50 at a time', async () => {
    const { guest, gateway, records, quiet } = await rig();
    const port = await serve((socket) => socket.pipe(socket));
    const one = async (i: number): Promise<void> => {
      const stream = await open(guest, port);
      await stream.write(bytesOf(`${i}`));
      await stream.end();
      assert.equal(text(await readAll(stream)), `${i}`);
      await stream.close();
    };
    for (let at = 0; at < 1000; at += 50) await Promise.all(Array.from({ length: 50 }, (_, i) => one(at + i)));
    await quiet();
    assert.equal(records.length, 1000);
    assert.ok(records.every(({ result }) => result === 'closed'));
    assert.equal(gateway.relay.tcp.stats.accepted, 1000);
  });

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

  test('a flood of SYNs and one of datagrams hold bounded memory, and leave other flows served', async () => {
    const { guest, gateway } = await rig({ udp: { flowsMax: 32 } });
    const port = await serve((socket) => socket.pipe(socket));
    const stream = await open(guest, port);
    let [heldMost, serving] = [0, true];
    const heapBefore = process.memoryUsage().rss;
    /** A flow that goes on meanwhile: the milliseconds its answers took. */
    const waits: number[] = [];
    const served = (async () => {
      while (serving) {
        const sentAt = performance.now();
        await stream.write(bytesOf('served'));
        assert.equal(text(await stream.read()), 'served');
        waits.push(performance.now() - sentAt);
        heldMost = Math.max(heldMost, gateway.host.memory.usedBytes);
        await pause(5);
      }
    })();
    const raw = await guest.raw.open({ family: 4, protocol: 6, headerIncluded: true });
    for (let i = 0; i < 2000; i++) {
      await raw.send(spoofedSyn(1024 + i, port, [10, 0, 2, 150], [10, 0, 2, 2]), ROUTER);
      if (i % 20 === 0) await pause(1);
    }
    assert.ok(gateway.relay.tcp.count <= 600, `${gateway.relay.tcp.count} connections`);
    assert.ok((gateway.host.stats.drops['tcp-syn-queue-full'] ?? 0) > 0);
    await pause(300); // until those that were taken are answered, and it shows that nobody is there
    const another = await open(guest, port);
    await another.write(bytesOf('new'));
    assert.equal(text(await another.read()), 'new');
    await another.close();
    await raw.close();
    const sink = createSocket('udp4');
    await new Promise<void>((resolve) => sink.bind(0, '127.0.0.1', resolve));
    closers.push(() => void sink.close());
    const to = { host: ROUTER, port: sink.address().port };
    const datagramSockets = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'UDPWrap').length;
    const sockets = await Promise.all(Array.from({ length: 300 }, () => guest.udp.bind()));
    for (const [i, udp] of sockets.entries()) {
      for (let k = 0; k < 10; k++) await udp.send(new Uint8Array(1200), to);
      if (i % 16 === 0) await pause(1);
    }
    for (let i = 0; i < 300 && (gateway.relay.udp.stats.opened < 300 || datagramSockets() > 40); i++) await pause(10);
    assert.equal(gateway.relay.udp.count, 32);
    assert.equal(gateway.relay.udp.stats.opened - gateway.relay.udp.stats.evicted, 32);
    assert.ok(gateway.relay.udp.stats.opened >= 300);
    assert.ok(
      datagramSockets() >= 32 && datagramSockets() <= 40,
      `${datagramSockets()} sockets of the machine: descriptors are given back`,
    );
    serving = false;
    await served;
    const grown = (process.memoryUsage().rss - heapBefore) >> 20;
    const longest = Math.max(...waits);
    assert.ok(waits.length > 10 && longest < 10_000, `${waits.length} answers, the longest took ${longest} ms`);
    assert.ok(heldMost < 16 * MIB && grown < 200, `${heldMost} bytes of the stack, ${grown} MiB of the process`);
    await stream.close();
    await Promise.all(sockets.map((udp) => udp.close()));
  });

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

/** A port where each datagram is answered with itself. */
async function echoDatagrams(): Promise<number> {
  const server = createSocket('udp4');
  server.on('message', (data, { port, address }) => server.send(data, port, address));
  await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
  closers.push(() => void server.close());
  return server.address().port;
}

describe('gateway: limits', { timeout: 120_000 }, () => {
  test('a rate drops datagrams, and counts them; bytes end the flow, and its source is told', async () => {
    const { guest, gateway, records } = await rig({ limits: { flow: { bytesPerSecond: 20_000, bytes: 50_000 } } });
    const port = await echoDatagrams();
    const socket = await guest.udp.connect({ host: ROUTER, port });
    const began = performance.now();
    for (let i = 0; i < 60; i++) await socket.send(new Uint8Array(1000)); // the burst is a second's
    for (let i = 0; i < 100 && gateway.relay.limiter.stats.dropped === 0; i++) await pause(10);
    const { dropped } = gateway.relay.limiter.stats;
    const passed = 20 + (20 * (performance.now() - began)) / 1000;
    assert.ok(
      dropped >= 1 && dropped <= 42 && 60 - dropped <= passed + 2,
      `${dropped} of 60 were dropped, ${passed} may pass`,
    );
    const first = await socket.receive();
    assert.equal(first.data.length, 1000, 'the others went through');
    let refused = '';
    for (let i = 0; i < 100 && refused === ''; i++) {
      await pause(20);
      await socket.send(new Uint8Array(1000)).catch((error: { code: string }) => {
        refused = error.code;
      });
    }
    assert.equal(refused, 'ECONNREFUSED');
    const { result, reason, bytesIn, bytesOut } = records.at(-1)!;
    assert.deepEqual([result, reason], ['EDQUOT', 'the limit of 50000 bytes a flow is reached']);
    assert.ok(bytesIn + bytesOut <= 50_000 && bytesIn + bytesOut > 48_000);
    await socket.close();
  });

  test('the bytes of all: the flow that reaches them is reset, and none begins any more', async () => {
    const { guest, gateway, records, quiet } = await rig({
      policy: new Policy({ limits: { all: { bytes: 30_000 } } }),
    });
    const port = await serve((socket) => socket.pipe(socket));
    const bystander = await open(guest, port);
    await bystander.write(new Uint8Array(1000));
    const stream = await open(guest, port);
    await assert.rejects(Promise.all([stream.write(new Uint8Array(MIB)), readAll(stream)]), { code: 'ECONNRESET' });
    await assert.rejects(open(guest, port), { code: 'ECONNREFUSED' });
    const { verdict, reason } = records.at(-1)!;
    assert.deepEqual([verdict, reason], ['deny', 'the limit of 30000 bytes of all flows is reached']);
    await assert.rejects(guest.ping('198.51.100.1', { timeout: 300 }));
    assert.ok(gateway.relay.limiter.stats.ended >= 2);
    const more = bystander.write(new Uint8Array(10)).then(() => readAll(bystander));
    await assert.rejects(more, { code: 'ECONNRESET' }, 'its next byte would be over');
    await quiet();
  });

  test('a function gives a flow limits of its own, and a published port has those of each flow', async () => {
    const { guest, gateway, records, quiet } = await rig({
      policy: ({ port }) => ({ verdict: 'allow', reason: 'it may', limits: port === small ? { bytes: 10 } : {} }),
      limits: { flow: { bytes: 5000 } },
      publish: [{ port: 0, guestPort: 8080 }],
    });
    const small = await serve((socket) => socket.pipe(socket));
    const large = await serve((socket) => socket.pipe(socket));
    const one = await open(guest, small);
    await assert.rejects(Promise.all([one.write(bytesOf('more than ten bytes')), readAll(one)]), {
      code: 'ECONNRESET',
    });
    const two = await open(guest, large);
    await two.write(new Uint8Array(20_000));
    await two.end();
    assert.equal((await readAll(two)).length, 20_000, 'none at all');
    await two.close();
    await quiet();
    const listener = await guest.tcp.listen({ port: 8080 });
    const client = netConnect({ port: gateway.published[0]!.port, host: '127.0.0.1' });
    client.write(new Uint8Array(20_000));
    await listener.accept();
    const code = await new Promise((resolve) => client.once('error', (e) => resolve((e as { code?: string }).code)));
    assert.equal(code, 'ECONNRESET');
    assert.deepEqual(
      records.map(({ direction, result }) => [direction, result]),
      [
        ['out', 'EDQUOT'],
        ['out', 'closed'],
        ['in', 'EDQUOT'],
      ],
    );
  });
});

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
    assert.throws(() => new Policy({ alow: [] } as never), /expected default, allow, deny, limits, got "alow"/);
  });
});

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
