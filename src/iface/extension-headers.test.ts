import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PeerDevice } from '../../test/peer.ts';
import { Stack } from '../stack.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import * as icmpv6 from '../wire/icmpv6.ts';
import { PROTOCOL_ICMPV6, pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { octetsOf } from '../wire/octets.ts';

const FROM = IpAddress.parse('fd00::1');
const TO = IpAddress.parse('fd00::2');
const HEADERS_AT = ipv6.HEADER_LENGTH;

/** An echo request behind extension headers, each `[its number, its bytes from the second on]`. */
function pingBehind(
  headers: readonly [number, readonly number[]][],
  { to = TO, last = PROTOCOL_ICMPV6 } = {},
): Uint8Array {
  const length = headers.reduce((n, [, bytes]) => n + 1 + bytes.length, 0);
  const bytes = new Uint8Array(HEADERS_AT + length + 16);
  const o = octetsOf(bytes);
  const numbers = [...headers.map(([number]) => number), last];
  let p = HEADERS_AT;
  for (const [i, [, rest]] of headers.entries()) {
    bytes[p] = numbers[i + 1]!;
    bytes.set(rest, p + 1);
    p += 1 + rest.length;
  }
  icmpv6.emit(o, p, icmpv6.ECHO_REQUEST, 0, 0x00010002, 16, pseudoHeaderSum(FROM, to, PROTOCOL_ICMPV6));
  ipv6.emit(o.dv, 0, length + 16, 0, 64, numbers[0]!, FROM, to);
  return bytes;
}

/** What comes of a packet: `reply`, `problem CODE POINTER`, or nothing; and what was dropped. */
function sent(packet: Uint8Array): { answer: string | null; drops: Record<string, number> } {
  const device = new PeerDevice('ip');
  const stack = new Stack({ random: () => 99, memory: 1 << 20 });
  stack.addInterface(device, { addresses: [Cidr.parse('fd00::2/64')] });
  device.deliver(packet);
  stack.poll(1000);
  const [bytes, ...more] = device.sent;
  assert.equal(more.length, 0);
  stack.close();
  assert.equal(stack.memory.usedBytes, 0);
  const drops = { ...stack.stats.drops };
  if (bytes === undefined) return { answer: null, drops };
  const { dv } = octetsOf(bytes);
  const type = icmpv6.type(dv, HEADERS_AT);
  if (type === icmpv6.ECHO_REPLY) return { answer: 'reply', drops };
  assert.equal(type, icmpv6.PARAMETER_PROBLEM);
  assert.deepEqual(bytes.subarray(HEADERS_AT + 8), packet, 'quoted whole');
  return { answer: `problem ${icmpv6.code(dv, HEADERS_AT)} ${icmpv6.mtu(dv, HEADERS_AT)}`, drops };
}

const PAD = [0, 1, 4, 0, 0, 0, 0];
/** An options header with one unknown option of this type. */
const unknown = (type: number): number[] => [0, type, 4, 0, 0, 0, 0];
const GROUP = IpAddress.parse('ff02::1');
const [HBH, ROUTING, DSTOPT, NONE] = [0, 43, 60, 59];

describe('extension headers: RFC 8200 §4', () => {
  const rows: [string, Uint8Array, string | null, string | null][] = [
    ['hop-by-hop options with padding', pingBehind([[HBH, PAD]]), 'reply', null],
    [
      'destination options, twice',
      pingBehind([
        [DSTOPT, PAD],
        [DSTOPT, PAD],
      ]),
      'reply',
      null,
    ],
    [
      '§4.1: in any order and number',
      pingBehind([
        [HBH, PAD],
        [DSTOPT, PAD],
        [ROUTING, [0, 77, 0, 0, 0, 0, 0]],
        [DSTOPT, PAD],
      ]),
      'reply',
      null,
    ],
    [
      '§4.1: hop-by-hop options not in front: an unknown header',
      pingBehind([
        [DSTOPT, PAD],
        [HBH, PAD],
      ]),
      'problem 1 40',
      'ip-extension-order',
    ],
    ['§4.2: unknown option, skip', pingBehind([[DSTOPT, unknown(0x1e)]]), 'reply', null],
    ['§4.2: unknown option, discard', pingBehind([[DSTOPT, unknown(0x5e)]]), null, 'ip-unknown-option'],
    ['§4.2: unknown option, report', pingBehind([[DSTOPT, unknown(0x9e)]]), 'problem 2 42', 'ip-unknown-option'],
    [
      '§4.2: unknown option, report to a group too',
      pingBehind([[DSTOPT, unknown(0x9e)]], { to: GROUP }),
      'problem 2 42',
      'ip-unknown-option',
    ],
    [
      '§4.2: unknown option, report unless to a group',
      pingBehind([[DSTOPT, unknown(0xde)]]),
      'problem 2 42',
      'ip-unknown-option',
    ],
    ['§4.2: the same to a group', pingBehind([[DSTOPT, unknown(0xde)]], { to: GROUP }), null, 'ip-unknown-option'],
    [
      '§4.4: an unknown routing type with no segments left',
      pingBehind([[ROUTING, [0, 9, 0, 0, 0, 0, 0]]]),
      'reply',
      null,
    ],
    [
      '§4.4: an unknown routing type with segments left',
      pingBehind([[ROUTING, [0, 9, 1, 0, 0, 0, 0]]]),
      'problem 0 42',
      'ip-bad-routing',
    ],
    [
      'RFC 5095 §3: routing type 0 is as unknown',
      pingBehind([[ROUTING, [2, 0, 1, 0, 0, 0, 0, ...new Array<number>(16).fill(0)]]]),
      'problem 0 42',
      'ip-bad-routing',
    ],
    ['§4.7: no next header', pingBehind([[DSTOPT, PAD]], { last: NONE }), null, null],
    ['§4: an unknown next header', pingBehind([[DSTOPT, PAD]], { last: 250 }), 'problem 1 40', 'ip-unknown-protocol'],
    ['the same without extension headers', pingBehind([], { last: 250 }), 'problem 1 6', 'ip-unknown-protocol'],
    [
      'a header that is longer than the packet',
      pingBehind([[DSTOPT, [9, 1, 4, 0, 0, 0, 0]]]),
      null,
      'ip-extension-truncated',
    ],
    [
      'an option that is longer than its header',
      pingBehind([[DSTOPT, [0, 0x1e, 9, 0, 0, 0, 0]]]),
      'problem 0 43',
      'ip-bad-option',
    ],
    [
      'RFC 8504 §5.3: nine headers',
      pingBehind(Array.from({ length: 9 }, (): [number, number[]] => [DSTOPT, PAD])),
      null,
      'ip-extension-limit',
    ],
  ];
  for (const [name, packet, want, drop] of rows) {
    test(name, () => {
      const { answer, drops } = sent(packet);
      assert.equal(answer, want);
      assert.deepEqual(drops, drop === null ? {} : { [drop]: 1 });
    });
  }
});
