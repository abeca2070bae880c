/**
 * Lists of domain names as options carry them: RFC 3397 §2 (DHCP, with compression), RFC 8415 §10 and RFC 8106 §5.2
 * (without). Names are ASCII text without the last dot. @module
 */

/** RFC 1035 §2.3.4: octets of a label, and of a whole name as the wire has it. */
const LABEL_MAX = 63;
const NAME_MAX = 255;
const POINTER = 0xc0;
/** Names read of one list; what stands behind them is left out. */
const NAMES_MAX = 32;

/**
 * Reads the names in `bytes`, or gives null where something is no name. A pointer must lead back, and inside the list;
 * zeros behind the last name are padding.
 */
export function parseNames(bytes: Uint8Array): string[] | null {
  const names: string[] = [];
  let at = 0;
  while (at < bytes.length && names.length < NAMES_MAX) {
    if (bytes[at] === 0) {
      at++;
      continue;
    }
    const read = parseName(bytes, at);
    if (read === null) return null;
    names.push(read.name);
    at = read.next;
  }
  return names;
}

function parseName(bytes: Uint8Array, start: number): { name: string; next: number } | null {
  const labels: string[] = [];
  let at = start;
  let next = -1; // behind the name, where a pointer has led elsewhere
  let lowest = start; // RFC 1035 §4.1.4: a pointer is to a prior occurrence, so no loop can be
  let length = 1;
  for (;;) {
    const count = bytes[at];
    if (count === undefined) return null;
    if (count === 0) break;
    if (count >= POINTER) {
      const low = bytes[at + 1];
      if (low === undefined) return null;
      if (next < 0) next = at + 2;
      at = ((count & ~POINTER) << 8) | low;
      if (at >= lowest) return null;
      lowest = at;
      continue;
    }
    length += count + 1;
    if (count > LABEL_MAX || at + 1 + count > bytes.length || length > NAME_MAX) return null;
    const label = String.fromCharCode(...bytes.subarray(at + 1, at + 1 + count));
    // What a resolver and a log can take: no control characters, no dot inside a label, no blank.
    if (!/^[!-\-/-~]+$/.test(label)) return null;
    labels.push(label);
    at += 1 + count;
  }
  return { name: labels.join('.'), next: next < 0 ? at + 1 : next };
}

/**
 * The names as labels, without compression.
 * @throws RangeError for a name that is none
 */
export function encodeNames(names: readonly string[]): Uint8Array {
  const bytes: number[] = [];
  for (const name of names) {
    const labels = name.replace(/\.$/, '').split('.');
    const isName = labels.every((label) => label.length <= LABEL_MAX && /^[!-\-/-~]+$/.test(label));
    if (!isName || name.length > NAME_MAX - 2) {
      throw new RangeError(`domain: expected a name like example.com, got ${JSON.stringify(name)}`);
    }
    for (const label of labels) bytes.push(label.length, ...label.split('').map((c) => c.charCodeAt(0)));
    bytes.push(0);
  }
  return Uint8Array.from(bytes);
}
