/** What becomes of each packet: filtered, counted, printed or written, until there were enough or nobody reads. @module */
import { type CapturedPacket, type CaptureInterface, CaptureWriter, linkTypeName } from '../../pcap/index.ts';
import { Dissection, dissect } from '../../wire/dissect.ts';
import { type Octets, octetsOf } from '../../wire/octets.ts';
import { CaptureFile } from '../capture-file.ts';
import { CommandError } from '../command.ts';
import { Output } from './output.ts';
import type { Predicate, Probe } from './predicates.ts';
import { Printer, type PrintOptions } from './printer.ts';

export interface SessionOptions extends PrintOptions {
  readonly accept: Predicate;
  /** Packets after which it ends. */
  readonly count: number;
  /** Where accepted packets go; null: to standard output, as text. */
  readonly write: string | null;
}

/** Link types that were met and that nobody here reads are told once, and at most so many of them. */
const UNKNOWN_MAX = 16;

export class Session {
  /** Packets that passed the filter. */
  packets = 0;
  /** Whether to stop: there were enough, nobody reads, or writing failed. */
  done = false;
  /** Link types that could not be read. */
  readonly unknown = new Set<number>();
  readonly #options: SessionOptions;
  readonly #printer: Printer;
  readonly #output = new Output();
  readonly #file: CaptureFile | null = null;
  readonly #writer: CaptureWriter | null = null;
  readonly #ids = new Map<CaptureInterface, number>();
  readonly #d = new Dissection();
  readonly #probe: Probe;
  #octets: Octets = octetsOf(new Uint8Array(0));
  #failure: string | null = null;

  /** @throws CommandError if the file to write cannot be made */
  constructor(options: SessionOptions) {
    this.#options = options;
    this.#printer = new Printer(options);
    this.#probe = { dv: this.#octets.dv, d: this.#d, direction: null, interface: '' };
    if (options.write === null) return;
    this.#file = new CaptureFile(options.write === '-' ? '/dev/stdout' : options.write, (message) => {
      // Who reads standard output may go away: that is no failure.
      if (options.write !== '-' || !/broken pipe/i.test(message)) this.#failure = message;
      this.done = true;
    });
    this.#writer = new CaptureWriter(this.#file, { format: this.#file.format });
  }

  /** @param several - whether packets come from more than one interface */
  take(packet: CapturedPacket, several: boolean): void {
    if (packet.buffer !== this.#octets.u8) {
      this.#octets = octetsOf(packet.buffer);
      this.#probe.dv = this.#octets.dv;
    }
    const d = this.#d;
    const { start, end, originalLength } = packet;
    const { linkType } = packet.interface;
    dissect(this.#octets, start, end, Math.max(end, start + originalLength), linkType, d);
    if (d.problem === 'link-unknown' && this.unknown.size < UNKNOWN_MAX) this.unknown.add(linkType);
    this.#probe.direction = packet.direction;
    this.#probe.interface = packet.interface.name;
    if (!this.#options.accept(this.#probe)) return;
    this.packets++;
    if (this.#writer !== null) this.#write(this.#writer, packet);
    else this.#output.line(this.#printer.print(this.#octets, d, packet, this.packets, several));
    if (this.packets >= this.#options.count || this.#output.ended) this.done = true;
  }

  /** Interfaces of what is written are those of what is read, each at its first packet, or as soon as it is known. */
  interfaceId(iface: CaptureInterface): number {
    const known = this.#ids.get(iface);
    if (known !== undefined || this.#writer === null) return known ?? 0;
    try {
      const id = this.#writer.addInterface({ linkType: iface.linkType, name: iface.name });
      this.#ids.set(iface, id);
      return id;
    } catch {
      throw new CommandError(
        `a .pcap file has one link type and cannot hold ${linkTypeName(iface.linkType)} too: write pcapng`,
      );
    }
  }

  #write(writer: CaptureWriter, packet: CapturedPacket): void {
    const { bytes, originalLength, seconds, nanoseconds, direction, comments } = packet;
    const interfaceId = this.interfaceId(packet.interface);
    const common = { bytes, originalLength, seconds, nanoseconds, interfaceId, comments };
    writer.write(direction === null ? common : { ...common, direction });
  }

  writeStatistics(iface: CaptureInterface, received: number, dropped: number): void {
    const now = Date.now();
    const id = this.interfaceId(iface);
    this.#writer?.writeStatistics(id, Math.floor(now / 1000), (now % 1000) * 1e6, { received, dropped });
  }

  /** Prints what was gathered. */
  flush(): void {
    this.#output.flush();
    if (this.#output.ended) this.done = true;
  }

  /** @throws CommandError if what should be written could not be */
  close(): void {
    this.flush();
    this.#file?.close();
    if (this.#failure !== null) throw new CommandError(this.#failure);
    for (const linkType of this.unknown) {
      process.stderr.write(`ethertype dump: packets of ${linkTypeName(linkType)} are not read, only counted\n`);
    }
  }
}
