// Two hosts on a virtual wire; everything in design order. Run: node dist/examples/first.js
import { createHost } from '../src/index.ts';
import { pipePair } from '../src/phy/index.ts';

const [left, right] = pipePair({ medium: 'ip', mtu: 1500 });
const server = createHost({ device: left, addresses: ['10.0.0.1/24', 'fd00::1/64'] });
const client = createHost({ device: right, addresses: ['10.0.0.2/24', 'fd00::2/64'] });

const listener = await server.tcp.listen({ port: 80 });
const stream = await client.tcp.connect({ host: '10.0.0.1', port: 80 });
const peer = await listener.accept();
await stream.write(new Uint8Array([1, 2, 3]));
console.log(await peer.read());
await stream.end();
console.log(await peer.read());
await peer.close();

const v6 = await client.tcp.connect({ host: 'fd00::1', port: 80 });
const peer6 = await listener.accept();
await v6.write(new TextEncoder().encode('over IPv6'));
const buffer = new Uint8Array(64);
const count = await peer6.readInto(buffer);
console.log(new TextDecoder().decode(buffer.subarray(0, count)), 'from', peer6.remoteAddress);

const udp = await server.udp.bind({ port: 53 });
const sender = await client.udp.bind({ port: 0 });
await sender.send(new Uint8Array([4, 5]), { host: '10.0.0.1', port: 53 });
console.log(await udp.receive());
console.log(await client.ping('10.0.0.1'), await client.ping('fd00::1'));
await client.close();
await server.close();
console.log('memory in use:', server.memory.usedBytes);
