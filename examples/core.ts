import { Cidr, IpAddress, READABLE, Stack, type TcpSocket } from 'ethertype/core';
import { pipePair, Random } from 'ethertype/phy';

// Two stacks driven by hand, in time of our own making: nothing here waits for a clock.
const [left, right] = pipePair();
const random = new Random(7);
const options = { random: () => random.next(), memory: left.memory };
const client = new Stack(options);
const server = new Stack(options);
client.addInterface(left, { addresses: [Cidr.parse('10.0.0.1/24')] });
server.addInterface(right, { addresses: [Cidr.parse('10.0.0.2/24')] });

const listener = server.tcpSocket();
listener.listen({ port: 7 });
const socket = client.tcpSocket();
socket.connect({ address: IpAddress.parse('10.0.0.2'), port: 7 });
socket.send(new TextEncoder().encode('hello')); // waits in the send buffer until the handshake is done

let echo: TcpSocket | null = null;
const buffer = new Uint8Array(1024);
let answer = '';
for (let now = 0; answer === ''; now = Math.max(now + 1, Math.min(client.pollAt(), server.pollAt(), now + 1000))) {
  client.poll(now);
  server.poll(now);
  for (let changed = server.nextChanged(); changed !== null; changed = server.nextChanged()) {
    if (changed === listener) echo ??= listener.accept();
    if (echo === null) continue;
    const count = echo.recv(buffer);
    echo.send(buffer, 0, count);
  }
  for (let changed = client.nextChanged(); changed !== null; changed = client.nextChanged()) {
    if (changed !== socket || (socket.takeEvents() & READABLE) === 0) continue;
    answer += new TextDecoder().decode(buffer.subarray(0, socket.recv(buffer)));
  }
}
console.log(answer, client.stats.tcpSegmentsOut, 'segments');
client.close();
server.close();
if (client.memory.usedBytes !== 0) throw new Error('memory was not given back');
