import { isMainThread, type Transferable, Worker, workerData } from 'node:worker_threads';
import { Channel, Netstack, Pipe, PipeDev, udpBindBlocking } from 'ethertype/netstack';

// The same as netcore.ts, with a socket: it is of the class that a host's sockets have, and blocks.
if (isMainThread) {
  const stack = new Netstack({ addresses: ['10.0.0.1/24'], gateway: '10.0.0.254' }, 0);
  const { channel, transferList } = stack.commandChannel().share();
  new Worker(new URL(import.meta.url), {
    workerData: channel,
    transferList: transferList as unknown as Transferable[],
  });

  for (let i = 0; i < 2; i++) stack.processOneCommand(stack.waitForCommandBlocking()!);

  const [near, far] = Pipe.unbounded();
  stack.pollDeviceIo(0, new PipeDev({ pipe: near, medium: 'ip', mtu: 1500 }));
  const packet = far.rx.tryReceive()!;
  console.log(`${packet.length} bytes, IPv${packet[0]! >> 4}: ${new TextDecoder().decode(packet.subarray(28))}`);
  stack.close();
} else {
  const channel = Channel.from(workerData);
  const socket = udpBindBlocking(channel, { host: '10.0.0.1', port: 1000 });
  socket.sendBlocking(new TextEncoder().encode('hello'), { host: '1.2.3.4', port: 80 });
}
