import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inTime } from '../../test/hosts.ts';
import { type Configuration, type Conflict, createHost, type Host, type HostOptions } from '../index.ts';
import { Memory } from '../memory/memory.ts';
import type { Device } from '../phy/device.ts';
import { FaultInjector } from '../phy/fault-injector.ts';
import { Random } from '../phy/random.ts';
import { Switch } from '../phy/switch.ts';
import { VirtualClock } from '../sim/clock.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import * as dhcp from '../wire/dhcpv4.ts';
import { Bindings } from './bindings.ts';
import type { DhcpEvent } from './client-options.ts';
import { DhcpServer, type DhcpServerOptions } from './server.ts';

const ip = IpAddress.parse;
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const POOL = [ip('10.0.0.100'), ip('10.0.0.199')] as const;

/** A LAN in virtual time whose router serves addresses. */
class Lan {
  readonly clock = new VirtualClock();
  readonly memory = new Memory({ bytes: 32 << 20 });
  readonly switch = new Switch({ memory: this.memory });
  readonly hosts: Host[] = [];
  readonly random: Random;
  readonly router: Host;
  server: DhcpServer;
  readonly told: string[] = [];

  constructor(options: Partial<DhcpServerOptions> = {}, seed = 1) {
    this.random = new Random(seed);
    this.router = this.host({ addresses: ['10.0.0.1/24'] });
    this.server = this.serve(options);
  }

  serve(options: Partial<DhcpServerOptions> = {}): DhcpServer {
    this.server = new DhcpServer(this.router.stack, this.router.iface!, {
      pool: POOL,
      routers: [ip('10.0.0.1')],
      dnsServers: [ip('10.0.0.1')],
      onBinding: ({ address, state }, message) => this.told.push(`${message} ${address} ${state}`),
      ...options,
    });
    return this.server;
  }

  host(options: HostOptions = {}, wrap: (device: Device) => Device = (device) => device): Host {
    const random = (): number => this.random.next();
    const host = createHost({ device: wrap(this.switch.port()), clock: this.clock, random, ...options });
    this.hosts.push(host);
    return host;
  }

  pass(ms: number): Promise<boolean> {
    return this.clock.run({ settle, maxMs: ms });
  }

  async close(): Promise<void> {
    await inTime(this.clock, Promise.all(this.hosts.map((host) => host.close())));
    this.switch.close();
    assert.equal(this.memory.usedBytes, 0);
  }
}

/** A host that gets its address from the LAN, and what it is told. */
function client(lan: Lan, options: HostOptions = {}, wrap?: (device: Device) => Device) {
  const configurations: Configuration[] = [];
  const events: DhcpEvent[] = [];
  const host = lan.host(
    {
      addresses: ['dhcp'],
      onConfigured: (configuration) => configurations.push(configuration),
      onDhcp: (event) => events.push(event),
      ...options,
    },
    wrap,
  );
  return { host, configurations, events };
}

describe('dhcp server: with our client', () => {
  it('an address, the default route, DNS servers; release on close', async () => {
    const lan = new Lan({ domain: 'lan', search: ['lan', 'example.com'], mtu: 1400, leaseS: 600 });
    const { host, configurations } = client(lan, { name: 'eth7', dhcp: { hostName: 'box' } });
    const addresses = await inTime(lan.clock, host.configured({ timeout: 10_000 }));
    assert.deepEqual(addresses, ['10.0.0.100/24']);
    assert.deepEqual(configurations, [
      {
        source: 'dhcp',
        interface: 'eth7',
        addresses: ['10.0.0.100/24'],
        routes: [{ prefix: '0.0.0.0/0', gateway: '10.0.0.1' }],
        dnsServers: ['10.0.0.1'],
        domain: 'lan',
        search: ['lan', 'example.com'],
        ntpServers: [],
        mtu: 1400,
        leaseSeconds: 600,
      },
    ]);
    assert.equal(host.iface!.mtu, 1400);
    const { size } = await inTime(lan.clock, host.ping('10.0.0.1'));
    assert.equal(size, 56);
    assert.equal(lan.server.bindings[0]!.hostName, 'box');
    assert.deepEqual(
      host.resolver.servers.map(({ address, port }) => `${address} ${port}`),
      ['10.0.0.1 53'],
    );
    assert.deepEqual(host.resolver.search, ['lan', 'example.com']);
    await inTime(lan.clock, host.close());
    assert.deepEqual(lan.told, ['Discover 10.0.0.100 offered', 'Request 10.0.0.100 bound', 'Release 10.0.0.100 free']);
    await lan.close();
  });

  it('each client has its own, finds it again, and a full pool has nothing to give', async () => {
    const lan = new Lan({ pool: [ip('10.0.0.100'), ip('10.0.0.102')] });
    const clients = Array.from({ length: 3 }, (_, i) => client(lan, { mac: `02:00:00:00:01:0${i}` }));
    const got = await inTime(lan.clock, Promise.all(clients.map(({ host }) => host.configured())));
    assert.deepEqual(got.flat().sort(), ['10.0.0.100/24', '10.0.0.101/24', '10.0.0.102/24']);
    const late = client(lan, { mac: '02:00:00:00:01:09' });
    await assert.rejects(inTime(lan.clock, late.host.configured({ timeout: 20_000 })), /ETIMEDOUT.*no address/);
    assert.ok(lan.router.stats.drops['dhcp-no-lease']! > 0);
    await inTime(lan.clock, clients[1]!.host.close());
    assert.deepEqual(await inTime(lan.clock, late.host.configured()), got[1]);
    await lan.close();
  });

  it('a client that comes back gets its address again, though others are free', async () => {
    const lan = new Lan();
    const first = client(lan, { mac: '02:00:00:00:01:01' });
    await inTime(lan.clock, first.host.configured());
    await inTime(lan.clock, first.host.close());
    const other = client(lan, { mac: '02:00:00:00:01:02' });
    assert.deepEqual(await inTime(lan.clock, other.host.configured()), ['10.0.0.101/24']);
    const back = client(lan, { mac: '02:00:00:00:01:01' });
    assert.deepEqual(await inTime(lan.clock, back.host.configured()), ['10.0.0.100/24']);
    await lan.close();
  });

  it('reservations, by link address and by identifier', async () => {
    const id = Uint8Array.of(0, 1, 2, 0xff);
    const lan = new Lan({
      reservations: { '02:00:00:00:01:01': ip('10.0.0.7'), '000102FF': ip('10.0.0.100') },
    });
    const macs = client(lan, { mac: '02:00:00:00:01:01' });
    const ids = client(lan, { dhcp: { clientId: id } });
    const other = client(lan);
    const all = [macs, ids, other].map(({ host }) => host.configured());
    assert.deepEqual(await inTime(lan.clock, Promise.all(all)), [
      ['10.0.0.7/24'],
      ['10.0.0.100/24'],
      ['10.0.0.101/24'],
    ]);
    await lan.close();
  });

  it('an address that a host has by hand is declined, and another is taken', async () => {
    const lan = new Lan();
    lan.host({ addresses: ['10.0.0.100/24'] });
    const { host, events } = client(lan);
    assert.deepEqual(await inTime(lan.clock, host.configured()), ['10.0.0.101/24']);
    assert.ok(lan.clock.now() >= 10_000, 'RFC 2131 §3.1.5: ten seconds after a DECLINE');
    assert.ok(events.some((event) => event.type === 'sent' && event.message === 'Decline'));
    assert.equal(lan.server.bindings.find(({ address }) => `${address}` === '10.0.0.100')!.state, 'declined');
    await lan.close();
  });

  it('renewed for ever while the server lives; rebound by a new server; lost when there is none', async () => {
    const lan = new Lan({ leaseS: 60 });
    const { host, configurations } = client(lan);
    await inTime(lan.clock, host.configured());
    await lan.pass(3_600_000);
    assert.equal(host.iface!.addresses.length, 1);
    const renewals = lan.told.filter((line) => line === 'Request 10.0.0.100 bound').length;
    assert.ok(renewals >= 119 && renewals <= 126, `${renewals} renewals in an hour`);
    lan.server.close();
    await lan.pass(61_000);
    assert.equal(host.iface!.addresses.length, 0);
    assert.deepEqual(configurations.at(-1)!.addresses, []);
    assert.deepEqual(host.resolver.servers, []); // they came with the lease
    lan.serve({ leaseS: 60 });
    await inTime(lan.clock, host.configured());
    assert.deepEqual(host.iface!.addresses.map(String), ['10.0.0.100/24']);
    await lan.close();
  });

  it('REBINDING: the server is replaced by one that remembers nothing: a NAK, and a new lease', async () => {
    const lan = new Lan({ leaseS: 600 });
    const { host, events } = client(lan);
    await inTime(lan.clock, host.configured());
    lan.server.close();
    lan.serve({ leaseS: 600, pool: [ip('10.0.0.50'), ip('10.0.0.60')] });
    await lan.pass(600_000);
    assert.ok(events.some((event) => event.type === 'lost' && event.reason === 'refused'));
    assert.deepEqual(host.iface!.addresses.map(String), ['10.0.0.50/24']);
    await lan.close();
  });

  it('INIT-REBOOT: the same address in one exchange, or a NAK for another network', async () => {
    const lan = new Lan();
    const first = client(lan, { mac: '02:00:00:00:01:01' });
    await inTime(lan.clock, first.host.configured());
    const stored = first.host.autoconfig()!.dhcp!.store()!;
    first.host.autoconfig()!.dhcp!.close(); // as if the power had failed
    await inTime(lan.clock, first.host.close());
    const again = client(lan, { mac: '02:00:00:00:01:01', dhcp: { stored } });
    await inTime(lan.clock, again.host.configured());
    const sent = again.events.flatMap((event) => (event.type === 'sent' ? [event.message] : []));
    assert.deepEqual(sent, ['Request']);
    const moved = client(lan, { dhcp: { stored: { ...stored, address: '192.168.7.9' } } });
    assert.deepEqual(await inTime(lan.clock, moved.host.configured()), ['10.0.0.101/24']);
    const words = moved.events.flatMap((event) => ('message' in event ? [event.message] : []));
    assert.deepEqual(words, ['Request', 'NACK', 'Discover', 'Offer', 'Request', 'ACK']);
    await lan.close();
  });

  it('rapid commit: two messages', async () => {
    const lan = new Lan({ rapidCommit: true });
    const { host, events } = client(lan, { dhcp: { rapidCommit: true } });
    await inTime(lan.clock, host.configured());
    const words = events.flatMap((event) => ('message' in event ? [event.message] : []));
    assert.deepEqual(words, ['Discover', 'ACK']);
    await lan.close();
  });

  it('options beyond the message go to the other fields, whole', async () => {
    const long = Uint8Array.from({ length: 400 }, (_, i) => i & 0xff);
    const lan = new Lan({ options: [[224, long]] });
    const { host } = client(lan);
    await inTime(lan.clock, host.configured());
    assert.deepEqual(host.autoconfig()!.dhcp!.lease!.options.get(224), long);
    await lan.close();
  });

  it('link-local beside dhcp: only while no server answers', async () => {
    const lan = new Lan();
    lan.server.close();
    const { host, configurations } = client(lan, { addresses: ['dhcp', 'link-local'] });
    const [address] = await inTime(lan.clock, host.configured());
    assert.match(address!, /^169\.254\.\d+\.\d+\/16$/);
    assert.ok(lan.clock.now() > 15_000);
    lan.serve();
    await lan.pass(70_000);
    assert.deepEqual(host.iface!.addresses.map(String), ['10.0.0.100/24']);
    assert.deepEqual(
      configurations.map(({ source, addresses }) => `${source} ${addresses}`),
      [`link-local ${address}`, 'link-local ', 'dhcp 10.0.0.100/24'],
    );
    await lan.close();
  });

  it('two link-local hosts talk without any server', async () => {
    const lan = new Lan();
    const hosts = [1, 2].map((n) => lan.host({ addresses: ['link-local'], mac: `02:00:00:00:02:0${n}` }));
    const [first, second] = (await inTime(lan.clock, Promise.all(hosts.map((host) => host.configured())))).flat();
    assert.notEqual(first, second);
    const reply = await inTime(lan.clock, hosts[0]!.ping(second!.split('/')[0]!));
    assert.equal(`${reply.address}/16`, second);
    await lan.close();
  });

  it('a link that loses a third of all frames, duplicates and reorders: every client gets an address of its own', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const lan = new Lan({ leaseS: 300 }, seed);
      const spoil = (device: Device): Device =>
        new FaultInjector(device, { seed, drop: 0.33, duplicate: 0.1, reorder: 0.1, delayMs: 5, jitterMs: 4 });
      const clients = Array.from({ length: 6 }, (_, i) => client(lan, { mac: `02:00:00:00:03:0${i}` }, spoil));
      const got = await inTime(lan.clock, Promise.all(clients.map(({ host }) => host.configured())));
      assert.equal(new Set(got.flat()).size, 6, `seed ${seed}: ${got}`);
      await lan.pass(1_800_000);
      const held = clients.flatMap(({ host }) => host.iface!.addresses.map(String));
      assert.equal(new Set(held).size, held.length, `seed ${seed}: ${held}`);
      await lan.close();
    }
  });

  it('static addresses: probed where asked for, defended, and who is in conflict is told', async () => {
    const lan = new Lan();
    const mac = '02:00:00:00:04:01';
    const told: Conflict[] = [];
    const onConflict = (conflict: Conflict): void => void told.push(conflict);
    const since = lan.clock.now();
    const free = lan.host({ addresses: ['10.0.0.9/24'], probe: true, mac, name: 'a', onConflict });
    await inTime(lan.clock, free.configured());
    const took = lan.clock.now() - since;
    assert.ok(took >= 4000 && took <= 7010, `RFC 5227: 4 to 7 s, took ${took} ms`);
    const late = lan.host({ addresses: ['10.0.0.9/24'], probe: true, name: 'b', onConflict });
    await assert.rejects(inTime(lan.clock, late.configured()), { code: 'EADDRNOTAVAIL' });
    assert.deepEqual(told.splice(0), [{ interface: 'b', address: '10.0.0.9', mac, isLost: true }]);
    lan.host({ addresses: ['10.0.0.9/24'], mac: '02:00:00:00:04:02', announce: true });
    await lan.pass(100);
    // Both insist: its announcement, and its defence against ours; then there is silence for DEFEND_INTERVAL.
    const conflict = { interface: 'a', address: '10.0.0.9', mac: '02:00:00:00:04:02', isLost: false };
    assert.deepEqual(told, [conflict, conflict]);
    assert.equal(free.iface!.addresses.length, 1);
    await lan.close();
  });

  it('cancelled, timed out, closed: whoever waits is told', async () => {
    const lan = new Lan();
    lan.server.close();
    const { host } = client(lan);
    const abort = new AbortController();
    const cancelled = host.configured({ signal: abort.signal });
    const waiting = host.configured();
    const closed = assert.rejects(waiting, { code: 'ECANCELED' });
    const enough = assert.rejects(cancelled, /enough/);
    abort.abort(new Error('enough'));
    await enough;
    await assert.rejects(inTime(lan.clock, host.configured({ timeout: 1000 })), { code: 'ETIMEDOUT' });
    await inTime(lan.clock, host.close());
    await closed;
    await lan.close();
  });
});

describe('dhcp server: messages', () => {
  /** A server and a hand that writes to it. */
  function server(options: Partial<DhcpServerOptions> = {}) {
    const lan = new Lan(options);
    const peer = lan.host({ addresses: ['10.0.0.2/24'] });
    return { lan, peer };
  }

  const refused: [string, Partial<DhcpServerOptions>, RegExp][] = [
    ['a pool elsewhere', { pool: [ip('10.1.0.1'), ip('10.1.0.9')] }, /expected one on a network of/],
    ['a pool upside down', { pool: [ip('10.0.0.9'), ip('10.0.0.1')] }, /expected 1 to 4096/],
    ['no time', { leaseS: 1 }, /leaseS: expected 5/],
    ['half a second', { leaseS: 7.5 }, /leaseS: expected 5/],
    ['a reservation elsewhere', { reservations: { '02:00:00:00:00:09': ip('10.1.0.1') } }, /reservation: expected/],
    ['a name that is none', { search: ['a..b'] }, /domain: expected/],
  ];
  for (const [name, options, message] of refused) {
    it(`${name} is refused`, () => {
      const { lan } = server();
      assert.throws(() => lan.serve(options), message);
    });
  }

  it('too large a pool is refused', () => {
    const taken = (): boolean => false;
    const pool = { from: ip('10.0.0.0'), to: ip('10.0.16.0'), isTaken: taken, reservations: new Map() };
    assert.throws(() => new Bindings(pool), /expected 1 to 4096/);
  });

  it('INFORM is answered with settings and no address', async () => {
    const { lan, peer } = server({ dnsServers: [ip('10.0.0.3')] });
    const { DhcpClient } = await import('./client.ts');
    const servers: string[] = [];
    let yiaddr = '';
    const inform = new DhcpClient(peer.stack, peer.iface!, {
      onEvent: (event) => {
        if (event.type === 'informed') servers.push(...event.settings.dnsServers.map(String));
        if (event.type === 'received') yiaddr = `${event.address}`;
      },
    });
    inform.inform(ip('10.0.0.2'));
    await lan.pass(1000);
    assert.deepEqual(servers, ['10.0.0.3']);
    assert.equal(yiaddr, '0.0.0.0');
    assert.equal(lan.server.bindings.length, 0);
    await lan.close();
  });

  it('never its own address, a router, a name server, or the ends of the network', async () => {
    const lan = new Lan({
      pool: [ip('10.0.0.0'), ip('10.0.0.4')],
      routers: [ip('10.0.0.2')],
      dnsServers: [ip('10.0.0.3')],
    });
    const { host } = client(lan);
    assert.deepEqual(await inTime(lan.clock, host.configured()), ['10.0.0.4/24']);
    await lan.close();
  });

  it('not authoritative: silent about a client it does not know', async () => {
    const lan = new Lan({ authoritative: false });
    const stored = {
      address: '10.0.0.150',
      secondsLeft: 100,
      options: { 1: 'ffffff00', 51: '00000e10', 54: '0a000001' },
    };
    const { host, events } = client(lan, { dhcp: { stored } });
    await inTime(lan.clock, host.configured());
    assert.ok(!events.some((event) => event.type === 'received' && event.message === 'NACK'));
    assert.deepEqual(host.iface!.addresses.map(String), ['10.0.0.150/24']); // it was free
    await lan.close();
  });

  it('20,000 spoiled messages: nothing throws, the table keeps its bounds, and it still serves', async () => {
    const lan = new Lan({ pool: [ip('10.0.0.100'), ip('10.0.0.119')] });
    const random = new Random(7);
    const hostile = lan.host({ addresses: ['10.0.0.2/24'], mac: '02:00:00:00:09:09' });
    const socket = hostile.stack.udpSocket();
    for (let i = 0; i < 20_000; i++) {
      const options: dhcp.Option[] = [dhcp.numberOption(53, random.below(10), 1)];
      for (let n = random.below(5); n > 0; n--) {
        const value = new Uint8Array(random.below(3) === 0 ? 4 : random.below(30));
        random.bytes(value);
        if (value.length === 4 && random.chance(0.7)) value.set([10, 0, 0, 100 + random.below(20)]);
        options.push([[50, 51, 54, 57, 61, random.below(255)][random.below(6)]!, value]);
      }
      const bytes = dhcp.encode(
        {
          op: random.chance(0.95) ? 1 : 2,
          xid: random.next(),
          mac: hostile.iface!.mac,
          ciaddr: random.chance(0.2) ? ip('10.0.0.105').d : 0,
        },
        options,
      );
      for (let n = random.below(4); n > 0; n--) bytes[random.below(bytes.length)] = random.below(256);
      socket.send(random.chance(0.1) ? bytes.subarray(0, random.below(bytes.length)) : bytes, {
        address: ip('10.0.0.1'),
        port: 67,
      });
      if (i % 100 === 0) await lan.pass(10);
    }
    assert.ok(lan.server.bindings.length <= 20);
    await lan.pass(7_200_000);
    const { host } = client(lan);
    const [address] = await inTime(lan.clock, host.configured());
    assert.ok(Cidr.parse('10.0.0.0/24').contains(Cidr.parse(address!).address));
    await lan.close();
  });
});
