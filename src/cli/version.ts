/** The version of the package. @module */
import { existsSync, readFileSync } from 'node:fs';

/** Of the package this file belongs to, two folders up in src/ and three in dist/. */
export function version(): string {
  const paths = ['../../package.json', '../../../package.json'].map((path) => new URL(path, import.meta.url));
  const path = paths.find((url) => existsSync(url));
  return path === undefined ? 'unknown' : JSON.parse(readFileSync(path, 'utf8')).version;
}
