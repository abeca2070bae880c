import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { CallAction, PacketAction, ScriptEvent, TcpBody } from './ast.ts';
import { formatPacket } from './format.ts';
import { parseScript } from './parse.ts';
import { ScriptError } from './scanner.ts';

const only = (source: string): ScriptEvent => {
  const { events } = parseScript(source);
  assert.equal(events.length, 1);
  return events[0]!;
};
const packetOf = (source: string) => (only(`0 ${source}\n`).action as PacketAction).packet;
const callOf = (source: string) => only(`0 ${source}\n`).action as CallAction;

describe('packets come back as they were written', () => {
  const rows: readonly string[] = [
    'S 0:0(0) win 65535 <mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 8>',
    'S. 0:0(0) ack 1 win 65535 <mss 1460,nop,wscale 6,sackOK,TS val 1 ecr 100>',
    '. 1:1(0) ack 1 win 257',
    'FP. 1:1001(1000) ack 1 win 257',
    '. 1:1(0) ack 1 win 257 <nop,nop,sack 1:2 3001:4001>',
    'R 1:1(0)',
    'R. 0:0(0)! ack 1 win 0',
    'S. ...(0) ack 1 win 65535',
    'SEWA 0:0(0) win 65535 <mss 1460>',
    '- 1:11(10) win 100',
    'PU. 1:11(10) ack 1 win 100 urg 5',
    '[ect0] P. 1:11(10) ack 1 win 100',
    '[ce, ttl 64, flowlabel 0x12345] . 1:1(0) ack 1 win 100',
    '[tos 0x28] . 1:1(0) ack 1 win 100',
    '40000 > 8080 S 0:0(0) win 100',
    'S 0:0(0) win 100 <mss 1460,FO 0102030405060708,nop,nop>',
    'S 0:0(0) win 100 <kind 253 f989,nop,nop,nop,nop>',
    '. 1:1(0) ack 1 win 100 <nop,nop,md5 000102030405060708090a0b0c0d0e0f>',
    '. 1:1(0) ack 1 win 100 <...>',
    'udp (1472)',
    'icmp unreachable port_unreachable [udp (10)]',
    'icmp unreachable frag_needed mtu 1200 [1:1461(1460)]',
    'icmp time_exceeded ttl_exceeded_in_transit [raw (28)]',
    'icmp echo_request id 7 seq 2 (56)',
    'S 0:0(0) win 100/udp(9811 > 1)',
  ];
  for (const text of rows) test(text, () => assert.equal(formatPacket(packetOf(`< ${text}`), true), text));
});

test('the ACE digit stands for AE, CWR and ECE', () => {
  assert.equal((packetOf('> .5 1:1(0) ack 1') as { body: TcpBody }).body.flags, 0x100 | 0x40 | 0x10);
  assert.equal((packetOf('> S.2 0:0(0) ack 1') as { body: TcpBody }).body.flags, 0x80 | 0x12);
});

test('an AccECN option: the order of its counters says which of the two it is', () => {
  const bytes = (text: string) => {
    const { options } = packetOf(`> . 1:1(0) ack 1 <${text}>`).body as TcpBody;
    const option = options!.find(({ kind }) => kind === 'bytes');
    return option?.kind === 'bytes' ? [option.type, ...option.bytes] : [];
  };
  assert.deepEqual(bytes('nop,ECN e1b 1 ceb 0 e0b 258'), [174, 0, 0, 1, 0, 0, 0, 0, 1, 2]);
  assert.deepEqual(bytes('ECN e0b 1 ceb 2'), [172, 0, 0, 1, 0, 0, 2]);
});

describe('times', () => {
  const rows: readonly (readonly [text: string, kind: string, us: number, endUs: number])[] = [
    ['0.25', 'absolute', 250_000, 250_000],
    ['+.1', 'relative', 100_000, 100_000],
    ['+0', 'relative', 0, 0],
    ['*', 'any', 0, 0],
    ['1.5~2', 'range', 1_500_000, 2_000_000],
    ['+0~+.01', 'relativeRange', 0, 10_000],
  ];
  for (const [text, kind, us, endUs] of rows) {
    test(text, () => assert.deepEqual(only(`${text} > . 1:1(0) ack 1`).time, { kind, us, endUs }));
  }

  test('a call that blocks has an end', () => {
    assert.equal((only('0...0.3 read(4, ..., 10) = 10').action as CallAction).endUs, 300_000);
    assert.equal((only('+1.00...6.00 connect(3, ..., ...) = -1 ETIMEDOUT').action as CallAction).endUs, 6_000_000);
  });
});

describe('calls', () => {
  test('arguments of every form', () => {
    const { args } = callOf('f(3, ..., [1], {onoff=1, linger=0}, A|B, "x\\n", 0x10, -1, htons(80)) = 0');
    assert.deepEqual(
      args.map(({ kind }) => kind),
      ['number', 'ellipsis', 'list', 'struct', 'or', 'string', 'number', 'number', 'call'],
    );
    assert.deepEqual(args[7], { kind: 'number', value: -1 });
    assert.deepEqual(args[5], { kind: 'string', value: 'x\n' });
  });

  test('a message with names that have arguments', () => {
    const { args } = callOf('recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 40}], msg_flags=0}, 0) = 40');
    const fields = args[1]!.kind === 'struct' ? args[1]!.fields.map(({ name }) => name) : [];
    assert.deepEqual(fields, ['msg_name', 'msg_iov', 'msg_flags']);
  });

  test('results', () => {
    assert.deepEqual(callOf('f() = -1 EAGAIN (try again)').result, {
      value: { kind: 'number', value: -1 },
      errno: 'EAGAIN',
    });
    assert.deepEqual(callOf('f() = 0x2 (flags O_RDWR)').result, { value: { kind: 'number', value: 2 }, errno: null });
    assert.equal(callOf('f() = ?').result.value, null);
  });
});

test('a whole script: options, init, comments of three styles, code, cleanup', () => {
  const script = parseScript(`// one
--ip_version=ipv4
--tolerance_usecs=100
/* two
   lines */
\`sysctl -w a=b\`   # three
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3 // four
+0 \`echo
two lines\`
+0 %{ assert tcpi_state == 1
assert True }%
\`rm -f x\`
`);
  assert.deepEqual(
    script.options.map(({ name, value }) => [name, value]),
    [
      ['ip_version', 'ipv4'],
      ['tolerance_usecs', '100'],
    ],
  );
  assert.deepEqual(script.init, [{ kind: 'command', command: 'sysctl -w a=b' }]);
  assert.deepEqual(
    script.events.map(({ action, at }) => [action.kind, at.line]),
    [
      ['call', 7],
      ['command', 8],
      ['code', 10],
    ],
  );
  assert.deepEqual(script.cleanup, [{ kind: 'command', command: 'rm -f x' }]);
});

describe('symbols', () => {
  const text = '#ifdef A\n0 > . 1:1(0) ack 1\n#else\n0 > . 2:2(0) ack 1\n#endif\n';
  const seqOf = (defines: Record<string, string>, source = text) => {
    const { events } = parseScript(source, { defines: new Map(Object.entries(defines)) });
    return events.map(({ action }) => ((action as PacketAction).packet.body as TcpBody).seq.start);
  };

  test('#ifdef and #else', () => {
    assert.deepEqual(seqOf({ A: '' }), [1]);
    assert.deepEqual(seqOf({}), [2]);
  });
  test('#ifndef within #ifdef', () => {
    assert.deepEqual(seqOf({ A: '' }, `#ifdef A\n#ifndef B\n0 > . 5:5(0) ack 1\n#endif\n#endif\n${text}`), [5, 1]);
    assert.deepEqual(seqOf({ B: '' }, `#ifdef A\n#ifndef B\n0 > . 5:5(0) ack 1\n#endif\n#endif\n${text}`), [2]);
  });
  test('#define replaces words, and symbols within symbols', () => {
    assert.deepEqual(seqOf({}, '#define X Y\n#define Y 7\n0 > . X:Y(0) ack 1\n'), [7]);
  });
  test('--define in the script, and a definition from outside before it', () => {
    assert.deepEqual(seqOf({}, '--define=N=3\n0 > . N:N(0) ack 1\n'), [3]);
    assert.deepEqual(seqOf({ N: '4' }, '--define=N=3\n0 > . N:N(0) ack 1\n'), [4]);
  });
  test('columns of errors are those of the source', () => {
    const defines = new Map([['LONGER', '1']]);
    assert.throws(() => parseScript('0 > . LONGER:1(0) ack ?', { defines }), {
      at: { line: 1, column: 23 },
    });
  });
});

describe('what cannot be read is named with its place', () => {
  const rows: readonly (readonly [source: string, line: number, column: number, message: RegExp])[] = [
    ['0 bind(3, ..., ...) = 0\n1 ? x', 2, 3, /^expected '<', '>', a system call, .* got '\?'$/],
    ['0 < S 0:0(0) win 70000', 1, 18, /^expected a window up to 65535, got 70000$/],
    ['0 < Q 0:0(0)', 1, 5, /^expected TCP flags like S\., P\. or -, or udp, or icmp, got 'Q'$/],
    ['0 < S 1:5(3)', 1, 7, /^expected 1:4\(3\), got 1:5\(3\)$/],
    ['0 < S 0:0(0) <mss 1460,sackOK>', 1, 14, /^expected TCP options of a multiple of 4 bytes, got 2 too many/],
    ['0 < S 0:0(0) <foo 1>', 1, 19, /instead of 'foo'/],
    ['0 < S 0:0(0) <FO 123>', 1, 18, /^expected pairs of hexadecimal digits, got '123'$/],
    ['0 < icmp nonsense [1:1(0)]', 1, 10, /^expected an ICMP type of IPv4: .*unreachable.* got 'nonsense'$/],
    ['0 < icmp unreachable nonsense [1:1(0)]', 1, 22, /^expected a code of unreachable, or code_N, got 'nonsense'$/],
    ['0 > icmp unreachable [1:1(0)', 1, 29, /^expected '\]' behind the quoted packet, got the end of the script$/],
    ['0~1 < . 1:1(0)', 1, 5, /^expected a packet of the stack, '>', behind a time that is not fixed, got packet$/],
    ['* close(3) = 0', 1, 3, /behind a time that is not fixed, got call$/],
    ['0...1 > . 1:1(0) ack 1', 1, 7, /^expected a system call behind a time with an end$/],
    ['+0~1 > . 1:1(0)', 1, 4, /^expected a '\+' before both times/],
    ['0 f(1 2) = 0', 1, 7, /^expected ',' or '\)', got '2'$/],
    ['0 f(1)', 1, 7, /^expected '=' and the result of the call, got the end of the script$/],
    ['0 f({a=1) = 0', 1, 9, /^expected ',' or '}', got '\)'$/],
    ['0 f(@) = 0', 1, 5, /^expected an argument: .* got '@'$/],
    ['hello', 1, 1, /^expected a time like 0\.1, \+\.1 or \*, or a command in backquotes, got 'hello'$/],
    ['--\n', 1, 1, /^expected an option like --mtu=1500, got '--'$/],
    ['0 `echo', 1, 3, /^expected the backquote that ends the command/],
    ['0 %{ assert 1', 1, 3, /^expected the end of the code, '}%'/],
    ['/* never', 1, 1, /^expected the end of the comment, \*\//],
    ['#ifdef A\n0 f() = 0\n', 1, 1, /^expected #endif, got the end of the script$/],
    ['0 f() = 0\n#endif\n', 2, 1, /^expected #ifdef before it, got #endif$/],
    ['#define\n', 1, 1, /^expected a symbol behind #define/],
  ];
  for (const [source, line, column, message] of rows) {
    test(JSON.stringify(source), () => {
      assert.throws(
        () => parseScript(source),
        (error) => {
          assert.ok(error instanceof ScriptError);
          assert.deepEqual(error.at, { line, column });
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }
});
