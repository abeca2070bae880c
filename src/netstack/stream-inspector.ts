/** What is asked of a connection behind a channel: everything known of it, and its trace. @module */
import type { BlockingOptions } from '../sockets/backend.ts';
import type { TcpInfo } from '../tcp/info.ts';
import type { Trace } from '../tcp/trace.ts';
import type { Caller } from './caller.ts';
import { ChannelSocket } from './channel-socket.ts';
import type { Handle } from './commands.ts';
import { readRecord, WORDS } from './trace-records.ts';

class StreamInspector {
  /** Records that were lost. */
  lost = 0;
  readonly #caller: Caller;
  readonly #handle: Handle;
  #look: Trace | null = null;
  #isAsking = false;
  #isClosed = false;

  constructor(caller: Caller, handle: Handle) {
    this.#caller = caller;
    this.#handle = handle;
  }

  /** Null for a stream that was let go of. */
  async info(): Promise<TcpInfo | null> {
    if (this.#isClosed) return null;
    return ((await this.#caller.request({ kind: 'tcp-info', handle: this.#handle })) as { info: TcpInfo | null }).info;
  }

  infoBlocking(options?: BlockingOptions): TcpInfo | null {
    this.#caller.assertMayBlock('info');
    if (this.#isClosed) return null;
    const command = { kind: 'tcp-info', handle: this.#handle } as const;
    return (this.#caller.requestBlocking(command, options) as { info: TcpInfo | null }).info;
  }

  /** Calls `look` with each record from now on, outside of the turns of the stack. */
  trace(look: Trace | null): void {
    if (this.#isClosed || this.#caller.isDead) return;
    const was = this.#look;
    this.#look = look;
    if ((was === null) === (look === null)) return;
    this.#caller.attend(look === null ? -1 : 1);
    this.#caller.tell({ kind: 'tcp-trace', handle: this.#handle, isOn: look !== null });
    if (look !== null && !this.#isAsking) this.#ask();
  }

  #ask(): void {
    this.#isAsking = true;
    this.#caller.call({ kind: 'tcp-next-traces', handle: this.#handle }, (response) => {
      this.#isAsking = false;
      if (response.kind === 'traces') {
        this.lost += response.lost;
        this.#caller.later(() => this.#tell(response.data));
      } else if (this.#look !== null && !this.#isClosed && !this.#caller.isDead) {
        // Off, and on again: what was asked before that was cancelled with it. Else the stream is over.
        if (response.kind === 'error' && response.code === 'ECANCELED') this.#ask();
      }
    });
  }

  #tell(data: Uint8Array): void {
    const words = new Uint32Array(data.buffer, data.byteOffset, data.byteLength >> 2);
    try {
      for (let w = 0; w < words.length; w += WORDS) this.#look?.(readRecord(words, w));
    } finally {
      if (this.#look !== null && !this.#isAsking) this.#ask();
    }
  }

  /** The stream is let go of. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#look !== null) this.#caller.attend(-1);
    this.#look = null;
  }
}

/** What streams over rings and streams over commands have in common. */
export abstract class InspectedSocket extends ChannelSocket {
  readonly #inspector: StreamInspector;

  constructor(caller: Caller, handle: Handle) {
    super(caller);
    this.#inspector = new StreamInspector(caller, handle);
  }

  info(): Promise<TcpInfo | null> {
    return this.#inspector.info();
  }

  infoBlocking(options?: BlockingOptions): TcpInfo | null {
    return this.#inspector.infoBlocking(options);
  }

  trace(look: Trace | null): void {
    this.#inspector.trace(look);
  }

  get tracesLost(): number {
    return this.#inspector.lost;
  }

  protected override forget(): void {
    this.#inspector.close();
    super.forget();
  }
}
