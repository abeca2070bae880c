/** Two small phases on one network: hosts find their addresses by DHCP and SLAAC, and each other's by DNS. @module */
import { NetError } from '../../index.ts';
import { FAR_ALIAS, FAR_NAME, FAR_SERVER } from './default-network.ts';
import type { Found, GivenLease, Network } from './network.ts';
import { counted, inTime } from './text.ts';

export interface AddressesDetails {
  /** As the router gave them. */
  readonly leases: readonly GivenLease[];
  /** As hosts found them, by either way, when they could use them. */
  readonly found: readonly Found[];
}

/** All hosts start at once, and have nothing but their link addresses. */
export async function findAddresses(network: Network) {
  const startedAt = network.clock.now();
  await network.ready();
  const { leases, found } = network;
  const lastOf = (origin: Found['origin']): number =>
    Math.max(...found.filter((one) => one.origin === origin).map(({ atMs }) => atMs - startedAt));
  const made = found.filter(({ origin }) => origin === 'slaac').length;
  const details: AddressesDetails = { leases, found };
  return {
    ok: leases.length > 0 && made > 0,
    did: ['all hosts ask the router:', 'DHCP, and SLAAC with DAD'],
    saw: [
      `${counted(leases.length, 'lease')}, the last after ${inTime(lastOf('dhcp'))}`,
      `${made} of the prefixes, after ${inTime(lastOf('slaac'))}`,
    ],
    details,
  };
}

export interface NamesDetails {
  readonly answers: readonly { readonly name: string; readonly found: readonly string[]; readonly timeMs: number }[];
  /** Of {@link FAR_NAME}: by way of the router's forwarder, and by another host later, from the router's cache. */
  readonly farMs: number;
  readonly cachedMs: number;
}

/** `bob` asks the router: for neighbours, by way of its zone, and for what it has to ask the internet itself. */
export async function resolveNames(network: Network) {
  const { clock } = network;
  const answers: { name: string; found: readonly string[]; timeMs: number }[] = [];
  const ask = async (asker: string, name: string): Promise<readonly string[]> => {
    const startedAt = clock.now();
    const found = await network
      .host(asker)
      .resolve(name)
      .catch((error) => [error instanceof NetError ? error.code : String(error)]);
    answers.push({ name, found, timeMs: clock.now() - startedAt });
    return found;
  };
  // The same addresses as the interfaces have, and both families.
  const isHost = async (name: string, host: string, asker = 'bob'): Promise<boolean> => {
    const found = await ask(asker, name);
    return ([4, 6] as const).every((family) => found.includes(network.addressOf(host, family)));
  };
  const right = [
    await isHost('server', 'server'), // by the search domain of the lease
    await isHost('alice.lan', 'alice'),
    await isHost(FAR_NAME, FAR_SERVER),
    await isHost(FAR_ALIAS, FAR_SERVER),
    await isHost(FAR_NAME, FAR_SERVER, 'carol'),
    (await ask('bob', 'nobody.lan'))[0] === 'ENOTFOUND',
  ];
  const reverse = await network.host('bob').resolve(network.addressOf('server', 4), { type: 'PTR' });
  right.push(reverse[0]?.target === 'server.lan');
  const wrong = right.filter((one) => !one).length;
  const [farMs, cachedMs] = [answers[2]!.timeMs, answers[4]!.timeMs];
  const details: NamesDetails = { answers, farMs, cachedMs };
  return {
    ok: wrong === 0,
    did: ['bob, carol ask the router', `for the LAN and ${FAR_ALIAS}`],
    saw: [
      wrong === 0 ? `${right.length} answers as they should be` : `${wrong} of ${right.length} WRONG`,
      `forwarded ${inTime(farMs)}, cached ${inTime(cachedMs)}`,
    ],
    details,
  };
}
