import { createHost } from 'ethertype';
import { pipePair } from 'ethertype/phy';

const [left, right] = pipePair({ medium: 'ip', mtu: 1500 });
const server = createHost({ device: left, addresses: ['10.0.0.1/24', 'fd00::1/64'] });
const client = createHost({ device: right, addresses: ['10.0.0.2/24', 'fd00::2/64'] });

const listener = await server.tcp.listen({ port: 80 });
const stream = await client.tcp.connect({ host: '10.0.0.1', port: 80 });
const peer = await listener.accept();

await stream.write(new TextEncoder().encode('hello'));
console.log(new TextDecoder().decode((await peer.read()) ?? undefined));

await client.close();
await server.close();
