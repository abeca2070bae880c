import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FragmentRig, REMOTES, type Version } from '../../test/fragments.ts';
import { errorV6, fragmentationNeeded } from '../../test/icmp-errors.ts';
import { PACKET_TOO_BIG } from '../wire/icmpv6.ts';
import { octetsOf } from '../wire/octets.ts';

const VERSIONS: readonly Version[] = [4, 6];
const TEN_MINUTES = 600_000;

/** A router's report about `packet`. */
const tooBig = (version: Version, packet: Uint8Array, mtu: number): Uint8Array =>
  version === 4 ? fragmentationNeeded(packet, mtu) : errorV6(packet, PACKET_TOO_BIG, 0, mtu);

for (const version of VERSIONS) {
  const to = { address: REMOTES[version], port: 9 };
  const header = version === 4 ? 28 : 48;

  test(`path MTU of datagrams, IPv${version}: a report about one that was sent is believed, for ten minutes`, () => {
    const rig = new FragmentRig();
    const { socket, device, stack } = rig;
    assert.equal(socket.pathMtu, null);
    assert.equal(socket.pathMtuTo(to.address), 1500);
    socket.send(new Uint8Array(1500 - header), to);
    const [packet] = device.sent.splice(0);
    rig.send(tooBig(version, packet!, 1300));
    assert.equal(socket.pathMtuTo(to.address), 1300);
    assert.equal(stack.stats.pathMtuChanges, 1);
    socket.send(new Uint8Array(1500 - header), to);
    assert.deepEqual(device.sent.splice(0).length, 2, 'cut at the source');
    rig.pass(TEN_MINUTES);
    assert.equal(socket.pathMtuTo(to.address), 1500);
    rig.end();
    assert.equal(stack.memory.usedBytes, 0);
  });

  test(`path MTU of datagrams, IPv${version}: who did not see the packet cannot lower it`, () => {
    const rig = new FragmentRig();
    const { socket, device } = rig;
    socket.send(new Uint8Array(1500 - header), to);
    const [packet] = device.sent.splice(0);
    const forged = (change: (dv: DataView) => void): Uint8Array => {
      const bytes = packet!.slice();
      change(octetsOf(bytes).dv);
      return bytes;
    };
    const rows: [string, Uint8Array, number][] =
      version === 4
        ? [
            ['another identification', forged((dv) => dv.setUint16(4, dv.getUint16(4) ^ 1)), 1300],
            ['another length', forged((dv) => dv.setUint16(2, 1499)), 1300],
            ['another destination', forged((dv) => dv.setUint8(19, 3)), 1300],
            ['RFC 791: less than any network takes', packet!, 67],
          ]
        : [
            ['another port', forged((dv) => dv.setUint16(42, 10)), 1300],
            ['another destination', forged((dv) => dv.setUint8(39, 3)), 1300],
            ['RFC 8201 §4: below the minimum', packet!, 1279],
          ];
    rows.push(['more than was sent', packet!, 1500]);
    for (const [i, [name, quoted, mtu]] of rows.entries()) {
      rig.send(tooBig(version, quoted, mtu));
      assert.equal(socket.pathMtuTo(to.address), 1500, name);
      assert.equal(rig.drops('icmp-bad-mtu'), i + 1, name);
    }
    rig.send(tooBig(version, packet!, version === 4 ? 100 : 1280));
    assert.equal(socket.pathMtuTo(to.address), version === 4 ? 552 : 1280, 'the floor');
    rig.end();
  });

  test(`path MTU of datagrams, IPv${version}: a connected socket is told, unless routers may cut`, () => {
    for (const mode of ['want', 'dont'] as const) {
      if (version === 4 && mode === 'dont') continue; // then no router has anything to report
      const rig = new FragmentRig();
      const socket = rig.stack.udpSocket();
      socket.pathMtuDiscovery = mode;
      socket.connect(to);
      socket.send(new Uint8Array(1500 - header));
      rig.send(tooBig(version, rig.device.sent.splice(0)[0]!, 1300));
      assert.equal(socket.error, mode === 'want' ? 'EMSGSIZE' : null);
      assert.equal(socket.pathMtu, 1300);
      if (mode === 'want') assert.throws(() => socket.send(new Uint8Array(1)), { code: 'EMSGSIZE' });
      assert.equal(socket.send(new Uint8Array(1)), true, 'once');
      rig.end();
    }
  });

  test(`path MTU of datagrams, IPv${version}: pings find it out too`, () => {
    const rig = new FragmentRig();
    const socket = rig.stack.icmpSocket();
    socket.sendEcho(to.address, 1, new Uint8Array(1500 - header));
    rig.send(tooBig(version, rig.device.sent.splice(0)[0]!, 1400));
    assert.equal(rig.socket.pathMtuTo(to.address), 1400);
    socket.sendEcho(to.address, 2, new Uint8Array(1500 - header));
    assert.equal(rig.device.sent.splice(0).length, 2);
    socket.pathMtuDiscovery = 'do';
    assert.throws(() => socket.sendEcho(to.address, 3, new Uint8Array(1500 - header)), { code: 'EMSGSIZE' });
    rig.end();
    assert.equal(rig.stack.memory.usedBytes, 0);
  });
}

test('path MTU of datagrams: IPv6: a report about a fragment of ours counts, and no second one of the same kind', () => {
  const rig = new FragmentRig();
  const to = { address: REMOTES[6], port: 9 };
  rig.socket.send(new Uint8Array(4000), to);
  const [first, second] = rig.device.sent.splice(0);
  rig.send(tooBig(6, second!, 1300));
  assert.equal(rig.socket.pathMtuTo(to.address), 1500, 'a later fragment names no socket');
  rig.send(tooBig(6, first!, 1300));
  assert.equal(rig.socket.pathMtuTo(to.address), 1300);
  rig.send(tooBig(6, first!, 1300));
  assert.equal(rig.drops('icmp-bad-mtu'), 1);
  rig.end();
});

test('path MTU of datagrams: IPv6: an error about the first fragment reaches the socket', () => {
  const rig = new FragmentRig();
  const socket = rig.stack.udpSocket();
  socket.connect({ address: REMOTES[6], port: 9 });
  socket.send(new Uint8Array(4000));
  rig.send(errorV6(rig.device.sent.splice(0)[0]!, 1, 4));
  assert.equal(socket.error, 'ECONNREFUSED');
  rig.end();
});
