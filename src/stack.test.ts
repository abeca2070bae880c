import assert from 'node:assert/strict';
import { test } from 'node:test';
import { established, listening, PeerDevice, TestPeer } from '../test/peer.ts';
import { FaultInjector } from './phy/fault-injector.ts';
import { pipePair } from './phy/pipe.ts';
import { Random } from './phy/random.ts';
import { Stack } from './stack.ts';
import type { TcpSocket } from './tcp/socket.ts';
import { Cidr, IpAddress } from './wire/address.ts';

const SERVER = IpAddress.parse('10.0.0.1');

/** Two stacks on a wire that share its memory. */
function pair(tcp = {}) {
  const [left, right] = pipePair();
  const random = new Random(1);
  const make = (): Stack => new Stack({ memory: left.memory, random: () => random.next(), tcp });
  const [server, client] = [make(), make()];
  server.addInterface(left, { addresses: [Cidr.parse('10.0.0.1/24')] });
  client.addInterface(right, { addresses: [Cidr.parse('10.0.0.2/24')] });
  const listener = server.tcpSocket();
  listener.listen({ port: 80 });
  let now = 1;
  const settle = (): void => {
    for (let i = 0; i < 20; i++) {
      server.poll(now);
      client.poll(now);
    }
    now++;
  };
  const connect = (): [TcpSocket, TcpSocket] => {
    const socket = client.tcpSocket();
    socket.connect({ address: SERVER, port: 80 });
    settle();
    return [socket, listener.accept()!];
  };
  return { server, client, listener, memory: left.memory, settle, connect };
}

test('stack: an early or repeated poll does nothing', () => {
  const peer = established();
  peer.write('x');
  peer.take();
  const at = peer.stack.pollAt();
  for (let i = 0; i < 5; i++) assert.equal(peer.stack.poll(peer.now), false);
  peer.stack.poll(at - 1);
  peer.expect();
  peer.stack.poll(0);
  peer.expect();
  peer.stack.poll(at);
  peer.expect('P. 1:2 ack 1');
  peer.end();
});

test('stack: idle, it wants no poll at all', () => {
  const peer = listening();
  assert.equal(peer.stack.pollAt(), Number.POSITIVE_INFINITY);
  const connection = established();
  connection.pass(2000); // a deadline that was moved or cleared fires early once, and does nothing
  connection.expect();
  assert.equal(connection.stack.pollAt(), Number.POSITIVE_INFINITY);
  connection.end();
  peer.end();
});

test('stack: a device with a deadline between two milliseconds is served at it, once', () => {
  const device = new PeerDevice('ip');
  const faults = new FaultInjector(device, { tx: { delayMs: 2.5 } });
  const stack = new Stack({ random: () => 1, memory: 1 << 20 });
  stack.addInterface(faults, { addresses: [Cidr.parse('10.0.0.1/24')] });
  stack.poll(10);
  stack.udpSocket().send(new Uint8Array(1), { address: IpAddress.parse('10.0.0.2'), port: 9 });
  assert.equal(stack.pollAt(), 12.5);
  stack.poll(12.4);
  assert.equal(device.sent.length, 0);
  stack.poll(12.5);
  assert.equal(device.sent.length, 1);
  assert.equal(stack.pollAt(), Number.POSITIVE_INFINITY);
  stack.close();
});

test('stack: a device that has something wakes who drives the stack, but not from inside a poll', () => {
  const { server, client, connect, settle } = pair();
  connect();
  settle();
  let woken = 0;
  server.onWake = () => woken++;
  client.onWake = () => assert.fail('its own poll');
  client.udpSocket().send(new Uint8Array(1), { address: SERVER, port: 9 });
  assert.equal(woken, 1);
  server.onWake = client.onWake = null;
  server.close();
  client.close();
});

test('stack: sockets that changed are told once, and again after the next change', () => {
  const peer = established();
  while (peer.stack.nextChanged() !== null);
  peer.socket.takeEvents();
  peer.send('.', { seq: 1, ack: 1, data: 1 });
  peer.send('.', { seq: 2, ack: 1, data: 1 });
  assert.equal(peer.stack.nextChanged(), peer.socket);
  assert.equal(peer.stack.nextChanged(), null);
  assert.equal(peer.socket.takeEvents(), 1);
  assert.equal(peer.socket.takeEvents(), 0);
  peer.send('.', { seq: 3, ack: 1, data: 1 });
  assert.equal(peer.stack.nextChanged(), peer.socket);
  peer.end();
});

test('stack: connections with much to send take turns', () => {
  const { server, client, connect, settle } = pair({ sendBufferBytes: 1 << 20, receiveBufferBytes: 1 << 20 });
  const pairs = Array.from({ length: 8 }, connect);
  const chunk = new Uint8Array(1 << 18);
  const got = pairs.map(() => 0);
  for (let round = 0; round < 30; round++) {
    for (const [socket] of pairs) socket.send(chunk);
    settle();
    pairs.forEach(([, peer], i) => {
      for (let n = peer.recv(chunk); n > 0; n = peer.recv(chunk)) got[i] = got[i]! + n;
    });
  }
  const [least, most] = [Math.min(...got), Math.max(...got)];
  assert.ok(least > 1 << 20 && most < 2 * least, `${got}`);
  server.close();
  client.close();
});

test('stack: close gives all memory back, whatever state everything is in', () => {
  const { server, client, listener, memory, settle, connect } = pair();
  const [a, b] = connect();
  a.send(new Uint8Array(100_000));
  settle();
  const [c, d] = connect();
  c.send(new Uint8Array(5000));
  settle();
  c.abort(); // d has bytes unread, and was reset
  settle();
  assert.equal(d.error, 'ECONNRESET');
  const [e, f] = connect();
  e.send(new Uint8Array(5000));
  e.close();
  f.close();
  settle(); // f is in TIME-WAIT or CLOSED with bytes unread
  const pending = client.tcpSocket();
  pending.connect({ address: SERVER, port: 80 });
  pending.send(new Uint8Array(1000));
  settle();
  server.udpSocket().bind({ port: 53 });
  const udp = client.udpSocket();
  udp.send(new Uint8Array(100), { address: SERVER, port: 53 });
  settle();
  void [b, listener, f];
  assert.ok(memory.usedBytes > 0);
  server.close();
  client.close();
  assert.equal(memory.usedBytes, 0);
});

test('stack: what is unread when a connection ends can still be read, and holds no memory afterwards', () => {
  const { server, client, memory, settle, connect } = pair();
  const [a, b] = connect();
  a.send(new Uint8Array(5000).fill(7));
  settle();
  a.abort();
  settle();
  const target = new Uint8Array(10_000);
  assert.equal(b.recv(target), 5000);
  assert.throws(() => b.recv(target), { code: 'ECONNRESET' });
  assert.equal(memory.usedBytes, 0);
  server.close();
  client.close();
});

test('stack: 10,000 idle connections hold no memory of the stack', () => {
  const { server, client, listener, memory, settle } = pair();
  const sockets: TcpSocket[] = [];
  for (let i = 0; i < 10_000; i++) {
    const socket = client.tcpSocket();
    socket.connect({ address: SERVER, port: 80 }, { port: 1024 + i });
    sockets.push(socket);
    if (i % 50 !== 49) continue;
    settle();
    while (listener.accept() !== null);
    while (server.nextChanged() !== null);
    while (client.nextChanged() !== null);
  }
  assert.equal(server.tcp.connections.count, 10_000);
  assert.equal(memory.usedBytes, 0);
  assert.ok(sockets.every((socket) => socket.state() === 'ESTABLISHED'));
  server.close();
  client.close();
  assert.equal(memory.usedBytes, 0);
});

test('stack: addresses have a limit, memory and numbers are checked', () => {
  const peer = new TestPeer();
  const [, iface] = peer.stack.interfaces;
  assert.throws(() => {
    for (let i = 0; i < 256; i++) peer.stack.addAddress(iface!, Cidr.parse(`10.5.${i}.1/32`));
  }, /addresses: expected at most 256/);
  peer.end();
  assert.throws(() => new Stack({ random: () => 1, memory: 1000 }), RangeError);
  assert.throws(() => new Stack({ random: () => 1, tcp: { rtoMinMs: -1 } }), RangeError);
});
