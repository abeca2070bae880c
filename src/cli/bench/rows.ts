/** What is measured, a group of rows after the other. @module */
import * as api from './api.ts';
import * as core from './core.ts';
import { floor } from './floor.ts';
import { idleBytes, idleSlowdown, idleSlowdownOfPeer, peerConnectionsMax } from './idle.ts';
import * as peer from './node.ts';
import { beside, median, type Row } from './table.ts';
import { type TunRates, tunRates } from './tun.ts';

/** Connections that transfer at once. */
const MANY = 256;

export async function coreRows(rounds: number, ms: number): Promise<Row[]> {
  const plain = new core.CorePair(false, 64 << 20);
  const [bulkPair, echoPair] = [plain.connect(9, 1)[0]!, plain.connect(7, 1)[0]!];
  const offload = new core.CorePair(true, 64 << 20);
  const offloadPair = offload.connect(9, 1)[0]!;
  let perAck = 0;
  const rows = [
    await beside(
      { name: 'TCP bulk, core, MTU 1500, checksums', unit: 'Gbit/s', peer: 'bare data path' },
      rounds,
      () => {
        const [gbit, segments] = core.bulk(plain, bulkPair, ms);
        perAck = segments;
        return gbit;
      },
      () => floor(ms),
    ),
    await beside(
      { name: 'TCP bulk, core, super-segments', unit: 'Gbit/s', peer: 'bare data path' },
      rounds,
      () => core.bulk(offload, offloadPair, ms)[0],
      () => floor(ms),
    ),
    await beside(
      { name: '64 B round trips, core', unit: '/s', peer: 'node:net loopback' },
      rounds,
      () => core.roundTrips(plain, echoPair, ms),
      () => peer.roundTrips(ms),
    ),
    await beside(
      { name: 'UDP 64 B datagrams, core', unit: '/s', peer: 'node:dgram loopback' },
      rounds,
      () => core.datagrams(plain, ms),
      () => peer.datagrams(ms),
    ),
  ];
  rows[0] = { ...rows[0]!, note: `${perAck.toFixed(0)} segments an ACK` };
  plain.close();
  offload.close();
  return rows;
}

/** IPv6 beside IPv4, and a host with large tables beside one without. */
export async function ipv6Rows(rounds: number, ms: number): Promise<Row[]> {
  const [v4, v6, full] = [4, 6, 6].map((family) => new core.CorePair(false, 64 << 20, family as 4 | 6)) as [
    core.CorePair,
    core.CorePair,
    core.CorePair,
  ];
  full.fillTables();
  const [bulk4, bulk6, bulkFull] = [v4, v6, full].map((pair) => pair.connect(9, 1)[0]!);
  const rows = [
    await beside(
      { name: 'TCP bulk, core, IPv6', unit: 'Gbit/s', peer: 'the same over IPv4' },
      rounds,
      () => core.bulk(v6, bulk6!, ms)[0],
      () => core.bulk(v4, bulk4!, ms)[0],
    ),
    await beside(
      { name: 'UDP 64 B datagrams, core, IPv6', unit: '/s', peer: 'the same over IPv4' },
      rounds,
      () => core.datagrams(v6, ms),
      () => core.datagrams(v4, ms),
    ),
    await beside(
      { name: 'TCP bulk, 10,000 routes, neighbours', unit: 'Gbit/s', peer: 'a host with few' },
      rounds,
      () => core.bulk(full, bulkFull!, ms)[0],
      () => core.bulk(v6, bulk6!, ms)[0],
    ),
    await beside(
      { name: 'UDP 64 B, 10,000 routes, neighbours', unit: '/s', peer: 'a host with few' },
      rounds,
      () => core.datagrams(full, ms),
      () => core.datagrams(v6, ms),
    ),
  ];
  for (const pair of [v4, v6, full]) pair.close();
  return rows;
}

export async function apiRows(rounds: number, ms: number): Promise<Row[]> {
  const pair = api.hostPair();
  const rows = [
    await beside(
      { name: 'TCP bulk, write/read, MTU 1500, checksums', unit: 'Gbit/s', peer: 'bare data path' },
      rounds,
      () => api.bulk(pair, false, ms),
      () => floor(ms),
    ),
    await beside(
      { name: 'TCP bulk, write/readInto', unit: 'Gbit/s', peer: 'node:net loopback' },
      rounds,
      () => api.bulk(pair, true, ms),
      () => peer.bulk(ms),
    ),
    await beside(
      { name: `TCP bulk, ${MANY} connections`, unit: 'Gbit/s', peer: 'node:net loopback' },
      rounds,
      () => api.bulkMany(pair, MANY, ms),
      () => peer.bulkMany(MANY, ms),
    ),
    await beside(
      { name: '64 B round trips', unit: '/s', peer: 'node:net loopback' },
      rounds,
      () => api.roundTrips(pair, ms),
      () => peer.roundTrips(ms),
    ),
    await beside(
      { name: 'connections opened and closed', unit: '/s', peer: 'node:net loopback' },
      rounds,
      () => api.connections(pair, ms),
      () => peer.connections(ms),
    ),
    await beside(
      { name: 'UDP 64 B datagrams', unit: '/s', peer: 'node:dgram loopback' },
      rounds,
      () => api.datagrams(pair, ms),
      () => peer.datagrams(ms),
    ),
  ];
  await pair.client.close();
  await pair.server.close();
  return rows;
}

/** What idle connections cost, in memory and in the speed of one more. */
export async function idleRows(count: number, rounds: number, ms: number): Promise<Row[]> {
  const peers = Math.min(count, peerConnectionsMax());
  const amount = peers === count ? '' : `, ${peers.toLocaleString('en')} of them`;
  const bytes = await idleBytes('node', peers);
  const memory = async (what: string, kind: 'core' | 'sockets'): Promise<Row> => {
    const ours = await idleBytes(kind, count);
    const peer = `node:net without libuv's and the kernel's part${amount}`;
    return {
      name: `one end of ${what}`,
      unit: 'B',
      ours,
      peer,
      theirs: bytes,
      ratio: ours / bytes,
      lessIsBetter: true,
    };
  };
  const rows = [await memory('an idle connection, core', 'core'), await memory('an idle connection', 'sockets')];
  const ours = idleSlowdown(count, rounds, ms);
  const theirs = await idleSlowdownOfPeer(peers, rounds, ms);
  rows.push({
    name: `TCP bulk beside ${count.toLocaleString('en')} idle, core`,
    unit: 'of alone',
    ours,
    peer: `node:net loopback${amount}`,
    theirs,
    ratio: ours / theirs,
  });
  return rows;
}

/** With Linux's own TCP at the other end, both ways. */
export async function tunRows(rounds: number, ms: number): Promise<Row[]> {
  const runs: TunRates[] = [];
  for (let i = 0; i < rounds; i++) runs.push(await tunRates(Math.max(1000, ms)));
  const row = (name: string, ours: (run: TunRates) => number): Row => ({
    name,
    unit: 'Gbit/s',
    ours: median(runs.map(ours)),
    peer: 'iperf3 loopback',
    theirs: median(runs.map((run) => run.iperf3)),
    ratio: median(runs.map((run) => ours(run) / run.iperf3)),
  });
  return [
    row('Linux to us over TUN, offload', (run) => run.linuxToUs),
    row('us to Linux over TUN, offload', (run) => run.usToLinux),
  ];
}
