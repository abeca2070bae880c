/** Every call in every state of a socket, against what Linux answers there. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { at, bytesOf, CLIENT, codeOf, NOBODY, PORT, PosixPair, SERVER, UNSPECIFIED } from '../../test/posix.ts';
import { type Answers, TCP_ANSWERS, UDP_ANSWERS } from '../../test/posix-answers.ts';
import { NetError } from '../errors.ts';
import { LINUX as L, type PollFd, type Posix } from './index.ts';

type State = (pair: PosixPair) => number;
type Call = (posix: Posix, fd: number) => unknown;

/** A port that nobody serves. */
const CLOSED_PORT = 9;

function refused(pair: PosixPair): number {
  const fd = pair.stream();
  codeOf(() => pair.client.connect(fd, at(SERVER, CLOSED_PORT)));
  pair.settle();
  return fd;
}

function listening(pair: PosixPair): number {
  const fd = pair.stream();
  pair.client.bind(fd, at('0.0.0.0', PORT));
  pair.client.listen(fd, 2);
  return fd;
}

/** A connection of the client's, after `steps` of both ends; what each did reaches the other before the next. */
const connected =
  (...steps: ((pair: PosixPair, fd: number, peer: number) => unknown)[]): State =>
  (pair) => {
    const { fd, peer } = pair.connected();
    for (const step of steps) {
      step(pair, fd, peer);
      pair.settle();
    }
    return fd;
  };

const shut = (how: number) => (pair: PosixPair, fd: number) => pair.client.shutdown(fd, how);
const peerShuts = (pair: PosixPair, _: number, peer: number): unknown => pair.server.shutdown(peer, L.SHUT_WR);
const peerSends = (pair: PosixPair, _: number, peer: number): unknown => pair.server.write(peer, bytesOf('abc'));
const peerResets = (pair: PosixPair, _: number, peer: number): unknown => pair.reset(peer);

const TCP_STATES: Record<string, State> = {
  fresh: (pair) => pair.stream(),
  bound: (pair) => {
    const fd = pair.stream();
    pair.client.bind(fd, at(CLIENT, 0));
    return fd;
  },
  listening,
  'listening-pending': (pair) => {
    const fd = listening(pair);
    const peer = pair.server.socket(L.AF_INET, L.SOCK_STREAM, 0);
    codeOf(() => pair.server.connect(peer, at(CLIENT, PORT)));
    pair.settle();
    return fd;
  },
  connecting: (pair) => {
    const fd = pair.stream();
    codeOf(() => pair.client.connect(fd, at(NOBODY, PORT)));
    pair.settle();
    return fd;
  },
  refused,
  'refused-told': (pair) => {
    const fd = refused(pair);
    pair.client.getsockopt(fd, L.SOL_SOCKET, L.SO_ERROR);
    return fd;
  },
  'refused-connected': (pair) => {
    const fd = refused(pair);
    codeOf(() => pair.client.connect(fd, at(SERVER, CLOSED_PORT)));
    return fd;
  },
  'connected-untold': (pair) => {
    pair.listener();
    const fd = pair.stream();
    codeOf(() => pair.client.connect(fd, at(SERVER, PORT)));
    pair.settle();
    return fd;
  },
  established: connected(),
  accepted: (pair) => {
    const fd = listening(pair);
    const peer = pair.server.socket(L.AF_INET, L.SOCK_STREAM, 0);
    codeOf(() => pair.server.connect(peer, at(CLIENT, PORT)));
    pair.settle();
    return pair.client.accept(fd, L.SOCK_NONBLOCK).fd;
  },
  data: connected(peerSends),
  'rd-shut': connected(shut(L.SHUT_RD)),
  'rd-shut-data': connected(shut(L.SHUT_RD), peerSends),
  'wr-shut': connected(shut(L.SHUT_WR)),
  'both-shut': connected(shut(L.SHUT_RDWR)),
  'both-shut-data': connected(shut(L.SHUT_RDWR), peerSends),
  fin: connected(peerShuts),
  'fin-data': connected(peerSends, peerShuts),
  'closed-first': connected(shut(L.SHUT_WR), peerShuts),
  'closed-last': connected(peerShuts, shut(L.SHUT_WR)),
  reset: connected(peerResets),
  'reset-data': connected(peerSends, peerResets),
  'reset-told': connected(peerResets, (pair, fd) => codeOf(() => pair.client.read(fd, new Uint8Array(1)))),
  'wr-shut-reset': connected(shut(L.SHUT_WR), peerResets),
  'fin-reset': connected(peerShuts, peerResets),
  unspec: connected((pair, fd) => pair.client.connect(fd, UNSPECIFIED)),
};

/** Two UDP sockets connected to each other; gives the client's after `step`. */
const datagrams =
  (...steps: ((pair: PosixPair, fd: number, peer: number) => unknown)[]): State =>
  (pair) => {
    const [fd, peer] = [pair.client, pair.server].map((posix) =>
      posix.socket(L.AF_INET, L.SOCK_DGRAM | L.SOCK_NONBLOCK, 0),
    ) as [number, number];
    pair.client.bind(fd, at(CLIENT, 0));
    pair.server.bind(peer, at(SERVER, PORT));
    pair.client.connect(fd, at(SERVER, PORT));
    pair.server.connect(peer, pair.client.getsockname(fd));
    for (const step of steps) {
      step(pair, fd, peer);
      pair.settle();
    }
    return fd;
  };

const isRefused = [
  (pair: PosixPair, _: number, peer: number) => pair.server.close(peer),
  (pair: PosixPair, fd: number) => pair.client.write(fd, bytesOf('x')),
];

const UDP_STATES: Record<string, State> = {
  fresh: (pair) => pair.client.socket(L.AF_INET, L.SOCK_DGRAM | L.SOCK_NONBLOCK, 0),
  bound: (pair) => {
    const fd = pair.client.socket(L.AF_INET, L.SOCK_DGRAM | L.SOCK_NONBLOCK, 0);
    pair.client.bind(fd, at(CLIENT, 0));
    return fd;
  },
  connected: datagrams(),
  data: datagrams(peerSends, (pair, _, peer) => pair.server.write(peer, bytesOf('defg'))),
  empty: datagrams((pair, _, peer) => pair.server.send(peer, new Uint8Array(0))),
  error: datagrams(...isRefused),
  'error-data': datagrams(peerSends, ...isRefused),
  'rd-shut': datagrams(shut(L.SHUT_RD)),
  'rd-shut-data': datagrams(shut(L.SHUT_RD), peerSends),
  'wr-shut': datagrams(shut(L.SHUT_WR)),
  'both-shut': datagrams(shut(L.SHUT_RDWR)),
  unspec: datagrams((pair, fd) => pair.client.connect(fd, UNSPECIFIED)),
};

const receiving =
  (length: number, flags = 0): Call =>
  (posix, fd) =>
    posix.recv(fd, new Uint8Array(length), flags);

const CALLS: Record<string, Call> = {
  read: receiving(8),
  'read 2': receiving(2),
  'recv 0': receiving(0),
  peek: receiving(8, L.MSG_PEEK),
  trunc: receiving(2, L.MSG_TRUNC),
  oob: receiving(8, L.MSG_OOB),
  errqueue: receiving(8, L.MSG_ERRQUEUE),
  write: (posix, fd) => posix.send(fd, bytesOf('x'), L.MSG_NOSIGNAL),
  'send 0': (posix, fd) => posix.send(fd, new Uint8Array(0), L.MSG_NOSIGNAL),
  'shutdown RD': (posix, fd) => posix.shutdown(fd, L.SHUT_RD),
  'shutdown WR': (posix, fd) => posix.shutdown(fd, L.SHUT_WR),
  'shutdown RDWR': (posix, fd) => posix.shutdown(fd, L.SHUT_RDWR),
  connect: (posix, fd) => posix.connect(fd, at(SERVER, CLOSED_PORT)),
  'connect unspec': (posix, fd) => posix.connect(fd, UNSPECIFIED),
  bind: (posix, fd) => posix.bind(fd, at(CLIENT, 0)),
  listen: (posix, fd) => posix.listen(fd, 3),
  accept: (posix, fd) => Math.min(0, posix.accept(fd).fd),
  getpeername: (posix, fd) => Math.min(0, posix.getpeername(fd).port),
  FIONREAD: (posix, fd) => posix.ioctl(fd, L.FIONREAD),
  SIOCOUTQ: (posix, fd) => posix.ioctl(fd, L.SIOCOUTQ),
  SIOCOUTQNSD: (posix, fd) => posix.ioctl(fd, L.SIOCOUTQNSD),
  nothing: () => 0,
};

const errorName = (errno: unknown): unknown =>
  errno === 0
    ? 0
    : (['ECONNREFUSED', 'ECONNRESET', 'EPIPE'] as const).find(
        (code) => new NetError(code, '').errno === -Number(errno),
      );

/** The answer to `call` in `state`, in the form of the table. */
function answer(state: State, call: Call): string {
  const pair = new PosixPair();
  const fd = state(pair);
  const { client } = pair;
  const result = codeOf(() => call(client, fd));
  pair.settle();
  const entry: PollFd = { fd, events: 0x3fff, revents: 0 };
  client.poll([entry]);
  const error = errorName(client.getsockopt(fd, L.SOL_SOCKET, L.SO_ERROR));
  pair.close();
  return `${result} ${entry.revents.toString(16)} ${error}`;
}

function compare(states: Record<string, State>, answers: Answers): void {
  assert.deepEqual(Object.keys(states), Object.keys(answers));
  for (const [name, state] of Object.entries(states)) {
    test(name, () => {
      for (const [expected, calls] of Object.entries(answers[name]!)) {
        for (const call of calls.split(', ')) {
          assert.equal(`${call}: ${answer(state, CALLS[call]!)}`, `${call}: ${expected}`);
        }
      }
    });
  }
}

describe('posix: TCP, each call as Linux answers it', () => compare(TCP_STATES, TCP_ANSWERS));
describe('posix: UDP, each call as Linux answers it', () => compare(UDP_STATES, UDP_ANSWERS));
