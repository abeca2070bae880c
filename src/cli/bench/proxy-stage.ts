/**
 * The namespace of the proxies' benchmark: servers on its loopback, and behind each proxy in turn the program that measures.
 * Prints one JSON document. Run by proxy.ts; `node proxy-stage.js KIND,... ROUNDS MS`. @module
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

export type ProxyKind = 'ethertype' | 'slirp4netns' | 'passt' | 'direct';

/** What the program behind a proxy measured. */
export interface ProxyFigures {
  /** Gbit/s. */
  readonly down: number;
  readonly up: number;
  /** A second. */
  readonly connections: number;
  readonly roundTrips: number;
}

/** By kind; none where that one failed. */
export type Round = Partial<Record<ProxyKind, ProxyFigures>>;

const GUEST = fileURLToPath(new URL('./proxy-guest.js', import.meta.url));
const MAIN = fileURLToPath(new URL('../main.js', import.meta.url));
/** What passt and slirp4netns do best with; `ethertype run` has super-segments at its default of 1500. */
const MTU = '65520';
/** passt wants an interface with a route; nothing is at its other end. */
const OUTSIDE = ['192.0.2.2/24', '192.0.2.1'] as const;
const READY_MS = 5000;
const STEP_MS = 50;

const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function configure(): void {
  ip('link', 'set', 'lo', 'up');
  ip('link', 'add', 'out0', 'type', 'veth', 'peer', 'name', 'out1');
  ip('link', 'set', 'out1', 'up');
  ip('addr', 'add', OUTSIDE[0], 'dev', 'out0');
  ip('link', 'set', 'out0', 'up');
  ip('route', 'add', 'default', 'via', OUTSIDE[1]);
}

async function listen(onSocket: (socket: Socket) => void): Promise<string> {
  const server = createServer({ noDelay: true }, onSocket);
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
  await once(server, 'listening');
  return String((server.address() as { port: number }).port);
}

/** Servers that connections are spread over: so many times as many ports there are for those that have just ended. */
const GREETERS = 16;

/** Ports of: servers that answer each connection with a byte; an echo; iperf3. */
async function serve(): Promise<readonly string[]> {
  const greet = (socket: Socket): void => {
    socket.on('error', () => {});
    socket.resume();
    socket.write('x');
  };
  const greets = await Promise.all(Array.from({ length: GREETERS }, () => listen(greet)));
  const echoes = await listen((socket) => socket.on('error', () => {}).pipe(socket));
  const bulk = '5201';
  spawn('iperf3', ['-s', '-B', '127.0.0.1', '-p', bulk], { stdio: 'ignore' });
  await pause(300);
  return [greets.join(','), echoes, bulk];
}

/** Runs the measuring program by `command`, which leads to the servers at `host`. */
async function figures(
  command: readonly string[],
  host: string,
  ports: readonly string[],
  ms: string,
): Promise<ProxyFigures> {
  const [program, ...args] = [...command, process.execPath, GUEST, host, ...ports, ms];
  const child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${program} ended with ${code}: ${stderr.trim().split('\n').at(-1)}`);
  return JSON.parse(stdout) as ProxyFigures;
}

/** slirp4netns takes a namespace that is there already. */
async function behindSlirp(ports: readonly string[], ms: string): Promise<ProxyFigures> {
  const space = spawn('unshare', ['--user', '--map-root-user', '--net', 'sleep', '1000'], { stdio: 'ignore' });
  let slirp: ChildProcess | null = null;
  const enter = ['nsenter', '-t', String(space.pid), '--user', '--net', '--preserve-credentials'];
  const isReady = (): boolean => {
    try {
      return /default/.test(
        execFileSync(enter[0]!, [...enter.slice(1), 'ip', 'route'], { encoding: 'utf8', stdio: 'pipe' }),
      );
    } catch {
      return false; // not there yet
    }
  };
  try {
    await pause(300);
    slirp = spawn('slirp4netns', ['-c', '-m', MTU, String(space.pid), 'tap0'], { stdio: 'ignore' });
    for (let waited = 0; waited < READY_MS && !isReady(); waited += STEP_MS) await pause(STEP_MS);
    return await figures(enter, '10.0.2.2', ports, ms);
  } finally {
    slirp?.kill();
    space.kill();
  }
}

const PASST = '-q -4 --config-net --runas 0 -t none -u none -T none -U none --'.split(' ');

const BEHIND: Readonly<Record<ProxyKind, (ports: readonly string[], ms: string) => Promise<ProxyFigures>>> = {
  direct: (ports, ms) => figures([], '127.0.0.1', ports, ms),
  ethertype: (ports, ms) => figures([process.execPath, MAIN, 'run', '--host-loopback', '--'], '10.0.2.2', ports, ms),
  slirp4netns: behindSlirp,
  passt: (ports, ms) => figures(['pasta', ...PASST], OUTSIDE[1], ports, ms),
};

async function stage(kinds: readonly ProxyKind[], count: number, ms: string): Promise<Round[]> {
  const ports = await serve();
  const rounds: Round[] = [];
  for (let i = 0; i < count; i++) {
    const round: Round = {};
    for (const kind of kinds) {
      try {
        round[kind] = await BEHIND[kind](ports, ms);
      } catch (error) {
        // Without ours there is nothing to compare; of the others, those that work here are shown.
        if (kind === 'ethertype') throw error;
        process.stderr.write(`${kind}: ${(error as Error).message}\n`);
      }
    }
    rounds.push(round);
  }
  return rounds;
}

const [kinds = '', rounds = '1', ms = '1000'] = process.argv.slice(2);
try {
  configure();
  if (kinds !== 'probe') console.log(JSON.stringify(await stage(kinds.split(',') as ProxyKind[], Number(rounds), ms)));
  process.exit(0);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(1);
}
