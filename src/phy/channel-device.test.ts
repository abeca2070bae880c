import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { allocFrame, HEADROOM, setFrameBounds } from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import { createHost } from '../sockets/host.ts';
import {
  type ChannelDevice,
  type MessageLike,
  messagePortDevice,
  type SocketLike,
  webSocketDevice,
} from './channel-device.ts';

type Listener = (event: MessageLike) => void;

/** A WebSocket whose messages stay in it until they are let go, to its twin. */
class FakeSocket implements SocketLike {
  binaryType = 'blob';
  readyState = 1;
  readonly sent: Uint8Array<ArrayBuffer>[] = [];
  readonly listeners = new Map<string, Listener[]>();
  twin: FakeSocket | null = null;
  isHeld = false;

  get bufferedAmount(): number {
    return this.sent.reduce((sum, { length }) => sum + length, 0);
  }

  send(data: Uint8Array<ArrayBuffer>): void {
    this.sent.push(data);
    if (!this.isHeld) queueMicrotask(() => this.flush());
  }

  flush(): void {
    for (const { buffer } of this.sent.splice(0)) this.twin?.emit('message', buffer);
  }

  emit(type: string, data: unknown): void {
    for (const listener of this.listeners.get(type) ?? []) listener({ data });
  }

  close(): void {
    this.readyState = 3;
  }

  addEventListener(type: string, listener: Listener): void {
    this.listeners.set(type, [...(this.listeners.get(type) ?? []), listener]);
  }

  removeEventListener(type: string, listener: Listener): void {
    this.listeners.set(
      type,
      (this.listeners.get(type) ?? []).filter((other) => other !== listener),
    );
  }
}

function socketPair(): [FakeSocket, FakeSocket] {
  const [left, right] = [new FakeSocket(), new FakeSocket()];
  left.twin = right;
  right.twin = left;
  return [left, right];
}

/** A megabyte and a half from one host to another, and back. */
async function exchange(left: ChannelDevice, right: ChannelDevice): Promise<void> {
  const [a, b] = [left, right].map((device, i) =>
    createHost({ device, addresses: [`10.0.0.${i + 1}/24`], memory: 4 << 20 }),
  ) as [ReturnType<typeof createHost>, ReturnType<typeof createHost>];
  const listener = await b.tcp.listen({ port: 7 });
  const data = Uint8Array.from({ length: 1_500_000 }, (_, i) => i * 7);
  const served = (async () => {
    const stream = await listener.accept();
    const buffer = new Uint8Array(1 << 16);
    for (let n = await stream.readInto(buffer); n > 0; n = await stream.readInto(buffer)) {
      await stream.write(buffer.slice(0, n));
    }
    await stream.close();
  })();
  const stream = await a.tcp.connect({ host: '10.0.0.2', port: 7 });
  const got: Uint8Array[] = [];
  const reading = (async () => {
    const buffer = new Uint8Array(1 << 16);
    for (let n = await stream.readInto(buffer); n > 0; n = await stream.readInto(buffer)) got.push(buffer.slice(0, n));
  })();
  await stream.write(data);
  await stream.end();
  await Promise.all([reading, served]);
  assert.equal(Buffer.compare(Buffer.concat(got), data), 0);
  await stream.close();
  assert.deepEqual([left.dropped, left.malformed, right.dropped, right.malformed], [0, 0, 0, 0]);
  await a.close();
  await b.close();
  assert.deepEqual([a.memory.usedBytes, b.memory.usedBytes], [0, 0]);
}

/** A device with a memory and a frame to send. */
function attached(device: ChannelDevice) {
  const memory = new Memory({ bytes: 1 << 20 });
  let woken = 0;
  device.attach(memory, () => woken++);
  const send = (length = 40): void => {
    const frame = allocFrame(memory, length);
    setFrameBounds(memory, frame, frame + HEADROOM, frame + HEADROOM + length);
    device.transmit(frame, 1);
  };
  return { memory, send, woken: () => woken };
}

describe('devices over messages', () => {
  for (const medium of ['ip', 'ethernet'] as const) {
    test(`two hosts, ${medium}, over a MessageChannel`, async () => {
      const { port1, port2 } = new MessageChannel();
      await exchange(messagePortDevice(port1, { medium }), messagePortDevice(port2, { medium }));
      port1.close();
    });

    test(`two hosts, ${medium}, over a WebSocket`, async () => {
      const [left, right] = socketPair();
      await exchange(webSocketDevice(left, { medium }), webSocketDevice(right, { medium }));
      assert.deepEqual([left.binaryType, left.readyState, right.readyState], ['arraybuffer', 3, 3]);
    });
  }

  test('a port takes 256 frames that nobody has read, and more once it is told', () => {
    const posted: unknown[] = [];
    const listeners: Listener[] = [];
    const listener: Listener = (event) => listeners[0]!(event);
    const device = messagePortDevice({
      postMessage: (message) => void posted.push(message),
      addEventListener: (_, given) => void listeners.push(given),
      removeEventListener: () => {},
    });
    const { memory, send, woken } = attached(device);
    while (device.room() > 0) send();
    assert.equal(posted.length, 256);
    send();
    assert.equal(device.dropped, 1);
    listener({ data: 64 });
    assert.deepEqual([device.room(), woken()], [64, 1]);
    for (const data of [-1, 0.5, 'text', null, new Uint8Array(0), new Uint8Array(1501), {}]) listener({ data });
    assert.deepEqual([device.room(), device.malformed], [64, 5]);
    for (let i = 0; i < 300; i++) listener({ data: new Uint8Array(40) });
    assert.equal(device.dropped, 1 + 44);
    for (let frame = device.receive(1); frame !== 0; frame = device.receive(1)) memory.free(frame);
    // The sender is told of all it has sent, whatever became of it.
    assert.equal(posted.filter((message) => typeof message === 'number').length, Math.floor(305 / 64));
    device.close();
    assert.equal(memory.usedBytes, 0);
  });

  test('a WebSocket that is full, connecting or closed takes nothing', () => {
    const [socket] = socketPair();
    socket.isHeld = true;
    socket.readyState = 0;
    const device = webSocketDevice(socket);
    const { memory, send, woken } = attached(device);
    assert.equal(device.room(), 0);
    socket.readyState = 1;
    socket.emit('open', null);
    assert.equal(woken(), 1);
    while (device.room() > 0) send(1500);
    assert.ok(socket.bufferedAmount >= 1 << 20 && socket.bufferedAmount < (1 << 20) + 1500);
    assert.equal(device.pollAt(), 1 + 5);
    socket.sent.length = 0;
    assert.ok(device.room() > 0);
    assert.equal(device.pollAt(), Number.POSITIVE_INFINITY);
    device.close();
    assert.equal(device.room(), 0);
    assert.equal(memory.usedBytes, 0);
  });

  test('wrong options are told', () => {
    const [socket] = socketPair();
    assert.throws(() => webSocketDevice(socket, { mtu: 1 }), RangeError);
    assert.throws(() => webSocketDevice(socket, { medium: 'token' as 'ip' }), TypeError);
  });
});
