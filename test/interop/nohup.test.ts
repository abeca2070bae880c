/** Commands that nohup(1) has started outlive their terminal. @module */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { MAIN, pause, skipRun, until } from './machine.ts';

const options = { timeout: 60_000 };
const TOOL = `'${process.execPath}' '${MAIN}'`;
const READY_MS = 20_000;

const alive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('nohup', { skip: skipRun('script', 'nohup') }, () => {
  let folder: string;
  const screens: ChildProcess[] = [];
  const left: number[] = [];
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'ethertype-nohup-'));
  });
  after(() => {
    for (const screen of screens) screen.kill('SIGKILL');
    for (const pid of left) if (alive(pid)) process.kill(pid, 'SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  });

  const read = (name: string): string => {
    try {
      return readFileSync(join(folder, name), 'utf8');
    } catch {
      return '';
    }
  };

  /** Starts a command in the background of a terminal's shell, and ends the terminal once it is `ready`; its process. */
  async function hangUp(name: string, shell: string, command: string, ready: RegExp): Promise<number> {
    const script = `cd '${folder}'; ${command} & echo $! >${name}.pid; while :; do sleep 0.1; done`;
    const env = { ...process.env, SCRIPT: script, SHELL: '/bin/sh' };
    const screen = spawn('script', ['-qefc', `exec ${shell} -c "$SCRIPT"`, '/dev/null'], { stdio: 'pipe', env });
    screens.push(screen);
    assert.ok(await until(() => ready.test(read(`${name}.out`)), READY_MS), read(`${name}.out`));
    const pid = Number(read(`${name}.pid`));
    left.push(pid);
    screen.kill('SIGKILL');
    await pause(300);
    return pid;
  }

  for (const [name, shell, input] of [
    ['told by the shell', 'bash', '</dev/null'],
    // dash sets no `_`, and in the background of a script the standard input is /dev/null already: here it is the terminal
    ['told by the standard input', 'dash', '</dev/tty'],
  ] as const) {
    test(`a proxy lives on, ${name}, and ends at SIGTERM`, options, async () => {
      const path = join(folder, `${shell}.sock`);
      const command = `nohup ${TOOL} proxy --qemu '${path}' ${input} >${shell}.out 2>&1`;
      const pid = await hangUp(shell, shell === 'dash' ? 'env -u _ dash' : shell, command, /ethertype proxy: /);
      process.kill(pid, 'SIGHUP'); // the terminal's shell may have ended before it could tell
      await pause(300);
      assert.ok(alive(pid), read(`${shell}.out`));
      process.kill(pid, 'SIGTERM');
      assert.ok(await until(() => !alive(pid)));
    });
  }

  test('a command in a network of its own, too', options, async () => {
    const inside = 'echo up; while [ ! -e go ]; do sleep 0.1; done; echo all';
    const command = `nohup ${TOOL} run -- sh -c '${inside}' </dev/null >run.out 2>&1`;
    const pid = await hangUp('run', 'bash', command, /up/);
    process.kill(pid, 'SIGHUP');
    await pause(300);
    assert.ok(alive(pid), read('run.out'));
    writeFileSync(join(folder, 'go'), '');
    assert.ok(await until(() => !alive(pid)));
    assert.match(read('run.out'), /up\nall\n$/);
  });

  test('without it they end', options, async () => {
    const command = `${TOOL} proxy --qemu '${join(folder, 'plain.sock')}' </dev/null >plain.out 2>&1`;
    const pid = await hangUp('plain', 'bash', command, /ethertype proxy: /);
    if (alive(pid)) process.kill(pid, 'SIGHUP');
    assert.ok(await until(() => !alive(pid)));
  });
});
