import { isMainThread, type Transferable, Worker, workerData } from 'node:worker_threads';
import { Channel, Netstack, Pipe, PipeDev } from 'ethertype/netstack';

// A stack driven step by step, and a thread that asks it for things: commands, without sockets of any class.
if (isMainThread) {
  const stack = new Netstack({ addresses: ['10.0.0.1/24'], gateway: '10.0.0.254' }, 0);
  const { channel, transferList } = stack.commandChannel().share();
  new Worker(new URL(import.meta.url), {
    workerData: channel,
    transferList: transferList as unknown as Transferable[],
  });

  // The worker's two commands, a bind and a send. The first is waited for by the worker as well.
  for (let i = 0; i < 2; i++) stack.processOneCommand(stack.waitForCommandBlocking()!);

  // The stack has had no device so far: the packet waits for one.
  const [near, far] = Pipe.unbounded();
  stack.pollDeviceIo(0, new PipeDev({ pipe: near, medium: 'ip', mtu: 1500 }));
  const packet = far.rx.tryReceive()!;
  console.log(`${packet.length} bytes, IPv${packet[0]! >> 4}: ${new TextDecoder().decode(packet.subarray(28))}`);
  stack.close();
} else {
  const channel = Channel.from(workerData);
  const { handle } = channel.requestBlocking({ kind: 'udp-bind', host: '10.0.0.1', port: 1000 });
  const data = new TextEncoder().encode('hello');
  channel.requestNonblocking({ kind: 'udp-send', handle, host: '1.2.3.4', port: 80, data });
}
