import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hex } from '../../test/hex.ts';
import { CARRIED } from '../../test/packets-carried.ts';
import { Memory } from '../memory/memory.ts';
import { Dissection, dissect } from './dissect.ts';
import {
  LINKTYPE_ETHERNET,
  LINKTYPE_PPP,
  LINKTYPE_PPP_ETHER,
  LINKTYPE_PPP_HDLC,
  LINKTYPE_RAW_BSD,
  LINKTYPE_RAW_OPENBSD,
} from './link-type.ts';
import { formatDissected } from './packet.ts';

const memory = new Memory({ bytes: 1 << 20 });
const AT = memory.alloc(4096);

function line(bytes: Uint8Array, linkType = LINKTYPE_ETHERNET): string {
  memory.u8.set(bytes, AT);
  const d = new Dissection();
  dissect(memory, AT, AT + bytes.length, AT + bytes.length, linkType, d);
  return formatDissected(memory, d);
}

const SYN4 = 'IP 10.0.0.1.1234 > 10.0.0.2.80: Flags [S], seq 0, win 8192, length 0';
const SYN6 = 'IP6 fd00::1.1234 > fd00::2.443: Flags [S], seq 0, win 8192, length 0';
const UDP = 'IP 10.0.0.1.1234 > 10.0.0.2.5678: UDP, length 10';
const FLOW = '02:00:00:00:00:01 > 02:00:00:00:00:02';
const ENDS = 'IP 192.0.2.1 > 192.0.2.2:';
const HOSTS = 'IP 10.0.0.1 > 10.0.0.2:';

const ROWS: Record<keyof typeof CARRIED, string> = {
  pppoeSess: `PPPoE [ses 0x11] ${SYN4}`,
  pppoeSess6: `PPPoE [ses 0x11] ${SYN6}`,
  pppoePfc: `PPPoE [ses 0x11] ${SYN4}`,
  pppoeLcp: 'PPPoE [ses 0x11] LCP, length 30',
  pppoed: `${FLOW}, PPPoE PADI, length 24`,
  lldp: '02:00:00:00:00:01 > 01:80:c2:00:00:0e, ethertype LLDP (0x88cc), length 60',
  stp: '02:00:00:00:00:01 > 01:80:c2:00:00:00, 802.3 STP, length 52',
  snap: UDP,
  eapol: '02:00:00:00:00:01 > 01:80:c2:00:00:03, ethertype EAPOL (0x888e), length 18',
  unknownEt: `${FLOW}, ethertype 0x1234, length 44`,
  mpls: `${FLOW}, MPLS (label 16, tc 0, [S], ttl 63) ${UDP}, length 56`,
  gre: `${ENDS} GREv0, length 44: ${SYN4}`,
  greKey: `${ENDS} GREv0, key 0x4d, length 72: ${SYN6}`,
  greTeb: `${ENDS} GREv0, length 56: ${UDP}`,
  ipip: `${ENDS} ${SYN4}`,
  sit: `${ENDS} ${SYN6}`,
  ip6ip6: `IP6 2001:db8::1 > 2001:db8::2: ${SYN6}`,
  ip4in6: `IP6 2001:db8::1 > 2001:db8::2: ${UDP}`,
  esp: `${HOSTS} ESP (spi 0xdeadbeef, seq 5), length 48`,
  ah: `${HOSTS} AH (spi 0x00000007, seq 9): TCP, length 36`,
  sctp: 'IP 10.0.0.1.5000 > 10.0.0.2.6000: SCTP [INIT], length 32',
  sctpData: 'IP 10.0.0.1.5000 > 10.0.0.2.6000: SCTP [DATA], length 36',
  udplite: 'IP 10.0.0.1.1 > 10.0.0.2.2: UDP-Lite, length 11',
  dccp: 'IP 10.0.0.1.1 > 10.0.0.2.2: DCCP, length 19',
  ospf: 'IP 10.0.0.1 > 224.0.0.5: OSPF, length 46',
  vrrp: 'IP 10.0.0.1 > 224.0.0.18: VRRP, length 20',
  pim: 'IP 10.0.0.1 > 224.0.0.13: PIM, length 20',
  unknownProto: `${HOSTS} ip-proto-253, length 30`,
};

describe('what no layer speaks has a name, and what is inside a tunnel is read', () => {
  for (const [name, want] of Object.entries(ROWS)) {
    test(name, () => assert.equal(line(CARRIED[name as keyof typeof CARRIED]), want));
  }
});

describe('links', () => {
  const ip = CARRIED.ipip.slice(14);
  const ppp = (head: string): Uint8Array => Uint8Array.of(...hex(head), ...ip);
  const rows: [string, Uint8Array, number, string][] = [
    ['raw IP by the number of BSD', ip, LINKTYPE_RAW_BSD, `${ENDS} ${SYN4}`],
    ['raw IP by the number of OpenBSD', ip, LINKTYPE_RAW_OPENBSD, `${ENDS} ${SYN4}`],
    ['PPP', ppp('0021'), LINKTYPE_PPP, `${ENDS} ${SYN4}`],
    ['PPP with address and control', ppp('ff030021'), LINKTYPE_PPP, `${ENDS} ${SYN4}`],
    ['PPP with a short number', ppp('ff0321'), LINKTYPE_PPP_HDLC, `${ENDS} ${SYN4}`],
    ['PPP, negotiating', hex('ff03c0210101000a0506deadbeef'), LINKTYPE_PPP, 'PPP LCP, length 14'],
    ['PPP, of another kind', hex('003d0000'), LINKTYPE_PPP, 'PPP protocol 0x003d, length 4'],
    ['PPP over Ethernet by itself', CARRIED.pppoeSess.slice(14), LINKTYPE_PPP_ETHER, `PPPoE [ses 0x11] ${SYN4}`],
    ['PPP, cut', hex('ff0300'), LINKTYPE_PPP, '[link-truncated], length 3'],
    ['PPP over Ethernet, cut', hex('1100001100'), LINKTYPE_PPP_ETHER, '[link-truncated], length 5'],
    ['PPP over Ethernet, cut behind', CARRIED.pppoeSess.slice(0, 20), LINKTYPE_ETHERNET, '[link-truncated], length 20'],
  ];
  for (const [name, bytes, linkType, want] of rows) {
    test(name, () => assert.ok(line(bytes, linkType).endsWith(want), line(bytes, linkType)));
  }
});

test('packets in packets in packets: as deep as is good', () => {
  let inner = CARRIED.ipip.slice(34);
  for (let i = 0; i < 40; i++) {
    const header = CARRIED.ipip.slice(14, 34);
    new DataView(header.buffer).setUint16(2, 20 + inner.length);
    inner = Uint8Array.of(...header, ...inner);
  }
  const text = line(inner, LINKTYPE_RAW_BSD);
  assert.equal(text.match(/192\.0\.2\.1 > /g)!.length, 9);
  assert.match(text, /: \.\.\. \[ip-bad-checksum\]/);
});

test('cut anywhere, and with any byte turned over, each has a line', () => {
  for (const bytes of Object.values(CARRIED)) {
    for (let length = 0; length < bytes.length; length++) assert.ok(line(bytes.slice(0, length)).length > 0);
    for (let i = 0; i < bytes.length; i++) {
      for (const mask of [1, 0x80, 0xff]) {
        const spoiled = bytes.slice();
        spoiled[i]! ^= mask;
        assert.ok(line(spoiled).length > 0);
      }
    }
  }
});
