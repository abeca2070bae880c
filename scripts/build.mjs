// Builds everything: the kernel (AssemblyScript -> bytes in a TypeScript file), then the whole tree (tsc -> dist/).
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
process.chdir(root);

function compileKernel(shared) {
  const out = `dist/kernel${shared ? '-shared' : ''}.wasm`;
  const memory = shared
    ? ['--sharedMemory', '--initialMemory', '1', '--maximumMemory', '65536', '--enable', 'threads']
    : ['--initialMemory', '1'];
  const flags = [
    '-O3',
    '--noAssert',
    '--runtime',
    'stub',
    '--enable',
    'simd',
    '--enable',
    'bulk-memory',
    '--importMemory',
  ];
  execFileSync('node_modules/.bin/asc', ['src/memory/kernel.as.ts', ...flags, ...memory, '-o', out], {
    stdio: 'inherit',
  });
  return readFileSync(out).toString('base64');
}

function buildKernel() {
  mkdirSync('dist', { recursive: true });
  const target = 'src/memory/kernel-bytes.ts';
  const source = readFileSync('src/memory/kernel.as.ts', 'utf8');
  const stamp = 'dist/kernel.stamp';
  if (existsSync(target) && existsSync(stamp) && readFileSync(stamp, 'utf8') === source) return;
  const text = [
    '// Made by scripts/build.mjs from kernel.as.ts: the compiled kernel, once for a memory and once for a shared one.',
    `export const KERNEL_BASE64 =\n  '${compileKernel(false)}';`,
    `export const SHARED_KERNEL_BASE64 =\n  '${compileKernel(true)}';`,
    '',
  ].join('\n');
  writeFileSync(target, text);
  writeFileSync(stamp, source);
}

if (process.argv.includes('--clean')) rmSync('dist', { recursive: true, force: true });
buildKernel();
if (!process.argv.includes('--kernel')) {
  try {
    execFileSync('node_modules/.bin/tsc', ['-p', '.'], { stdio: 'inherit' });
  } catch {
    process.exit(1);
  }
  if (existsSync('dist/src/cli/main.js')) chmodSync('dist/src/cli/main.js', 0o755);
}
