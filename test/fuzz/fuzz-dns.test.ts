/** Name servers and hosts of the link that send whatever they like: every question ends, and all memory comes back. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DnsServer } from '../../src/dns/index.ts';
import { createHost, NetError } from '../../src/index.ts';
import { pipePair } from '../../src/phy/index.ts';
import { VirtualClock } from '../../src/sim/clock.ts';
import * as dns from '../../src/wire/dns.ts';
import { a, cname, soa } from '../dns.ts';
import { inTime } from '../hosts.ts';
import { type Random, randomOf } from '../random.ts';

const SEEDS = 40;
const NAMES = ['a.org', 'b.org', 'c.org', 'host.local', 'x._http._tcp.local', '_http._tcp.local', 'peer.local'];
const TYPES: readonly dns.RecordType[] = [
  'A',
  'AAAA',
  'TXT',
  'SRV',
  'PTR',
  'MX',
  'SOA',
  'NSEC',
  'CNAME',
  'ANY',
  'TYPE9999',
];

function anyRecord(random: Random): dns.ResourceRecord {
  const name = random.pick(NAMES);
  const ttl = random.pick([0, 1, 120, 4500, 0x7fffffff]);
  const flush = random.below(2) === 0;
  switch (random.below(6)) {
    case 0:
      return { ...a(name, '10.9.9.9', ttl), flush };
    case 1:
      return { ...cname(name, random.pick(NAMES), ttl), flush };
    case 2:
      return { ...soa(name, random.below(100), ttl), flush };
    case 3:
      return { ...dns.record(name, ttl, { type: 'PTR', target: random.pick(NAMES) }), flush };
    case 4:
      return { ...dns.record(name, ttl, { type: 'NSEC', next: name, types: ['TXT'] }), flush };
    default:
      return {
        ...dns.record(name, ttl, { type: 'SRV', priority: 0, weight: 0, port: 1, target: random.pick(NAMES) }),
        flush,
      };
  }
}

const someRecords = (random: Random): dns.ResourceRecord[] =>
  Array.from({ length: random.below(random.below(10) === 0 ? 200 : 6) }, () => anyRecord(random));

/** A message that may be an answer to `query`, often spoiled. */
function anyMessage(random: Random, query: dns.Message | null): Uint8Array {
  const isAnswer = query !== null && random.below(4) > 0;
  const data = dns.emit({
    id: isAnswer ? query.id : random.below(0x10000),
    isResponse: random.below(8) > 0,
    isTruncated: random.below(8) === 0,
    opcode: random.below(10) === 0 ? random.below(16) : 0,
    rcode: random.pick([0, 0, 0, 0, 1, 2, 3, 4, 5, 15]),
    questions: isAnswer
      ? query.questions
      : [dns.question(random.pick(NAMES), random.pick(TYPES), random.below(2) === 0)],
    answers: someRecords(random),
    authorities: someRecords(random),
    additionals: someRecords(random),
  });
  if (random.below(3) > 0) return data;
  for (let i = random.below(8); i >= 0; i--) data[random.below(data.length)] = random.below(256);
  return data.subarray(0, random.below(4) === 0 ? random.below(data.length) : data.length);
}

async function play(seed: number): Promise<void> {
  const random = randomOf(seed);
  const clock = new VirtualClock();
  const draw = (): number => random.below(0x100000000);
  const [left, right] = pipePair({ medium: 'ethernet' });
  const common = { clock, random: draw };
  const host = createHost({
    device: left,
    addresses: ['10.0.0.1/24'],
    nameServers: ['10.0.0.2'],
    mdns: { name: 'host' },
    ...common,
  });
  const hostile = createHost({ device: right, addresses: ['10.0.0.2/24'], ...common });
  const server = await DnsServer.start(host, { domains: ['lan'], forward: host.resolver });
  const udp = await hostile.udp.bind({ port: 53 });
  const link = await hostile.udp.bind({ port: 5353 });
  const listener = await hostile.tcp.listen({ port: 53 });
  const send = (socket: typeof udp, data: Uint8Array, to: string, port: number): void =>
    void socket.send(data, { host: to, port }).catch((error) => assert.ok(error instanceof NetError, `${error.stack}`));
  void (async () => {
    for await (const { data, address, port } of udp) {
      const query = dns.parse(data);
      for (let i = random.below(4); i > 0; i--) {
        send(udp, anyMessage(random, typeof query === 'string' ? null : query), address, port);
      }
    }
  })();
  void (async () => {
    for await (const stream of listener) {
      const noise = anyMessage(random, null);
      const length = random.pick([noise.length, 0, 65_535, 3]);
      await stream.write(Uint8Array.of(length >> 8, length & 0xff, ...noise)).catch(() => {});
      await stream.close();
    }
  })();
  const asked: Promise<unknown>[] = [];
  for (let i = 0; i < 30; i++) {
    const question = host.resolve(random.pick(NAMES), { type: random.pick(TYPES) });
    asked.push(question.catch((error) => assert.ok(error instanceof NetError, `${error.stack}`)));
    for (let k = 0; k < 4; k++) send(link, anyMessage(random, null), random.pick(['224.0.0.251', '10.0.0.1']), 5353);
    send(link, anyMessage(random, null), '10.0.0.1', 53);
    await inTime(clock, new Promise<void>((resolve) => void clock.setTimer(clock.now() + random.below(2000), resolve)));
  }
  await inTime(clock, Promise.all(asked));
  await server.close();
  await inTime(clock, Promise.all([host.close(), hostile.close()]));
  assert.equal(host.memory.usedBytes, 0, 'memory is still held');
}

describe('hostile answers', () => {
  for (let seed = 1; seed <= SEEDS; seed++) test(`seed ${seed}`, { timeout: 20_000 }, () => play(seed));
});
