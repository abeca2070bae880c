/** Scripts by name: files, folders, and patterns for where the shell has none. @module */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CommandError } from '../command.ts';

const SUFFIX = '.pkt';

/** The files that arguments name, each once, folders in the order of names. @throws CommandError where there is none */
export function findScripts(args: readonly string[]): string[] {
  const found = new Set<string>();
  for (const arg of args) {
    const paths = expand(arg);
    if (paths.length === 0)
      throw new CommandError(`${arg}: expected a script, a folder with ${SUFFIX} files or a pattern`);
    for (const path of paths) found.add(path);
  }
  return [...found];
}

function expand(arg: string): string[] {
  const stat = statSync(arg, { throwIfNoEntry: false });
  if (stat?.isDirectory()) return under(arg).filter((path) => path.endsWith(SUFFIX));
  if (stat !== undefined) return [arg];
  if (!/[*?[]/.test(arg)) return [];
  const parts = arg.split('/');
  const fixed = parts
    .slice(
      0,
      parts.findIndex((part) => /[*?[]/.test(part)),
    )
    .join('/');
  const base = fixed === '' ? (arg.startsWith('/') ? '/' : '.') : fixed;
  if (!statSync(base, { throwIfNoEntry: false })?.isDirectory()) return [];
  const pattern = patternOf(arg);
  return under(base).filter((path) => pattern.test(path));
}

function under(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? under(path) : entry.isFile() ? [path] : [];
  });
}

/** A shell's pattern: `**` any folders, `*` and `?` within one name, `[abc]`. */
function patternOf(glob: string): RegExp {
  const source = glob
    .replace(/^\.\//, '')
    .replace(/[.+^${}()|\\]/g, '\\$&')
    .replace(/\*\*\/?|\*|\?/g, (token) => {
      if (token === '**/') return '(?:.*/)?';
      if (token === '**') return '.*';
      return token === '*' ? '[^/]*' : '[^/]';
    });
  return new RegExp(`^${source}$`);
}
