/** Virtual time and simulated networks, packet scripts: for hosts and stacks that must behave the same at every run. @module */
export type { FaultSettings, FaultStats, JitterShape } from '../phy/faults.ts';
export { Random } from '../phy/random.ts';
export { type Clock, type RunOptions, VirtualClock } from './clock.ts';
export type { Position, Script, ScriptEvent } from './drill/ast.ts';
export { SCRIPT_OPTIONS } from './drill/options.ts';
export { type ParseOptions, parseScript } from './drill/parse.ts';
export { PROFILE_NAMES, type ProfileName } from './drill/profiles.ts';
export { type Failure, type FailureKind, formatFailure, type ScriptResult } from './drill/result.ts';
export { runScript, type ScriptRunOptions } from './drill/run.ts';
export { ScriptError } from './drill/scanner.ts';
export { type Dumbbell, type DumbbellOptions, dumbbell } from './dumbbell.ts';
export { Link, type LinkEnd, type LinkOptions } from './link.ts';
export { Router, type RouterOptions, type RouterPort, type RouterPortOptions } from './router.ts';
export type { LinkChange, LinkFaults } from './schedule.ts';
export { Simulation, type SimulationOptions } from './simulation.ts';
