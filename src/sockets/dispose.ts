/// <reference lib="esnext.disposable" preserve="true" />
/**
 * `Symbol.asyncDispose` and `Symbol.dispose`, also on engines that lack them: `using` compiled for them looks for the same
 * symbols. @module
 */

const symbols = Symbol as { asyncDispose?: symbol; dispose?: symbol };
symbols.asyncDispose ??= Symbol.for('Symbol.asyncDispose');
symbols.dispose ??= Symbol.for('Symbol.dispose');

export const asyncDispose: typeof Symbol.asyncDispose = Symbol.asyncDispose;
export const dispose: typeof Symbol.dispose = Symbol.dispose;
