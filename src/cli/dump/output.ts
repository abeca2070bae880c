/** Standard output in large pieces, written at once so that memory stays small however slow the reader is. @module */
import { writeSync } from 'node:fs';

/** Characters gathered before they are written. */
const GATHER = 1 << 16;
/** Milliseconds until a full pipe is tried again. */
const RETRY_MS = 1;

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** Waits without giving up the thread: what is written next would only pile up. */
export const pause = (ms: number): void => {
  Atomics.wait(sleeper, 0, 0, ms);
};

export class Output {
  readonly #fd: number;
  #text = '';
  #ended = false;

  constructor(fd = 1) {
    this.#fd = fd;
  }

  /** Whether the reader is gone: nothing more is wanted. */
  get ended(): boolean {
    return this.#ended;
  }

  line(text: string): void {
    this.#text += text;
    this.#text += '\n';
    if (this.#text.length >= GATHER) this.flush();
  }

  /** @throws what write(2) fails with, but for a reader that is gone, which ends the output quietly */
  flush(): void {
    const text = this.#text;
    this.#text = '';
    if (this.#ended || text === '') return;
    const bytes = Buffer.from(text);
    for (let p = 0; p < bytes.length; ) {
      try {
        p += writeSync(this.#fd, bytes, p);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EPIPE') {
          this.#ended = true;
          return;
        }
        if (code !== 'EAGAIN') throw error;
        pause(RETRY_MS);
      }
    }
  }
}
