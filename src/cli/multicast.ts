/** `ethertype multicast`: joins groups, prints what comes, and what hosts and routers say of groups. @module */
import type { Host, UdpSocket } from '../index.ts';
import { Tracer } from '../phy/index.ts';
import type { IpAddress } from '../wire/address.ts';
import { readInteger, readIp, readNumber, readOptions } from './args.ts';
import * as client from './client.ts';
import { type Command, UsageError } from './command.ts';
import { FAULT_USAGE } from './fault-options.ts';
import { checkGone, untilEnd } from './until-end.ts';

/** That of mDNS: in most networks there is something to hear. */
const PORT_DEFAULT = 5353;

const usage = `usage: ethertype multicast GROUP... (--tap NAME | --tun NAME) --address CIDR... [OPTION]...

Joins multicast groups and prints the datagrams that come, and what this host (>) and others (<) say of groups: IGMP and
MLD. It ends with Ctrl-C, after -c datagrams, or after -t seconds, and leaves the groups. Exit code 1 if -c was given
and fewer came.

  ethertype multicast 224.0.0.251 ff02::fb --tap tap0 --address 192.168.69.1/24 --address fe80::1/64

  -p, --port N             the UDP port; default ${PORT_DEFAULT}
  --source IP              only what this source sends; may be repeated, and then goes for the groups of its family
  --send TEXT              sends TEXT to every group, at once
  --interval S             and then every S seconds
  --ttl N                  time to live of what is sent, 0 to 255; default 1: it does not leave the network
  --no-loop                what is sent does not come back to this host
  -c, --count N            datagrams after which it ends
  -t, --time S             seconds after which it ends
  --json                   prints one JSON document at the end, and nothing else
${client.INTERFACE_USAGE}

${FAULT_USAGE}`;

const OPTIONS = {
  ...client.INTERFACE_OPTIONS,
  port: { type: 'string', short: 'p' },
  source: { type: 'string', multiple: true },
  send: { type: 'string' },
  interval: { type: 'string' },
  ttl: { type: 'string' },
  'no-loop': { type: 'boolean' },
  count: { type: 'string', short: 'c' },
  time: { type: 'string', short: 't' },
  json: { type: 'boolean' },
} as const;

type Settings = ReturnType<typeof readSettings>;

function readSettings(args: string[]) {
  const { values, positionals } = readOptions(args, OPTIONS, Number.POSITIVE_INFINITY);
  if (positionals.length === 0) throw new UsageError('expected a GROUP to join, like 224.0.0.251');
  const groups = positionals.map((text) => readIp('GROUP', text));
  const wrong = groups.find((group) => !group.isMulticast);
  if (wrong !== undefined) throw new UsageError(`GROUP: expected a multicast address like 224.0.0.251, got ${wrong}`);
  if (values.interval !== undefined && values.send === undefined) {
    throw new UsageError('--interval is for --send TEXT: expected both, got no text');
  }
  return {
    groups,
    iface: client.readInterface(values),
    port: readInteger('port', values.port, 1, 65_535) ?? PORT_DEFAULT,
    sources: (values.source ?? []).map((text) => readIp('source', text)),
    text: values.send,
    intervalMs: (readNumber('interval', values.interval, 0.001, 86_400) ?? 0) * 1000,
    ttl: readInteger('ttl', values.ttl, 0, 255) ?? 1,
    loops: values['no-loop'] !== true,
    count: readInteger('count', values.count, 1, 1e9),
    timeMs: (readNumber('time', values.time, 0.001, 1e6) ?? 0) * 1000,
    json: values.json === true,
  };
}

/** A datagram that came, as `--json` tells it. */
interface Heard {
  readonly group: string;
  readonly address: string;
  readonly port: number;
  readonly bytes: number;
  readonly text: string;
}

/** What is printable of a datagram, on one line. */
const printable = (data: Uint8Array): string => JSON.stringify(new TextDecoder('latin1').decode(data.subarray(0, 512)));

/** One run: what it has heard, and when it is over. */
class Session {
  readonly heard: Heard[] = [];
  readonly messages: string[] = [];
  readonly over: Promise<void>;
  readonly #settings: Settings;
  #count = 0;
  #end: () => void = () => {};

  constructor(settings: Settings) {
    this.#settings = settings;
    this.over = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  get hasEnough(): boolean {
    const { count } = this.#settings;
    return count === undefined || this.#count >= count;
  }

  readonly end = (): void => this.#end();

  /** A frame passed; what is said of groups is told. */
  trace(line: string, isOut: boolean): void {
    if (!/igmp |multicast listener /.test(line)) return;
    const told = `${isOut ? '>' : '<'} ${line}`;
    if (this.#settings.json) this.messages.push(told);
    else console.log(told);
  }

  async listen(host: Host, group: IpAddress): Promise<UdpSocket> {
    const { port, sources, ttl, loops, iface } = this.#settings;
    const socket = await host.udp.bind({ port, host: `${group}`, reuse: true });
    const of = sources.filter(({ isV4 }) => isV4 === group.isV4);
    for (const source of of) socket.addSourceSpecificMembership(`${source}`, `${group}`, iface.name);
    if (of.length === 0) socket.addMembership(`${group}`, iface.name);
    socket.setMulticastInterface(iface.name);
    socket.setMulticastTTL(ttl);
    socket.setMulticastLoopback(loops);
    if (!this.#settings.json) console.log(`joined ${group} on ${iface.name}, port ${port}`);
    void this.#receive(socket, group);
    return socket;
  }

  async #receive(socket: UdpSocket, group: IpAddress): Promise<void> {
    for await (const { data, address, port } of socket) {
      const { json, count } = this.#settings;
      this.#count++;
      const text = printable(data);
      if (json) this.heard.push({ group: `${group}`, address, port, bytes: data.length, text: JSON.parse(text) });
      else console.log(`${group} from ${address} port ${port}, ${data.length} bytes: ${text}`);
      if (count !== undefined && this.#count >= count) this.#end();
    }
  }

  async send(socket: UdpSocket, group: IpAddress): Promise<void> {
    const { text, port, json } = this.#settings;
    const data = new TextEncoder().encode(text);
    await socket.send(data, { host: `${group}`, port });
    if (!json) console.log(`sent ${data.length} bytes to ${group} port ${port}`);
  }
}

async function run(args: string[]): Promise<number> {
  const settings = readSettings(args);
  const session = new Session(settings);
  const wire = await client.openWire('multicast', settings.iface);
  const device = new Tracer(wire.device, (line, way) => session.trace(line, way === 'tx'));
  const host = client.hostOn(wire, client.hostOptions(settings.iface, { tun: wire.tun, device }));
  const timers: NodeJS.Timeout[] = [];
  let endScenario = (): void => {};
  let gone: Error | null = null;
  try {
    // Until there is an address there is nothing to leave: a signal ends the process.
    await client.untilConfigured(host, settings.iface);
    const end = untilEnd(() => wire.tun.failure, session.over);
    endScenario = wire.beginScenario(host.clock);
    const sockets: [UdpSocket, IpAddress][] = [];
    for (const group of settings.groups) sockets.push([await session.listen(host, group), group]);
    const sendAll = async (): Promise<void> => {
      for (const [socket, group] of sockets) await session.send(socket, group);
    };
    let failure: unknown = null;
    const fail = (error: unknown): void => {
      failure = error;
      session.end();
    };
    if (settings.text !== undefined) await sendAll();
    if (settings.intervalMs > 0) timers.push(setInterval(() => void sendAll().catch(fail), settings.intervalMs));
    if (settings.timeMs > 0) timers.push(setTimeout(session.end, settings.timeMs));
    gone = await end;
    if (failure !== null) throw failure;
    for (const [socket] of sockets) await socket.close();
  } finally {
    endScenario();
    for (const timer of timers) clearInterval(timer);
    session.end();
    await host.close();
    wire.closeCapture();
  }
  const { heard, messages } = session;
  if (settings.json)
    console.log(JSON.stringify({ groups: settings.groups.map(String), datagrams: heard, messages }, null, 2));
  checkGone(settings.iface.name, gone);
  return session.hasEnough ? 0 : 1;
}

export const command: Command = {
  name: 'multicast',
  summary: 'joins groups, prints what comes and what routers are told',
  usage,
  run,
};
