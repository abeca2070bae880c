/** A connection over IPv6, played by hand as far as a test of ICMPv6 needs it. @module */
import assert from 'node:assert/strict';
import { Cidr, IpAddress } from '../src/wire/address.ts';
import { PROTOCOL_TCP, pseudoHeaderSum } from '../src/wire/ip.ts';
import * as ipv6 from '../src/wire/ipv6.ts';
import { octetsOf } from '../src/wire/octets.ts';
import * as tcp from '../src/wire/tcp.ts';
import { type PeerOptions, PORT, TestPeer } from './peer.ts';

const LOCAL_V6 = IpAddress.parse('fd00::1');
const REMOTE_V6 = IpAddress.parse('fd00::2');
const START = ipv6.HEADER_LENGTH;
const PEER_ISS = 7000;

/** The stack has sent its SYN over IPv6; the packet is returned. */
export function synSent6(options: PeerOptions = {}): { peer: TestPeer; syn: Uint8Array } {
  const peer = new TestPeer(options);
  peer.stack.addAddress(peer.stack.interfaces[1]!, Cidr.parse('fd00::1/64'));
  peer.socket = peer.stack.tcpSocket();
  peer.socket.connect({ address: REMOTE_V6, port: PORT });
  peer.poll();
  return { peer, syn: lastSent(peer) };
}

/** What the stack sent last; all of it is forgotten. */
export function lastSent(peer: TestPeer): Uint8Array {
  const last = peer.device.sent.splice(0).at(-1);
  assert.ok(last !== undefined, 'nothing was sent');
  return last;
}

/** TCP payload lengths of what the stack has sent; all of it is forgotten. */
export const lengths6 = (peer: TestPeer): number[] =>
  peer.device.sent.splice(0).map((bytes) => bytes.length - START - tcp.headerLength(octetsOf(bytes).dv, START));

/** A connection over IPv6: the SYN is answered with an MSS of 1440. */
export function established6(options: PeerOptions = {}): TestPeer {
  const { peer, syn } = synSent6(options);
  const { dv: sent } = octetsOf(syn);
  const bytes = new Uint8Array(START + 24);
  const o = octetsOf(bytes);
  const header = 20 + tcp.emitSynOptions(o.dv, START + 20, 1440, -1, false, false, 0, 0);
  const ports = tcp.ports(sent, START);
  const both = (ports << 16) | (ports >>> 16);
  tcp.emit(o.dv, START, both, PEER_ISS, tcp.sequence(sent, START) + 1, header, tcp.SYN | tcp.ACK, 0xffff);
  tcp.complete(o, START, START + header, pseudoHeaderSum(REMOTE_V6, LOCAL_V6, PROTOCOL_TCP));
  ipv6.emit(o.dv, 0, header, 0, 64, PROTOCOL_TCP, REMOTE_V6, LOCAL_V6);
  peer.device.deliver(bytes);
  peer.poll();
  assert.equal(peer.state, 'ESTABLISHED');
  peer.device.sent.length = 0;
  return peer;
}
