import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PORT, REMOTE, TestPeer } from '../../test/peer.ts';

/** A client that asked for AccECN, with text that waits for the handshake. */
function asking(text: string): TestPeer {
  const peer = new TestPeer({ tcp: { ecn: 'accurate', ecnOption: false } });
  peer.peerPort = PORT;
  peer.socket = peer.stack.tcpSocket();
  peer.socket.connect({ address: REMOTE, port: PORT });
  peer.port = peer.socket.local!.port;
  if (text !== '') peer.socket.send(new TextEncoder().encode(text));
  peer.poll();
  peer.expect('SEWe 0');
  return peer;
}

test('AccECN: RFC 9768 §3.2.2.1: an ACK alone tells how the SYN-ACK arrived, before text that waits', () => {
  const peer = asking('text');
  peer.send('SW.', { seq: 0, ack: 1, mss: 1460 });
  peer.expect('.W 1 ack 1', 'P.Ee 1:5 ack 1');
  peer.send('.', { seq: 1, ack: 5 });
  peer.socket.abort();
  peer.poll();
  peer.end();
});

test('AccECN: it tells in the text where the device has no room for more', () => {
  const peer = asking('');
  peer.device.roomFrames = 0;
  peer.send('SW.', { seq: 0, ack: 1, mss: 1460 });
  peer.write('text');
  peer.expect();
  peer.device.roomFrames = 1000;
  peer.poll();
  peer.expect('P.Ee 1:5 ack 1');
  assert.equal(peer.connection?.ecn?.acksHandshake, false, 'what comes later has the counter');
  peer.socket.abort();
  peer.poll();
  peer.end();
});
