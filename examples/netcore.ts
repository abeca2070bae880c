import { isMainThread, workerData } from 'node:worker_threads';
import { Channel } from 'ethertype/netstack';
import { serveTwoCommands } from './shared/two-commands.ts';

// A thread asks a stack for things: commands, without sockets of any class.
if (isMainThread) {
  serveTwoCommands(new URL(import.meta.url));
} else {
  const channel = Channel.from(workerData);
  const { handle } = channel.requestBlocking({ kind: 'udp-bind', host: '10.0.0.1', port: 1000 });
  const data = new TextEncoder().encode('hello');
  channel.requestNonblocking({ kind: 'udp-send', handle, host: '1.2.3.4', port: 80, data });
}
