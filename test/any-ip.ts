/** A client whose router takes everything, in virtual time. @module */
import assert from 'node:assert/strict';
import { createHost, type Host } from '../src/index.ts';
import { pipePair } from '../src/phy/pipe.ts';
import { Random } from '../src/phy/random.ts';
import { VirtualClock } from '../src/sim/clock.ts';

export interface AnyIpRig {
  readonly clock: VirtualClock;
  /** Takes every address; has 10.0.0.1 and fd00::1. */
  readonly proxy: Host;
  /** Has 10.0.0.2 and fd00::2, and the proxy as its router. */
  readonly client: Host;
  /** Closes both and asserts that all memory came back. */
  close(): Promise<void>;
}

/** @param own - whether the proxy has addresses of its own; on `ip` it needs none */
export function anyIpRig(medium: 'ip' | 'ethernet' = 'ip', own = true): AnyIpRig {
  const [left, right] = pipePair({ medium });
  const clock = new VirtualClock();
  const random = new Random(1);
  const common = { clock, random: () => random.next(), probe: false, ipv6: { dadTransmits: 0 } };
  const addresses = own ? { addresses: ['10.0.0.1/24', 'fd00::1/64'] } : {};
  const proxy = createHost({ device: left, ...addresses, ...common, anyIp: true });
  const client = createHost({
    device: right,
    addresses: ['10.0.0.2/24', 'fd00::2/64'],
    gateway: ['10.0.0.1', 'fd00::1'],
    ...common,
  });
  const close = async (): Promise<void> => {
    const both = Promise.all([client.close(), proxy.close()]);
    let isClosed = false;
    void both.then(() => {
      isClosed = true;
    });
    const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    await clock.run({ settle, until: () => isClosed, maxMs: 10_000 });
    await both;
    assert.equal(client.memory.usedBytes, 0, 'memory is still held');
  };
  return { clock, proxy, client, close };
}

/** A packet: the SYN of a host that does not exist; addresses as four bytes. */
export function spoofedSyn(
  sourcePort: number,
  port: number,
  source: readonly number[],
  destination: readonly number[],
): Uint8Array {
  const bytes = new Uint8Array(40);
  const dv = new DataView(bytes.buffer);
  dv.setUint16(0, 0x4500);
  dv.setUint16(2, 40);
  dv.setUint16(8, 0x4006);
  bytes.set([...source, ...destination], 12);
  dv.setUint16(20, sourcePort);
  dv.setUint16(22, port);
  dv.setUint32(24, sourcePort * 7);
  dv.setUint16(32, 0x5002);
  dv.setUint16(34, 65_535);
  const sum = (from: number, start: number): number => {
    let total = start;
    for (let at = from; at < (from === 0 ? 20 : 40); at += 2) total += dv.getUint16(at);
    while (total > 0xffff) total = (total & 0xffff) + (total >> 16);
    return ~total & 0xffff;
  };
  dv.setUint16(10, sum(0, 0));
  dv.setUint16(36, sum(12, 6 + 20));
  return bytes;
}
