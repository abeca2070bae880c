/** SO_TIMESTAMP and SO_TIMESTAMPNS: when a datagram came, as a control message of its own: socket(7). @module */
import { LINUX as L } from './constants.ts';
import type { Reading } from './message.ts';
import type { OptionStore } from './options.ts';

/** `struct timeval`, or `struct timespec` where it has nanoseconds: Unix time. */
export interface ArrivalTime {
  readonly sec: number;
  readonly usec?: number;
  readonly nsec?: number;
}

/** The options that ask for it, of which one is on at most. A control message has the name of the option. */
export const TIMESTAMP_OPTIONS: readonly number[] = [
  L.SO_TIMESTAMP,
  L.SO_TIMESTAMPNS,
  L.SO_TIMESTAMP_NEW,
  L.SO_TIMESTAMPNS_NEW,
];

/**
 * Tells of the datagram just read when it came, where an option asks for it.
 * @param atMs - by the clock of the stack   @param epochMs - Unix time in ms when that was 0
 */
export function tellTime({ control }: Reading, options: OptionStore, atMs: number, epochMs: number): void {
  const type = TIMESTAMP_OPTIONS.find((name) => options.isOn(L.SOL_SOCKET, name));
  if (type === undefined) return;
  // Each by itself, so that nanoseconds are not lost beside the seconds of 50 years.
  const wholeMs = Math.floor(epochMs) + Math.floor(atMs);
  const restMs = (epochMs % 1) + (atMs % 1);
  const sec = Math.floor((wholeMs + restMs) / 1000);
  const nsec = Math.floor((wholeMs - sec * 1000 + restMs) * 1e6);
  const isNano = type === L.SO_TIMESTAMPNS || type === L.SO_TIMESTAMPNS_NEW;
  const time: ArrivalTime = isNano ? { sec, nsec } : { sec, usec: Math.floor(nsec / 1000) };
  control.push({ level: L.SOL_SOCKET, type, value: 0, time });
}
