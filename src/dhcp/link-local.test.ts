import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { arpFrame, arpRequest, EtherPeer } from '../../test/ether.ts';
import { LOCAL_MAC } from '../../test/peer.ts';
import { Cidr, IpAddress, MacAddress } from '../wire/address.ts';
import { LinkLocal, type LinkLocalOptions } from './link-local.ts';

const OTHER_MAC = MacAddress.parse('02:00:00:00:00:33');

function linkLocal(options: LinkLocalOptions = {}, mac = LOCAL_MAC, addresses: readonly string[] = []) {
  const peer = new EtherPeer({}, { addresses: addresses.map((text) => Cidr.parse(text)), mac });
  const events: string[] = [];
  const own = new LinkLocal(peer.stack, peer.iface, {
    ...options,
    onConfigured: (address) => events.push(`${address}`),
    onConflict: (address, mac_, isLost) => events.push(`${isLost ? 'lost' : 'defended'} ${address} ${mac_}`),
  });
  own.start();
  return { peer, own, events };
}

const claim = (address: string) => arpFrame({ sender: address, target: '169.254.9.9', senderMac: OTHER_MAC });

describe('link-local: RFC 3927', () => {
  it('§2.1: the same link address finds the same address; others others, all from 169.254.1.0 to 169.254.254.255', () => {
    const found = new Set<string>();
    for (let i = 0; i < 500; i++) {
      const mac = new MacAddress(0x0200, i);
      const [first, second] = [linkLocal({}, mac), linkLocal({}, mac)];
      assert.equal(`${first.own.address}`, `${second.own.address}`);
      const { address, prefixLength } = first.own.address!;
      assert.ok(address.d >>> 0 >= 0xa9fe0100 && address.d >>> 0 <= 0xa9fefeff, `${address}`);
      assert.equal(prefixLength, 16);
      found.add(`${address}`);
    }
    assert.ok(found.size > 490, `${found.size} different ones of 500`);
  });

  it('§2.2: it is probed, then used and announced', () => {
    const { peer, own, events } = linkLocal();
    const text = `${own.address!.address}`;
    assert.equal(peer.iface.addresses.length, 0);
    peer.pass(20_000);
    assert.deepEqual(events, [`${text}/16`]);
    assert.deepEqual(peer.iface.addresses.map(String), [`${text}/16`]);
    const lines = peer.lines();
    assert.equal(lines.filter((line) => line.includes(`who-has ${text} tell 0.0.0.0`)).length, 3);
    assert.equal(lines.filter((line) => line.includes(`who-has ${text} tell ${text}`)).length, 2);
  });

  it('§2.2.1: a conflict, and the next; after ten, one attempt a minute', () => {
    const { peer, own } = linkLocal();
    const tried = new Set<string>();
    const at: number[] = [];
    for (let i = 0; i < 13; i++) {
      while (own.state !== 'PROBING') peer.pass(100);
      const text = `${own.address!.address}`;
      tried.add(text);
      at.push(peer.now);
      peer.send(claim(text));
    }
    assert.equal(tried.size, 13);
    const gaps = at.slice(1).map((t, i) => t - at[i]!);
    assert.ok(
      gaps.slice(0, 9).every((gap) => gap < 1000),
      `${gaps}`,
    );
    assert.ok(
      gaps.slice(9).every((gap) => gap >= 59_000 && gap <= 61_000),
      `${gaps}`,
    );
    peer.pass(80_000);
    assert.equal(own.state, 'BOUND');
  });

  it('§2.5: in use it is defended once; a second conflict, and another is taken', () => {
    const { peer, own, events } = linkLocal();
    peer.pass(20_000);
    const text = `${own.address!.address}`;
    events.length = 0;
    peer.send(claim(text));
    peer.send(claim(text));
    assert.deepEqual(events, [`defended ${text} ${OTHER_MAC}`, `lost ${text} ${OTHER_MAC}`, 'null']);
    assert.deepEqual(peer.iface.addresses, []);
    peer.pass(20_000);
    assert.equal(own.state, 'BOUND');
    assert.notEqual(`${own.address!.address}`, text);
  });

  it('the address of before is tried first, if it is one', () => {
    const one = IpAddress.parse('169.254.7.7');
    assert.equal(`${linkLocal({ address: one }).own.address}`, '169.254.7.7/16');
    for (const text of ['10.0.0.1', '169.254.0.9', '169.254.255.9', 'fe80::1']) {
      assert.notEqual(`${linkLocal({ address: IpAddress.parse(text) }).own.address!.address}`, text);
    }
  });

  it('one that is set by hand already is passed over', () => {
    const first = `${linkLocal().own.address!.address}`;
    const { own, peer } = linkLocal({}, LOCAL_MAC, [`${first}/16`]);
    peer.pass(20_000);
    assert.equal(own.state, 'BOUND');
    assert.notEqual(`${own.address!.address}`, first);
  });

  it('§2.5: ARP with a link-local sender is broadcast, replies too', () => {
    const { peer, own } = linkLocal();
    peer.pass(20_000);
    peer.device.sent.length = 0;
    peer.send(arpRequest({ sender: '169.254.9.9', target: `${own.address!.address}`, senderMac: OTHER_MAC }));
    const [reply] = peer.device.sent;
    assert.equal(Buffer.from(reply!.subarray(0, 6)).toString('hex'), 'ffffffffffff');
    assert.equal(reply![21], 2); // a reply
  });

  /** Whom the stack asks for when it sends to `to`. */
  function asksFor(peer: EtherPeer, to: string): string {
    peer.lines();
    peer.stack.udpSocket().send(new Uint8Array(1), { address: IpAddress.parse(to), port: 9 });
    return /who-has (\S+) /.exec(peer.lines()[0]!)![1]!;
  }

  it('§2.6.2: a link-local destination is on the link, whatever the default route says', () => {
    const peer = new EtherPeer();
    peer.stack.addDefaultRoute(IpAddress.parse('10.0.0.254'));
    assert.equal(asksFor(peer, '8.8.8.8'), '10.0.0.254');
    assert.equal(asksFor(peer, '169.254.3.4'), '169.254.3.4');
  });

  it('§2.7: what has a link-local source is given to no router', () => {
    const { peer } = linkLocal();
    peer.pass(20_000);
    peer.stack.addRoute({
      prefix: Cidr.parse('0.0.0.0/0'),
      iface: peer.iface,
      gateway: IpAddress.parse('169.254.1.9'),
    });
    assert.equal(asksFor(peer, '8.8.8.8'), '8.8.8.8');
  });

  it('closed in any state it leaves nothing behind', () => {
    for (const ms of [0, 500, 20_000]) {
      const { peer, own } = linkLocal();
      peer.pass(ms);
      own.close();
      own.close();
      peer.lines();
      peer.pass(100_000);
      assert.deepEqual(peer.lines(), []);
      assert.deepEqual(peer.iface.addresses, []);
      assert.equal(peer.iface.claims.count, 0);
      assert.equal(peer.stack.context.timers.count, 0);
      peer.stack.close();
      assert.equal(peer.stack.memory.usedBytes, 0);
    }
  });
});
