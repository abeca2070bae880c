/** Virtual time, for hosts and whole networks that must behave the same at every run; packet scripts. @module */
export { Random } from '../phy/random.ts';
export { type Clock, type RunOptions, VirtualClock } from './clock.ts';
export type { Position, Script, ScriptEvent } from './drill/ast.ts';
export { SCRIPT_OPTIONS } from './drill/options.ts';
export { type ParseOptions, parseScript } from './drill/parse.ts';
export { PROFILE_NAMES, type ProfileName } from './drill/profiles.ts';
export { type Failure, type FailureKind, formatFailure, type ScriptResult } from './drill/result.ts';
export { runScript, type ScriptRunOptions } from './drill/run.ts';
export { ScriptError } from './drill/scanner.ts';
