/** Linux's own TCP in a network namespace, at the other end of a TUN device, in real time. @module */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { openTun, type TunDevice } from '../../src/linux/index.ts';
import { frameBytes, frameFrom, Memory } from '../../src/memory/index.ts';
import { LINUX } from '../../src/posix/index.ts';
import type { Sent } from '../../src/sim/drill/device.ts';
import type { DrillOptions } from '../../src/sim/drill/options.ts';
import type { Scene } from '../../src/sim/drill/scene.ts';
import { ADDRESSES } from '../../src/sim/drill/stage.ts';
import type { TcpInfo } from '../../src/tcp/info.ts';
import { IpAddress } from '../../src/wire/address.ts';
import { linuxCalls } from './calls.ts';

const MEMORY_BYTES = 1 << 24;
const US_PER_MS = 1000;
/** The event loop is asked again so often whether something happened. */
const NAP_MS = 1;
/** So long before its time an event is waited for without sleeping. */
const SPIN_MS = 2;

/** What `--profile linux` has too; all else is the kernel's own default. */
const SYSCTLS = [
  ['tcp_rmem', '4096 540000 15728640'],
  ['tcp_wmem', '4096 131072 4194304'],
  ['tcp_slow_start_after_idle', '0'],
] as const;

const run = (command: string, ...args: string[]): void => {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
};

/** Addresses and routes in the namespace this process is alone in. */
export async function openLinux(options: DrillOptions, folder: string): Promise<LinuxScene> {
  const isV4 = options.ipVersion !== 'ipv6';
  const usual = isV4 ? ADDRESSES.ipv4 : ADDRESSES.ipv6;
  const local = options.localIp ?? usual.local;
  const ipv6 = isV4 ? ['disable_ipv6=1'] : ['accept_dad=0', 'accept_ra=0', 'router_solicitations=0'];
  for (const setting of ipv6) run('sysctl', '-qw', `net.ipv6.conf.default.${setting}`);
  for (const [name, value] of SYSCTLS) run('sysctl', '-qw', `net.ipv4.${name}=${value}`);
  run('ip', 'link', 'set', 'lo', 'up');
  const hostAddress = `${local}/${options.prefixBits ?? usual.bits}`;
  const device = await openTun({ name: 'tun0', hostAddress, mtu: options.mtu, offload: false });
  run('ip', isV4 ? '-4' : '-6', 'route', 'add', 'default', 'dev', 'tun0');
  return new LinuxScene(device, local, options.remoteIp ?? usual.remote, folder);
}

export class LinuxScene implements Scene {
  readonly local: IpAddress;
  readonly remote: IpAddress;
  readonly posix = linuxCalls;
  readonly sent: Sent[] = [];
  readonly shell: (command: string) => string | null;
  /** When the last event was due: what follows is counted from there, so that being late does not add up. */
  nowUs = 0;
  readonly #device: TunDevice;
  readonly #memory = new Memory({ bytes: MEMORY_BYTES });
  #startMs = performance.now();
  /** Before the first packet nothing depends on time, and what takes some (commands, compilation) shall not count. */
  #isStarted = false;

  constructor(device: TunDevice, local: string, remote: string, folder: string) {
    this.#device = device;
    this.local = IpAddress.parse(local);
    this.remote = IpAddress.parse(remote);
    device.attach(this.#memory, () => {});
    this.shell = (command) => runShell(command, folder);
  }

  get #liveUs(): number {
    return Math.round((performance.now() - this.#startMs) * US_PER_MS);
  }

  #start(): void {
    if (!this.#isStarted) this.#startMs = performance.now() - this.nowUs / US_PER_MS;
    this.#isStarted = true;
  }

  inject(bytes: Uint8Array): void {
    this.#start();
    this.#device.transmit(frameFrom(this.#memory, bytes), 0);
    this.#drain();
  }

  #drain(): void {
    for (let frame = this.#device.receive(0); frame !== 0; frame = this.#device.receive(0)) {
      this.#start();
      this.sent.push({ bytes: frameBytes(this.#memory, frame), atUs: this.#liveUs });
      this.#memory.free(frame);
    }
  }

  async settle(): Promise<void> {
    await new Promise((resume) => setImmediate(resume));
    this.#drain();
  }

  async advance(us: number, until: () => boolean = () => false): Promise<boolean> {
    if (until()) return true;
    for (;;) {
      await this.settle();
      const liveUs = this.#liveUs;
      this.nowUs = Math.max(this.nowUs, Math.min(us, liveUs));
      if (until()) return true;
      if (liveUs >= us) break;
      if (us - liveUs > SPIN_MS * US_PER_MS) await new Promise((resume) => setTimeout(resume, NAP_MS));
    }
    return false;
  }

  apply(): void {}

  info(fd: number): TcpInfo {
    return linuxCalls.getsockopt(fd, LINUX.SOL_TCP, LINUX.TCP_INFO) as TcpInfo;
  }

  states(): string[] {
    return [];
  }

  close(): number {
    this.#device.close();
    return 0;
  }
}

/** Runs a command as packetdrill does, by the shell, beside the script; sysctl without it, for that takes no time. */
function runShell(command: string, folder: string): string | null {
  const assigned = /^\s*sysctl\s+-\w+\s+([\w.]+)=(?:"([^"]*)"|(\S*))\s*$/.exec(command);
  if (assigned !== null) {
    try {
      writeFileSync(`/proc/sys/${assigned[1]!.replaceAll('.', '/')}`, assigned[2] ?? assigned[3]!);
      return null;
    } catch (error) {
      return (error as Error).message;
    }
  }
  try {
    execFileSync('sh', ['-c', command], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
    return null;
  } catch (error) {
    const { status, stderr } = error as { status: number | null; stderr: Buffer };
    return `command ended with ${status}: ${String(stderr).trim()}`;
  }
}
