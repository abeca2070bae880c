/** Bulk transfers over a simulated bottleneck: what of them arrives. @module */
import { READABLE, WRITABLE } from '../../src/core.ts';
import type { Device } from '../../src/phy/device.ts';
import type { FaultSettings } from '../../src/phy/faults.ts';
import { dumbbell } from '../../src/sim/dumbbell.ts';
import { Simulation } from '../../src/sim/simulation.ts';
import type { CongestionName, TcpSettings } from '../../src/tcp/settings.ts';
import type { TcpSocket } from '../../src/tcp/socket.ts';

const PORT = 5001;
const PIECE = new Uint8Array(65_536);
const scratch = new Uint8Array(65_536);

export interface Bulk {
  /** The algorithm of all flows, or of each. */
  readonly congestion: CongestionName | readonly CongestionName[];
  readonly rttMs: number | readonly number[];
  /** How long it runs from the first SYN. */
  readonly seconds: number;
  /** Every flow has a sender and a receiver of its own. Default 1. */
  readonly flows?: number;
  /** Flow i begins so much after the one before. Default 0. */
  readonly staggerMs?: number;
  /** Both buffers of each end. Default: six bandwidth-delay products, 256 KiB to 16 MiB: a segment lost three times must not fill them. */
  readonly bufferBytes?: number;
  /** The bottleneck, from the senders on; the way back only has the rate. */
  readonly path?: FaultSettings;
  readonly tcp?: Partial<TcpSettings>;
  readonly seed?: number;
  /** The way back loses as much as the way there. Default false. */
  readonly losesAcks?: boolean;
  /** Put between a sender and the network. */
  readonly wrap?: (port: Device) => Device;
  /** Ends the run once so many bytes have arrived in all. */
  readonly bytes?: number;
}

export interface BulkResult {
  /** Bytes that arrived in order, by flow. */
  readonly flowBytes: readonly number[];
  /** Octets a second of all flows together. */
  readonly goodput: number;
  readonly ms: number;
  readonly retransmits: number;
  readonly timeouts: number;
  /** Frames that the bottleneck's queue had no room for. */
  readonly overflowed: number;
  readonly segments: number;
}

/** Jain's index (DEC-TR-301, 1984): 1 where all have the same, 1/n where one has all. */
export const jain = (shares: readonly number[]): number =>
  shares.reduce((sum, x) => sum + x, 0) ** 2 / (shares.length * shares.reduce((sum, x) => sum + x * x, 0));

/** Runs bulk flows and tells what came of them. */
export function runBulk(bulk: Bulk): BulkResult {
  const { flows = 1, path = {}, seed = 1, bytes = Number.POSITIVE_INFINITY } = bulk;
  const { rateBitsPerSecond = Number.POSITIVE_INFINITY } = path;
  const rttMax = typeof bulk.rttMs === 'number' ? bulk.rttMs : Math.max(...bulk.rttMs);
  const enough = Math.min(Math.max((6 * rateBitsPerSecond * rttMax) / 8000, 1 << 18), 1 << 24);
  const bufferBytes = bulk.bufferBytes ?? enough;
  const congestionOf = (i: number): CongestionName =>
    typeof bulk.congestion === 'string' ? bulk.congestion : bulk.congestion[i]!;
  const buffers = { sendBufferBytes: bufferBytes, receiveBufferBytes: bufferBytes };
  const net = dumbbell({
    pairs: flows,
    rttMs: bulk.rttMs,
    seed,
    tcp: (pair) => ({ ...buffers, congestion: congestionOf(pair), ...bulk.tcp }),
    memory: 512 << 20,
    heldFramesMax: 1 << 15,
    forward: path,
    backward: {
      rateBitsPerSecond,
      queueBytesMax: 1 << 24,
      ...(bulk.losesAcks === true && path.drop !== undefined ? { drop: path.drop } : {}),
    },
    wrap: (port, side) => (side === 'left' ? (bulk.wrap?.(port) ?? port) : port),
  });
  const flowBytes = new Array<number>(flows).fill(0);
  let total = 0;
  const listeners = net.receivers.map((stack) => {
    const listener = stack.tcpSocket();
    listener.listen({ port: PORT });
    return listener;
  });
  const simulation = new Simulation({
    stacks: [...net.senders, ...net.receivers],
    onChanged: (changed) => {
      const socket = changed as TcpSocket;
      const events = socket.takeEvents();
      const listening = listeners.indexOf(socket);
      if (listening >= 0) {
        const accepted = socket.accept();
        if (accepted !== null) accepted.owner = listening;
        return;
      }
      if ((events & READABLE) !== 0 && socket.owner !== null) {
        for (let count = socket.recv(scratch); count > 0; count = socket.recv(scratch)) {
          flowBytes[socket.owner as number]! += count;
          total += count;
        }
      }
      if ((events & WRITABLE) !== 0 && socket.owner === null) fill(socket);
    },
  });
  net.senders.forEach((stack, i) => {
    simulation.clock.setTimer(1 + i * (bulk.staggerMs ?? 0), () => {
      const socket = stack.tcpSocket();
      socket.connect({ address: net.receiverAddress(i), port: PORT });
      fill(socket);
    });
  });
  const since = simulation.now;
  simulation.run(since + bulk.seconds * 1000, () => total >= bytes);
  const ms = simulation.now - since;
  const sum = (of: (stats: (typeof net.senders)[number]['stats']) => number): number =>
    simulation.stacks.reduce((n, stack) => n + of(stack.stats), 0);
  const result: BulkResult = {
    flowBytes,
    goodput: Math.round((total * 1000) / ms),
    ms,
    retransmits: sum((stats) => stats.tcpRetransmits),
    timeouts: sum((stats) => stats.tcpTimeouts),
    overflowed: net.router.stats.forward.overflowed,
    segments: sum((stats) => stats.tcpSegmentsOut),
  };
  net.close();
  if (net.memory.usedBytes !== 0) throw new Error(`${net.memory.usedBytes} bytes are still held`);
  return result;
}

function fill(socket: TcpSocket): void {
  while (socket.send(PIECE) === PIECE.length);
}
