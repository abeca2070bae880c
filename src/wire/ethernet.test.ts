import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hex, patched, toHex } from '../../test/hex.ts';
import { ARP_REPLY, ARP_REQUEST } from '../../test/packets.ts';
import { BROADCAST_MAC, IpAddress, MacAddress } from './address.ts';
import * as arp from './arp.ts';
import * as ethernet from './ethernet.ts';
import { octetsOf } from './octets.ts';

const FIRST = MacAddress.parse('02:00:00:00:00:01');
const SECOND = MacAddress.parse('02:00:00:00:00:02');
const BODY = ethernet.HEADER_LENGTH;

describe('ethernet', () => {
  it('check: a header alone is good, every shorter length is truncated', () => {
    const { dv } = octetsOf(ARP_REQUEST);
    assert.equal(ethernet.check(dv, 0, 14), null);
    for (let end = 0; end < 14; end++) assert.equal(ethernet.check(dv, 0, end), 'ethernet-truncated', `${end} bytes`);
  });
  it('accessors', () => {
    const { dv } = octetsOf(ARP_REPLY);
    assert.ok(new MacAddress(ethernet.destinationHigh(dv, 0), ethernet.destinationLow(dv, 0)).equals(FIRST));
    assert.ok(new MacAddress(ethernet.sourceHigh(dv, 0), ethernet.sourceLow(dv, 0)).equals(SECOND));
    assert.equal(ethernet.etherType(dv, 0), ethernet.ETHERTYPE_ARP);
    assert.equal(ethernet.isGroup(dv, 0), false);
    assert.equal(ethernet.isGroup(octetsOf(ARP_REQUEST).dv, 0), true);
  });
  it('emit', () => {
    const { u8, dv } = octetsOf(new Uint8Array(16));
    ethernet.emit(dv, 1, BROADCAST_MAC, FIRST, ethernet.ETHERTYPE_ARP);
    assert.equal(toHex(u8), `00${toHex(ARP_REQUEST.slice(0, 14))}00`);
  });
  it('format', () => {
    const { dv } = octetsOf(hex('333300000001 020000000001 86dd'));
    assert.equal(ethernet.format(dv, 0), '02:00:00:00:00:01 > 33:33:00:00:00:01, ethertype 0x86dd');
  });
});

describe('arp', () => {
  const rows: { name: string; bytes: Uint8Array; want: arp.Drop | null }[] = [
    { name: 'request', bytes: ARP_REQUEST, want: null },
    { name: 'reply', bytes: ARP_REPLY, want: null },
    { name: 'padded to the least frame', bytes: hex(toHex(ARP_REPLY) + '00'.repeat(18)), want: null },
    { name: 'a byte short', bytes: ARP_REPLY.slice(0, -1), want: 'arp-truncated' },
    { name: 'empty', bytes: ARP_REPLY.slice(0, BODY), want: 'arp-truncated' },
    { name: 'hardware of IEEE 802', bytes: patched(ARP_REPLY, BODY, '0006'), want: 'arp-bad-type' },
    { name: 'protocol IPv6', bytes: patched(ARP_REPLY, BODY + 2, '86dd'), want: 'arp-bad-type' },
    { name: 'hardware length 8', bytes: patched(ARP_REPLY, BODY + 4, '08'), want: 'arp-bad-type' },
    { name: 'protocol length 16', bytes: patched(ARP_REPLY, BODY + 5, '10'), want: 'arp-bad-type' },
  ];
  for (const { name, bytes, want } of rows) {
    it(`check: ${name}`, () => assert.equal(arp.check(octetsOf(bytes).dv, BODY, bytes.length), want));
  }
  it('accessors', () => {
    const { dv } = octetsOf(ARP_REPLY);
    assert.equal(arp.operation(dv, BODY), arp.REPLY);
    assert.ok(new MacAddress(arp.senderMacHigh(dv, BODY), arp.senderMacLow(dv, BODY)).equals(SECOND));
    assert.equal(arp.senderIp(dv, BODY), 0x0a000002);
    assert.equal(arp.targetIp(dv, BODY), 0x0a000001);
  });
  const emitted = [
    { name: 'request', op: arp.REQUEST, from: FIRST, ip: '10.0.0.1', to: new MacAddress(0, 0), target: '10.0.0.2' },
    { name: 'reply', op: arp.REPLY, from: SECOND, ip: '10.0.0.2', to: FIRST, target: '10.0.0.1' },
  ];
  for (const { name, op, from, ip, to, target } of emitted) {
    it(`emit: ${name}`, () => {
      const { u8, dv } = octetsOf(new Uint8Array(arp.PACKET_LENGTH));
      arp.emit(dv, 0, op, from, IpAddress.parse(ip), to, IpAddress.parse(target));
      assert.equal(toHex(u8), toHex((op === arp.REQUEST ? ARP_REQUEST : ARP_REPLY).slice(BODY)));
    });
  }
  const lines: { bytes: Uint8Array; want: string }[] = [
    { bytes: ARP_REQUEST, want: 'ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28' },
    { bytes: ARP_REPLY, want: 'ARP, Reply 10.0.0.2 is-at 02:00:00:00:00:02, length 28' },
    { bytes: patched(ARP_REPLY, BODY + 6, '0009'), want: 'ARP, operation 9, length 28' },
  ];
  for (const { bytes, want } of lines) {
    it(`format: ${want}`, () => assert.equal(arp.format(octetsOf(bytes).dv, BODY, bytes.length), want));
  }
});
