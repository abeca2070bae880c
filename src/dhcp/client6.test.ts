import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inTime } from '../../test/hosts.ts';
import { RouterAdvertiser } from '../iface/router-advertiser.ts';
import { createHost, type Host } from '../index.ts';
import { frameBytes } from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import { Random } from '../phy/random.ts';
import { Switch } from '../phy/switch.ts';
import { VirtualClock } from '../sim/clock.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import * as dhcp from '../wire/dhcpv6.ts';
import { octetsOf } from '../wire/octets.ts';
import { formatFrame } from '../wire/packet.ts';
import { Dhcpv6Client, type Settings6 } from './client6.ts';
import { Dhcpv6Server, type Dhcpv6ServerOptions } from './server6.ts';

const ip = IpAddress.parse;
const { OPTION } = dhcp;
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const DNS = [ip('fd00::53'), ip('fd00::54')];

/** Two hosts in virtual time; the client's messages are watched. */
class Link {
  readonly clock = new VirtualClock();
  readonly memory = new Memory({ bytes: 8 << 20 });
  readonly switch = new Switch({ memory: this.memory });
  readonly random = new Random(3);
  readonly router = this.#host('02:00:00:00:00:01');
  readonly host = this.#host('02:00:00:00:00:02');
  readonly heard: Settings6[] = [];
  readonly sent: { at: number; line: string }[] = [];
  readonly client: Dhcpv6Client;
  server: Dhcpv6Server | null = null;

  constructor() {
    const { iface, stack } = this.host;
    this.client = new Dhcpv6Client(stack, iface!, { onConfigured: (settings) => this.heard.push(settings) });
    const device = iface!.device;
    const transmit = device.transmit.bind(device);
    device.transmit = (frame, now) => {
      const bytes = frameBytes(this.memory, frame);
      const line = formatFrame(octetsOf(bytes), 0, bytes.length, 'ethernet');
      if (line.includes('dhcp6')) this.sent.push({ at: now, line });
      transmit(frame, now);
    };
  }

  #host(mac: string): Host {
    const host = createHost({ device: this.switch.port(), clock: this.clock, random: () => this.random.next(), mac });
    host.iface!.enableV6();
    return host;
  }

  serve(options: Dhcpv6ServerOptions = {}): Dhcpv6Server {
    this.server = new Dhcpv6Server(this.router.stack, this.router.iface!, {
      dnsServers: DNS,
      search: ['lan', 'a.lan'],
      ...options,
    });
    return this.server;
  }

  /** With duplicate detection over. */
  async begin(): Promise<void> {
    await this.pass(5000);
    this.client.start();
    this.host.stack.onWake?.();
  }

  pass(ms: number): Promise<boolean> {
    return this.clock.run({ settle, maxMs: ms });
  }

  /** A reply by hand. */
  reply(transaction: number, options: readonly dhcp.Option[], kind = dhcp.REPLY): void {
    const from = this.router.iface!.addresses.find(({ address }) => address.isLinkLocal)!.address;
    const to = this.host.iface!.addresses.find(({ address }) => address.isLinkLocal)!.address;
    const socket = this.router.stack.udpSocket();
    socket.bind({ port: dhcp.SERVER_PORT, address: from });
    socket.send(dhcp.encode(kind, transaction, options), {
      address: to.withZone(this.router.iface!.index),
      port: dhcp.CLIENT_PORT,
    });
    socket.close();
  }

  async close(): Promise<void> {
    this.client.close();
    await inTime(this.clock, Promise.all([this.router.close(), this.host.close()]));
    this.switch.close();
    assert.equal(this.memory.usedBytes, 0);
  }
}

const transactionOf = (line: string): number => Number.parseInt(/xid=([0-9a-f]+)/.exec(line)![1]!, 16);

describe('dhcpv6 client, stateless', () => {
  it('RFC 8415 §18.2.6: a request within a second, the reply, and again after a day', async () => {
    const link = new Link();
    link.serve({ sntpServers: [ip('fd00::123')] });
    await link.begin();
    const since = link.clock.now();
    await link.pass(2000);
    assert.deepEqual(link.heard[0]!.dnsServers.map(String), ['fd00::53', 'fd00::54']);
    assert.deepEqual(link.heard[0]!.search, ['lan', 'a.lan']);
    assert.deepEqual(link.heard[0]!.sntpServers.map(String), ['fd00::123']);
    assert.equal(link.heard[0]!.refreshMs, 86_400_000);
    assert.ok(link.sent[0]!.at - since <= 1002, `after ${link.sent[0]!.at - since} ms`);
    assert.match(link.sent[0]!.line, /fe80::\S+\.546 > ff02::1:2\.547: dhcp6 inf-req/);
    link.client.start(); // another advertisement
    await link.pass(86_398_000);
    assert.equal(link.sent.length, 1);
    await link.pass(4000);
    assert.equal(link.heard.length, 2);
    await link.close();
  });

  it('RFC 8415 §15: sent again after 1, 2, 4, ... s, give or take a tenth', async () => {
    const link = new Link();
    await link.begin();
    await link.pass(300_000);
    const at = link.sent.map((message) => message.at);
    let wanted = 1000;
    for (let i = 1; i < 8; i++) {
      const gap = at[i]! - at[i - 1]!;
      assert.ok(gap >= wanted * 0.85 && gap <= wanted * 1.15, `gap ${i}: ${gap} ms, expected ${wanted}`);
      wanted = gap * 2;
    }
    await link.pass(40 * 3_600_000);
    const gaps = link.sent.slice(-5).map((message, i, all) => (i === 0 ? 3_600_000 : message.at - all[i - 1]!.at));
    assert.ok(
      gaps.every((gap) => gap >= 3_230_000 && gap <= 3_970_000),
      `${gaps}`,
    );
    await link.close();
  });

  const refreshes: [number, number][] = [
    [600, 600_000],
    [10, 600_000], // IRT_MINIMUM
    [0xffffffff, Number.POSITIVE_INFINITY],
    [7200, 7_200_000],
  ];
  for (const [seconds, ms] of refreshes) {
    it(`RFC 8415 §21.23: a refresh time of ${seconds} s`, async () => {
      const link = new Link();
      link.serve({ refreshS: seconds });
      await link.begin();
      await link.pass(2000);
      assert.equal(link.heard[0]!.refreshMs, ms);
      await link.close();
    });
  }

  const duid = (link: Link) => dhcp.duidOf(link.host.iface!.mac);
  const server: dhcp.Option = [OPTION.serverId, Uint8Array.of(0, 3, 0, 1, 9)];
  const bad: [string, (link: Link, id: number) => void, string][] = [
    [
      'another transaction',
      (link, id) => link.reply(id ^ 1, [server, [OPTION.clientId, duid(link)]]),
      'dhcp-other-client',
    ],
    ['no server identifier', (link, id) => link.reply(id, [[OPTION.clientId, duid(link)]]), 'dhcp-other-client'],
    ['no client identifier', (link, id) => link.reply(id, [server]), 'dhcp-other-client'],
    [
      'another client',
      (link, id) => link.reply(id, [server, [OPTION.clientId, Uint8Array.of(1)]]),
      'dhcp-other-client',
    ],
    ['an advertise', (link, id) => link.reply(id, [server, [OPTION.clientId, duid(link)]], 2), 'dhcp-unexpected'],
    [
      'a failure',
      (link, id) => link.reply(id, [server, [OPTION.clientId, duid(link)], [OPTION.statusCode, Uint8Array.of(0, 1)]]),
      'dhcp-unexpected',
    ],
  ];
  for (const [name, send, reason] of bad) {
    it(`${name} is dropped as ${reason}, and a good reply is taken`, async () => {
      const link = new Link();
      await link.begin();
      await link.pass(1100);
      const id = transactionOf(link.sent[0]!.line);
      send(link, id);
      await link.pass(100);
      assert.equal(link.heard.length, 0);
      assert.ok(link.host.stats.drops[reason as 'dhcp-unexpected']! >= 1);
      link.reply(id, [server, [OPTION.clientId, duid(link)], dhcp.ipsOption(OPTION.dnsServers, DNS)]);
      await link.pass(100);
      assert.equal(link.heard.length, 1);
      await link.close();
    });
  }

  it('RFC 8415 §21.25: INF_MAX_RT bounds the waits, if it is from 60 to 86400', async () => {
    const link = new Link();
    await link.begin();
    await link.pass(1100);
    const id = transactionOf(link.sent[0]!.line);
    const failure: dhcp.Option = [OPTION.statusCode, Uint8Array.of(0, 1)];
    for (const seconds of [60, 10]) {
      link.reply(id, [server, [OPTION.clientId, duid(link)], failure, dhcp.numberOption(OPTION.infMaxRt, seconds, 4)]);
    }
    await link.pass(600_000);
    const last = link.sent.slice(-2).map(({ at }) => at);
    assert.ok(Math.abs(last[1]! - last[0]! - 60_000) <= 6001, `${last[1]! - last[0]!} ms`);
    await link.close();
  });

  it('5000 spoiled replies: nothing throws, and it still hears the good one', async () => {
    const link = new Link();
    await link.begin();
    await link.pass(1100);
    const random = new Random(5);
    const id = transactionOf(link.sent[0]!.line);
    const from = link.router.iface!.addresses.find(({ address }) => address.isLinkLocal)!.address;
    const to = link.host.iface!.addresses.find(({ address }) => address.isLinkLocal)!.address;
    const socket = link.router.stack.udpSocket();
    socket.bind({ port: dhcp.SERVER_PORT, address: from });
    const good = dhcp.encode(dhcp.REPLY, id, [
      server,
      [OPTION.clientId, Uint8Array.of(9)],
      dhcp.domainsOption(['a.b']),
    ]);
    for (let i = 0; i < 5000; i++) {
      const bytes = good.slice(0, random.chance(0.2) ? random.below(good.length) : good.length);
      for (let n = random.below(5); n > 0 && bytes.length > 0; n--)
        bytes[random.below(bytes.length)] = random.below(256);
      socket.send(bytes, { address: to.withZone(link.router.iface!.index), port: dhcp.CLIENT_PORT });
      if (i % 50 === 0) await link.pass(1);
    }
    socket.close();
    link.serve();
    await link.pass(20_000);
    assert.equal(link.heard.length, 1);
    await link.close();
  });
});

describe('dhcpv6 in a host', () => {
  it('RFC 4861 §4.2: a router with the O flag, and the resolver learns what a server says', async () => {
    const link = new Link();
    link.serve();
    const prefixes = [{ prefix: Cidr.parse('fd00:9::/64') }];
    new RouterAdvertiser(link.router.iface!, { prefixes, other: true }).start();
    const told: string[] = [];
    const host = createHost({
      device: link.switch.port(),
      clock: link.clock,
      random: () => link.random.next(),
      addresses: ['slaac'],
      onConfigured: ({ source, dnsServers }) => told.push(`${source} ${dnsServers}`),
    });
    await inTime(link.clock, host.configured({ timeout: 20_000 }));
    await link.pass(5000);
    assert.ok(told.includes('dhcpv6 fd00::53,fd00::54'), told.join('; '));
    assert.deepEqual(
      host.resolver.servers.map(({ address }) => `${address}`),
      ['fd00::53', 'fd00::54'],
    );
    assert.deepEqual(host.resolver.search, ['lan', 'a.lan']);
    await inTime(link.clock, host.close());
    await link.close();
  });
});

describe('dhcpv6 server, stateless', () => {
  const ask = async (
    options: readonly dhcp.Option[],
    kind = dhcp.INFORMATION_REQUEST,
  ): Promise<dhcp.Options | null> => {
    const link = new Link();
    link.serve();
    await link.pass(5000);
    const socket = link.host.stack.udpSocket();
    socket.bind({ port: dhcp.CLIENT_PORT });
    socket.send(dhcp.encode(kind, 77, options), {
      address: dhcp.ALL_SERVERS.withZone(link.host.iface!.index),
      port: 547,
    });
    await link.pass(1000);
    const bytes = new Uint8Array(500);
    const { Source } = await import('../udp/datagram-queue.ts');
    const length = socket.recv(bytes, new Source());
    socket.close();
    const { dv } = octetsOf(bytes);
    const answer = length < 0 ? null : dhcp.parseOptions(dv, 0, length);
    if (length >= 0) assert.equal(dhcp.transaction(dv, 0), 77);
    link.server!.close();
    link.server!.close();
    await link.close();
    return answer;
  };

  it('tells what it is asked for, and no more', async () => {
    const answer = await ask([[OPTION.clientId, Uint8Array.of(1, 2)], dhcp.requestOption([OPTION.dnsServers, 9999])]);
    assert.deepEqual([...answer!.keys()], [OPTION.serverId, OPTION.clientId, OPTION.dnsServers]);
    assert.deepEqual([...answer!.get(OPTION.clientId)!], [1, 2]);
  });

  it('RFC 8415 §16.12: a request with addresses, or for another server, is dropped; so is every other message', async () => {
    assert.equal(await ask([[OPTION.iaNa, new Uint8Array(12)]]), null);
    assert.equal(await ask([[OPTION.serverId, Uint8Array.of(1)]]), null);
    assert.equal(await ask([], dhcp.SOLICIT), null);
  });
});
