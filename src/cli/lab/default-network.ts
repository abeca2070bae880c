/**
 * The network of the lab where no file declares another: a LAN of clients and one of servers behind a router that has a
 * small internet behind it. @module
 */
import type { AttachmentDeclaration, LabDeclaration } from './declaration.ts';

/** Who is pinged, in this order. */
export const CLIENTS = ['alice', 'bob', 'carol'] as const;
export const SERVER = 'server';
export const FAR_SERVER = 'www';
/** Names that the router has to ask for. */
export const FAR_NAME = 'www.example.net';
export const FAR_ALIAS = 'example.net';

/** One way through a cable of the building, and to the internet. */
const CABLE = { delayMs: 0.02 };
const UPLINK = { delayMs: 5 };
const FAR = { v4: '198.51.100.80', v6: '2001:db8:80::80', dns4: '198.51.100.53', dns6: '2001:db8:80::53' };
const FAR_ROUTER = ['198.51.100.1', '2001:db8:80::1'];

const client = (last: number) => ({
  on: 'lan',
  addresses: ['dhcp', 'slaac'],
  mac: `02:00:00:00:00:0${last}`,
  faults: CABLE,
});

export const DEFAULT_NETWORK: LabDeclaration = {
  switches: { lan: {}, dmz: {}, internet: {} },
  links: {},
  routers: {
    router: {
      interfaces: [
        {
          on: 'lan',
          addresses: ['10.0.0.1/24', 'fd00::1/64'],
          mac: '02:00:00:00:01:00',
          dhcp: { pool: ['10.0.0.100', '10.0.0.199'] },
          advertise: ['fd00::/64'],
        },
        {
          on: 'dmz',
          addresses: ['10.0.1.1/24', 'fd00:0:0:1::1/64'],
          mac: '02:00:00:00:01:01',
          dhcp: { pool: ['10.0.1.100', '10.0.1.199'], reservations: { server: '10.0.1.10' } },
          advertise: ['fd00:0:0:1::/64'],
        },
        {
          on: 'internet',
          addresses: ['198.51.100.1/24', '2001:db8:80::1/64'],
          mac: '02:00:00:00:01:02',
          faults: UPLINK,
        },
      ],
      dns: {
        domains: ['lan', '10.in-addr.arpa'],
        hosts: { 'router.lan': ['10.0.0.1', 'fd00::1'] },
        forward: [FAR.dns4, FAR.dns6],
      },
    },
  },
  hosts: {
    alice: client(1),
    bob: client(2),
    carol: client(3),
    server: { on: 'dmz', addresses: ['dhcp', 'slaac'], mac: '02:00:00:00:00:0a', faults: CABLE },
    // Packets of the LAN come to the internet as they are: the router translates no addresses.
    www: { on: 'internet', addresses: [`${FAR.v4}/24`, `${FAR.v6}/64`], mac: '02:00:00:00:02:00', gateway: FAR_ROUTER },
    ns: {
      on: 'internet',
      addresses: [`${FAR.dns4}/24`, `${FAR.dns6}/64`],
      mac: '02:00:00:00:02:01',
      gateway: FAR_ROUTER,
      dns: {
        domains: ['example.net'],
        hosts: { [FAR_NAME]: [FAR.v4, FAR.v6], [FAR_ALIAS]: [FAR.v4, FAR.v6] },
      },
    },
  },
};

/** The same with cables that take no time. */
export function bareNetwork(): LabDeclaration {
  const bare = <T extends AttachmentDeclaration>({ faults: _, ...rest }: T): Omit<T, 'faults'> => rest;
  const { routers, hosts, ...rest } = DEFAULT_NETWORK;
  return {
    ...rest,
    routers: Object.fromEntries(
      Object.entries(routers).map(([name, one]) => [name, { ...one, interfaces: one.interfaces.map(bare) }]),
    ),
    hosts: Object.fromEntries(Object.entries(hosts).map(([name, host]) => [name, bare(host)])),
  };
}
