import { type Transferable, Worker } from 'node:worker_threads';
import { Netstack, Pipe, PipeDev } from 'ethertype/netstack';

/** What netcore.ts and netsock.ts have in common: a stack driven step by step, asked for things by `program` on another thread. */
export function serveTwoCommands(program: URL): void {
  const stack = new Netstack({ addresses: ['10.0.0.1/24'], gateway: '10.0.0.254' }, 0);
  const { channel, transferList } = stack.commandChannel().share();
  new Worker(program, { workerData: channel, transferList: transferList as unknown as Transferable[] });

  // A bind and a send. The first is waited for by the worker as well.
  for (let i = 0; i < 2; i++) stack.processOneCommand(stack.waitForCommandBlocking()!);

  // The stack has had no device so far: the packet waits for one.
  const [near, far] = Pipe.unbounded();
  stack.pollDeviceIo(0, new PipeDev({ pipe: near, medium: 'ip', mtu: 1500 }));
  const packet = far.rx.tryReceive()!;
  console.log(`${packet.length} bytes, IPv${packet[0]! >> 4}: ${new TextDecoder().decode(packet.subarray(28))}`);
  stack.close();
}
