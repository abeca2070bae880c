/** `ethertype proxy`: the router of an interface or a virtual machine, which relays every flow under rules. @module */
import { statSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { Device } from '../phy/index.ts';
import { Gateway, NETWORK } from '../proxy/index.ts';
import { connectQemu, listenQemu, type QemuPlace, qemuDevice } from '../qemu/index.ts';
import { readInteger, readOptions } from './args.ts';
import * as client from './client.ts';
import { type Command, CommandError, UsageError } from './command.ts';
import { FAULT_OPTIONS, FAULT_USAGE, readFaults } from './fault-options.ts';
import {
  flowWriter,
  GATEWAY_OPTIONS,
  GATEWAY_USAGE,
  type GatewaySettings,
  readGateway,
  tellChosen,
} from './gateway-options.ts';
import { checkGone, untilEnd } from './until-end.ts';
import { STATS_USAGE, UseWatch } from './use.ts';
import { openRecorder, wrap } from './wire.ts';

/** RFC 791: what every link carries; and what a length of 16 bits can say. */
const MTU_MIN = 68;
const MTU_MAX = 65_535;

const usage = `usage: ethertype proxy (--tap NAME | --tun NAME | --qemu PATH | --qemu-connect PATH) [OPTION]...

Every flow that comes in on the interface, to whatever address and port, is relayed to the machine's own network as far
as the rules let it. The router is ${NETWORK.router.join(' and ')}, the resolver ${NETWORK.resolver.join(' and ')}; on Ethernet DHCP
gives out ${NETWORK.guest[0]} and on, and router advertisements the prefix. It runs until SIGINT, SIGTERM or SIGHUP.

  ethertype proxy --tun tun0 --host-address 10.0.2.100/24     then: ip route add 198.51.100.0/24 dev tun0
  ethertype proxy --qemu /tmp/net.sock                        then: qemu-system-x86_64 -device virtio-net,netdev=n \\
        -netdev stream,id=n,server=off,addr.type=unix,addr.path=/tmp/net.sock

  --tap NAME, --tun NAME   the interface; made if it is missing, and then goes with the command
  --host-address CIDR      an address for the Linux side of the interface; may be repeated
  --mtu N                  the largest IP packet, 68 to 65535; by default the interface's own
  --no-offload             no super-segments and no partial checksums
  --pcap FILE              records every packet as the wire has it: classic pcap if FILE ends in .pcap, else pcapng,
                           with why the stack dropped it as a comment
  --qemu PATH              the UNIX socket to wait on for a virtual machine, one at a time
  --qemu-connect PATH      the one where a virtual machine waits (server=on): so it survives a restart of the proxy,
                           which a QEMU that connects does from 8.0 on, with reconnect=1
                           PATH may be tcp:HOST:PORT, for a TCP socket (addr.type=inet)
${STATS_USAGE}
${GATEWAY_USAGE}

${FAULT_USAGE}`;

const OPTIONS = {
  ...GATEWAY_OPTIONS,
  tap: { type: 'string' },
  tun: { type: 'string' },
  qemu: { type: 'string' },
  'qemu-connect': { type: 'string' },
  stats: { type: 'string' },
  'host-address': { type: 'string', multiple: true },
  mtu: { type: 'string' },
  'no-offload': { type: 'boolean' },
  pcap: { type: 'string' },
  ...FAULT_OPTIONS,
} as const;

type Values = ReturnType<typeof readOptions<typeof OPTIONS>>['values'];

const complain = (message: string): void => void process.stderr.write(`ethertype proxy: ${message}\n`);

type Start = (device: Device) => Promise<Gateway>;
type End = (gateway: Gateway) => Promise<void>;

/** The socket of a virtual machine, and whether that waits on it. */
interface QemuWay {
  readonly path: string;
  readonly place: QemuPlace;
  readonly waits: boolean;
}

/** A path, or `tcp:HOST:PORT`. */
function readPlace(option: string, text: string): QemuPlace {
  if (text === '') throw new UsageError(`--${option}: expected PATH or tcp:HOST:PORT, got ""`);
  if (!text.startsWith('tcp:')) {
    const found = statSync(text, { throwIfNoEntry: false });
    if (found !== undefined && !found.isSocket())
      throw new CommandError(`--${option}: ${text} exists, and is no socket`);
    return text;
  }
  const match = /^tcp:(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) {
    throw new UsageError(`--${option}: expected PATH or tcp:HOST:PORT, got ${JSON.stringify(text)}`);
  }
  return { host: match[1] ?? (match[2] || '127.0.0.1'), port };
}

async function proxyInterface(values: Values, start: Start, end: End): Promise<void> {
  const settings = client.readInterface({ ...values, 'name-server': undefined }, [`${NETWORK.router[0]}/24`]);
  const wire = await client.openWire('proxy', settings);
  const gateway = await start(wire.device);
  wire.explain(gateway.host);
  const endScenario = wire.beginScenario(gateway.host.clock);
  console.log(`ethertype proxy: ${NETWORK.router[0]} on ${wire.tun.name}, MTU ${wire.tun.mtu}`);
  const failure = await untilEnd(() => wire.tun.failure);
  endScenario();
  await end(gateway);
  wire.closeCapture();
  checkGone(wire.tun.name, failure);
}

async function proxyQemu(way: QemuWay, values: Values, start: Start, end: End): Promise<void> {
  const mtu = readInteger('mtu', values.mtu, MTU_MIN, MTU_MAX);
  const faults = readFaults(values);
  const recorder = openRecorder(values.pcap, complain);
  let turn: Promise<unknown> = Promise.resolve();
  let current: { socket: Socket; gateway: Promise<Gateway>; endScenario: () => void } | null = null;
  const leave = async (): Promise<void> => {
    const old = current;
    current = null;
    old?.endScenario();
    old?.socket.destroy();
    const gateway = await old?.gateway.catch(() => null); // `enter` has told why
    if (gateway) await end(gateway);
  };
  // A machine that comes anew takes the place of the one before.
  const enter = async (socket: Socket): Promise<void> => {
    await leave();
    if (socket.destroyed) return;
    const wire = qemuDevice(socket, { mtu }, () => {
      if (current?.socket === socket) turn = turn.then(leave);
    });
    const { device, explain, beginScenario } = wrap(wire, { name: 'guest', recorder, faults });
    const gateway = start(device);
    const own = { socket, gateway, endScenario: () => {} };
    current = own;
    const { host } = await gateway;
    explain(host);
    own.endScenario = beginScenario(host.clock);
  };
  const onSocket = (socket: Socket): void => {
    turn = turn
      .then(() => enter(socket))
      .catch((error: unknown) => {
        complain(error instanceof Error ? error.message : String(error));
        socket.destroy();
      });
  };
  // The machine may come later: what is said is no end.
  const onFailure = (code: string): void => complain(`nobody waits at ${way.path} yet (${code})`);
  const { place } = way;
  const source = way.waits ? connectQemu(place, onSocket, onFailure) : await listenQemu(place, onSocket);
  console.log(`ethertype proxy: ${NETWORK.router[0]} behind ${way.path}`);
  await untilEnd(() => null);
  source.close();
  await turn;
  await leave();
  recorder?.close();
}

/** Null: there is an interface instead. */
function readWay(values: Values): QemuWay | null {
  const option = values.qemu === undefined ? 'qemu-connect' : 'qemu';
  const path = values[option];
  if (path === undefined) return null;
  for (const other of ['host-address', 'no-offload'] as const) {
    if (values[other] !== undefined)
      throw new UsageError(`--${other} is for --tap and --tun: --${option} has no interface`);
  }
  return { path, place: readPlace(option, path), waits: option === 'qemu-connect' };
}

async function run(args: string[]): Promise<number> {
  const { values } = readOptions(args, OPTIONS);
  const settings: GatewaySettings = readGateway(values);
  const { qemu, 'qemu-connect': qemuConnect, tap, tun } = values;
  if ([qemu, qemuConnect, tap, tun].filter((value) => value !== undefined).length !== 1) {
    throw new UsageError('expected one of --tap NAME, --tun NAME, --qemu PATH and --qemu-connect PATH');
  }
  const way = readWay(values);
  const { onFlow, close } = flowWriter(settings.log, complain);
  const watch = new UseWatch(values.stats);
  const start: Start = async (device) => {
    try {
      const gateway = await Gateway.start({ ...settings.gateway, device, onFlow });
      tellChosen(settings, gateway, complain);
      watch.start(gateway);
      return gateway;
    } catch (error) {
      device.close();
      throw error;
    }
  };
  const end: End = async (gateway) => {
    watch.end(gateway);
    await gateway.close();
    const left = watch.after(gateway);
    if (left !== null) complain(left);
  };
  if (way === null) await proxyInterface(values, start, end);
  else await proxyQemu(way, values, start, end);
  await close();
  return 0;
}

export const command: Command = {
  name: 'proxy',
  summary: 'a router for a TUN, a TAP or a virtual machine, which relays every flow under rules',
  usage,
  run,
};
