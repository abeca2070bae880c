import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Failure, formatFailure } from './result.ts';
import { runScript, type ScriptRunOptions } from './run.ts';

const LISTEN = `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
`;
const SERVER = `${LISTEN}+0 < S 0:0(0) win 65535 <mss 1000>
+0 > S. 0:0(0) ack 1 <...>
+.1 < . 1:1(0) ack 1 win 65535
+0 accept(3, ..., ...) = 4
`;

async function passes(source: string, options: ScriptRunOptions = {}): Promise<void> {
  const result = await runScript(source, options);
  assert.ok(result.passed, formatFailure(result));
}

async function fails(source: string, options: ScriptRunOptions = {}): Promise<Failure> {
  const { failure } = await runScript(source, options);
  assert.ok(failure, 'expected a failure');
  return failure;
}

describe('packets that are not the one expected', () => {
  const rows: readonly (readonly [packet: string, differences: readonly RegExp[]])[] = [
    ['S. 0:0(0) ack 2', [/^ack: expected 2, got 1$/]],
    ['S 0:0(0)', [/^flags: expected S, got S\.$/]],
    ['S. 0:0(0) ack 1 win 100', [/^win: expected 100, got 65535$/]],
    ['S. 0:0(0) ack 1 <mss 1>', [/^options: expected <mss 1>, got <mss 1460>$/]],
    ['[ce] S. 0:0(0) ack 1', [/^expected ce, got noecn$/, /^options/]],
    ['[ttl 1, tos 4] S. 0:0(0) ack 1 <...>', [/^tos: expected 4, got 0$/, /^ttl: expected 1, got 64$/]],
    ['S. 0:0(0) ack 1 urg 5 <...>', [/^urg: expected 5, got 0$/]],
    ['udp (5)', [/^expected udp, got tcp$/]],
    ['icmp unreachable [udp (5)]', [/^expected icmp, got tcp$/]],
  ];
  for (const [packet, differences] of rows) {
    test(packet, async () => {
      const failure = await fails(`${LISTEN}+0 < S 0:0(0) win 65535 <mss 1000>\n+0 > ${packet}\n`);
      assert.equal(failure.kind, 'packet');
      assert.equal(failure.line, 5);
      assert.equal(failure.actual?.startsWith('udp'), false);
      for (const pattern of differences) {
        assert.ok(
          failure.differences.some((text) => pattern.test(text)),
          failure.differences.join('\n'),
        );
      }
    });
  }

  test('none at all', async () => {
    const failure = await fails(`${SERVER}+0 > . 1:1(0) ack 1\n`);
    assert.equal(failure.message, 'expected a packet at 0.100000 s, got none');
    assert.deepEqual([failure.line, failure.expected, failure.actual], [8, '. 1:1(0) ack 1', null]);
  });

  test('the text of a failure: file, line, both packets, the trace', async () => {
    const result = await runScript(`${LISTEN}+0 < S 0:0(0) win 65535 <mss 1000>\n+0 > S. 0:0(0) ack 2 <...>\n`, {
      name: 'a.pkt',
    });
    assert.equal(
      formatFailure(result),
      `a.pkt:5:1: packet is not the one expected
  expected  S. 0:0(0) ack 2 <...>
  actual    S. 0:0(0) ack 1 win 65535 <mss 1460>
  differs   ack: expected 2, got 1
  trace so far:
    0.000000   socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
    0.000000   bind(3, ..., ...) = 0
    0.000000   listen(3, 1) = 0
    0.000000 < S 0:0(0) win 65535 <mss 1000>
    0.000000 > S. 0:0(0) ack 1 win 65535 <mss 1460>`,
    );
  });
});

describe('times', () => {
  const syn = `${LISTEN}+0 < S 0:0(0) win 65535 <mss 1000>\n+0 > S. 0:0(0) ack 1 <...>\n`;
  test('a packet in time, within a range, at any time', async () => {
    await passes(`${syn}+1 > S. 0:0(0) ack 1 <...>\n+1.9~+2.1 > S. 0:0(0) ack 1 <...>\n* > S. 0:0(0) ack 1 <...>\n`);
    await passes(`${syn}1.0 > S. 0:0(0) ack 1 <...>\n2.9~3.1 > S. 0:0(0) ack 1 <...>\n`);
  });
  test('a packet too early', async () => {
    const failure = await fails(`${syn}+2 > S. 0:0(0) ack 1 <...>\n`);
    assert.equal(failure.kind, 'time');
    assert.match(failure.message, /^packet at the wrong time: expected 2\.0+ s, got 1\.0+ s, tolerance 0\.250000 s$/);
  });
  test('a packet too late', async () => {
    const failure = await fails(`${syn}+.5 > S. 0:0(0) ack 1 <...>\n`);
    assert.match(failure.message, /expected 0\.500000 s, got 1\.000000 s/);
  });
  test('the tolerance of the script', async () => {
    await fails(`--tolerance_percent=0\n${syn}+.99 > S. 0:0(0) ack 1 <...>\n`);
    await passes(`--tolerance_percent=0\n--tolerance_usecs=10000\n${syn}+.99 > S. 0:0(0) ack 1 <...>\n`);
  });
  test('an event that is due in the past', async () => {
    const failure = await fails(`${LISTEN}+1 listen(3, 1) = 0\n0.5 listen(3, 1) = 0\n`);
    assert.equal(failure.message, 'expected this at 0.500000 s, and it is 1.000000 s already');
  });
  test('ten minutes take no time', async () => {
    const begun = process.hrtime.bigint();
    const { virtualUs } = await runScript(`${SERVER}+600 write(4, ..., 100) = 100\n+0 > P. 1:101(100) ack 1\n`);
    assert.equal(virtualUs, 600_100_000);
    assert.ok(process.hrtime.bigint() - begun < 2_000_000_000n);
  });
});

describe('segments', () => {
  const write = `${SERVER}+0 write(4, ..., 3000) = 3000\n`;
  test('several are taken as the one the script writes', () => passes(`${write}+0 > P. 1:3001(3000) ack 1\n`));
  test('but not with --strict_segments', async () => {
    const { differences } = await fails(`--strict_segments\n${write}+0 > P. 1:3001(3000) ack 1\n`);
    assert.deepEqual(differences, ['flags: expected P., got .', 'length: expected 3000, got 1000']);
  });
  test('and not beyond its length', async () => {
    const { differences } = await fails(`${write}+0 > . 1:2501(2500) ack 1\n`);
    assert.deepEqual(differences, ['length: expected 2500, got 2000']);
  });
  test('a payload that is not zeros', async () => {
    const { differences } = await fails(`${SERVER}+0 write(4, "abc", 3) = 3\n+0 > P. 1:4(3) ack 1\n`);
    assert.deepEqual(differences, ['payload: expected zeros, got other bytes']);
  });
});

describe('calls', () => {
  test('another result', async () => {
    const failure = await fails(`${SERVER}+0 write(4, ..., 10) = 9\n`);
    assert.deepEqual([failure.kind, failure.line, failure.message], ['call', 8, 'write: expected 9, got 10']);
  });
  test('another errno', async () => {
    const { message } = await fails(`${SERVER}+0 read(3, ..., 5) = -1 EBADF (x)\n`);
    assert.equal(message, 'read: expected -1 EBADF, got -1 ENOTCONN');
  });
  test('any result', () => passes(`${SERVER}+0 write(4, ..., 10) = ?\n`));
  test('a call that nobody has', async () => {
    assert.equal((await fails('0 fork() = 0\n')).message, 'expected a system call of this stack, got fork');
  });
  test('a name that nobody has', async () => {
    assert.equal(
      (await fails('0 socket(..., SOCK_FOO, 0) = 3\n')).message,
      'socket: expected a known name, got SOCK_FOO',
    );
  });
  test('one that blocks returns at its time', async () => {
    const text = (us: string) => `${SERVER}+0...${us} read(4, ..., 10) = 10\n+.2 < P. 1:11(10) ack 1 win 65535\n`;
    await passes(text('.2'));
    assert.match((await fails(text('.1'))).message, /^call returned at the wrong time: expected 0\.200000 s, got 0\.3/);
  });
  test('one that blocks for ever', async () => {
    const failure = await fails(`${SERVER}+0 read(4, ..., 10) = 10\n`);
    assert.equal(failure.message, 'call did not return: expected at 0.100000 s, got nothing until 2.100000 s');
    assert.equal(failure.line, 8);
  });
  test('the next call waits for one that blocks', () =>
    passes(`${SERVER}+0...0.2 read(4, ..., 10) = 10
+.2 < P. 1:21(20) ack 1 win 65535
+0 read(4, ..., 10) = 10
`));
  test('--non_fatal=syscall notes it and goes on', async () => {
    const result = await runScript(`--non_fatal=syscall\n${SERVER}+0 write(4, ..., 10) = 9\n+0 > P. 1:11(10) ack 1\n`);
    assert.ok(result.passed);
    assert.ok(result.notes.includes('write: expected 9, got 10'));
  });
});

describe('code and commands', () => {
  test('an assertion that does not hold', async () => {
    const failure = await fails(`${SERVER}+0 %{ assert tcpi_snd_mss == 1 }%\n`);
    assert.deepEqual(
      [failure.kind, failure.message],
      ['assert', 'assertion failed: tcpi_snd_mss == 1 (tcpi_snd_mss = 1000)'],
    );
  });
  test('a sysctl that stands for a setting', () =>
    passes(`\`sysctl -q net.ipv4.tcp_sack=0 net.ipv4.tcp_timestamps=0\`\n${LISTEN}
+0 < S 0:0(0) win 65535 <mss 1000,sackOK,TS val 1 ecr 0>\n+0 > S. 0:0(0) ack 1 <mss 1460>\n`));
  test('what is ignored is noted', async () => {
    const { passed, notes } = await runScript('`ip link show`\n0 `sysctl -w net.ipv4.nothing=1`\n');
    assert.ok(passed);
    assert.deepEqual(notes, ['ignored: ip link show', 'ignored: sysctl net.ipv4.nothing=1']);
  });
  test('a file of commands beside the script', () =>
    passes(
      `\`./defaults.sh\`\n${LISTEN}+0 < S 0:0(0) win 1 <mss 1000,nop,nop,sackOK>\n+0 > S. 0:0(0) ack 1 <mss 1460>\n`,
      {
        readFile: (path) => (path === './defaults.sh' ? '#!/bin/sh\nsysctl -q \\\n  net.ipv4.tcp_sack=0\n' : null),
      },
    ));
  test('sockstat counts states', async () => {
    const text = (count: number) => `${SERVER}+0 \`sockstat -4 -s | grep -c ESTABLISHED | grep ${count}\`\n`;
    await passes(text(1));
    assert.equal((await fails(text(2))).message, 'expected 2 in ESTABLISHED, got 1 (ESTABLISHED)');
  });
  test('cleanup runs after a failure too', async () => {
    const { notes } = await runScript('0 fork() = 0\n`rm -f x`\n');
    assert.deepEqual(notes, ['ignored: rm -f x']);
  });
});

describe('options', () => {
  test('addresses and ports are those of the script', () =>
    passes(`--local_ip=10.1.0.1\n--remote_ip=10.2.0.1\n--netmask_ip=255.255.0.0\n--bind_port=80\n${SERVER}`));
  test('IPv4 on a socket of IPv6', () => passes(`--ip_version=ipv4-mapped-ipv6\n${SERVER}`));
  test('given from outside they come before those of the script', async () => {
    const syn = `${LISTEN}+0 < S 0:0(0) win 1 <mss 1000>\n+0 > S. 0:0(0) ack 1 <mss 1160>\n`;
    await passes(syn, { options: { mtu: '1200' } });
    await fails(`--mtu=1300\n${syn}`, { options: { mtu: '1200' } });
  });
  test('an unknown one, and a value that is none', async () => {
    const unknown = await fails('\n--frobnicate=1\n');
    assert.deepEqual([unknown.line, unknown.message], [2, 'expected a known option, got --frobnicate']);
    assert.equal((await fails('--mtu=big\n')).message, '--mtu: expected an MTU up to 65535, got "big"');
    assert.equal((await fails('--remote_ip=x\n')).message, '--remote_ip: expected an IP address, got "x"');
  });
  test('a profile has the options of a SYN in its own order', () =>
    passes(
      `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 connect(3, ..., ...) = -1 EINPROGRESS (x)
+0 > S 0:0(0) win 65535 <mss 1460,nop,wscale 6,sackOK,TS val 1 ecr 0>\n`,
      { profile: 'freebsd' },
    ));
  test('a script says by itself whose it is', async () => {
    const script = `--profile=freebsd\n${LISTEN}+0 < S 0:0(0) win 1 <mss 1460,sackOK,nop,nop>
+0 > S. 0:0(0) ack 1 <mss 1460,sackOK,eol,eol>\n`;
    await passes(script);
    await fails(script, { profile: 'linux' });
    assert.match(
      (await fails('--profile=beos\n')).message,
      /^--profile: expected ethertype, linux, freebsd, got "beos"$/,
    );
  });
});

describe('numbers', () => {
  test('a script counts from numbers of its own', () =>
    passes(`${LISTEN}+0 < S 1000:1000(0) win 65535 <mss 1000>
+0 > S. 5000:5000(0) ack 1001 <...>
+0 < . 1:1(0) ack 1 win 65535
+0 accept(3, ..., ...) = 4
+0 write(4, ..., 10) = 10
+0 > P. 1:11(10) ack 1
`));
  test('another number in a SYN that comes again', async () => {
    const { differences } = await fails(`${LISTEN}+0 < S 0:0(0) win 65535 <mss 1000>
+0 > S. 5000:5000(0) ack 1 <...>\n+1 > S. 5001:5001(0) ack 1 <...>\n`);
    assert.deepEqual(differences, ['seq: expected 5001, got 5000']);
  });
  test('TSval is compared where the script says how long a tick is', async () => {
    const text = (val: number) => `--tcp_ts_tick_usecs=1000\n--tolerance_usecs=4000\n${LISTEN}
+0 < S 0:0(0) win 65535 <mss 1000,sackOK,TS val 7 ecr 0>
+0 > S. 0:0(0) ack 1 <mss 1460,sackOK,TS val 100 ecr 7>
+1 > S. 0:0(0) ack 1 <mss 1460,sackOK,TS val ${val} ecr 7>\n`;
    await passes(text(1102));
    const { differences } = await fails(text(2100));
    assert.match(differences[0]!, /^options: expected <.*TS val 2100 ecr 7>, got <.*TS val 1100 ecr 7>$/);
  });
  test('TSecr of an injected segment is the TSval that the stack had sent', () =>
    passes(`${LISTEN}+0 < S 0:0(0) win 65535 <mss 1000,sackOK,TS val 7 ecr 0>
+0 > S. 0:0(0) ack 1 <mss 1460,sackOK,TS val 100 ecr 7>
+.25 < . 1:1(0) ack 1 win 65535 <nop,nop,TS val 8 ecr 100>
+0 accept(3, ..., ...) = 4
+0 %{ assert 249000 <= tcpi_rtt <= 251000 }%
`));
});
