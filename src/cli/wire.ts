/** What commands put around a device: a capture and a trace, which see the wire, and faults between it and the stack. @module */
import type { Host } from '../index.ts';
import { Capture, type Device, type FaultInjector, PcapWriter, Tracer } from '../phy/index.ts';
import type { Clock } from '../sim/index.ts';
import { CaptureFile } from './capture-file.ts';
import { type FaultPlan, playScenario, spoil } from './fault-options.ts';

/** A capture file, which several devices may be recorded in. */
export interface Recorder {
  readonly capture: Capture;
  close(): void;
}

/**
 * Opens the file of `--pcap`, or gives null where there is none.
 * @param complain - told when it can no longer be written
 * @throws CommandError if it cannot be made
 */
export function openRecorder(path: string | undefined, complain: (message: string) => void): Recorder | null {
  if (path === undefined) return null;
  const file = new CaptureFile(path, complain);
  const capture = new Capture(file, { format: file.format, epochMs: performance.timeOrigin });
  return { capture, close: () => file.close() };
}

export interface Wrapped {
  readonly device: Device;
  /** Null: there are none. */
  readonly faults: FaultInjector | null;
  /** Tells the capture, where there is one, why the stack drops what it drops. */
  explain(host: Host): void;
  /** Begins the scenario of the faults, where there is one; its times count from now. The result ends it. */
  beginScenario(clock: Clock): () => void;
}

export interface WrapOptions {
  readonly name: string;
  readonly recorder: Recorder | null;
  readonly faults: FaultPlan | null;
  readonly trace?: boolean;
}

export function wrap(inner: Device, { name, recorder, faults: plan, trace = false }: WrapOptions): Wrapped {
  let device = inner;
  let explain: Wrapped['explain'] = () => {};
  if (recorder !== null) {
    const writer = new PcapWriter(device, recorder.capture, { name });
    explain = (host) => writer.explain(host.stack.stats);
    device = writer;
  }
  if (trace) device = new Tracer(device, (line, way) => process.stderr.write(`${way === 'rx' ? '<' : '>'} ${line}\n`));
  const faults = plan === null ? null : spoil(device, plan);
  const beginScenario = (clock: Clock): (() => void) => {
    const player = plan === null || faults === null ? null : playScenario(plan, faults, clock);
    return () => player?.stop();
  };
  return { device: faults ?? device, faults, explain, beginScenario };
}
