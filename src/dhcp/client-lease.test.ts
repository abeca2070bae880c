import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bound, DhcpPeer, OFFERED, OTHER_MAC, requesting, SERVER, started } from '../../test/dhcp.ts';
import { arpFrame } from '../../test/ether.ts';
import { LOCAL_MAC } from '../../test/peer.ts';
import { IpAddress } from '../wire/address.ts';
import * as dhcp from '../wire/dhcpv4.ts';

const { OPTION } = dhcp;
const ip = IpAddress.parse;
const HOUR_MS = 3_600_000;

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
