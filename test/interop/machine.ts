/**
 * Real servers on the machine's loopback, and `ethertype run` beside them: what the tests of programs behind the stack
 * share. Each server has a free port and a folder of its own, and ends with its test. @module
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Use } from '../../src/cli/use.ts';
import type { FlowRecord } from '../../src/proxy/index.ts';
import { skipReason } from './namespace.ts';

export const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
// What tests start was not started by nohup(1), even where the tests were.
if (process.env._?.endsWith('/nohup') === true) delete process.env._;

const RUN_MS = 60_000;
const READY_MS = 20_000;
const END_MS = 5_000;

/** Why `ethertype run` cannot be tested here, or false. */
export function skipRun(...tools: string[]): string | false {
  const reason = skipReason('unshare', ...tools);
  if (reason !== false) return reason;
  const probe = spawnSync('unshare', ['--user', '--map-root-user', '--net', 'true'], { encoding: 'utf8' });
  return probe.status !== 0 && `needs user namespaces: ${probe.stderr.trim()}`;
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export async function until(what: () => boolean | Promise<boolean>, ms = END_MS): Promise<boolean> {
  for (const deadline = Date.now() + ms; Date.now() < deadline; await pause(20)) {
    if (await what()) return true;
  }
  return what();
}

/** Processes whose command line has `mark` in it. */
export const running = (mark: string): number =>
  readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(mark);
    } catch {
      return false;
    }
  }).length;

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What is left of a run: its flows, and what was in use. */
export interface Account {
  readonly flows: readonly FlowRecord[];
  readonly start: Use;
  readonly end: Use;
  readonly after: Use;
}

export interface RunOptions {
  readonly flags?: readonly string[];
  readonly timeoutMs?: number;
  /** How long the network has to come to rest after a script; default 0.4. */
  readonly settleSeconds?: number;
  /** Written to its stdin. */
  readonly input?: string;
  /** What the tool is started by, as `setpriv` for another user; and the tool itself, where it is another. */
  readonly by?: readonly string[];
  readonly main?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** What starts a program as a user who is nobody. */
export const NOBODY = ['setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups'] as const;

/** Runs a program to its end; a failure is a code, not an exception. */
export function execute(command: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return new Promise((done) => {
    const settings = {
      timeout: options.timeoutMs ?? RUN_MS,
      killSignal: 'SIGKILL',
      maxBuffer: 64 << 20,
      env: { ...process.env, LC_ALL: 'C', ...options.env },
      cwd: options.cwd,
    } as const;
    const child = execFile(command, args, settings, (_error, stdout, stderr) => {
      done({ code: child.exitCode, stdout, stderr });
    });
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
  });
}

/** Servers of one test file. */
export class Machine {
  readonly folder: string;
  readonly #children: ChildProcess[] = [];
  readonly #servers: { close(): void }[] = [];
  #count = 0;

  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'et-machine-'));
    chmodSync(this.folder, 0o1777); // also for servers and users that are not root
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** A port of the loopback that was free a moment ago. */
  async freePort(): Promise<number> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }

  /** Serves in this process; returns the port. */
  async serve(server: Server, host = '127.0.0.1'): Promise<number> {
    await new Promise<void>((resolve) => server.listen(0, host, resolve));
    const sockets = new Set<import('node:net').Socket>();
    server.on('connection', (socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => sockets.delete(socket));
    });
    this.#servers.push({
      close: () => {
        server.close();
        for (const socket of sockets) socket.destroy();
      },
    });
    return (server.address() as AddressInfo).port;
  }

  serveHttp(handler: RequestListener, host?: string): Promise<number> {
    return this.serve(createHttp(handler), host);
  }

  /** Starts a server, and waits until it answers on `port` of 127.0.0.1. */
  async start(port: number, command: string, args: readonly string[], more: SpawnOptions = {}): Promise<ChildProcess> {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...more });
    this.#children.push(child);
    let said = '';
    for (const output of [child.stdout, child.stderr])
      output?.on('data', (chunk) => (said = `${said}${chunk}`.slice(-4000)));
    let isMissing = false;
    child.once('error', () => (isMissing = true));
    const answers = (): Promise<boolean> =>
      new Promise((resolve) => {
        const socket = connect(port, '127.0.0.1');
        socket.once('connect', () => {
          socket.destroy();
          resolve(true);
        });
        socket.once('error', () => resolve(false));
      });
    const hasEnded = (): boolean => isMissing || child.exitCode !== null || child.signalCode !== null;
    await until(async () => hasEnded() || (await answers()), READY_MS);
    assert.ok(!hasEnded() && (await answers()), `${command} does not serve: ${said}`);
    return child;
  }

  /** `ethertype run` with the machine's loopback, to its end, and its account. */
  async run(options: RunOptions, command: string, ...args: string[]): Promise<Ended & Account> {
    const [log, stats] = [this.path(`flows-${this.#count}`), this.path(`stats-${this.#count++}`)];
    const flags = ['--host-loopback', '--log', log, '--stats', stats, ...(options.flags ?? [])];
    const line = [
      ...(options.by ?? []),
      process.execPath,
      options.main ?? MAIN,
      'run',
      ...flags,
      '--',
      command,
      ...args,
    ];
    const ended = await execute(line[0]!, line.slice(1), options);
    const lines = (file: string): unknown[] =>
      readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line));
    const uses = lines(stats) as Account[];
    assert.equal(uses.length, 1, `no account: ${ended.stderr}`);
    return { ...ended, ...uses[0]!, flows: lines(log) as FlowRecord[] };
  }

  /**
   * The same of a shell script that must succeed, and after which a moment later nothing may be in use: no flow, frame,
   * byte or descriptor more than when it began, and none at all once it is closed.
   */
  async script(script: string, options: RunOptions = {}): Promise<Ended & Account> {
    const result = await this.run(
      options,
      'bash',
      '-eo',
      'pipefail',
      '-c',
      `${script}\nsleep ${options.settleSeconds ?? 0.4}`,
    );
    assert.equal(result.code, 0, result.stderr);
    assertNothingLeft(result);
    return result;
  }

  /** Ends the servers, and removes the folder. */
  async close(): Promise<void> {
    for (const server of this.#servers) server.close();
    await Promise.all(this.#children.map(end));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Bytes of a known hash: `length` of a pattern, made as they are asked for. */
export class Source {
  readonly #piece = Buffer.alloc(1 << 20, 'forty-one bytes that begin again and again');
  readonly hashes = new Map<number, string>();

  hash(length: number): string {
    const known = this.hashes.get(length);
    if (known !== undefined) return known;
    const sum = createHash('sha256');
    for (let left = length; left > 0; left -= this.#piece.length) sum.update(this.#piece.subarray(0, left));
    const hash = sum.digest('hex');
    this.hashes.set(length, hash);
    return hash;
  }

  /** Answers `GET /BYTES` with so many of them, and a PUT with its hash. */
  readonly answer = (request: IncomingMessage, response: ServerResponse): void => {
    if (request.method === 'PUT') {
      const sum = createHash('sha256');
      request.on('data', (chunk) => sum.update(chunk));
      request.on('end', () => response.end(sum.digest('hex')));
      return;
    }
    let left = Number.parseInt(request.url?.slice(1) ?? '', 10) || 0;
    response.setHeader('content-length', left);
    const more = (): void => {
      for (; left > 0; ) {
        const chunk = this.#piece.subarray(0, left);
        left -= chunk.length;
        if (!response.write(chunk)) return;
      }
      response.off('drain', more);
      response.end();
    };
    response.on('drain', more);
    more();
  };
}

export function assertNothingLeft({ start, end, after }: Account): void {
  const { tcp, udp, echo, bytes } = end;
  assert.deepEqual({ tcp, udp, echo, bytes }, { tcp: 0, udp: 0, echo: 0, bytes: start.bytes }, 'in use at the end');
  assert.ok(end.descriptors <= start.descriptors, `${end.descriptors} descriptors, ${start.descriptors} at first`);
  assert.deepEqual({ ...after, descriptors: 0 }, { tcp: 0, udp: 0, echo: 0, bytes: 0, descriptors: 0 });
  assert.ok(after.descriptors < start.descriptors, 'the descriptor of the interface is given back');
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGINT');
  const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
  await ended;
  clearTimeout(timer);
}
