/**
 * What a stack behind a channel does besides sockets: names, finding its addresses. Each function has a twin
 * that stops the thread until it is done, where a thread may. @module
 */
import type { RecordType } from '../dns/index.ts';
import type { Configuration, ConfiguredOptions } from '../sockets/autoconfig.ts';
import type { BlockingOptions } from '../sockets/backend.ts';
import type { Resolved, ResolveOptions } from '../sockets/names.ts';
import type { HasChannel } from './channel.ts';
import type { ResponseTo, ServiceCommand } from './commands.ts';
import { recordOf } from './records.ts';

/** For ever, as a number that can be posted everywhere. */
export const postable = (value: number | undefined): number | undefined =>
  value === Number.POSITIVE_INFINITY ? Number.MAX_VALUE : value;

type Of<K extends ServiceCommand['kind']> = Extract<ServiceCommand, { readonly kind: K }>;

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
