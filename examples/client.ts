import { createHost } from 'ethertype';
import { pipePair } from 'ethertype/phy';

// A client that sends back what it gets, chunk by chunk and each reversed, until the server ends.
const [left, right] = pipePair();
const server = createHost({ device: left, addresses: ['fd00::1/64'] });
const client = createHost({ device: right, addresses: ['fd00::2/64'] });

async function reverse(host: string, port: number): Promise<void> {
  await using stream = await client.tcp.connect({ host, port });
  for await (const chunk of stream) await stream.write(chunk.toReversed());
  await stream.end();
}

const listener = await server.tcp.listen({ port: 6969 });
const reversing = reverse('fd00::1', 6969);
const peer = await listener.accept();
for (const text of ['hello', 'world']) {
  await peer.write(new TextEncoder().encode(text));
  console.log(new TextDecoder().decode((await peer.read()) ?? undefined));
}
await peer.end();
await reversing;

await client.close();
await server.close();
