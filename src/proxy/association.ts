/**
 * Datagrams through a SOCKS5 proxy: RFC 1928 §6 (UDP ASSOCIATE), §7 (their framing). The flows of one socket of the guest
 * share an association, as they share its port: an answer's header says which of them it is for, and a program that talks
 * to a thousand peers costs the proxy one. Flows of two sockets share none, for to one and the same peer they could not be told
 * apart. A flow to a name has an association of its own: the address its answers come from is the proxy's choice. @module
 */
import type { Socket as Datagrams } from 'node:dgram';
import type { Socket } from 'node:net';
import { parseIp } from '../wire/address.ts';
import { type FarDatagrams, openDatagrams } from './machine.ts';
import { ask, datagramHeader, failed, type Place, readDatagram, UDP_ASSOCIATE } from './socks.ts';
import { throughUpstream, type Upstream } from './upstream.ts';

/** A proxy that has said that it carries no datagrams is not asked again for so long: each question costs a connection. */
const ASK_AGAIN_MS = 60_000;
/** A proxy that is gone without a word is noticed by probes. */
const KEEP_ALIVE_MS = 60_000;
/** RFC 1928 §6: who does not know yet where its datagrams will come from says zeros. */
const UNKNOWN: Place = { host: '0.0.0.0', port: 0 };

export interface AssociationStats {
  /** Associations that began, and those that ended while flows used them. */
  opened: number;
  lost: number;
  /** Datagrams of the proxy that were dropped: in fragments, without a header that is one, or of a peer no flow talks to. */
  fragments: number;
  malformed: number;
  strangers: number;
  /** Datagrams of flows that the machine did not take, as those too long with the header in front. */
  unsent: number;
}

/** One flow's part of an association. */
class Member implements FarDatagrams {
  onMessage: (data: Uint8Array) => void = () => {};
  onError: (error: Error) => void = () => {};
  readonly #association: Association;
  readonly #key: string;
  readonly #header: Uint8Array;
  #isClosed = false;

  constructor(association: Association, key: string, header: Uint8Array) {
    this.#association = association;
    this.#key = key;
    this.#header = header;
  }

  send(data: Uint8Array): void {
    if (!this.#isClosed) this.#association.send(this.#header, data);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#association.leave(this.#key, this);
  }
}

const keyOf = (host: string, port: number): string => `${parseIp(host)} ${port}`;

/** A connection to the proxy, and a socket for the datagrams that go through it as long as it lasts. */
class Association {
  readonly #upstream: Upstream;
  readonly #stats: AssociationStats;
  readonly #onOver: () => void;
  readonly #members = new Map<string, Member>();
  readonly #cancel = new AbortController();
  /** Resolves when datagrams may go. */
  readonly ready: Promise<void>;
  /** Of a flow to a name: whoever answers from this port. */
  readonly #namedPort: number | null;
  /** Flows that use it, or wait for it. */
  #users = 0;
  #control: Socket | null = null;
  #datagrams: Datagrams | null = null;
  #isOver = false;

  constructor(upstream: Upstream, stats: AssociationStats, namedPort: number | null, onOver: () => void) {
    this.#upstream = upstream;
    this.#stats = stats;
    this.#namedPort = namedPort;
    this.#onOver = onOver;
    this.ready = this.#open();
    this.ready.catch(() => this.#end());
  }

  async #open(): Promise<void> {
    const { signal } = this.#cancel;
    const [control, bound] = await throughUpstream(this.#upstream, signal, async (socket) => {
      const place = await ask(socket, this.#upstream.user, UDP_ASSOCIATE, UNKNOWN);
      return [socket, place] as const;
    });
    this.#control = control;
    if (this.#isOver) control.destroy(); // everybody who wanted it is gone
    const isLost = (): void => this.#lose('the upstream proxy has ended the association');
    control.setKeepAlive(true, KEEP_ALIVE_MS);
    // RFC 1928 §6: the association ends when this connection does. Nothing is said on it any more.
    control.on('data', () => {});
    control.on('end', isLost);
    control.on('close', isLost);
    control.resume();
    // A proxy that does not know by which of its addresses it is known says none: the one that we have reached.
    const isNowhere = parseIp(bound.host)?.isUnspecified === true;
    const host = isNowhere ? control.remoteAddress : bound.host;
    // Node takes no name for one of this machine.
    if (host === undefined || host === '' || bound.port === 0)
      throw failed('ECONNRESET', 'the proxy gives no place for datagrams');
    const datagrams = await openDatagrams(host, bound.port);
    if (this.#isOver || control.destroyed || control.readableEnded) {
      datagrams.close();
      throw failed('ECONNRESET', 'the proxy has closed the connection');
    }
    this.#datagrams = datagrams;
    datagrams.on('message', (data) => this.#take(data));
    datagrams.on('error', () => this.#lose('the upstream proxy takes no datagrams'));
    this.#stats.opened++;
  }

  use(): void {
    this.#users++;
  }

  /** A flow of those that {@link use} it is over. */
  release(): void {
    this.#users--;
    if (this.#users === 0) this.#end();
  }

  /** @throws EHOSTUNREACH where it is over already */
  join(host: string, port: number): Member {
    if (this.#isOver) throw failed('EHOSTUNREACH', 'the upstream proxy has ended the association');
    const key = this.#namedPort === null ? keyOf(host, port) : '';
    const member = new Member(this, key, datagramHeader(host, port));
    this.#members.set(key, member);
    return member;
  }

  leave(key: string, member: Member): void {
    if (this.#members.get(key) === member) this.#members.delete(key);
    this.release();
  }

  send(header: Uint8Array, data: Uint8Array): void {
    if (this.#isOver) return;
    this.#datagrams?.send([header, data], (error) => {
      if (error !== null) this.#stats.unsent++;
    });
  }

  #take(data: Uint8Array): void {
    const read = readDatagram(data);
    if (read === 'fragment') this.#stats.fragments++;
    else if (read === 'malformed') this.#stats.malformed++;
    else {
      const isNamed = this.#namedPort === read.port;
      const member = this.#members.get(isNamed ? '' : keyOf(read.host, read.port));
      if (member === undefined) this.#stats.strangers++;
      else member.onMessage(read.payload);
    }
  }

  #lose(why: string): void {
    if (this.#isOver) return;
    const members = [...this.#members.values()];
    this.#end();
    if (members.length > 0) this.#stats.lost++;
    for (const member of members) member.onError(failed('EHOSTUNREACH', why));
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#members.clear();
    this.#cancel.abort();
    this.#control?.destroy();
    this.#datagrams?.close();
    this.#onOver();
  }
}

/** The associations with one proxy. There are never more than flows. */
export class Associations {
  readonly stats: AssociationStats = { opened: 0, lost: 0, fragments: 0, malformed: 0, strangers: 0, unsent: 0 };
  readonly #upstream: Upstream;
  readonly #now: () => number;
  readonly #open = new Map<string, Association>();
  #refusedUntil = Number.NEGATIVE_INFINITY;

  /** @param now - milliseconds, never going back */
  constructor(upstream: Upstream, now: () => number) {
    this.#upstream = upstream;
    this.#now = now;
  }

  /** Those there are, or that are about to be. */
  get count(): number {
    return this.#open.size;
  }

  /**
   * The way of one flow.
   * @param source - the socket of the guest it is of
   * @param host - an address, or a name for the proxy to resolve
   * @throws EOPNOTSUPP where the proxy carries no datagrams; what it says else, and node:net of it; ECANCELED by the signal
   */
  async open(source: string, { host, port }: Place, signal: AbortSignal): Promise<FarDatagrams> {
    if (this.#now() < this.#refusedUntil) throw failed('EOPNOTSUPP', 'the proxy has said that it carries no datagrams');
    const isName = parseIp(host) === null;
    const association = this.#find(isName ? `${source} ${host} ${port}` : source, isName ? port : null);
    association.use();
    try {
      await unless(signal, association.ready);
      return association.join(host, port);
    } catch (error) {
      association.release();
      if ((error as { code?: string }).code === 'EOPNOTSUPP') this.#refusedUntil = this.#now() + ASK_AGAIN_MS;
      throw error;
    }
  }

  #find(key: string, namedPort: number | null): Association {
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const made: Association = new Association(this.#upstream, this.stats, namedPort, () => {
      if (this.#open.get(key) === made) this.#open.delete(key);
    });
    this.#open.set(key, made);
    return made;
  }
}

/** As the promise, unless the signal comes first. */
function unless(signal: AbortSignal, promise: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(failed('ECANCELED', 'the flow is over'));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
