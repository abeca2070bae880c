/**
 * What a thread may write into the memory it shares with a stack, by mistake or on purpose: the stack's thread never throws,
 * stops or reads beyond its rings; the client is ended and counted, its slot kept from others, and all others go on.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openStream } from '../../src/netstack/command-sockets.ts';
import {
  ANSWERS_HEAD,
  ANSWERS_TAIL,
  BUSY,
  COMMANDS_HEAD,
  COMMANDS_IN,
  COMMANDS_OUT,
  COMMANDS_TAIL,
  DOORBELL,
  EVENT,
  PENDING,
  type Slot,
} from '../../src/netstack/control.ts';
import {
  Channel,
  type ChannelData,
  Driver,
  Netstack,
  pipedPair,
  tcpConnect,
  tcpListen,
  udpBind,
} from '../../src/netstack/index.ts';
import { encode, RecordRing } from '../../src/netstack/record-ring.ts';
import {
  KICKED,
  RX_BLOCKED,
  RX_ERROR,
  RX_HEAD,
  RX_TAIL,
  RX_WAITS,
  TX_HEAD,
  TX_TAIL,
  TX_WAITS,
} from '../../src/netstack/stream-rings.ts';
import { TcpStream } from '../../src/sockets/tcp-stream.ts';
import { readAll } from '../hosts.ts';
import { randomOf } from '../random.ts';
import { nextMessage, start, until } from './roles.ts';
import { OTHER, OWN } from './suite.ts';

const settle = (ms = 2): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Numbers that positions, lengths and flags may be forged to. */
const FORGED = [-1, 1, 2, 3, 7, 1 << 12, 123_456, 1 << 20, 0x3fffffff, 0x7ffffffc, 0x7fffffff, -0x80000000, -4, -17];

interface Scene {
  readonly own: Driver;
  readonly other: Driver;
  /** A client that does nothing wrong. */
  readonly good: Channel;
  /** Its words are there to be written. */
  readonly data: ChannelData;
  readonly words: Int32Array;
  readonly slot: Slot;
  damaged(): number;
  /** The good client is served. */
  goesOn(): Promise<void>;
  end(): Promise<void>;
}

function scene(config: object = {}): Scene {
  const [own, other] = pipedPair({ addresses: [`${OWN}/24`], ...config }, { addresses: [`${OTHER}/24`] });
  own.run();
  other.run();
  const good = Channel.from(own.commandChannel().share().channel);
  const { channel: data } = own.commandChannel().share();
  const { netstack } = own;
  const damaged = (): number => netstack.channelStats().clientsDamaged;
  const goesOn = async (): Promise<void> => {
    const socket = await udpBind(good, { port: 53 });
    const receive = socket.receive();
    await socket.send(Uint8Array.of(5), { host: OWN, port: 53 });
    assert.deepEqual((await receive).data, Uint8Array.of(5));
    await socket.close();
  };
  const end = async (): Promise<void> => {
    await goesOn();
    good.close();
    data.port!.close();
    await until(() => netstack.socketCount === 0, 'all sockets are closed');
    own.close();
    other.close();
    assert.equal(netstack.memory.usedBytes, 0);
  };
  const slot = netstack.control!.slot(data.slot);
  return { own, other, good, data, words: new Int32Array(data.control!), slot, damaged, goesOn, end };
}

/** Has the stack look at a slot. */
function ring({ words, slot, own }: Scene): void {
  Atomics.or(words, PENDING, 1 << slot.index);
  own.netstack.control!.ringDoorbell();
}

const bytesAt = ({ data }: Scene): Uint8Array => new Uint8Array(data.control!);

/** The commands of a client, written by hand. */
const commandsOf = (there: Scene): RecordRing => {
  const { words, slot, own } = there;
  const { ringBytes } = own.netstack.control!;
  const { word, commandsAt } = slot;
  return new RecordRing(words, bytesAt(there), commandsAt, ringBytes, word + COMMANDS_HEAD, word + COMMANDS_TAIL);
};

for (const [name, word] of Object.entries({
  COMMANDS_TAIL,
  COMMANDS_HEAD,
  ANSWERS_HEAD,
  ANSWERS_TAIL,
  COMMANDS_IN,
  COMMANDS_OUT,
})) {
  test(`forged ${name}: the stack goes on`, { timeout: 30_000 }, async () => {
    for (const value of FORGED) {
      const there = scene();
      const { words, slot, damaged } = there;
      const victim = Channel.from(there.data);
      const receive = (await udpBind(victim, { port: 70 })).receive();
      receive.catch(() => {});
      await settle();
      Atomics.store(words, slot.word + word, value);
      if (name !== 'COMMANDS_TAIL') victim.request({ kind: 'get-stats' }).catch(() => {});
      ring(there);
      await there.goesOn();
      await there.goesOn();
      if (name === 'COMMANDS_TAIL') assert.equal(damaged(), 1, `${value}`);
      if (damaged() > 0) {
        await assert.rejects(receive, { code: 'ENETDOWN' });
        assert.ok(victim.isClosed);
        await assert.rejects(udpBind(victim), { code: 'ENETDOWN' });
      }
      victim.close();
      await there.end();
    }
  });
}

test('garbage in all the words and rings of a slot, of a seed: others go on, and all is given back', {
  timeout: 60_000,
}, async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = randomOf(seed);
    const there = scene({ channelBytes: 1 << 12 });
    const { words, slot, own } = there;
    const commands = commandsOf(there);
    for (let round = 0; round < 30; round++) {
      const count = random.below(4);
      for (let i = 0; i < count; i++) commands.push(random.below(9), encode({ kind: 'get-addresses' }));
      const from = slot.commandsAt >> 2;
      const value = (): number => (random.below(2) === 0 ? FORGED[random.below(FORGED.length)]! : random.below(64));
      for (let i = random.below(20); i > 0; i--) words[from + random.below(2048)] = value();
      if (random.below(3) === 0) Atomics.store(words, slot.word + random.below(64), value());
      ring(there);
      if (round % 10 === 0) await there.goesOn();
      else await Promise.resolve();
    }
    assert.ok(own.isRunning);
    await there.end();
  }
});

/** A connection of the slot's client, with rings: where their words stand. */
async function streamOf(there: Scene): Promise<{ victim: Channel; w: number; memory: Int32Array; handle: number }> {
  const victim = Channel.from(there.data);
  (await udpBind(victim)).receive().catch(() => {}); // somebody waits, and is told
  const { handle, rings } = await victim.request({ kind: 'tcp-connect', host: OTHER, port: 80 });
  return { victim, handle, w: rings!.offset >> 2, memory: new Int32Array(there.data.memory!) };
}

for (const [name, word] of Object.entries({
  TX_TAIL,
  TX_HEAD,
  RX_HEAD,
  RX_TAIL,
  RX_ERROR,
  RX_BLOCKED,
  KICKED,
  RX_WAITS,
  TX_WAITS,
})) {
  test(`forged ${name} of a stream: what others send and receive is untouched`, { timeout: 60_000 }, async () => {
    for (const value of FORGED) {
      const there = scene();
      const listener = await tcpListen(there.other, { port: 80 });
      const { victim, w, memory, handle } = await streamOf(there);
      const theirs = await listener.accept();
      const stream = await tcpConnect(there.good, { host: OTHER, port: 80 });
      const peer = await listener.accept();
      Atomics.store(memory, w + word, value);
      victim.caller.note(handle);
      victim.caller.flush();
      await theirs.write(new Uint8Array(100_000)).catch(() => {});
      const data = new Uint8Array(200_000).map((_, i) => i * 13);
      const [got] = await Promise.all([readAll(peer), stream.write(data).then(() => stream.end())]);
      assert.deepEqual(got, data);
      Atomics.store(memory, w + word, value);
      victim.caller.note(handle);
      victim.caller.flush();
      await settle();
      await Promise.all([peer.close(), stream.close(), theirs.close(), listener.close()]);
      const cannotBe = (name === 'TX_TAIL' || name === 'RX_HEAD') && (value < 0 || value > 1 << 21);
      if (cannotBe) await until(() => there.damaged() === 1 && victim.isClosed, `${value}: it is ended`);
      victim.close();
      await there.end();
    }
  });
}

test('a client that keeps on saying that it has read does not hold the stack up', { timeout: 30_000 }, async () => {
  const there = scene();
  const listener = await tcpListen(there.other, { port: 80 });
  const { victim, w, memory } = await streamOf(there);
  const theirs = await listener.accept();
  void theirs.write(new Uint8Array(4 << 20)).catch(() => {});
  for (let i = 0; i < 200; i++) {
    Atomics.store(memory, w + RX_BLOCKED, 0);
    Atomics.store(memory, w + KICKED, 0);
    await Promise.resolve();
  }
  await there.goesOn();
  theirs.abort();
  await listener.close();
  victim.close();
  await there.end();
});

for (const isBusy of [false, true]) {
  test(`a stack that is closed ${isBusy ? 'gives away no rings in which a thread was stopped' : 'gives its rings back'}`, async () => {
    const there = scene();
    const listener = await tcpListen(there.other, { port: 80 });
    await streamOf(there);
    if (isBusy) Atomics.store(there.words, there.slot.word + BUSY, 1);
    const since = performance.now();
    there.own.close();
    assert.ok(performance.now() - since < 1000);
    there.other.close();
    assert.equal(there.own.netstack.memory.usedBytes > 0, isBusy);
    await listener.close();
    there.good.close();
    there.data.port!.close();
  });
}

for (const [name, word] of Object.entries({ TX_HEAD, RX_TAIL })) {
  test(`forged ${name}: the client’s thread, too, writes and reads in its rings only, and is told`, async () => {
    for (const value of [-1, -0x80000000, 0x7fffffff, 1 << 27]) {
      const there = scene();
      const listener = await tcpListen(there.other, { port: 80 });
      const victim = Channel.from(there.data);
      const opened = await victim.request({ kind: 'tcp-connect', host: OTHER, port: 80 });
      const socket = openStream(victim.caller, opened);
      const stream = new TcpStream(socket, socket);
      const memory = new Int32Array(there.data.memory!);
      Atomics.store(memory, (opened.rings!.offset >> 2) + word, value);
      const call = name === 'TX_HEAD' ? stream.write(new Uint8Array(3 << 20)) : stream.read();
      await assert.rejects(call, { code: 'ENETDOWN' });
      assert.ok(victim.isClosed);
      await listener.close();
      await there.end();
    }
  });
}

test('a slot whose thread wrote what cannot be is nobody else’s until that thread is gone', async () => {
  const there = scene({ clients: 2 });
  const { own, words, slot, data } = there;
  commandsOf(there).push(1, encode({ kind: 'udp-bind', port: 70 }));
  ring(there);
  await until(() => own.netstack.socketCount === 1, 'it is open');
  Atomics.store(words, slot.word + COMMANDS_TAIL, 123_456);
  ring(there);
  await until(() => there.damaged() === 1 && own.netstack.socketCount === 0, 'it is ended');
  assert.throws(() => own.commandChannel().share(), { code: 'EMFILE' });
  // It writes on, and nobody minds.
  for (const value of FORGED) {
    words.fill(value, slot.commandsAt >> 2, slot.answersAt >> 2);
    Atomics.store(words, slot.word + COMMANDS_TAIL, value);
    ring(there);
    await there.goesOn();
  }
  assert.equal(there.damaged(), 1, 'counted once');
  data.port!.close();
  await until(() => {
    try {
      Channel.from(own.commandChannel().share().channel).close();
      return true;
    } catch {
      return false;
    }
  }, 'the slot is free again');
  await there.end();
});

test('one that was posted as it was gives its slot back itself, when it has seen that it was ended', async () => {
  const netstack = new Netstack({ clients: 1 });
  const driver = new Driver(netstack).run();
  const attach = (): Channel => Channel.from(structuredClone(netstack.commandChannel()));
  const victim = attach();
  const socket = await udpBind(victim, { port: 70 });
  const receive = socket.receive();
  receive.catch(() => {});
  const words = new Int32Array(netstack.control!.buffer);
  const slot = netstack.control!.slot(0);
  Atomics.store(words, slot.word + COMMANDS_TAIL, -4);
  Atomics.or(words, PENDING, 1);
  netstack.control!.ringDoorbell();
  await assert.rejects(receive, { code: 'ENETDOWN' });
  const next = attach();
  await (await udpBind(next, { port: 70 })).close();
  next.close();
  driver.close();
  assert.equal(netstack.memory.usedBytes, 0);
});

test('a client whose answers are damaged is told, and throws nothing elsewhere', async () => {
  const there = scene();
  const victim = Channel.from(there.data);
  const socket = await udpBind(victim, { port: 70 });
  const receive = socket.receive();
  receive.catch(() => {});
  await settle();
  there.words.fill(0x7f7f7f7f, there.slot.answersAt >> 2, (there.slot.answersAt >> 2) + 1024);
  Atomics.store(there.words, there.slot.word + ANSWERS_TAIL, 0x7f7f7f7c);
  there.own.netstack.control!.ringClient(there.slot.word);
  await assert.rejects(receive, { code: 'ENETDOWN' });
  await there.end();
});

test('a client that takes no answers is asked no more, and nothing of it is lost', { timeout: 30_000 }, async () => {
  const there = scene({ channelBytes: 1 << 12 });
  const { words, slot, own } = there;
  const { ringBytes } = own.netstack.control!;
  const commands = commandsOf(there);
  const encoded = encode({ kind: 'get-addresses' });
  let sent = 0;
  let refused = 0;
  while (refused < 200) {
    if (commands.push(sent + 1, encoded)) {
      sent++;
    } else {
      refused++;
      ring(there);
      await there.goesOn();
    }
    assert.ok(sent < 10_000, 'answers are kept without an end');
  }
  const { word, answersAt } = slot;
  const answers = new RecordRing(words, bytesAt(there), answersAt, ringBytes, word + ANSWERS_HEAD, word + ANSWERS_TAIL);
  const ids: number[] = [];
  const taken = { message: (id: number) => ids.push(id), note: () => {} };
  while (ids.length < sent) {
    while (answers.take(taken));
    ring(there);
    await there.goesOn();
  }
  assert.deepEqual(
    ids,
    Array.from({ length: sent }, (_, i) => i + 1),
  );
  await there.end();
});

test('notes without an end hold up no other client', async () => {
  const there = scene();
  const commands = commandsOf(there);
  for (let round = 0; round < 20; round++) {
    while (commands.pushNote(1 << 20, 0));
    ring(there);
    await there.goesOn();
  }
  assert.equal(there.damaged(), 0);
  await there.end();
});

test('one client with very many commands has one turn as any other', async () => {
  const netstack = new Netstack();
  const [busy, calm] = [0, 0].map(() => Channel.from(netstack.commandChannel().share().channel));
  for (let i = 0; i < 32; i++) busy!.requestNonblocking({ kind: 'get-addresses' });
  const answer = calm!.request({ kind: 'get-addresses' });
  await Promise.resolve();
  for (let i = 0; i < 2; i++) netstack.processOneCommand(netstack.waitForCommandBlocking(0)!);
  assert.equal((await answer).kind, 'addresses');
  busy!.close();
  calm!.close();
  netstack.close();
});

test('counters that wrap at 2^31 and 2^32 lose nothing', { timeout: 30_000 }, async () => {
  for (const at of [0x7fffffff - 40, -40]) {
    const there = scene();
    const { words, slot, own } = there;
    const client = Channel.from(there.data);
    for (const word of [COMMANDS_IN, COMMANDS_OUT, EVENT]) Atomics.store(words, slot.word + word, at);
    Atomics.store(own.netstack.control!.bell, DOORBELL, at);
    for (let i = 0; i < 100; i++) assert.equal((await client.request({ kind: 'get-addresses' })).addresses.length, 1);
    client.close();
    await there.end();
  }
});

/** What a thread has done of a call when it is terminated. */
const STEPS: Record<string, (there: Scene) => Promise<void> | void> = {
  'before it has attached': () => {},
  'when it has a slot': ({ data }) => void Channel.from(data),
  'with a record that it has not told of': (there) => {
    const { words, slot } = there;
    const commands = commandsOf(there);
    commands.push(1, encode({ kind: 'udp-bind', port: 70 }));
    Atomics.store(words, slot.word + COMMANDS_TAIL, 0);
  },
  'with a record for which it has not rung': (there) =>
    void commandsOf(there).push(1, encode({ kind: 'udp-bind', port: 70 })),
  'when it has said so, and not rung': (there) => {
    commandsOf(there).push(1, encode({ kind: 'udp-bind', port: 70 }));
    Atomics.or(there.words, PENDING, 1 << there.slot.index);
  },
  'between the end of a ring and its beginning': (there) => {
    there.words[there.slot.commandsAt >> 2] = -1;
    Atomics.store(there.words, there.slot.word + COMMANDS_TAIL, there.own.netstack.control!.ringBytes);
    ring(there);
  },
  'with an answer that it has not taken': async (there) => {
    commandsOf(there).push(1, encode({ kind: 'udp-bind', port: 70 }));
    ring(there);
    await until(() => there.own.netstack.socketCount === 1, 'it is open');
  },
  'with bytes that it has not told of': async (there) => {
    const { memory, w } = await streamOf(there);
    memory.fill(0x01010101, w + 64, w + 128);
  },
  'with bytes for which it has not rung': async (there) => {
    const { memory, w } = await streamOf(there);
    Atomics.store(memory, w + TX_TAIL, 256);
    Atomics.store(memory, w + KICKED, 1);
  },
  'with bytes that it was told of': async (there) => {
    const { memory, w, handle, victim } = await streamOf(there);
    Atomics.store(memory, w + RX_WAITS, 1);
    Atomics.store(memory, w + TX_TAIL, 256);
    victim.caller.note(handle);
    victim.caller.flush();
    await settle();
  },
};

for (const [name, step] of Object.entries(STEPS)) {
  test(`a thread that ends ${name} leaves nothing, and its slot is free`, { timeout: 20_000 }, async () => {
    const there = scene({ clients: 2 });
    const listener = there.other.netstack.stack.tcpSocket();
    listener.listen({ port: 80 });
    await step(there);
    there.data.port!.close();
    await until(() => there.own.netstack.socketCount === 0, 'its sockets are closed');
    let next: Channel | null = null;
    await until(() => {
      try {
        next = Channel.from(there.own.commandChannel().share().channel);
        return true;
      } catch {
        return false;
      }
    }, 'its slot is free');
    await (await udpBind(next!, { port: 70 })).close();
    next!.close();
    assert.equal(there.damaged(), 0);
    await there.end();
  });
}

test('a thread that is terminated in the middle of whatever it does leaves nothing', { timeout: 60_000 }, async () => {
  const random = randomOf(3);
  const [own, other] = pipedPair({ addresses: [`${OWN}/24`] }, { addresses: [`${OTHER}/24`] });
  own.run();
  other.run();
  const listener = await tcpListen(other, { port: 80 });
  const serving = (async () => {
    for await (const stream of listener)
      void readAll(stream).then(
        () => stream.close(),
        () => stream.close(),
      );
  })();
  for (let round = 0; round < 6; round++) {
    const worker = start('busy', [own.commandChannel().share()]);
    assert.equal(await nextMessage(worker), 'busy');
    await settle(random.below(30));
    await worker.terminate();
    await until(() => own.netstack.socketCount === 0, 'its sockets are closed');
  }
  assert.equal(own.netstack.channelStats().clientsDamaged, 0);
  await listener.close();
  await serving;
  own.close();
  other.close();
  assert.equal(own.netstack.memory.usedBytes, 0);
});

test('a message on a port that is as long as a stack could be kept busy with is one error', async () => {
  const netstack = new Netstack({ shared: false });
  const driver = new Driver(netstack).run();
  const { channel } = netstack.commandChannel().share();
  const port = channel.port!;
  const answer = new Promise<unknown>((resolve) => {
    port.onmessage = ({ data }) => resolve(data);
  });
  const since = performance.now();
  const sparse: unknown[] = [];
  sparse.length = 4e9;
  port.postMessage(sparse);
  assert.match(JSON.stringify(await answer), /EPROTO/);
  assert.ok(performance.now() - since < 2000);
  assert.equal(netstack.channelStats().foreignMessages, 1);
  driver.close();
  port.close();
});
