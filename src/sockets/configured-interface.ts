/** An interface of a stack with what finds its addresses, for a host and for a stack behind a channel. @module */
import type { Resolver } from '../dns/index.ts';
import type { Ipv6Options } from '../iface/nd.ts';
import type { Device } from '../phy/device.ts';
import { type Cidr, MacAddress } from '../wire/address.ts';
import { parseAddresses } from './address-words.ts';
import { Autoconfig, type AutoconfigOptions, type Configuration } from './autoconfig.ts';
import type { HostOptions } from './host.ts';
import type { StackLoop } from './loop.ts';

export type ConfiguredInterfaceOptions = AutoconfigOptions &
  Pick<HostOptions, 'addresses' | 'mac' | 'name' | 'probe' | 'announce' | 'acceptRedirects' | 'anyIp' | 'ipv6'>;

/** What the owner of the interface is told. */
export interface Hooks {
  /** Before any address is added. */
  made(autoconfig: Autoconfig): void;
  /** Before `onConfigured` of the options. */
  configured(found: Configuration): void;
}

/** @throws TypeError or RangeError for an address that is none */
export function addConfigured(
  loop: StackLoop,
  device: Device,
  options: ConfiguredInterfaceOptions,
  hooks: Hooks,
): Autoconfig {
  const { name, mac, probe, announce, acceptRedirects, anyIp } = options;
  const { stack } = loop;
  const { fixed, words } = parseAddresses(options.addresses ?? []);
  const ipv6 = ipv6Options(fixed, words.includes('slaac'), options, () => autoconfig);
  const iface = stack.addInterface(device, {
    ...(name === undefined ? {} : { name }),
    ...(mac === undefined ? {} : { mac: MacAddress.parse(mac) }),
    ipv6,
    anyIp,
    acceptRedirects,
  });
  const onConfigured = (found: Configuration): void => {
    hooks.configured(found);
    options.onConfigured?.(found);
  };
  const autoconfig = new Autoconfig(loop, iface, words, fixed, { ...options, onConfigured });
  hooks.made(autoconfig);
  const onAdded = (): void => autoconfig.check();
  for (const cidr of fixed) {
    const onConflict = (other: MacAddress): void =>
      autoconfig.conflict(cidr.address, other, !iface.hasAddress(cidr.address));
    stack.addAddress(iface, cidr, { probe, announce, onAdded, onConflict });
  }
  return autoconfig;
}

/** How IPv6 behaves on an interface with these addresses; undefined: it has none. */
function ipv6Options(
  fixed: readonly Cidr[],
  autoconfigure: boolean,
  { ipv6 }: ConfiguredInterfaceOptions,
  autoconfig: () => Autoconfig,
): Ipv6Options | undefined {
  if (!autoconfigure && ipv6 === undefined && fixed.every(({ address }) => address.isV4)) return undefined;
  return {
    linkLocal: !fixed.some(({ address }) => !address.isV4 && address.isLinkLocal),
    autoconfigure,
    ...ipv6,
    onDns: () => autoconfig().routersChanged(),
    // RFC 4861 §4.2: either flag says that a server knows more than the advertisement.
    onManaged: (managed, other) => {
      if (managed || other) autoconfig().startDhcpv6();
    },
  };
}

/** Has `resolver` ask the servers found. The name servers of the first interface rank before those of others. */
export function learnServers(
  resolver: Resolver,
  { stack }: StackLoop,
  { source, interface: name, dnsServers, search }: Configuration,
  isFirst: boolean,
): void {
  const servers = dnsServers.map((text) => ({ address: stack.ip.parse(text)! }));
  const rank = source === 'slaac' ? 'ra' : source; // RFC 8106: behind what was set by hand and by DHCP
  resolver.setServers(isFirst ? rank : `${rank} ${name}`, servers, search);
}
