import { once } from 'node:events';
import { isMainThread, type Transferable, Worker, workerData } from 'node:worker_threads';
import { Channel, ChannelPosix, pipedPair, tcpListen } from 'ethertype/netstack';
import { AF_INET, SOCK_STREAM } from 'ethertype/posix';

// A program that reads and writes as if a socket were a file: straight code, on a thread of its own.
if (isMainThread) {
  const [client, server] = pipedPair({ addresses: ['10.0.0.1/24'] }, { addresses: ['10.0.0.2/24'] });
  client.run();
  server.run();
  const listener = await tcpListen(server, { port: 7 });

  const { channel, transferList } = client.commandChannel().share();
  const worker = new Worker(new URL(import.meta.url), {
    workerData: channel,
    transferList: transferList as unknown as Transferable[],
  });
  const stream = await listener.accept();
  for await (const chunk of stream) await stream.write(chunk);
  await once(worker, 'exit');
  await stream.close();
  client.close();
  server.close();
} else {
  const posix = new ChannelPosix(Channel.from(workerData));
  const fd = posix.socket(AF_INET, SOCK_STREAM);
  posix.connect(fd, { family: AF_INET, address: '10.0.0.2', port: 7 });
  posix.write(fd, new TextEncoder().encode('hello, file'));
  const buffer = new Uint8Array(64);
  const count = posix.read(fd, buffer);
  posix.close(fd);
  console.log(new TextDecoder().decode(buffer.subarray(0, count)));
}
