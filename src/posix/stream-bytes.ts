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
  const { buffers, flags, room } = reading;
  if ((flags & L.MSG_PEEK) !== 0) reading.count = peek(core, reading);
  else if ((flags & L.MSG_TRUNC) !== 0) reading.count += discard(core, room - reading.count);
  else {
    reading.count += eachFrom(buffers, reading.count, (buffer, start) =>
      core.recvQueue() === 0 ? 0 : core.recv(buffer, start),
    );
  }
}

/** The bytes are thrown away, and the buffers of the call stay as they are. */
function discard(core: TcpSocket, most: number): number {
  const wanted = Math.min(most, core.recvQueue());
  const scratch = new Uint8Array(Math.min(wanted, SCRATCH_BYTES));
  let count = 0;
  while (count < wanted) count += core.recv(scratch, 0, Math.min(scratch.length, wanted - count));
  return count;
}

function peek(core: TcpSocket, { buffers, flags, room }: Reading): number {
  const count = Math.min(room, core.recvQueue());
  if ((flags & L.MSG_TRUNC) !== 0) return count;
  if (buffers.length === 1) return core.peek(buffers[0]!);
  const bytes = new Uint8Array(count);
  core.peek(bytes);
  return scatter(bytes, buffers);
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
