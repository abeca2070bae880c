import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hex, toHex } from '../../../test/hex.ts';
import * as packets from '../../../test/packets.ts';
import * as control from '../../../test/packets-control.ts';
import { randomOf } from '../../../test/random.ts';
import { Dissection, dissect } from '../../wire/dissect.ts';
import { LINKTYPE_ETHERNET } from '../../wire/link-type.ts';
import { octetsOf } from '../../wire/octets.ts';
import { compile, FilterError } from './filter.ts';
import type { Probe } from './predicates.ts';

const framed = (packet: Uint8Array): Uint8Array =>
  hex(`020000000002020000000001${packet[0]! >> 4 === 4 ? '0800' : '86dd'}${toHex(packet)}`);

function probeOf(bytes: Uint8Array): Probe {
  const o = octetsOf(bytes);
  const d = new Dissection();
  dissect(o, 0, bytes.length, bytes.length, LINKTYPE_ETHERNET, d);
  return { dv: o.dv, d, direction: 'in', interface: 'eth0' };
}

const PACKETS = {
  arp: packets.ARP_REQUEST,
  ping: framed(packets.PING),
  syn: framed(packets.TCP_SYN),
  udp: framed(packets.UDP_DATA),
  udp6: framed(packets.UDP6_DATA),
  ping6: framed(packets.PING6),
  frag: framed(packets.FRAGMENT),
  vlan: control.VLAN,
  igmp: framed(control.IGMP_REPORT_V3),
  mld: framed(control.MLD_REPORT_V2),
  chain: framed(control.CHAIN6),
};
type Name = keyof typeof PACKETS;
const ALL = Object.keys(PACKETS) as Name[];
const passing = (filter: string): Name[] => ALL.filter((name) => compile(filter)(probeOf(PACKETS[name])));

describe('filter: what passes', () => {
  const rows: [filter: string, names: string][] = [
    ['', ALL.join(' ')],
    ['arp', 'arp'],
    ['ip', 'ping syn udp frag vlan igmp'],
    ['ip6', 'udp6 ping6 mld chain'],
    ['tcp', 'syn'],
    ['udp', 'udp udp6 frag vlan chain'],
    ['icmp or icmp6', 'ping ping6 mld'],
    ['icmp6', 'ping6 mld'],
    ['igmp', 'igmp'],
    ['not ip', 'arp udp6 ping6 mld chain'],
    ['!ip && !arp', 'udp6 ping6 mld chain'],
    ['port 53', 'udp udp6'],
    ['udp port 5000', 'udp udp6 vlan chain'],
    ['ip and udp port 5000', 'udp vlan'],
    ['tcp dst port http', 'syn'],
    ['tcp src port http', ''],
    ['src or dst port 80', 'syn'],
    ['src and dst port 80', ''],
    ['portrange 1-100', 'syn udp udp6 vlan chain'],
    ['dst portrange 50-60', 'udp udp6'],
    ['port 80 or 53', 'syn udp udp6'],
    ['dst port 9 or 80', 'syn vlan chain'],
    ['host 10.0.0.2', 'arp ping syn udp frag vlan igmp'],
    ['10.0.0.2', 'arp ping syn udp frag vlan igmp'],
    ['ip host 10.0.0.2', 'ping syn udp frag vlan igmp'],
    ['arp host 10.0.0.2', 'arp'],
    ['src 10.0.0.2', 'igmp'],
    ['dst host 224.0.0.22', 'igmp'],
    ['tcp host 10.0.0.1', 'syn'],
    ['host fd00::1', 'udp6 ping6 chain'],
    ['net fe80::/10', 'mld'],
    ['src net 10', 'arp ping syn udp frag vlan igmp'],
    ['dst net 224.0.0.0/4', 'igmp'],
    ['net 224.0.0.0 mask 240.0.0.0', 'igmp'],
    ['ether src 02:00:00:00:00:01', ALL.join(' ')],
    ['ether dst ff:ff:ff:ff:ff:ff', 'arp'],
    ['ether broadcast', 'arp'],
    ['broadcast', 'arp'],
    ['multicast', 'arp'],
    ['ip multicast', 'igmp'],
    ['ip6 multicast', 'mld'],
    ['vlan', 'vlan'],
    ['vlan 5', 'vlan'],
    ['vlan 6', ''],
    ['vlan 5 and udp', 'vlan'],
    ['proto 17', 'udp udp6 frag vlan chain'],
    ['ip6 proto 17', 'udp6 chain'],
    ['ip proto icmp', 'ping'],
    ['ether proto 0x0806', 'arp'],
    ['ether proto \\arp', 'arp'],
    ['less 42', 'arp'],
    ['greater 110', 'mld chain'],
    ['inbound', ALL.join(' ')],
    ['outbound', ''],
    ['ifname eth0', ALL.join(' ')],
    ['ifname eth1', ''],
    // and and or have the same rank, from left to right.
    ['arp or tcp and port 80', 'syn'],
    ['arp or (tcp and port 80)', 'arp syn'],
    ['not (arp or ip) and udp', 'udp6 chain'],
    ['not not arp', 'arp'],
    ['tcp port 80 and host 10.0.0.1', 'syn'],
    ['udp and (port 53 or port 9) and not vlan', 'udp udp6 chain'],
  ];
  for (const [filter, names] of rows) {
    it(filter || '(empty)', () => assert.equal(passing(filter).join(' '), names));
  }
});

describe('filter: errors name the word', () => {
  const rows: [string, RegExp][] = [
    ['tcp[tcpflags] & tcp-syn != 0', /byte expressions like tcp\[tcpflags\] are left out, got "tcp\[tcpflags\]"/],
    ['len > 100', /comparisons are left out/],
    ['gateway 10.0.0.1', /"gateway" is left out/],
    ['frobnicate', /expected a word like host, port or tcp, got "frobnicate"/],
    ['host', /expected an address, got its end behind "host"/],
    ['host example.org', /expected an address \(names are not looked up\), got "example.org"/],
    ['port 70000', /expected a port of 0 to 65535, got "70000" behind "port"/],
    ['port nosuch', /expected a port/],
    ['portrange 80', /expected ports like 6000-6010, got "80"/],
    ['portrange 80-70', /expected ports like/],
    ['icmp port 80', /icmp has no ports/],
    ['net 10.0.0.0/33', /expected a network like 10\.0\.0\.0\/8/],
    ['net 10.0.0.0 mask 255.0.255.0', /expected a mask like/],
    ['ether host 10.0.0.1', /expected an Ethernet address/],
    ['ether', /expected host, src, dst, proto/],
    ['ip6 host 10.0.0.1', /ip6 expects an IPv6 address/],
    ['ip host ::1', /ip expects an IPv4 address/],
    ['ip proto 256', /expected an IP protocol, got "256"/],
    ['less many', /expected a length of 0 to 4294967295, got "many"/],
    ['(tcp', /expected a closing parenthesis, got its end/],
    ['tcp)', /expected and, or, or the end, got "\)"/],
    ['tcp udp', /expected and, or, or the end, got "udp" behind "tcp"/],
    ['and tcp', /expected a word like/],
    ['tcp and', /expected a word like host, port or tcp, got its end/],
    ['()', /expected a word like/],
    [`${'('.repeat(200)}tcp`, /more than 100 deep/],
    [`${'not '.repeat(200)}tcp`, /more than 100 deep/],
  ];
  for (const [filter, message] of rows) {
    it(filter.slice(0, 40), () =>
      assert.throws(
        () => compile(filter),
        (error) => error instanceof FilterError && message.test(error.message),
      ),
    );
  }
  it('30000 random lists of words: a predicate or a FilterError', () => {
    const random = randomOf(9);
    const words =
      'and or not ( ) host net port portrange src dst proto ether ip ip6 arp tcp udp icmp 10.0.0.1 10 fd00::/8 80 1-9 vlan less mask 255.0.0.0 multicast \\tcp ! x'.split(
        ' ',
      );
    let good = 0;
    for (let i = 0; i < 30_000; i++) {
      const text = Array.from({ length: random.below(9) }, () => random.pick(words)).join(' ');
      try {
        const accept = compile(text);
        for (const bytes of Object.values(PACKETS)) accept(probeOf(bytes));
        good++;
      } catch (error) {
        assert.ok(error instanceof FilterError, `${text}: ${(error as Error).stack}`);
      }
    }
    assert.ok(good > 1000, `only ${good} were filters`);
  });
});
