import { createHost } from 'ethertype';
import { Link, Random, VirtualClock } from 'ethertype/sim';

// A bad link in virtual time: half a minute of it takes a moment, and every run is the same.
const link = new Link({
  seed: 7,
  delayMs: 40,
  rateBitsPerSecond: 1e6,
  queueBytesMax: 20_000,
  drop: 0.01,
  schedule: [
    { atMs: 5000, down: true }, // nothing passes for two seconds
    { atMs: 7000, down: false },
  ],
});
const clock = new VirtualClock();
const random = new Random(7);
const common = { clock, random: () => random.next() };
const server = createHost({ device: link.left, addresses: ['10.0.0.1/24'], ...common });
const client = createHost({ device: link.right, addresses: ['10.0.0.2/24'], ...common });

const size = 2_000_000;
let received = 0;
async function serve(): Promise<void> {
  const listener = await server.tcp.listen({ port: 80 });
  const peer = await listener.accept();
  for await (const chunk of peer) received += chunk.length;
}
async function send(): Promise<void> {
  const stream = await client.tcp.connect({ host: '10.0.0.1', port: 80 });
  await stream.write(new Uint8Array(size));
  await stream.end();
}
const done = Promise.all([serve(), send()]);
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
await clock.run({ settle, until: () => received === size });
await done;
console.log(`${received} bytes in ${(clock.now() / 1000).toFixed(1)} s, ${link.stats.backward.dropped} frames lost`);
