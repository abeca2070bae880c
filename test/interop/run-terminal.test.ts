/** `ethertype run` on a terminal, and what a command gets of signals and of its standard streams. @module */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { execute, MAIN, Machine, pause, running, skipRun, until } from './machine.ts';

const options = { timeout: 60_000 };
const RUN = `'${process.execPath}' '${MAIN}' run --`;
const SAID_MS = 15_000;

/** A shell command on a terminal of its own, which script(1) makes: what is typed goes in, what is shown comes out. */
class Screen {
  readonly child: ChildProcess;
  shown = '';
  #seen = 0;

  static readonly all: Screen[] = [];

  constructor(command: string, more: Readonly<Record<string, string>> = {}) {
    Screen.all.push(this);
    const env = { ...process.env, LC_ALL: 'C', SHELL: '/bin/bash', PS1: '$ ', TERM: 'dumb', ...more };
    this.child = spawn('script', ['-qefc', command, '/dev/null'], { stdio: 'pipe', env });
    this.child.stdout!.on('data', (chunk) => (this.shown += chunk));
    this.child.stdin!.on('error', () => {});
  }

  type(text: string): void {
    this.child.stdin!.write(text);
  }

  /** Waits until it is shown, after what was waited for before; returns the match. */
  async shows(pattern: RegExp): Promise<RegExpExecArray> {
    let match: RegExpExecArray | null = null;
    await until(() => {
      match = pattern.exec(this.shown.slice(this.#seen));
      return match !== null;
    }, SAID_MS);
    assert.ok(match !== null, `no ${pattern} in ${JSON.stringify(this.shown)}`);
    const found = match as RegExpExecArray;
    this.#seen += found.index + found[0].length;
    return found;
  }

  /** The exit code of the command. */
  async end(): Promise<number | null> {
    await until(() => this.child.exitCode !== null || this.child.signalCode !== null, SAID_MS);
    this.child.kill('SIGKILL');
    return this.child.exitCode;
  }
}

/** A loop that counts a signal, and ends by itself with 5. */
const counting = (signal: string): string =>
  `bash -c 'n=0; trap "let n++; echo ${signal} n=\\$n" ${signal}; echo up; for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done; echo all $n; exit 5'`;

describe('run: on a terminal', { skip: skipRun('script', 'stty') }, () => {
  let machine: Machine;
  before(() => {
    machine = new Machine();
  });
  after(() => {
    for (const { child } of Screen.all) child.kill('SIGKILL'); // its terminal hangs up
    return machine.close();
  });

  test('it is the terminal of the command, and a change of its size is told', options, async () => {
    const screen = new Screen(
      `stty rows 30 cols 90; tty; ${RUN} bash -c 'stty size; trap "stty size; exit 3" WINCH; echo up; while :; do sleep 0.1; done'`,
    );
    const [terminal] = await screen.shows(/\/dev\/pts\/\d+/);
    await screen.shows(/30 90\r\nup/);
    await execute('stty', ['-F', terminal, 'rows', '40', 'cols', '100']);
    await screen.shows(/40 100/);
    assert.equal(await screen.end(), 3);
  });

  for (const [key, code, signal] of [
    ['Ctrl-C', '\x03', 'INT'],
    ['Ctrl-\\', '\x1c', 'QUIT'],
  ] as const) {
    test(`${key} reaches the command once, also where its input is a pipe`, options, async () => {
      for (const way of ['', 'sleep 9 | ']) {
        const screen = new Screen(`${way}${RUN} ${counting(signal)}; echo code=$?; kill %1 2>/dev/null`);
        await screen.shows(/up/);
        screen.type(code);
        if (way === '') assert.equal((await screen.shows(/all (\d+)\r\ncode=(\d+)/)).slice(1).join(' '), '1 5');
        else await screen.shows(/all 1/);
        screen.child.kill('SIGKILL');
      }
    });
  }

  test('a terminal that hangs up tells the command, and leaves nothing', options, async () => {
    const [file, code] = [machine.path('hup'), machine.path('code')];
    const mark = `31.0${process.pid}`;
    const inside = `trap "sleep 0.2; echo told > ${file}; exit 4" HUP; sleep ${mark} & echo up; while :; do sleep 0.1; done`;
    // The first process of a terminal is told by the kernel, and the others once that is gone.
    const script = `trap "" HUP; ${RUN} bash -c "$INSIDE" 2>${machine.path('errors')}; echo $? >${code}`;
    const screen = new Screen(`bash -c "$SCRIPT"; true`, { SCRIPT: script, INSIDE: inside });
    await screen.shows(/up/);
    screen.child.kill('SIGKILL');
    const read = (path: string): string => {
      try {
        return readFileSync(path, 'utf8');
      } catch {
        return '';
      }
    };
    assert.ok(await until(() => read(code) !== ''));
    assert.deepEqual([read(file), read(code)], ['told\n', '129\n']);
    assert.match(read(machine.path('errors')), /^(Hangup\n)?$/); // a shell's word for how the tool ended
    assert.ok(await until(() => running(mark) === 0));
  });

  test('stopped, and continued', options, async () => {
    const screen = new Screen('bash --norc -i');
    screen.type(`${RUN} bash -c 'for i in 1 2 3 4 5 6 7 8; do echo n=$i; sleep 0.2; done; exit 6'\n`);
    await screen.shows(/\nn=2/);
    screen.type('\x1a');
    await screen.shows(/Stopped/);
    screen.type('echo code=$?; fg\n');
    await screen.shows(/code=148/);
    await screen.shows(/\nn=8/);
    screen.type('echo code=$?; exit\n');
    await screen.shows(/code=6/);
    await screen.end();
  });

  test('a shell inside has its jobs, and gives the terminal back', options, async () => {
    const screen = new Screen(`${RUN} bash --norc -i; echo code=$?; read line; echo "got $line"`);
    await screen.shows(/[$#] $/);
    screen.type('sleep 100\n');
    await pause(300);
    screen.type('\x1a');
    await screen.shows(/Stopped +sleep 100/);
    screen.type('kill %1; sleep 200\n');
    await pause(300);
    screen.type('\x03');
    await screen.shows(/[$#] $/);
    screen.type('exit 3\n');
    await screen.shows(/code=3/);
    screen.type('a line\n');
    await screen.shows(/got a line/);
    await screen.end();
  });
});

describe('run: signals and streams', { skip: skipRun() }, () => {
  test('each signal to the tool reaches the command, once', options, async () => {
    const send = async (signal: string): Promise<void> => {
      const script = `n=0; trap "let n++" ${signal}; echo up; for i in 1 2 3 4 5; do sleep 0.1; done; exit $n`;
      const args = [MAIN, 'run', '--', 'bash', '-c', script];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      const ended = new Promise((resolve) => child.once('exit', (code, by) => resolve(code ?? by)));
      await new Promise((resolve) => child.stdout!.once('data', resolve));
      child.kill(`SIG${signal}` as NodeJS.Signals);
      assert.equal(await ended, 1, signal);
    };
    await Promise.all(['INT', 'QUIT', 'TERM', 'HUP', 'USR1', 'USR2'].map(send));
  });

  test('the streams are its own: pipes, closed ones, and who stops reading', options, async () => {
    const rows: [script: string, expected: string][] = [
      [`echo through | ${RUN} cat; echo $?`, 'through\n0\n'],
      [`${RUN} cat <&-; echo $?`, '0\n'],
      [`${RUN} sh -c 'echo a; echo b >&2' 2>&1 >/dev/null; echo $?`, 'b\n0\n'],
      [`${RUN} yes 2>/dev/null | head -n 1; echo \${PIPESTATUS[0]}`, 'y\n141\n'],
      [`head -c 300000000 /dev/zero | ${RUN} tail -c 3 | wc -c`, '3\n'],
      [`${RUN} sh -c 'echo $#' x $(seq 50000); echo $?`, '50000\n0\n'],
      [`${RUN} sh -c 'kill -SEGV $$' 2>/dev/null; echo $?`, '139\n'],
      // No other descriptor than without the tool.
      [`count="ls /proc/self/fd | wc -l"; [ $(${RUN} sh -c "$count") = $(sh -c "$count") ]; echo $?`, '0\n'],
    ];
    for (const [script, expected] of rows) {
      const { stdout, stderr } = await execute('bash', ['-c', script]);
      assert.deepEqual([stdout, stderr], [expected, ''], script);
    }
  });

  test('who loses its parent is let go when it ends', options, async () => {
    const script = 'for i in $(seq 50); do (sleep 0.05 &); done; sleep 0.5; cat /proc/[0-9]*/stat | grep -c ") Z "';
    const { stdout } = await execute(process.execPath, [MAIN, 'run', '--', 'bash', '-c', script]);
    assert.equal(stdout, '0\n');
  });
});
