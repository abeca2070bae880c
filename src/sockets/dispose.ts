/// <reference lib="esnext.disposable" preserve="true" />
/** `Symbol.asyncDispose`, also on engines that lack it: `await using` compiled for them looks for the same symbol. @module */

const symbols = Symbol as { asyncDispose?: symbol };
symbols.asyncDispose ??= Symbol.for('Symbol.asyncDispose');

export const asyncDispose: typeof Symbol.asyncDispose = Symbol.asyncDispose;
