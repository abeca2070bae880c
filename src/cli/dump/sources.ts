/** Where packets come from: a capture file, or an interface of this machine. @module */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { openPacketCapture } from '../../linux/packet-capture.ts';
import { CapturedPacket, CaptureError, type CaptureInterface, CaptureReader } from '../../pcap/index.ts';
import { CommandError, reasonOf } from '../command.ts';
import { onSignal } from '../until-end.ts';
import { pause } from './output.ts';
import type { Session } from './session.ts';

/** Bytes read at once. */
const PIECE_BYTES = 1 << 18;
/** Milliseconds until an empty pipe that does not block is asked again. */
const RETRY_MS = 2;
const NO_COMMENTS: readonly string[] = [];

/**
 * Hands the packets of a file to `session`; `-` is standard input.
 * @throws CommandError if it cannot be read, or is damaged behind what was handed over
 */
export function readFile(path: string, session: Session): void {
  const name = path === '-' ? 'standard input' : path;
  let fd = 0;
  try {
    if (path !== '-') fd = openSync(path, 'r');
    if (fstatSync(fd).isDirectory()) throw new Error('is a directory');
  } catch (error) {
    throw new CommandError(`cannot read ${name}: ${reasonOf(error)}`);
  }
  try {
    readPieces(fd, name, session);
  } finally {
    if (path !== '-') closeSync(fd);
  }
}

function readPieces(fd: number, name: string, session: Session): void {
  const reader = new CaptureReader();
  try {
    for (let piece = readPiece(fd, name); piece.length > 0; piece = readPiece(fd, name)) {
      reader.push(piece);
      for (let packet = reader.next(); packet !== null; packet = reader.next()) {
        session.take(packet, reader.interfaces.length > 1);
        if (session.done) return;
      }
      session.flush();
      if (session.done) return;
    }
    reader.finish();
  } catch (error) {
    if (error instanceof CaptureError) throw new CommandError(`${name}: ${error.message}`);
    throw error;
  }
}

/** Bytes of the file; none at its end. Each piece is an array of its own: packets are views of it. */
function readPiece(fd: number, name: string): Uint8Array {
  const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
  for (;;) {
    try {
      return piece.subarray(0, readSync(fd, piece));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EOF') return piece.subarray(0, 0);
      if (code !== 'EAGAIN') throw new CommandError(`cannot read ${name}: ${reasonOf(error)}`);
      pause(RETRY_MS);
    }
  }
}

/** What was seen of an interface, when its capture ended. */
export interface LiveResult {
  readonly received: number;
  readonly dropped: number;
}

/**
 * Hands the packets of an interface to `session` until it is done or a signal comes.
 * @throws NetError if the interface cannot be watched, or goes away
 */
export async function watchInterface(name: string, promiscuous: boolean, session: Session): Promise<LiveResult> {
  const capture = await openPacketCapture({ interface: name, promiscuous });
  const iface: CaptureInterface = { id: 0, name, description: '', linkType: capture.linkType, snaplen: 0 };
  session.interfaceId(iface);
  process.stderr.write(`ethertype dump: listening on ${name}\n`);
  let forget = (): void => {};
  try {
    await new Promise<void>((resolve, reject) => {
      // The watch's callback runs outside Node's own: what is settled in it would wait for the next event.
      const stop = (): void => void setImmediate(resolve);
      forget = onSignal(stop);
      const take = guarded(reject, (seen: Parameters<Parameters<typeof capture.start>[0]>[0]) => {
        if (session.done) return;
        const { buffer, start, end, originalLength, seconds, nanoseconds, outgoing } = seen;
        const direction = outgoing ? 'out' : 'in';
        session.take(
          new CapturedPacket(buffer, start, end, originalLength, seconds, nanoseconds, iface, direction, NO_COMMENTS),
          false,
        );
      });
      const batch = guarded(reject, () => {
        session.flush();
        if (session.done) stop();
      });
      capture.start(take, batch, (error) => setImmediate(reject, error));
    });
  } finally {
    forget();
    capture.close();
  }
  const counts = capture.counts();
  session.writeStatistics(iface, counts.received, counts.dropped);
  return counts;
}

/** `call`, whose errors go to `reject` and not into the loop. */
const guarded =
  <A extends unknown[]>(reject: (error: unknown) => void, call: (...args: A) => void) =>
  (...args: A): void => {
    try {
      call(...args);
    } catch (error) {
      setImmediate(reject, error);
    }
  };
