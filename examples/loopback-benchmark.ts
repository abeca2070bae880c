import { createHost, type Host } from 'ethertype';
import { FaultInjector, PcapWriter, pipePair, Tracer } from 'ethertype/phy';

const BYTES = 64 << 20;

/** Sends `BYTES` from one host to another, or to itself, and says how fast that was. */
async function transfer(name: string, client: Host, server: Host, address: string): Promise<void> {
  const listener = await server.tcp.listen({ port: 1234 });
  const stream = await client.tcp.connect({ host: address, port: 1234 });
  const peer = await listener.accept();
  const start = performance.now();
  const writing = stream.write(new Uint8Array(BYTES)).then(() => stream.end());
  const buffer = new Uint8Array(1 << 18);
  let received = 0;
  for (let n = await peer.readInto(buffer); n > 0; n = await peer.readInto(buffer)) received += n;
  await writing;
  const gbit = (received * 8) / ((performance.now() - start) * 1e6);
  console.log(`${name}: ${received} bytes at ${gbit.toFixed(1)} Gbit/s`);
  await peer.close();
  await listener.close();
}

// Through the host's own loopback, and then over a wire with everything that may stand around a device.
const host = createHost();
await transfer('loopback', host, host, '127.0.0.1');
await host.close();

const [left, right] = pipePair({ medium: 'ethernet', mtu: 1500 });
let captured = 0;
let traced = 0;
const capture = {
  write(bytes: Uint8Array): void {
    captured += bytes.length;
  },
};
const device = new FaultInjector(new Tracer(new PcapWriter(left, capture), () => traced++), { drop: 0.0001, seed: 7 });
const client = createHost({ device, addresses: ['10.0.0.1/24'] });
const server = createHost({ device: right, addresses: ['10.0.0.2/24'] });
await transfer('with fault injector, tracer and capture', client, server, '10.0.0.2');
console.log(`${device.stats.dropped} frames lost`);
if (captured < BYTES || traced === 0) throw new Error('what passed was not seen');
await client.close();
await server.close();
