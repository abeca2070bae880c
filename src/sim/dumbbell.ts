/** The dumbbell: senders on the left, receivers on the right, and one bottleneck that all flows share. @module */

import { Memory } from '../memory/memory.ts';
import type { Device } from '../phy/device.ts';
import { Random } from '../phy/random.ts';
import { Stack } from '../stack.ts';
import { ALGORITHMS } from '../tcp/congestion/index.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import { Router, type RouterOptions, type RouterPort } from './router.ts';

/** Pairs of a dumbbell: their addresses are 10.0.0.1 to 10.0.0.100 and 10.0.0.101 to 10.0.0.200. */
export const PAIRS_MAX = 100;
const MEMORY_BYTES = 256 << 20;

export interface DumbbellOptions extends Omit<RouterOptions, 'memory'> {
  /** How many senders, and as many receivers; default 1, up to {@link PAIRS_MAX}. */
  readonly pairs?: number;
  /** Round-trip time of each pair without queues; one number is all pairs'. Default 20. */
  readonly rttMs?: number | readonly number[];
  /** What TCP sockets of all stacks start with; or of each pair, where a function of its number. */
  readonly tcp?: Partial<TcpSettings> | ((pair: number) => Partial<TcpSettings>);
  /** What goes between a stack and its port, to trace, capture or spoil: gives the device the stack takes. */
  readonly wrap?: (port: RouterPort, side: 'left' | 'right', pair: number) => Device;
  /** The memory that all share, or its bytes; default 256 MiB, of which the system gives only what is used. */
  readonly memory?: Memory | number;
}

export interface Dumbbell {
  readonly senders: readonly Stack[];
  readonly receivers: readonly Stack[];
  /** The bottleneck; `forward` is from the senders to the receivers. */
  readonly router: Router;
  readonly memory: Memory;
  /** The address of receiver `pair`. */
  receiverAddress(pair: number): IpAddress;
  /** Closes all stacks and the router. */
  close(): void;
}

/**
 * Builds the stacks and their network. The faults given are the bottleneck's; half of each round-trip time lies behind
 * it in either direction.
 * @throws RangeError if an option is out of its range.
 * @example
 * const net = dumbbell({ pairs: 4, rttMs: 20, rateBitsPerSecond: 100e6, queueBytesMax: 250_000 })
 * const simulation = new Simulation({ stacks: [...net.senders, ...net.receivers] })
 */
export function dumbbell(options: DumbbellOptions = {}): Dumbbell {
  const { pairs = 1, rttMs = 20, tcp = {}, memory: given = MEMORY_BYTES, wrap, ...trunk } = options;
  if (!(Number.isInteger(pairs) && pairs >= 1 && pairs <= PAIRS_MAX)) {
    throw new RangeError(`dumbbell: expected 1 to ${PAIRS_MAX} pairs, got ${pairs}`);
  }
  const memory = given instanceof Memory ? given : new Memory({ bytes: given });
  const random = new Random(options.seed ?? 1);
  const router = new Router({ ...trunk, seed: random.next(), memory });
  const stack = (side: 'left' | 'right', host: number, pair: number): Stack => {
    const chance = random.fork();
    const settings = typeof tcp === 'function' ? tcp(pair) : tcp;
    const made = new Stack({ memory, random: () => chance.next(), tcp: settings, congestion: ALGORITHMS });
    const delayMs = (typeof rttMs === 'number' ? rttMs : (rttMs[pair] ?? 0)) / 2;
    const port = router.port({ side, addresses: [addressOf(host)], delayMs });
    made.addInterface(wrap?.(port, side, pair) ?? port, { addresses: [new Cidr(addressOf(host), 24)] });
    return made;
  };
  const numbers = Array.from({ length: pairs }, (_, i) => i);
  const senders = numbers.map((i) => stack('left', 1 + i, i));
  const receivers = numbers.map((i) => stack('right', 101 + i, i));
  const close = (): void => {
    for (const made of [...senders, ...receivers]) made.close();
    router.close();
  };
  return { senders, receivers, router, memory, receiverAddress: (pair) => addressOf(101 + pair), close };
}

/** 10.0.0.`host`. */
const addressOf = (host: number): IpAddress => IpAddress.v4(0x0a000000 | host);
