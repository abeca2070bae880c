import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DhcpPeer, OFFERED, type ReplyOptions, SERVER } from '../../test/dhcp.ts';
import { arpFrame } from '../../test/ether.ts';
import { toHex } from '../../test/hex.ts';
import { LOCAL_MAC, PeerDevice } from '../../test/peer.ts';
import { Random } from '../phy/random.ts';
import { Stack } from '../stack.ts';
import { Cidr, IpAddress, MacAddress } from '../wire/address.ts';
import * as dhcp from '../wire/dhcpv4.ts';
import { DhcpClient } from './client.ts';
import type { DhcpClientOptions } from './client-options.ts';

const { OPTION } = dhcp;
const OTHER_MAC = MacAddress.parse('02:00:00:00:00:33');
const ip = IpAddress.parse;
const HOUR_MS = 3_600_000;

const started = (options: DhcpClientOptions = {}): DhcpPeer => {
  const peer = new DhcpPeer(options);
  peer.client.start();
  peer.poll();
  return peer;
};

/** In REQUESTING, the request seen. */
const requesting = (options: DhcpClientOptions = {}): DhcpPeer => {
  const peer = started(options);
  peer.message();
  peer.reply({ type: dhcp.OFFER });
  peer.message();
  return peer;
};

const bound = (reply: Omit<ReplyOptions, 'type'> = {}, options: DhcpClientOptions = {}): DhcpPeer => {
  const peer = new DhcpPeer(options);
  peer.bind(reply);
  assert.equal(peer.client.state, 'BOUND');
  return peer;
};

/** Says that `sender` is at another host. */
const claimed = (sender: string) => arpFrame({ sender, target: '10.0.0.77', senderMac: OTHER_MAC });

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

describe('dhcp client: BOUND, RENEWING, REBINDING', () => {
  it('RFC 2131 §4.4.5: T1 at a half, T2 at seven eighths, of the lease counted from the request', () => {
    const peer = bound({ leaseS: 3600 });
    peer.iface.neighbours.set(ip(SERVER), OTHER_MAC);
    peer.pass(1760 * 1000 - 1000);
    assert.deepEqual(peer.messages(), []);
    peer.pass(45_000);
    const renewal = peer.messages()[0]!;
    assert.equal(peer.client.state, 'RENEWING');
    assert.equal(renewal.type, 'Request');
    assert.equal(renewal.ciaddr, OFFERED);
    assert.equal(renewal.from, OFFERED);
    assert.equal(renewal.requested, null);
    assert.equal(renewal.server, null);
  });

  /** Everything from T1 to the end of the lease: when each message left, in s after the request. */
  function timeline(peer: DhcpPeer, seconds: number): { state: string; to: string; at: number }[] {
    peer.iface.neighbours.set(ip(SERVER), OTHER_MAC);
    const found: { state: string; to: string; at: number }[] = [];
    const since = peer.client.lease!.startedAt;
    for (let i = 0; i < seconds; i++) {
      peer.pass(1000);
      for (const { to } of peer.messages()) {
        found.push({ state: peer.client.state, to, at: Math.round((peer.now - since) / 1000) });
      }
    }
    return found;
  }

  it('unicast to the server until T2, broadcast from then, at half of what is left, but a minute at least; then it is over', () => {
    const peer = bound({ leaseS: 3600, options: times(1800, 3150) });
    const sent = timeline(peer, 3599);
    const renewals = sent.filter(({ state }) => state === 'RENEWING');
    const rebindings = sent.filter(({ state }) => state === 'REBINDING');
    assert.ok(renewals.every(({ to }) => to === SERVER));
    assert.ok(rebindings.every(({ to }) => to === '255.255.255.255'));
    check(
      renewals.map(({ at }) => at),
      1800,
      3150,
    );
    check(
      rebindings.map(({ at }) => at),
      3150,
      3600,
    );
    peer.pass(5000);
    assert.deepEqual(peer.events.slice(-4), ['REBINDING', 'lost: expired', 'INIT', 'SELECTING']);
    assert.deepEqual(peer.iface.addresses, []);
    assert.equal(peer.messages()[0]!.requested, OFFERED); // it may still be free
  });

  function check(at: number[], from: number, until: number): void {
    assert.ok(Math.abs(at[0]! - from) <= from * 0.02 + 1, `begins at ${at[0]}, expected ${from}`);
    for (let i = 1; i < at.length; i++) {
      const wanted = Math.max(60, (until - at[i - 1]!) / 2);
      const gap = at[i]! - at[i - 1]!;
      // T2 comes up to 2 % early, and the half of what is left before it.
      assert.ok(gap <= wanted + 2 && gap >= Math.max(59, wanted - until * 0.01 - 2), `gap ${gap}, expected ${wanted}`);
    }
    assert.ok(at.length >= 4, `${at.length} messages`);
  }

  const times = (t1: number, t2: number): dhcp.Option[] => [
    dhcp.numberOption(OPTION.renewalTime, t1, 4),
    dhcp.numberOption(OPTION.rebindingTime, t2, 4),
  ];
  const given: [string, dhcp.Option[], number, number][] = [
    ['as the server says', times(100, 200), 100, 200],
    ['T1 after T2 makes no sense', times(300, 200), 100, 200],
    ['T2 after the end makes no sense', times(100, 99_999), 100, 875],
    ['zeros make no sense', times(0, 0), 500, 875],
    ['for ever makes no sense', times(0xffffffff, 0xffffffff), 500, 875],
    ['T2 alone', [dhcp.numberOption(OPTION.rebindingTime, 600, 4)], 500, 600],
    ['T1 alone', [dhcp.numberOption(OPTION.renewalTime, 250, 4)], 250, 875],
    ['none', [], 500, 875],
  ];
  for (const [name, options, t1, t2] of given) {
    it(`T1 and T2: ${name}`, () => {
      const { lease } = bound({ leaseS: 1000, options }).client;
      assert.deepEqual([lease!.renewMs, lease!.rebindMs], [t1 * 1000, t2 * 1000]);
    });
  }

  it('a renewal keeps the address without probing, and takes new settings', () => {
    const dns = (address: string) => [dhcp.ipOption(OPTION.dnsServers, ip(address))];
    const peer = bound({ options: dns('10.0.0.3') });
    peer.iface.neighbours.set(ip(SERVER), OTHER_MAC);
    peer.pass(HOUR_MS / 2);
    peer.message();
    peer.lines();
    peer.reply({ type: dhcp.ACK, to: OFFERED, toMac: LOCAL_MAC, options: dns('10.0.0.4') });
    assert.equal(peer.client.state, 'BOUND');
    assert.deepEqual(peer.lines(), []);
    assert.deepEqual(
      peer.configured.map((lease) => lease!.dnsServers.map(String)),
      [['10.0.0.3'], ['10.0.0.4']],
    );
    peer.pass(HOUR_MS / 2);
    assert.equal(peer.client.state, 'RENEWING');
  });

  it('RENEWING: another address, another server, are not taken; a NAK of the server ends it at once', () => {
    const peer = bound();
    peer.iface.neighbours.set(ip(SERVER), OTHER_MAC);
    peer.pass(HOUR_MS / 2);
    peer.message();
    peer.reply({ type: dhcp.ACK, yiaddr: '10.0.0.51' });
    peer.reply({ type: dhcp.NAK, server: '10.0.0.66' });
    assert.equal(peer.client.state, 'RENEWING');
    assert.equal(peer.stack.stats.drops['dhcp-bad-lease'], 1);
    assert.equal(peer.stack.stats.drops['dhcp-other-server'], 1);
    peer.reply({ type: dhcp.NAK });
    assert.deepEqual(peer.iface.addresses, []);
    assert.deepEqual(peer.events.slice(-2), ['lost: refused', 'INIT']);
    peer.poll();
    assert.equal(peer.message().requested, null);
  });

  it('REBINDING: any server may renew it, or refuse', () => {
    for (const type of [dhcp.ACK, dhcp.NAK]) {
      const peer = bound({ leaseS: 400 });
      peer.pass(351_000);
      assert.equal(peer.client.state, 'REBINDING');
      peer.messages();
      peer.reply({ type, server: '10.0.0.66', leaseS: 400 });
      assert.equal(peer.client.state, type === dhcp.ACK ? 'BOUND' : 'INIT');
      if (type === dhcp.ACK) assert.equal(`${peer.client.lease!.serverId}`, '10.0.0.66');
    }
  });

  it('a lease for ever needs no renewal', () => {
    const peer = bound({ leaseS: dhcp.INFINITE });
    peer.pass(400 * 86_400_000);
    assert.deepEqual(peer.messages(), []);
    assert.equal(peer.client.store()!.secondsLeft, null);
  });

  it('a lease that runs out while all is lost', () => {
    const peer = bound({ leaseS: 20 });
    peer.device.roomFrames = 0;
    peer.pass(30_000);
    assert.deepEqual(peer.iface.addresses, []);
    assert.equal(peer.configured.at(-1), null);
  });
});

describe('dhcp client: settings', () => {
  it('routers: the first is the default route', () => {
    const options = [dhcp.ipOption(OPTION.routers, ip('10.0.0.254'), ip('10.0.0.253'))];
    const peer = bound({ options });
    const route = peer.stack.ip.routes.lookup(ip('1.2.3.4'));
    assert.equal(`${route?.gateway}`, '10.0.0.254');
    peer.client.close();
    assert.equal(peer.stack.ip.routes.lookup(ip('1.2.3.4')), null);
    assert.equal(peer.stack.ip.routes.lookup(ip('10.0.0.9')), null);
  });

  it('RFC 3442: classless routes take the place of routers, and may name what is on the link', () => {
    const route = (prefix: string, router: string) => ({ prefix: Cidr.parse(prefix), router: ip(router) });
    const peer = bound({
      options: [
        dhcp.ipOption(OPTION.routers, ip('10.0.0.254')),
        dhcp.routesOption([
          route('192.168.7.0/24', '0.0.0.0'),
          route('172.16.0.0/12', '192.168.7.1'),
          route('11.0.0.0/8', '10.0.0.200'),
          route('12.0.0.0/8', '13.0.0.1'), // a router that nobody reaches
        ]),
      ],
    });
    const gateway = (to: string) => {
      const found = peer.stack.ip.routes.lookup(ip(to));
      return found === null ? 'none' : found.gateway === null ? 'link' : `${found.gateway}`;
    };
    assert.equal(gateway('192.168.7.9'), 'link');
    assert.equal(gateway('172.20.0.1'), '192.168.7.1');
    assert.equal(gateway('11.1.1.1'), '10.0.0.200');
    assert.equal(gateway('12.1.1.1'), 'none');
    assert.equal(gateway('8.8.8.8'), 'none');
  });

  it('a host prefix whose router is named on the link: as clouds do', () => {
    const route = (prefix: string, router: string) => ({ prefix: Cidr.parse(prefix), router: ip(router) });
    const options = [dhcp.routesOption([route('169.254.1.1/32', '0.0.0.0'), route('0.0.0.0/0', '169.254.1.1')])];
    const peer = bound({ mask: '255.255.255.255', options });
    assert.equal(`${peer.stack.ip.routes.lookup(ip('8.8.8.8'))?.gateway}`, '169.254.1.1');
  });

  it('DNS servers, domain, search list, time servers, MTU', () => {
    const options = [
      dhcp.ipOption(OPTION.dnsServers, ip('10.0.0.3'), ip('10.0.0.4')),
      dhcp.textOption(OPTION.domainName, 'example.com\0'),
      dhcp.domainsOption(['a.example.com', 'example.org']),
      dhcp.ipOption(OPTION.ntpServers, ip('10.0.0.5')),
      dhcp.numberOption(OPTION.mtu, 1280, 2),
    ];
    const peer = bound({ options });
    const [lease] = peer.configured;
    assert.deepEqual(lease!.dnsServers.map(String), ['10.0.0.3', '10.0.0.4']);
    assert.equal(lease!.domain, 'example.com');
    assert.deepEqual(lease!.search, ['a.example.com', 'example.org']);
    assert.deepEqual(lease!.ntpServers.map(String), ['10.0.0.5']);
    assert.equal(peer.iface.mtu, 1280);
    peer.client.close();
    assert.equal(peer.iface.mtu, 1500);
  });

  it('the domain is searched where no list is given; an MTU below 68, or above the device, changes nothing', () => {
    for (const mtu of [67, 9000]) {
      const options = [dhcp.textOption(OPTION.domainName, 'example.com'), dhcp.numberOption(OPTION.mtu, mtu, 2)];
      const peer = bound({ options });
      assert.deepEqual(peer.client.lease!.search, ['example.com']);
      assert.equal(peer.iface.mtu, 1500);
    }
  });

  it('RFC 791: without a mask the class tells', () => {
    for (const [yiaddr, length] of [
      ['10.0.0.5', 8],
      ['172.16.0.5', 16],
      ['192.168.0.5', 24],
    ] as const) {
      const peer = bound({ mask: null, yiaddr });
      assert.deepEqual(peer.iface.addresses.map(String), [`${yiaddr}/${length}`]);
    }
  });
});

describe('dhcp client: INIT-REBOOT', () => {
  const stored = () => {
    const peer = bound({ leaseS: 3600 });
    peer.pass(10_000);
    return JSON.parse(JSON.stringify(peer.client.store()));
  };

  it('RFC 2131 §3.2: the address of before is asked for, without a server', () => {
    const peer = started({ stored: stored() });
    const request = peer.message();
    assert.equal(request.type, 'Request');
    assert.equal(request.requested, OFFERED);
    assert.equal(request.server, null);
    assert.equal(request.ciaddr, '0.0.0.0');
    assert.equal(request.to, '255.255.255.255');
    peer.reply({ type: dhcp.ACK });
    peer.pass(1000);
    assert.equal(peer.client.state, 'BOUND');
    assert.deepEqual(peer.events, ['INIT-REBOOT', 'REBOOTING', 'PROBING', 'BOUND']);
  });

  it('a NAK: the network has changed', () => {
    const peer = started({ stored: stored() });
    peer.message();
    peer.reply({ type: dhcp.NAK });
    peer.poll();
    const discover = peer.message();
    assert.equal(discover.type, 'Discover');
    assert.equal(discover.requested, null);
  });

  it('an ACK for another address is no answer', () => {
    const peer = started({ stored: stored() });
    peer.message();
    peer.reply({ type: dhcp.ACK, yiaddr: '10.0.0.51' });
    assert.equal(peer.client.state, 'REBOOTING');
    assert.equal(peer.stack.stats.drops['dhcp-bad-lease'], 1);
  });

  it('silence: the address is only asked for again', () => {
    const peer = started({ stored: stored() });
    peer.pass(14_000);
    const types = peer.messages().map(({ type, requested }) => `${type} ${requested}`);
    assert.deepEqual(types.slice(0, 3), [`Request ${OFFERED}`, `Request ${OFFERED}`, `Discover ${OFFERED}`]);
  });

  it('silence, and the lease is trusted: it is used for what is left of it', () => {
    const peer = started({ stored: stored(), trustStored: true });
    peer.pass(15_000);
    assert.equal(peer.client.state, 'BOUND');
    const { startedAt, leaseMs } = peer.client.lease!;
    assert.ok(Math.abs(startedAt + leaseMs - (1000 + 3_589_000)) < 2000, `ends at ${startedAt + leaseMs}`);
  });

  const spoiled: [string, object][] = [
    ['over', { secondsLeft: 0 }],
    ['of no time', { secondsLeft: Number.NaN }],
    ['of no address', { address: 'x' }],
    ['of another family', { address: 'fd00::1' }],
    ['without options', { options: {} }],
    ['with spoiled options', { options: { '54': 'zz', '51': '0' } }],
  ];
  for (const [name, change] of spoiled) {
    it(`a stored lease that is ${name} counts for nothing`, () => {
      const peer = started({ stored: { ...stored(), ...change } });
      assert.equal(peer.message().type, 'Discover');
    });
  }
});

describe('dhcp client: RELEASE, INFORM, close', () => {
  it('RFC 2131 §4.4.6: the RELEASE goes to the server, and the address is gone when it has left', () => {
    const peer = bound();
    let released = 0;
    peer.lines();
    peer.client.release(() => {
      released++;
    });
    assert.equal(peer.client.state, 'RELEASING');
    assert.deepEqual(peer.lines(), [`ARP, Request who-has ${SERVER} tell ${OFFERED}, length 28`]);
    peer.send(arpFrame({ sender: SERVER, target: OFFERED, senderMac: OTHER_MAC }));
    const release = peer.message();
    assert.equal(release.type, 'Release');
    assert.equal(release.ciaddr, OFFERED);
    assert.equal(release.from, OFFERED);
    assert.equal(release.to, SERVER);
    assert.equal(release.server, SERVER);
    assert.equal(release.requested, null);
    assert.equal(release.toMac, `${OTHER_MAC}`);
    peer.pass(100);
    assert.equal(released, 1);
    assert.deepEqual(peer.iface.addresses, []);
    assert.equal(peer.configured.at(-1), null);
    assert.deepEqual(peer.events.slice(-2), ['lost: released', 'CLOSED']);
  });

  it('a server that is gone holds it up for a second at most', () => {
    const peer = bound();
    let releasedAt = 0;
    const since = peer.now;
    peer.client.release(() => {
      releasedAt = peer.now;
    });
    peer.pass(5000);
    assert.ok(releasedAt - since <= 1100, `${releasedAt - since} ms`);
  });

  it('without a lease there is nothing to release', () => {
    const peer = started();
    peer.message();
    let released = 0;
    peer.client.release(() => {
      released++;
    });
    assert.equal(released, 1);
    peer.pass(100_000);
    assert.deepEqual(peer.messages(), []);
  });

  it('RFC 2131 §4.4.3: INFORM asks for settings only', () => {
    const servers: string[][] = [];
    const peer = new DhcpPeer(
      {
        onEvent: (event) => {
          if (event.type === 'informed') servers.push(event.settings.dnsServers.map(String));
        },
      },
      ['10.0.0.7/24'],
    );
    peer.client.inform(ip('10.0.0.7'));
    const inform = peer.message();
    assert.equal(inform.type, 'Inform');
    assert.equal(inform.ciaddr, '10.0.0.7');
    assert.equal(inform.from, '10.0.0.7');
    assert.equal(inform.requested, null);
    const options = [dhcp.ipOption(OPTION.dnsServers, ip('10.0.0.3'))];
    peer.reply({ type: dhcp.ACK, yiaddr: '0.0.0.0', leaseS: null, to: '10.0.0.7', toMac: LOCAL_MAC, options });
    assert.deepEqual(servers, [['10.0.0.3']]);
    assert.equal(peer.client.state, 'CLOSED');
    assert.deepEqual(peer.iface.addresses.map(String), ['10.0.0.7/24']);
  });

  it('INFORM without an answer ends after four', () => {
    const peer = new DhcpPeer({}, ['10.0.0.7/24']);
    peer.client.inform(ip('10.0.0.7'));
    peer.pass(100_000);
    assert.equal(peer.messages().length, 4);
    assert.deepEqual(peer.events, ['INFORMING', 'silence', 'CLOSED']);
  });

  it('closed in any state it leaves nothing behind, and can be started again', () => {
    const states: DhcpPeer[] = [started(), requesting(), bound()];
    const probing = requesting();
    probing.reply({ type: dhcp.ACK });
    states.push(probing);
    for (const peer of states) {
      peer.client.close();
      peer.client.close();
      peer.messages();
      assert.equal(peer.iface.claims.count, 0);
      assert.equal(peer.iface.configPorts.length, 0);
      peer.pass(100_000);
      assert.deepEqual(peer.lines(), []);
      assert.equal(peer.stack.context.timers.count, 0);
      peer.bind();
      assert.equal(peer.client.state, 'BOUND');
      peer.stack.close();
      assert.equal(peer.stack.memory.usedBytes, 0);
    }
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
