/**
 * What the commands share that put a host on a TUN or TAP interface: its options, how they are read, and the host they
 * make. Clients (`ping`, `trace`, `get`, ...) use {@link openClient}; `server` reads the same options and opens the
 * interface with {@link openWire}.
 *
 *     const OPTIONS = { ...CLIENT_OPTIONS, count: { type: 'string', short: 'c' } } as const;
 *     const { values } = readOptions(args, OPTIONS, 1);
 *     const client = await openClient('ping', readInterface(values));
 *     try { ... client.host ... } finally { await client.close(); }
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import type { AddressOrigin } from '../iface/addresses.ts';
import { ADDRESS_WORDS, type AddressWord, createHost, type Host, type HostOptions, MacAddress } from '../index.ts';
import { attachTunQueue, openTap, openTun, type TunDevice, type TunOptions, type TunQueue } from '../linux/index.ts';
import { VlanTrunk } from '../phy/index.ts';
import type { Cidr, IpAddress } from '../wire/address.ts';
import { isName } from '../wire/dns.ts';
import { readCidr, readInteger, readIp, readMac } from './args.ts';
import { CommandError, UsageError } from './command.ts';
import { FAULT_OPTIONS, type FaultPlan, type FaultValues, readFaults } from './fault-options.ts';
import { openRecorder, type Wrapped, wrap } from './wire.ts';

/** How long an address may take to be found. A link-local one, after no server answered, takes half a minute. */
const CONFIGURE_MS = 60_000;
/** How long to wait for the other of `dhcp` and `slaac` once one of them has found an address. */
const OTHER_MS = 8000;
/** How long a probe for an address may take: RFC 4862 §5.4.2 has up to two seconds. */
const PROBED_MS = 5000;
/** How often to look. */
const LOOK_MS = 20;
/** A flag of Linux's addresses, IFA_F_TENTATIVE. */
const TENTATIVE = 0x40;

/** Options of the interface and of the host on it; a command adds its own. */
export const INTERFACE_OPTIONS = {
  tap: { type: 'string' },
  tun: { type: 'string' },
  address: { type: 'string', multiple: true },
  'host-address': { type: 'string', multiple: true },
  gateway: { type: 'string', multiple: true },
  'name-server': { type: 'string', multiple: true },
  search: { type: 'string', multiple: true },
  mac: { type: 'string' },
  mtu: { type: 'string' },
  vlan: { type: 'string' },
  'no-offload': { type: 'boolean' },
  pcap: { type: 'string' },
  trace: { type: 'boolean' },
  ...FAULT_OPTIONS,
} as const;

/** The lines of {@link INTERFACE_OPTIONS} for the help of a command. */
export const INTERFACE_USAGE = `  --tap NAME, --tun NAME   the interface; made if it is missing, and then goes with the command
  --address CIDR           an address of the host, with its prefix, or what finds one: slaac, and on a TAP
                           dhcp, link-local; may be repeated
  --host-address CIDR      an address for the Linux side of the interface; may be repeated
  --gateway IP             a router for everything else; one a family
  --name-server IP         who is asked for names, 10.0.0.53 or 10.0.0.53:5353; may be repeated; by default whom DHCP
                           and router advertisements tell of
  --search DOMAIN          tried behind short names; may be repeated
  --mac MAC                the host's Ethernet address (TAP); by default 02:00 and the last four bytes of its address
  --mtu N                  the largest IP packet, 68 to 65535; by default the interface's own
  --vlan ID                the host is in this virtual LAN (TAP): its frames have an 802.1Q tag, 1 to 4094
  --no-offload             no super-segments and no partial checksums
  --pcap FILE              records every packet as the wire has it: classic pcap if FILE ends in .pcap, else pcapng,
                           with why the stack dropped it as a comment
  --trace                  prints every packet on stderr`;

/** What `readOptions` makes of {@link INTERFACE_OPTIONS}. */
export interface InterfaceValues extends FaultValues {
  readonly tap?: string | undefined;
  readonly tun?: string | undefined;
  readonly address?: string[] | undefined;
  readonly 'host-address'?: string[] | undefined;
  readonly gateway?: string[] | undefined;
  readonly 'name-server'?: string[] | undefined;
  readonly search?: string[] | undefined;
  readonly mac?: string | undefined;
  readonly mtu?: string | undefined;
  readonly vlan?: string | undefined;
  readonly 'no-offload'?: boolean | undefined;
  readonly pcap?: string | undefined;
  readonly trace?: boolean | undefined;
}

/** The same, read and checked. */
export interface InterfaceSettings {
  readonly kind: 'tap' | 'tun';
  readonly name: string;
  readonly addresses: readonly Cidr[];
  /** What finds addresses: `dhcp`, ... */
  readonly words: readonly AddressWord[];
  readonly hostAddresses: readonly Cidr[];
  readonly gateways: readonly IpAddress[];
  readonly nameServers: readonly string[];
  readonly search: readonly string[];
  /** Null: a random one. */
  readonly mac: MacAddress | null;
  readonly mtu: number | undefined;
  /** Undefined: frames have no tag. */
  readonly vlan: number | undefined;
  readonly offload: boolean;
  readonly pcap: string | undefined;
  readonly trace: boolean;
  /** Null: none. */
  readonly faults: FaultPlan | null;
}

const isWord = (text: string): text is AddressWord => (ADDRESS_WORDS as readonly string[]).includes(text);

/**
 * @param fallback - the addresses where none is given
 * @throws UsageError
 */
export function readInterface(values: InterfaceValues, fallback: readonly string[] = []): InterfaceSettings {
  const { tap, tun, gateway = [] } = values;
  if ((tap === undefined) === (tun === undefined)) {
    throw new UsageError(
      `expected one interface, --tap NAME or --tun NAME, got ${tap === undefined ? 'none' : 'both'}`,
    );
  }
  const name = (tap ?? tun)!;
  if (name === '') throw new UsageError(`--${tap === undefined ? 'tun' : 'tap'}: expected a name like tap0, got ""`);
  for (const option of ['mac', 'vlan'] as const) {
    if (tun !== undefined && values[option] !== undefined)
      throw new UsageError(`--${option} is for --tap: a TUN has no Ethernet`);
  }
  const texts = values.address ?? fallback;
  const words = texts.filter(isWord);
  const ofEthernet = words.find((word) => word !== 'slaac');
  if (tun !== undefined && ofEthernet !== undefined) {
    throw new UsageError(`--address ${ofEthernet} is for --tap: a TUN has no Ethernet`);
  }
  const addresses = readAddresses(texts);
  return {
    kind: tap === undefined ? 'tun' : 'tap',
    name,
    addresses,
    words,
    hostAddresses: readHostAddresses(values, addresses),
    gateways: readGateways(gateway, addresses),
    nameServers: (values['name-server'] ?? []).map(readNameServer),
    search: (values.search ?? []).map(readDomain),
    mac: readMac('mac', values.mac) ?? (addresses.length > 0 ? new MacAddress(0x0200, addresses[0]!.address.d) : null),
    mtu: readInteger('mtu', values.mtu, 68, 65_535),
    vlan: readInteger('vlan', values.vlan, 1, 4094),
    offload: values['no-offload'] !== true,
    pcap: values.pcap,
    trace: values.trace === true,
    faults: readFaults(values),
  };
}

function readAddresses(texts: readonly string[]): Cidr[] {
  if (texts.length === 0) throw new UsageError('expected at least one --address CIDR, like 192.168.69.1/24, or dhcp');
  const addresses = texts.filter((text) => !isWord(text)).map((text) => readCidr('address', text));
  for (const { address, broadcast } of addresses) {
    const isNone = address.isUnspecified || address.isMulticast || address.isLimitedBroadcast || address.isLoopback;
    if (isNone || broadcast?.equals(address)) {
      throw new UsageError(`--address: expected the address of a host, got ${address}`);
    }
  }
  return addresses;
}

function readHostAddresses(values: InterfaceValues, addresses: readonly Cidr[]): Cidr[] {
  const own = (values['host-address'] ?? []).map((text) => readCidr('host-address', text));
  if (own.filter(({ address }) => address.isV4).length > 1) {
    throw new UsageError('--host-address: expected at most one IPv4 address, got more');
  }
  const same = own.find(({ address }) => addresses.some((other) => other.address.equals(address)));
  if (same !== undefined) {
    throw new UsageError(`--host-address: expected another address than the host's own, got ${same.address} for both`);
  }
  return own;
}

function readGateways(texts: readonly string[], addresses: readonly Cidr[]): IpAddress[] {
  const gateways = texts.map((text) => readGateway(text, addresses));
  for (const family of [4, 6]) {
    const all = gateways.filter((gateway) => gateway.family === family);
    if (all.length > 1)
      throw new UsageError(`--gateway: expected at most one IPv${family} address, got ${all.join(' and ')}`);
  }
  return gateways;
}

function readGateway(text: string, addresses: readonly Cidr[]): IpAddress {
  const gateway = readIp('gateway', text);
  if (addresses.some((cidr) => cidr.contains(gateway))) return gateway;
  throw new UsageError(`--gateway: expected an address on the network of an --address, got ${text}`);
}

/** An address, with a port behind it where it is not 53: `10.0.0.53:5353`, `[fd00::53]:5353`. */
export function readNameServer(text: string): string {
  const match = /^\[(.+)\](?::(\d{1,5}))?$/.exec(text) ?? /^([\d.]+):(\d{1,5})$/.exec(text);
  readIp('name-server', match?.[1] ?? text);
  readInteger('name-server', match?.[2], 1, 65_535);
  return text;
}

function readDomain(text: string): string {
  if (isName(text)) return text;
  throw new UsageError(`--search: expected a domain like example.org, got ${JSON.stringify(text)}`);
}

/** The interface, and what stands around it. */
export interface Wire extends Wrapped {
  readonly tun: TunDevice;
  /** Ends the capture, where there is one. */
  closeCapture(): void;
}

/**
 * Opens the interface.
 * @param command - the name of the command, for what it says on stderr
 * @param queue - one that was opened already, in place of the interface
 */
export async function openWire(
  command: string,
  settings: InterfaceSettings,
  queue: TunQueue | null = null,
): Promise<Wire> {
  const complain = (message: string): void => void process.stderr.write(`ethertype ${command}: ${message}\n`);
  const recorder = openRecorder(settings.pcap, complain);
  const open = settings.kind === 'tap' ? openTap : openTun;
  const tun = await (queue === null ? open(tunOptions(settings)) : attachTunQueue(queue));
  const { faults, trace, vlan } = settings;
  const wrapped = wrap(tun, { name: tun.name, recorder, faults, trace });
  const device = vlan === undefined ? wrapped.device : new VlanTrunk(wrapped.device).lan(vlan);
  return { ...wrapped, tun, device, closeCapture: () => recorder?.close() };
}

/** What the interface is opened with. */
export const tunOptions = (settings: InterfaceSettings): TunOptions => ({
  name: settings.name,
  ...(settings.mtu === undefined ? {} : { mtu: settings.mtu }),
  hostAddress: settings.hostAddresses.map(String),
  // Faults act on frames of wire size.
  offload: settings.offload && settings.faults === null,
  up: true,
});

/** What {@link createHost} gets of the settings. */
export const hostOptions = (
  settings: InterfaceSettings,
  { tun, device }: Pick<Wire, 'tun' | 'device'>,
): HostOptions => ({
  device,
  name: tun.name,
  addresses: [...settings.addresses.map(String), ...settings.words],
  gateway: settings.gateways.map(String),
  nameServers: settings.nameServers,
  searchDomains: settings.search,
  ...(settings.kind === 'tap' && settings.mac !== null ? { mac: `${settings.mac}` } : {}),
});

/** Makes the host on the wire, as {@link createHost}. A capture in pcapng says from now on what the host drops, and why. */
export function hostOn({ explain }: Pick<Wire, 'explain'>, options: HostOptions): Host {
  const host = createHost(options);
  explain(host);
  return host;
}

/**
 * Waits until the addresses can be sent from: what finds one has found it, and those written out have been probed for
 * where that is done (RFC 4862 §5.4), at either end.
 * @throws NetError ETIMEDOUT; CommandError where another host has one
 */
export async function untilConfigured(host: Host, { words, hostAddresses }: InterfaceSettings): Promise<void> {
  if (words.length > 0) await host.configured({ timeout: CONFIGURE_MS });
  const { addresses } = host.stack.ip;
  const own = (origin: AddressOrigin) =>
    addresses.all.filter((local) => local.iface === host.iface && local.origin === origin);
  // What one of them knows, as a domain to search, is not to depend on which was the first.
  const isFound = (word: 'dhcp' | 'slaac'): boolean => !words.includes(word) || own(word).some((one) => one.isAssigned);
  await until(OTHER_MS, () => isFound('dhcp') && isFound('slaac'));
  const given = () => own('static');
  await until(PROBED_MS, () => given().every(({ state }) => state !== 'tentative'));
  const taken = given().find(({ isAssigned }) => !isAssigned);
  if (taken !== undefined) throw new CommandError(`--address: ${taken.address} is in use by another host`);
  await untilLinux(host.iface!.name, hostAddresses);
}

/** Looks until `isSo`, for `ms` at most. */
async function until(ms: number, isSo: () => boolean): Promise<void> {
  const end = performance.now() + ms;
  while (!isSo() && performance.now() < end) await new Promise((resume) => setTimeout(resume, LOOK_MS));
}

/** Linux probes for its end's address too, and drops what comes before. */
async function untilLinux(name: string, addresses: readonly Cidr[]): Promise<void> {
  const isTentative = (): boolean =>
    readFileSync('/proc/self/net/if_inet6', 'utf8')
      .split('\n')
      .map((line) => line.split(/ +/)) // address, index, prefix length, scope, flags, name
      .some(([, , , , flags, of]) => of === name && (Number.parseInt(flags!, 16) & TENTATIVE) !== 0);
  if (addresses.every(({ address }) => address.isV4)) return;
  await until(PROBED_MS, () => !isTentative());
}

/** A host on an interface, for one command. */
export interface Client {
  readonly host: Host;
  readonly wire: Wire;
  /** Closes the host, the interface and the capture. */
  close(): Promise<void>;
}

/**
 * Makes the host of a client command.
 * @param command - its name, for what it says on stderr
 * @param options - what the host has besides
 */
export async function openClient(
  command: string,
  settings: InterfaceSettings,
  options: Partial<HostOptions> = {},
): Promise<Client> {
  const wire = await openWire(command, settings);
  const host = hostOn(wire, { ...hostOptions(settings, wire), tcp: { noDelay: true }, ...options });
  let endScenario = (): void => {};
  const close = async (): Promise<void> => {
    endScenario();
    await host.close();
    wire.closeCapture();
  };
  try {
    await untilConfigured(host, settings);
    endScenario = wire.beginScenario(host.clock);
  } catch (error) {
    await close();
    throw error;
  }
  return { host, wire, close };
}

/** A family that an option asks for; undefined: whichever the target has. */
export type Family = 4 | 6 | undefined;

/** Options `-4` and `-6`. */
export const FAMILY_OPTIONS = {
  ipv4: { type: 'boolean', short: '4' },
  ipv6: { type: 'boolean', short: '6' },
} as const;

export function readFamily(values: {
  readonly ipv4?: boolean | undefined;
  readonly ipv6?: boolean | undefined;
}): Family {
  if (values.ipv4 === true && values.ipv6 === true) throw new UsageError('expected one of -4 and -6, got both');
  if (values.ipv4 === true) return 4;
  return values.ipv6 === true ? 6 : undefined;
}

/**
 * The address of `name`, of the family asked for. Every client command asks here.
 * @throws NetError ENOTFOUND, ETIMEDOUT, EAI_AGAIN
 */
export async function lookupTarget(host: Host, name: string, family: Family): Promise<IpAddress> {
  const address = host.stack.ip.parse(name);
  if (address === null) {
    const [first] = await host.resolve(name, { family });
    return host.stack.ip.parse(first!)!;
  }
  if (family !== undefined && address.family !== family) {
    throw new UsageError(`${name}: expected an IPv${family} address, as -${family} says`);
  }
  return address;
}
