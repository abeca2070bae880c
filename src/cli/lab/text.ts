/** Numbers and lines for people. @module */

const UNITS = ['B', 'KiB', 'MiB', 'GiB'];

/** `12,345,678`. */
export const grouped = (n: number): string => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ',');

/** `0 B`, `1.5 MiB`, `256 MiB`. */
export function inBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number(value.toFixed(value < 10 ? 1 : 0))} ${UNITS[unit]}`;
}

/** `11.2 Gbit/s`, `850 kbit/s`. */
export function inBitsPerSecond(bits: number): string {
  const [unit, scale] = bits >= 1e9 ? ['Gbit/s', 1e9] : bits >= 1e6 ? ['Mbit/s', 1e6] : ['kbit/s', 1e3];
  const value = bits / (scale as number);
  return `${Number(value.toFixed(value < 100 ? 1 : 0))} ${unit}`;
}

/** `0.05 ms`, `12 ms`, `1.5 s`, `25 min`, `70 h`. */
export function inTime(ms: number): string {
  if (ms < 9.95) return `${ms.toFixed(ms < 0.995 ? 2 : 1)} ms`;
  if (ms < 999.5) return `${ms.toFixed(0)} ms`;
  if (ms < 599_950) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 36_000_000 ? `${(ms / 60_000).toFixed(0)} min` : `${grouped(ms / 3_600_000)} h`;
}

/** `1 timeout`, `3 timeouts`. */
export const counted = (n: number, noun: string): string => `${grouped(n)} ${noun}${n === 1 ? '' : 's'}`;

/** Puts words into lines of at most `width`; each after the first begins with `indent`. */
export function wrapped(words: readonly string[], width: number, indent: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of words) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = indent + word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return line === '' ? lines : [...lines, line];
}
