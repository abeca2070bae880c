/** Ports of the machine that lead to ports of the guest, as text: `[ADDRESS:]HOST:GUEST[/tcp|/udp]`. @module */
import { parseIp } from '../wire/address.ts';

/** A port of the machine that leads to one of the guest. */
export interface Publication {
  /** Where the machine listens; default 127.0.0.1. What comes there goes to the guest's address of the same family. */
  readonly host?: string | undefined;
  /** 0: a free one. */
  readonly port: number;
  readonly guestPort: number;
  /** Default tcp. */
  readonly protocol?: 'tcp' | 'udp' | undefined;
}

/** Ports of one range: each of them is a socket. */
const RANGE_MAX = 1024;
const EXPECTED =
  'expected HOST:GUEST, two ports like 8080:80, 8080:80/udp or [::1]:8080:80, or two ranges of one length';
const FORM = /^(?:\[?([^\]]+?)\]?:)?(\d{1,5})(?:-(\d{1,5}))?:(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp))?$/;

/**
 * Reads a publication, or as many as its ranges have ports: `8000-8009:80-89`.
 * @throws TypeError for what is none; its message names no option
 */
export function parsePublication(text: string): Publication[] {
  const wrong = (why: string): never => {
    throw new TypeError(`${why}, got ${JSON.stringify(text)}`);
  };
  const match = FORM.exec(text);
  if (match === null) return wrong(EXPECTED);
  const [, host, ...numbers] = match;
  const protocol = match[6] === 'udp' ? 'udp' : 'tcp';
  const [first, last, guestFirst, guestLast] = [0, 1, 2, 3].map((i) => Number(numbers[i] ?? numbers[i & 2]));
  const count = last! - first! + 1;
  if (last! > 65_535 || guestLast! > 65_535 || guestFirst! < 1 || (first === 0 && count > 1)) return wrong(EXPECTED);
  if (count < 1 || count !== guestLast! - guestFirst! + 1) return wrong(EXPECTED);
  if (count > RANGE_MAX) return wrong(`expected at most ${RANGE_MAX} ports`);
  if (host !== undefined && parseIp(host) === null) return wrong('expected an IPv4 or IPv6 address in front');
  return Array.from({ length: count }, (_, i) => ({ host, port: first! + i, guestPort: guestFirst! + i, protocol }));
}
