import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LOCAL, listening, PEER_PORT, PORT, REMOTE, TestPeer } from '../../test/peer.ts';
import * as icmpv4 from '../wire/icmpv4.ts';
import * as ipv4 from '../wire/ipv4.ts';
import { octetsOf } from '../wire/octets.ts';
import type { TcpSettings } from './settings.ts';
import type { OnSyn, SynRequest } from './syn-request.ts';

interface Holding {
  readonly peer: TestPeer;
  /** What the listener was asked. */
  readonly requests: SynRequest[];
}

/** A stack that listens and lets `decide` decide. */
function holding(decide: OnSyn = () => {}, tcp: Partial<TcpSettings> = {}): Holding {
  const peer = new TestPeer({ tcp });
  const requests: SynRequest[] = [];
  peer.socket = peer.stack.tcpSocket();
  const onSyn = (request: SynRequest): void => {
    requests.push(request);
    decide(request);
  };
  peer.socket.listen({ port: PORT, onSyn });
  return { peer, requests };
}

const SYN = { seq: 0, mss: 1400, windowScale: 3, sackPermitted: true, timestamps: { val: 9, ecr: 0 } };

test('onSyn: told source, destination, ports and options; nothing is sent until it is accepted', () => {
  const { peer, requests } = holding();
  peer.send('S', SYN);
  peer.expect();
  const [request] = requests;
  assert.deepEqual(
    [request!.remote.address.toString(), request!.remote.port, request!.local.address.toString(), request!.local.port],
    [REMOTE.toString(), PEER_PORT, LOCAL.toString(), PORT],
  );
  assert.deepEqual(
    [request!.mss, request!.windowScale, request!.sackPermitted, request!.timestamps],
    [1400, 3, true, true],
  );
  peer.pass(20_000);
  peer.expect();
  assert.equal(request!.accept(), true);
  peer.poll();
  const [synAck] = peer.take();
  assert.deepEqual([synAck!.flags, synAck!.windowScale >= 0, synAck!.sackPermitted], ['S.', true, true]);
  peer.send('.', { seq: 1, ack: 1, timestamps: { val: 10, ecr: synAck!.timestamps!.val } });
  assert.equal(peer.state, 'ESTABLISHED');
  assert.equal(peer.socket.accept()!.remote!.port, PEER_PORT);
  assert.equal(request!.accept(), false, 'decided already');
  assert.equal(request!.reject(), false);
  peer.end();
});

test('onSyn: it may decide at once', () => {
  const accepting = holding((request) => request.accept());
  accepting.peer.send('S', SYN);
  accepting.peer.expect('S. 0 ack 1');
  accepting.peer.end();
  const rejecting = holding((request) => request.reject());
  rejecting.peer.send('S', SYN);
  rejecting.peer.expect(`R. ${(0 - rejecting.peer.stackIss) | 0} ack 1`);
  rejecting.peer.send('S', SYN);
  assert.equal(rejecting.requests.length, 2, 'no place was lost');
  rejecting.peer.end();
});

test('onSyn: RFC 9293 §3.10.7.1: a rejected SYN is answered as for a port where nobody listens', () => {
  const { peer, requests } = holding();
  peer.send('S', { seq: 0 });
  assert.equal(requests[0]!.reject(), true);
  const [reset] = peer.take();
  assert.deepEqual([reset!.flags, reset!.rawSeq, reset!.ack], ['R.', 0, 1]);
  assert.equal(peer.stack.tcp.connections.count, 0);
  assert.equal(peer.stack.stats.tcpSynsRejected, 1);
  peer.end();
});

test('onSyn: unreachable: an ICMP error that quotes the SYN', () => {
  const { peer, requests } = holding();
  const syn = peer.segment('S', SYN);
  peer.device.deliver(syn);
  peer.poll();
  requests[0]!.reject('unreachable');
  const [error] = peer.device.sent.splice(0);
  const o = octetsOf(error!);
  assert.equal(ipv4.protocol(o.dv, 0), 1);
  assert.equal(icmpv4.check(o, 20, error!.length), null);
  assert.deepEqual([icmpv4.type(o.dv, 20), icmpv4.code(o.dv, 20)], [icmpv4.UNREACHABLE, icmpv4.CODE_HOST]);
  assert.deepEqual(error!.slice(28), syn);
  peer.end();
});

test('onSyn: SYNs that come again are absorbed, whatever else comes too', () => {
  const { peer, requests } = holding();
  peer.send('S', SYN);
  for (let i = 0; i < 5; i++) {
    peer.pass(1000);
    peer.send('S', SYN);
  }
  peer.expect();
  assert.equal(requests.length, 1);
  // Before the window and beyond it: an answer would be the SYN-ACK itself.
  peer.send('.', { seq: -5, ack: 1, timestamps: { val: 10, ecr: 0 } });
  peer.send('P.', { seq: 1 << 20, ack: 1, data: 'x', timestamps: { val: 10, ecr: 0 } });
  assert.ok(peer.take().every((s) => !s.flags.includes('S')));
  assert.equal(requests[0]!.isPending, true);
  requests[0]!.accept();
  peer.poll();
  assert.deepEqual(
    peer.take().map((s) => s.flags),
    ['S.'],
  );
  peer.end();
});

test('onSyn: the client gives up with a RST: it is too late to decide', () => {
  const { peer, requests } = holding();
  peer.send('S', { seq: 0 });
  peer.send('R', { seq: 1 });
  assert.equal(requests[0]!.isPending, false);
  assert.equal(requests[0]!.accept(), false);
  peer.poll();
  peer.expect();
  assert.equal(peer.stack.tcp.connections.count, 0);
  peer.end();
});

test('onSyn: a SYN that nobody decides on is rejected after the deadline', () => {
  const { peer, requests } = holding(() => {}, { synDeadlineMs: 5000 });
  peer.send('S', { seq: 0 });
  peer.pass(4999);
  peer.expect();
  peer.pass(1);
  assert.deepEqual(
    peer.take().map((s) => s.flags),
    ['R.'],
  );
  assert.equal(requests[0]!.accept(), false);
  peer.end();
});

test('onSyn: what the handler throws rejects the SYN, and no place is lost', () => {
  const { peer } = holding(() => {
    throw new Error('no');
  });
  for (let i = 0; i < 2000; i++) {
    peer.send('S', { seq: 0, peerPort: 2000 + i });
    assert.deepEqual(
      peer.take().map((s) => s.flags),
      ['R.'],
    );
  }
  assert.equal(peer.stack.tcp.connections.count, 0);
  peer.end();
});

test('onSyn: those held are bounded; beyond, SYNs are dropped, not answered with cookies', () => {
  const { peer, requests } = holding(() => {}, { synCookies: 'always' });
  for (let i = 0; i < 2000; i++) peer.send('S', { seq: 0, peerPort: 2000 + i });
  assert.equal(requests.length, 511);
  assert.equal(peer.stack.stats.drops['tcp-syn-queue-full'], 2000 - 511);
  peer.expect();
  requests[0]!.reject();
  peer.take();
  peer.send('S', { seq: 0, peerPort: 5000 });
  assert.equal(requests.length, 512);
  peer.end();
});

test('onSyn: closing the listener rejects what is held', () => {
  const { peer, requests } = holding();
  peer.send('S', { seq: 0 });
  peer.socket.close();
  peer.poll();
  assert.deepEqual(
    peer.take().map((s) => s.flags),
    ['R.'],
  );
  assert.equal(requests[0]!.isPending, false);
  peer.end();
});

test('onSyn: a listener without it answers at once', () => {
  const peer = listening();
  peer.send('S', SYN);
  peer.expect('S. 0 ack 1');
  peer.end();
});
