import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf } from '../../test/random.ts';
import { Random } from '../phy/random.ts';
import { IpAddress } from '../wire/address.ts';
import { type Flow, FlowTable, portsIn } from './flow-table.ts';
import type { Interface } from './interface.ts';
import { Packet } from './packet.ts';

function packetOf(flow: Flow): Packet {
  const packet = new Packet(null as unknown as Interface);
  packet.version = flow.local.isV4 ? 4 : 6;
  Object.assign(packet, { dstA: flow.local.a, dstB: flow.local.b, dstC: flow.local.c, dstD: flow.local.d });
  Object.assign(packet, { srcA: flow.remote.a, srcB: flow.remote.b, srcC: flow.remote.c, srcD: flow.remote.d });
  return packet;
}

test('flow table: flows of both families added, found and removed at random, as a map has it', () => {
  const random = randomOf(9);
  const secret = new Random(4);
  const table = new FlowTable<Flow>(() => secret.next());
  const twin = new Map<string, Flow>();
  const address = (): IpAddress =>
    random.next() < 0.5
      ? IpAddress.v4(0x0a000000 + random.below(8))
      : new IpAddress(0xfd00_0000, 0, 0, random.below(8));
  for (let step = 0; step < 30_000; step++) {
    const local = address();
    let remote = address();
    while (remote.isV4 !== local.isV4) remote = address();
    const ports = portsIn(random.below(5), 1 + random.below(40));
    const key = `${local} ${remote} ${ports}`;
    const known = twin.get(key) ?? null;
    assert.equal(table.get(local, remote, ports), known);
    if (known !== null) assert.equal(table.find(packetOf(known), ports), known);
    // Grows first, shrinks later.
    const wantsIt = random.next() < (step < 15_000 ? 0.7 : 0.2);
    if (known === null && wantsIt) {
      const flow: Flow = { local, remote, portsIn: ports, hash: table.hash(local, remote, ports) };
      table.add(flow);
      twin.set(key, flow);
    } else if (known !== null && !wantsIt) {
      table.remove(known);
      table.remove(known);
      twin.delete(key);
    }
    assert.equal(table.count, twin.size);
  }
  assert.deepEqual(new Set(table.values()), new Set(twin.values()));
});

test('flow table: 100,000 flows that differ in little only are all found', () => {
  const secret = new Random(5);
  const table = new FlowTable<Flow>(() => secret.next());
  const local = IpAddress.parse('10.0.0.1');
  const flows: Flow[] = [];
  for (let i = 0; i < 100_000; i++) {
    const remote = IpAddress.v4(0x0a010000 + (i >> 8));
    const ports = portsIn(80, 1024 + (i & 0xff));
    const flow: Flow = { local, remote, portsIn: ports, hash: table.hash(local, remote, ports) };
    flows.push(flow);
    table.add(flow);
  }
  for (const flow of flows) assert.equal(table.find(packetOf(flow), flow.portsIn), flow);
  for (const flow of flows) table.remove(flow);
  assert.equal(table.count, 0);
});
