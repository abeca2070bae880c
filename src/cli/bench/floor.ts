/**
 * The floor: a TCP data path with nothing but the data path. Segments of 1460 bytes are cut from one ring, their headers
 * written, checksums computed and verified, and put into another ring; an acknowledgement every second segment. No
 * loss, timers, options or tables: what a segment must cost at the least here, to hold the stack against. @module
 */
import { allocFrame, HEADROOM, Memory, Ring } from '../../memory/index.ts';
import { IpAddress, ip, ipv4, tcp } from '../../wire/index.ts';

const MSS = 1460;
const RING_BYTES = 1 << 18;
const CHUNK_BYTES = 1 << 16;
const BATCH = 64;
const HEADERS = ipv4.HEADER_LENGTH + tcp.HEADER_LENGTH;

/** Runs for `ms`; returns Gbit/s. */
export function floor(ms: number): number {
  const memory = new Memory({ bytes: 8 << 20, kernel: 'auto' });
  const sending = new Ring(memory, RING_BYTES);
  const receiving = new Ring(memory, RING_BYTES);
  const source = new Uint8Array(CHUNK_BYTES).map((_, i) => i);
  const target = new Uint8Array(CHUNK_BYTES);
  const frames = new Int32Array(BATCH);
  const [a, b] = [IpAddress.parse('10.0.0.1'), IpAddress.parse('10.0.0.2')];
  const pseudo = ip.pseudoHeaderSum(a, b, ip.PROTOCOL_TCP);
  let seq = 1;
  let total = 0;

  const emit = (length: number): number => {
    const frame = allocFrame(memory, HEADERS + length);
    const p = frame + HEADROOM;
    const segment = p + ipv4.HEADER_LENGTH;
    ipv4.emit(memory.dv, p, HEADERS + length, 0, 0, ipv4.DONT_FRAGMENT, 64, ip.PROTOCOL_TCP, a.d, b.d);
    tcp.emit(memory.dv, segment, (80 << 16) | 1000, seq, 1, tcp.HEADER_LENGTH, tcp.ACK, 0xffff);
    if (length > 0) sending.copyOut(0, segment + tcp.HEADER_LENGTH, length);
    tcp.complete(memory, segment, segment + tcp.HEADER_LENGTH + length, pseudo);
    return frame;
  };
  const take = (frame: number, length: number): void => {
    const p = frame + HEADROOM;
    const segment = p + ipv4.HEADER_LENGTH;
    const end = segment + tcp.HEADER_LENGTH + length;
    if (ipv4.check(memory, p, end) !== null || tcp.check(memory, segment, end, pseudo) !== null) {
      throw new Error('floor: a segment was damaged');
    }
    if (length > 0) {
      receiving.reserve(receiving.length + length);
      receiving.store(receiving.length, segment + tcp.HEADER_LENGTH, length);
      receiving.length += length;
    }
    memory.free(frame);
  };

  sending.reserve(RING_BYTES);
  receiving.reserve(RING_BYTES);
  const start = performance.now();
  for (let turn = 0; ; turn++) {
    while (sending.capacity - sending.length >= CHUNK_BYTES) sending.append(source, 0, CHUNK_BYTES);
    let count = 0;
    while (count < BATCH && sending.length >= MSS) {
      frames[count++] = emit(MSS);
      seq = (seq + MSS) | 0;
      sending.advance(MSS);
    }
    for (let i = 0; i < count; i++) {
      take(frames[i]!, MSS);
      if ((i & 1) === 1) take(emit(0), 0);
    }
    while (receiving.length > 0) {
      const n = receiving.peek(target, 0, CHUNK_BYTES);
      receiving.advance(n);
      total += n;
    }
    if ((turn & 15) === 0 && performance.now() - start > ms) break;
  }
  return (total * 8) / ((performance.now() - start) * 1e6);
}
