import assert from 'node:assert/strict';
import { test } from 'node:test';
import { udpBind } from './create-socket.ts';
import { piped } from './driver.ts';
import { Netstack } from './netstack.ts';
import { Pipe, PipeDev } from './pipe.ts';

test('a bounded pipe refuses what it has no room for, an unbounded one holds a million', async () => {
  const [one, other] = Pipe.bounded(2);
  assert.deepEqual([one.tx.trySend(Uint8Array.of(1)), one.tx.trySend(Uint8Array.of(2))], [true, true]);
  assert.equal(one.tx.trySend(Uint8Array.of(3)), false);
  assert.deepEqual(other.rx.tryReceive(), Uint8Array.of(1));
  assert.equal(one.tx.room, 1);
  const [left] = Pipe.unbounded();
  for (let i = 0; i < 10_000; i++) assert.ok(left.tx.trySend(Uint8Array.of(1)));
  const waiting = one.rx.receive();
  one.close();
  assert.equal(await waiting, null);
  assert.equal(one.tx.trySend(Uint8Array.of(1)), false);
  for (const packets of [0, 1.5, 2 ** 30]) assert.throws(() => Pipe.bounded(packets), RangeError);
});

test('packets too long for any frame, or garbage, are lost and nothing else', () => {
  const [near, far] = Pipe.unbounded();
  const netstack = new Netstack({ addresses: ['10.0.0.1/24'], memory: 1 << 20 });
  const device = new PipeDev({ pipe: near });
  netstack.pollDeviceIo(0, device);
  for (const length of [0, 1, 19, 20, 1500, 65_535, 1 << 24]) far.tx.trySend(new Uint8Array(length).fill(0x45));
  netstack.pollDeviceIo(1, device);
  assert.equal(far.tx.length, 0);
  netstack.close();
  assert.equal(netstack.memory.usedBytes, 0);
});

test('piped: what the stack sends comes out of the far end; a full wire holds senders back', async () => {
  const [driver, far] = piped({ addresses: ['10.0.0.1/24'] }, 2);
  driver.run();
  const socket = await udpBind(driver, { port: 9 });
  let sent = 0;
  const sending = Promise.all(
    Array.from({ length: 10 }, async () => {
      const one = await udpBind(driver);
      await one.send(new Uint8Array(100), { host: '10.0.0.2', port: 9 });
      sent++;
    }),
  );
  const packet = (await far.rx.receive())!;
  assert.equal(packet.length, 128);
  for (let got = 1; got < 10; got++) assert.equal((await far.rx.receive())!.length, 128);
  await sending;
  assert.equal(sent, 10);
  await socket.close();
  driver.close();
  assert.equal(driver.netstack.memory.usedBytes, 0);
});

test('a second device is a second interface', () => {
  const netstack = new Netstack({ addresses: ['10.0.0.1/24'] });
  const [first, second] = [Pipe.unbounded()[0], Pipe.unbounded()[0]].map((pipe) => new PipeDev({ pipe }));
  for (let i = 0; i < 3; i++) {
    netstack.pollDeviceIo(i, first!);
    netstack.pollDeviceIo(i, second!);
  }
  assert.equal(netstack.stack.interfaces.length, 3); // with its own loopback
  assert.deepEqual(netstack.addresses(), ['10.0.0.1/24']);
  netstack.close();
});
