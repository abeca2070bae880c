import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf, text } from '../../test/hosts.ts';
import { createHost, type Host } from '../index.ts';
import { packetStreams, QueueDevice } from './queue-device.ts';

interface Pair {
  readonly left: QueueDevice;
  readonly right: QueueDevice;
  readonly server: Host;
  readonly client: Host;
  close(): Promise<void>;
}

function pair(medium: 'ip' | 'ethernet', queueFrames = 256): Pair {
  const left = new QueueDevice({ medium, queueFrames });
  const right = new QueueDevice({ medium, queueFrames });
  const server = createHost({ device: left, addresses: ['10.0.0.1/24'], memory: 16 << 20 });
  const client = createHost({ device: right, addresses: ['10.0.0.2/24'], memory: 16 << 20 });
  const close = async (): Promise<void> => {
    await Promise.all([client.close(), server.close()]);
    assert.equal(server.memory.usedBytes + client.memory.usedBytes, 0, 'memory is still held');
  };
  return { left, right, server, client, close };
}

async function transfer({ server, client }: Pair): Promise<number> {
  const listener = await server.tcp.listen({ port: 80 });
  const stream = await client.tcp.connect({ host: '10.0.0.1', port: 80 });
  const peer = await listener.accept();
  const writing = stream.write(new Uint8Array(1 << 20)).then(() => stream.end());
  let got = 0;
  for await (const chunk of peer) got += chunk.length;
  await writing;
  await Promise.all([peer.close(), stream.close()]);
  return got;
}

test('what one drains the other is injected: TCP by hand, with a queue that fills up', async () => {
  for (const [medium, frames] of [
    ['ip', 256],
    ['ethernet', 256],
    ['ip', 4],
  ] as const) {
    const both = pair(medium, frames);
    let held: Uint8Array | null = null;
    const move = (from: QueueDevice, to: QueueDevice) => () => {
      queueMicrotask(() => {
        for (let packet = held ?? from.drain(); packet !== null; packet = from.drain()) {
          assert.ok(packet.length <= 1514);
          if (!to.inject(packet)) return; // lost, as on a wire: TCP sends it again
        }
        held = null;
      });
    };
    both.left.onPacket = move(both.left, both.right);
    both.right.onPacket = move(both.right, both.left);
    both.left.onRoom = both.right.onPacket;
    both.right.onRoom = both.left.onPacket;
    assert.equal(await transfer(both), 1 << 20);
    await both.close();
  }
});

test('streams: each is piped into the other, and back-pressure holds up the stack', async () => {
  const both = pair('ethernet', 8);
  const [left, right] = [packetStreams(both.left), packetStreams(both.right)];
  const stop = new AbortController();
  const { signal } = stop;
  const pipes = [left.readable.pipeTo(right.writable, { signal }), right.readable.pipeTo(left.writable, { signal })];
  assert.equal(await transfer(both), 1 << 20);
  assert.equal(both.left.dropped + both.right.dropped, 0);
  stop.abort();
  await Promise.allSettled(pipes);
  await both.close();
});

test('inject: refused when full, lost when too long or without a stack; drain gives arrays of its own', async () => {
  const loose = new QueueDevice();
  assert.equal(loose.inject(bytesOf('x')), true);
  assert.equal(loose.dropped, 1);
  assert.equal(loose.drain(), null);
  assert.throws(() => new QueueDevice({ queueFrames: 3 }), RangeError);
  assert.throws(() => new QueueDevice({ mtu: 1 }), RangeError);
  assert.throws(() => new QueueDevice({ medium: 'x' as never }), TypeError);
  const both = pair('ip', 4);
  assert.equal(both.left.inject(new Uint8Array(1501)), true);
  assert.equal(both.left.dropped, 1);
  let told = 0;
  both.left.onRoom = () => {
    told++;
  };
  // Nothing is polled within this turn.
  assert.deepEqual(
    [1, 2, 3, 4, 5].map(() => both.left.inject(new Uint8Array(20))),
    [true, true, true, true, false],
  );
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(told, 1);
  const socket = await both.server.udp.bind();
  await socket.send(bytesOf('out'), { host: '10.0.0.2', port: 9 });
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(both.left.waiting, 1);
  const packet = both.left.drain()!;
  assert.equal(text(packet.slice(28)), 'out');
  assert.equal(both.left.drain(), null);
  await both.close();
});
