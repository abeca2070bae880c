/** The terminal of this process, whose front a command may take for a group of its own, as shells do. @module */
import { readFileSync } from 'node:fs';
import { Struct } from './ifreq.ts';
import * as c from './libc.ts';

const TIOCSPGRP = 0x5410; // asm-generic/ioctls.h
const SIGTTOU = 22;
const SIG_IGN = 1;

/** Our process group and the one in front, which gets what is typed; null: there is no terminal. */
function groups(): { own: number; front: number } | null {
  const stat = readFileSync('/proc/self/stat', 'utf8'); // proc_pid_stat(5): behind the name in parentheses
  const [, , own, , terminal, front] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  return terminal === 0 ? null : { own: own!, front: front! };
}

/**
 * Looks whether we are in front now.
 * @returns what puts us there again, if we were: a shell in a process namespace cannot, for it does not see our group
 */
export function keepFront(libc: c.Libc): () => void {
  const before = groups();
  if (before === null || before.own !== before.front) return () => {};
  return () => {
    if (groups()?.front === before.own) return;
    const fd = libc.open('/dev/tty', c.O_RDWR | c.O_CLOEXEC);
    if (fd < 0) return; // it has hung up
    libc.signal(SIGTTOU, SIG_IGN); // else who is not in front is stopped for asking
    const group = new Struct(libc, 4);
    group.dv.setInt32(0, before.own, true);
    libc.ioctl(fd, TIOCSPGRP, group.address);
    libc.close(fd);
  };
}
