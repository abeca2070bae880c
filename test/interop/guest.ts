/**
 * A Linux in QEMU: the machine's kernel, and an initramfs that is made here of busybox and the kernel's modules for virtio.
 * Its console takes commands, a line each. The processor is emulated (TCG), so that it starts the same way wherever the
 * tests run. @module
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const BOOT_MS = 60_000;
const COMMAND_MS = 30_000;
const END_MS = 5_000;
const MEMORY_MB = 256;
const QEMU = 'qemu-system-x86_64';
const MODULES = ['virtio_pci', 'virtio_net'];

/** What the first process does: the modules in their order, the interface up, then a line of input after the other. */
const init = (modules: readonly string[]): string => `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
${modules.map((name) => `insmod /lib/${name}`).join('\n')}
ip link set lo up
ip link set eth0 up
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo
echo GUEST READY
while read -r line; do
  ( eval "$line" )
  echo "GUEST DONE $?"
done
poweroff -f
`;

/** What busybox's DHCP client calls with what it was given. */
const LEASE = `#!/bin/busybox sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip addr replace $ip/$mask dev $interface
ip route replace default via $router
: > /etc/resolv.conf
for server in $dns; do echo "nameserver $server" >> /etc/resolv.conf; done
`;

interface Kernel {
  readonly image: string;
  readonly modules: string;
}

/** The newest kernel that is here with its modules. */
function kernel(): Kernel | null {
  if (!existsSync('/boot') || !existsSync('/lib/modules')) return null;
  const versions = readdirSync('/lib/modules').filter((version) => existsSync(`/boot/vmlinuz-${version}`));
  const version = versions.sort().at(-1);
  return version === undefined ? null : { image: `/boot/vmlinuz-${version}`, modules: `/lib/modules/${version}` };
}

const busybox = (): string | undefined => ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path));

/** Why no guest can be started here, or false. */
export function skipGuest(): string | false {
  const folders = (process.env.PATH ?? '').split(':');
  if (process.arch !== 'x64') return 'needs an x86-64 machine';
  if (!folders.some((folder) => existsSync(join(folder, QEMU)))) return `needs ${QEMU}, not installed here`;
  if (busybox() === undefined) return 'needs busybox (busybox-static), not installed here';
  return kernel() === null && 'needs a kernel in /boot and its modules in /lib/modules (linux-image-cloud-amd64)';
}

/** The files of the modules and of what they need, in the order they are loaded in; what is built in has none. */
function moduleFiles(folder: string): string[] {
  const needs = new Map<string, string[]>();
  for (const line of readFileSync(join(folder, 'modules.dep'), 'utf8').split('\n')) {
    const [file, rest = ''] = line.split(':');
    if (file) needs.set(file, rest.trim().split(/\s+/).filter(Boolean));
  }
  const files = new Set<string>();
  for (const name of MODULES) {
    const file = [...needs.keys()].find((path) => basename(path).split('.')[0] === name);
    // The last of them is what the others need.
    if (file !== undefined) for (const one of [...needs.get(file)!].reverse().concat(file)) files.add(one);
  }
  return [...files].map((file) => join(folder, file));
}

function readModule(path: string): Buffer {
  const tool = path.endsWith('.xz') ? 'xz' : path.endsWith('.zst') ? 'zstd' : path.endsWith('.gz') ? 'gzip' : null;
  return tool === null ? readFileSync(path) : execFileSync(tool, ['-dc', path], { maxBuffer: 64 << 20 });
}

const FOLDER = 0o040755;
const PROGRAM = 0o100755;

/** An archive as initramfs wants it: cpio's `newc`. */
function archive(entries: readonly [path: string, mode: number, bytes: Uint8Array][]): Buffer {
  const pieces: Uint8Array[] = [];
  const padded = (bytes: Uint8Array): void => {
    pieces.push(bytes, Buffer.alloc(-bytes.length & 3));
  };
  for (const [i, [path, mode, bytes]] of [...entries, ['TRAILER!!!', 0, Buffer.alloc(0)] as const].entries()) {
    // inode, mode, uid, gid, links, mtime, size, device and rdevice, the length of the name, a checksum
    const fields = [i + 1, mode, 0, 0, 1, 0, bytes.length, 0, 0, 0, 0, path.length + 1, 0];
    const header = fields.map((field) => field.toString(16).padStart(8, '0')).join('');
    padded(Buffer.from(`070701${header}${path}\0`));
    padded(bytes);
  }
  return Buffer.concat(pieces);
}

function initramfs({ modules }: Kernel): Buffer {
  const files = moduleFiles(modules).map((path) => [`${basename(path).split('.')[0]}.ko`, readModule(path)] as const);
  const names = files.map(([name]) => name);
  return archive([
    ...['bin', 'dev', 'etc', 'lib', 'proc', 'sys', 'tmp'].map((name) => [name, FOLDER, Buffer.alloc(0)] as const),
    ['bin/busybox', PROGRAM, readFileSync(busybox()!)],
    ['bin/lease', PROGRAM, Buffer.from(LEASE)],
    ['init', PROGRAM, Buffer.from(init(names))],
    ...files.map(([name, bytes]) => [`lib/${name}`, PROGRAM, bytes] as const),
  ] as [string, number, Uint8Array][]);
}

/** A guest that has started. */
export class Guest {
  readonly #child: ChildProcess;
  #said = '';
  #wake: () => void = () => {};

  private constructor(child: ChildProcess) {
    this.#child = child;
    for (const output of [child.stdout!, child.stderr!]) {
      output.on('data', (chunk) => {
        this.#said += chunk;
        this.#wake();
      });
    }
    child.stdin!.on('error', () => {}); // it may end first
    child.once('close', () => this.#wake());
  }

  /**
   * Starts one, and waits for its console.
   * @param folder - for its initramfs
   * @param netdev - QEMU's `-netdev`, without an id
   */
  static async start(folder: string, netdev: string): Promise<Guest> {
    const found = kernel()!;
    const initrd = join(folder, 'initramfs');
    writeFileSync(initrd, initramfs(found));
    const network = ['-netdev', `${netdev},id=net`, '-device', 'virtio-net-pci,netdev=net,romfile='];
    const console = ['-nographic', '-monitor', 'none', '-serial', 'stdio', '-no-reboot'];
    const boot = ['-kernel', found.image, '-initrd', initrd, '-append', 'console=ttyS0 quiet panic=-1'];
    const processor = ['-nodefaults', '-accel', 'tcg', '-cpu', 'max', '-m', `${MEMORY_MB}`];
    const guest = new Guest(spawn(QEMU, [...processor, ...console, ...network, ...boot], { stdio: 'pipe' }));
    try {
      await guest.#until(/GUEST READY\r?\n/, BOOT_MS);
    } catch (error) {
      await guest.end();
      throw error;
    }
    return guest;
  }

  async #until(pattern: RegExp, ms: number): Promise<RegExpExecArray> {
    const deadline = Date.now() + ms;
    for (;;) {
      const match = pattern.exec(this.#said);
      if (match !== null) {
        this.#said = this.#said.slice(match.index + match[0].length);
        return match;
      }
      const leftMs = deadline - Date.now();
      if (leftMs <= 0 || this.#child.exitCode !== null) throw new Error(`the guest says: ${this.#said.slice(-4000)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Runs a line of shell inside. */
  async run(line: string): Promise<{ code: number; output: string }> {
    this.#child.stdin!.write(`${line}\n`);
    const [all, code] = await this.#until(/[\s\S]*?GUEST DONE (\d+)\r?\n/, COMMAND_MS);
    const output = all.replace(/GUEST DONE \d+\r?\n$/, '').replaceAll('\r\n', '\n');
    return { code: Number(code), output };
  }

  /** The output of a line that must succeed. */
  async must(line: string): Promise<string> {
    const { code, output } = await this.run(line);
    if (code !== 0) throw new Error(`${line} ended with ${code}: ${output}`);
    return output;
  }

  /** Takes it off. */
  async end(): Promise<void> {
    const child = this.#child;
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
    await ended;
    clearTimeout(timer);
  }
}
