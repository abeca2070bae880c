/**
 * The program that runs inside a new network namespace: makes a TAP there, hands it out by descriptor, and runs a
 * command with its terminal. It is the first process of its namespace, so all others end with it. Started by
 * {@link runInNamespace}; its first argument is a {@link ChildPlan} as JSON, the others are the command. @module
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readlinkSync, rmdirSync, writeFileSync, writeSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { IpAddress } from '../wire/address.ts';
import { ControlSocket } from './control-socket.ts';
import { InterfaceControl, Struct } from './ifreq.ts';
import { ENOENT, loadLibc } from './libc.ts';
import type { ChildPlan } from './namespace.ts';
import { openTapQueue } from './tun.ts';

/** Where the control socket stands. */
const CONTROL_FD = 3;
/** The standard error of the command. */
const ERROR_FD = 4;
const FIOCLEX = 0x5451; // asm-generic/ioctls.h: closed on exec
const MS_BIND = 4096;
const MNT_DETACH = 2;
const MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8;
/** What shells say: not found, and not to be run. */
const NOT_FOUND = 127;
const NOT_RUNNABLE = 126;
const SIGNAL_BASE = 128;

/** Not by process.exit: that sets the terminal back, which may have hung up, and then Node aborts. */
const exit = (code: number): never => libc.exit(code);

const plan = JSON.parse(process.argv[2] ?? '{}') as ChildPlan;
const libc = await loadLibc();
const control = new ControlSocket(libc, CONTROL_FD, (message) => {
  // Who started us is gone: with us everything in here ends.
  if (message === null) exit(1);
  else if (message.text === 'go') run();
  else pass(message.text as NodeJS.Signals);
});
libc.ioctl(ERROR_FD, FIOCLEX, 0);
let child: ReturnType<typeof spawn> | null = null;

/**
 * When we got a signal ourselves: then it was for our whole group, from a terminal or a shell, and the command has got it,
 * too. What is passed on to us at about the same time is that signal, which must not come twice.
 */
const heard = new Map<string, number>();
const SAME_MS = 50;
for (const signal of ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP', 'SIGTSTP', 'SIGUSR1', 'SIGUSR2'] as const) {
  process.on(signal, () => void heard.set(signal, performance.now()));
}

function pass(signal: NodeJS.Signals): void {
  setTimeout(() => {
    if (performance.now() - (heard.get(signal) ?? Number.NEGATIVE_INFINITY) > 2 * SAME_MS) child?.kill(signal);
  }, SAME_MS);
}

// waitid(2): any child, those that have ended, without waiting, and first only a look
const P_ALL = 0;
const P_PID = 1;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x1000000;
const SI_PID = 16;
const info = new Struct(libc, 128);

/** The first process inherits all whose parents have ended, and nobody but us can let them go. */
process.on('SIGCHLD', () => {
  for (;;) {
    info.dv.setInt32(SI_PID, 0, true);
    if (libc.waitid(P_ALL, 0, info.address, WEXITED | WNOHANG | WNOWAIT) < 0) return;
    const pid = info.dv.getInt32(SI_PID, true);
    if (pid === 0 || pid === child?.pid) return; // the command itself is Node's to wait for
    libc.waitid(P_PID, pid, info.address, WEXITED | WNOHANG);
  }
});

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch {
    // Where settings cannot be written, the kernel probes for a second whether the address is free.
  }
}

function mountNames(): void {
  const errno = mountText('/etc/resolv.conf', plan.nameServers.map((server) => `nameserver ${server}\n`).join(''));
  if (errno !== 0) {
    const why = errno === ENOENT ? nothingAt('/etc/resolv.conf') : `errno ${errno}`;
    throw new Error(`cannot put the name server into /etc/resolv.conf: ${why}`);
  }
  // Daemons of the machine that would be asked instead, through sockets in the file system, and would ask another network.
  let sources = '';
  try {
    sources = readFileSync('/etc/nsswitch.conf', 'utf8');
  } catch {
    // then the libraries ask the files and the name servers anyway
  }
  const plain = sources.replace(/^hosts:.*$/m, 'hosts: files dns');
  if (plain !== sources) mountText('/etc/nsswitch.conf', plain);
  libc.mount('none', '/run/nscd', 'tmpfs', MS_NOSUID_NODEV_NOEXEC, 0);
}

/** Puts a text where a file is; returns the errno, or 0. It lies in memory, and goes with the namespace. */
function mountText(path: string, text: string): number {
  const folder = mkdtempSync(join(tmpdir(), 'ethertype-'));
  const file = join(folder, 'file');
  const attempt = (result: number): number => (result < 0 ? libc.errno() : 0);
  let errno = attempt(libc.mount('none', folder, 'tmpfs', MS_NOSUID_NODEV_NOEXEC, 0));
  if (errno === 0) {
    writeFileSync(file, text);
    errno = attempt(libc.mount(file, path, '', MS_BIND, 0));
    libc.umount2(folder, MNT_DETACH); // what is mounted of it stays
  }
  rmdirSync(folder);
  return errno;
}

/** How it comes that nothing can be mounted there. */
function nothingAt(path: string): string {
  try {
    return `it is a link to ${readlinkSync(path)}, which is not there`;
  } catch {
    return 'there is no such file';
  }
}

async function prepare(): Promise<void> {
  const lo = new InterfaceControl(libc, 'lo', 'run');
  lo.setUp();
  lo.close();
  const { name, mtu } = plan;
  const tap = await openTapQueue({ name, mtu, up: false });
  for (const setting of ['accept_dad', 'dad_transmits']) write(`/proc/sys/net/ipv6/conf/${name}/${setting}`, '0');
  const iface = new InterfaceControl(libc, name, 'run');
  const { Cidr } = await import('../wire/address.ts');
  iface.setUp();
  for (const address of plan.addresses) iface.setAddress(Cidr.parse(address));
  for (const gateway of plan.gateways) iface.addDefaultRoute(IpAddress.parse(gateway));
  iface.close();
  mountNames();
  // So that programs see the processes of their own namespace; where it is forbidden they see the machine's.
  libc.mount('proc', '/proc', 'proc', MS_NOSUID_NODEV_NOEXEC, 0);
  const { fd, ...rest } = tap;
  control.send(JSON.stringify(rest), fd);
  libc.close(fd);
}

/** Node sets back for its children what is ignored; a shell in between ignores it anew. */
const IGNORING = ['/bin/sh', '-c', 'trap "" HUP; exec "$@"', 'ethertype run'];

function run(): void {
  const command = process.argv[3];
  const [file, ...args] = [...(plan.ignoresHangup === true ? IGNORING : []), ...process.argv.slice(3)];
  child = spawn(file!, args, { stdio: ['inherit', 'inherit', ERROR_FD] });
  child.once('error', (error: NodeJS.ErrnoException) => {
    const isMissing = error.code === 'ENOENT';
    const why = isMissing ? 'not found' : (error.code ?? error.message);
    writeSync(ERROR_FD, `ethertype run: ${command}: ${why}\n`);
    exit(isMissing ? NOT_FOUND : NOT_RUNNABLE);
  });
  child.once('exit', (code, signal) => {
    exit(code ?? SIGNAL_BASE + (constants.signals[signal!] ?? 0));
  });
}

try {
  await prepare();
} catch (error) {
  control.send(JSON.stringify({ error: error instanceof Error ? error.message : String(error) }));
  exit(1);
}
