/** A capture file on disk: records are gathered and written in large pieces. @module */
import { closeSync, openSync, writevSync } from 'node:fs';
import type { CaptureFormat, CaptureSink } from '../phy/index.ts';
import { CommandError, reasonOf } from './command.ts';

/** Bytes gathered before they are written. */
const GATHER_BYTES = 1 << 18;
/** Records gathered at most: writev(2) takes 1024. */
const GATHER_RECORDS = 1000;
/** Milliseconds after which what was gathered is written, so that the file can be watched. */
const FLUSH_MS = 200;

/** The file of `--pcap`: classic pcap where the name ends so, else pcapng. */
export class CaptureFile implements CaptureSink {
  readonly format: CaptureFormat;
  readonly #path: string;
  readonly #fd: number;
  readonly #timer: NodeJS.Timeout;
  readonly #onFailure: (message: string) => void;
  #records: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;

  /**
   * @param onFailure - called once when a write fails, for example on a full disk; capturing ends then, nothing else
   * @throws CommandError if the file cannot be made
   */
  constructor(path: string, onFailure: (message: string) => void) {
    this.format = path.endsWith('.pcap') ? 'pcap' : 'pcapng';
    this.#path = path;
    this.#onFailure = onFailure;
    try {
      this.#fd = openSync(path, 'w');
    } catch (error) {
      throw new CommandError(`cannot write the capture to ${path}: ${reasonOf(error)}`);
    }
    this.#timer = setInterval(() => this.#flush(), FLUSH_MS).unref();
  }

  write(bytes: Uint8Array): void {
    if (this.#ended) return;
    this.#bytes += bytes.length;
    if (this.#records.push(bytes) >= GATHER_RECORDS || this.#bytes >= GATHER_BYTES) this.#flush();
  }

  close(): void {
    if (this.#ended) return;
    this.#flush();
    this.#end();
  }

  #flush(): void {
    if (this.#ended || this.#records.length === 0) return;
    const records = this.#records;
    this.#records = [];
    this.#bytes = 0;
    try {
      writeAll(this.#fd, records);
    } catch (error) {
      this.#end();
      this.#onFailure(`the capture ends here, cannot write to ${this.#path}: ${reasonOf(error)}`);
    }
  }

  #end(): void {
    this.#ended = true;
    clearInterval(this.#timer);
    closeSync(this.#fd);
  }
}

/** A pipe takes part of it at a time. */
function writeAll(fd: number, pieces: Uint8Array[]): void {
  for (let rest = pieces; rest.length > 0; ) {
    let written = writevSync(fd, rest);
    const whole = rest.findIndex((piece) => {
      if (written < piece.length) return true;
      written -= piece.length;
      return false;
    });
    if (whole < 0) return;
    rest = [rest[whole]!.subarray(written), ...rest.slice(whole + 1)];
  }
}
