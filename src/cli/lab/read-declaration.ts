/** Reads the file of `ethertype lab FILE`: what a declaration may be, and what belongs together in it. @module */
import { ADDRESS_WORDS, type AddressWord, Cidr, type IpAddress } from '../../index.ts';
import type { FaultSettings } from '../../sim/index.ts';
import type { JsonNode } from '../json-file.ts';
import { type Change, type Directions, readSchedule } from '../scenario.ts';
import { checkDeclaration } from './check-declaration.ts';
import {
  type ActivityDeclaration,
  type AttachmentDeclaration,
  type DnsDeclaration,
  type HostDeclaration,
  type LabDeclaration,
  type LinkDeclaration,
  type RouterDeclaration,
  type RouterInterfaceDeclaration,
  SERVICE_NAMES,
  type TcpDeclaration,
} from './declaration.ts';

/** Hosts, routers, switches, links: of each. */
const NODES_MAX = 200;
const LIST_MAX = 1000;
const SEED_MAX = 0xffff_ffff;
const SECONDS_MAX = 86_400;
const MTU_MIN = 1280;
const MTU_MAX = 65_535;
const BYTES_MAX = 1e10;
const TIME_MS_MAX = SECONDS_MAX * 1000;

export interface LabFile {
  readonly network: LabDeclaration;
  readonly schedule: readonly Change[];
  readonly seed: number | null;
  /** Virtual seconds after which what still runs is ended. */
  readonly seconds: number | null;
}

/** @throws UsageError that names the place */
export function readDeclaration(root: JsonNode): LabFile {
  const names = ['seed', 'seconds', 'switches', 'links', 'routers', 'hosts', 'schedule'] as const;
  const { seed, seconds, switches, links, routers, hosts, schedule } = root.fields(names);
  if (hosts === undefined) throw root.error('expected hosts, got none');
  const network: LabDeclaration = {
    switches: switches === undefined ? {} : nodes(switches, readSwitch),
    links: links === undefined ? {} : nodes(links, readLink),
    routers: routers === undefined ? {} : nodes(routers, readRouter),
    hosts: nodes(hosts, readHost),
  };
  checkDeclaration(root, network);
  const changes = schedule === undefined ? [] : readSchedule(schedule, faultNames(network));
  return {
    network,
    schedule: changes,
    seed: seed?.integer(0, SEED_MAX) ?? null,
    seconds: seconds?.number(0.001, SECONDS_MAX) ?? null,
  };
}

/** What a schedule may name: the cable of a host, `router.switch`, and links. */
export function faultNames({ links, routers, hosts, switches }: LabDeclaration): Map<string, Directions> {
  const found = new Map<string, Directions>();
  for (const [name, { on }] of Object.entries(hosts)) if (on in switches) found.set(name, { kind: 'cable' });
  for (const [name, { interfaces }] of Object.entries(routers)) {
    for (const { on } of interfaces) if (on in switches) found.set(`${name}.${on}`, { kind: 'cable' });
  }
  for (const name of Object.keys(links)) found.set(name, { kind: 'link' });
  return found;
}

function nodes<T>(node: JsonNode, read: (one: JsonNode, name: string) => T): Record<string, T> {
  const found = node.map(read);
  const count = Object.keys(found).length;
  if (count > NODES_MAX) throw node.error(`expected at most ${NODES_MAX}, got ${count}`);
  return found;
}

/** Leaves out what is undefined. */
const given = <T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };

const mtuOf = (node: JsonNode | undefined): number | undefined => node?.integer(MTU_MIN, MTU_MAX);

const readSwitch = (node: JsonNode) => given({ mtu: mtuOf(node.fields(['mtu']).mtu) });

function readLink(node: JsonNode): LinkDeclaration {
  const faults = node.faults(['mtu', 'forward', 'backward']);
  const { mtu, forward, backward } = node.value as Readonly<Record<string, unknown>>;
  const direction = (name: string, value: unknown): FaultSettings | undefined =>
    value === undefined ? undefined : node.child(name, value).faults();
  return given({
    ...faults,
    mtu: mtuOf(mtu === undefined ? undefined : node.child('mtu', mtu)),
    forward: direction('forward', forward),
    backward: direction('backward', backward),
  });
}

const ATTACHMENT = ['on', 'addresses', 'mac', 'faults'] as const;
type AttachmentNodes = Readonly<Record<(typeof ATTACHMENT)[number], JsonNode | undefined>>;

/** @param words - which words may stand among the addresses */
function readAttachment(node: JsonNode, fields: AttachmentNodes, words: readonly AddressWord[]): AttachmentDeclaration {
  const { on, addresses, mac, faults } = fields;
  const readAddress = (one: JsonNode): string => {
    const word = words.find((known) => known === one.value);
    if (word !== undefined) return word;
    if (typeof one.value === 'string' && one.value.includes('/')) return `${one.cidr()}`;
    const expected = 'an address with prefix like 10.0.0.1/24';
    return one.fail(words.length === 0 ? expected : `${expected}, or ${words.join(', ')}`);
  };
  const list = (addresses ?? node.child('addresses', undefined)).list(readAddress, LIST_MAX);
  if (list.length === 0) addresses!.fail('one address or more');
  return given({
    on: (on ?? node.child('on', undefined)).text(),
    addresses: list,
    mac: mac === undefined ? undefined : `${mac.mac()}`,
    faults: faults === undefined ? undefined : readCable(faults),
  });
}

function readCable(node: JsonNode) {
  const both = node.faults(['rx', 'tx']);
  const { rx, tx } = node.value as Readonly<Record<string, unknown>>;
  const direction = (name: string, value: unknown): FaultSettings | undefined =>
    value === undefined ? undefined : node.child(name, value).faults();
  return given({ ...both, rx: direction('rx', rx), tx: direction('tx', tx) });
}

const addressList = (node: JsonNode | undefined): string[] | undefined => node?.list((one) => `${one.ip()}`, LIST_MAX);

function readRouter(node: JsonNode): RouterDeclaration {
  const { interfaces, gateway, routes, dns } = node.fields(['interfaces', 'gateway', 'routes', 'dns']);
  const list = (interfaces ?? node.child('interfaces', undefined)).list(readInterface, NODES_MAX);
  if (list.length === 0) interfaces!.fail('one interface or more');
  const own = list.flatMap(({ addresses }) => addresses.map((text) => parseCidr(text)));
  const readRoute = (one: JsonNode) => {
    const { to, via } = one.fields(['to', 'via']);
    const next = via ?? one.child('via', undefined);
    checkOnLink(next, next.ip(), own);
    return { to: `${(to ?? one.child('to', undefined)).cidr()}`, via: `${next.ip()}` };
  };
  gateway?.list((one) => checkOnLink(one, one.ip(), own), 2);
  return given({
    interfaces: list,
    gateway: addressList(gateway),
    routes: routes?.list(readRoute, LIST_MAX),
    dns: dns === undefined ? undefined : readDns(dns),
  });
}

function checkOnLink(node: JsonNode, address: IpAddress, own: readonly Cidr[]): void {
  if (!own.some((cidr) => cidr.contains(address))) node.fail('an address on a network of its own interfaces');
}

const parseCidr = (text: string): Cidr => Cidr.parse(text);

function readInterface(node: JsonNode): RouterInterfaceDeclaration {
  const fields = node.fields([...ATTACHMENT, 'dhcp', 'advertise']);
  const { dhcp, advertise } = fields;
  const attachment = readAttachment(node, fields, []);
  const own = attachment.addresses.map(parseCidr);
  const prefix = (one: JsonNode): string => {
    const cidr = one.cidr();
    return cidr.address.isV4 || cidr.prefixLength !== 64 ? one.fail('an IPv6 prefix of 64 bits') : `${cidr}`;
  };
  return given({
    ...attachment,
    dhcp: dhcp === undefined ? undefined : readDhcp(dhcp, own),
    advertise: advertise?.list(prefix, LIST_MAX),
  });
}

function readDhcp(node: JsonNode, own: readonly Cidr[]): NonNullable<RouterInterfaceDeclaration['dhcp']> {
  const { pool, leaseSeconds, reservations } = node.fields(['pool', 'leaseSeconds', 'reservations']);
  const where = pool ?? node.child('pool', undefined);
  const [from, to] = where.list((one) => one.ip(), 2);
  const network = own.find((cidr) => from !== undefined && cidr.address.isV4 && cidr.contains(from));
  if (from === undefined || to === undefined || network === undefined || !network.contains(to) || to.d < from.d) {
    where.fail('the first and the last address to lease, on an IPv4 network of the interface');
  }
  const reserve = (one: JsonNode): string =>
    network!.contains(one.ip()) ? `${one.ip()}` : one.fail(`an address of ${network}`);
  return given({
    pool: [`${from}`, `${to}`] as const,
    leaseSeconds: leaseSeconds?.integer(60, 0x7fff_ffff),
    reservations: reservations?.map(reserve),
  });
}

function readDns(node: JsonNode): DnsDeclaration {
  const { domains, hosts, forward } = node.fields(['domains', 'hosts', 'forward']);
  const list = (domains ?? node.child('domains', undefined)).list(readName, LIST_MAX);
  if (list.length === 0) domains!.fail('one domain or more');
  const table = hosts?.entries().map(([name, one]) => {
    if (!isName(name)) throw one.error('expected a name like www.example.net');
    return [name, Array.isArray(one.value) ? addressList(one)! : `${one.ip()}`] as const;
  });
  return given({
    domains: list,
    hosts: table === undefined ? undefined : Object.fromEntries(table),
    forward: addressList(forward),
  });
}

const isName = (text: string): boolean => text.length < 254 && /^([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}$/i.test(text);
const readName = (node: JsonNode): string => (isName(node.text()) ? node.text() : node.fail('a name like example.net'));

function readHost(node: JsonNode): HostDeclaration {
  const names = [...ATTACHMENT, 'gateway', 'nameServers', 'dns', 'tcp', 'serve', 'run'] as const;
  const fields = node.fields(names);
  const { gateway, nameServers, dns, tcp, serve, run } = fields;
  const attachment = readAttachment(node, fields, ADDRESS_WORDS);
  const own = attachment.addresses.filter((text) => text.includes('/')).map(parseCidr);
  gateway?.list((one) => checkOnLink(one, one.ip(), own), 2);
  return given({
    ...attachment,
    gateway: addressList(gateway),
    nameServers: addressList(nameServers),
    dns: dns === undefined ? undefined : readDns(dns),
    tcp: tcp === undefined ? undefined : readTcp(tcp),
    serve: serve?.list((one) => one.choice(SERVICE_NAMES), SERVICE_NAMES.length),
    run: run?.list(readActivity, LIST_MAX),
  });
}

function readTcp(node: JsonNode): TcpDeclaration {
  const names = [
    'congestion',
    'ecn',
    'sendBufferBytes',
    'receiveBufferBytes',
    'noDelay',
    'retriesMax',
    'synRetriesMax',
  ] as const;
  const fields = node.fields(names);
  return given({
    congestion: fields.congestion?.choice(['cubic', 'newreno', 'bbr']),
    ecn: fields.ecn?.choice(['off', 'passive', 'on', 'accurate']),
    sendBufferBytes: fields.sendBufferBytes?.integer(2048, 1 << 24),
    receiveBufferBytes: fields.receiveBufferBytes?.integer(2048, 1 << 24),
    noDelay: fields.noDelay?.boolean(),
    retriesMax: fields.retriesMax?.integer(1, 255),
    synRetriesMax: fields.synRetriesMax?.integer(1, 255),
  });
}

/** What each activity may say besides `do`, `atMs` and `family`. */
const ACTIVITIES = {
  ping: ['to', 'count', 'intervalMs'],
  resolve: ['name'],
  get: ['from', 'bytes'],
  send: ['to', 'bytes'],
  echo: ['to', 'count', 'bytes'],
} as const;
type Kind = keyof typeof ACTIVITIES;

function readActivity(node: JsonNode): ActivityDeclaration {
  const value = node.value as { readonly do?: unknown } | null;
  const kind = node.child('do', value?.do).choice(Object.keys(ACTIVITIES) as Kind[]);
  const fields = node.fields(['do', 'atMs', 'family', ...ACTIVITIES[kind]] as string[]);
  const need = (name: string): JsonNode => fields[name] ?? node.child(name, undefined);
  const { family } = fields;
  if (family !== undefined && family.value !== 4 && family.value !== 6) family.fail('4 or 6');
  const common = { atMs: fields.atMs?.number(0, TIME_MS_MAX), family: family?.value as 4 | 6 | undefined };
  const count = fields.count?.integer(1, 10_000);
  switch (kind) {
    case 'ping':
      return given({
        ...common,
        do: kind,
        to: need('to').text(),
        count,
        intervalMs: fields.intervalMs?.number(1, 60_000),
      });
    case 'resolve':
      return given({ ...common, do: kind, name: readName(need('name')) });
    case 'get':
      return given({
        ...common,
        do: kind,
        from: need('from').text(),
        bytes: fields.bytes?.integer(0, BYTES_MAX),
      });
    case 'send':
      return given({ ...common, do: kind, to: need('to').text(), bytes: need('bytes').integer(0, BYTES_MAX) });
    case 'echo':
      return given({ ...common, do: kind, to: need('to').text(), count, bytes: fields.bytes?.integer(0, 1452) });
  }
}
