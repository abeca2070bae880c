import { Cidr, Stack } from 'ethertype/core';
import { pipePair, Random } from 'ethertype/phy';
import { AF_INET, Posix, SHUT_WR, SOCK_STREAM } from 'ethertype/posix';

// Two hosts on a wire, each with descriptors, in time of our own making.
const [left, right] = pipePair();
const random = new Random(7);
function host(device: typeof left, address: string): Posix {
  const stack = new Stack({ random: () => random.next(), memory: left.memory });
  stack.addInterface(device, { addresses: [Cidr.parse(address)] });
  return new Posix(stack);
}
const server = host(left, '10.0.0.1/24');
const client = host(right, '10.0.0.2/24');
const echoPort = { family: AF_INET, address: '10.0.0.1', port: 7 };

async function serve({ blocking: posix }: Posix): Promise<void> {
  const listener = await posix.socket(AF_INET, SOCK_STREAM);
  await posix.bind(listener, echoPort);
  await posix.listen(listener, 5);
  const { fd } = await posix.accept(listener);
  const buffer = new Uint8Array(1024);
  for (let count = await posix.read(fd, buffer); count > 0; count = await posix.read(fd, buffer)) {
    await posix.write(fd, buffer.subarray(0, count));
  }
  await posix.close(fd);
  await posix.close(listener);
}

async function ask({ blocking: posix }: Posix): Promise<string> {
  const fd = await posix.socket(AF_INET, SOCK_STREAM);
  await posix.connect(fd, echoPort);
  await posix.write(fd, new TextEncoder().encode('hello'));
  await posix.shutdown(fd, SHUT_WR);
  const buffer = new Uint8Array(1024);
  let answer = '';
  for (let count = await posix.read(fd, buffer); count > 0; count = await posix.read(fd, buffer)) {
    answer += new TextDecoder().decode(buffer.subarray(0, count));
  }
  await posix.close(fd);
  return answer;
}

// What drives the stacks: poll, let the calls that waited go on, and move time when nothing is left to do now.
let isDone = false;
const programs = Promise.all([serve(server), ask(client)]).finally(() => {
  isDone = true;
});
for (let now = 0; !isDone; now++) {
  for (const posix of [server, client]) {
    posix.stack.poll(now);
    posix.turn(now);
  }
  await new Promise((resolve) => setImmediate(resolve)); // the programs run
}
const [, answer] = await programs;
console.log(answer, 'from descriptor to descriptor');

server.stack.close();
client.stack.close();
if (left.memory.usedBytes !== 0) throw new Error('memory was not given back');
