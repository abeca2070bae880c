/** `ethertype run`: a program in a network of its own, every flow of which this stack relays under rules. @module */
import { runInNamespace } from '../linux/namespace.ts';
import { Gateway, NETWORK } from '../proxy/index.ts';
import { readInteger, readOptions, readPercent } from './args.ts';
import { type Command, UsageError } from './command.ts';
import { FAULT_OPTIONS, FAULT_USAGE, type FaultPlan, readFaults } from './fault-options.ts';
import {
  flowWriter,
  GATEWAY_OPTIONS,
  GATEWAY_USAGE,
  type GatewaySettings,
  readGateway,
  tellChosen,
} from './gateway-options.ts';
import { isNohup } from './until-end.ts';
import { STATS_USAGE, UseWatch } from './use.ts';
import { openRecorder, wrap } from './wire.ts';

const MTU = 1500;
const FORWARDED = ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

const usage = `usage: ethertype run [OPTION]... -- COMMAND [ARGUMENT]...

Runs COMMAND in a user and network namespace of its own, whose only network is this stack: it has the addresses
${NETWORK.guest.join(' and ')}, the router ${NETWORK.router.join(' and ')}, the resolver ${NETWORK.resolver[0]}. Every flow to any
address is relayed to the machine's own network as far as the rules let it. Inside it is root, outside it is you. Exit
code, signals and the terminal are COMMAND's; with it ends everything it started. Sockets in the file system (D-Bus,
Docker, X11) are no network: it reaches them as you do.

  ethertype run -- curl https://example.org/
  ethertype run --allow '*.npmjs.org:443' -- npm ci

${GATEWAY_USAGE}
${STATS_USAGE}
  --pcap FILE              records every packet: classic pcap if FILE ends in .pcap, else pcapng, with why the stack
                           dropped it as a comment
  --mtu N                  the largest IP packet, 1280 to 65535; default ${MTU}
  --loss P                 the same as --drop P

${FAULT_USAGE}`;

const OPTIONS = {
  ...GATEWAY_OPTIONS,
  stats: { type: 'string' },
  pcap: { type: 'string' },
  loss: { type: 'string' },
  ...FAULT_OPTIONS,
  mtu: { type: 'string' },
} as const;

interface Settings extends GatewaySettings {
  readonly command: readonly string[];
  readonly stats: string | undefined;
  readonly pcap: string | undefined;
  readonly faults: FaultPlan | null;
  readonly mtu: number;
}

function readSettings(args: string[]): Settings {
  const end = args.indexOf('--');
  const command = end < 0 ? [] : args.slice(end + 1);
  const { values } = readOptions(end < 0 ? args : args.slice(0, end), OPTIONS);
  const { loss, drop = loss } = values;
  readPercent('loss', loss); // what is wrong with it is said under its own name
  if (loss !== undefined && drop !== loss) throw new UsageError('expected one of --loss and --drop, got both');
  if (command.length === 0) throw new UsageError('expected a command behind --, like ethertype run -- curl URL');
  return {
    ...readGateway(values),
    command,
    stats: values.stats,
    pcap: values.pcap,
    faults: readFaults({ ...values, drop }),
    mtu: readInteger('mtu', values.mtu, 1280, 65_535) ?? MTU,
  };
}

const complain = (message: string): void => void process.stderr.write(`ethertype run: ${message}\n`);

async function run(args: string[]): Promise<number> {
  const settings = readSettings(args);
  const watch = new UseWatch(settings.stats);
  const { onFlow, close } = flowWriter(settings.log, complain);
  const recorder = openRecorder(settings.pcap, complain);
  const space = await runInNamespace({
    command: settings.command,
    name: 'tap0',
    mtu: settings.mtu,
    addresses: NETWORK.guest.map((address, i) => `${address}/${NETWORK.prefixLengths[i]}`),
    gateways: NETWORK.router,
    nameServers: [NETWORK.resolver[0]],
    ignoresHangup: isNohup(),
  });
  const { device, explain, beginScenario } = wrap(space.device, { name: 'tap0', recorder, faults: settings.faults });
  let gateway: Gateway;
  try {
    gateway = await Gateway.start({ ...settings.gateway, device, onFlow });
  } catch (error) {
    device.close();
    throw error;
  }
  tellChosen(settings, gateway, complain);
  explain(gateway.host);
  const endScenario = beginScenario(gateway.host.clock);
  passSignals(space.kill);
  watch.start(gateway);
  space.start();
  const code = await space.ended;
  watch.end(gateway);
  endScenario();
  await gateway.close();
  await close();
  recorder?.close();
  const left = watch.after(gateway);
  if (left !== null) complain(left);
  return code;
}

/** Signals to us are for the command; one that it has got already, from a terminal, it does not get twice. */
function passSignals(kill: (signal: NodeJS.Signals) => void): void {
  for (const signal of FORWARDED) {
    if (signal !== 'SIGHUP' || !isNohup()) process.on(signal, () => kill(signal));
  }
}

export const command: Command = {
  name: 'run',
  summary: 'a program in a network of its own, every flow of which this stack relays under rules',
  usage,
  run,
};
