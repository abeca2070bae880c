/**
 * Runs a command in a user, network, mount and process namespace of its own, whose only interface is a TAP that this
 * process holds. Nothing needs root where the kernel lets users make namespaces. @module
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { NetError } from '../errors.ts';
import { type ControlMessage, ControlSocket } from './control-socket.ts';
import { loadLibc } from './libc.ts';
import { attachTunQueue, type TunDevice, type TunQueue } from './tun.ts';

/** How long the namespace may take to be ready. */
const READY_MS = 15_000;

/** What the program inside is told. */
export interface ChildPlan {
  readonly command: readonly string[];
  /** The TAP's name inside. */
  readonly name: string;
  readonly mtu: number;
  /** With prefixes. */
  readonly addresses: readonly string[];
  readonly gateways: readonly string[];
  readonly nameServers: readonly string[];
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

const UNSHARE = ['--user', '--map-root-user', '--net', '--mount', '--pid', '--fork', '--kill-child', '--'];

/**
 * Makes the namespace.
 * @throws NetError ENOSYS, EPERM, ETIMEDOUT: one line that says what is missing
 */
export async function runInNamespace(plan: ChildPlan): Promise<NamespaceRun> {
  const libc = await loadLibc();
  const [ours, theirs] = ControlSocket.pair(libc);
  const helper = fileURLToPath(new URL('./namespace-child.js', import.meta.url));
  const args = [...UNSHARE, process.execPath, helper, JSON.stringify(plan)];
  const child = spawn('unshare', args, { stdio: ['inherit', 'inherit', 'inherit', theirs] });
  libc.close(theirs);
  let told: (message: ControlMessage | null) => void = () => {};
  const first = new Promise<ControlMessage | null>((resolve) => {
    told = resolve;
  });
  const control = new ControlSocket(libc, ours, (message) => told(message));
  const ended = endOf(child, control);
  try {
    const { text, fd } = await ready(first, child);
    const descriptor = JSON.parse(text) as Omit<TunQueue, 'fd'> & { error?: string };
    if (descriptor.error !== undefined || fd < 0) throw failure(descriptor.error ?? 'no interface came');
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
  const missing = 'cannot make a namespace: this needs unshare (util-linux) and user namespaces that the kernel allows';
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new NetError('ETIMEDOUT', 'run', { detail: 'the namespace is not ready' })),
      READY_MS,
    );
    const fail = (): void => {
      clearTimeout(timer);
      reject(failure(missing));
    };
    child.once('error', fail);
    child.once('exit', fail);
    void first.then((message) => {
      if (message === null) return; // its exit says more
      clearTimeout(timer);
      child.off('exit', fail);
      resolve(message);
    });
  });
}
