/** A link with mDNS hosts on it, in virtual time: what one sends, the others get at once. @module */
import { Mdns, type MdnsOutput } from '../src/dns/index.ts';
import { Random } from '../src/phy/random.ts';
import { IpAddress } from '../src/wire/address.ts';
import * as dns from '../src/wire/dns.ts';

/** A message as it went over the link. */
export interface Heard {
  readonly at: number;
  readonly from: string;
  /** `all`, or the address it went to. */
  readonly to: string;
  readonly message: dns.Message;
  readonly bytes: number;
}

export class Node {
  readonly mdns: Mdns;
  readonly address: IpAddress;
  readonly drops: Partial<Record<string, number>> = {};
  /** Its host names, as they were announced. */
  readonly names: string[] = [];

  constructor(link: Link, name: string, address: string, seed: number) {
    const random = new Random(seed);
    this.address = IpAddress.parse(address);
    this.mdns = new Mdns({
      random: () => random.next(),
      drop: (reason) => {
        this.drops[reason] = (this.drops[reason] ?? 0) + 1;
      },
      name,
      onHostName: (hostName) => this.names.push(hostName),
    });
    link.nodes.push(this);
  }
}

export class Link {
  now = 0;
  readonly nodes: Node[] = [];
  readonly heard: Heard[] = [];
  #seed = 1;

  /** A host with a name and an address, which begins to probe now. */
  add(name: string, ...addresses: string[]): Node {
    const node = new Node(this, name, addresses[0]!, this.#seed++);
    node.mdns.setAddresses(
      addresses.map((text) => IpAddress.parse(text)),
      this.now,
    );
    return node;
  }

  /** Takes what every host has to send, and hands it to the others. */
  flush(): void {
    for (let isMore = true; isMore; ) {
      isMore = false;
      for (const node of this.nodes) {
        for (let output = node.mdns.next(); output !== null; output = node.mdns.next()) {
          isMore = true;
          this.#carry(node, output);
        }
      }
    }
  }

  #carry(from: Node, { message, to }: MdnsOutput): void {
    const data = dns.emit(message, { compressAll: true });
    const parsed = dns.parse(data);
    if (typeof parsed === 'string') throw new Error(`a host sent what cannot be read: ${parsed}`);
    const target = to === null ? 'all' : `${to.address}`;
    this.heard.push({ at: this.now, from: `${from.address}`, to: target, message: parsed, bytes: data.length });
    for (const node of this.nodes) {
      if (node === from || (to !== null && !node.address.equals(to.address))) continue;
      node.mdns.input(data, { address: from.address, port: 5353 }, true, this.now);
    }
  }

  /** Sends a message of nobody's: of a test's own. */
  inject(message: Partial<dns.Message>, from = '10.0.0.99', port = 5353, isOnLink = true): void {
    const data = dns.emit(message);
    for (const { mdns } of this.nodes) mdns.input(data, { address: IpAddress.parse(from), port }, isOnLink, this.now);
    this.flush();
  }

  /** Lets `ms` pass. */
  run(ms: number): void {
    const end = this.now + ms;
    this.flush();
    for (;;) {
      const at = Math.min(...this.nodes.map(({ mdns }) => mdns.pollAt()));
      if (at > end) break;
      this.now = Math.max(this.now, at);
      for (const { mdns } of this.nodes) mdns.poll(this.now);
      this.flush();
    }
    this.now = end;
  }

  /** Forgets what was heard, and gives it. */
  take(): Heard[] {
    return this.heard.splice(0);
  }
}

/** What a message is, in short: `query ANY a.local?`, `answer A 10.0.0.1 ttl 120 flush`. */
export function short({ message }: Heard): string {
  const of = (r: dns.ResourceRecord): string => `${r.type} ${dns.formatData(r)} ${r.ttl}${r.flush ? ' flush' : ''}`;
  if (message.isResponse) return `answer ${message.answers.map(of).join(', ')}`;
  const asked = message.questions.map((q) => `${q.type} ${q.name}${q.unicast ? ' QU' : ''}?`);
  const known = message.answers.map((r) => ` knows ${dns.formatData(r)}`);
  const proposed = message.authorities.map((r) => ` would ${dns.formatData(r)}`);
  return `query ${asked.join(' ')}${known.join('')}${proposed.join('')}${message.isTruncated ? ' TC' : ''}`;
}

export const ip = (text: string): IpAddress => IpAddress.parse(text);
export const asks = (name: string, type: dns.RecordType, fields: Partial<dns.Message> = {}): Partial<dns.Message> => ({
  questions: [dns.question(name, type)],
  ...fields,
});
export const says = (...answers: dns.ResourceRecord[]): Partial<dns.Message> => ({
  isResponse: true,
  isAuthoritative: true,
  answers,
});
export const flushed = (record: dns.ResourceRecord): dns.ResourceRecord => ({ ...record, flush: true });
export const ptr = (name: string, target: string, ttl = 4500): dns.ResourceRecord =>
  dns.record(name, ttl, { type: 'PTR', target });

/** A link with one host that has its name since long. */
export function settled(...addresses: string[]): { link: Link; node: Node } {
  const link = new Link();
  const node = link.add('a', ...(addresses.length > 0 ? addresses : ['10.0.0.1']));
  link.run(60_000);
  link.take();
  return { link, node };
}

/** Watches a name and notes what happens. */
export function watched(link: Link, { mdns }: Node, name: string, type: dns.RecordType) {
  const events: string[] = [];
  const end = mdns.querier.watch(
    name,
    type,
    (event, record) => events.push(`${link.now} ${event} ${dns.formatData(record)}`),
    link.now,
  );
  return { events, end };
}
