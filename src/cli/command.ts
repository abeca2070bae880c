/** What a command of the tool is. @module */

/** One command: a file of its own, which exports it as `command` and is loaded when it is called. */
export interface Command {
  readonly name: string;
  /** What it does, in one line for the list of commands. */
  readonly summary: string;
  /** The text of `ethertype NAME --help`, without a line break at its end. */
  readonly usage: string;
  /**
   * Runs to its end.
   * @param args - what stood behind the name of the command
   * @returns the exit code: 0, or 1 for an operation that failed and has said so
   * @throws UsageError for wrong arguments (exit code 2), NetError or Error for what failed (exit code 1): the tool
   * prints its message, and nothing else, as one line
   */
  run(args: string[]): Promise<number>;
}

/** Wrong arguments; the message says what was expected, and what was got. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Why the file system refused, in its words: without the code in front, and without the call and the path behind. */
export const reasonOf = (error: unknown): string =>
  (error as Error).message.replace(/^[A-Z]+: /, '').replace(/,.*$/s, '');

/** An operation that failed; the message says what to do. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}
