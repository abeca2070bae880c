import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  allocFrame,
  frameBytes,
  frameFrom,
  frameLength,
  frameStart,
  HEADROOM,
  Memory,
  setFrameBounds,
} from '../memory/index.ts';
import { readCapture } from '../pcap/reader.ts';
import { PcapWriter } from '../phy/pcap-writer.ts';
import { FdDevice, type FdDeviceOptions } from './fd-device.ts';
import * as c from './libc.ts';

/** A descriptor in memory: what is queued in `incoming` is read, or an errno; writes succeed or fail with `refuse`. */
class FakeLibc {
  readonly incoming: (Uint8Array | number)[] = [];
  readonly written: Uint8Array[] = [];
  refuse = 0;
  closed = 0;
  watching = false;
  #errno = 0;
  readonly #memory: Memory;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  #fail(errno: number): number {
    this.#errno = errno;
    return -1;
  }

  readv = (_fd: number, vector: number, count: number): number => {
    const next = this.incoming.shift() ?? c.EAGAIN;
    if (typeof next === 'number') return this.#fail(next);
    const { dv, u8 } = this.#memory;
    let taken = 0;
    for (let i = 0; i < count; i++) {
      assert.equal(dv.getUint32(vector + 16 * i + 4, true), 0);
      const part = next.subarray(taken, taken + dv.getUint32(vector + 16 * i + 8, true));
      u8.set(part, dv.getUint32(vector + 16 * i, true));
      taken += part.length;
    }
    return taken;
  };

  write = (_fd: number, address: number, length: number): number => {
    if (this.refuse !== 0) return this.#fail(this.refuse);
    this.written.push(this.#memory.u8.slice(address, address + length));
    return length;
  };

  writev = (fd: number, vector: number, count: number): number => {
    const { dv, u8 } = this.#memory;
    const parts: number[] = [];
    for (let i = 0; i < count; i++) {
      const at = dv.getUint32(vector + 16 * i, true);
      parts.push(...u8.subarray(at, at + dv.getUint32(vector + 16 * i + 8, true)));
    }
    const whole = allocFrame(this.#memory, parts.length);
    u8.set(parts, whole + HEADROOM);
    const n = this.write(fd, whole + HEADROOM, parts.length);
    this.#memory.free(whole);
    return n;
  };

  errno = (): number => this.#errno;
  address = (): number => 0; // so that addresses are offsets
  poll = (): number => 0;
  close = (): number => ++this.closed;
  watch = (): c.Watch => ({
    start: () => {
      this.watching = true;
    },
    stop: () => {
      this.watching = false;
    },
    close: () => {
      this.watching = false;
    },
    ref: () => {},
    unref: () => {},
  });
}

const SETTINGS = { fd: 5, medium: 'ip', mtu: 1500, offload: true, vnet: true } as const;

function open(options: Partial<FdDeviceOptions> & { bytes?: number } = {}) {
  const memory = new Memory({ bytes: options.bytes ?? 1 << 20 });
  const libc = new FakeLibc(memory);
  const device = new FdDevice({ ...SETTINGS, ...options, libc: libc as unknown as c.Libc });
  device.attach(memory, () => {});
  const end = (): void => {
    device.close();
    device.close();
    assert.equal(libc.closed, 1);
    assert.equal(libc.watching, false);
    assert.equal(memory.usedBytes, 0);
  };
  return { memory, libc, device, end };
}

/** A virtio header of nothing, and `length` bytes that begin as IPv4. */
function incoming(length: number, before = 10): Uint8Array {
  const bytes = Uint8Array.from({ length: before + length }, (_, i) => (i < before ? 0 : i * 7));
  bytes[before] = 0x45;
  return bytes;
}

describe('receive', () => {
  for (const offload of [true, false]) {
    for (const medium of ['ip', 'ethernet'] as const) {
      for (const length of [20, 60, 1024, 1500, ...(offload ? [4000, 20_000, 65_000, 65_408, 65_409, 65_535] : [])]) {
        test(`${length} bytes, ${medium}, offload ${offload}`, () => {
          const { memory, libc, device, end } = open({ offload, medium });
          const whole = length + (medium === 'ethernet' ? 14 : 0);
          libc.incoming.push(incoming(whole), incoming(whole));
          for (let i = 0; i < 2; i++) {
            const frame = device.receive(0);
            assert.notEqual(frame, 0);
            assert.equal(frameStart(memory, frame), frame + HEADROOM - (whole - length));
            assert.deepEqual(frameBytes(memory, frame), incoming(whole).subarray(10));
            assert.ok(memory.sizeOf(frame) < 4 * (length + HEADROOM) + 2048, 'holds about what it weighs');
            memory.free(frame);
          }
          assert.equal(device.receive(0), 0);
          end();
        });
      }
    }
  }

  test('what is longer than the MTU is dropped and counted', () => {
    const { memory, libc, device, end } = open({ offload: false });
    libc.incoming.push(incoming(5000), incoming(1500));
    const frame = device.receive(0);
    assert.equal(frameLength(memory, frame), 1500);
    assert.equal(device.stats.truncated, 1);
    memory.free(frame);
    end();
  });

  test('malformed headers are dropped and counted, and the stack gets a turn between', () => {
    const { libc, device, end } = open();
    const bad = incoming(100);
    bad[1] = 0x7f;
    for (let i = 0; i < 20; i++) libc.incoming.push(i === 3 ? bad.subarray(0, 5) : bad);
    assert.equal(device.receive(7), 0);
    assert.equal(device.stats.badHeader, 16);
    assert.equal(device.pollAt(), 7);
    assert.equal(device.receive(7), 0);
    assert.equal(device.stats.badHeader, 20);
    assert.equal(device.pollAt(), Infinity);
    end();
  });

  test('without memory packets wait; the last large block is kept for small packets', () => {
    const { memory, libc, device, end } = open();
    const held: number[] = [];
    for (let i = 0; i < 40; i++) libc.incoming.push(incoming(60_000));
    for (let frame = device.receive(0); frame !== 0; frame = device.receive(0)) held.push(frame);
    assert.ok(held.length >= 12);
    assert.ok(device.stats.noMemory > 0);
    libc.incoming.length = 0;
    for (let block = memory.alloc(2048); block !== 0; block = memory.alloc(2048)) held.push(block);
    libc.incoming.push(incoming(60), incoming(60));
    const ack = device.receive(3);
    assert.equal(frameLength(memory, ack), 60); // in the large block: there is no other
    assert.equal(device.receive(3), 0);
    assert.equal(device.pollAt(), 4);
    memory.free(ack);
    const second = device.receive(4);
    assert.equal(frameLength(memory, second), 60);
    assert.equal(device.pollAt(), Infinity);
    for (const block of [...held, second]) memory.free(block);
    end();
  });

  test('a signal and a passing error are read over, a lost interface ends the device', () => {
    const { memory, libc, device, end } = open();
    libc.incoming.push(c.EINTR, c.ENETDOWN, incoming(60));
    memory.free(device.receive(0));
    assert.equal(device.stats.readErrors, 1);
    libc.incoming.push(c.EBADFD, incoming(60));
    assert.equal(device.receive(0), 0);
    assert.equal(device.failure?.code, 'ENODEV');
    assert.equal(device.receive(0), 0);
    assert.equal(device.room(), 0);
    assert.equal(libc.watching, false);
    device.transmit(frameFrom(memory, incoming(60)), 0);
    end();
  });
});

describe('transmit', () => {
  const send = (memory: Memory, device: FdDevice, tag: number, now = 0): void =>
    device.transmit(frameFrom(memory, Uint8Array.of(0x45, tag, ...new Uint8Array(40))), now);

  test('one write, the header in front', () => {
    const { memory, libc, device, end } = open();
    send(memory, device, 9);
    assert.deepEqual(libc.written, [Uint8Array.of(...new Uint8Array(10), 0x45, 9, ...new Uint8Array(40))]);
    end();
  });

  test('without headroom the header is gathered', () => {
    const { memory, libc, device, end } = open();
    const frame = allocFrame(memory, 100);
    memory.u8.fill(0x45, frame + 36, frame + 96);
    setFrameBounds(memory, frame, frame + 36, frame + 96);
    device.transmit(frame, 0);
    assert.deepEqual(libc.written, [Uint8Array.of(...new Uint8Array(10), ...new Uint8Array(60).fill(0x45))]);
    end();
  });

  test('without a virtio header the packet goes as it is', () => {
    const { memory, libc, device, end } = open({ vnet: false, offload: false });
    send(memory, device, 1);
    assert.equal(libc.written[0]!.length, 42);
    libc.incoming.push(incoming(60, 0));
    const frame = device.receive(0);
    assert.deepEqual(frameBytes(memory, frame), incoming(60, 0));
    memory.free(frame);
    end();
  });

  test('what the kernel does not take now is kept in order, up to a limit', () => {
    const { memory, libc, device, end } = open();
    libc.refuse = c.ENOBUFS;
    for (let i = 0; i < 70; i++) send(memory, device, i, 5);
    assert.equal(device.room(), 0);
    assert.equal(device.stats.backlogged, 64);
    assert.equal(device.stats.backlogDropped, 6);
    assert.equal(device.pollAt(), 6);
    assert.equal(device.receive(6), 0);
    assert.equal(device.pollAt(), 7);
    libc.refuse = 0;
    assert.equal(device.receive(7), 0);
    assert.equal(device.room(), 64);
    assert.equal(device.pollAt(), Infinity);
    send(memory, device, 99);
    assert.deepEqual(
      libc.written.map((bytes) => bytes[11]),
      [...Array.from({ length: 64 }, (_, i) => i), 99],
    );
    end();
  });

  test('an interface that is down, and refused packets, are counted', () => {
    const { memory, libc, device, end } = open();
    libc.refuse = c.EIO;
    send(memory, device, 1);
    libc.refuse = c.EINVAL;
    send(memory, device, 1);
    assert.equal(device.stats.interfaceDown, 1);
    assert.equal(device.stats.writeErrors, 1);
    libc.refuse = c.EAGAIN;
    send(memory, device, 1); // the backlog is given back by close
    end();
  });
});

describe('a capture that explains', () => {
  /** A device that is recorded: `send` takes the tag of a frame, `end` gives tag and comments of each record. */
  function recorded(mode: 'both' | 'rx' = 'both') {
    const memory = new Memory({ bytes: 1 << 20 });
    const libc = new FakeLibc(memory);
    const device = new FdDevice({ ...SETTINGS, libc: libc as unknown as c.Libc });
    const chunks: Uint8Array[] = [];
    const writer = new PcapWriter(device, { write: (bytes: Uint8Array) => chunks.push(bytes) }, { mode });
    writer.explain({ onDrop: null });
    writer.attach(memory, () => {});
    const records = (): (string | number)[][] => {
      const file = Uint8Array.from(chunks.flatMap((chunk) => [...chunk]));
      return [...readCapture(file)].map(({ bytes, comments }) => [bytes[1]!, ...comments]);
    };
    const end = (): (string | number)[][] => {
      writer.close();
      assert.equal(memory.usedBytes, 0);
      return records();
    };
    const send = (tag: number, errno: number): void => {
      libc.refuse = errno;
      writer.transmit(frameFrom(memory, Uint8Array.of(0x45, tag, ...new Uint8Array(40))), 0);
    };
    return { memory, libc, writer, send, records, end };
  }

  test('says of each frame why the descriptor did not take it', () => {
    const { send, end } = recorded();
    send(1, 0);
    send(2, c.EIO);
    send(3, c.EMSGSIZE);
    send(4, 0);
    assert.deepEqual(end(), [[1], [2, 'dropped: interface-down'], [3, 'dropped: write-error EMSGSIZE'], [4]]);
  });

  test('frames that wait are written when it is known what became of them, in order', () => {
    const { libc, writer, send, records, end } = recorded();
    for (let tag = 0; tag < 66; tag++) send(tag, c.ENOBUFS); // 64 wait, and there is no room for two
    assert.deepEqual(records(), []);
    libc.refuse = 0;
    writer.receive(1);
    const written = Array.from({ length: 64 }, (_, tag) => [tag]);
    assert.deepEqual(records(), [...written, [64, 'dropped: device-full'], [65, 'dropped: device-full']]);
    send(66, c.EAGAIN);
    libc.refuse = c.EIO;
    writer.receive(2);
    assert.deepEqual(end().slice(66), [[66, 'dropped: interface-down']]);
  });

  test('what waits when the interface is deleted, what comes after, and what waits at the end', () => {
    const { libc, writer, send, end } = recorded();
    send(1, c.EAGAIN);
    libc.incoming.push(c.EBADFD);
    writer.receive(1);
    send(2, 0);
    const gone = 'dropped: interface-gone';
    assert.deepEqual(end(), [
      [1, gone],
      [2, gone],
    ]);
    const other = recorded();
    other.send(3, c.EAGAIN);
    assert.deepEqual(other.end(), [[3, gone]]);
  });

  test('an answer in the block of the frame it answers is not taken for that', () => {
    const { memory, libc, writer, send, end } = recorded();
    libc.incoming.push(incoming(60));
    const asked = writer.receive(0);
    memory.free(asked); // the stack is done with it, and the next frame is made there
    const answer = frameFrom(memory, Uint8Array.of(0x45, 9, ...new Uint8Array(40)));
    assert.equal(answer, asked);
    libc.refuse = c.EIO;
    writer.transmit(answer, 0);
    writer.receive(0);
    send(10, 0);
    assert.deepEqual(end(), [[77], [9, 'dropped: interface-down'], [10]]);
  });

  test('of what comes in alone, nothing is heard of what goes out', () => {
    const { send, end } = recorded('rx');
    send(1, c.EIO);
    assert.deepEqual(end(), []);
  });
});
