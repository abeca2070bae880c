// The public API over a pipe: bulk, round trips, connections: node dist/bench/api.js [offload]
import { createHost } from '../src/index.ts';
import { pipePair } from '../src/phy/index.ts';

const offload = process.argv.includes('offload');
const [left, right] = pipePair({ medium: 'ip', mtu: 1500, offload });
const server = createHost({ device: left, addresses: ['10.0.0.1/24'] });
const client = createHost({ device: right, addresses: ['10.0.0.2/24'] });

const seconds = 1;
async function bulk(into: boolean): Promise<void> {
  const listener = await server.tcp.listen({ port: 9 });
  const stream = await client.tcp.connect({ host: '10.0.0.1', port: 9 });
  const peer = await listener.accept();
  const chunk = new Uint8Array(65536);
  let stop = false;
  const writer = (async () => {
    while (!stop) await stream.write(chunk);
    await stream.end();
  })();
  let total = 0;
  const start = performance.now();
  const buffer = new Uint8Array(65536);
  setTimeout(() => {
    stop = true;
  }, seconds * 1000);
  for (;;) {
    const n = into ? await peer.readInto(buffer) : ((await peer.read())?.length ?? 0);
    if (n === 0) break;
    total += n;
  }
  const ms = performance.now() - start;
  await writer;
  await stream.close();
  await peer.close();
  await listener.close();
  console.log(`bulk ${into ? 'readInto' : 'read'}: ${((total * 8) / ms / 1e6).toFixed(1)} Gbit/s`);
}

async function roundTrips(): Promise<void> {
  const listener = await server.tcp.listen({ port: 7 });
  const stream = await client.tcp.connect({ host: '10.0.0.1', port: 7 });
  const peer = await listener.accept();
  const echo = (async () => {
    for (;;) {
      const data = await peer.read();
      if (data === null) break;
      await peer.write(data);
    }
  })();
  const message = new Uint8Array(64);
  const start = performance.now();
  let count = 0;
  while (performance.now() - start < seconds * 1000) {
    for (let i = 0; i < 100; i++) {
      await stream.write(message);
      await stream.read();
      count++;
    }
  }
  console.log(`round trips: ${Math.round((count * 1000) / (performance.now() - start))} /s`);
  await stream.close();
  await echo;
  await peer.close();
  await listener.close();
}

async function connections(): Promise<void> {
  const listener = await server.tcp.listen({ port: 80 });
  const serving = (async () => {
    for await (const peer of listener) void peer.read().then(() => peer.close());
  })();
  const start = performance.now();
  let count = 0;
  while (performance.now() - start < seconds * 1000) {
    const stream = await client.tcp.connect({ host: '10.0.0.1', port: 80 });
    await stream.end();
    await stream.read();
    await stream.close();
    count++;
  }
  console.log(`connections: ${Math.round((count * 1000) / (performance.now() - start))} /s`);
  await listener.close();
  await serving;
}

for (let i = 0; i < 3; i++) await bulk(false);
for (let i = 0; i < 3; i++) await bulk(true);
for (let i = 0; i < 3; i++) await roundTrips();
for (let i = 0; i < 3; i++) await connections();
await client.close();
await server.close();
console.log('memory in use', server.memory.usedBytes);
