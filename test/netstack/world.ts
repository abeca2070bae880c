/** One stack under test, as a host or behind a channel, and a peer on a wire that the test holds, in virtual time. */
import {
  createHost,
  type Host,
  type RawSocket,
  type TcpListener,
  type TcpStream,
  type UdpSocket,
} from '../../src/index.ts';
import {
  type Channel,
  Driver,
  Netstack,
  type NetstackConfig,
  Pipe,
  PipeDev,
  rawOpen,
  tcpConnect,
  tcpListen,
  udpBind,
} from '../../src/netstack/index.ts';
import { Random } from '../../src/phy/random.ts';
import { VirtualClock } from '../../src/sim/clock.ts';
import type { BindOptions, ConnectOptions, ListenOptions } from '../../src/sockets/host-sockets.ts';
import type { RawOpenOptions } from '../../src/sockets/raw-socket.ts';
import type { Stack } from '../../src/stack.ts';
import { inTime } from '../hosts.ts';

export const SUBJECT = '10.0.0.2';
export const PEER = '10.0.0.1';

export interface Subject {
  readonly kind: 'host' | 'channel';
  readonly stack: Stack;
  /** Null for a host. */
  readonly channel: Channel | null;
  listen(options: Omit<ListenOptions, 'tcp'>): Promise<TcpListener>;
  connect(options: Omit<ConnectOptions, 'tcp'>): Promise<TcpStream>;
  bind(options?: BindOptions): Promise<UdpSocket>;
  open(options: RawOpenOptions): Promise<RawSocket>;
  setAddresses(addresses: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

export interface World {
  readonly clock: VirtualClock;
  readonly subject: Subject;
  readonly peer: Host;
  /** Packets that the subject sent, oldest first. */
  readonly sent: Uint8Array[];
  /** Set: packets are lost instead of passed on. */
  wire: { isCut: boolean };
  /** Gives the subject a packet. */
  inject(packet: Uint8Array): void;
  /** Lets time run until `promise` settles. */
  run<T>(promise: Promise<T>, maxMs?: number): Promise<T>;
  /** Lets so much time pass. */
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

export interface WorldOptions {
  readonly mtu?: number;
  readonly seed?: number;
  /** Packets that may wait in each direction; default unbounded. */
  readonly packets?: number;
  readonly config?: NetstackConfig;
}

function hostSubject(device: PipeDev, clock: VirtualClock, random: () => number): Subject {
  const host = createHost({ device, addresses: [`${SUBJECT}/24`], clock, random });
  const { stack } = host;
  return {
    kind: 'host',
    stack,
    channel: null,
    listen: (options) => host.tcp.listen(options),
    connect: (options) => host.tcp.connect(options),
    bind: (options) => host.udp.bind(options),
    open: (options) => host.raw.open(options),
    setAddresses: async (addresses) => {
      const { Cidr } = await import('../../src/index.ts');
      const wanted = addresses.map((text) => Cidr.parse(text));
      for (const { address } of [...host.iface!.addresses]) stack.removeAddress(host.iface!, address);
      for (const cidr of wanted) stack.addAddress(host.iface!, cidr);
    },
    close: () => host.close(),
  };
}

function channelSubject(device: PipeDev, clock: VirtualClock, random: () => number, config?: NetstackConfig): Subject {
  const netstack = new Netstack({ addresses: [`${SUBJECT}/24`], mtu: device.mtu, random, ...config }, clock.now());
  const driver = new Driver(netstack, device, clock).run();
  const channel = netstack.commandChannel();
  return {
    kind: 'channel',
    stack: netstack.stack,
    channel,
    listen: (options) => tcpListen(channel, options),
    connect: (options) => tcpConnect(channel, options),
    bind: (options) => udpBind(channel, options),
    open: (options) => rawOpen(channel, options),
    setAddresses: (addresses) => channel.setAddresses(addresses),
    close: async () => driver.close(),
  };
}

export function makeWorld(kind: Subject['kind'], options: WorldOptions = {}): World {
  const { mtu = 1500, seed = 1, packets, config } = options;
  const clock = new VirtualClock();
  const draw = (n: number): (() => number) => {
    const random = new Random(n);
    return () => random.next();
  };
  const pipes = (): [Pipe, Pipe] => (packets === undefined ? Pipe.unbounded() : Pipe.bounded(packets));
  const [subjectEnd, toSubject] = pipes();
  const [peerEnd, toPeer] = pipes();
  const wire = { isCut: false };
  const sent: Uint8Array[] = [];
  const pass = (from: Pipe, to: Pipe, log: Uint8Array[] | null): void => {
    // What finds no room stays in its pipe, and its sender waits.
    while (from.rx.length > 0 && (wire.isCut || to.tx.room > 0)) {
      const packet = from.rx.tryReceive()!;
      if (packets === undefined) log?.push(packet);
      if (!wire.isCut) to.tx.trySend(packet);
    }
  };
  const forth = (): void => pass(toSubject, toPeer, sent);
  const back = (): void => pass(toPeer, toSubject, null);
  toSubject.rx.onPacket = forth;
  toPeer.tx.onRoom = forth;
  toPeer.rx.onPacket = back;
  toSubject.tx.onRoom = back;
  const device = new PipeDev({ pipe: subjectEnd, mtu });
  const subject =
    kind === 'host' ? hostSubject(device, clock, draw(seed)) : channelSubject(device, clock, draw(seed), config);
  const peer = createHost({
    device: new PipeDev({ pipe: peerEnd, mtu }),
    addresses: [`${PEER}/24`],
    clock,
    random: draw(seed + 1),
  });
  const run = <T>(promise: Promise<T>, maxMs?: number): Promise<T> => inTime(clock, promise, maxMs);
  return {
    clock,
    subject,
    peer,
    sent,
    wire,
    inject: (packet) => void toSubject.tx.trySend(packet),
    run,
    pass: async (ms) => {
      await clock.run({ settle: () => new Promise((resolve) => setImmediate(resolve)), maxMs: ms });
    },
    close: async () => {
      wire.isCut = false;
      await run(Promise.all([subject.close(), peer.close()]));
    },
  };
}
