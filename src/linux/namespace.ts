/**
 * Runs a command in a user, network, mount and process namespace of its own, whose only interface is a TAP that this
 * process holds. Nothing needs root where the kernel lets users make namespaces. @module
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { NetError } from '../errors.ts';
import { type ControlMessage, ControlSocket } from './control-socket.ts';
import { loadLibc } from './libc.ts';
import { keepFront } from './terminal.ts';
import { attachTunQueue, type TunDevice, type TunQueue } from './tun.ts';

/** How long the namespace may take to be ready. */
const READY_MS = 15_000;

/** What is run, and what it finds inside. */
export interface NamespacePlan extends ChildPlan {
  readonly command: readonly string[];
}

/** What the program inside is told, beside the command. */
export interface ChildPlan {
  /** The TAP's name inside. */
  readonly name: string;
  readonly mtu: number;
  /** With prefixes. */
  readonly addresses: readonly string[];
  readonly gateways: readonly string[];
  readonly nameServers: readonly string[];
  /** Whether the command ignores SIGHUP from its start, as nohup(1) wants it. Default false. */
  readonly ignoresHangup?: boolean | undefined;
}

/** A namespace that is ready; its command has not begun. */
export interface NamespaceRun {
  /** The TAP inside, as a device of this process. */
  readonly device: TunDevice;
  /** Begins the command. */
  start(): void;
  /** Sends a signal to the command. */
  kill(signal: NodeJS.Signals): void;
  /** The exit code of the command; 128 and the signal's number where one ended it. Everything inside is gone then. */
  readonly ended: Promise<number>;
}

/**
 * unshare(1) is what all inside ends with, and no signal is for it: a terminal and a shell send theirs to our whole group.
 * Those behind it take them anew.
 */
const SHELL = 'trap "" HUP INT QUIT TERM USR1 USR2 TSTP; exec unshare "$@"';
const UNSHARE = ['--user', '--map-root-user', '--net', '--mount', '--pid', '--fork', '--kill-child', '--'];
/** What is kept of what unshare(1) says. */
const SAID_MAX = 1000;

/**
 * Makes the namespace.
 * @throws NetError ENOSYS, EPERM, ETIMEDOUT: one line that says what is missing
 */
export async function runInNamespace({ command, ...plan }: NamespacePlan): Promise<NamespaceRun> {
  const libc = await loadLibc();
  const [ours, theirs] = ControlSocket.pair(libc);
  const putInFront = keepFront(libc);
  const helper = fileURLToPath(new URL('./namespace-child.js', import.meta.url));
  const args = [...UNSHARE, process.execPath, helper, JSON.stringify(plan), ...command];
  // Descriptor 4 is the command's standard error; on their own stand the complaints of who makes the namespace.
  const child = spawn('/bin/sh', ['-c', SHELL, 'sh', ...args], { stdio: ['inherit', 'inherit', 'pipe', theirs, 2] });
  libc.close(theirs);
  let told: (message: ControlMessage | null) => void = () => {};
  const first = new Promise<ControlMessage | null>((resolve) => {
    told = resolve;
  });
  const control = new ControlSocket(libc, ours, (message) => told(message));
  const ended = endOf(child, control).finally(putInFront);
  try {
    const { text, fd } = await ready(first, child);
    const descriptor = JSON.parse(text) as Omit<TunQueue, 'fd'> & { error?: string };
    if (descriptor.error !== undefined || fd < 0) throw failure(descriptor.error ?? 'no interface came');
    child.stderr!.pipe(process.stderr, { end: false });
    const device = await attachTunQueue({ ...descriptor, fd });
    const kill = (signal: NodeJS.Signals): void => void control.send(signal);
    return { device, start: () => void control.send('go'), kill, ended };
  } catch (error) {
    child.kill('SIGKILL');
    await ended;
    throw error;
  }
}

const failure = (detail: string): NetError => new NetError('EPERM', 'run', { detail });

function endOf(child: ChildProcess, control: ControlSocket): Promise<number> {
  return new Promise((resolve) => {
    const end = (code: number): void => {
      control.close();
      resolve(code);
    };
    child.once('exit', (code) => end(code ?? 1));
    child.once('error', () => end(1));
  });
}

/** The first message from inside. */
function ready(first: Promise<ControlMessage | null>, child: ChildProcess): Promise<ControlMessage> {
  let said = '';
  child.stderr!.on('data', (chunk) => {
    if (said.length < SAID_MAX) said += chunk;
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new NetError('ETIMEDOUT', 'run', { detail: 'the namespace is not ready' })),
      READY_MS,
    );
    const fail = (): void => {
      clearTimeout(timer);
      reject(failure(missing(said)));
    };
    child.once('error', fail);
    child.once('close', fail);
    void first.then((message) => {
      if (message === null) return; // its exit says more
      clearTimeout(timer);
      child.off('close', fail);
      child.stderr!.removeAllListeners('data');
      resolve(message);
    });
  });
}

/** Settings of the kernel that keep users from making namespaces, and what they are then. */
const FORBIDDING: readonly [setting: string, value: string][] = [
  ['user.max_user_namespaces', '0'],
  ['user.max_net_namespaces', '0'],
  ['user.max_mnt_namespaces', '0'],
  ['user.max_pid_namespaces', '0'],
  ['kernel.unprivileged_userns_clone', '0'],
  ['kernel.apparmor_restrict_unprivileged_userns', '1'],
];

/** Why there is no namespace, from what unshare(1) said and how the kernel is set. */
function missing(said: string): string {
  if (/unshare: not found/.test(said)) return 'there is no unshare(1): install util-linux';
  const set = FORBIDDING.filter(([setting, value]) => {
    try {
      return readFileSync(`/proc/sys/${setting.replace('.', '/')}`, 'utf8').trim() === value;
    } catch {
      return false; // this kernel has no such setting
    }
  });
  const why = set.map(([setting, value]) => `${setting} is ${value}`).join(', ') || 'are user namespaces allowed here?';
  return `cannot make a namespace: ${said.trim() || 'unshare has failed'} (${why})`;
}
