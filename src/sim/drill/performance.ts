/** One script being played: its stack, its connections, what it has seen so far. @module */
import { LINUX } from '../../posix/index.ts';
import type { IpAddress } from '../../wire/address.ts';
import { AssertError, runSnippet } from './asserts.ts';
import type { CallAction, OptionLine, Script, ScriptEvent, ScriptPacket } from './ast.ts';
import { buildPacket } from './build.ts';
import { Calls, isStream } from './calls.ts';
import type { Flow } from './flow.ts';
import { sameBytes } from './flow.ts';
import { Flows } from './flows.ts';
import { formatPacket } from './format.ts';
import { describe, differences, joinSegments } from './match.ts';
import { addInfo, constantNames, sockstatName } from './names.ts';
import { type DrillOptions, readDrillOptions } from './options.ts';
import { knownSettings, PROFILES, type SettingsByName, unknownSettings } from './profiles.ts';
import { Fault } from './result.ts';
import type { ScriptRunOptions } from './run.ts';
import type { Scene } from './scene.ts';
import { runCommand, type ShellHost } from './shell.ts';
import { Stage } from './stage.ts';
import { KEEP_IDLE } from './sysctls.ts';
import { formatUs, timeFault, toleranceUs } from './time.ts';
import { type Address, type Decoded, decode } from './wire.ts';

/** How much longer than its tolerance an event is waited for, so that a message can say when it came. */
const GRACE_US = 2e6;
/** How long `*` waits. */
const ANY_US = 3600e6;
/** A call that blocks although the script does not say so. */
const CALL_US = 2e6;

interface Taken {
  readonly packet: Decoded;
  readonly flow: Flow | null;
  readonly atUs: number;
}

/** A call that has not returned, or whose return has not been looked at. */
interface Outstanding {
  readonly event: ScriptEvent;
  readonly endUs: number | null;
  readonly toleranceUs: number;
  readonly startUs: number;
  fault: string | null;
  error: unknown;
  isDone: boolean;
  returnedUs: number;
}

export class Performance {
  readonly trace: string[] = [];
  readonly notes = new Set<string>();
  readonly options: DrillOptions;
  readonly #stage: Scene;
  readonly #isV4: boolean;
  readonly #local: Address;
  readonly #remote: Address;
  readonly #flows: Flows;
  readonly #calls: Calls;
  readonly #names = constantNames();
  readonly #shell: ShellHost;
  #outstanding: Outstanding | null = null;
  /** What new sockets have for TCP_KEEPIDLE; 0: what they have anyway. */
  #keepIdleMs = 0;

  constructor(script: Script, run: ScriptRunOptions) {
    const given: OptionLine[] = Object.entries(run.options ?? {}).map(([name, value]) => ({
      at: { line: 1, column: 1 },
      name,
      value,
    }));
    this.options = readDrillOptions(given, script.options);
    this.#isV4 = this.options.ipVersion !== 'ipv6';
    const profile = run.profile ?? this.options.profile ?? 'ethertype';
    const { tcp } = PROFILES[profile];
    this.#stage = run.scene?.(this.options) ?? new Stage(this.options, { ...knownSettings(tcp), ...run.settings });
    const { local, remote, posix } = this.#stage;
    this.#local = addressBytes(local);
    this.#remote = addressBytes(remote);
    this.#flows = new Flows(this.options, this.#local, this.#remote);
    const flows = this.#flows;
    this.#calls = new Calls({
      posix,
      options: this.options,
      profile,
      localIp: local.toString(),
      remoteIp: remote.toString(),
      observer: {
        opened: (fd, type) => this.#opened(fd, isStream(type)),
        bound: (fd, port) => flows.bound(fd, port),
        listening: () => flows.listening(),
        connecting: (fd, address) => flows.connecting(fd, address),
        accepted: (fd, address) => flows.accepted(fd, address),
        closing: (fd) => flows.closing(fd),
      },
    });
    this.#shell = this.#shellHost(run.readFile ?? (() => null));
  }

  #opened(fd: number, isOfStreams: boolean): void {
    this.#flows.opened(fd, isOfStreams);
    if (!isOfStreams || this.#keepIdleMs === 0) return;
    this.#stage.posix.setsockopt(
      fd,
      LINUX.SOL_TCP,
      LINUX.TCP_KEEPIDLE,
      Math.max(1, Math.round(this.#keepIdleMs / 1000)),
    );
  }

  get nowUs(): number {
    return this.#stage.nowUs;
  }

  #shellHost(readFile: (path: string) => string | null): ShellHost {
    return {
      apply: (settings) => this.#apply(settings),
      note: (text) => this.notes.add(text),
      states: () => this.#stage.states().map(sockstatName),
      socketStates: () => this.#socketStates(),
      dropTimeWait: () => this.notes.add('ignored: tcpdrop'),
      readFile,
    };
  }

  #apply({ [KEEP_IDLE]: keepIdleMs, ...settings }: SettingsByName): void {
    if (typeof keepIdleMs === 'number') this.#keepIdleMs = keepIdleMs;
    for (const name of unknownSettings(settings)) this.notes.add(`ignored: no setting ${name}`);
    this.#stage.apply(settings);
  }

  #socketStates(): string[] {
    const names = ['', 'ESTABLISHED', 'SYN_SENT', 'SYN_RCVD', 'FIN_WAIT_1', 'FIN_WAIT_2', 'TIME_WAIT', 'CLOSED'];
    names.push('CLOSE_WAIT', 'LAST_ACK', 'LISTEN', 'CLOSING');
    return this.#calls.openFds.map((fd) => names[this.#stage.info(fd).state ?? 0] ?? 'UNKNOWN');
  }

  /** Goes to the time of an event of the script's own. Returns it. */
  async goTo(event: ScriptEvent): Promise<number> {
    const { time, action } = event;
    const baseUs = this.nowUs;
    const atUs = time.kind === 'relative' ? baseUs + time.us : time.us;
    const lateUs = baseUs - atUs;
    if (lateUs > toleranceUs(this.options, 0)) {
      throw new Fault('time', `expected this at ${formatUs(atUs)} s, and it is ${formatUs(baseUs)} s already`);
    }
    await this.#stage.advance(atUs);
    // One call at a time, as a thread has it.
    if (action.kind === 'call') await this.finish();
    return time.kind === 'relative' ? baseUs : 0;
  }

  async inject(packet: ScriptPacket): Promise<void> {
    const flow = this.#flows.forInjected(packet);
    if (packet.udpEncap !== null) this.notes.add('TCP in UDP is FreeBSD only');
    const ends = { source: this.#remote, destination: this.#local };
    this.#note('<', formatPacket(packet, this.#isV4));
    this.#stage.inject(buildPacket(packet, ends, flow, this.options.tsEcrScaled));
    await this.#stage.settle();
  }

  #note(sign: string, text: string, atUs = this.nowUs): void {
    this.trace.push(`${formatUs(atUs)} ${sign} ${text}`);
  }

  /** Waits for a packet of the stack and compares it. */
  async expect(event: ScriptEvent, expected: ScriptPacket): Promise<void> {
    const { time } = event;
    const baseUs = time.kind.startsWith('relative') ? this.nowUs : 0;
    const fromUs = baseUs + time.us;
    const toUs = baseUs + time.endUs;
    const isAny = time.kind === 'any';
    const tolerance = toleranceUs(this.options, Math.max(0, fromUs - this.nowUs));
    const untilUs = isAny ? this.nowUs + ANY_US : toUs + tolerance + GRACE_US;
    const flow = this.#flows.forExpected(expected);
    const first = await this.#take(flow, untilUs);
    const text = formatPacket(expected, this.#isV4);
    if (first === null) {
      const message = `expected a packet at ${isAny ? 'any time' : `${formatUs(toUs)} s`}, got none`;
      this.#failPacket(message, { expected: text, actual: null, differences: [] });
      return;
    }
    const taken = await this.#join(first, expected, isAny ? untilUs : Math.max(this.nowUs, toUs + tolerance));
    const faults = differences(expected, taken.packet, taken.flow, this.options);
    const actual = formatPacket(describe(taken.packet, taken.flow, expected), this.#isV4);
    this.#note('>', actual, first.atUs);
    if (faults.length > 0) {
      this.#failPacket('packet is not the one expected', { expected: text, actual, differences: faults });
    }
    const late = isAny ? null : timeFault('packet', first.atUs, fromUs, toUs, tolerance);
    if (late !== null) this.#failPacket(late, { expected: text, actual, differences: [] }, 'time');
  }

  #failPacket(message: string, packet: NonNullable<Fault['packet']>, kind: 'packet' | 'time' = 'packet'): void {
    if (!this.options.nonFatal.packet) throw new Fault(kind, message, packet);
    this.notes.add(`${message}: expected ${packet.expected}, got ${packet.actual ?? 'none'}`);
  }

  /** The next packet of a flow, or of any; null: none came until then. */
  async #take(flow: Flow | null, untilUs: number): Promise<Taken | null> {
    let taken: Taken | null = null;
    const look = (): boolean => {
      taken = this.#look(flow);
      return taken !== null;
    };
    await this.#stage.advance(untilUs, look);
    return taken;
  }

  /** Takes what was sent from the queue until something belongs to `flow`. */
  #look(flow: Flow | null): Taken | null {
    const { sent } = this.#stage;
    for (let i = 0; i < sent.length; i++) {
      const packet = decode(sent[i]!.bytes);
      const isOurs = packet !== null && sameBytes(packet.ip.destination, this.#remote);
      const of = isOurs ? this.#flows.forSent(packet) : null;
      if (!isOurs || (of === null && packet.icmp === null) || (of !== null && flow !== null && of !== flow)) continue;
      const { atUs } = sent[i]!;
      sent.splice(i, 1);
      return { packet, flow: of, atUs };
    }
    return null;
  }

  /** Takes further segments until they are as long as the script's one. */
  async #join(first: Taken, expected: ScriptPacket, untilUs: number): Promise<Taken> {
    const { body } = expected;
    if (this.options.strictSegments || body.kind !== 'tcp' || first.packet.payload.length === 0) return first;
    const parts = [first.packet];
    let length = first.packet.payload.length;
    while (length < body.seq.length) {
      const next = await this.#take(first.flow, untilUs);
      if (next === null) break;
      parts.push(next.packet);
      length += next.packet.payload.length;
      if (joinSegments(parts) === null || length > body.seq.length) {
        parts.pop();
        this.#stage.sent.unshift({ bytes: next.packet.bytes, atUs: next.atUs });
        break;
      }
    }
    return { ...first, packet: joinSegments(parts)! };
  }

  /** Makes a call; one that is to block goes on while the script does. */
  async call(event: ScriptEvent, action: CallAction, baseUs: number): Promise<void> {
    this.#note(' ', event.text);
    const endUs = action.endUs === null ? null : baseUs + action.endUs;
    const waiting: Outstanding = {
      event,
      endUs,
      toleranceUs: toleranceUs(this.options, endUs === null ? 0 : endUs - this.nowUs),
      startUs: this.nowUs,
      fault: null,
      error: null,
      isDone: false,
      returnedUs: 0,
    };
    this.#outstanding = waiting;
    this.#calls.run(action).then(
      (fault) => this.#returned(waiting, fault, null),
      (error: unknown) => this.#returned(waiting, null, error),
    );
    await this.#stage.settle();
    if (endUs === null || waiting.isDone) await this.finish();
  }

  #returned(waiting: Outstanding, fault: string | null, error: unknown): void {
    waiting.isDone = true;
    waiting.fault = fault;
    waiting.error = error;
    waiting.returnedUs = this.nowUs;
  }

  /** Waits for the call that has not returned, if there is one, and looks at what it gave. */
  async finish(): Promise<void> {
    const waiting = this.#outstanding;
    if (waiting === null) return;
    const { endUs, toleranceUs: tolerance, event } = waiting;
    const untilUs = endUs === null ? waiting.startUs + CALL_US : endUs + tolerance + GRACE_US;
    if (!waiting.isDone) await this.#stage.advance(untilUs, () => waiting.isDone);
    this.#outstanding = null;
    if (waiting.error !== null) throw waiting.error;
    const dueUs = endUs ?? waiting.startUs;
    const late = waiting.isDone
      ? timeFault('call returned', waiting.returnedUs, dueUs, dueUs, tolerance)
      : `call did not return: expected at ${formatUs(dueUs)} s, got nothing until ${formatUs(this.nowUs)} s`;
    const message = waiting.fault ?? late;
    if (message === null) return;
    if (!this.options.nonFatal.syscall) {
      throw new Fault(waiting.fault === null ? 'time' : 'call', message, null, event.at);
    }
    this.notes.add(message);
  }

  /** Runs the code of a snippet over TCP_INFO as it is now. */
  assert(code: string): void {
    this.#note(' ', `%{ ${code.trim().replace(/\s*\n\s*/g, '; ')} }%`);
    if (this.#flows.fd >= 0) addInfo(this.#names, this.#stage.info(this.#flows.fd));
    try {
      runSnippet(code, this.#names);
    } catch (error) {
      if (error instanceof AssertError) throw new Fault('assert', error.message);
      throw error;
    }
  }

  command(command: string): void {
    this.#note(' ', `\`${command.replace(/\s*\n\s*/g, '; ')}\``);
    const failure = this.#stage.shell === null ? runCommand(command, this.#shell) : this.#stage.shell(command);
    if (failure !== null) throw new Fault('command', failure);
  }

  /** Ends the stack. @returns bytes of memory that did not come back */
  close(): number {
    return this.#stage.close();
  }
}

/** 4 or 16 bytes. */
function addressBytes(address: IpAddress): Address {
  const words = address.isV4 ? [address.d] : [address.a, address.b, address.c, address.d];
  return Uint8Array.from(words.flatMap((w) => [(w >>> 24) & 0xff, (w >>> 16) & 0xff, (w >>> 8) & 0xff, w & 0xff]));
}
