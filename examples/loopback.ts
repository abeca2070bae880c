import { IpAddress, Stack } from 'ethertype/core';
import { Random } from 'ethertype/phy';

// One stack that talks to itself, in time that is only counted: no device, no clock, nothing of any platform.
const random = new Random(7);
const stack = new Stack({ random: () => random.next(), memory: 1 << 20 });
const listener = stack.tcpSocket();
listener.listen({ port: 1234 });
const client = stack.tcpSocket();
client.connect({ address: IpAddress.parse('127.0.0.1'), port: 1234 });
client.send(new TextEncoder().encode('0123456789abcdef'));

const buffer = new Uint8Array(16);
let now = 0;
let count = 0;
for (let server = listener.accept(); count === 0; server ??= listener.accept()) {
  stack.poll(now);
  now = Math.max(now, Math.min(stack.pollAt(), now + 1));
  count = Math.max(0, server?.recv(buffer) ?? 0);
}
console.log(`${new TextDecoder().decode(buffer)} came round by ${now} ms`);
stack.close();
if (stack.memory.usedBytes !== 0) throw new Error('memory was not given back');
