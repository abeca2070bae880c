import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { arpFrame, etherFrameOf } from '../../test/ether.ts';
import { LOCAL_MAC, PeerDevice } from '../../test/peer.ts';
import { icmpPacket, type PacketOptions, udpPacket } from '../../test/router.ts';
import { Random } from '../phy/random.ts';
import { Stack, type StackOptions } from '../stack.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import * as icmpv4 from '../wire/icmpv4.ts';
import type { InterfaceOptions } from './interface.ts';

const ip = (text: string): IpAddress => IpAddress.parse(text);
const ROUTER = '10.0.0.2';
const ROUTER2 = '10.0.0.3';
const FAR = '192.0.2.7';

/** 10.0.0.1/24 behind two routers, of which the first is the default one. */
function rig(options: InterfaceOptions = {}, stackOptions: Partial<StackOptions> = {}) {
  const device = new PeerDevice('ethernet');
  const random = new Random(1);
  const stack = new Stack({ random: () => random.next(), memory: 1 << 20, ...stackOptions });
  const addresses = [Cidr.parse('10.0.0.1/24')];
  const iface = stack.addInterface(device, { addresses, mac: LOCAL_MAC, announce: false, ...options });
  stack.addDefaultRoute(ip(ROUTER));
  const clock = { now: 1000 };
  const send = (bytes: Uint8Array): void => {
    device.deliver(bytes);
    stack.poll(clock.now);
  };
  for (const sender of [ROUTER, ROUTER2]) send(arpFrame({ sender }));
  const hop = (to = FAR): string => `${stack.ip.routes.lookup(ip(to))!.gateway ?? to}`;
  const end = (): void => {
    stack.close();
    assert.equal(stack.memory.usedBytes, 0);
  };
  return { stack, iface, clock, send, hop, end };
}

interface RedirectOptions {
  readonly from?: string;
  readonly code?: number;
  readonly to?: string;
  readonly quoted?: PacketOptions;
}

/** ROUTER tells of a better first hop to FAR. */
function redirect({
  from = ROUTER,
  code = icmpv4.CODE_REDIRECT_HOST,
  to = ROUTER2,
  quoted = {},
}: RedirectOptions = {}): Uint8Array {
  const quote = udpPacket({ from: '10.0.0.1', to: FAR, ...quoted }).subarray(0, 28);
  return etherFrameOf(icmpPacket({ from, to: '10.0.0.1', type: icmpv4.REDIRECT, code, rest: ip(to).d, quote }));
}

describe('redirects: RFC 1122 §3.2.2.2', () => {
  for (const code of [0, 1, 2, 3]) {
    test(`code ${code}: packets to the destination go to the new gateway, and no others`, () => {
      const { stack, send, hop, end } = rig();
      send(redirect({ code }));
      assert.equal(hop(), ROUTER2);
      assert.equal(hop('192.0.2.8'), ROUTER);
      assert.deepEqual([stack.stats.icmpRedirects, stack.stats.drops], [1, {}]);
      // The new one knows better, or sends them back.
      send(redirect({ from: ROUTER2, to: '10.0.0.9' }));
      assert.equal(hop(), '10.0.0.9');
      assert.equal(stack.ip.routes.all.length, 3);
      end();
    });
  }

  const refused: [string, RedirectOptions][] = [
    ['not from the first hop', { from: ROUTER2, to: '10.0.0.9' }],
    ['to a gateway that is on no network of ours', { to: '10.0.9.9' }],
    ['to everybody', { to: '10.0.0.255' }],
    ['to ourselves', { to: '10.0.0.1' }],
    ['to the first hop itself', { to: ROUTER }],
    ['about what others sent', { quoted: { from: '10.0.0.5' } }],
    ['about what is on the link', { quoted: { to: '10.0.0.77' } }],
    ['about ourselves', { quoted: { to: '10.0.0.1' } }],
    ['of a code that there is not', { code: 4 }],
  ];
  for (const [name, options] of refused) {
    test(`refused: ${name}`, () => {
      const { stack, send, hop, end } = rig();
      send(redirect(options));
      assert.equal(hop(), ROUTER);
      assert.deepEqual(stack.stats.drops, { 'icmp-redirect-refused': 1 });
      end();
    });
  }

  test('refused by a router (RFC 1812 §5.2.7.2), and where they are not wanted', () => {
    for (const { stack, send, hop, end } of [rig({}, { forward: true }), rig({ acceptRedirects: false })]) {
      send(redirect());
      assert.equal(hop(), ROUTER);
      assert.deepEqual(stack.stats.drops, { 'icmp-redirect-refused': 1 });
      end();
    }
  });

  test('a route to the host that was set by hand stays', () => {
    const { stack, iface, send, hop, end } = rig();
    stack.addRoute({ prefix: Cidr.parse(`${FAR}/32`), iface, gateway: ip(ROUTER) });
    send(redirect());
    assert.equal(hop(), ROUTER);
    end();
  });

  test('RFC 1122 §3.3.1.4: a gateway that does not answer is given up, and the default one taken', () => {
    const { stack, clock, send, hop, end } = rig();
    send(redirect({ to: '10.0.0.66' }));
    assert.equal(hop(), '10.0.0.66');
    const socket = stack.udpSocket();
    socket.send(Uint8Array.of(1), { address: ip(FAR), port: 9 });
    for (let s = 1; s <= 10; s++) stack.poll(clock.now + 1000 * s);
    assert.equal(hop(), ROUTER);
    socket.close();
    end();
  });

  test('with the address the first hops of its network go', () => {
    const { stack, iface, send, hop, end } = rig();
    stack.addAddress(iface, Cidr.parse('10.1.0.1/16'), { announce: false });
    send(redirect({ to: '10.1.0.9' }));
    assert.equal(hop(), '10.1.0.9');
    stack.removeAddress(iface, ip('10.1.0.1'));
    assert.equal(hop(), ROUTER);
    end();
  });

  test('256 are remembered; beyond, the oldest is forgotten', () => {
    const { iface, send, hop, end } = rig();
    for (let i = 0; i < 300; i++) send(redirect({ quoted: { to: `198.51.${100 + (i >> 8)}.${i & 255}` } }));
    assert.equal(iface.redirects.count, 256);
    assert.equal(hop('198.51.100.0'), ROUTER);
    assert.equal(hop('198.51.101.43'), ROUTER2);
    end();
  });
});
