import assert from 'node:assert/strict';
import { test } from 'node:test';
import { established } from '../../../test/peer.ts';
import { createHost } from '../../index.ts';
import { pipePair } from '../../phy/pipe.ts';
import { Stack } from '../../stack.ts';
import { mergeSettings, TCP_DEFAULTS } from '../settings.ts';
import { ALGORITHMS, bbr, type CongestionControl, cubic, newreno, sendQuantum } from './index.ts';

/** An algorithm of a user's own: always three segments. */
const three: CongestionControl = {
  name: 'three',
  ownsWindow: false,
  init(c) {
    c.cwnd = 3 * c.mss;
  },
  acked() {},
  reduce() {},
  timedOut() {},
  undo() {},
};

test('congestion: a connection has the algorithm of its settings, by name or as an object', () => {
  for (const [asked, name, segments] of [
    [undefined, 'cubic', 10],
    ['newreno', 'newreno', 10],
    ['cubic', 'cubic', 10],
    ['bbr', 'bbr', 10],
    [bbr, 'bbr', 10],
    [three, 'three', 3],
  ] as const) {
    const peer = established(asked === undefined ? {} : { tcp: { congestion: asked } });
    assert.equal(peer.connection!.congestion.name, name);
    peer.write(100_000);
    assert.equal(peer.take().length, segments, name);
    peer.end();
  }
});

test('congestion: a stack of the core names what it was made with', () => {
  const random = (): number => 1;
  const bare = new Stack({ random, memory: 1 << 20 });
  assert.equal((bare.tcp.settings.congestion as CongestionControl).name, 'cubic');
  assert.throws(() => bare.tcpSocket({ congestion: 'bbr' }), {
    name: 'RangeError',
    message: /expected cubic or .* bbr/,
  });
  bare.tcpSocket({ congestion: bbr });
  const whole = new Stack({ random, memory: 1 << 20, congestion: ALGORITHMS, tcp: { congestion: 'newreno' } });
  assert.equal(whole.tcp.settings.congestion, newreno);
  whole.tcpSocket({ congestion: 'bbr' });
});

test('congestion: what is no algorithm is refused', () => {
  for (const wrong of ['vegas', null, 1, {}, { ...three, undo: undefined }, { ...three, acked: 1 }]) {
    assert.throws(() => mergeSettings(TCP_DEFAULTS, { congestion: wrong } as never), {
      name: 'RangeError',
      message: /^congestion: expected cubic or an algorithm/,
    });
  }
  assert.equal(mergeSettings(TCP_DEFAULTS, { congestion: three }).congestion, three);
  assert.equal(mergeSettings(TCP_DEFAULTS, { congestion: 'cubic' }).congestion, cubic);
});

test('congestion: a host knows all three by name', async () => {
  const [left, right] = pipePair({ medium: 'ip' });
  await using server = createHost({ device: left, addresses: ['10.0.0.1/24'], tcp: { congestion: 'newreno' } });
  await using client = createHost({ device: right, addresses: ['10.0.0.2/24'] });
  const listener = await server.tcp.listen({ port: 80 });
  const stream = await client.tcp.connect({ host: '10.0.0.1', port: 80, tcp: { congestion: 'bbr' } });
  const peer = await listener.accept();
  assert.equal(stream.socket.connection!.congestion, bbr);
  assert.equal(peer.socket.connection!.congestion, newreno);
});

test('congestion: a burst is what a millisecond carries, between two segments and 64 KB', () => {
  const peer = established();
  const c = peer.connection!;
  for (const [rate, bytes] of [
    [0, 2 * c.mss],
    [1e6, 2 * c.mss],
    [1e7, 1e4],
    [1e9, 65_536],
  ] as const) {
    c.pacingRate = rate;
    assert.equal(sendQuantum(c), bytes);
  }
  peer.end();
});
