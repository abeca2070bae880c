/**
 * Echo requests and ways, asked of the stack behind a channel, which tells of each reply and hop as it comes. Each function
 * has a twin that stops the thread until it is done, where a thread may. @module
 */
import { NetError } from '../errors.ts';
import type { BlockingOptions } from '../sockets/backend.ts';
import type { PingFailure, PingManyOptions, PingOptions, PingReply, PingStatistics } from '../sockets/ping.ts';
import type { TraceHop, TraceOptions } from '../sockets/trace.ts';
import type { WaitOptions } from '../sockets/waiters.ts';
import type { Channel, HasChannel } from './channel.ts';
import { type ErrorResponse, errorOf, type Handle, type Response, type ServiceCommand } from './commands.ts';
import { postable } from './service-calls.ts';

/** As a host's. */
export type ChannelPingOptions = PingOptions;
/** As a host's; what comes faster than this thread takes it is lost, and `onLost` told how many. */
export interface ChannelPingManyOptions extends PingManyOptions {
  /** Called with how many replies and failures there was no room for; the statistics count them all the same. */
  readonly onLost?: (count: number) => void;
}

type Of<K extends ServiceCommand['kind']> = Extract<ServiceCommand, { readonly kind: K }>;
type Reports = Extract<Response, { kind: 'reports' }>;
type Report =
  | { readonly reply: PingReply }
  | { readonly failure: Omit<PingFailure, 'error'>; readonly error: ErrorResponse };

/** Only what is given, with for ever as a number that can be posted. */
const given = (options: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(options)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, typeof value === 'number' ? postable(value) : value]),
  );

function pingCommand(host: string, options: ChannelPingOptions | ChannelPingManyOptions): Of<'ping'> {
  const { size, timeout, sequence, ttl } = options;
  if (!('count' in options)) return { kind: 'ping', host, ...given({ size, timeout, sequence, ttl }) };
  const { count, interval } = options;
  return { kind: 'ping', host, reports: true, ...given({ size, timeout, sequence, ttl, count, interval }) };
}

/** Tells the functions of `options`; the statistics, if it is over. */
function told({ onReply, onFailure, onLost }: ChannelPingManyOptions, answer: Reports): PingStatistics | null {
  if (answer.lost > 0) onLost?.(answer.lost);
  for (const report of answer.reports as Report[]) {
    if ('reply' in report) onReply?.(report.reply);
    else onFailure?.({ ...report.failure, error: errorOf(report.error) as NetError });
  }
  const { result } = answer;
  if (result === undefined) return null;
  if (result.kind === 'error') throw errorOf(result);
  const { statistics } = result as Extract<Response, { kind: 'ping-statistics' }>;
  // Text has no NaN, which is what times are without a reply.
  const time = (ms: number | null): number => ms ?? Number.NaN;
  const { minMs, avgMs, maxMs, mdevMs } = statistics;
  return { ...statistics, minMs: time(minMs), avgMs: time(avgMs), maxMs: time(maxMs), mdevMs: time(mdevMs) };
}

/** Begins what is reported of; once the signal is aborted it ends. */
async function begin(channel: Channel, command: Of<'ping'> | Of<'trace-route'>, options: WaitOptions): Promise<Handle> {
  return ((await channel.request(command, { signal: options.signal })) as { handle: Handle }).handle;
}

/** Nobody wants to know any more. */
function discard(channel: Channel, handle: Handle): void {
  if (!channel.isClosed) channel.caller.tell({ kind: 'report-end', handle, isDiscarded: true });
}

async function pingReported(channel: Channel, host: string, options: ChannelPingManyOptions): Promise<PingStatistics> {
  const { signal } = options;
  const handle = await begin(channel, pingCommand(host, options), {});
  let isOver = false;
  const onAbort = (): void => channel.caller.tell({ kind: 'report-end', handle });
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    for (;;) {
      const answer = await channel.request({ kind: 'report-next', handle });
      isOver = answer.result !== undefined;
      const statistics = told(options, answer);
      if (statistics !== null) return statistics;
    }
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    if (!isOver) discard(channel, handle);
  }
}

/**
 * Sends an echo request from the stack and waits for its reply; or, with `count`, so many at an interval, and counts; then the
 * signal ends it without an error.
 * @throws NetError ETIMEDOUT, ENETUNREACH, EHOSTUNREACH, ENOTFOUND, ENETDOWN; RangeError
 */
export function ping(of: HasChannel, host: string, options: ChannelPingManyOptions): Promise<PingStatistics>;
export function ping(of: HasChannel, host: string, options?: ChannelPingOptions): Promise<PingReply>;
export async function ping(
  of: HasChannel,
  host: string,
  options: ChannelPingOptions | ChannelPingManyOptions = {},
): Promise<PingReply | PingStatistics> {
  const { signal } = options;
  signal?.throwIfAborted();
  const channel = of.commandChannel();
  if ('count' in options) return pingReported(channel, host, options);
  return ((await channel.request(pingCommand(host, options), { signal })) as { reply: PingReply }).reply;
}

export function pingBlocking(
  of: HasChannel,
  host: string,
  options: ChannelPingManyOptions,
  blocking?: BlockingOptions,
): PingStatistics;
export function pingBlocking(
  of: HasChannel,
  host: string,
  options?: ChannelPingOptions,
  blocking?: BlockingOptions,
): PingReply;
/** As {@link ping}; the functions of `options` are called on this thread, between two waits. */
export function pingBlocking(
  of: HasChannel,
  host: string,
  options: ChannelPingOptions | ChannelPingManyOptions = {},
  blocking: BlockingOptions = {},
): PingReply | PingStatistics {
  const channel = of.commandChannel();
  const command = pingCommand(host, options);
  if (!('count' in options)) return (channel.requestBlocking(command, blocking) as { reply: PingReply }).reply;
  for (const answer of reportsBlocking(channel, command, blocking)) {
    const statistics = told(options, answer);
    if (statistics !== null) return statistics;
  }
  throw new NetError('ECANCELED', 'ping');
}

/** What is told until it is over, within the time of all of it. */
function* reportsBlocking(
  channel: Channel,
  command: Of<'ping'> | Of<'trace-route'>,
  { timeoutMs = Number.POSITIVE_INFINITY }: BlockingOptions,
): Generator<Reports, void, undefined> {
  const until = performance.now() + timeoutMs;
  const left = (): BlockingOptions =>
    timeoutMs === Number.POSITIVE_INFINITY ? {} : { timeoutMs: Math.max(0, until - performance.now()) };
  const { handle } = channel.requestBlocking(command, left()) as unknown as { handle: Handle };
  let isOver = false;
  try {
    while (!isOver) {
      const answer = channel.requestBlocking({ kind: 'report-next', handle }, left());
      isOver = answer.result !== undefined;
      yield answer;
    }
  } finally {
    if (!isOver) discard(channel, handle);
  }
}

const traceCommand = (host: string, { signal: _, ...options }: TraceOptions): Of<'trace-route'> => ({
  kind: 'trace-route',
  host,
  ...given(options),
});

function* hopsOf({ reports, result }: Reports): Generator<TraceHop, void, undefined> {
  yield* reports as TraceHop[];
  if (result?.kind === 'error') throw errorOf(result);
}

/**
 * Finds the routers on the way to `host`: hop after hop, as soon as each is known.
 * @throws NetError ENETUNREACH, ENOTFOUND, EMSGSIZE, ENETDOWN; TypeError, RangeError
 */
export async function* trace(
  of: HasChannel,
  host: string,
  options: TraceOptions = {},
): AsyncGenerator<TraceHop, void, undefined> {
  const channel = of.commandChannel();
  const { signal } = options;
  signal?.throwIfAborted();
  const handle = await begin(channel, traceCommand(host, options), {});
  let isOver = false;
  try {
    while (!isOver) {
      const answer = await channel.request({ kind: 'report-next', handle }, { signal });
      isOver = answer.result !== undefined;
      yield* hopsOf(answer);
    }
  } finally {
    if (!isOver) discard(channel, handle);
  }
}

export function* traceBlocking(
  of: HasChannel,
  host: string,
  options: TraceOptions = {},
  blocking: BlockingOptions = {},
): Generator<TraceHop, void, undefined> {
  for (const answer of reportsBlocking(of.commandChannel(), traceCommand(host, options), blocking)) {
    yield* hopsOf(answer);
  }
}
