/** Explicit congestion notification: RFC 3168. @module */
import type * as wire from '../wire/tcp.ts';
import type { Acked } from './acked.ts';
import type { Connection } from './connection.ts';

export function arriveEcn(_c: Connection, _segment: wire.Segment, _acked: Acked): void {}
