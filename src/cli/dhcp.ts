/** `ethertype dhcp`: an address from a server, told as dhclient tells it; or the server itself. @module */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { type DhcpClientOptions, type DhcpEvent, DhcpServer, type StoredLease } from '../dhcp/index.ts';
import type { Configuration, Host, IpAddress } from '../index.ts';
import { readInteger, readIp, readOptions } from './args.ts';
import * as client from './client.ts';
import { type Command, CommandError, UsageError } from './command.ts';
import { FAULT_USAGE } from './fault-options.ts';
import { checkGone, onSignal, untilEnd } from './until-end.ts';

const usage = `usage: ethertype dhcp --tap NAME [OPTION]...
       ethertype dhcp --tap NAME --server --address CIDR --pool FROM-TO [OPTION]...

Gets an address from a DHCP server on the link of a TAP interface, tells the exchange as dhclient does, and ends; the
lease is kept unless --release gives it back. Or, with --server, gives addresses to others until SIGINT, SIGTERM or
SIGHUP.

  ethertype dhcp --tap tap0
  ethertype dhcp --tap tap0 --server --address 10.0.0.1/24 --pool 10.0.0.100-10.0.0.199 --router 10.0.0.1

The client:
  --release                gives the lease back at the end
  --watch                  keeps the lease, renewing it, until SIGINT, SIGTERM or SIGHUP
  --lease-file FILE        asks for the address in FILE first, if there is one (INIT-REBOOT), and writes the lease to it
  --request IP             asks for this address
  --host-name NAME         tells the server a name
  --rapid-commit           two messages instead of four, where the server can
  --broadcast              asks the server to answer by broadcast
  --no-probe               uses the address without asking the link for it
  --timeout SECONDS        gives up after so long; default 30
  --json                   one JSON document at the end, and the exchange on stderr

The server:
  --pool FROM-TO           the addresses to give
  --lease SECONDS          default 3600
  --router IP, --dns IP    told to clients; may be repeated
  --domain NAME, --search NAME (may be repeated), --client-mtu N

The interface:
${client.INTERFACE_USAGE}

${FAULT_USAGE}`;

const OPTIONS = {
  ...client.INTERFACE_OPTIONS,
  release: { type: 'boolean' },
  watch: { type: 'boolean' },
  'lease-file': { type: 'string' },
  request: { type: 'string' },
  'host-name': { type: 'string' },
  'rapid-commit': { type: 'boolean' },
  broadcast: { type: 'boolean' },
  'no-probe': { type: 'boolean' },
  timeout: { type: 'string' },
  json: { type: 'boolean' },
  server: { type: 'boolean' },
  pool: { type: 'string' },
  lease: { type: 'string' },
  router: { type: 'string', multiple: true },
  dns: { type: 'string', multiple: true },
  domain: { type: 'string' },
  search: { type: 'string', multiple: true },
  'client-mtu': { type: 'string' },
} as const;

type Values = ReturnType<typeof readOptions<typeof OPTIONS>>['values'];

const TIMEOUT_S = 30;

/** What an event is in dhclient's words, or null: nothing to say. */
function describe(event: DhcpEvent, name: string): string | null {
  const kind = 'message' in event ? `DHCP${event.message.toUpperCase().replace('NACK', 'NAK')}` : '';
  switch (event.type) {
    case 'sent': {
      const what =
        event.address === null ? '' : event.message === 'Release' ? ` of ${event.address}` : ` for ${event.address}`;
      return `${kind}${what} on ${name} to ${event.to} port 67 (xid=0x${(event.xid >>> 0).toString(16)})`;
    }
    case 'received':
      return `${kind}${event.address.isUnspecified ? '' : ` of ${event.address}`} from ${event.from} (xid=0x${(event.xid >>> 0).toString(16)})`;
    case 'bound': {
      const { address, renewMs, leaseMs } = event.lease;
      const renewal =
        leaseMs === Number.POSITIVE_INFINITY ? 'for ever' : `renewal in ${Math.round(renewMs / 1000)} seconds`;
      return `bound to ${address.address} -- ${renewal}.`;
    }
    case 'conflict':
      return `${event.isLost ? 'address in use by' : 'defended from'} ${event.mac}`;
    case 'lost':
      return `address lost: ${event.reason}`;
    case 'silence':
      return 'No DHCPOFFERS received.';
    default:
      return null;
  }
}

interface StoredFile extends StoredLease {
  /** When it was written, in ms of the epoch. */
  readonly storedAt: number;
}

function readLease(path: string | undefined): StoredLease | undefined {
  if (path === undefined || !existsSync(path)) return undefined;
  let file: StoredFile;
  try {
    file = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    throw new CommandError(`${path}: expected a lease that this command wrote: remove the file to begin anew`);
  }
  const { secondsLeft, storedAt } = file;
  const passed = Math.max(0, (Date.now() - storedAt) / 1000);
  return { ...file, secondsLeft: secondsLeft === null ? null : Math.floor(secondsLeft - passed) };
}

function clientOptions(values: Values): Omit<DhcpClientOptions, 'onEvent' | 'onConfigured'> {
  return {
    stored: readLease(values['lease-file']),
    ...(values.request === undefined ? {} : { requestedAddress: readIp('request', values.request) }),
    ...(values['host-name'] === undefined ? {} : { hostName: values['host-name'] }),
    ...(values['no-probe'] === true ? { probes: null } : {}),
    rapidCommit: values['rapid-commit'] === true,
    broadcast: values.broadcast === true,
  };
}

async function runClient(values: Values): Promise<number> {
  const settings = client.readInterface(values, ['dhcp']);
  if (!settings.words.includes('dhcp')) throw new UsageError('--address: expected dhcp, or none');
  const timeout = (readInteger('timeout', values.timeout, 1, 86_400) ?? TIMEOUT_S) * 1000;
  const dhcp = clientOptions(values);
  const out = values.json === true ? process.stderr : process.stdout;
  const exchange: string[] = [];
  let found: Configuration | null = null;
  const stop = new AbortController();
  const forget = onSignal(() => stop.abort(new CommandError('ended by a signal before there was an address')));
  const wire = await client.openWire('dhcp', settings);
  const onDhcp = (event: DhcpEvent): void => {
    const line = describe(event, wire.tun.name);
    if (line === null) return;
    exchange.push(line);
    out.write(`${line}\n`);
  };
  const onConfigured = (configuration: Configuration): void => {
    if (configuration.source === 'dhcp' && configuration.addresses.length > 0) found = configuration;
  };
  const host = client.hostOn(wire, { ...client.hostOptions(settings, wire), dhcp, onDhcp, onConfigured });
  const endScenario = wire.beginScenario(host.clock);
  const state = host.autoconfig()!.dhcp!;
  let failure: Error | null = null;
  try {
    await host.configured({ timeout, signal: stop.signal });
    forget();
    if (values.watch === true) failure = await untilEnd(() => wire.tun.failure);
  } finally {
    forget();
    endScenario();
    const stored = state.store();
    if (values['lease-file'] !== undefined && stored !== null && values.release !== true) {
      writeFileSync(values['lease-file'], `${JSON.stringify({ ...stored, storedAt: Date.now() }, null, 2)}\n`);
    }
    // Closing a host gives its lease back: without --release the client ends before.
    if (values.release !== true) state.close();
    await host.close();
    wire.closeCapture();
  }
  if (values.json === true)
    console.log(JSON.stringify({ configuration: found, exchange, drops: host.stats.drops }, null, 2));
  checkGone(wire.tun.name, failure);
  return 0;
}

function readPool(text: string | undefined): readonly [IpAddress, IpAddress] {
  const [from, to, more] = (text ?? '').split('-');
  if (!from || !to || more !== undefined) {
    throw new UsageError(
      `--pool: expected two addresses like 10.0.0.100-10.0.0.199, got ${JSON.stringify(text ?? '')}`,
    );
  }
  return [readIp('pool', from), readIp('pool', to)];
}

function serve(host: Host, values: Values): DhcpServer {
  const leaseS = readInteger('lease', values.lease, 5, 0xffff_ffff);
  const mtu = readInteger('client-mtu', values['client-mtu'], 68, 0xffff);
  try {
    return new DhcpServer(host.stack, host.iface!, {
      pool: readPool(values.pool),
      routers: (values.router ?? []).map((text) => readIp('router', text)),
      dnsServers: (values.dns ?? []).map((text) => readIp('dns', text)),
      search: values.search ?? [],
      rapidCommit: values['rapid-commit'] === true,
      ...(leaseS === undefined ? {} : { leaseS }),
      ...(mtu === undefined ? {} : { mtu }),
      ...(values.domain === undefined ? {} : { domain: values.domain }),
      onBinding: ({ address, mac, hostName, state }, message) => {
        const who = hostName === null ? mac : `${mac} (${hostName})`;
        process.stdout.write(`DHCP${message.toUpperCase()} ${address} ${who}: ${state}\n`);
      },
    });
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
}

async function runServer(values: Values): Promise<number> {
  const settings = client.readInterface(values);
  if (settings.kind !== 'tap') throw new UsageError('--server is for --tap: a TUN has no Ethernet');
  readPool(values.pool);
  const { host, wire, close } = await client.openClient('dhcp', settings);
  let failure: Error | null;
  try {
    const server = serve(host, values);
    console.log(`ethertype dhcp: serving ${values.pool} on ${wire.tun.name}`);
    failure = await untilEnd(() => wire.tun.failure);
    server.close();
  } finally {
    await close();
  }
  checkGone(wire.tun.name, failure);
  return 0;
}

async function run(args: string[]): Promise<number> {
  const { values } = readOptions(args, OPTIONS);
  return values.server === true ? runServer(values) : runClient(values);
}

export const command: Command = {
  name: 'dhcp',
  summary: 'gets an address from a DHCP server, or gives them',
  usage,
  run,
};
