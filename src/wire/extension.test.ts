import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hex, patched, toHex } from '../../test/hex.ts';
import { PING, PING_OPTIONS } from '../../test/packets.ts';
import * as packets from '../../test/packets-control.ts';
import { randomOf } from '../../test/random.ts';
import * as ethernet from './ethernet.ts';
import * as fragment from './fragment.ts';
import * as ipv4Options from './ipv4-options.ts';
import * as ipv6 from './ipv6.ts';
import * as extension from './ipv6-extension.ts';
import { octetsOf } from './octets.ts';
import * as vlan from './vlan.ts';

describe('ipv6-extension: walk', () => {
  const AT = ipv6.HEADER_LENGTH;
  const walk = (packet: Uint8Array, chain = new extension.Chain()): [extension.Drop | null, extension.Chain] => {
    const { dv } = octetsOf(packet);
    return [extension.walk(dv, packet[6]!, 6, AT, packet.length, chain), chain];
  };
  /** A packet whose first next header is `next` and whose payload is `text`. */
  const made = (next: number, text: string): Uint8Array => {
    const body = hex(text);
    const packet = new Uint8Array(AT + body.length);
    packet.set(hex('60000000'));
    octetsOf(packet).dv.setUint16(4, body.length);
    packet[6] = next;
    packet.set(body, AT);
    return packet;
  };

  it('no extension header', () => {
    const [drop, chain] = walk(made(17, '0102030405060708'));
    assert.equal(drop, null);
    assert.deepEqual([chain.protocol, chain.offset, chain.nextHeaderAt, chain.fragment], [17, AT, 6, -1]);
  });
  it('all of them, up to the datagram', () => {
    const [drop, chain] = walk(packets.CHAIN6);
    assert.equal(drop, null);
    assert.equal(chain.protocol, 17);
    assert.equal(chain.offset, packets.CHAIN6.length - 13);
    assert.equal(chain.fragment, chain.offset - 8);
    assert.equal(chain.nextHeaderAt, chain.fragment);
    assert.ok(extension.isAtomic(octetsOf(packets.CHAIN6).dv, chain.fragment));
  });
  it('a fragment ends the walk', () => {
    const [drop, chain] = walk(packets.FRAGMENT6);
    const { dv } = octetsOf(packets.FRAGMENT6);
    assert.equal(drop, null);
    assert.deepEqual([chain.protocol, chain.offset, chain.nextHeaderAt], [extension.FRAGMENT, AT, 6]);
    assert.equal(fragment.offset(dv, AT), 1232);
    assert.equal(fragment.moreFragments(dv, AT), true);
    assert.equal(fragment.identification(dv, AT) >>> 0, 0xdeadbeef);
    assert.equal(extension.nextHeader(dv, AT), 17);
    const out = octetsOf(new Uint8Array(8).fill(0xee));
    fragment.emit(out.dv, 0, 17, 1232, true, 0xdeadbeef | 0);
    assert.equal(toHex(out.u8), toHex(packets.FRAGMENT6.slice(AT, AT + 8)));
  });
  it('router alert', () => {
    const [drop, chain] = walk(packets.MLD_REPORT_V2);
    assert.equal(drop, null);
    assert.equal(chain.routerAlert, extension.ALERT_MLD);
    const out = octetsOf(new Uint8Array(8).fill(0xee));
    extension.emitRouterAlert(out.dv, 0, 58, extension.ALERT_MLD);
    assert.equal(toHex(out.u8), toHex(packets.MLD_REPORT_V2.slice(AT, AT + 8)));
  });

  const hop = 0;
  const dest = 60;
  type Row = [name: string, packet: Uint8Array, drop: extension.Drop | null, problem: number, pointer: number];
  const rows: Row[] = [
    ['no next header', made(59, '00'), null, -1, 0],
    ['cut in the first 8 bytes', made(dest, '11000104'), 'ip-extension-truncated', -1, 0],
    ['longer than the packet', made(dest, '1101010400000000'), 'ip-extension-truncated', -1, 0],
    ['hop-by-hop in second place', made(dest, '0000010400000000 1100010400000000'), 'ip-extension-order', 1, AT],
    ['option action 00: skipped', made(dest, '11001e0200000100'), null, -1, 0],
    ['option action 01', made(dest, '1100 4202 0000 0100'), 'ip-unknown-option', -1, 0],
    ['option action 10', made(dest, '1100 8202 0000 0100'), 'ip-unknown-option', 2, AT + 2],
    ['option action 11', made(dest, '1100 0100 c200 0100'), 'ip-unknown-option', 2, AT + 4],
    ['an option over the end', made(hop, '1100 1e05 0000 0000'), 'ip-bad-option', 0, AT + 3],
    ['a type in the last byte', made(hop, '1100 0000 0000 001e'), 'ip-bad-option', 0, AT + 8],
    ['a router alert of 4 bytes', made(hop, '1100 0504 0000 0000'), 'ip-bad-option', 0, AT + 3],
    ['8 bytes of padding', made(dest, '1101 0106 0000 0000 0000 1e04 0000 0000'), 'ip-extension-limit', -1, 0],
    ['a routing header with segments left', made(43, '1100000100000000'), 'ip-bad-routing', 0, AT + 2],
    ['a routing header with none', made(43, '1100000000000000'), null, -1, 0],
    ['9 headers', made(dest, '3c00010400000000'.repeat(9)), 'ip-extension-limit', -1, 0],
    ['8 headers', made(dest, `${'3c00010400000000'.repeat(7)}1100010400000000`), null, -1, 0],
    ['9 options', made(dest, `1102${'1e00'.repeat(9)}01020000`), 'ip-extension-limit', -1, 0],
    ['8 options', made(dest, `1102${'1e00'.repeat(8)}010400000000`), null, -1, 0],
  ];
  for (const [name, packet, drop, problem, pointer] of rows) {
    it(name, () => {
      const [got, chain] = walk(packet);
      assert.equal(got, drop);
      assert.equal(chain.problem, problem);
      if (problem >= 0) assert.equal(chain.pointer, pointer);
    });
  }
  it('RFC 8200 §4.2: only action 10 reports to a multicast destination', () => {
    assert.equal(walk(made(dest, '1100 8202 0000 0100'))[1].problemToMulticast, true);
    assert.equal(walk(made(dest, '1100 c202 0000 0100'))[1].problemToMulticast, false);
  });
  it('a chain is clean after a drop', () => {
    const [, chain] = walk(made(dest, '1100 8202 0000 0100'));
    assert.deepEqual([walk(made(17, '00'), chain)[0], chain.problem, chain.problemToMulticast], [null, -1, false]);
  });
  it('20000 random chains: nothing throws, all ends in the packet', () => {
    const random = randomOf(3);
    let whole = 0;
    for (let i = 0; i < 20_000; i++) {
      const body = random.bytes(random.below(80));
      for (let at = 0; at + 8 < body.length; at += 8) {
        if (random.below(3) > 0) body.set([random.pick([0, 17, 43, 44, 60]), random.below(2), 1, random.below(5)], at);
      }
      const packet = made(random.pick([0, 43, 44, 60]), toHex(body));
      const [drop, chain] = walk(packet);
      if (drop !== null) continue;
      whole++;
      assert.ok(chain.offset <= packet.length);
    }
    assert.ok(whole > 500, `only ${whole} good chains`);
  });
});

describe('ipv4-options', () => {
  const parse = (packet: Uint8Array): [ipv4Options.Drop | null, ipv4Options.Options] => {
    const options = new ipv4Options.Options();
    return [ipv4Options.parse(octetsOf(packet).dv, 0, options), options];
  };
  it('none', () => assert.deepEqual(parse(PING), [null, new ipv4Options.Options()]));
  it('router alert', () => assert.equal(parse(PING_OPTIONS)[1].routerAlert, ipv4Options.ALERT_EXAMINE));
  it('source route', () => assert.equal(parse(packets.SSRR)[1].sourceRoute, 20));

  const made = (options: string): Uint8Array => {
    const bytes = hex(options);
    const packet = new Uint8Array(20 + bytes.length);
    packet[0] = 0x45 + bytes.length / 4;
    packet.set(bytes, 20);
    return packet;
  };
  const rows: [string, string, ipv4Options.Drop | null, number][] = [
    ['NOPs and an end', '01010100', null, -1],
    ['after the end nothing is read', '0007ff00', null, -1],
    ['an unknown option', '1e04abcd', null, -1],
    ['length 0', '1e000000', 'ip-bad-option', 21],
    ['length 1', '1e010000', 'ip-bad-option', 21],
    ['over the end', '1e050000', 'ip-bad-option', 21],
    ['no length', '0101011e', 'ip-bad-option', 23],
    ['a router alert of 8', '9408000000000000', 'ip-bad-option', 21],
    ['a route whose pointer points at itself', '8307030a00000100', 'ip-bad-option', 22],
    ['a route of 2 bytes', '83020000', 'ip-bad-option', 21],
    ['a record route', '0707080a00000100', null, -1],
    ['a timestamp', '44080500000000ff', null, -1],
  ];
  for (const [name, bytes, drop, pointer] of rows) {
    it(name, () => {
      const [got, options] = parse(made(bytes));
      assert.equal(got, drop);
      assert.equal(options.pointer, pointer);
    });
  }
  const lines: [Uint8Array, string][] = [
    [PING, ''],
    [PING_OPTIONS, 'options [RA]'],
    [packets.SSRR, 'options [SSRR 10.0.0.3 10.0.0.4,EOL]'],
    [made('0107070801020304'), 'options [NOP,RR 1.2.3.4]'],
    [made('1e04abcd'), 'options [unknown 30]'],
    [made('1e05abcd'), 'options [bad]'],
  ];
  for (const [packet, want] of lines) {
    it(`line: ${want}`, () => assert.equal(ipv4Options.format(octetsOf(packet).dv, 0), want));
  }
});

describe('vlan', () => {
  it('a tag: read and written', () => {
    const { dv } = octetsOf(packets.VLAN);
    assert.equal(ethernet.etherType(dv, 0), vlan.ETHERTYPE_VLAN);
    const p = ethernet.HEADER_LENGTH;
    assert.equal(vlan.check(dv, p, packets.VLAN.length), null);
    const read = [vlan.id, vlan.priority, vlan.dropEligible, vlan.etherType].map((accessor) => accessor(dv, p));
    assert.deepEqual(read, [5, 3, false, ethernet.ETHERTYPE_IPV4]);
    assert.equal(vlan.format(dv, p), 'vlan 5, p 3');
    const out = octetsOf(new Uint8Array(4));
    vlan.emit(out.dv, 0, 5, 3, false, ethernet.ETHERTYPE_IPV4);
    assert.equal(toHex(out.u8), toHex(packets.VLAN.slice(p, p + 4)));
  });
  it('a tag in a tag, and drop eligible', () => {
    const { dv } = octetsOf(packets.QINQ);
    assert.ok(vlan.isTag(ethernet.etherType(dv, 0)) && vlan.isTag(vlan.etherType(dv, 14)));
    assert.deepEqual([vlan.id(dv, 14), vlan.id(dv, 18), vlan.dropEligible(dv, 18)], [100, 5, true]);
    assert.equal(vlan.format(dv, 18), 'vlan 5, p 0, DEI');
  });
  it('cut', () => assert.equal(vlan.check(octetsOf(patched(new Uint8Array(3), 0, '00')).dv, 0, 3), 'vlan-truncated'));
});
