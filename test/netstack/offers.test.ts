/**
 * What a host offers, member by member of the classes, and what a channel has for it. A member that is new has no row here, and
 * fails; one that a channel does not have stands with its reason in the README beside this file.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createHost, type RawSocket, type TcpListener, type TcpStream, type UdpSocket } from '../../src/index.ts';
import * as netstack from '../../src/netstack/index.ts';
import { pipePair } from '../../src/phy/index.ts';
import { EchoInterception } from '../../src/sockets/echo-intercept.ts';
import { Host } from '../../src/sockets/host.ts';
import { HostIcmp, HostRaw, HostTcp, HostUdp } from '../../src/sockets/host-sockets.ts';
import { IncomingSyn } from '../../src/sockets/incoming-syn.ts';
import { HostMdns } from '../../src/sockets/mdns.ts';
import { TcpFlow, TcpInterception } from '../../src/sockets/tcp-intercept.ts';
import { UdpFlow, UdpInterception } from '../../src/sockets/udp-intercept.ts';
import { OTHER, OTHER_CONFIG, OWN, OWN_CONFIG } from './suite.ts';

/** Public members of a class: what its prototype has. */
function membersOf({ prototype }: { readonly prototype: object }): string[] {
  const keys = Reflect.ownKeys(prototype).filter((key) => key !== 'constructor');
  return keys
    .map((key) => (typeof key === 'symbol' ? `[${key.description!.replace(/^(Symbol|nodejs)\./, '')}]` : key))
    .sort();
}

/** What of `ethertype/netstack` does the same; `-`: nothing does, and the README says why. */
const OFFERS: [owner: string, of: { readonly prototype: object }, rows: Record<string, string>][] = [
  ['tcp', HostTcp, { listen: 'tcpListen', connect: 'tcpConnect', intercept: 'tcpIntercept' }],
  ['udp', HostUdp, { bind: 'udpBind', connect: 'udpConnect', intercept: 'udpIntercept' }],
  ['icmp', HostIcmp, { intercept: 'icmpIntercept' }],
  ['raw', HostRaw, { open: 'rawOpen' }],
  [
    'host',
    Host,
    {
      configured: 'configured',
      resolve: 'resolve',
      ping: 'ping',
      trace: 'trace',
      resolver: 'resolverOver',
      stats: 'Channel.stats',
      close: 'Channel.close',
      '[asyncDispose]': 'Channel.close',
      resolveSocketAddress: '-',
      autoconfig: 'configuration',
      memory: '-',
      addInterface: '-',
      clock: '-',
    },
  ],
  ['mdns', HostMdns, Object.fromEntries(membersOf(HostMdns).map((name) => [name, '-']))],
  [
    'TcpFlow',
    TcpFlow,
    {
      options: 'ChannelTcpFlow.options',
      isPending: 'ChannelTcpFlow.isPending',
      signal: 'ChannelTcpFlow.signal',
      isGone: 'ChannelTcpFlow.isGone',
      accept: 'ChannelTcpFlow.accept',
      reject: 'ChannelTcpFlow.reject',
      end: 'ChannelTcpFlow.end',
      gone: 'ChannelTcpFlow.gone',
      source: '-',
      destination: '-',
      established: '-',
      traffic: '-',
      bytes: '-',
      expire: '-',
    },
  ],
  [
    'UdpFlow',
    UdpFlow,
    {
      isPending: 'ChannelUdpFlow.isPending',
      signal: 'ChannelUdpFlow.signal',
      accept: 'ChannelUdpFlow.accept',
      reject: 'ChannelUdpFlow.reject',
      close: 'ChannelUdpFlow.close',
      take: '-',
      source: '-',
      destination: '-',
      traffic: '-',
      bytes: '-',
      expire: '-',
    },
  ],
  [
    'TcpInterception',
    TcpInterception,
    {
      flows: 'ChannelInterception.flows',
      count: 'ChannelInterception.status',
      bytes: 'ChannelInterception.status',
      notify: 'ChannelInterception.notify',
      close: 'ChannelInterception.close',
      '[asyncDispose]': 'ChannelInterception.close',
    },
  ],
  [
    'UdpInterception',
    UdpInterception,
    {
      flows: 'ChannelInterception.flows',
      count: 'ChannelInterception.status',
      bytes: 'ChannelInterception.status',
      forget: '-',
      close: 'ChannelInterception.close',
      '[asyncDispose]': 'ChannelInterception.close',
    },
  ],
  [
    'EchoInterception',
    EchoInterception,
    {
      pending: 'ChannelInterception.status',
      close: 'ChannelInterception.close',
      '[asyncDispose]': 'ChannelInterception.close',
    },
  ],
  // A listener of a channel gives its handler the same class.
  ['IncomingSyn', IncomingSyn, Object.fromEntries(membersOf(IncomingSyn).map((name) => [name, 'tcpListen']))],
];

const README = readFileSync(new URL('../../../test/netstack/README.md', import.meta.url), 'utf8');

for (const [owner, of, rows] of OFFERS) {
  test(`${owner}: each member has its like on a channel, or its reason in the README`, () => {
    assert.deepEqual(membersOf(of), Object.keys(rows).sort(), 'a row for each member, and none for others');
    const all = netstack as unknown as Record<string, { readonly prototype: object }>;
    for (const [member, ours] of Object.entries(rows)) {
      if (ours === '-') {
        const name = owner === 'mdns' ? 'host.mdns' : `${owner}.${member}`;
        assert.ok(README.includes(`\`${name}\``), `${name} stands in the README, with its reason`);
        continue;
      }
      const [name, part] = ours.split('.') as [string, string?];
      assert.equal(typeof all[name], 'function', ours);
      if (part === undefined) continue;
      let prototype: object | null = all[name]!.prototype;
      while (prototype !== null && !Object.hasOwn(prototype, part)) prototype = Object.getPrototypeOf(prototype);
      const isField = part === 'options';
      assert.ok(prototype !== null || isField, `${ours} is there`);
    }
  });
}

test('each function over a channel has its twin that blocks', () => {
  for (const name of Object.keys(netstack)) {
    const isCall = /^(tcp|udp|raw|icmp)[A-Z]|^(ping|trace|resolve|configured|configuration)$/.test(name);
    if (isCall && !name.endsWith('Blocking')) assert.ok(`${name}Blocking` in netstack, name);
  }
});

type Sockets = { stream: TcpStream; listener: TcpListener; udp: UdpSocket; raw: RawSocket };

/** Of the classes that hosts and channels share: what each member gives; the same on both sides. */
const GIVES: { readonly [K in keyof Sockets]: Record<string, (socket: Sockets[K]) => unknown> } = {
  stream: {
    localAddress: (s) => s.localAddress === OWN,
    localPort: (s) => s.localPort > 0,
    remoteAddress: (s) => s.remoteAddress,
    remotePort: (s) => s.remotePort,
    remoteFamily: (s) => s.remoteFamily,
    state: (s) => s.state,
    info: async (s) => (await s.info())?.state,
    trace: (s) => s.trace(null),
    tracesLost: (s) => s.tracesLost,
    isReleased: (s) => s.isReleased,
    write: (s) => s.write(Uint8Array.of(1)),
    readInto: async (s) => s.readInto(new Uint8Array(1)),
    read: async (s) => (await s.read())?.length,
    readable: (s) => s.readable instanceof ReadableStream,
    writable: (s) => s.writable instanceof WritableStream,
    '[asyncIterator]': (s) => typeof s[Symbol.asyncIterator],
    connected: (s) => typeof s.connected,
    notify: (s) => s.notify(0),
    end: (s) => s.end(),
    close: (s) => s.close(),
    abort: (s) => s.abort(),
    '[dispose]': (s) => s[Symbol.dispose](),
    '[asyncDispose]': (s) => s[Symbol.asyncDispose](),
    ...blocks('writeBlocking', 'readBlocking', 'readIntoBlocking', 'endBlocking', 'closeBlocking', 'infoBlocking'),
  },
  listener: {
    accept: async (s) => (await s.accept()).remoteAddress,
    '[asyncIterator]': (s) => typeof s[Symbol.asyncIterator],
    notify: (s) => s.notify(),
    close: (s) => s.close(),
    '[dispose]': (s) => s[Symbol.dispose](),
    '[asyncDispose]': (s) => s[Symbol.asyncDispose](),
    ...blocks('acceptBlocking'),
  },
  udp: {
    address: (s) => s.address,
    port: (s) => s.port,
    pathMtuDiscovery: (s) => {
      s.pathMtuDiscovery = 'do';
      return s.pathMtuDiscovery;
    },
    pathMtu: (s) => s.pathMtu,
    addMembership: (s) => s.addMembership('239.1.1.1'),
    blockSource: (s) => s.blockSource(OTHER, '239.1.1.1'),
    unblockSource: (s) => s.unblockSource(OTHER, '239.1.1.1'),
    dropMembership: (s) => s.dropMembership('239.1.1.1'),
    addSourceSpecificMembership: (s) => s.addSourceSpecificMembership(OTHER, '239.1.1.2'),
    dropSourceSpecificMembership: (s) => s.dropSourceSpecificMembership(OTHER, '239.1.1.2'),
    setMulticastTTL: (s) => s.setMulticastTTL(3),
    setTTL: (s) => s.setTTL(9),
    setMulticastLoopback: (s) => s.setMulticastLoopback(false),
    setMulticastInterface: (s) => s.setMulticastInterface(OWN),
    setBroadcast: (s) => s.setBroadcast(true),
    send: (s) => s.send(Uint8Array.of(1), { host: OWN, port: 53 }),
    receive: async (s) => (await s.receive()).data.length,
    '[asyncIterator]': (s) => typeof s[Symbol.asyncIterator],
    notify: (s) => s.notify(0),
    close: (s) => s.close(),
    '[dispose]': (s) => s[Symbol.dispose](),
    '[asyncDispose]': (s) => s[Symbol.asyncDispose](),
    ...blocks('sendBlocking', 'receiveBlocking', 'changeMembershipBlocking'),
  },
  raw: {
    family: (s) => s.family,
    protocol: (s) => s.protocol,
    send: (s) => s.send(Uint8Array.of(1), OWN),
    receive: async (s) => (await s.receive()).data.length,
    '[asyncIterator]': (s) => typeof s[Symbol.asyncIterator],
    notify: (s) => s.notify(),
    close: (s) => s.close(),
    '[dispose]': (s) => s[Symbol.dispose](),
    '[asyncDispose]': (s) => s[Symbol.asyncDispose](),
    ...blocks('sendBlocking', 'receiveBlocking'),
  },
};

/** Members that hosts have and channels refuse, with EOPNOTSUPP. */
const REFUSED = ['TcpStream.socket', 'TcpStream.handOver'];

/** That they are there; what they do where a thread may wait is in the suite. */
function blocks(...names: string[]): Record<string, (socket: never) => unknown> {
  return Object.fromEntries(
    names.map((name) => [name, (socket: object) => typeof (socket as Record<string, unknown>)[name]]),
  );
}

/** What every member of each class gives. */
async function given(sockets: Sockets): Promise<Record<string, unknown>> {
  const all: Record<string, unknown> = {};
  for (const [kind, rows] of Object.entries(GIVES)) {
    const socket = sockets[kind as keyof Sockets];
    for (const [member, call] of Object.entries(rows)) {
      all[`${kind}.${member}`] = await (call as (socket: unknown) => unknown)(socket);
    }
  }
  return all;
}

test('the classes of sockets: each member gives over each link what it gives on a host', {
  timeout: 30_000,
}, async () => {
  const [left, right] = pipePair();
  const [own, other] = [createHost({ device: left, ...OWN_CONFIG }), createHost({ device: right, ...OTHER_CONFIG })];
  const peers = await other.tcp.listen({ port: 80 });
  const listener = await own.tcp.listen({ port: 90 });
  const stream = await own.tcp.connect({ host: OTHER, port: 80 });
  const peer = await peers.accept();
  await peer.write(Uint8Array.of(1, 2));
  await other.tcp.connect({ host: OWN, port: 90 });
  const udp = await own.udp.bind({ port: 53 });
  const raw = await own.raw.open({ family: 4, protocol: 200 });
  const sockets = { stream, listener, udp, raw };
  const names = { stream: 'TcpStream', listener: 'TcpListener', udp: 'UdpSocket', raw: 'RawSocket' };
  for (const [kind, socket] of Object.entries(sockets)) {
    const name = names[kind as keyof Sockets];
    const members = membersOf(socket.constructor as never).filter((member) => !REFUSED.includes(`${name}.${member}`));
    assert.deepEqual(Object.keys(GIVES[kind as keyof Sockets]).sort(), members, `a row for each member of ${name}`);
  }
  for (const member of REFUSED) assert.ok(README.includes(`\`${member}\``), member);
  const expected = await given(sockets);
  await Promise.all([own.close(), other.close()]);
  for (const link of ['this thread', 'a port', 'shared memory']) {
    const [near, far] = netstack.pipedPair({ ...OWN_CONFIG, shared: link !== 'a port' }, OTHER_CONFIG);
    near.run();
    far.run();
    const shared = link === 'this thread' ? near.netstack.openChannel() : near.commandChannel().share().channel;
    const channel = netstack.Channel.from(shared);
    const theirs = await netstack.tcpListen(far, { port: 80 });
    const over: Sockets = {
      listener: await netstack.tcpListen(channel, { port: 90 }),
      stream: await netstack.tcpConnect(channel, { host: OTHER, port: 80 }),
      udp: await netstack.udpBind(channel, { port: 53 }),
      raw: await netstack.rawOpen(channel, { family: 4, protocol: 200 }),
    };
    await (await theirs.accept()).write(Uint8Array.of(1, 2));
    await netstack.tcpConnect(far, { host: OWN, port: 90 });
    assert.throws(() => over.stream.socket, { code: 'EOPNOTSUPP' });
    assert.throws(() => over.stream.handOver({ notify: () => {} }), { code: 'EOPNOTSUPP' });
    assert.deepEqual(await given(over), expected, link);
    channel.close();
    near.close();
    far.close();
    assert.equal(near.netstack.memory.usedBytes, 0);
  }
});
