import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arpFrame, arpRequest, EtherPeer } from '../../test/ether.ts';
import { LOCAL_MAC } from '../../test/peer.ts';
import type { UdpSocket } from '../udp/socket.ts';
import { IpAddress, MacAddress } from '../wire/address.ts';
import { DELAY, INCOMPLETE, PROBE, REACHABLE, STALE } from './neighbours.ts';

const REMOTE = IpAddress.parse('10.0.0.2');
const WHO_HAS = 'ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28';
const datagram = (length: number, to = '10.0.0.2'): string => `IP 10.0.0.1.4000 > ${to}.53: UDP, length ${length}`;

function rig() {
  const peer = new EtherPeer();
  const socket = peer.stack.udpSocket();
  socket.bind({ port: 4000 });
  const send = (length: number, to = '10.0.0.2') =>
    socket.send(new Uint8Array(length), { address: IpAddress.parse(to), port: 53 });
  const state = () => peer.iface.neighbours.find(REMOTE)?.state ?? null;
  return { peer, socket, send, state };
}

/** A neighbour that has answered. */
function reachable() {
  const r = rig();
  r.send(1);
  r.peer.send(arpFrame());
  r.peer.lines();
  assert.equal(r.state(), REACHABLE);
  return r;
}

test('arp: packets wait for the answer, in order, and one request is sent for all', () => {
  const { peer, send, state } = rig();
  for (const length of [1, 2, 3]) send(length);
  assert.deepEqual(peer.lines(), [WHO_HAS]);
  assert.equal(state(), INCOMPLETE);
  peer.send(arpFrame());
  assert.deepEqual(peer.lines(), [datagram(1), datagram(2), datagram(3)]);
  assert.equal(state(), REACHABLE);
  send(4);
  assert.deepEqual(peer.lines(), [datagram(4)]);
  peer.stack.close();
  assert.equal(peer.stack.memory.usedBytes, 0);
});

test('arp: RFC 1122 §2.3.2.2: the queue of a neighbour is bounded, and the latest packets stay', () => {
  const { peer, send } = rig();
  for (let length = 1; length <= 40; length++) send(length);
  assert.equal(peer.stack.stats.drops['neighbour-queue-full'], 8);
  peer.lines();
  peer.send(arpFrame());
  assert.deepEqual(
    peer.lines(),
    Array.from({ length: 32 }, (_, i) => datagram(9 + i)),
  );
  peer.stack.close();
  assert.equal(peer.stack.memory.usedBytes, 0);
});

test('arp: a dead neighbour does not hold up a live one', () => {
  const { peer, send } = rig();
  send(1, '10.0.0.9');
  send(2);
  peer.lines();
  peer.send(arpFrame());
  assert.deepEqual(peer.lines(), [datagram(2)]);
  peer.stack.close();
});

test('arp: asked three times, a second apart; then what waited is unreachable', () => {
  const { peer, send } = rig();
  send(1);
  const times: number[] = [];
  const from = peer.now;
  for (let i = 0; i < 10 && peer.stack.pollAt() !== Number.POSITIVE_INFINITY; i++) {
    for (const line of peer.lines()) if (line === WHO_HAS) times.push(peer.now - from);
    peer.now = peer.stack.pollAt();
    peer.poll();
  }
  assert.deepEqual(times, [0, 1000, 2000]);
  assert.equal(peer.now - from, 3000);
  assert.equal(peer.stack.stats.drops['neighbour-unreachable'], 1);
  assert.equal(peer.stack.memory.usedBytes, 0);
});

test('arp: EHOSTUNREACH for who is connecting, and for a connected UDP socket', () => {
  const peer = new EtherPeer();
  const tcp = peer.stack.tcpSocket();
  tcp.connect({ address: REMOTE, port: 80 });
  const udp: UdpSocket = peer.stack.udpSocket();
  udp.connect({ address: REMOTE, port: 53 });
  udp.send(new Uint8Array(1));
  peer.pass(3500);
  assert.equal(tcp.error, 'EHOSTUNREACH');
  assert.throws(() => udp.send(new Uint8Array(1)), { code: 'EHOSTUNREACH', address: '10.0.0.2', port: 53 });
  peer.stack.close();
  assert.equal(peer.stack.memory.usedBytes, 0);
});

test('arp: RFC 4861 §7.3: REACHABLE, STALE, DELAY, PROBE with a request to itself, and gone', () => {
  const { peer, send, state } = reachable();
  peer.pass(29_999);
  assert.equal(state(), REACHABLE);
  peer.pass(2);
  assert.equal(state(), STALE);
  send(5);
  assert.deepEqual(peer.lines(), [datagram(5)], 'a stale address is used as it is');
  assert.equal(state(), DELAY);
  peer.pass(4999);
  assert.deepEqual(peer.lines(), []);
  peer.pass(1);
  assert.equal(state(), PROBE);
  const [probe] = peer.device.sent;
  assert.deepEqual(probe!.subarray(0, 6), Uint8Array.of(2, 0, 0, 0, 0, 2), 'asked directly');
  assert.deepEqual(peer.lines(), [WHO_HAS]);
  peer.pass(3000);
  assert.deepEqual(peer.lines(), [WHO_HAS, WHO_HAS]);
  assert.equal(state(), null);
  peer.stack.close();
});

test('arp: an answer to the probe makes it reachable again', () => {
  const { peer, send, state } = reachable();
  peer.pass(30_001);
  send(5);
  peer.pass(5000);
  assert.equal(state(), PROBE);
  peer.send(arpFrame());
  assert.equal(state(), REACHABLE);
  peer.stack.close();
});

test('arp: RFC 826: a request for us is answered, and who asks is remembered', () => {
  const { peer, state } = rig();
  peer.send(arpRequest());
  assert.deepEqual(peer.lines(), ['ARP, Reply 10.0.0.1 is-at 02:00:00:00:00:01, length 28']);
  assert.notEqual(state(), null);
  peer.send(arpRequest({ target: '10.0.0.77' }));
  assert.deepEqual(peer.lines(), [], 'for somebody else');
  peer.send(arpRequest({ sender: '10.0.0.5', target: '10.0.0.77' }));
  assert.equal(peer.iface.neighbours.find(IpAddress.parse('10.0.0.5')), null, 'who does not ask us is not remembered');
  peer.stack.close();
});

test('arp: RFC 826, "Merge_flag": a known neighbour that moves is followed', () => {
  const { peer, send } = reachable();
  const moved = MacAddress.parse('02:00:00:00:00:99');
  peer.send(arpRequest({ target: '10.0.0.77', senderMac: moved }));
  send(1);
  assert.deepEqual(peer.device.sent[0]!.subarray(0, 6), Uint8Array.of(2, 0, 0, 0, 0, 0x99));
  peer.stack.close();
});

test('arp: RFC 5227 §2.4: who uses our address, and who has a group address, teach us nothing', () => {
  const { peer } = rig();
  peer.send(arpRequest({ sender: '10.0.0.1' }));
  assert.equal(peer.stack.stats.drops['arp-conflict'], 1);
  assert.equal(peer.iface.neighbours.count, 0);
  peer.send(arpRequest({ sender: '10.0.0.1', senderMac: LOCAL_MAC }));
  assert.equal(peer.stack.stats.drops['arp-conflict'], 1, 'our own frame came back');
  peer.lines();
  peer.send(arpRequest({ sender: '10.0.0.7', senderMac: MacAddress.parse('01:00:5e:00:00:01') }));
  assert.equal(peer.iface.neighbours.find(IpAddress.parse('10.0.0.7')), null);
  peer.stack.close();
});

test('arp: RFC 5227: a probe (sender 0.0.0.0) for our address is answered, and remembers nobody', () => {
  const { peer } = rig();
  peer.send(arpRequest({ sender: '0.0.0.0' }));
  assert.deepEqual(peer.lines(), ['ARP, Reply 10.0.0.1 is-at 02:00:00:00:00:01, length 28']);
  assert.equal(peer.iface.neighbours.count, 0);
  peer.stack.close();
});

test('arp: the cache is bounded: the one unused for longest is forgotten', () => {
  const peer = new EtherPeer();
  for (let i = 0; i < 20_000; i++) {
    peer.now++;
    peer.iface.neighbours.get(IpAddress.v4(0x0a010000 + i));
  }
  assert.equal(peer.iface.neighbours.count, 16_384);
  assert.equal(peer.iface.neighbours.find(IpAddress.v4(0x0a010000)), null);
  assert.notEqual(peer.iface.neighbours.find(IpAddress.v4(0x0a010000 + 19_999)), null);
  peer.stack.close();
});

test('arp: packets that wait for many neighbours hold a part of the memory only', () => {
  const { peer, send } = rig();
  for (let i = 2; i < 250; i++) for (let n = 0; n < 32; n++) send(1, `10.0.0.${i}`);
  const { memory } = peer.stack;
  assert.ok(memory.usedBytes < memory.bytes >> 2, `${memory.usedBytes} of ${memory.bytes}`);
  peer.pass(5000);
  assert.equal(memory.usedBytes, 0);
  peer.stack.close();
});

test('arp: a broadcast needs no neighbour', () => {
  const { peer, send } = rig();
  send(1, '10.0.0.255');
  assert.deepEqual(peer.device.sent[0]!.subarray(0, 6), new Uint8Array(6).fill(0xff));
  assert.deepEqual(peer.lines(), [datagram(1, '10.0.0.255')]);
  peer.stack.close();
});
