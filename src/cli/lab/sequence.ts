/** The sequence diagram of a flow: two hosts, an arrow a segment, as text of 80 columns. @module */
import { tcp } from '../../wire/index.ts';
import type { Flow, Message } from './flow.ts';
import { endText } from './observer.ts';
import { counted } from './text.ts';

/** Columns: the time, the arrows between the two hosts, and what became of it. */
const TIME = 10;
const ARROW = 54;
/** Of the rows shown, those of the beginning. */
const FIRST = 0.75;

/**
 * The lines of the diagram.
 * @param rows - segments shown, at most; those in the middle are left out
 */
export function sequenceDiagram(flow: Flow, rows: number): string[] {
  const { client, server, messages, startMs } = flow;
  const one = endText(client);
  const two = endText(server);
  const gap = Math.max(1, ARROW - one.length - two.length);
  const lines = [`${'ms'.padStart(TIME)}  ${one}${' '.repeat(gap)}${two}`];
  const first = messages.length <= rows ? messages.length : Math.ceil(rows * FIRST);
  const last = messages.length <= rows ? 0 : rows - first;
  for (const message of messages.slice(0, first)) lines.push(row(message, startMs));
  const left = messages.length - first - last + flow.messagesLeftOut;
  if (left > 0) lines.push(`${''.padStart(TIME)}  ${`... ${counted(left, 'segment')} ...`}`);
  for (const message of messages.slice(messages.length - last)) if (last > 0) lines.push(row(message, startMs));
  return lines;
}

/** `    12.345  |-------- SYN 0 ------------->|  +10.0`: sent at, what, and how long it took; an X where it was lost. */
function row(message: Message, startMs: number): string {
  const { atMs, arrivedMs, isForward, isResent } = message;
  const text = ` ${describe(message)} `;
  const free = Math.max(2, ARROW - 2 - text.length - 1);
  const before = free >> 1;
  const line = `${'-'.repeat(before)}${text}${'-'.repeat(free - before)}`;
  const isLost = arrivedMs === null;
  const arrow = isForward
    ? `|${isLost ? `${line.slice(0, -12)}X${' '.repeat(12)}` : `${line}>`}|`
    : `|${isLost ? `${' '.repeat(12)}X${line.slice(12)}` : `<${line}`}|`;
  const after = isLost ? 'lost' : `+${(arrivedMs - atMs).toFixed(2)}`;
  return `${(atMs - startMs).toFixed(3).padStart(TIME)}  ${arrow}  ${after}${isResent ? ' again' : ''}`.trimEnd();
}

const NAMES: readonly (readonly [number, string])[] = [
  [tcp.SYN, 'SYN'],
  [tcp.FIN, 'FIN'],
  [tcp.RST, 'RST'],
];

function describe({ flags, seq, ack, length }: Message): string {
  const names = NAMES.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name);
  if (length > 0) names.push(`${seq}:${seq + length}`);
  if ((flags & tcp.ACK) !== 0) names.push(`ack ${ack}`);
  return names.join(' ') || `${seq}`;
}
