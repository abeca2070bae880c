/** What a gateway and its process have in use, for `--stats` and for the check at the end. @module */
import { appendFileSync, readdirSync } from 'node:fs';
import type { Gateway, GatewayUse } from '../proxy/index.ts';
import { CommandError, reasonOf } from './command.ts';

/** What is in use at one moment. */
export interface Use extends GatewayUse {
  /** Of this process; 0 where the machine does not tell. */
  readonly descriptors: number;
}

export const STATS_USAGE = `  --stats FILE             a line of JSON at the end, appended: what was in use (connections, bytes of the stack,
                           descriptors) when it began, when it ended, and after everything was given back`;

function descriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length - 1; // without that of the folder itself
  } catch {
    return 0;
  }
}

/** Looks at a gateway at its three moments. */
export class UseWatch {
  readonly #file: string | undefined;
  #start: Use | null = null;
  #end: Use | null = null;

  /** @throws CommandError where the file cannot be written */
  constructor(file: string | undefined) {
    this.#file = file;
    this.#append('');
  }

  #append(text: string): void {
    if (this.#file === undefined) return;
    try {
      appendFileSync(this.#file, text);
    } catch (error) {
      throw new CommandError(`cannot write the statistics to ${this.#file}: ${reasonOf(error)}`);
    }
  }

  /** Before the first flow. */
  start(gateway: Gateway): void {
    this.#start = { ...gateway.use, descriptors: descriptors() };
  }

  /** When who had them has ended, before they are closed. */
  end(gateway: Gateway): void {
    this.#end = { ...gateway.use, descriptors: descriptors() };
  }

  /** Closed: returns what is left, which is a fault of ours, as a sentence; null: nothing. */
  after(gateway: Gateway): string | null {
    const after: Use = { ...gateway.use, descriptors: descriptors() };
    this.#append(`${JSON.stringify({ start: this.#start, end: this.#end, after })}\n`);
    const { tcp, udp, echo, bytes } = after;
    if (tcp + udp + echo + bytes === 0) return null;
    return `left behind, please report it: ${tcp + udp + echo} flows, ${bytes} bytes`;
  }
}
