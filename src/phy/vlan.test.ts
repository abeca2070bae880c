import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LOCAL_MAC, PeerDevice } from '../../test/peer.ts';
import { Stack } from '../stack.ts';
import { Source } from '../udp/datagram-queue.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import { octetsOf } from '../wire/octets.ts';
import { formatFrame } from '../wire/packet.ts';
import { pipePair } from './pipe.ts';
import { Random } from './random.ts';
import { VlanTrunk } from './vlan.ts';

const ip = (text: string): IpAddress => IpAddress.parse(text);

/** Two hosts with LANs 5 and 6 and an untagged network on one wire. */
function rig() {
  const random = new Random(1);
  const ends = pipePair({ medium: 'ethernet', mtu: 1500 });
  let now = 1;
  const hosts = ends.map((end, i) => {
    const trunk = new VlanTrunk(end);
    const stack = new Stack({ random: () => random.next(), memory: ends[0].memory });
    const devices = [trunk.lan(5), trunk.lan(6, { priority: 3 }), trunk.untagged()];
    devices.forEach((device, lan) => {
      stack.addInterface(device, { addresses: [Cidr.parse(`10.${lan}.0.${i + 1}/24`)], announce: false });
    });
    return { stack, trunk };
  });
  const poll = (): void => {
    for (let i = 0; i < 12; i++) for (const { stack } of hosts) stack.poll(now++);
  };
  return { hosts, poll };
}

describe('VLAN trunk: IEEE 802.1Q', () => {
  test('each LAN is a network of its own, beside the untagged one', () => {
    const { hosts, poll } = rig();
    const [left, right] = hosts as [(typeof hosts)[0], (typeof hosts)[0]];
    const echo = right.stack.udpSocket();
    echo.bind({ port: 7 });
    const socket = left.stack.udpSocket();
    for (const lan of [0, 1, 2]) socket.send(Uint8Array.of(lan), { address: ip(`10.${lan}.0.2`), port: 7 });
    poll();
    const target = new Uint8Array(8);
    const source = new Source();
    const heard: string[] = [];
    while (echo.recv(target, source) >= 0) heard.push(`${target[0]} from ${source.address}`);
    assert.deepEqual(heard.sort(), ['0 from 10.0.0.1', '1 from 10.1.0.1', '2 from 10.2.0.1']);
    // A full-sized datagram: the tag stands beyond the MTU.
    socket.send(new Uint8Array(1472), { address: ip('10.1.0.2'), port: 7 });
    poll();
    assert.equal(echo.peekLength(), 1472);
    for (const { stack, trunk } of hosts) {
      assert.deepEqual([stack.stats.drops, trunk.unknown, trunk.overflowed], [{}, 0, 0]);
      stack.close();
    }
    assert.equal(left.stack.memory.usedBytes, 0);
  });

  test('what is sent has the tag with its priority; what has another tag is counted', () => {
    const device = new PeerDevice('ethernet');
    const trunk = new VlanTrunk(device);
    const random = new Random(1);
    const stack = new Stack({ random: () => random.next(), memory: 1 << 20 });
    const lan = trunk.lan(5, { priority: 3 });
    stack.addInterface(lan, { addresses: [Cidr.parse('10.0.0.1/24')], mac: LOCAL_MAC });
    stack.poll(1);
    const [sent] = device.sent.splice(0);
    const line = formatFrame(octetsOf(sent!), 0, sent!.length, 'ethernet');
    assert.match(line, /^vlan 5, p 3, .*10\.0\.0\.1/);
    const request = (tci: number): Uint8Array => {
      const bytes = sent!.slice();
      octetsOf(bytes).dv.setUint16(14, tci);
      return bytes;
    };
    for (const tci of [6, 0, 4095]) {
      device.deliver(request(tci));
      stack.poll(2);
    }
    assert.equal(trunk.unknown, 3);
    device.deliver(sent!.subarray(0, 16)); // ends in its tag
    stack.poll(3);
    assert.equal(trunk.unknown, 4);
    stack.close();
    assert.equal(stack.memory.usedBytes, 0);
  });

  test('wrong arguments are told', () => {
    const [ethernet] = pipePair({ medium: 'ethernet' });
    const [raw] = pipePair({ medium: 'ip' });
    assert.throws(() => new VlanTrunk(raw), { name: 'TypeError', message: /expected an Ethernet one, got medium ip/ });
    const trunk = new VlanTrunk(ethernet);
    for (const id of [0, 4095, 1.5, -1]) assert.throws(() => trunk.lan(id), RangeError);
    assert.throws(() => trunk.lan(1, { priority: 8 }), RangeError);
    trunk.lan(1);
    assert.throws(() => trunk.lan(1), { name: 'TypeError', message: 'id: expected one without a device, got 1' });
  });
});
