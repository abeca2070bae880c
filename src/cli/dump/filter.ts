/**
 * Filters in the syntax of pcap-filter(7), as far as people use it: compiled by recursive descent to one predicate. `and`
 * and `or` have the same rank and join from left to right, as there; an address or port without qualifiers takes those of
 * the one before it. Missing on purpose, and said so when met: byte expressions (`tcp[tcpflags]`), arithmetic, names of
 * hosts, `gateway`, `protochain`, MPLS, PPPoE and wireless words. @module
 */
import { Cidr, MacAddress, parseIp } from '../../wire/address.ts';
import * as ethernet from '../../wire/ethernet.ts';
import type { AddressPlace, Predicate, Side } from './predicates.ts';
import * as predicates from './predicates.ts';

/** A filter that could not be read; the message names the word. */
export class FilterError extends Error {
  override readonly name = 'FilterError';
}

/** Depth of parentheses and negations; a filter that goes deeper is refused. */
const DEPTH_MAX = 100;
const LENGTH_MAX = 0xffff_ffff;

const IP_PROTOCOLS: Readonly<Record<string, number>> = {
  icmp: 1,
  igmp: 2,
  tcp: 6,
  udp: 17,
  gre: 47,
  esp: 50,
  ah: 51,
  icmp6: 58,
  ospf: 89,
  pim: 103,
  vrrp: 112,
  sctp: 132,
};
const ETHER_TYPES: Readonly<Record<string, number>> = {
  ip: ethernet.ETHERTYPE_IPV4,
  arp: ethernet.ETHERTYPE_ARP,
  rarp: 0x8035,
  ip6: ethernet.ETHERTYPE_IPV6,
  lldp: 0x88cc,
};
const PORTS: Readonly<Record<string, number>> = {
  ftp: 21,
  ssh: 22,
  telnet: 23,
  smtp: 25,
  domain: 53,
  bootps: 67,
  bootpc: 68,
  tftp: 69,
  http: 80,
  ntp: 123,
  snmp: 161,
  bgp: 179,
  https: 443,
  syslog: 514,
  mdns: 5353,
};
/** Words before `host`, `net`, `port`, `proto`. */
const QUALIFIERS = ['ether', 'link', 'ip', 'ip6', 'arp', 'tcp', 'udp', 'sctp'];
const TYPES = ['host', 'net', 'port', 'portrange', 'proto'];
const LEFT_OUT = [
  'gateway',
  'protochain',
  'mpls',
  'pppoes',
  'pppoed',
  'wlan',
  'type',
  'subtype',
  'geneve',
  'vxlan',
  'rnr',
];
const SYMBOLS: Readonly<Record<string, string>> = { '!': 'not', '&&': 'and', '||': 'or' };

/** What stands before an address or port, and is taken over by those behind it that have nothing of their own. */
interface Qualifiers {
  readonly of: string;
  readonly side: Side;
  readonly type: string;
}

/**
 * Compiles a filter; an empty one lets everything pass.
 * @throws FilterError
 * @example const accept = compile('tcp port 80 and host 10.0.0.1');
 */
export function compile(text: string): Predicate {
  const words = tokens(text);
  if (words.length === 0) return () => true;
  return new Parser(words).parse();
}

function tokens(text: string): string[] {
  const words = text.match(/&&|\|\||[()!]|[^\s()!&|]+|[&|]/g) ?? [];
  for (const word of words) {
    if (/[[\]]/.test(word)) {
      throw new FilterError(`filter: byte expressions like tcp[tcpflags] are left out, got ${JSON.stringify(word)}`);
    }
    if (/^[<>=&|]|^(len|\+|\*|\/)$/.test(word) && word !== '&&' && word !== '||') {
      throw new FilterError(`filter: comparisons are left out, use less N and greater N, got ${JSON.stringify(word)}`);
    }
  }
  return words.map((word) => SYMBOLS[word] ?? word);
}

class Parser {
  readonly #words: readonly string[];
  #at = 0;
  #last: Qualifiers | null = null;

  constructor(words: readonly string[]) {
    this.#words = words;
  }

  parse(): Predicate {
    const predicate = this.#expression(0);
    if (this.#at < this.#words.length) this.#fail('and, or, or the end');
    return predicate;
  }

  get #word(): string | undefined {
    return this.#words[this.#at];
  }

  #fail(expected: string): never {
    const got = this.#word === undefined ? 'its end' : JSON.stringify(this.#word);
    const before = this.#words.slice(Math.max(0, this.#at - 3), this.#at).join(' ');
    throw new FilterError(
      `filter: expected ${expected}, got ${got}${before === '' ? '' : ` behind ${JSON.stringify(before)}`}`,
    );
  }

  /** Takes the next word if it is one of these. */
  #take(...choices: readonly string[]): string | null {
    const word = this.#word;
    if (word === undefined || !choices.includes(word)) return null;
    this.#at++;
    return word;
  }

  #next(expected: string): string {
    const word = this.#word;
    if (word === undefined || word === ')' || word === '(') this.#fail(expected);
    this.#at++;
    return word!;
  }

  #expression(depth: number): Predicate {
    let predicate = this.#term(depth);
    for (let join = this.#take('and', 'or'); join !== null; join = this.#take('and', 'or')) {
      const next = this.#term(depth);
      predicate = join === 'and' ? predicates.and(predicate, next) : predicates.or(predicate, next);
    }
    return predicate;
  }

  #term(depth: number): Predicate {
    if (depth === DEPTH_MAX) throw new FilterError(`filter: parentheses and negations more than ${DEPTH_MAX} deep`);
    if (this.#take('not') !== null) return predicates.not(this.#term(depth + 1));
    if (this.#take('(') === null) return this.#primitive();
    const predicate = this.#expression(depth + 1);
    if (this.#take(')') === null) this.#fail('a closing parenthesis');
    return predicate;
  }

  #primitive(): Predicate {
    const start = this.#at;
    const word = this.#next('a word like host, port or tcp');
    if (LEFT_OUT.includes(word)) throw new FilterError(`filter: ${JSON.stringify(word)} is left out`);
    const alone = this.#single(word);
    if (alone !== null) return alone;
    this.#at = start;
    const qualifiers = this.#qualifiers();
    if (qualifiers.type === '') return this.#bare(start, qualifiers);
    this.#last = qualifiers;
    return this.#named(qualifiers);
  }

  /** Words that stand for themselves. */
  #single(word: string): Predicate | null {
    switch (word) {
      case 'less':
        return predicates.length(0, this.#number('a length', LENGTH_MAX));
      case 'greater':
        return predicates.length(this.#number('a length', LENGTH_MAX), LENGTH_MAX);
      case 'inbound':
        return predicates.direction('in');
      case 'outbound':
        return predicates.direction('out');
      case 'ifname':
        return predicates.interfaceName(this.#next('the name of an interface'));
      case 'vlan':
        return predicates.tagged(/^\d+$/.test(this.#word ?? '') ? this.#number('a VLAN', 4095) : null);
      case 'broadcast':
        return predicates.ether('dst', new MacAddress(0xffff, -1));
      case 'multicast':
        return predicates.etherGroup;
      default:
        return null;
    }
  }

  #number(what: string, max: number): number {
    const word = this.#next(what);
    const value = /^(\d+|0x[0-9a-f]+)$/i.test(word) ? Number(word) : Number.NaN;
    if (value >= 0 && value <= max) return value;
    this.#at--;
    return this.#fail(`${what} of 0 to ${max}`);
  }

  #qualifiers(): Qualifiers {
    const of = this.#take(...QUALIFIERS, ...Object.keys(IP_PROTOCOLS), ...Object.keys(ETHER_TYPES)) ?? '';
    const side = this.#side();
    const type = this.#take(...TYPES) ?? (side === null ? '' : 'host');
    return { of: of === 'link' ? 'ether' : of, side: side ?? 'either', type };
  }

  /** `src`, `dst`, `src or dst`, `src and dst`. */
  #side(): Side | null {
    const side = this.#take('src', 'dst');
    if (side === null) return null;
    const [join, other] = this.#words.slice(this.#at, this.#at + 2);
    if ((join === 'or' || join === 'and') && (other === 'src' || other === 'dst') && other !== side) {
      this.#at += 2;
      return join === 'or' ? 'either' : 'both';
    }
    return side as Side;
  }

  /** A protocol by itself, or an address or port that takes the qualifiers of the one before. */
  #bare(start: number, { of }: Qualifiers): Predicate {
    if (of === '') {
      this.#at = start;
      if (this.#last !== null) return this.#named(this.#last);
      const word = this.#word!;
      if (!isAddress(word)) this.#fail('a word like host, port or tcp');
      return this.#named({ of: '', side: 'either', type: 'host' });
    }
    if (this.#take('broadcast') !== null) {
      return of === 'ip'
        ? predicates.network('dst', Cidr.parse('255.255.255.255/32'), 'ip')
        : this.#single('broadcast')!;
    }
    if (this.#take('multicast') !== null) {
      return of === 'ip' ? predicates.ipGroup(4) : of === 'ip6' ? predicates.ipGroup(6) : predicates.etherGroup;
    }
    return this.#protocolWord(of);
  }

  #protocolWord(word: string): Predicate {
    if (word === 'ip') return predicates.ipVersion(4);
    if (word === 'ip6') return predicates.ipVersion(6);
    if (word === 'ether') return this.#fail('host, src, dst, proto, broadcast or multicast behind ether');
    const type = ETHER_TYPES[word];
    return type === undefined ? predicates.protocol(IP_PROTOCOLS[word]!) : predicates.etherType(type);
  }

  /** What stands behind the qualifiers. */
  #named(qualifiers: Qualifiers): Predicate {
    switch (qualifiers.type) {
      case 'port':
      case 'portrange':
        return this.#ports(qualifiers);
      case 'proto':
        return this.#proto(qualifiers.of);
      case 'net':
        return this.#net(qualifiers);
      default:
        return this.#host(qualifiers);
    }
  }

  #ports({ of, side, type }: Qualifiers): Predicate {
    const word = this.#next('a port');
    const range = type === 'portrange' ? /^(\w+)-(\w+)$/.exec(word) : null;
    const low = portNumber(range?.[1] ?? word);
    const high = portNumber(range?.[2] ?? word);
    if (low === null || high === null || low > high || (type === 'portrange' && range === null)) {
      this.#at--;
      this.#fail(type === 'port' ? 'a port of 0 to 65535' : 'ports like 6000-6010');
    }
    const number = IP_PROTOCOLS[of];
    const carriers = number === undefined ? predicates.PORT_CARRIERS : [number];
    if (!carriers.every((carrier) => predicates.PORT_CARRIERS.includes(carrier)) || of === 'ether' || of === 'arp') {
      throw new FilterError(`filter: ${of} has no ports`);
    }
    const ports = predicates.ports(side, low!, high!, carriers);
    return of === 'ip' || of === 'ip6' ? predicates.and(predicates.ipVersion(of === 'ip' ? 4 : 6), ports) : ports;
  }

  #proto(of: string): Predicate {
    const word = this.#next('a protocol').replace(/^\\/, '');
    const isNumber = /^(\d+|0x[0-9a-f]+)$/i.test(word);
    if (of === 'ether') {
      const type = isNumber ? Number(word) : ETHER_TYPES[word];
      if (type === undefined || type > 0xffff) this.#unknown('an Ethernet type');
      return predicates.etherType(type!);
    }
    const number = isNumber ? Number(word) : IP_PROTOCOLS[word];
    if (number === undefined || number > 255) this.#unknown('an IP protocol');
    const predicate = predicates.protocol(number!);
    return of === 'ip' || of === 'ip6'
      ? predicates.and(predicates.ipVersion(of === 'ip' ? 4 : 6), predicate)
      : predicate;
  }

  #unknown(expected: string): never {
    this.#at--;
    return this.#fail(expected);
  }

  #host({ of, side }: Qualifiers): Predicate {
    const word = this.#next('an address');
    if (of === 'ether') {
      if (!/^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$/i.test(word)) this.#unknown('an Ethernet address like 02:00:00:00:00:01');
      return predicates.ether(side, MacAddress.parse(word));
    }
    const address = parseIp(word);
    if (address === null) this.#unknown('an address (names are not looked up)');
    return this.#place(of, side, new Cidr(address!, address!.isV4 ? 32 : 128));
  }

  #net({ of, side }: Qualifiers): Predicate {
    const word = this.#next('a network');
    let cidr = parseNet(word);
    if (cidr !== null && this.#take('mask') !== null) {
      const mask = parseIp(this.#next('a mask'));
      const bits = mask?.isV4 ? prefixOf(mask.d) : null;
      if (bits === null || !cidr.address.isV4) this.#unknown('a mask like 255.255.0.0');
      cidr = new Cidr(cidr.address, bits!);
    }
    if (cidr === null) this.#unknown('a network like 10.0.0.0/8');
    return this.#place(of, side, cidr!);
  }

  #place(of: string, side: Side, cidr: Cidr): Predicate {
    const place: AddressPlace = of === 'ip' || of === 'ip6' || of === 'arp' ? of : 'any';
    if (of === 'ip6' && cidr.address.isV4) throw new FilterError('filter: ip6 expects an IPv6 address');
    if ((of === 'ip' || of === 'arp') && !cidr.address.isV4)
      throw new FilterError(`filter: ${of} expects an IPv4 address`);
    const predicate = predicates.network(side, cidr, place);
    const number = IP_PROTOCOLS[of];
    return number === undefined ? predicate : predicates.and(predicates.protocol(number), predicate);
  }
}

const isAddress = (word: string): boolean => parseIp(word) !== null;

/** `10.0.0.0/8`, and `10`, `10.1`, `10.1.2` for whole bytes. */
function parseNet(word: string): Cidr | null {
  const short = /^\d+(\.\d+){0,2}$/.test(word.replace(/\/\d+$/, ''));
  const [base, bits] = word.split('/');
  const bytes = base!.split('.');
  const whole = short ? [...bytes, ...new Array<string>(4 - bytes.length).fill('0')].join('.') : base!;
  const address = parseIp(whole);
  if (address === null) return null;
  const most = address.isV4 ? 32 : 128;
  if (bits === undefined) return new Cidr(address, short ? 8 * bytes.length : most);
  return /^\d+$/.test(bits) && Number(bits) <= most ? new Cidr(address, Number(bits)) : null;
}

/** Bits of a mask whose ones are all in front; null for another. */
function prefixOf(mask: number): number | null {
  const bits = Math.clz32(~mask);
  return (bits === 0 ? mask === 0 : mask === -1 << (32 - bits)) || bits === 32 ? bits : null;
}

function portNumber(word: string): number | null {
  if (Object.hasOwn(PORTS, word)) return PORTS[word]!;
  const port = /^\d+$/.test(word) ? Number(word) : Number.NaN;
  return port <= 65_535 ? port : null;
}
