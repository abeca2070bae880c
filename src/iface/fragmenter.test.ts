import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arpFrame, EtherPeer } from '../../test/ether.ts';
import { FragmentRig, REMOTES, type Version } from '../../test/fragments.ts';
import { randomOf } from '../../test/random.ts';
import { IpAddress } from '../wire/address.ts';
import { PROTOCOL_UDP, pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { octetsOf } from '../wire/octets.ts';
import * as udp from '../wire/udp.ts';
import { PATH_MTU_MODES } from './path-mtu.ts';

const VERSIONS: readonly Version[] = [4, 6];
const LOCAL = { 4: IpAddress.parse('10.0.0.1'), 6: IpAddress.parse('fd00::1') };
const MOST = { 4: 65_507, 6: 65_527 };

/** Puts fragments in order together again, by hand, and asserts that each is as it must be. */
function join(version: Version, packets: readonly Uint8Array[], mtu: number): { payload: Uint8Array; id: number } {
  const parts: Uint8Array[] = [];
  const ids = new Set<number>();
  let at = 0;
  for (const [i, packet] of packets.entries()) {
    const o = octetsOf(packet);
    assert.ok(packet.length <= mtu, `${packet.length} bytes in a path of ${mtu}`);
    const isLast = i === packets.length - 1;
    let data: Uint8Array;
    if (version === 4) {
      assert.equal(ipv4.check(o, 0, packet.length), null);
      assert.equal(ipv4.totalLength(o.dv, 0), packet.length);
      assert.deepEqual([ipv4.fragmentOffset(o.dv, 0), ipv4.moreFragments(o.dv, 0)], [at, !isLast]);
      assert.equal(o.dv.getUint16(6) & ipv4.DONT_FRAGMENT, 0);
      assert.equal(ipv4.protocol(o.dv, 0), PROTOCOL_UDP);
      ids.add(ipv4.identification(o.dv, 0));
      data = packet.subarray(20);
    } else {
      assert.equal(ipv6.check(o.dv, 0, packet.length), null);
      assert.equal(40 + ipv6.payloadLength(o.dv, 0), packet.length);
      assert.equal(ipv6.nextHeader(o.dv, 0), 44);
      assert.equal(packet[40], PROTOCOL_UDP);
      assert.equal(o.dv.getUint16(42), at | (isLast ? 0 : 1));
      ids.add(o.dv.getUint32(44));
      data = packet.subarray(48);
    }
    assert.ok(isLast || data.length % 8 === 0);
    at += data.length;
    parts.push(data);
  }
  assert.equal(ids.size, 1, 'one identification');
  const whole = new Uint8Array(Buffer.concat(parts));
  const pseudo = pseudoHeaderSum(LOCAL[version], REMOTES[version], PROTOCOL_UDP);
  assert.equal(udp.check(octetsOf(whole), 0, whole.length, pseudo, version === 6), null);
  return { payload: whole.subarray(8), id: [...ids][0]! };
}

for (const version of VERSIONS) {
  for (const offload of [false, true]) {
    test(`fragmenter, IPv${version}${offload ? ', a device with offload' : ''}: datagrams of all sizes, over paths of all sizes`, () => {
      const random = randomOf(version);
      const header = version === 4 ? 28 : 48;
      for (const mtu of version === 4 ? [68, 576, 1006, 1500, 9000] : [1280, 1500, 9001]) {
        const rig = new FragmentRig(8 << 20, mtu, offload);
        const sizes = [mtu - header + 1, 2 * mtu - header, MOST[version], mtu + random.below(20_000)];
        for (const size of sizes) {
          const data = random.bytes(size);
          rig.device.roomFrames = 2000;
          assert.equal(rig.socket.send(data, { address: REMOTES[version], port: 9 }), true);
          const { payload } = join(version, rig.device.sent.splice(0), mtu);
          assert.equal(Buffer.compare(payload, data), 0, `${size} bytes over ${mtu}`);
        }
        assert.equal(rig.stack.stats.datagramsFragmented, sizes.length);
        assert.equal(rig.stack.memory.usedBytes, rig.idleBytes);
        assert.equal(rig.socket.send(new Uint8Array(mtu - header), { address: REMOTES[version], port: 9 }), true);
        assert.equal(rig.device.sent.splice(0).length, 1, 'what fits is whole');
        rig.end();
        assert.equal(rig.stack.memory.usedBytes, 0);
      }
    });
  }

  test(`fragmenter, IPv${version}: what a stack sends to itself comes back, up to the largest`, () => {
    const rig = new FragmentRig();
    const data = randomOf(9).bytes(MOST[version]);
    assert.equal(rig.socket.send(data, { address: LOCAL[version], port: 53 }), true);
    rig.pass(0);
    assert.equal(Buffer.compare(rig.take()[0]!, data), 0);
    assert.equal(rig.device.sent.length, 0);
    rig.end();
    assert.equal(rig.stack.memory.usedBytes, 0);
  });

  test(`fragmenter, IPv${version}: without room fragments wait, and the next large datagram is told to`, () => {
    const rig = new FragmentRig();
    const { device, socket } = rig;
    const to = { address: REMOTES[version], port: 9 };
    const data = randomOf(3).bytes(60_000);
    const sent: Uint8Array[] = [];
    device.room = () => 10 - device.sent.length;
    assert.equal(socket.send(data, to), true);
    assert.equal(device.sent.length, 10);
    assert.equal(rig.stack.ip.fragmenter.waitingCount, 1);
    assert.equal(rig.stack.pollAt(), Number.POSITIVE_INFINITY, 'the device will wake');
    sent.push(...device.sent.splice(0));
    assert.equal(socket.send(data, to), false, 'not before the other');
    assert.equal(rig.stack.pollAt(), rig.now);
    for (let i = 0; i < 10 && rig.stack.ip.fragmenter.waitingCount > 0; i++) {
      rig.pass(0);
      sent.push(...device.sent.splice(0));
    }
    assert.equal(Buffer.compare(join(version, sent, 1500).payload, data), 0);
    assert.equal(socket.send(data, to), true);
    rig.end();
    assert.equal(rig.stack.memory.usedBytes, 0, 'what waits is given back');
  });
}

test('fragmenter: identifications of one flow differ, and those of IPv6 are not in a row', () => {
  for (const version of VERSIONS) {
    const rig = new FragmentRig();
    const ids: number[] = [];
    for (let i = 0; i < 100; i++) {
      rig.socket.send(new Uint8Array(2000), { address: REMOTES[version], port: 9 });
      ids.push(join(version, rig.device.sent.splice(0), 1500).id);
    }
    assert.equal(new Set(ids).size, 100);
    if (version === 6) assert.ok(ids.every((id, i) => i === 0 || Math.abs(id - ids[i - 1]!) > 1));
    rig.end();
  }
});

test('fragmenter: the rest waits while the first fragment asks for the neighbour, and goes once it answers', () => {
  const peer = new EtherPeer();
  const socket = peer.stack.udpSocket();
  const to = { address: IpAddress.parse('10.0.0.2'), port: 9 };
  const data = randomOf(4).bytes(60_000);
  assert.equal(socket.send(data, to), true);
  assert.equal(peer.lines().length, 1, 'the question');
  assert.equal(socket.send(data, { ...to, address: IpAddress.parse('10.0.0.3') }), true, 'nobody else is held up');
  peer.device.sent.length = 0;
  peer.send(arpFrame());
  const packets = peer.device.sent.splice(0).map((frame) => frame.subarray(14));
  assert.equal(Buffer.compare(join(4, packets, 1500).payload, data), 0);
  peer.pass(10_000);
  assert.equal(peer.stack.ip.fragmenter.waitingCount, 0, '10.0.0.3 never answered');
  assert.equal(peer.stack.stats.drops['neighbour-unreachable'], 2);
  peer.stack.close();
  assert.equal(peer.stack.memory.usedBytes, 0);
});

test('fragmenter: few datagrams wait for one neighbour', () => {
  const peer = new EtherPeer();
  const socket = peer.stack.udpSocket();
  for (let i = 0; i < 10; i++) socket.send(new Uint8Array(3000), { address: IpAddress.parse('10.0.0.2'), port: 9 });
  assert.equal(peer.stack.ip.fragmenter.waitingCount, 4);
  assert.equal(peer.stack.stats.drops['neighbour-queue-full'], 6);
  peer.stack.close();
  assert.equal(peer.stack.memory.usedBytes, 0);
});

test('fragmenter: without memory nothing is left of a datagram', () => {
  const rig = new FragmentRig(1 << 20);
  const { memory } = rig.stack;
  const transmit = rig.device.transmit.bind(rig.device);
  const taken: number[] = [];
  rig.device.transmit = (frame) => {
    transmit(frame);
    for (let block = memory.alloc(2048); block !== 0; block = memory.alloc(2048)) taken.push(block);
  };
  assert.equal(rig.socket.send(new Uint8Array(9000), { address: REMOTES[4], port: 9 }), true);
  assert.equal(rig.device.sent.length, 1);
  assert.equal(rig.drops('no-memory'), 1);
  for (const block of taken) memory.free(block);
  rig.end();
  assert.equal(memory.usedBytes, 0);
});

test('fragmenter: IP_MTU_DISCOVER: who may cut what', () => {
  // Sent whole, with "don't fragment", or in pieces, or refused: at the path's MTU of 1000 and the interface's 1500.
  const rows: Record<(typeof PATH_MTU_MODES)[number], [string, string, string]> = {
    dont: ['whole', 'cut', 'cut'],
    want: ['whole, DF', 'cut', 'cut'],
    do: ['whole, DF', 'EMSGSIZE', 'EMSGSIZE'],
    probe: ['whole, DF', 'whole, DF', 'EMSGSIZE'],
    interface: ['whole', 'whole', 'EMSGSIZE'],
    omit: ['whole', 'whole', 'cut'],
  };
  for (const mode of PATH_MTU_MODES) {
    const rig = new FragmentRig();
    rig.stack.ip.pathMtus.set(REMOTES[4], 1000);
    rig.socket.pathMtuDiscovery = mode;
    const outcome = (length: number): string => {
      try {
        rig.socket.send(new Uint8Array(length - 28), { address: REMOTES[4], port: 9 });
      } catch (error) {
        return (error as { code: string }).code;
      }
      const sent = rig.device.sent.splice(0);
      if (sent.length > 1) return 'cut';
      return (sent[0]![6]! & 0x40) === 0 ? 'whole' : 'whole, DF';
    };
    assert.deepEqual([outcome(1000), outcome(1500), outcome(1501)], rows[mode], mode);
    rig.end();
  }
});
