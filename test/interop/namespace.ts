/**
 * Network namespaces for tests against Linux's own stack: each test makes its own, and everything it starts runs inside
 * and dies with it. A process of ours gets at a TUN in there by being started in it. @module
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

/** Milliseconds a command may take unless told otherwise. */
const TIMEOUT_MS = 20_000;
/** Milliseconds to wait for a line of a started program. */
const LINE_TIMEOUT_MS = 10_000;

/** What a finished command left behind. */
export interface Result {
  /** Its exit code; null if it was killed, by the timeout or otherwise. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ExecOptions {
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
}

let checked: string | false | undefined;

/**
 * Why tests in namespaces cannot run here, for `{ skip: skipReason('ping') }`, or false.
 * @param tools - programs the test needs besides `ip`
 */
export function skipReason(...tools: string[]): string | false {
  checked ??= checkMachine();
  if (checked !== false) return checked;
  const missing = tools.filter((tool) => !hasTool(tool));
  return missing.length > 0 && `needs ${missing.join(', ')}, not installed here`;
}

const hasTool = (tool: string): boolean =>
  `${process.env.PATH ?? ''}:/usr/sbin:/sbin`.split(':').some((folder) => existsSync(`${folder}/${tool}`));

function checkMachine(): string | false {
  if (process.platform !== 'linux') return 'needs Linux';
  if (process.getuid?.() !== 0) return 'needs root, to make network namespaces';
  if (!hasTool('ip')) return 'needs ip, not installed here';
  if (!existsSync('/dev/net/tun')) return 'needs /dev/net/tun';
  try {
    import.meta.resolve('koffi');
  } catch {
    return 'needs koffi: npm install koffi';
  }
  const name = `et-${process.pid}-probe`;
  const probe = spawnSync('ip', ['netns', 'add', name], { encoding: 'utf8' });
  spawnSync('ip', ['netns', 'del', name]);
  return probe.status !== 0 && `cannot make network namespaces: ${probe.stderr.trim()}`;
}

/** A program running in a namespace. Its stdin is a pipe, so that it can end when we do. */
export class Running {
  readonly child: ChildProcess;
  /** The lines of its stdout so far, and of its stderr. */
  readonly lines: string[] = [];
  readonly errorLines: string[] = [];
  /** Fulfilled with its exit code, null if a signal ended it. */
  readonly ended: Promise<number | null>;
  #waiting: (() => void)[] = [];
  readonly #seen = new Map<readonly string[], number>();

  constructor(child: ChildProcess) {
    this.child = child;
    const notify = (): void => {
      for (const resume of this.#waiting.splice(0)) resume();
    };
    const gather = (input: Readable, lines: string[]): void => {
      createInterface({ input }).on('line', (line) => {
        lines.push(line);
        notify();
      });
    };
    gather(child.stdout!, this.lines);
    gather(child.stderr!, this.errorLines);
    child.stdin!.on('error', () => {}); // it may end before it reads
    this.ended = new Promise((done) => {
      child.once('error', (error) => {
        this.errorLines.push(error.message);
        done(null);
        notify();
      });
      child.once('close', (code) => {
        done(code);
        notify();
      });
    });
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null || this.child.pid === undefined;
  }

  get stderr(): string {
    return this.errorLines.join('\n');
  }

  /** The next line that matches; earlier ones are passed over. Rejects when the program ends, or says nothing. */
  line(pattern: RegExp, timeoutMs = LINE_TIMEOUT_MS): Promise<string> {
    return this.#line(this.lines, pattern, timeoutMs);
  }

  /** The same of its stderr. */
  errorLine(pattern: RegExp, timeoutMs = LINE_TIMEOUT_MS): Promise<string> {
    return this.#line(this.errorLines, pattern, timeoutMs);
  }

  async #line(lines: readonly string[], pattern: RegExp, timeoutMs: number): Promise<string> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      for (let seen = this.#seen.get(lines) ?? 0; seen < lines.length; seen++) {
        this.#seen.set(lines, seen + 1);
        if (pattern.test(lines[seen]!)) return lines[seen]!;
      }
      const leftMs = deadline - Date.now();
      if (this.hasEnded || leftMs <= 0) {
        const what = this.hasEnded ? `ended with ${this.child.exitCode ?? this.child.signalCode}` : 'stays silent';
        throw new Error(
          `no line ${pattern}: the program ${what}; stdout: ${this.lines.join(' | ')}; stderr: ${this.stderr}`,
        );
      }
      await new Promise<void>((resume) => {
        const timer = setTimeout(resume, leftMs);
        this.#waiting.push(() => {
          clearTimeout(timer);
          resume();
        });
      });
    }
  }

  /** Sends one line to its stdin. */
  say(line: string): void {
    this.child.stdin!.write(`${line}\n`);
  }

  /**
   * Closes its stdin, or sends a signal, waits for its end and returns the exit code; kills it (null) if it does not end
   * in time.
   */
  async end(timeoutMs = 5_000, signal?: NodeJS.Signals): Promise<number | null> {
    if (signal === undefined) this.child.stdin!.end();
    else this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), timeoutMs);
    const code = await this.ended;
    clearTimeout(timer);
    return code;
  }
}

let count = 0;

/**
 * A network namespace of its own, with only a loopback interface that is up.
 * @example
 * await using space = await Namespace.create();
 * const server = space.spawn(process.execPath, 'server.js');
 * const { stdout } = await space.must('ping', '-c1', '10.0.0.2');
 */
export class Namespace {
  readonly name: string;
  readonly #running = new Set<Running>();
  #disposed = false;

  private constructor(name: string) {
    this.name = name;
  }

  static async create(): Promise<Namespace> {
    const space = new Namespace(`et-${process.pid}-${count++}`);
    await must('ip', ['netns', 'add', space.name]);
    await space.must('ip', 'link', 'set', 'lo', 'up');
    return space;
  }

  /** Runs a command inside to its end; a failure is a code, not an exception. */
  exec(command: string, ...args: string[]): Promise<Result> {
    return this.execWith({}, command, ...args);
  }

  execWith(options: ExecOptions, command: string, ...args: string[]): Promise<Result> {
    return run('ip', ['netns', 'exec', this.name, command, ...args], options);
  }

  /** Runs a command inside; rejects with its stderr unless it succeeds. */
  must(command: string, ...args: string[]): Promise<Result> {
    return must('ip', ['netns', 'exec', this.name, command, ...args]);
  }

  /** Starts a program inside, which {@link dispose} ends if it still runs. */
  spawn(command: string, ...args: string[]): Running {
    // `ip netns exec` becomes the command by exec: the pid is the program's own.
    const child = spawn('ip', ['netns', 'exec', this.name, command, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    const running = new Running(child);
    this.#running.add(running);
    void running.ended.then(() => this.#running.delete(running));
    return running;
  }

  /** A cable to another namespace: an interface at each end, up. */
  async connect(other: Namespace, name: string, otherName: string): Promise<void> {
    const peer = ['peer', 'name', otherName, 'netns', other.name];
    await must('ip', ['-n', this.name, 'link', 'add', name, 'type', 'veth', ...peer]);
    await must('ip', ['-n', this.name, 'link', 'set', name, 'up']);
    await must('ip', ['-n', other.name, 'link', 'set', otherName, 'up']);
  }

  /** Ends what runs inside, and removes the namespace. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    const running = [...this.#running];
    for (const { child } of running) child.kill('SIGKILL');
    await Promise.all(running.map(({ ended }) => ended));
    // What those started themselves: every process in a namespace of our own making.
    const { stdout } = await run('ip', ['netns', 'pids', this.name], {});
    for (const pid of stdout.split('\n').map(Number)) {
      if (pid > 1 && pid !== process.pid) killQuietly(pid);
    }
    await run('ip', ['netns', 'del', this.name], {});
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it ended meanwhile
  }
}

function run(command: string, args: readonly string[], options: ExecOptions): Promise<Result> {
  return new Promise((done) => {
    const env = { ...process.env, LC_ALL: 'C', ...options.env };
    const timeout = options.timeoutMs ?? TIMEOUT_MS;
    const settings = { env, timeout, killSignal: 'SIGKILL', maxBuffer: 64 << 20, encoding: 'utf8' } as const;
    const child = execFile(command, args, settings, (error, stdout, stderr) => {
      const failed = error !== null && child.exitCode === null && child.signalCode === null ? error.message : '';
      done({ code: child.exitCode, stdout, stderr: stderr + failed });
    });
    child.stdin?.end();
  });
}

async function must(command: string, args: readonly string[]): Promise<Result> {
  const result = await run(command, args, {});
  if (result.code === 0) return result;
  const why = result.code === null ? 'was killed' : `ended with ${result.code}`;
  throw new Error(`${[command, ...args].join(' ')} ${why}: ${result.stderr.trim() || result.stdout.trim()}`);
}
