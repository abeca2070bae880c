/**
 * Asking servers: one question to several servers in turn, over UDP, over TCP where the answer was cut; RFC 1035 §4.2
 * and §7.2, RFC 5452 (answers that are forged), RFC 6891 (EDNS), RFC 7766 (TCP). @module
 */
import { NetError } from '../errors.ts';
import {
  BADVERS,
  CLASS_IN,
  emit,
  FORMERR,
  type Message,
  message,
  NOERROR,
  NOTIMP,
  NXDOMAIN,
  OPCODE_QUERY,
  parse,
  type Question,
  sameName,
} from '../wire/dns.ts';
import type { DnsDrop, DnsTransport, Endpoint, QuerySocket } from './transport.ts';

/** What a datagram may have on any path without fragments: the DNS flag day of 2020. */
export const EDNS_BYTES = 1232;
/** Servers that are asked; more are not listened to. */
export const SERVERS_MAX = 8;
/** Times every server is asked, each round waiting twice as long as the one before. */
const ROUNDS = 3;
const TIMEOUT_MS = 1000;
const STREAM_TIMEOUT_MS = 5000;
/** Answers that do not fit, after which somebody is guessing, and TCP is asked instead: RFC 5452 §10. */
const FORGERIES_MAX = 16;
/** A server that did not answer is asked last for so long, twice as long each time. */
const PENALTY_MS = 30_000;
const PENALTY_MAX_MS = 600_000;

interface Server extends Endpoint {
  /** Whether it knows EDNS; null: not seen yet. */
  edns: boolean | null;
  /** Failures in a row, and until when others are asked first. */
  failures: number;
  lastUntil: number;
}

/** What asking one server came to. */
type Outcome = Message | 'timeout' | 'failed';

export interface UpstreamOptions {
  /** Mixes the case of the letters of a question, which the answer must repeat; default false. */
  readonly mixCase?: boolean | undefined;
}

/** Servers, and what is remembered of them. */
export class Upstream {
  readonly #transport: DnsTransport;
  readonly #mixCase: boolean;
  #servers: Server[] = [];

  constructor(transport: DnsTransport, options: UpstreamOptions = {}) {
    this.#transport = transport;
    this.#mixCase = options.mixCase === true;
  }

  get servers(): readonly Endpoint[] {
    return this.#servers.map(({ address, port }) => ({ address, port }));
  }

  /** Sets who is asked, in order; what is known of those that stay, stays. Says whether anything changed. */
  setServers(servers: readonly Endpoint[]): boolean {
    const isSame = (a: Endpoint, b: Endpoint): boolean => a.port === b.port && a.address.equals(b.address);
    const unique = servers.filter((server, i) => servers.findIndex((other) => isSame(server, other)) === i);
    const before = this.#servers;
    this.#servers = unique.slice(0, SERVERS_MAX).map(
      ({ address, port }) =>
        before.find((old) => isSame(old, { address, port })) ?? {
          address,
          port,
          edns: null,
          failures: 0,
          lastUntil: 0,
        },
    );
    return before.length !== this.#servers.length || this.#servers.some((server, i) => server !== before[i]);
  }

  /**
   * The answer of the first server that has one: NOERROR or NXDOMAIN, neither cut nor forged.
   * @throws NetError ENOTFOUND without servers, ETIMEDOUT when none answers, EAI_AGAIN when none knows; the signal's reason
   */
  async query(question: Question, signal: AbortSignal): Promise<Message> {
    const { name } = question;
    if (this.#servers.length === 0) {
      throw new NetError('ENOTFOUND', 'resolve', { address: name, detail: `${name}: no name server is known` });
    }
    let silent: readonly Server[] = this.#inOrder();
    let hasFailed = false;
    for (let round = 0; round < ROUNDS; round++) {
      const again: Server[] = [];
      for (const server of silent) {
        signal.throwIfAborted();
        const outcome = await this.#ask(server, question, round, signal);
        if (typeof outcome !== 'string') return outcome;
        if (outcome === 'timeout') again.push(server);
        else hasFailed = true;
      }
      silent = again;
    }
    throw new NetError(hasFailed ? 'EAI_AGAIN' : 'ETIMEDOUT', 'resolve', { address: name });
  }

  /** Those that answered when last asked come first. */
  #inOrder(): Server[] {
    const now = this.#transport.clock.now();
    const isLate = (server: Server): boolean => server.lastUntil > now;
    return [...this.#servers.filter((server) => !isLate(server)), ...this.#servers.filter(isLate)];
  }

  async #ask(server: Server, question: Question, round: number, signal: AbortSignal): Promise<Outcome> {
    // RFC 6891 §6.2.2 and §7: servers that do not know EDNS say so, or say nothing.
    let withEdns = server.edns ?? round < ROUNDS - 1;
    let outcome = await this.#exchange(server, question, withEdns, round, signal);
    if (typeof outcome !== 'string' && withEdns && [FORMERR, NOTIMP, BADVERS].includes(outcome.rcode)) {
      server.edns = false;
      withEdns = false;
      outcome = await this.#exchange(server, question, false, round, signal);
    }
    const isAnswer = typeof outcome !== 'string' && (outcome.rcode === NOERROR || outcome.rcode === NXDOMAIN);
    this.#remember(server, isAnswer);
    if (!isAnswer) return outcome === 'timeout' ? outcome : 'failed';
    if (withEdns) server.edns = true;
    return outcome;
  }

  #remember(server: Server, hasAnswered: boolean): void {
    server.failures = hasAnswered ? 0 : server.failures + 1;
    const penalty = hasAnswered ? 0 : Math.min(PENALTY_MAX_MS, PENALTY_MS * 2 ** (server.failures - 1));
    server.lastUntil = this.#transport.clock.now() + penalty;
  }

  async #exchange(
    server: Server,
    asked: Question,
    withEdns: boolean,
    round: number,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const question = this.#mixCase ? { ...asked, name: mixedCase(asked.name, () => this.#transport.random()) } : asked;
    const timeoutMs = TIMEOUT_MS * 2 ** round;
    const query = (): Message =>
      message({
        id: this.#transport.random() & 0xffff, // RFC 5452 §9.2: not to be guessed, a new one each time
        recursionDesired: true,
        questions: [question],
        edns: withEdns ? { payloadBytes: EDNS_BYTES, version: 0, dnssecOk: false } : null,
      });
    const first = await this.#datagram(server, query(), timeoutMs, signal);
    // RFC 7766 §5: a cut answer is asked for again over TCP.
    const isCut = typeof first !== 'string' && first.isTruncated;
    return isCut || first === 'forged' ? this.#stream(server, query(), signal) : first;
  }

  #datagram(server: Server, query: Message, timeoutMs: number, signal: AbortSignal): Promise<Outcome | 'forged'> {
    const { clock } = this.#transport;
    return new Promise((resolve, reject) => {
      let socket: QuerySocket | null = null;
      let forgeries = 0;
      const finish = (outcome: Outcome | 'forged'): void => {
        clear();
        resolve(outcome);
      };
      const onAbort = (): void => {
        clear();
        reject(signal.reason);
      };
      const clear = (): void => {
        clock.clearTimer(timer);
        signal.removeEventListener('abort', onAbort);
        socket?.close();
      };
      const timer = clock.setTimer(clock.now() + timeoutMs, () => finish('timeout'));
      signal.addEventListener('abort', onAbort, { once: true });
      const take = (data: Uint8Array): void => {
        const answer = answerTo(query, data, this.#mixCase);
        if (typeof answer !== 'string') {
          finish(answer);
          return;
        }
        this.#transport.drop(answer);
        if (++forgeries >= FORGERIES_MAX) finish('forged');
      };
      try {
        socket = this.#transport.open(server, { message: take, failed: () => finish('failed') });
        socket.send(emit(query));
      } catch (error) {
        clear();
        if (error instanceof NetError) resolve('failed');
        else reject(error);
      }
    });
  }

  async #stream(server: Server, query: Message, signal: AbortSignal): Promise<Outcome> {
    const { clock } = this.#transport;
    const controller = new AbortController();
    const onAbort = (): void => controller.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const timer = clock.setTimer(clock.now() + STREAM_TIMEOUT_MS, () => controller.abort());
    try {
      const data = await this.#transport.stream(server, emit(query), controller.signal);
      const answer = answerTo(query, data, this.#mixCase);
      if (typeof answer !== 'string') return answer;
      this.#transport.drop(answer);
      return 'failed';
    } catch {
      // The user's own signal ends everything; whatever else went wrong is this server's failure.
      signal.throwIfAborted();
      return controller.signal.aborted ? 'timeout' : 'failed';
    } finally {
      clock.clearTimer(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }
}

/** The answer to `query` in `data`, or why it is none: RFC 5452 §9.1. Address and port the socket has checked. */
function answerTo(query: Message, data: Uint8Array, exactCase: boolean): Message | DnsDrop {
  const answer = parse(data);
  if (typeof answer === 'string') return answer;
  if (!answer.isResponse || answer.opcode !== OPCODE_QUERY) return 'dns-not-an-answer';
  if (answer.id !== query.id) return 'dns-wrong-id';
  const { name, type } = query.questions[0]!;
  const [asked, ...more] = answer.questions;
  // A server that could not read the question cannot repeat it.
  if (asked === undefined) {
    return answer.rcode === NOERROR || answer.rcode === NXDOMAIN ? 'dns-wrong-question' : answer;
  }
  const isSame = exactCase ? asked.name === name : sameName(asked.name, name);
  return isSame && asked.type === type && asked.class === CLASS_IN && more.length === 0 ? answer : 'dns-wrong-question';
}

/** Each letter in upper or lower case by chance: what a forger must guess too. */
function mixedCase(name: string, random: () => number): string {
  return name.replace(/[a-z]/gi, (c) => ((random() & 1) === 0 ? c.toLowerCase() : c.toUpperCase()));
}
