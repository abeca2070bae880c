// Files of the tree, for the other scripts.
import { existsSync, readdirSync } from 'node:fs';

/** Paths under `folder` whose name ends in `ending`, sorted; none where the folder does not exist. */
export function filesUnder(folder, ending) {
  if (!existsSync(folder)) return [];
  const found = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) found.push(...filesUnder(path, ending));
    else if (entry.name.endsWith(ending)) found.push(path);
  }
  return found.sort();
}
