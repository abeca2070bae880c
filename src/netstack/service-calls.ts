/**
 * What a stack behind a channel does besides sockets: names, echo requests, finding its addresses. Each function has a twin
 * that stops the thread until it is done, where a thread may. @module
 */
import type { RecordType } from '../dns/index.ts';
import type { Configuration, ConfiguredOptions } from '../sockets/autoconfig.ts';
import type { BlockingOptions } from '../sockets/backend.ts';
import type { Resolved, ResolveOptions } from '../sockets/names.ts';
import type { PingManyOptions, PingOptions, PingReply, PingStatistics } from '../sockets/ping.ts';
import type { HasChannel } from './channel.ts';
import type { ResponseTo, ServiceCommand } from './commands.ts';
import { recordOf } from './records.ts';

/** For ever, as a number that can be posted everywhere. */
const postable = (value: number | undefined): number | undefined =>
  value === Number.POSITIVE_INFINITY ? Number.MAX_VALUE : value;

type Of<K extends ServiceCommand['kind']> = Extract<ServiceCommand, { readonly kind: K }>;

/** As a host's. */
export type ChannelPingOptions = PingOptions;
/** As a host's, with an end, and without functions: they cannot be called from another thread. */
export type ChannelPingManyOptions = Omit<PingManyOptions, 'onReply' | 'onFailure'>;

const resolveCommand = (name: string, { family, type }: ResolveOptions): Of<'resolve'> => ({
  kind: 'resolve',
  name,
  family,
  type,
});

const resolvedOf = <T extends RecordType | undefined>({ records }: ResponseTo<Of<'resolve'>>): Resolved<T>[] =>
  records.map(recordOf) as Resolved<T>[];

/**
 * Addresses of a name, or with `type` its records, as the stack's resolver finds them: from its table of hosts, its cache,
 * its name servers, and on its link where it has mDNS.
 * @throws NetError ENOTFOUND, ENODATA, ETIMEDOUT, EAI_AGAIN; ENETDOWN
 * @example const [address] = await resolve(channel, 'example.org', { family: 6 })
 */
export async function resolve<T extends RecordType | undefined = undefined>(
  of: HasChannel,
  name: string,
  options: ResolveOptions<T> = {},
): Promise<Resolved<T>[]> {
  const { signal } = options;
  return resolvedOf(await of.commandChannel().request(resolveCommand(name, options), { signal }));
}

export function resolveBlocking<T extends RecordType | undefined = undefined>(
  of: HasChannel,
  name: string,
  options: ResolveOptions<T> = {},
  blocking?: BlockingOptions,
): Resolved<T>[] {
  return resolvedOf(of.commandChannel().requestBlocking(resolveCommand(name, options), blocking));
}

function pingCommand(host: string, options: ChannelPingOptions | ChannelPingManyOptions): Of<'ping'> {
  const { size, timeout, sequence, ttl } = options;
  const { count, interval } = options as Partial<ChannelPingManyOptions>;
  const given = Object.entries({ size, timeout, sequence, ttl, count, interval });
  const posted = given.filter(([, value]) => value !== undefined).map(([name, value]) => [name, postable(value)]);
  return { kind: 'ping', host, ...Object.fromEntries(posted) };
}

const pingedOf = (response: ResponseTo<Of<'ping'>>): PingReply | PingStatistics =>
  response.kind === 'pinged' ? response.reply : response.statistics;

/**
 * Sends an echo request from the stack and waits for its reply; or, with `count`, so many at an interval, and counts.
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
  return pingedOf(await of.commandChannel().request(pingCommand(host, options), { signal }));
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
export function pingBlocking(
  of: HasChannel,
  host: string,
  options: ChannelPingOptions | ChannelPingManyOptions = {},
  blocking?: BlockingOptions,
): PingReply | PingStatistics {
  return pingedOf(of.commandChannel().requestBlocking(pingCommand(host, options), blocking));
}

/**
 * Waits until the stack's first interface has an address to be reached by, and gives its addresses with their prefixes.
 * @throws NetError ETIMEDOUT, ENETDOWN
 */
export async function configured(of: HasChannel, options: ConfiguredOptions = {}): Promise<readonly string[]> {
  const { signal } = options;
  const timeoutMs = postable(options.timeout);
  return (await of.commandChannel().request({ kind: 'configured', timeoutMs }, { signal })).addresses;
}

export function configuredBlocking(of: HasChannel, blocking: BlockingOptions = {}): readonly string[] {
  const timeoutMs = postable(blocking.timeoutMs);
  return of.commandChannel().requestBlocking({ kind: 'configured', timeoutMs }, blocking).addresses;
}

/** What DHCP, router advertisements and the like have told the stack of last, one record a source. */
export async function configuration(of: HasChannel): Promise<readonly Configuration[]> {
  return (await of.commandChannel().request({ kind: 'get-configuration' })).configurations;
}

export function configurationBlocking(of: HasChannel, blocking?: BlockingOptions): readonly Configuration[] {
  return of.commandChannel().requestBlocking({ kind: 'get-configuration' }, blocking).configurations;
}
