import { Cidr, IpAddress, Stack, TcpSocket } from 'ethertype/core';
import { pipePair, Random } from 'ethertype/phy';

// smoltcp's server loop: poll, then serve. Here one listener takes every client, and the stack says which sockets changed.
const [left, right] = pipePair();
const random = new Random(7);
const options = { random: () => random.next(), memory: left.memory };
const stack = new Stack(options);
stack.addInterface(left, { addresses: [Cidr.parse('192.168.69.1/24')] });
const listener = stack.tcpSocket();
listener.listen({ port: 6969 });

const clients = new Stack(options);
clients.addInterface(right, { addresses: [Cidr.parse('192.168.69.100/24')] });
const sockets = Array.from({ length: 5 }, () => clients.tcpSocket());
for (const socket of sockets) socket.connect({ address: IpAddress.parse('192.168.69.1'), port: 6969 });

const hello = new TextEncoder().encode('hello\n');
const buffer = new Uint8Array(64);
let greeted = 0;
for (let now = 0; greeted < sockets.length; now++) {
  stack.poll(now);
  for (let changed = stack.nextChanged(); changed !== null; changed = stack.nextChanged()) {
    if (changed !== listener) continue;
    for (let socket = listener.accept(); socket !== null; socket = listener.accept()) {
      if (socket.canSend()) socket.send(hello);
      socket.close();
    }
  }
  clients.poll(now);
  for (let changed = clients.nextChanged(); changed !== null; changed = clients.nextChanged()) {
    if (changed instanceof TcpSocket && changed.canRecv() && changed.recv(buffer) === hello.length) greeted++;
  }
}
console.log(greeted, 'clients were greeted');
stack.close();
clients.close();
if (left.memory.usedBytes !== 0) throw new Error('memory was not given back');
