/** The bytes of a stream: into the buffers of a call, and how many stand where. @module */
import { NetError } from '../errors.ts';
import type { Connection } from '../tcp/connection.ts';
import { type Seq, seqDiff } from '../tcp/seq.ts';
import type { TcpSocket } from '../tcp/socket.ts';
import { LINUX as L } from './constants.ts';
import { eachFrom, type Reading, scatter, type Writing } from './message.ts';

/** Bytes that MSG_TRUNC throws away at a time. */
const SCRATCH_BYTES = 1 << 16;

/** Moves what has arrived, and is asked for, into the buffers of `reading`. At least one byte must be there. */
export function takeBytes(core: TcpSocket, reading: Reading): void {
  const { buffers, flags } = reading;
  if ((flags & L.MSG_PEEK) !== 0) reading.count = peek(core, reading);
  else if ((flags & L.MSG_TRUNC) !== 0) discard(core, reading);
  else {
    eachFrom(buffers, reading.count, (buffer, start) => {
      const count =
        core.recvQueue() === 0 ? 0 : core.recv(buffer, start, endOf(core, reading.count, start, buffer.length));
      reading.count += count;
      return count;
    });
  }
}

/** Where a read with `count` bytes so far, that would go from `start` to `end`, stops: in front of the mark, unless it begins there. */
function endOf(core: TcpSocket, count: number, start: number, end: number): number {
  const urgent = core.urgentQueue();
  if (urgent === 0 || (urgent === 1 && count === 0)) return end;
  return Math.min(end, start + urgent - 1);
}

/** Whether a read has come to the mark: it waits for no more then, whatever it was asked for. */
export const endsAtMark = (core: TcpSocket, { count, flags }: Reading): boolean =>
  count > 0 && core.urgentQueue() === ((flags & L.MSG_PEEK) !== 0 ? count + 1 : 1);

/** The bytes are thrown away, and the buffers of the call stay as they are. */
function discard(core: TcpSocket, reading: Reading): void {
  const scratch = new Uint8Array(Math.min(reading.room - reading.count, core.recvQueue(), SCRATCH_BYTES));
  while (reading.count < reading.room && core.recvQueue() > 0) {
    const end = endOf(core, reading.count, 0, Math.min(scratch.length, reading.room - reading.count));
    const count = core.recv(scratch, 0, end);
    if (count === 0) break;
    reading.count += count;
  }
}

function peek(core: TcpSocket, reading: Reading): number {
  const { buffers, flags, room } = reading;
  const isHole = core.isAtMark() && !core.urgentInline;
  const count = endOf(core, 0, 0, Math.min(room, core.recvQueue() - (isHole ? 1 : 0)));
  if ((flags & L.MSG_TRUNC) !== 0) return count;
  if (buffers.length === 1) return core.peek(buffers[0]!, 0, count);
  const bytes = new Uint8Array(count);
  core.peek(bytes);
  return scatter(bytes, buffers);
}

/**
 * MSG_OOB: the urgent byte, where it is no part of the stream. Never waits.
 * @param isOver - no more will come   @param isLost - the connection is gone without an end of the peer's
 * @throws NetError EINVAL: there is none; EAGAIN: it has not come; ENOTCONN
 */
export function takeUrgentByte(core: TcpSocket, reading: Reading, isOver: boolean, isLost: boolean): void {
  const { buffers, flags, room } = reading;
  const what = core.urgentByte;
  if (core.urgentInline || what === 'none' || what === 'taken') throw new NetError('EINVAL', 'recv');
  if (isLost) throw new NetError('ENOTCONN', 'recv');
  if (what === 'awaited') {
    if (isOver) return;
    throw new NetError('EAGAIN', 'recv');
  }
  const byte = core.takeUrgent((flags & L.MSG_PEEK) !== 0);
  reading.outFlags |= room > 0 ? L.MSG_OOB : L.MSG_OOB | L.MSG_TRUNC;
  reading.count = Math.min(room, 1);
  if (room > 0 && (flags & L.MSG_TRUNC) === 0) scatter(Uint8Array.of(byte), buffers);
}

/** FIONREAD: up to the mark where a reader stops at it, and all there is where he stands there or it is none for him. */
export function readable(core: TcpSocket): number {
  const queue = core.recvQueue();
  const urgent = core.urgentInline ? 0 : core.urgentQueue();
  return urgent > 0 && urgent <= queue ? urgent - 1 : queue;
}

/** Sequence space from `from` to the end of what is queued, the FIN with it. */
export const queuedFrom = (c: Connection, from: Seq): number =>
  Math.max(0, seqDiff(c.txEnd, from) + (c.finQueued ? 1 : 0));

/** Ancillary data that a stream takes: what Linux knows at the level of sockets; other levels are not looked at. */
export function checkControl({ control }: Writing): void {
  const known: readonly number[] = [L.SO_MARK, L.SO_TIMESTAMPING, L.SO_TIMESTAMPING_NEW, L.SO_TXTIME, L.SO_PRIORITY];
  for (const { level, type } of control) {
    if (level === L.SOL_SOCKET && !known.includes(type)) throw new NetError('EINVAL', 'sendmsg');
  }
}
