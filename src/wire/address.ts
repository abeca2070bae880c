/**
 * Addresses as values: IP (both families in one form), CIDR prefixes, and Ethernet's. @module
 *
 * An IP address is 128 bits in four int32 words. An IPv4 address is held in its mapped form, ::ffff:a.b.c.d
 * (RFC 4291 §2.5.5.2), so tables, sockets and demultiplexing know one form only.
 */

const MAPPED = 0xffff;

/** Whether these are the three high words of an IPv4 address in its mapped form. */
export const isMapped = (a: number, b: number, c: number): boolean => a === 0 && b === 0 && c === MAPPED;

/** The first word of a link-local address. */
export const LINK_LOCAL = 0xfe800000 | 0;
const GROUP_OF_INTERFACE = 0xff010000 | 0;
const GROUP_OF_LINK = 0xff020000 | 0;
/** RFC 4291 §2.7: the T flag says only who assigned a group. */
const TRANSIENT = 0x00100000;

/**
 * Whether an address with this first word is valid on one link only: RFC 4007. Inside the stack such an address carries
 * the index of its interface in the second word, which is 0 on every wire: so tables, hashes and sockets tell equal
 * addresses of two links apart without knowing of zones.
 */
export const isZoned = (a: number): boolean =>
  // All others, but for some groups, are sorted out by the first two comparisons.
  a < 0 &&
  a >= LINK_LOCAL &&
  (a === LINK_LOCAL || (a & ~TRANSIENT) === GROUP_OF_LINK || (a & ~TRANSIENT) === GROUP_OF_INTERFACE);

/** The second word of an address as a wire has it: without the zone. */
export const wireWord = (a: number, b: number): number => (isZoned(a) ? 0 : b);

/** Zones are the indices of interfaces, and these are small. */
const ZONE_MAX = 0xffff;

/** An IPv4 or IPv6 address; immutable. */
export class IpAddress {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;

  /** From the four int32 words, most significant first. */
  constructor(a: number, b: number, c: number, d: number) {
    this.a = a | 0;
    this.b = b | 0;
    this.c = c | 0;
    this.d = d | 0;
  }

  /** From the int32 word of an IPv4 address. */
  static v4(word: number): IpAddress {
    return new IpAddress(0, 0, MAPPED, word);
  }

  /**
   * Reads the usual text forms of both families.
   * @throws TypeError if `text` is not an address.
   */
  static parse(text: string): IpAddress {
    const address = parseIp(text);
    if (address === null) throw new TypeError(`address: expected an IPv4 or IPv6 address, got ${JSON.stringify(text)}`);
    return address;
  }

  get isV4(): boolean {
    return isMapped(this.a, this.b, this.c);
  }

  get family(): 4 | 6 {
    return this.isV4 ? 4 : 6;
  }

  /** 0.0.0.0 or ::. */
  get isUnspecified(): boolean {
    return this.a === 0 && this.b === 0 && (this.c === 0 || this.c === MAPPED) && this.d === 0;
  }

  get isLoopback(): boolean {
    if (this.isV4) return this.d >>> 24 === 127;
    return this.a === 0 && this.b === 0 && this.c === 0 && this.d === 1;
  }

  get isMulticast(): boolean {
    return this.isV4 ? this.d >>> 28 === 0xe : this.a >>> 24 === 0xff;
  }

  /** 255.255.255.255. */
  get isLimitedBroadcast(): boolean {
    return this.isV4 && this.d === -1;
  }

  /** fe80::/10 or 169.254.0.0/16. */
  get isLinkLocal(): boolean {
    return this.isV4 ? this.d >>> 16 === 0xa9fe : this.a >>> 22 === 0x3fa;
  }

  /** The index of the interface whose link the address belongs to; 0 where it says none, or has no need to. RFC 4007. */
  get zone(): number {
    return isZoned(this.a) ? this.b : 0;
  }

  /** Whether the address means nothing without a zone, and has none. */
  get lacksZone(): boolean {
    return this.b === 0 && isZoned(this.a);
  }

  /** The same address on the link of the interface with index `zone`, 0: without one; unchanged if it needs no zone. */
  withZone(zone: number): IpAddress {
    return isZoned(this.a) && this.b !== zone ? new IpAddress(this.a, zone, this.c, this.d) : this;
  }

  equals(other: IpAddress): boolean {
    return this.d === other.d && this.c === other.c && this.b === other.b && this.a === other.a;
  }

  /** `fe80::1%2` where a zone is known: RFC 4007 §11. */
  toString(): string {
    if (this.isV4) return formatV4(this.d);
    const { zone } = this;
    if (zone === 0) return formatV6(this.a, this.b, this.c, this.d);
    return `${formatV6(this.a, 0, this.c, this.d)}%${zone}`;
  }
}

/** 0.0.0.0 and ::. */
export const UNSPECIFIED_V4 = IpAddress.v4(0);
export const UNSPECIFIED_V6 = new IpAddress(0, 0, 0, 0);

export const formatV4 = (word: number): string =>
  `${word >>> 24}.${(word >>> 16) & 0xff}.${(word >>> 8) & 0xff}.${word & 0xff}`;

/** RFC 5952: lower case, the longest run of two or more zero groups as `::`, mapped addresses dotted. */
export function formatV6(a: number, b: number, c: number, d: number): string {
  if (a === 0 && b === 0 && c === MAPPED) return `::ffff:${formatV4(d)}`;
  const groups: number[] = [];
  for (const word of [a, b, c, d]) groups.push(word >>> 16, word & 0xffff);
  let best = -1;
  let bestLength = 1; // a run of one is not shortened: RFC 5952 §4.2.2
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n++;
    if (n > bestLength) {
      best = i;
      bestLength = n;
    }
    i += n;
  }
  const hex = groups.map((g) => g.toString(16));
  if (best < 0) return hex.join(':');
  return `${hex.slice(0, best).join(':')}::${hex.slice(best + bestLength).join(':')}`;
}

function parseV4(text: string): number | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  let word = 0;
  for (const part of parts) {
    // No leading zeros: some readers take them as octal (RFC 6943 §3.1.1).
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null;
    word = (word << 8) | Number(part);
  }
  return word | 0;
}

/** @param last - whether these groups end the address, where RFC 4291 §2.2 allows a dotted IPv4 address */
function parseGroups(text: string, last: boolean): number[] | null {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    if (last && i === parts.length - 1 && part.includes('.')) {
      const word = parseV4(part);
      if (word === null) return null;
      groups.push(word >>> 16, word & 0xffff);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return null;
      groups.push(Number.parseInt(part, 16));
    }
  }
  return groups;
}

function parseV6(text: string): IpAddress | null {
  const halvesOf = text.split('::');
  if (halvesOf.length > 2) return null;
  const head = parseGroups(halvesOf[0]!, halvesOf.length === 1);
  const rest = halvesOf.length === 2 ? parseGroups(halvesOf[1]!, true) : [];
  if (head === null || rest === null) return null;
  const missing = 8 - head.length - rest.length;
  if (halvesOf.length === 2 ? missing < 1 : missing !== 0) return null;
  const g = [...head, ...new Array<number>(missing).fill(0), ...rest];
  const word = (i: number): number => (g[i]! << 16) | g[i + 1]!;
  const address = new IpAddress(word(0), word(2), word(4), word(6));
  // RFC 4291 §2.5.6: these bits are zero; here they are where the zone stands.
  return address.zone === 0 ? address : null;
}

/** `fe80::1%2`: RFC 4007 §11. */
function parseZoned(text: string, percent: number): IpAddress | null {
  const address = parseV6(text.slice(0, percent));
  const zone = /^[1-9]\d{0,4}$/.test(text.slice(percent + 1)) ? Number(text.slice(percent + 1)) : 0;
  if (address === null || !address.lacksZone || zone === 0 || zone > ZONE_MAX) return null;
  return address.withZone(zone);
}

/**
 * Reads an IPv4 or IPv6 address (RFC 4291 §2.2), or gives null. A zone may be written as the index of an interface; what
 * its name is only the stack knows.
 */
export function parseIp(text: string): IpAddress | null {
  if (text.includes(':')) {
    const percent = text.indexOf('%');
    return percent < 0 ? parseV6(text) : parseZoned(text, percent);
  }
  const word = parseV4(text);
  return word === null ? null : IpAddress.v4(word);
}

const maskWord = (bits: number): number => (bits <= 0 ? 0 : bits >= 32 ? -1 : (-1 << (32 - bits)) | 0);

/** An address with the length of its network prefix, as `10.0.0.1/24`. */
export class Cidr {
  readonly address: IpAddress;
  /** Bits of the prefix as written: 0 to 32, or 0 to 128. */
  readonly prefixLength: number;
  /** Bits of the prefix in the 128-bit form: 96 more for IPv4. */
  readonly bits: number;
  /** The directed broadcast address of an IPv4 prefix shorter than 31 bits (RFC 3021), else null. */
  readonly broadcast: IpAddress | null;

  /** @throws RangeError if `prefixLength` does not fit the family. */
  constructor(address: IpAddress, prefixLength: number) {
    const most = address.isV4 ? 32 : 128;
    if (!Number.isInteger(prefixLength) || prefixLength < 0 || prefixLength > most) {
      throw new RangeError(`prefix length: expected 0 to ${most}, got ${prefixLength}`);
    }
    this.address = address;
    this.prefixLength = prefixLength;
    this.bits = address.isV4 ? prefixLength + 96 : prefixLength;
    const hasBroadcast = address.isV4 && prefixLength <= 30;
    this.broadcast = hasBroadcast ? IpAddress.v4(address.d | ~maskWord(prefixLength)) : null;
  }

  /**
   * Reads `address/length`; without a length the prefix is the whole address.
   * @throws TypeError if `text` is not of that form.
   */
  static parse(text: string): Cidr {
    const match = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text);
    const address = match && parseIp(match[1]!);
    const most = address?.isV4 ? 32 : 128;
    const length = match?.[2] === undefined ? most : Number(match[2]);
    if (!address || length > most) {
      throw new TypeError(`address: expected an address with prefix like 10.0.0.1/24, got ${JSON.stringify(text)}`);
    }
    return new Cidr(address, length);
  }

  /** Whether the address of these four words lies in the prefix. */
  containsWords(a: number, b: number, c: number, d: number): boolean {
    const { address, bits } = this;
    return (
      ((d ^ address.d) & maskWord(bits - 96)) === 0 &&
      ((c ^ address.c) & maskWord(bits - 64)) === 0 &&
      ((b ^ address.b) & maskWord(bits - 32)) === 0 &&
      ((a ^ address.a) & maskWord(bits)) === 0
    );
  }

  /** The same on the link of the interface with index `zone`; unchanged if the address needs no zone. */
  withZone(zone: number): Cidr {
    const address = this.address.withZone(zone);
    return address === this.address ? this : new Cidr(address, this.prefixLength);
  }

  contains(other: IpAddress): boolean {
    return this.containsWords(other.a, other.b, other.c, other.d);
  }

  toString(): string {
    return `${this.address}/${this.prefixLength}`;
  }
}

/** An Ethernet address: 16 high bits and 32 low ones. */
export class MacAddress {
  readonly high: number;
  readonly low: number;

  constructor(high: number, low: number) {
    this.high = high & 0xffff;
    this.low = low | 0;
  }

  /** Reads six hexadecimal bytes separated by `:` or `-`. @throws TypeError if `text` is not of that form. */
  static parse(text: string): MacAddress {
    if (!/^([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}$/.test(text)) {
      throw new TypeError(`mac: expected six bytes like 02:00:00:00:00:01, got ${JSON.stringify(text)}`);
    }
    const hex = text.replace(/[:-]/g, '');
    return new MacAddress(Number.parseInt(hex.slice(0, 4), 16), Number.parseInt(hex.slice(4), 16));
  }

  /** The group bit: broadcast or multicast. */
  get isGroup(): boolean {
    return (this.high & 0x100) !== 0;
  }

  equals(other: MacAddress): boolean {
    return this.low === other.low && this.high === other.high;
  }

  toString(): string {
    return formatMac(this.high, this.low);
  }
}

export const BROADCAST_MAC = new MacAddress(0xffff, -1);

export const formatMac = (high: number, low: number): string => {
  const hex = (high & 0xffff).toString(16).padStart(4, '0') + (low >>> 0).toString(16).padStart(8, '0');
  return hex.replace(/..(?!$)/g, '$&:');
};
