import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  bound,
  claimed,
  DhcpPeer,
  OFFERED,
  OTHER_MAC,
  type ReplyOptions,
  requesting,
  SERVER,
  started,
} from '../../test/dhcp.ts';
import { toHex } from '../../test/hex.ts';
import { LOCAL_MAC, PeerDevice } from '../../test/peer.ts';
import { Random } from '../phy/random.ts';
import { Stack } from '../stack.ts';
import { IpAddress } from '../wire/address.ts';
import * as dhcp from '../wire/dhcpv4.ts';
import { DhcpClient } from './client.ts';

const { OPTION } = dhcp;
const ip = IpAddress.parse;
const HOUR_MS = 3_600_000;

describe('dhcp client: INIT and SELECTING', () => {
  it('RFC 2131 table 5: the DISCOVER', () => {
    const peer = started({ hostName: 'box' });
    const message = peer.message();
    assert.equal(message.type, 'Discover');
    assert.equal(message.from, '0.0.0.0');
    assert.equal(message.to, '255.255.255.255');
    assert.equal(message.toMac, 'ff:ff:ff:ff:ff:ff');
    assert.equal(message.ciaddr, '0.0.0.0');
    assert.equal(message.server, null);
    assert.equal(message.requested, null);
    assert.equal(message.broadcast, false);
    assert.equal(message.secs, 0);
    assert.equal(dhcp.readText(message.options, OPTION.hostName), 'box');
    // RFC 4361: type 255, IAID, DUID-LL.
    assert.equal(toHex(message.options.get(OPTION.clientId)!), 'ff0000000100030001020000000001');
    assert.equal(dhcp.readNumber(message.options, OPTION.maxMessageSize, 2), 1500);
    const wanted = [...message.options.get(OPTION.parameterList)!];
    // RFC 3442: classless routes stand before routers.
    assert.ok(wanted.indexOf(OPTION.classlessRoutes) < wanted.indexOf(OPTION.routers));
    assert.deepEqual(peer.events, ['INIT', 'SELECTING']);
  });

  it('RFC 2131 §4.1: sent again after 4, 8, 16, 32, 64, 64 s, give or take one; secs grow', () => {
    for (let seed = 0; seed < 5; seed++) {
      const peer = new DhcpPeer();
      for (let i = 0; i < seed; i++) peer.stack.context.random();
      peer.client.start();
      const times: number[] = [];
      const since = peer.now;
      peer.poll();
      for (let ms = 0; ms < 260_000; ms += 50) {
        for (const { type, secs } of peer.messages()) {
          assert.equal(type, 'Discover');
          assert.ok(Math.abs(secs - (times.length === 0 ? 0 : peer.now - since) / 1000) <= 1.1);
          times.push(peer.now);
        }
        peer.pass(50);
      }
      const gaps = times.slice(1).map((at, i) => (at - times[i]!) / 1000);
      const wanted = [4, 8, 16, 32, 64, 64];
      for (const [i, gap] of wanted.entries()) assert.ok(Math.abs(gaps[i]! - gap) <= 1.1, `gap ${i}: ${gaps[i]} s`);
      assert.equal(peer.events.filter((event) => event === 'silence').length, 1);
    }
  });

  it('a start delay, an address to ask for, the broadcast flag, no client identifier', () => {
    const options = { startDelayMs: 5000, requestedAddress: ip('10.0.0.9'), broadcast: true, clientId: null };
    const peer = started(options);
    peer.pass(4900);
    assert.deepEqual(peer.messages(), []);
    peer.pass(200);
    const message = peer.message();
    assert.equal(message.requested, '10.0.0.9');
    assert.equal(message.broadcast, true);
    assert.equal(message.options.has(OPTION.clientId), false);
  });

  it('is for Ethernet', () => {
    const random = new Random(1);
    const stack = new Stack({ random: () => random.next(), memory: 1 << 20 });
    const iface = stack.addInterface(new PeerDevice('ip'));
    assert.throws(() => new DhcpClient(stack, iface), /expected an Ethernet interface/);
  });

  it('RFC 4039: with rapid commit an ACK is enough, but only with the option', () => {
    const peer = started({ rapidCommit: true });
    assert.ok(peer.message().options.has(OPTION.rapidCommit));
    peer.reply({ type: dhcp.ACK });
    assert.equal(peer.client.state, 'SELECTING');
    assert.equal(peer.stack.stats.drops['dhcp-unexpected'], 1);
    peer.reply({ type: dhcp.ACK, options: [[OPTION.rapidCommit, new Uint8Array(0)]] });
    assert.equal(peer.client.state, 'PROBING');
    const plain = started();
    plain.message();
    plain.reply({ type: dhcp.ACK, options: [[OPTION.rapidCommit, new Uint8Array(0)]] });
    assert.equal(plain.client.state, 'SELECTING');
  });

  it('an offer sent to the offered address is taken: RFC 2131 §4.1', () => {
    const peer = started();
    peer.message();
    peer.reply({ type: dhcp.OFFER, to: OFFERED, toMac: LOCAL_MAC });
    assert.equal(peer.client.state, 'REQUESTING');
    assert.equal(peer.stack.stats.icmpErrorsOut, 0);
  });

  it('once bound nothing that is not ours is taken, and nothing is before', () => {
    const peer = bound();
    peer.reply({ type: dhcp.OFFER, to: '10.0.0.99', toMac: LOCAL_MAC });
    assert.equal(peer.stack.stats.drops['ip-not-ours'], 1);
    const idle = new DhcpPeer();
    idle.reply({ type: dhcp.OFFER, to: OFFERED, toMac: LOCAL_MAC });
    assert.equal(idle.stack.stats.drops['ip-not-ours'], 1);
  });
});

describe('dhcp client: REQUESTING', () => {
  it('RFC 2131 table 5, §4.4.1: server and address named, transaction and secs of the discover', () => {
    const peer = started();
    peer.pass(4500);
    const discovers = peer.messages();
    peer.pass(10_000);
    const last = [...discovers, ...peer.messages()].at(-1)!;
    peer.reply({ type: dhcp.OFFER });
    const request = peer.message();
    assert.equal(request.type, 'Request');
    assert.equal(request.requested, OFFERED);
    assert.equal(request.server, SERVER);
    assert.equal(request.ciaddr, '0.0.0.0');
    assert.equal(request.to, '255.255.255.255');
    assert.equal(request.xid, last.xid);
    assert.equal(request.secs, last.secs);
    assert.ok(request.secs > 0);
  });

  it('four requests without an answer, and all begins anew', () => {
    const peer = requesting();
    peer.pass(50_000);
    assert.equal(peer.messages().filter(({ type }) => type === 'Request').length, 3);
    peer.pass(50_000);
    assert.equal(peer.messages()[0]!.type, 'Discover');
    assert.deepEqual(peer.events, ['INIT', 'SELECTING', 'REQUESTING', 'INIT', 'SELECTING']);
  });

  it('a NAK begins anew at once; NAKs in a row ever later', () => {
    const peer = requesting();
    const waits: number[] = [];
    for (let i = 0; i < 9; i++) {
      peer.reply({ type: dhcp.NAK });
      const since = peer.now;
      for (;;) {
        const [message] = peer.messages();
        if (message?.type === 'Discover') break;
        peer.pass(100);
      }
      waits.push(Math.round((peer.now - since) / 1000));
      peer.reply({ type: dhcp.OFFER });
      peer.message();
    }
    assert.deepEqual(waits, [0, 2, 4, 8, 16, 32, 64, 64, 64]);
  });

  const ignored: [string, Partial<ReplyOptions>, string][] = [
    ['another server', { server: '10.0.0.66' }, 'dhcp-other-server'],
    ['no server identifier', { server: null }, 'dhcp-bad-options'],
    ['another transaction', { xid: 12345 }, 'dhcp-other-client'],
    ['another link address', { mac: OTHER_MAC }, 'dhcp-other-client'],
    ['a request in disguise', { op: dhcp.BOOTREQUEST }, 'dhcp-other-client'],
    ["another client's identifier", { options: [[OPTION.clientId, Uint8Array.of(1, 2, 3)]] }, 'dhcp-other-client'],
  ];
  for (const type of [dhcp.ACK, dhcp.NAK]) {
    for (const [name, options, reason] of ignored) {
      it(`${dhcp.typeName(type)} with ${name} is dropped as ${reason}`, () => {
        const peer = requesting();
        peer.reply({ type, ...options });
        assert.equal(peer.client.state, 'REQUESTING');
        assert.equal(peer.stack.stats.drops[reason as 'dhcp-other-server'], 1);
        peer.reply({ type: dhcp.ACK });
        assert.equal(peer.client.state, 'PROBING');
      });
    }
  }

  it('RFC 6842: our own identifier may come back', () => {
    const peer = requesting();
    peer.reply({ type: dhcp.ACK, options: [[OPTION.clientId, dhcp.clientIdOf(LOCAL_MAC)]] });
    assert.equal(peer.client.state, 'PROBING');
  });

  const bad: [string, Partial<ReplyOptions>][] = [
    ['no lease time', { leaseS: null }],
    ['a lease of a second', { leaseS: 1 }],
    ['no lease at all', { leaseS: 0 }],
    ['the network address', { yiaddr: '10.0.0.0' }],
    ['the broadcast address', { yiaddr: '10.0.0.255' }],
    ['0.0.0.0', { yiaddr: '0.0.0.0' }],
    ['a loopback address', { yiaddr: '127.0.0.5' }],
    ['a multicast address', { yiaddr: '224.0.0.5' }],
    ['a class E address', { yiaddr: '250.0.0.5' }],
    ['a mask with holes', { mask: '255.0.255.0' }],
    ['a mask of nothing', { mask: '0.0.0.0' }],
  ];
  for (const [name, options] of bad) {
    it(`an offer or an ACK of ${name} is none`, () => {
      const peer = started();
      peer.message();
      peer.reply({ type: dhcp.OFFER, ...options });
      assert.equal(peer.client.state, 'SELECTING');
      peer.reply({ type: dhcp.OFFER });
      peer.message();
      peer.reply({ type: dhcp.ACK, ...options });
      assert.equal(peer.client.state, 'REQUESTING');
      assert.equal(peer.stack.stats.drops['dhcp-bad-lease'], 2);
    });
  }
});

describe('dhcp client: PROBING and DECLINE', () => {
  it('the address is probed, then used and announced', () => {
    const peer = requesting();
    peer.lines();
    peer.reply({ type: dhcp.ACK });
    assert.equal(peer.iface.hasAddress(ip(OFFERED)), false);
    peer.pass(3000);
    const probe = `ARP, Request who-has ${OFFERED} tell 0.0.0.0, length 28`;
    const announcement = `ARP, Request who-has ${OFFERED} tell ${OFFERED}, length 28`;
    assert.deepEqual(peer.lines(), [probe, probe, probe, announcement, announcement]);
    assert.equal(peer.client.state, 'BOUND');
    assert.deepEqual(peer.iface.addresses.map(String), [`${OFFERED}/24`]);
  });

  it('RFC 2131 §3.1.5: somebody has it: DECLINE, and ten seconds of silence', () => {
    const peer = requesting();
    const before = peer.client;
    peer.reply({ type: dhcp.ACK });
    peer.pass(50);
    peer.send(claimed(OFFERED));
    const decline = peer.message();
    assert.equal(decline.type, 'Decline');
    assert.equal(decline.requested, OFFERED);
    assert.equal(decline.server, SERVER);
    assert.equal(decline.to, '255.255.255.255');
    assert.equal(decline.from, '0.0.0.0');
    assert.equal(decline.ciaddr, '0.0.0.0');
    assert.equal(decline.secs, 0);
    assert.equal(decline.options.has(OPTION.parameterList), false);
    assert.equal(decline.options.has(OPTION.maxMessageSize), false);
    assert.equal(before.state, 'INIT');
    peer.pass(9900);
    assert.deepEqual(peer.messages(), []);
    peer.pass(200);
    assert.equal(peer.message().requested, null);
    assert.deepEqual(peer.configured, []);
  });

  it('after ten conflicts at most one attempt a minute', () => {
    const peer = requesting();
    let waited = 0;
    for (let i = 0; i < 10; i++) {
      peer.reply({ type: dhcp.ACK });
      peer.pass(50);
      peer.send(claimed(OFFERED));
      assert.equal(peer.message().type, 'Decline');
      for (waited = 0; ; waited += 500) {
        const [message] = peer.messages();
        if (message !== undefined) break;
        peer.pass(500);
      }
      peer.reply({ type: dhcp.OFFER });
      peer.message();
    }
    assert.ok(waited >= 60_000, `${waited} ms`);
  });

  it('an address that is ours already is declined, and ours stays', () => {
    const peer = new DhcpPeer({}, [`${OFFERED}/24`]);
    peer.bind();
    assert.equal(peer.client.state, 'INIT');
    assert.deepEqual(peer.iface.addresses.map(String), [`${OFFERED}/24`]);
    peer.client.close();
    assert.deepEqual(peer.iface.addresses.map(String), [`${OFFERED}/24`]);
  });

  it('RFC 5227 §2.4: in use it is defended once; the second conflict loses it', () => {
    const peer = bound();
    peer.pass(20_000);
    peer.lines();
    peer.send(claimed(OFFERED));
    assert.deepEqual(peer.lines(), [`ARP, Request who-has ${OFFERED} tell ${OFFERED}, length 28`]);
    assert.equal(peer.client.state, 'BOUND');
    peer.send(claimed(OFFERED));
    assert.equal(peer.message().type, 'Decline');
    assert.deepEqual(peer.iface.addresses, []);
    assert.equal(peer.configured.at(-1), null);
    assert.deepEqual(peer.events.slice(-2), ['lost: conflict', 'INIT']);
  });

  it('without probes it is used at once', () => {
    const peer = requesting({ probes: null });
    peer.reply({ type: dhcp.ACK });
    assert.equal(peer.client.state, 'BOUND');
  });
});

describe('dhcp client: hostile', () => {
  const STATES = {
    SELECTING: started,
    REQUESTING: requesting,
    BOUND: bound,
    RENEWING: () => {
      const peer = bound();
      peer.pass(HOUR_MS / 2);
      peer.messages();
      return peer;
    },
  } as const;

  for (const [name, make] of Object.entries(STATES)) {
    it(`${name}: 4000 spoiled replies: nothing throws, each drop is counted, and it still gets its lease`, () => {
      const random = new Random(name.length);
      const peer = make();
      const types = [dhcp.OFFER, dhcp.ACK, dhcp.NAK, 0, 9];
      for (let i = 0; i < 4000; i++) {
        const junk = Array.from({ length: random.below(4) }, (): dhcp.Option => {
          const value = new Uint8Array(random.below(40));
          random.bytes(value);
          return [1 + random.below(254), value];
        });
        const xid = random.chance(0.5) ? random.next() : undefined;
        const frame = peer.replyFrame({
          type: types[random.below(types.length)]!,
          options: junk,
          server: random.chance(0.5) ? '10.0.0.66' : SERVER,
          ...(xid === undefined ? {} : { xid }),
        });
        // Behind the headers, so that it reaches the client: sums are not what is tested here.
        for (let n = random.below(6); n > 0; n--) frame[42 + random.below(frame.length - 42)] = random.below(256);
        frame[40] = frame[41] = 0; // no checksum
        peer.send(random.chance(0.1) ? frame.subarray(0, 42 + random.below(frame.length - 42)) : frame);
        peer.messages();
      }
      peer.pass(2 * HOUR_MS);
      peer.client.close();
      peer.bind();
      assert.equal(peer.client.state, 'BOUND');
      peer.stack.close();
      assert.equal(peer.stack.memory.usedBytes, 0);
    });
  }
});
