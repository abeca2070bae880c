/** Loaded before the tests by `--import`: the whole suite runs on the checksum kernel without WebAssembly too. @module */
import { setDefaultKernel } from '../src/memory/kernel.ts';

setDefaultKernel('plain');
