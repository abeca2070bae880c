/**
 * A fresh stack for one script, in virtual time: time goes from deadline to deadline, and whatever can happen at one
 * moment has happened before it moves on. @module
 */

import { Memory } from '../../memory/memory.ts';
import { Random } from '../../phy/random.ts';
import { LINUX, Posix } from '../../posix/index.ts';
import { Stack } from '../../stack.ts';
import { ALGORITHMS } from '../../tcp/congestion/index.ts';
import { LINUX_ALGORITHMS } from '../../tcp/congestion/linux-cubic.ts';
import type { TcpInfo } from '../../tcp/info.ts';
import type { TcpSettings } from '../../tcp/settings.ts';
import { STATE_NAMES } from '../../tcp/state.ts';
import { Cidr, IpAddress } from '../../wire/address.ts';
import { ScriptDevice, type Sent } from './device.ts';
import type { DrillOptions } from './options.ts';
import { knownSettings, type SettingsByName } from './profiles.ts';
import type { Scene } from './scene.ts';

const US_PER_MS = 1000;
/** Virtual time begins here, so that nothing of the stack's sees 0, or a time before it. */
const START_MS = 1000;
/** Promises that hang on each other settle within so many microtasks. */
const SETTLE_TURNS = 12;
/** Rounds at one moment before something is taken to go in circles. */
const ROUNDS_MAX = 10_000;
/** Linux's numbers of states. */
const STATE_CLOSED = 7;
const STATE_LISTEN = 10;
const MEMORY_BYTES = 1 << 26;
const SEED_DEFAULT = 1;
/** Memories of scripts that are over: making one costs more than a script. As many as run at once. */
const spare: Memory[] = [];

/** Where scripts that say nothing are: packetdrill's own defaults, but that the network is always the same one. */
export const ADDRESSES = {
  ipv4: { local: '192.168.0.1', bits: 16, gateway: '192.168.0.2', remote: '192.0.2.1' },
  ipv6: { local: 'fd3d:fa7b:d17d::1', bits: 48, gateway: 'fd3d:fa7b:d17d::2', remote: '2001:db8::1' },
};

export class Stage implements Scene {
  readonly stack: Stack;
  readonly posix: Posix;
  readonly device: ScriptDevice;
  readonly shell = null;
  readonly local: IpAddress;
  readonly remote: IpAddress;
  /** Since the script began. */
  nowUs = 0;
  readonly #memory: Memory;

  constructor(options: DrillOptions, tcp: Partial<TcpSettings>, seed = SEED_DEFAULT) {
    const isV4 = options.ipVersion !== 'ipv6';
    const usual = isV4 ? ADDRESSES.ipv4 : ADDRESSES.ipv6;
    this.local = IpAddress.parse(options.localIp ?? usual.local);
    this.remote = IpAddress.parse(options.remoteIp ?? usual.remote);
    this.#memory = spare.pop() ?? new Memory({ bytes: MEMORY_BYTES });
    const random = new Random(seed);
    const congestion = tcp.linux ? LINUX_ALGORITHMS : ALGORITHMS;
    this.stack = new Stack({ random: () => random.next(), memory: this.#memory, tcp, congestion });
    this.device = new ScriptDevice(options.mtu, () => this.nowUs);
    const bits = options.prefixBits ?? usual.bits;
    const iface = this.stack.addInterface(this.device, { name: 'tun0', addresses: [new Cidr(this.local, bits)] });
    const any = isV4 ? IpAddress.v4(0) : new IpAddress(0, 0, 0, 0);
    // A wire without neighbours: whoever is at the other end takes everything.
    this.stack.addRoute({ prefix: new Cidr(any, 0), iface, gateway: null });
    this.posix = new Posix(this.stack);
    this.stack.poll(START_MS);
  }

  /** Packets of the stack that nobody has looked at. */
  get sent(): Sent[] {
    return this.device.sent;
  }

  get nowMs(): number {
    return START_MS + this.nowUs / US_PER_MS;
  }

  /** When the stack or a waiting call has something to do next; Infinity: never. */
  get nextUs(): number {
    const at = Math.min(this.stack.pollAt(), this.posix.nextAt());
    return Math.max(this.nowUs, Math.ceil((at - START_MS) * US_PER_MS));
  }

  /** Lets everything happen that can happen now. */
  async settle(): Promise<void> {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const more = this.stack.poll(this.nowMs);
      this.posix.turn(this.nowMs);
      for (let turn = 0; turn < SETTLE_TURNS; turn++) await null;
      if (!more && this.nextUs > this.nowUs) return;
    }
    throw new Error(`the stack has been busy for ${ROUNDS_MAX} rounds at ${this.nowUs} us`);
  }

  /** Goes on in time up to `us`, or until `until` says so. Returns whether it did. */
  async advance(us: number, until: () => boolean = () => false): Promise<boolean> {
    for (;;) {
      await this.settle();
      if (until()) return true;
      const next = this.nextUs;
      if (next > us || next === Number.POSITIVE_INFINITY) break;
      this.nowUs = next;
    }
    if (us < this.nowUs || us === Number.POSITIVE_INFINITY) return false;
    this.nowUs = us;
    await this.settle();
    return until();
  }

  inject(bytes: Uint8Array): void {
    this.device.inject(bytes);
  }

  apply(settings: SettingsByName): void {
    this.stack.tcp.configure(knownSettings(settings));
  }

  info(fd: number): Partial<TcpInfo> {
    const socket = this.posix.tcpSocket(fd);
    if (socket?.connection != null) return this.posix.getsockopt(fd, LINUX.SOL_TCP, LINUX.TCP_INFO) as TcpInfo;
    return { state: socket?.state() === 'LISTEN' ? STATE_LISTEN : STATE_CLOSED };
  }

  states(): string[] {
    const { connections, timeWait } = this.stack.tcp;
    const open = Array.from(connections.values(), (c) => STATE_NAMES[c.state]!);
    return [...open, ...Array.from({ length: timeWait.count }, () => 'TIME-WAIT')];
  }

  /** Ends the stack. @returns bytes of memory that did not come back */
  close(): number {
    this.stack.close();
    const { usedBytes } = this.#memory;
    if (usedBytes === 0) spare.push(this.#memory);
    return usedBytes;
  }
}
