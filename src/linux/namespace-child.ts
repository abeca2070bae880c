/**
 * The program that runs inside a new network namespace: makes a TAP there, hands it out by descriptor, and runs a
 * command with its terminal. It is the first process of its namespace, so all others end with it. Started by
 * {@link runInNamespace}; its first argument is a {@link ChildPlan} as JSON. @module
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { IpAddress } from '../wire/address.ts';
import { ControlSocket } from './control-socket.ts';
import { InterfaceControl } from './ifreq.ts';
import { loadLibc } from './libc.ts';
import type { ChildPlan } from './namespace.ts';
import { openTapQueue } from './tun.ts';

/** Where the control socket stands. */
const CONTROL_FD = 3;
const MS_BIND = 4096;
const MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8;
/** What shells say: not found, and not to be run. */
const NOT_FOUND = 127;
const NOT_RUNNABLE = 126;
const SIGNAL_BASE = 128;

const plan = JSON.parse(process.argv[2] ?? '{}') as ChildPlan;
const libc = await loadLibc();
const control = new ControlSocket(libc, CONTROL_FD, (message) => {
  // Who started us is gone: with us everything in here ends.
  if (message === null) process.exit(1);
  else if (message.text === 'go') run();
  else child?.kill(message.text as NodeJS.Signals);
});
let child: ReturnType<typeof spawn> | null = null;

/** Also the terminal tells us; it is the command's to obey. */
for (const signal of ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP', 'SIGTSTP'] as const) process.on(signal, () => {});

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch {
    // Where settings cannot be written, the kernel probes for a second whether the address is free.
  }
}

function mountNames(): void {
  const folder = mkdtempSync(join(tmpdir(), 'ethertype-'));
  const path = join(folder, 'resolv.conf');
  writeFileSync(path, plan.nameServers.map((server) => `nameserver ${server}\n`).join(''));
  const result = libc.mount(path, '/etc/resolv.conf', '', MS_BIND, 0);
  rmSync(folder, { recursive: true }); // what is mounted stays
  if (result < 0) throw new Error(`cannot mount /etc/resolv.conf (errno ${libc.errno()})`);
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

function run(): void {
  const [command, ...args] = plan.command;
  child = spawn(command!, args, { stdio: 'inherit' });
  child.once('error', (error: NodeJS.ErrnoException) => {
    const isMissing = error.code === 'ENOENT';
    const why = isMissing ? 'not found' : (error.code ?? error.message);
    process.stderr.write(`ethertype run: ${command}: ${why}\n`);
    process.exit(isMissing ? NOT_FOUND : NOT_RUNNABLE);
  });
  child.once('exit', (code, signal) => {
    process.exit(code ?? SIGNAL_BASE + (constants.signals[signal!] ?? 0));
  });
}

try {
  await prepare();
} catch (error) {
  control.send(JSON.stringify({ error: error instanceof Error ? error.message : String(error) }));
  process.exit(1);
}
