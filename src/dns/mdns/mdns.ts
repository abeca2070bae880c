/**
 * mDNS of one link: RFC 6762, with DNS-SD (RFC 6763) on top. Without sockets: messages, the time and chance come in,
 * messages go out. After each call take {@link Mdns.next} until it is null; call `poll` when `pollAt` says. @module
 */
import type { IpAddress } from '../../wire/address.ts';
import { MDNS_PORT, NOERROR, OPCODE_QUERY, parse, record, reverseName } from '../../wire/dns.ts';
import type { DnsDrop } from '../transport.ts';
import { Querier } from './querier.ts';
import type { Draft, Registration } from './registration.ts';
import { Responder } from './responder.ts';
import { checkService, LINK_DOMAIN, labelOf, numbered, type Service, serviceDrafts } from './service.ts';
import { type MdnsOutput, type MdnsPeer, type MdnsWorld, TTL_HOST } from './types.ts';

/** Messages that may wait to be taken. */
const OUTPUTS_MAX = 256;
/** Addresses of the host that are published. */
const ADDRESSES_MAX = 16;

export interface MdnsOptions {
  /** Uniform uint32. */
  random(): number;
  /** Counts a message that was dropped. */
  drop(reason: DnsDrop): void;
  /** The host's name, without `.local`. */
  readonly name: string;
  /** The host's name is ours from now on, or is another one now. */
  onHostName?(name: string): void;
}

/** A service that is published, or on its way to it. */
export interface Published {
  readonly registration: Registration;
  /** Its name, which a conflict may have changed. */
  name(): string;
}

export class Mdns {
  readonly querier: Querier;
  readonly responder: Responder;
  readonly #options: MdnsOptions;
  readonly #outputs: MdnsOutput[] = [];
  readonly #world: MdnsWorld;
  readonly #services = new Set<Registration>();
  #addresses: readonly IpAddress[] = [];
  #host: Registration | null = null;
  #hostAttempt = 1;

  constructor(options: MdnsOptions) {
    labelOf(options.name);
    this.#options = options;
    this.#world = {
      random: () => options.random(),
      send: (output) => {
        // Whoever does not take them loses them, as a full device would.
        if (this.#outputs.length < OUTPUTS_MAX) this.#outputs.push(output);
      },
    };
    this.querier = new Querier(this.#world);
    this.responder = new Responder(this.#world);
  }

  /** `name.local`. */
  get hostName(): string {
    const { name } = this.#options;
    const label = this.#hostAttempt === 1 ? labelOf(name) : numbered(name, `-${this.#hostAttempt}`);
    return `${label}.${LINK_DOMAIN}`;
  }

  /** Whether the host's name has been probed for. */
  get isNamed(): boolean {
    return this.#host?.isOurs === true;
  }

  /** The addresses of the host on this link, as often as one likes. */
  setAddresses(addresses: readonly IpAddress[], now: number): void {
    const some = addresses.slice(0, ADDRESSES_MAX);
    const isSame = some.length === this.#addresses.length && some.every((a, i) => a.equals(this.#addresses[i]!));
    if (isSame && this.#host !== null) return;
    this.#addresses = some;
    if (this.#host !== null) {
      this.#host.change(now);
      return;
    }
    this.#host = this.responder.register(
      {
        build: (attempt) => {
          this.#hostAttempt = attempt;
          return this.#hostDrafts();
        },
        ready: () => this.#options.onHostName?.(this.hostName),
        // The services stand on the host's name.
        renamed: (_attempt, at) => {
          for (const service of this.#services) service.change(at);
        },
      },
      now,
    );
  }

  #hostDrafts(): Draft[] {
    const name = this.hostName;
    return this.#addresses.flatMap((address) => [
      {
        record: record(name, TTL_HOST, { type: address.isV4 ? 'A' : 'AAAA', address }),
        isUnique: true,
        isProbed: true,
      },
      // RFC 6762 §6.2 and §4: the reverse names too, which nobody chose and nobody probes for.
      {
        record: record(reverseName(address), TTL_HOST, { type: 'PTR', target: name }),
        isUnique: true,
        isProbed: false,
      },
    ]);
  }

  /**
   * Publishes a service; where its name is taken on the link, under a name with a number.
   * @param ready - called when the name is its own, again after each change
   * @returns null with too many
   * @throws TypeError, RangeError for a service that cannot be
   */
  publish(service: Service, ready: () => void, now: number): Published | null {
    checkService(service);
    let label = labelOf(service.name);
    const registration = this.responder.register(
      {
        build: (attempt) => {
          label = attempt === 1 ? labelOf(service.name) : numbered(service.name, ` (${attempt})`);
          return serviceDrafts(service, label, this.hostName);
        },
        ready,
      },
      now,
    );
    if (registration === null) return null;
    this.#services.add(registration);
    return { registration, name: () => label };
  }

  /** Takes a service back. */
  unpublish({ registration }: Published): void {
    this.#services.delete(registration);
    this.responder.unregister(registration);
  }

  /**
   * Takes a message.
   * @param isOnLink - whether `from` is an address of this link: RFC 6762 §11: others MUST be ignored
   */
  input(data: Uint8Array, from: MdnsPeer, isOnLink: boolean, now: number): void {
    const message = parse(data);
    if (typeof message === 'string') {
      this.#options.drop(message);
      return;
    }
    // RFC 6762 §18.3 and §18.11: messages with other opcodes or rcodes MUST be silently ignored.
    if (message.opcode !== OPCODE_QUERY || message.rcode !== NOERROR) {
      this.#options.drop('dns-not-an-answer');
      return;
    }
    // RFC 6762 §6: responses come from port 5353, or they are none.
    if (!isOnLink || (message.isResponse && from.port !== MDNS_PORT)) {
      this.#options.drop('dns-wrong-source');
      return;
    }
    if (message.isResponse) {
      this.responder.response(message, now);
      this.querier.response(message, now);
    } else {
      this.querier.query(message, now);
      this.responder.query(message, from, now);
    }
    this.poll(now);
  }

  /** Does what is due; early and repeated calls are harmless. */
  poll(now: number): void {
    this.responder.poll(now);
    this.querier.poll(now);
  }

  pollAt(): number {
    return Math.min(this.responder.pollAt(), this.querier.pollAt());
  }

  /** The next message to send, or null. */
  next(): MdnsOutput | null {
    return this.#outputs.shift() ?? null;
  }

  /** Says goodbye to everything published. */
  close(): void {
    this.responder.close();
    this.#services.clear();
    this.#host = null;
  }
}
