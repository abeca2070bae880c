import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inTime, isSettled } from '../../test/hosts.ts';
import { createHost, type Host, type HostOptions, type ServiceEvent } from '../index.ts';
import { Memory } from '../memory/memory.ts';
import { Switch } from '../phy/index.ts';
import { Random } from '../phy/random.ts';
import { VirtualClock } from '../sim/clock.ts';
import { Cidr } from '../wire/address.ts';
import * as dns from '../wire/dns.ts';

/** Hosts with mDNS on one LAN, in virtual time. */
class Lan {
  readonly clock = new VirtualClock();
  readonly memory = new Memory({ bytes: 32 << 20 });
  readonly #switch = new Switch({ memory: this.memory });
  readonly #hosts: Host[] = [];
  readonly #random = new Random(11);

  add(name: string, addresses: readonly string[], options: Partial<HostOptions> = {}): Host {
    const random = (): number => this.#random.next();
    const common = { clock: this.clock, random, mdns: { name } };
    const host = createHost({ device: this.#switch.port(), addresses, ...common, ...options });
    this.#hosts.push(host);
    return host;
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return inTime(this.clock, promise);
  }

  wait(ms: number): Promise<void> {
    return this.run(new Promise((resolve) => void this.clock.setTimer(this.clock.now() + ms, resolve)));
  }

  async close(): Promise<void> {
    await this.run(Promise.all(this.#hosts.map((host) => host.close())));
    assert.equal(this.memory.usedBytes, 0, 'memory is still held');
  }
}

describe('host.mdns', () => {
  test('names of the link, both families, reverse names, both ways', async () => {
    const lan = new Lan();
    const left = lan.add('left', ['10.0.0.1/24', 'fd00::1/64']);
    const right = lan.add('right', ['10.0.0.2/24', 'fd00::2/64']);
    assert.equal(await lan.run(left.mdns!.ready()), 'left.local');
    await lan.run(right.mdns!.ready());
    await lan.wait(5000); // the IPv6 addresses are probed for first
    assert.deepEqual(
      (await lan.run(left.resolve('right.local'))).filter((address) => !address.startsWith('fe80')),
      ['10.0.0.2', 'fd00::2'] /* RFC 6724 §2.1: unique local addresses last */,
    );
    assert.deepEqual(await lan.run(right.resolve('LEFT.local', { family: 4 })), ['10.0.0.1']);
    assert.deepEqual(await lan.run(left.resolve('left.local', { family: 4 })), ['10.0.0.1']);
    const before = lan.clock.now();
    await assert.rejects(lan.run(left.resolve('left.local', { type: 'TXT' })), { code: 'ENODATA' });
    assert.equal(lan.clock.now(), before, 'nobody else is asked for what is ours');
    const listener = await right.tcp.listen({ port: 80 });
    const stream = await lan.run(left.tcp.connect({ host: 'right.local', port: 80 }));
    assert.match(stream.remoteAddress, /^(fe80::|10\.0\.0\.2$)/);
    await listener.close();
    await lan.close();
  });

  test('nobody has the name: ENOTFOUND after three seconds; a host without mDNS asks its servers', async () => {
    const lan = new Lan();
    const left = lan.add('left', ['10.0.0.1/24']);
    lan.add('right', ['10.0.0.2/24']);
    await lan.wait(5000);
    const before = lan.clock.now();
    await assert.rejects(lan.run(left.resolve('nobody.local')), { code: 'ENOTFOUND', address: 'nobody.local' });
    assert.equal(lan.clock.now() - before, 3000);
    const plain = lan.add('plain', ['10.0.0.3/24'], { mdns: false });
    await assert.rejects(lan.run(plain.resolve('right.local')), { code: 'ENOTFOUND', message: /no name server/ });
    assert.equal(plain.mdns, null);
    await lan.close();
  });

  test('a family that the host does not have does not hold the other up', async () => {
    const lan = new Lan();
    const left = lan.add('left', ['10.0.0.1/24', 'fd00::1/64']);
    lan.add('right', ['10.0.0.2/24']);
    await lan.wait(5000);
    const before = lan.clock.now();
    assert.deepEqual(await lan.run(left.resolve('right.local')), ['10.0.0.2']);
    assert.ok(lan.clock.now() - before < 300, `${lan.clock.now() - before} ms`);
    await lan.close();
  });

  test('a link-local address comes with its zone, and can be connected to', async () => {
    const lan = new Lan();
    const left = lan.add('left', ['fe80::1/64']);
    const right = lan.add('right', ['fe80::2/64']);
    await lan.wait(5000);
    const listener = await right.tcp.listen({ port: 80 });
    const stream = await lan.run(left.tcp.connect({ host: 'right.local', port: 80 }));
    assert.match(stream.remoteAddress, /^fe80::2%eth0$/);
    await listener.close();
    await lan.close();
  });

  test('services: published, found, resolved, gone', async () => {
    const lan = new Lan();
    const server = lan.add('server', ['10.0.0.1/24']);
    const client = lan.add('client', ['10.0.0.2/24']);
    const events: ServiceEvent[] = [];
    const controller = new AbortController();
    const browsing = (async () => {
      for await (const event of client.mdns!.browse('_http._tcp', { signal: controller.signal })) events.push(event);
    })();
    const service = { type: '_http._tcp', name: 'Our. Site', port: 8080, text: { path: '/', secure: true } as const };
    const published = await lan.run(server.mdns!.publish(service));
    assert.equal(published.name, 'Our\\. Site');
    await lan.wait(1000);
    const fullName = 'Our\\. Site._http._tcp.local';
    assert.deepEqual(events, [{ event: 'up', name: 'Our. Site', type: '_http._tcp', fullName }]);
    const found = await lan.run(client.mdns!.resolveService(fullName));
    assert.deepEqual(
      { ...found, text: { ...found.text } },
      {
        host: 'server.local',
        port: 8080,
        addresses: ['10.0.0.1'],
        text: { path: '/', secure: true },
      },
    );
    published.close();
    await lan.wait(2000);
    assert.deepEqual(
      events.map(({ event }) => event),
      ['up', 'down'],
    );
    controller.abort();
    await lan.run(browsing);
    await assert.rejects(lan.run(client.mdns!.resolveService(fullName)), { code: 'ENOTFOUND' });
    await lan.close();
  });

  test('two services of one name: the second gets a number; closing the host says goodbye', async () => {
    const lan = new Lan();
    const [one, two, client] = ['one', 'two', 'client'].map((name, i) => lan.add(name, [`10.0.0.${i + 1}/24`]));
    const service = { type: '_ipp._tcp', name: 'Printer', port: 631 };
    await lan.run(one!.mdns!.publish(service));
    assert.equal((await lan.run(two!.mdns!.publish(service))).name, 'Printer (2)');
    const events: string[] = [];
    const browsing = (async () => {
      for await (const { event, name } of client!.mdns!.browse('_ipp._tcp')) events.push(`${event} ${name}`);
    })();
    await lan.wait(3000);
    assert.deepEqual(events.sort(), ['up Printer', 'up Printer (2)']);
    await lan.run(one!.close());
    await lan.wait(3000);
    assert.equal(events.at(-1), 'down Printer');
    await lan.close();
    await browsing; // ends with its host
  });

  test('an address that comes later is announced', async () => {
    const lan = new Lan();
    const late = lan.add('late', []);
    const other = lan.add('other', ['10.0.0.2/24']);
    await lan.wait(5000);
    assert.equal(await isSettled(late.mdns!.ready()), false);
    late.stack.addAddress(late.iface!, Cidr.parse('10.0.0.1/24'));
    await lan.wait(5000);
    assert.deepEqual(await lan.run(other.resolve('late.local', { family: 4 })), ['10.0.0.1']);
    await lan.close();
  });

  test('cancelled, and closed while somebody waits', async () => {
    const lan = new Lan();
    const host = lan.add('host', ['10.0.0.1/24']);
    const controller = new AbortController();
    const one = host.resolve('no.local', { signal: controller.signal });
    controller.abort(new Error('enough'));
    await assert.rejects(lan.run(one), { message: 'enough' });
    const two = assert.rejects(host.resolve('no.local'), { code: 'ECANCELED' });
    await lan.close();
    await two;
  });

  test('RFC 6762 §11: a message from beyond the link is dropped and counted', async () => {
    const lan = new Lan();
    const host = lan.add('host', ['10.0.0.1/24']);
    const far = lan.add('far', ['192.0.2.1/24'], { mdns: false });
    await lan.wait(5000);
    const socket = await far.udp.bind({ port: 5353 });
    socket.setMulticastInterface('192.0.2.1');
    await lan.run(
      socket.send(dns.emit({ questions: [dns.question('host.local', 'A')] }), { host: '224.0.0.251', port: 5353 }),
    );
    await lan.wait(1000);
    assert.equal(host.stats.drops['dns-wrong-source'], 1);
    await lan.close();
  });

  test('arguments', async () => {
    assert.throws(() => createHost({ mdns: true }), { name: 'TypeError', message: /^mdns: expected a device/ });
    const lan = new Lan();
    const host = lan.add('host', ['10.0.0.1/24']);
    await assert.rejects(host.mdns!.browse('http').next(), TypeError);
    await assert.rejects(host.mdns!.publish({ type: '_http._tcp', name: '', port: 1 }), TypeError);
    await lan.close();
  });
});
