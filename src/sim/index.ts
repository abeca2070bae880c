/** Virtual time, for hosts and whole networks that must behave the same at every run. @module */
export { Random } from '../phy/random.ts';
export { type Clock, type RunOptions, VirtualClock } from './clock.ts';
