/** What belongs together in the file of `ethertype lab FILE`: names, cables, and who serves what. @module */
import { Cidr } from '../../index.ts';
import type { JsonNode } from '../json-file.ts';
import type { ActivityDeclaration, AttachmentDeclaration, LabDeclaration, ServiceName } from './declaration.ts';

/** An interface, and where it stands. */
interface Plug {
  readonly path: string;
  readonly one: AttachmentDeclaration;
}

/** @throws UsageError that names the place */
export function checkDeclaration(root: JsonNode, network: LabDeclaration): void {
  const { routers, hosts } = network;
  const plugs: Plug[] = [
    ...Object.entries(routers).flatMap(([name, { interfaces }]) =>
      interfaces.map((one, i) => ({ path: `routers.${name}.interfaces[${i}]`, one })),
    ),
    ...Object.entries(hosts).map(([name, one]) => ({ path: `hosts.${name}`, one })),
  ];
  checkNames(root, network);
  checkPlugs(root, network, plugs);
  checkEnds(root, network, plugs);
  checkActivities(root, network);
  checkReservations(root, network);
}

/** Nothing has the name of another thing. */
function checkNames(root: JsonNode, network: LabDeclaration): void {
  const seen = new Map<string, string>();
  for (const kind of ['switches', 'links', 'routers', 'hosts'] as const) {
    for (const name of Object.keys(network[kind])) {
      const before = seen.get(name);
      if (before !== undefined) throw root.error(`${kind}.${name}: expected a name of its own, ${before} has it too`);
      seen.set(name, kind);
    }
  }
}

/** Every cable leads somewhere, and no address is there twice. */
function checkPlugs(root: JsonNode, { switches, links }: LabDeclaration, plugs: readonly Plug[]): void {
  const owners = new Map<string, string>();
  const known = [...Object.keys(switches), ...Object.keys(links)];
  for (const { path, one } of plugs) {
    if (!known.includes(one.on)) {
      throw root.error(
        `${path}.on: expected a switch or a link (${known.join(', ') || 'there are none'}), got ${JSON.stringify(one.on)}`,
      );
    }
    if (one.on in links && one.faults !== undefined) {
      throw root.error(`${path}.faults: expected none, since ${one.on} is a link and has its own`);
    }
    for (const text of one.addresses.filter((address) => address.includes('/'))) {
      const key = `${Cidr.parse(text).address}`;
      const owner = owners.get(key);
      if (owner !== undefined) throw root.error(`${path}.addresses: ${key} is an address of ${owner} too`);
      owners.set(key, path);
    }
  }
}

/** Links have two ends, and no router is plugged twice into one thing. */
function checkEnds(root: JsonNode, { links, routers }: LabDeclaration, plugs: readonly Plug[]): void {
  for (const [name, { interfaces }] of Object.entries(routers)) {
    const i = interfaces.findIndex(({ on }, at) => interfaces.findIndex((one) => one.on === on) < at);
    if (i >= 0)
      throw root.error(
        `routers.${name}.interfaces[${i}].on: expected networks of their own, ${interfaces[i]!.on} is there twice`,
      );
  }
  for (const name of Object.keys(links)) {
    const ends = plugs.filter(({ one }) => one.on === name).length;
    if (ends !== 2) throw root.error(`links.${name}: expected two ends, got ${ends}`);
  }
}

const SERVICE_OF: Readonly<Partial<Record<ActivityDeclaration['do'], ServiceName>>> = {
  get: 'http',
  send: 'discard',
  echo: 'echo',
};

/** What hosts run can be: who is asked is there, and serves it. */
function checkActivities(root: JsonNode, { hosts }: LabDeclaration): void {
  for (const [name, { run: activities = [] }] of Object.entries(hosts)) {
    for (const [i, activity] of activities.entries()) {
      const peer = 'to' in activity ? activity.to : 'from' in activity ? activity.from : null;
      const service = SERVICE_OF[activity.do];
      if (peer === null) continue;
      const target = hosts[peer];
      const run = root.child('hosts', null).child(name, null).child('run', null);
      const at = run.child(i, null).child('to' in activity ? 'to' : 'from', peer);
      const isElsewhere = peer.includes('.') || peer.includes(':');
      if (target === undefined && !isElsewhere)
        at.fail(`a host (${Object.keys(hosts).join(', ')}), a name with a dot, or an address`);
      const family = peer.includes(':') ? 6 : /^[\d.]+$/.test(peer) ? 4 : undefined;
      if (family !== undefined && (activity.family ?? family) !== family) at.fail(`an IPv${activity.family} address`);
      if (target === undefined || service === undefined) continue;
      if (!(target.serve ?? []).includes(service))
        throw at.error(`expected a host that serves ${service}, ${peer} does not`);
    }
  }
}

/** Who is reserved an address has a link address. */
function checkReservations(root: JsonNode, { hosts, routers }: LabDeclaration): void {
  for (const [name, { interfaces }] of Object.entries(routers)) {
    for (const [i, { dhcp }] of interfaces.entries()) {
      for (const host of Object.keys(dhcp?.reservations ?? {})) {
        if (hosts[host]?.mac !== undefined) continue;
        const path = `routers.${name}.interfaces[${i}].dhcp.reservations.${host}`;
        throw root.error(`${path}: expected a host that has a mac`);
      }
    }
  }
}
