import { isMainThread, workerData } from 'node:worker_threads';
import { Channel, udpBindBlocking } from 'ethertype/netstack';
import { serveTwoCommands } from './shared/two-commands.ts';

// The same as netcore.ts, with a socket: it is of the class that a host's sockets have, and blocks.
if (isMainThread) {
  serveTwoCommands(new URL(import.meta.url));
} else {
  const socket = udpBindBlocking(Channel.from(workerData), { host: '10.0.0.1', port: 1000 });
  socket.sendBlocking(new TextEncoder().encode('hello'), { host: '1.2.3.4', port: 80 });
}
