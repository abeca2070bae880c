/** A transfer over TCP from one host to another, every byte compared on arrival. @module */
import type { Host, TcpStream } from '../../index.ts';
import type { Random } from '../../sim/index.ts';

/** Bytes a write and a read. */
const CHUNK_BYTES = 1 << 16;
/** The bytes repeat after so many: a prime, so that they do not repeat in step with windows, rings and chunks. */
const PERIOD_BYTES = 1_000_003;

/** Bytes to send, of which any 64 KiB can be had at any place of the stream. */
export class Pattern {
  readonly #bytes = new Uint8Array(PERIOD_BYTES + CHUNK_BYTES);

  constructor(random: Random) {
    random.bytes(this.#bytes);
    this.#bytes.copyWithin(PERIOD_BYTES, 0, CHUNK_BYTES);
  }

  /** The bytes of the stream from `position` on, `length` of them, at most 64 KiB. */
  at(position: number, length: number): Uint8Array {
    const from = position % PERIOD_BYTES;
    return this.#bytes.subarray(from, from + length);
  }
}

export interface TransferOptions {
  readonly from: Host;
  readonly to: Host;
  readonly address: string;
  readonly port: number;
  readonly bytes: number;
  readonly pattern: Pattern;
  /** The clock of the hosts, in ms. */
  readonly now: () => number;
  /** Nothing more is sent once so much time has passed. */
  readonly maxMs: number;
  /** Gets the sender's end once it is there. */
  readonly onStream?: (stream: TcpStream) => void;
  readonly onProgress: (sentBytes: number) => void;
}

export interface Transfer {
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** Whether what arrived is what was sent, byte for byte. */
  readonly alike: boolean;
  /** From the first write until the reader had seen the end. */
  readonly ms: number;
}

/** Sends `bytes` over a new connection. Both ends are closed when it returns. @throws NetError */
export async function transfer(options: TransferOptions): Promise<Transfer> {
  const { from, to, address, port, now } = options;
  await using listener = await to.tcp.listen({ port });
  const [peer, stream] = await Promise.all([listener.accept(), from.tcp.connect({ host: address, port })]);
  options.onStream?.(stream);
  try {
    const startedAt = now();
    const [sentBytes, received] = await Promise.all([send(stream, options), receive(peer, options.pattern)]);
    const ms = now() - startedAt;
    await peer.close();
    await stream.read(); // the end of the other direction: both FINs are acknowledged
    await stream.close();
    return { sentBytes, ...received, alike: received.alike && received.receivedBytes === sentBytes, ms };
  } catch (error) {
    stream.abort();
    peer.abort();
    throw error;
  }
}

async function send(stream: TcpStream, options: TransferOptions): Promise<number> {
  const { bytes, pattern, now, onProgress } = options;
  const until = now() + options.maxMs;
  let sent = 0;
  while (sent < bytes && now() < until) {
    const length = Math.min(CHUNK_BYTES, bytes - sent);
    await stream.write(pattern.at(sent, length));
    sent += length;
    onProgress(sent);
  }
  await stream.end();
  return sent;
}

async function receive(stream: TcpStream, pattern: Pattern): Promise<{ receivedBytes: number; alike: boolean }> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  let receivedBytes = 0;
  let alike = true;
  for (let count = await stream.readInto(buffer); count > 0; count = await stream.readInto(buffer)) {
    alike &&= buffer.compare(pattern.at(receivedBytes, count), 0, count, 0, count) === 0;
    receivedBytes += count;
  }
  return { receivedBytes, alike };
}
