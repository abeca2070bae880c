/**
 * The routers on the way to a host: probes with growing TTLs, and the ICMP errors about them, as traceroute(8) does it.
 * @module
 */
import { NetError } from '../errors.ts';
import type { IcmpSocket } from '../icmp/icmp.ts';
import type { ErrorDetail } from '../iface/error-detail.ts';
import { Source } from '../udp/datagram-queue.ts';
import type { UdpSocket } from '../udp/socket.ts';
import type { IpAddress } from '../wire/address.ts';
import * as v4 from '../wire/icmpv4.ts';
import * as v6 from '../wire/icmpv6.ts';
import type { Notified, StackLoop } from './loop.ts';
import { checkWhole } from './ping.ts';

export interface TraceOptions {
  /** UDP datagrams to ports that nobody has, or echo requests. Default `udp`. */
  readonly mode?: 'udp' | 'icmp';
  /** The first and the last TTL, default 1 and 30. */
  readonly firstHop?: number;
  readonly maxHops?: number;
  /** Probes a hop, default 3. */
  readonly probes?: number;
  /** Milliseconds to wait for each answer, default 5000. */
  readonly timeout?: number;
  /** The port of the first UDP probe, default 33434; each further one goes to the next. */
  readonly port?: number;
  /** Bytes of data in a probe, default 32. */
  readonly size?: number;
  readonly signal?: AbortSignal | undefined;
}

/** What came of one probe; without an answer all is null. */
export interface TraceProbe {
  readonly address: string | null;
  readonly timeMs: number | null;
  /** Why the way ends there, as traceroute(8) has it: `!N`, `!H`, `!P`, `!F-1400`, `!X`, ...; null: it goes on. */
  readonly note: string | null;
}

export interface TraceHop {
  readonly ttl: number;
  readonly probes: readonly TraceProbe[];
  /** Whether the way ends here: the host itself has answered, or somebody says that it cannot be reached. */
  readonly isLast: boolean;
}

/** Hops probed ahead of the one that is waited for. */
const HOPS_AHEAD = 3;
const LOST: TraceProbe = { address: null, timeMs: null, note: null };

/** RFC 792, RFC 1812 §5.2.7.1, as traceroute(8) abbreviates them. */
const NOTES_V4 = ['!N', '!H', '!P', null, '!F', '!S', '!U', '!W', '!I', '!A', '!Z', '!Q', '!T', '!X', '!V', '!C'];
/** RFC 4443 §3.1. */
const NOTES_V6 = ['!N', '!X', '!S', '!H', null, '!X', '!X'];

interface Probe {
  readonly sentAt: number;
  timer: number;
  settle(result: TraceProbe, isLast: boolean): void;
}

class Tracer implements Notified {
  readonly #loop: StackLoop;
  readonly #to: IpAddress;
  readonly #options: TraceOptions;
  readonly #udp: UdpSocket | null = null;
  readonly #icmp: IcmpSocket | null = null;
  readonly #data: Uint8Array;
  readonly #buffer: Uint8Array;
  readonly #source = new Source();
  /** Probes under way, by port or sequence number: at most HOPS_AHEAD hops' worth. */
  readonly #probes = new Map<number, Probe>();
  #sent = 0;

  constructor(loop: StackLoop, to: IpAddress, options: TraceOptions) {
    const { mode = 'udp', size = 32, port = 33_434, probes = 3, maxHops = 30, firstHop = 1 } = options;
    if (mode !== 'udp' && mode !== 'icmp') throw new TypeError(`mode: expected 'udp' or 'icmp', got ${mode}`);
    checkWhole('size', size, 0, 65_507);
    checkWhole('probes', probes, 1, 10);
    checkWhole('maxHops', maxHops, 1, 255);
    checkWhole('firstHop', firstHop, 1, maxHops);
    checkWhole('port', port, 1, 65_536 - probes * (maxHops - firstHop + 1));
    this.#loop = loop;
    this.#to = to;
    this.#options = options;
    this.#data = new Uint8Array(size).map((_, i) => 0x40 + (i & 0x3f));
    this.#buffer = new Uint8Array(size);
    if (mode === 'icmp') {
      this.#icmp = loop.stack.icmpSocket();
      this.#icmp.bind();
      this.#icmp.owner = this;
    } else {
      this.#udp = loop.stack.udpSocket();
      this.#udp.bind();
      this.#udp.receiveErrors = true;
      this.#udp.owner = this;
    }
  }

  /** Sends the probes of one hop. */
  probe(ttl: number): Promise<TraceHop> {
    const { probes = 3 } = this.#options;
    return new Promise((resolve, reject) => {
      const results: TraceProbe[] = new Array(probes).fill(LOST);
      let left = probes;
      let isLast = false;
      for (let i = 0; i < probes; i++) {
        const settle = (result: TraceProbe, ends: boolean): void => {
          results[i] = result;
          isLast ||= ends;
          if (--left === 0) resolve({ ttl, probes: results, isLast });
        };
        try {
          this.#send(ttl, settle);
        } catch (error) {
          reject(error);
          return;
        }
      }
    });
  }

  #send(ttl: number, settle: Probe['settle']): void {
    const { clock } = this.#loop;
    const { port = 33_434, timeout = 5000 } = this.#options;
    const key = (this.#icmp === null ? port : 1) + this.#sent++;
    this.#loop.touch();
    const sentAt = clock.now();
    if (this.#icmp !== null) {
      this.#icmp.ttl = ttl;
      this.#icmp.sendEcho(this.#to, key, this.#data);
    } else {
      this.#udp!.ttl = ttl;
      this.#udp!.send(this.#data, { address: this.#to, port: key });
    }
    const probe: Probe = { sentAt, timer: 0, settle };
    probe.timer = clock.setTimer(sentAt + timeout, () => this.#settle(key, LOST, false));
    this.#probes.set(key, probe);
    this.#loop.wake();
  }

  #settle(key: number, result: TraceProbe, isLast: boolean): void {
    const probe = this.#probes.get(key);
    if (probe === undefined) return;
    this.#loop.clock.clearTimer(probe.timer);
    this.#probes.delete(key);
    probe.settle(result, isLast);
  }

  notify(): void {
    const source = this.#source;
    // The host itself answers: an echo reply, or even a datagram.
    const receive = (): number => (this.#icmp ?? this.#udp!).recv(this.#buffer, source);
    for (let n = receive(); n >= 0; n = receive()) {
      if (source.address.equals(this.#to)) this.#answered(source.port, this.#to, null, true);
    }
    const take = (): ErrorDetail | null => (this.#icmp ?? this.#udp!).takeErrorDetail();
    for (let error = take(); error !== null; error = take()) this.#failed(error);
  }

  #answered(key: number, from: IpAddress | null, note: string | null, isLast: boolean): void {
    const probe = this.#probes.get(key);
    if (probe === undefined) return;
    const timeMs = this.#loop.clock.now() - probe.sentAt;
    this.#settle(key, { address: from?.toString() ?? null, timeMs, note }, isLast);
  }

  #failed(detail: ErrorDetail): void {
    if (!detail.address.equals(this.#to)) return;
    const { origin, type, port, offender } = detail;
    if (origin === 'local') {
      this.#answered(port, this.#loop.stack.ip.path(this.#to, null)?.source ?? null, '!H', true);
      return;
    }
    const isExceeded = type === (origin === 'icmp' ? v4.TIME_EXCEEDED : v6.TIME_EXCEEDED);
    this.#answered(port, offender, isExceeded ? null : noteOf(detail), !isExceeded);
  }

  close(): void {
    for (const { timer } of this.#probes.values()) this.#loop.clock.clearTimer(timer);
    this.#probes.clear();
    this.#icmp?.close();
    this.#udp?.close();
  }
}

/** What traceroute prints behind the time of an answer that ends the way. */
function noteOf({ origin, type, icmpCode, info }: ErrorDetail): string | null {
  const isV4 = origin === 'icmp';
  if (!isV4 && type === v6.PACKET_TOO_BIG) return `!F-${info}`;
  if (type !== (isV4 ? v4.UNREACHABLE : v6.UNREACHABLE)) return `!<${type}-${icmpCode}>`;
  if (isV4 && icmpCode === v4.CODE_FRAGMENTATION_NEEDED) return `!F-${info}`;
  const note = (isV4 ? NOTES_V4 : NOTES_V6)[icmpCode];
  return note === undefined ? `!<${icmpCode}>` : note;
}

/** Gives hop after hop, until the host has answered, somebody says that it cannot be reached, or the last TTL. */
export async function* trace(
  loop: StackLoop,
  to: IpAddress,
  options: TraceOptions,
): AsyncGenerator<TraceHop, void, undefined> {
  const { maxHops = 30, firstHop = 1, signal } = options;
  signal?.throwIfAborted();
  const tracer = new Tracer(loop, to, options);
  let stop: (error: unknown) => void = () => {};
  const stopped = new Promise<never>((_, reject) => {
    stop = reject;
  });
  stopped.catch(() => {}); // seen where it is raced
  const onClose = (): void => stop(new NetError('ECANCELED', 'trace', { detail: 'the host was closed' }));
  const onAbort = (): void => stop(signal!.reason);
  loop.closers.add(onClose);
  signal?.addEventListener('abort', onAbort, { once: true });
  loop.hold(1);
  try {
    const hops: Promise<TraceHop>[] = [];
    for (let ttl = firstHop; ttl <= maxHops; ttl++) {
      for (let next = firstHop + hops.length; next <= Math.min(maxHops, ttl + HOPS_AHEAD - 1); next++) {
        const hop = tracer.probe(next);
        hop.catch(() => {});
        hops.push(hop);
      }
      const hop = await Promise.race([hops[ttl - firstHop]!, stopped]);
      yield hop;
      if (hop.isLast) return;
    }
  } finally {
    loop.hold(-1);
    loop.closers.delete(onClose);
    signal?.removeEventListener('abort', onAbort);
    tracer.close();
  }
}
