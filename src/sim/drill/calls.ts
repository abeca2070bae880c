/**
 * System calls of a script: arguments to `ethertype/posix`, results and errno back, compared with what the script says.
 * `...` is filled in as packetdrill does: addresses by the options, buffers with zeros. @module
 */
import { NetError } from '../../errors.ts';
import { LINUX, type SockAddr } from '../../posix/index.ts';
import type { CallAction, Expression } from './ast.ts';
import { getOption, setOption } from './dialect.ts';
import type { DrillOptions } from './options.ts';
import type { ProfileName } from './profiles.ts';
import type { ScriptCalls } from './scene.ts';
import { optionFault, optionValue } from './socket-options.ts';
import { errnoName, fieldOf, isEllipsis, numberOf, structOf, ValueError } from './values.ts';

/** What the runner is told about sockets, for packets belong to them. */
export interface CallObserver {
  opened(fd: number, type: number): void;
  bound(fd: number, port: number): void;
  listening(fd: number): void;
  /** Before a connection is opened, or a datagram socket gets its peer. */
  connecting(fd: number, address: SockAddr): void;
  accepted(fd: number, address: SockAddr): void;
  closing(fd: number): void;
}

export interface CallContext {
  readonly posix: ScriptCalls;
  readonly options: DrillOptions;
  readonly profile: ProfileName;
  readonly localIp: string;
  readonly remoteIp: string;
  readonly observer: CallObserver;
}

/** What a call gave: its number, and what is wrong with what it wrote into its arguments. */
interface Outcome {
  readonly value: number;
  readonly fault?: string | null;
}

type Handler = (calls: Calls, args: readonly Expression[]) => Promise<Outcome> | Outcome;

const BUFFER_MAX = 1 << 26;
/** The bits of a type that are no flags. */
const SOCK_TYPE_MASK = 0xf;

export class Calls {
  readonly context: CallContext;
  /** Descriptors of the script -> descriptors of the stack. */
  readonly #fds = new Map<number, number>();

  constructor(context: CallContext) {
    this.context = context;
  }

  /** The stack's descriptors that the script has open. */
  get openFds(): number[] {
    return [...this.#fds.values()];
  }

  /** Makes a call. @returns what is wrong with its outcome, or null */
  async run(action: CallAction): Promise<string | null> {
    const handler = Object.hasOwn(HANDLERS, action.name) ? HANDLERS[action.name]! : null;
    if (handler === null) return `expected a system call of this stack, got ${action.name}`;
    let outcome: Outcome;
    let errno: string | null = null;
    try {
      outcome = await handler(this, action.args);
    } catch (error) {
      if (error instanceof ValueError) return `${action.name}: ${error.message}`;
      if (!(error instanceof NetError)) throw error;
      outcome = { value: -1 };
      errno = error.code;
    }
    return this.#check(action, outcome, errno);
  }

  #check(action: CallAction, outcome: Outcome, errno: string | null): string | null {
    const { value, errno: expectedErrno } = action.result;
    const actual = errno === null ? String(outcome.value) : `-1 ${errno}`;
    if (value !== null) {
      const expected = numberOf(value);
      const text = expectedErrno === null ? String(expected) : `${expected} ${errnoName(expectedErrno)}`;
      const isSame =
        errno === null
          ? expectedErrno === null && this.#sameNumber(action.name, expected, outcome.value)
          : expected === -1 && (expectedErrno === null || errnoName(expectedErrno) === errno);
      if (!isSame) return `${action.name}: expected ${text}, got ${actual}`;
    }
    return outcome.fault ? `${action.name}: ${outcome.fault}` : null;
  }

  /** Descriptors have numbers of the script's own. */
  #sameNumber(name: string, expected: number, actual: number): boolean {
    if (!/^(?:socket|accept4?|dup|epoll_create1?)$/.test(name)) return expected === actual;
    if (expected < 0) return false;
    this.#fds.set(expected, actual);
    return true;
  }

  fd(expression: Expression | undefined): number {
    if (expression === undefined) throw new ValueError('expected a descriptor, got nothing');
    const fd = numberOf(expression);
    return this.#fds.get(fd) ?? (fd < 0 ? fd : -fd - 1);
  }

  forget(fd: number): void {
    for (const [script, live] of this.#fds) if (live === fd) this.#fds.delete(script);
  }

  /** A socket address: `...` by the options, or written out. */
  address(expression: Expression | undefined, ip: string, port: number): SockAddr {
    if (isEllipsis(expression)) return this.#usual(ip, port);
    const fields = structOf(expression, 'an address');
    const family = fieldOf(fields, 'sa_family') ?? fieldOf(fields, 'sin_family') ?? fieldOf(fields, 'sin6_family');
    const portOf = fieldOf(fields, 'sin_port') ?? fieldOf(fields, 'sin6_port');
    const text = textOf(fieldOf(fields, 'sin_addr') ?? fieldOf(fields, 'sin6_addr'));
    return {
      family: family === undefined ? this.#usual(ip, port).family : numberOf(family),
      address: text ?? ip,
      port: isEllipsis(portOf) ? port : numberOf(portOf!),
    };
  }

  #usual(ip: string, port: number): SockAddr {
    const { ipVersion } = this.context.options;
    if (ipVersion === 'ipv4') return { family: LINUX.AF_INET, address: ip, port };
    return { family: LINUX.AF_INET6, address: ipVersion === 'ipv6' ? ip : `::ffff:${ip}`, port };
  }

  remote(expression: Expression | undefined): SockAddr {
    return this.address(expression, this.context.remoteIp, this.context.options.connectPort);
  }

  domain(expression: Expression | undefined): number {
    if (!isEllipsis(expression)) return numberOf(expression!);
    return this.context.options.ipVersion === 'ipv4' ? LINUX.AF_INET : LINUX.AF_INET6;
  }
}

/** The text of `inet_addr("192.0.2.1")` or of the string alone. */
function textOf(expression: Expression | undefined): string | null {
  if (expression?.kind === 'string') return expression.value;
  if (expression?.kind === 'name' && expression.name === 'INADDR_ANY') return '0.0.0.0';
  if (expression?.kind === 'name' && expression.name === 'in6addr_any') return '::';
  if (expression?.kind !== 'call') return null;
  return expression.args.map(textOf).find((text) => text !== null) ?? null;
}

const integer = (expression: Expression | undefined, what: string): number => {
  if (expression === undefined) throw new ValueError(`expected ${what}, got nothing`);
  return numberOf(expression);
};

/** A buffer of `count` zeros, or the bytes of a string. */
function buffer(what: Expression | undefined, count: Expression | undefined): Uint8Array {
  const length = integer(count, 'a count of bytes');
  if (length < 0 || length > BUFFER_MAX) throw new ValueError(`expected at most ${BUFFER_MAX} bytes, got ${length}`);
  const bytes = new Uint8Array(length);
  if (what?.kind === 'string') bytes.set(new TextEncoder().encode(what.value).subarray(0, length));
  return bytes;
}

/** `[{..., 40}, {..., 60}]`. */
function vector(expression: Expression | undefined): Uint8Array[] {
  if (expression?.kind !== 'list') throw new ValueError(`expected buffers in [], got ${expression?.kind ?? 'nothing'}`);
  return expression.items.map((item) => {
    const fields = structOf(item, 'a buffer');
    const base = fieldOf(fields, 'iov_base') ?? fields[0]?.value;
    return buffer(base, fieldOf(fields, 'iov_len') ?? fields[1]?.value);
  });
}

const done: Outcome = { value: 0 };
const count = async (promise: Promise<number>): Promise<Outcome> => ({ value: await promise });
const blocking = (calls: Calls): ScriptCalls['blocking'] => calls.context.posix.blocking;

function openSocket(calls: Calls, args: readonly Expression[]): Outcome {
  const type = integer(args[1], 'a type');
  const fd = calls.context.posix.socket(calls.domain(args[0]), type, integer(args[2], 'a protocol'));
  calls.context.observer.opened(fd, type & SOCK_TYPE_MASK);
  return { value: fd };
}

function bind(calls: Calls, args: readonly Expression[]): Outcome {
  const fd = calls.fd(args[0]);
  const { localIp, options } = calls.context;
  const address = calls.address(args[1], localIp, options.bindPort);
  calls.context.posix.bind(fd, address);
  calls.context.observer.bound(fd, address.port);
  return done;
}

function listen(calls: Calls, args: readonly Expression[]): Outcome {
  const fd = calls.fd(args[0]);
  calls.context.posix.listen(fd, integer(args[1], 'a backlog'));
  calls.context.observer.listening(fd);
  return done;
}

async function accept(calls: Calls, args: readonly Expression[]): Promise<Outcome> {
  const listener = calls.fd(args[0]);
  const { fd, address } = await blocking(calls).accept(listener, args[3] === undefined ? 0 : numberOf(args[3]));
  calls.context.observer.accepted(fd, address);
  return { value: fd };
}

async function connect(calls: Calls, args: readonly Expression[]): Promise<Outcome> {
  const fd = calls.fd(args[0]);
  const address = calls.remote(args[1]);
  calls.context.observer.connecting(fd, address);
  await blocking(calls).connect(fd, address);
  return done;
}

/** A datagram with an address, or what is sent along with a connection's SYN. */
function sendto(calls: Calls, args: readonly Expression[]): Promise<Outcome> {
  const fd = calls.fd(args[0]);
  const bytes = buffer(args[1], args[2]);
  const flags = integer(args[3], 'flags');
  const isPlain = args[4]?.kind === 'name' || args[4]?.kind === 'number';
  const address = args[4] === undefined || isPlain ? null : calls.remote(args[4]);
  if (address !== null) calls.context.observer.connecting(fd, address);
  return count(blocking(calls).sendto(fd, bytes, flags, address));
}

async function recvfrom(calls: Calls, args: readonly Expression[]): Promise<Outcome> {
  const into = buffer(undefined, args[2]);
  return { value: (await blocking(calls).recvfrom(calls.fd(args[0]), into, integer(args[3], 'flags'))).count };
}

async function sendmsg(calls: Calls, args: readonly Expression[]): Promise<Outcome> {
  const fd = calls.fd(args[0]);
  const fields = structOf(args[1], 'a message');
  const name = fieldOf(fields, 'msg_name');
  const isPlain = name === undefined || name.kind === 'number' || name.kind === 'name';
  const message = { buffers: vector(fieldOf(fields, 'msg_iov')), address: isPlain ? null : calls.remote(name) };
  return { value: await blocking(calls).sendmsg(fd, message, integer(args[2], 'flags')) };
}

async function recvmsg(calls: Calls, args: readonly Expression[]): Promise<Outcome> {
  const fd = calls.fd(args[0]);
  const fields = structOf(args[1], 'a message');
  const result = await blocking(calls).recvmsg(fd, vector(fieldOf(fields, 'msg_iov')), integer(args[2], 'flags'));
  const flags = fieldOf(fields, 'msg_flags');
  const expected = isEllipsis(flags) ? result.flags : numberOf(flags!);
  const fault = expected === result.flags ? null : `msg_flags: expected ${expected}, got ${result.flags}`;
  return { value: result.count, fault };
}

function fcntl(calls: Calls, args: readonly Expression[]): Outcome {
  const argument = args[2] === undefined ? 0 : numberOf(args[2]);
  return { value: calls.context.posix.fcntl(calls.fd(args[0]), integer(args[1], 'a command'), argument) };
}

/** `ioctl(fd, SIOCINQ, [1000])`: the argument is what is to come back. */
function ioctl(calls: Calls, args: readonly Expression[]): Outcome {
  const request = integer(args[1], 'a request');
  const argument = isEllipsis(args[2]) ? null : numberOf(args[2]!);
  const value = calls.context.posix.ioctl(calls.fd(args[0]), request, argument ?? 0);
  const isWrong = argument !== null && request !== LINUX.FIONBIO && value !== argument;
  return { value: 0, fault: isWrong ? `expected [${argument}], got [${value}]` : null };
}

async function close(calls: Calls, args: readonly Expression[]): Promise<Outcome> {
  const fd = calls.fd(args[0]);
  calls.context.observer.closing(fd);
  await blocking(calls).close(fd);
  calls.forget(fd);
  return done;
}

function shutdown(calls: Calls, args: readonly Expression[]): Outcome {
  calls.context.posix.shutdown(calls.fd(args[0]), integer(args[1], 'how'));
  return done;
}

function setsockopt(calls: Calls, args: readonly Expression[]): Outcome {
  const level = integer(args[1], 'a level');
  const name = integer(args[2], 'an option');
  const { posix, profile } = calls.context;
  setOption(posix, profile, calls.fd(args[0]), level, name, optionValue(args[3]));
  return done;
}

function getsockopt(calls: Calls, args: readonly Expression[]): Outcome {
  const level = integer(args[1], 'a level');
  const name = integer(args[2], 'an option');
  const { posix, profile } = calls.context;
  const value = getOption(posix, profile, calls.fd(args[0]), level, name);
  return { value: 0, fault: optionFault(args[3], value) };
}

/** `poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, 0)`. */
async function poll(calls: Calls, args: readonly Expression[]): Promise<Outcome> {
  const list = args[0]?.kind === 'list' ? args[0].items : [];
  const fields = list.map((item) => structOf(item, 'a pollfd'));
  const fds = fields.map((field) => ({
    fd: calls.fd(fieldOf(field, 'fd')),
    events: integer(fieldOf(field, 'events'), 'events'),
    revents: 0,
  }));
  const value = await blocking(calls).poll(fds, integer(args[2], 'a timeout'));
  for (const [i, field] of fields.entries()) {
    const revents = fieldOf(field, 'revents');
    const expected = isEllipsis(revents) ? fds[i]!.revents : numberOf(revents!);
    if (expected !== fds[i]!.revents) return { value, fault: `revents: expected ${expected}, got ${fds[i]!.revents}` };
  }
  return { value };
}

/** `{events=EPOLLIN, fd=4}`: what the caller wants to find again is a number of his, by whichever name. */
function epollEvent(calls: Calls, expression: Expression | undefined): { events: number; data: number | null } {
  const fields = structOf(expression, 'an epoll_event');
  const events = fieldOf(fields, 'events');
  const fd = fieldOf(fields, 'fd');
  const data = fd ?? fieldOf(fields, 'ptr') ?? fieldOf(fields, 'u32') ?? fieldOf(fields, 'u64');
  const number = fd === undefined || isEllipsis(fd) ? null : calls.fd(fd);
  const plain = data === undefined || isEllipsis(data) ? null : numberOf(data);
  return { events: events === undefined || isEllipsis(events) ? 0 : numberOf(events), data: number ?? plain };
}

function epollCtl(calls: Calls, args: readonly Expression[]): Outcome {
  const fd = calls.fd(args[2]);
  const isPlain = args[3] === undefined || args[3].kind === 'name' || args[3].kind === 'number';
  const event = isPlain ? { events: 0, data: null } : epollEvent(calls, args[3]);
  const operation = integer(args[1], 'an operation');
  calls.context.posix.epollCtl(calls.fd(args[0]), operation, fd, { ...event, data: event.data ?? fd });
  return done;
}

/** `epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 100)`: the events are what is to come back. */
async function epollWait(calls: Calls, args: readonly Expression[]): Promise<Outcome> {
  const most = integer(args[2], 'a count of events');
  const found = await blocking(calls).epollWait(calls.fd(args[0]), most, integer(args[3], 'a timeout'));
  const items = args[1]?.kind === 'list' ? args[1].items : [args[1]];
  const expected = items.filter((item) => item?.kind === 'struct').slice(0, found.length);
  for (const [i, item] of expected.entries()) {
    const { events, data } = epollEvent(calls, item);
    const got = found[i]!;
    const isSame = (events === 0 || events === got.events) && (data === null || data === got.data);
    if (!isSame) return { value: found.length, fault: `expected events ${events}, got ${got.events} of ${got.data}` };
  }
  return { value: found.length };
}

const HANDLERS: Readonly<Record<string, Handler>> = {
  socket: openSocket,
  bind,
  listen,
  accept,
  accept4: accept,
  connect,
  read: (calls, args) => count(blocking(calls).read(calls.fd(args[0]), buffer(undefined, args[2]))),
  readv: (calls, args) => count(blocking(calls).readv(calls.fd(args[0]), vector(args[1]))),
  recv: (calls, args) =>
    count(blocking(calls).recv(calls.fd(args[0]), buffer(undefined, args[2]), integer(args[3], 'flags'))),
  recvfrom,
  recvmsg,
  write: (calls, args) => count(blocking(calls).write(calls.fd(args[0]), buffer(args[1], args[2]))),
  writev: (calls, args) => count(blocking(calls).writev(calls.fd(args[0]), vector(args[1]))),
  send: (calls, args) =>
    count(blocking(calls).send(calls.fd(args[0]), buffer(args[1], args[2]), integer(args[3], 'flags'))),
  sendto,
  sendmsg,
  fcntl,
  ioctl,
  close,
  shutdown,
  setsockopt,
  getsockopt,
  poll,
  epoll_create: (calls) => ({ value: calls.context.posix.epollCreate() }),
  epoll_create1: (calls, args) => ({ value: calls.context.posix.epollCreate(integer(args[0], 'flags')) }),
  epoll_ctl: epollCtl,
  epoll_wait: epollWait,
};

export const isStream = (type: number): boolean => type === LINUX.SOCK_STREAM;
