/** One line on a terminal that says how far the work is; nothing anywhere else. @module */

/** Time between two changes of the line. */
const PAUSE_MS = 100;
const BAR = 20;

/** Where the line goes: process.stderr. */
export interface Terminal {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

export class Progress {
  readonly #terminal: Terminal;
  #title = '';
  #shownAt = Number.NEGATIVE_INFINITY;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Shows `title` and a bar for `part`, from 0 to 1; a new title at once, the rest ten times a second. */
  show(title: string, part: number): void {
    if (this.#terminal.isTTY !== true) return;
    const now = performance.now();
    if (title === this.#title && now - this.#shownAt < PAUSE_MS) return;
    this.#title = title;
    this.#shownAt = now;
    const done = Math.round(Math.min(Math.max(part, 0), 1) * BAR);
    this.#terminal.write(`\r\x1b[K${title.padEnd(10)} [${'='.repeat(done).padEnd(BAR)}]`);
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#title !== '') this.#terminal.write('\r\x1b[K');
    this.#title = '';
  }
}
