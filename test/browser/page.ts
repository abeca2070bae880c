/** The page: loads its tests into the engine that its address asks for. */
import { strip } from './without.ts';

strip(location.search);
const { run } = await import('./page-tests.ts');
Object.assign(globalThis, { run });
document.title = 'ready';
