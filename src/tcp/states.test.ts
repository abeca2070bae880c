import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  closeWait,
  closing,
  established,
  finWait1,
  finWait2,
  lastAck,
  listening,
  type SegmentOptions,
  synReceived,
  synSent,
  TestPeer,
  timeWait,
} from '../../test/peer.ts';
import { nextState, STATE_NAMES, type StateEvent, type TcpState } from './state.ts';

interface Row {
  readonly name: string;
  readonly flags: string;
  readonly options: SegmentOptions;
  readonly sent: readonly string[];
  readonly state: TcpState;
}

function rows(state: TcpState, build: () => TestPeer, table: readonly Row[]): void {
  for (const { name, flags, options, sent, state: after } of table) {
    test(`tcp ${state}: ${name}`, () => {
      const peer = build();
      peer.send(flags, options);
      peer.expect(...sent);
      assert.equal(peer.state, after);
      peer.end();
    });
  }
}

const row = (name: string, flags: string, options: SegmentOptions, sent: string[], state: TcpState): Row => ({
  name,
  flags,
  options,
  sent,
  state,
});

// RFC 9293 §3.10.7.1: if the state is CLOSED.
rows('CLOSED', () => new TestPeer(), [
  row('a RST is discarded', 'R', { seq: 5 }, [], 'CLOSED'),
  row('a RST with ACK is discarded', 'R.', { seq: 5, ack: 9 }, [], 'CLOSED'),
  row('an ACK is answered <SEQ=SEG.ACK><CTL=RST>', '.', { seq: 5, ack: 9 }, ['R 9'], 'CLOSED'),
  row('a SYN is answered <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>', 'S', { seq: 5 }, ['R. 0 ack 6'], 'CLOSED'),
  row('text and FIN without ACK count in SEG.LEN', 'F', { seq: 5, data: 'abc' }, ['R. 0 ack 9'], 'CLOSED'),
]);

// RFC 9293 §3.10.7.2: if the state is LISTEN.
rows('LISTEN', listening, [
  row('first, a RST is ignored', 'R', { seq: 5 }, [], 'CLOSED'),
  row('second, an ACK is reset', '.', { seq: 5, ack: 9 }, ['R 9'], 'CLOSED'),
  row('second, a SYN with ACK is reset', 'S.', { seq: 5, ack: 9 }, ['R 9'], 'CLOSED'),
  row('third, a SYN is answered', 'S', { seq: 0 }, ['S. 0 ack 1'], 'SYN-RECEIVED'),
  row('a SYN with FIN is dropped', 'SF', { seq: 0 }, [], 'CLOSED'),
  row('fourth, anything else is dropped', 'F', { seq: 5 }, [], 'CLOSED'),
  row('no flags at all', '', { seq: 5, data: 'abc' }, [], 'CLOSED'),
]);

// RFC 9293 §3.10.7.3: if the state is SYN-SENT.
rows('SYN-SENT', synSent, [
  row('first, ACK =< ISS is reset', '.', { seq: 5, ack: 0 }, ['R 0'], 'SYN-SENT'),
  row('first, ACK > SND.NXT is reset', 'S.', { seq: 0, ack: 2 }, ['R 2'], 'SYN-SENT'),
  row('first, a RST with a bad ACK is dropped', 'R.', { seq: 5, ack: 2 }, [], 'SYN-SENT'),
  row('second, a RST with a good ACK refuses the connection', 'R.', { seq: 5, ack: 1 }, [], 'CLOSED'),
  row('second, a RST without ACK is dropped', 'R', { seq: 5 }, [], 'SYN-SENT'),
  row('fourth, a SYN with ACK establishes', 'S.', { seq: 0, ack: 1 }, ['. 1 ack 1'], 'ESTABLISHED'),
  row('fourth, MUST-10: a SYN alone is a simultaneous open', 'S', { seq: 0 }, ['S. 0 ack 1'], 'SYN-RECEIVED'),
  row('fifth, an ACK without SYN is dropped', '.', { seq: 5, ack: 1 }, [], 'SYN-SENT'),
  row('fifth, a FIN is dropped', 'F', { seq: 5 }, [], 'SYN-SENT'),
]);

rows('SYN-RECEIVED', synReceived, [
  row('the ACK of our SYN establishes', '.', { seq: 1, ack: 1 }, [], 'ESTABLISHED'),
  row('an ACK =< SND.UNA is reset', '.', { seq: 1, ack: 0 }, ['R 0'], 'SYN-RECEIVED'),
  row('an ACK > SND.NXT is reset', '.', { seq: 1, ack: 2 }, ['R 2'], 'SYN-RECEIVED'),
  row('the SYN again has the SYN-ACK sent again', 'S', { seq: 0 }, ['S. 0 ack 1'], 'SYN-RECEIVED'),
  row('a RST at RCV.NXT returns to LISTEN', 'R', { seq: 1 }, [], 'CLOSED'),
  row('a RST outside the window is dropped', 'R', { seq: -9 }, [], 'SYN-RECEIVED'),
  row('the FIN that comes with the ACK is taken', 'F.', { seq: 1, ack: 1 }, ['. 1 ack 2'], 'CLOSE-WAIT'),
  row('text that comes with the ACK is taken', 'P.', { seq: 1, ack: 1, data: 'abc' }, ['. 1 ack 4'], 'ESTABLISHED'),
  row('text before the window is answered', '.', { seq: -9, ack: 1, data: 'abc' }, ['. 1 ack 1'], 'SYN-RECEIVED'),
  row('text without ACK is dropped', '', { seq: 1, data: 'abc' }, [], 'SYN-RECEIVED'),
]);

/** A synchronized state: how it is built, what stands next on either side, and what an acceptable ACK or FIN does. */
interface Synchronized {
  readonly state: TcpState;
  readonly build: () => TestPeer;
  readonly next: number;
  readonly peerNext: number;
  readonly afterAck: TcpState;
  readonly afterFin: TcpState;
  readonly finAnswer: boolean;
  /** The right edge of the window we offer; TIME-WAIT remembers none. */
  readonly remembers: boolean;
}

const STATES: readonly Synchronized[] = [
  {
    state: 'ESTABLISHED',
    build: established,
    next: 1,
    peerNext: 1,
    afterAck: 'ESTABLISHED',
    afterFin: 'CLOSE-WAIT',
    finAnswer: true,
    remembers: true,
  },
  {
    state: 'FIN-WAIT-1',
    build: finWait1,
    next: 2,
    peerNext: 1,
    afterAck: 'FIN-WAIT-2',
    afterFin: 'TIME-WAIT',
    finAnswer: true,
    remembers: true,
  },
  {
    state: 'FIN-WAIT-2',
    build: finWait2,
    next: 2,
    peerNext: 1,
    afterAck: 'FIN-WAIT-2',
    afterFin: 'TIME-WAIT',
    finAnswer: true,
    remembers: true,
  },
  {
    state: 'CLOSE-WAIT',
    build: closeWait,
    next: 1,
    peerNext: 2,
    afterAck: 'CLOSE-WAIT',
    afterFin: 'CLOSE-WAIT',
    finAnswer: true,
    remembers: true,
  },
  {
    state: 'CLOSING',
    build: closing,
    next: 2,
    peerNext: 2,
    afterAck: 'TIME-WAIT',
    afterFin: 'TIME-WAIT',
    finAnswer: false,
    remembers: true,
  },
  {
    state: 'LAST-ACK',
    build: lastAck,
    next: 2,
    peerNext: 2,
    afterAck: 'CLOSED',
    afterFin: 'CLOSED',
    finAnswer: false,
    remembers: true,
  },
];

const WINDOW = 1 << 19;

// RFC 9293 §3.10.7.4: the otherwise branch, in its order.
for (const { state, build, next, peerNext, afterAck, afterFin, finAnswer } of STATES) {
  const answer = `. ${next} ack ${peerNext}`;
  const left = peerNext - 10;
  const right = peerNext + WINDOW + 10;
  rows(state, build, [
    row('first: text left of the window is answered', '.', { seq: left, ack: next, data: 'abc' }, [answer], state),
    row('first: text right of the window is answered', '.', { seq: right, ack: next, data: 'abc' }, [answer], state),
    row('first: an ACK left of the window is answered', '.', { seq: left, ack: next }, [answer], state),
    row('first: an ACK right of the window is answered', '.', { seq: right, ack: next }, [answer], state),
    row('first: a FIN left of the window is answered', 'F.', { seq: left, ack: next }, [answer], state),
    row('first: a FIN right of the window is answered', 'F.', { seq: right, ack: next }, [answer], state),
    row('first: a SYN left of the window is answered', 'S', { seq: left }, [answer], state),
    row('first: a SYN right of the window is answered', 'S', { seq: right }, [answer], state),
    row('first: a SYN with ACK left of the window is answered', 'S.', { seq: left, ack: next }, [answer], state),
    row('first: a RST left of the window is dropped', 'R', { seq: left }, [], state),
    row('first: a RST right of the window is dropped', 'R', { seq: right }, [], state),
    row('second: a RST in the window but not at RCV.NXT is challenged', 'R', { seq: peerNext + 1 }, [answer], state),
    row('second: a RST at RCV.NXT resets', 'R', { seq: peerNext }, [], 'CLOSED'),
    row('fourth: a SYN in the window is challenged', 'S', { seq: peerNext + 5 }, [answer], state),
    row('fourth: a SYN at RCV.NXT is challenged', 'S', { seq: peerNext }, [answer], state),
    row('fourth: a SYN with ACK in the window is challenged', 'S.', { seq: peerNext, ack: next }, [answer], state),
    row('fifth: a segment without ACK is dropped', '', { seq: peerNext, data: 'abc' }, [], state),
    row('fifth: a FIN without ACK is dropped', 'F', { seq: peerNext }, [], state),
    row('fifth: an ACK of something not yet sent is answered', '.', { seq: peerNext, ack: next + 1 }, [answer], state),
    row(
      'fifth: RFC 5961 §5.2: an ACK older than any window is answered',
      '.',
      { seq: peerNext, ack: next - 70_000 },
      [answer],
      state,
    ),
    row('fifth: an ACK of all that was sent', '.', { seq: peerNext, ack: next }, [], afterAck),
    row(
      'eighth: a FIN',
      'F.',
      { seq: peerNext, ack: next },
      finAnswer ? [`. ${next} ack ${Math.max(2, peerNext)}`] : [],
      afterFin,
    ),
  ]);
}

rows('TIME-WAIT', timeWait, [
  row('the FIN again is acknowledged', 'F.', { seq: 1, ack: 2 }, ['. 2 ack 2'], 'TIME-WAIT'),
  row('text left of the window is answered', '.', { seq: -9, ack: 2, data: 'abc' }, ['. 2 ack 2'], 'TIME-WAIT'),
  row(
    'an ACK in order is no cause for another: two in TIME-WAIT would go on',
    '.',
    { seq: 2, ack: 2 },
    [],
    'TIME-WAIT',
  ),
  row('RFC 1337: a RST is ignored', 'R', { seq: 2 }, [], 'TIME-WAIT'),
  row('MAY-2: a SYN with a higher number opens anew', 'S', { seq: 100 }, ['S. 0 ack 101'], 'SYN-RECEIVED'),
  row('a SYN with a number already used is answered', 'S', { seq: 1 }, ['. 2 ack 2'], 'TIME-WAIT'),
]);

test('tcp: every event of every state is an arrow of figure 5 or a bug', () => {
  const events: StateEvent[] = ['open', 'receive-syn', 'receive-syn-ack', 'close', 'receive-fin', 'receive-ack-of-fin'];
  const arrows = events.flatMap((event) =>
    STATE_NAMES.flatMap((name, state) => {
      try {
        return [`${name} -${event}-> ${STATE_NAMES[nextState(state, event)]}`];
      } catch {
        return [];
      }
    }),
  );
  for (const arrow of [
    'CLOSED -open-> SYN-SENT',
    'LISTEN -receive-syn-> SYN-RECEIVED',
    'SYN-SENT -receive-syn-> SYN-RECEIVED',
    'SYN-SENT -receive-syn-ack-> ESTABLISHED',
    'SYN-RECEIVED -receive-syn-ack-> ESTABLISHED',
    'ESTABLISHED -close-> FIN-WAIT-1',
    'ESTABLISHED -receive-fin-> CLOSE-WAIT',
    'FIN-WAIT-1 -receive-fin-> CLOSING',
    'FIN-WAIT-1 -receive-ack-of-fin-> FIN-WAIT-2',
    'FIN-WAIT-2 -receive-fin-> TIME-WAIT',
    'CLOSE-WAIT -close-> LAST-ACK',
    'CLOSING -receive-ack-of-fin-> TIME-WAIT',
  ]) {
    assert.ok(arrows.includes(arrow), arrow);
  }
  for (let state = 0; state < STATE_NAMES.length; state++)
    assert.equal(STATE_NAMES[nextState(state, 'delete')], 'CLOSED');
  assert.throws(() => nextState(STATE_NAMES.indexOf('TIME-WAIT'), 'open'), /no transition/);
});
