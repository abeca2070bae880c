import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { arpFrame, arpRequest, EtherPeer } from '../../test/ether.ts';
import { LOCAL_MAC, REMOTE_MAC } from '../../test/peer.ts';
import { Random } from '../phy/random.ts';
import { Cidr, IpAddress, MacAddress } from '../wire/address.ts';
import { type ClaimOptions, PROBES } from './acd.ts';

const PROBE = 'ARP, Request who-has 10.0.0.9 tell 0.0.0.0, length 28';
const ANNOUNCEMENT = 'ARP, Request who-has 10.0.0.9 tell 10.0.0.9, length 28';
const NINE = IpAddress.parse('10.0.0.9');
const OTHER_MAC = MacAddress.parse('02:00:00:00:00:33');

/** A peer whose stack claims 10.0.0.9, and what its claim has come to. */
function claiming(options: Partial<ClaimOptions> = {}) {
  const peer = new EtherPeer();
  const events: string[] = [];
  peer.iface.claims.claim(NINE, {
    probes: PROBES,
    announce: true,
    defence: 'defend',
    onClaimed: () => events.push('claimed'),
    onConflict: (mac, isLost) => events.push(`${isLost ? 'lost to' : 'defended from'} ${mac}`),
    ...options,
  });
  peer.lines();
  return { peer, events };
}

const conflict = () => arpFrame({ sender: '10.0.0.9', target: '10.0.0.77', senderMac: OTHER_MAC });

describe('acd: probing', () => {
  it('RFC 5227 §2.1.1: three probes 1 to 2 s apart, the first within a second, ours 2 s after the last', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = new Random(seed);
      const peer = new EtherPeer({ random: () => random.next() });
      const at: number[] = [];
      let claimedAt = 0;
      peer.iface.claims.claim(NINE, {
        probes: PROBES,
        announce: false,
        defence: 'defend',
        onClaimed: () => {
          claimedAt = peer.now;
        },
      });
      const since = peer.now;
      while (claimedAt === 0) {
        peer.pass(1);
        for (const line of peer.lines()) {
          assert.equal(line, PROBE);
          at.push(peer.now);
        }
      }
      assert.equal(at.length, 3);
      const [first, second, third] = at as [number, number, number];
      assert.ok(first - since <= 1001, `first probe after ${first - since} ms`);
      for (const gap of [second - first, third - second]) assert.ok(gap >= 999 && gap <= 2001, `${gap} ms apart`);
      assert.equal(Math.round((claimedAt - third) / 10), 200);
    }
  });

  it('a probe has a broadcast destination, our own sender and no target link address', () => {
    const { peer } = claiming();
    peer.pass(1100);
    const [frame] = peer.device.sent;
    const hex = Buffer.from(frame!).toString('hex');
    assert.equal(hex, 'ffffffffffff02000000000108060001080006040001020000000001000000000000000000000a000009');
  });

  it('RFC 5227 §2.3: then two announcements 2 s apart, and no more', () => {
    const { peer, events } = claiming();
    while (events.length === 0) peer.pass(1);
    assert.deepEqual(events, ['claimed']);
    assert.deepEqual(peer.lines().slice(3), [ANNOUNCEMENT]);
    peer.pass(60_000);
    assert.deepEqual(peer.lines(), [ANNOUNCEMENT]);
    peer.stack.close();
    assert.equal(peer.stack.memory.usedBytes, 0);
  });

  const conflicts: [string, Uint8Array][] = [
    ['a reply from whoever has it', conflict()],
    ['a request it makes', arpRequest({ sender: '10.0.0.9', target: '10.0.0.77', senderMac: OTHER_MAC })],
    ['its announcement', arpRequest({ sender: '10.0.0.9', target: '10.0.0.9', senderMac: OTHER_MAC })],
    ['a probe for the same address', arpRequest({ sender: '0.0.0.0', target: '10.0.0.9', senderMac: OTHER_MAC })],
  ];
  for (const [name, frame] of conflicts) {
    it(`lost by ${name}`, () => {
      const { peer, events } = claiming();
      peer.pass(1100);
      peer.send(frame);
      assert.deepEqual(events, [`lost to ${OTHER_MAC}`]);
      assert.equal(peer.stack.stats.drops['arp-conflict'], 1);
      peer.lines();
      peer.pass(60_000);
      assert.deepEqual(peer.lines(), []); // neither probed nor announced any more
    });
  }

  const harmless: [string, Uint8Array][] = [
    ['our own probe that came back', arpRequest({ sender: '0.0.0.0', target: '10.0.0.9', senderMac: LOCAL_MAC })],
    ['a probe for another address', arpRequest({ sender: '0.0.0.0', target: '10.0.0.8', senderMac: OTHER_MAC })],
    ['somebody who asks for it', arpRequest({ sender: '10.0.0.5', target: '10.0.0.9', senderMac: OTHER_MAC })],
    ['a reply with no sender', arpFrame({ sender: '0.0.0.0', target: '10.0.0.9', senderMac: OTHER_MAC })],
  ];
  for (const [name, frame] of harmless) {
    it(`not lost by ${name}`, () => {
      const { peer, events } = claiming();
      peer.pass(1100);
      peer.send(frame);
      peer.pass(10_000);
      assert.deepEqual(events, ['claimed']);
    });
  }

  it('an address being probed is not ours yet: nobody is answered', () => {
    const { peer } = claiming();
    peer.pass(1100);
    peer.lines();
    peer.send(arpRequest({ sender: '10.0.0.5', target: '10.0.0.9', senderMac: OTHER_MAC }));
    assert.deepEqual(peer.lines(), []);
  });
});

describe('acd: defence, RFC 5227 §2.4', () => {
  const held = (defence: ClaimOptions['defence']) => {
    const claimed = claiming({ probes: null, announce: false, defence });
    claimed.events.length = 0;
    return claimed;
  };

  it('(a) retreat: the first conflict ends it', () => {
    const { peer, events } = held('retreat');
    peer.send(conflict());
    assert.deepEqual(events, [`lost to ${OTHER_MAC}`]);
    assert.deepEqual(peer.lines(), []);
  });

  it('(b) defend: one announcement; a second conflict within DEFEND_INTERVAL ends it', () => {
    const { peer, events } = held('defend');
    peer.send(conflict());
    assert.deepEqual(peer.lines(), [ANNOUNCEMENT]);
    peer.pass(9000);
    peer.send(conflict());
    assert.deepEqual(peer.lines(), []);
    assert.deepEqual(events, [`defended from ${OTHER_MAC}`, `lost to ${OTHER_MAC}`]);
  });

  it('(b) defend: conflicts further apart are each answered', () => {
    const { peer, events } = held('defend');
    for (let i = 0; i < 3; i++) {
      peer.send(conflict());
      peer.pass(10_001);
    }
    assert.deepEqual(peer.lines(), [ANNOUNCEMENT, ANNOUNCEMENT, ANNOUNCEMENT]);
    assert.equal(events.filter((event) => event.startsWith('lost')).length, 0);
  });

  it('(c) insist: never lost, and one announcement in DEFEND_INTERVAL at most', () => {
    const { peer, events } = held('insist');
    for (let i = 0; i < 100; i++) {
      peer.send(conflict());
      peer.pass(200);
    }
    assert.equal(peer.lines().length, 2);
    assert.equal(events.length, 100);
    assert.ok(events.every((event) => event.startsWith('defended')));
  });
});

describe('acd: addresses of a stack', () => {
  it('a static address is announced twice, 2 s apart', () => {
    const peer = new EtherPeer({}, { announce: true });
    peer.pass(10_000);
    const line = 'ARP, Request who-has 10.0.0.1 tell 10.0.0.1, length 28';
    assert.deepEqual(peer.lines(), [line, line]);
  });

  it('an address that is probed is added when nobody has it', () => {
    const peer = new EtherPeer();
    let added = 0;
    peer.stack.addAddress(peer.iface, Cidr.parse('10.0.0.9/24'), {
      probe: true,
      onAdded: () => {
        added++;
      },
    });
    assert.ok(!peer.iface.hasAddress(NINE));
    peer.pass(8000);
    assert.ok(peer.iface.hasAddress(NINE));
    assert.equal(added, 1);
  });

  it('and not when somebody has it, and says who', () => {
    const peer = new EtherPeer();
    const macs: string[] = [];
    const onConflict = (mac: MacAddress) => macs.push(`${mac}`);
    peer.stack.addAddress(peer.iface, Cidr.parse('10.0.0.9/24'), { probe: true, onConflict });
    peer.pass(1100);
    peer.send(conflict());
    peer.pass(8000);
    assert.ok(!peer.iface.hasAddress(NINE));
    assert.deepEqual(macs, [`${OTHER_MAC}`]);
    peer.stack.addAddress(peer.iface, Cidr.parse('10.0.0.9/24')); // it can be tried again
  });

  it('an address that was removed is defended no longer', () => {
    const peer = new EtherPeer({}, { announce: true });
    peer.pass(10_000);
    peer.lines();
    peer.stack.removeAddress(peer.iface, IpAddress.parse('10.0.0.1'));
    peer.send(arpFrame({ sender: '10.0.0.1', target: '10.0.0.77' }));
    assert.deepEqual(peer.lines(), []);
  });

  it('limits: no address twice, no more than the table takes', () => {
    const peer = new EtherPeer();
    const options = { probes: null, announce: false, defence: 'insist' } as const;
    assert.throws(() => peer.iface.claims.claim(IpAddress.parse('10.0.0.1'), options), /not claimed yet/);
    for (let i = 0; i < 127; i++) peer.iface.claims.claim(IpAddress.v4(0x0a010000 + i), options);
    assert.throws(() => peer.iface.claims.claim(IpAddress.v4(0x0a020000), options), /at most 128/);
  });
});

describe('neighbours set by hand', () => {
  const udp = (peer: EtherPeer) => {
    peer.stack.udpSocket().send(new Uint8Array(1), { address: IpAddress.parse('10.0.0.2'), port: 9 });
    return peer.device.sent.splice(0).map((frame) => Buffer.from(frame.subarray(0, 6)).toString('hex'));
  };

  it('are not asked for, and nothing heard changes them', () => {
    const peer = new EtherPeer();
    peer.iface.neighbours.set(IpAddress.parse('10.0.0.2'), OTHER_MAC);
    assert.deepEqual(udp(peer), ['020000000033']);
    peer.send(arpFrame({ sender: '10.0.0.2', senderMac: REMOTE_MAC }));
    peer.pass(600_000);
    assert.deepEqual(udp(peer), ['020000000033']);
    assert.deepEqual(peer.lines(), []);
  });

  it('what waited for them leaves; deleted, they are asked for again', () => {
    const peer = new EtherPeer();
    assert.deepEqual(udp(peer), ['ffffffffffff']); // a request
    peer.iface.neighbours.set(IpAddress.parse('10.0.0.2'), OTHER_MAC);
    assert.deepEqual(udp(peer), ['020000000033', '020000000033']);
    assert.equal(peer.iface.neighbours.delete(IpAddress.parse('10.0.0.2')), true);
    assert.equal(peer.iface.neighbours.delete(IpAddress.parse('10.0.0.2')), false);
    assert.deepEqual(udp(peer), ['ffffffffffff']);
    peer.stack.close();
    assert.equal(peer.stack.memory.usedBytes, 0);
  });

  it('are never evicted, and half of the table at most', () => {
    const peer = new EtherPeer();
    for (let i = 0; i < 8192; i++) peer.iface.neighbours.set(IpAddress.v4(0x0a000100 + i), OTHER_MAC);
    assert.throws(() => peer.iface.neighbours.set(IpAddress.v4(0x0a010500), OTHER_MAC), /at most 8192/);
    for (let i = 0; i < 20_000; i++) peer.iface.neighbours.get(IpAddress.v4(0x0b000000 + i));
    for (let i = 0; i < 8192; i++) assert.ok(peer.iface.neighbours.find(IpAddress.v4(0x0a000100 + i))!.isStatic);
  });
});
