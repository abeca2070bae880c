/** Services as records: DNS-SD, RFC 6763. @module */
import {
  formatLabel,
  isName,
  labelsOf,
  normalName,
  type RecordOf,
  type ResourceRecord,
  record,
} from '../../wire/dns.ts';
import type { Draft } from './registration.ts';
import { TTL_HOST, TTL_OTHER } from './types.ts';

/** RFC 6763 §6: keys with values; `true`: the key alone. */
export type ServiceText = Readonly<Record<string, string | Uint8Array | true>>;

/** A service to publish. */
export interface Service {
  /** `_http._tcp`: RFC 6763 §7. */
  readonly type: string;
  /** What people choose it by, up to 63 bytes of UTF-8: `Our printer`. */
  readonly name: string;
  readonly port: number;
  readonly text?: ServiceText;
  /** RFC 6763 §7.1: `_printer`. */
  readonly subtypes?: readonly string[];
}

/** A service that was found: RFC 6763 §4. */
export interface ServiceInstance {
  readonly name: string;
  readonly type: string;
  /** Its whole domain name. */
  readonly fullName: string;
}

/** RFC 6763 §6.2 and §6.1: what a TXT record may have here, and one of its strings. */
const TEXT_BYTES_MAX = 1300;
const STRING_BYTES_MAX = 255;
const LABEL_BYTES_MAX = 63;
const DOMAIN = 'local';
/** RFC 6763 §9: the types there are. */
const TYPES_NAME = '_services._dns-sd._udp.local';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The domain name of a type. @throws TypeError unless it is of the form `_name._tcp` or `_name._udp` */
export function typeDomain(type: string): string {
  if (typeof type === 'string' && /^(?:_[^.]+\._sub\.)?_[\w-]+\._(?:tcp|udp)$/i.test(type)) return `${type}.${DOMAIN}`;
  throw new TypeError(`type: expected one like _http._tcp, got ${JSON.stringify(type)}`);
}

/** A text as one label. @throws TypeError for an empty one */
export function labelOf(text: string): string {
  if (typeof text !== 'string' || text === '') {
    throw new TypeError(`name: expected a text that is not empty, got ${JSON.stringify(text)}`);
  }
  return formatLabel(cutBytes(text, LABEL_BYTES_MAX));
}

/** A label with a number behind it, cut so that both fit: RFC 6762 §9, RFC 6763 appendix D. */
export function numbered(text: string, suffix: string): string {
  const head = cutBytes(text, LABEL_BYTES_MAX - suffix.length);
  return formatLabel(Uint8Array.of(...head, ...encoder.encode(suffix)));
}

/** The first bytes of a text, whole characters only. */
function cutBytes(text: string, bytesMax: number): Uint8Array {
  const bytes: number[] = [];
  for (const character of text) {
    const more = encoder.encode(character);
    if (bytes.length + more.length > bytesMax) break;
    bytes.push(...more);
  }
  return Uint8Array.from(bytes);
}

/** The strings of a TXT record. @throws RangeError, TypeError for what does not fit or has no key */
export function encodeText(text: ServiceText = {}): Uint8Array[] {
  let total = 0;
  const strings = Object.entries(text).map(([key, value]) => {
    // RFC 6763 §6.4: keys are printable ASCII without "=", at least one character.
    if (!/^[ -<>-~]+$/.test(key))
      throw new TypeError(`text: expected keys of printable ASCII, got ${JSON.stringify(key)}`);
    const tail = value === true ? new Uint8Array(0) : value instanceof Uint8Array ? value : encoder.encode(value);
    const string = Uint8Array.of(...encoder.encode(value === true ? key : `${key}=`), ...tail);
    total += string.length + 1;
    if (string.length > STRING_BYTES_MAX || total > TEXT_BYTES_MAX) {
      throw new RangeError(`text: expected at most ${STRING_BYTES_MAX} bytes a key and ${TEXT_BYTES_MAX} in all`);
    }
    return string;
  });
  return strings.length === 0 ? [new Uint8Array(0)] : strings;
}

/** What a TXT record says: RFC 6763 §6.4 (keys without case, the first counts). Values as text. */
export function decodeText(strings: readonly Uint8Array[]): Record<string, string | true> {
  const text: Record<string, string | true> = Object.create(null);
  for (const string of strings) {
    const at = string.indexOf(0x3d);
    const key = decoder.decode(at < 0 ? string : string.subarray(0, at)).toLowerCase();
    if (key === '' || key in text) continue; // RFC 6763 §6.4: "=" first: silently ignored
    text[key] = at < 0 ? true : decoder.decode(string.subarray(at + 1));
  }
  return text;
}

/** The records of a service under one of its names: RFC 6763 §4.1, §5, §6, §7.1, §9. */
export function serviceDrafts(service: Service, label: string, hostName: string): Draft[] {
  const domain = typeDomain(service.type);
  const name = `${label}.${domain}`;
  const shared = (owner: string, target: string): Draft => ({
    record: record(owner, TTL_OTHER, { type: 'PTR', target }),
    isUnique: false,
    isProbed: false,
  });
  const unique = (entry: ResourceRecord): Draft => ({ record: entry, isUnique: true, isProbed: true });
  return [
    unique(record(name, TTL_HOST, { type: 'SRV', priority: 0, weight: 0, port: service.port, target: hostName })),
    unique(record(name, TTL_OTHER, { type: 'TXT', strings: encodeText(service.text) })),
    shared(domain, name),
    ...(service.subtypes ?? []).map((sub) => shared(`${sub}._sub.${domain}`, name)),
    shared(TYPES_NAME, domain),
  ];
}

/** @throws TypeError, RangeError for a service that cannot be published */
export function checkService(service: Service): void {
  const { port, subtypes = [] } = service;
  typeDomain(service.type);
  labelOf(service.name);
  encodeText(service.text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new RangeError(`port: expected 0 to 65535, got ${port}`);
  }
  for (const sub of subtypes) {
    if (!isName(sub)) throw new TypeError(`subtypes: expected labels, got ${JSON.stringify(sub)}`);
  }
}

/** The instance that a PTR record names, or null where it is none. */
export function instanceOf(pointer: RecordOf<'PTR'>, type: string): ServiceInstance | null {
  const fullName = normalName(pointer.target);
  const label = labelsOf(fullName)[0];
  return label === undefined ? null : { name: decoder.decode(label), type, fullName };
}

export { DOMAIN as LINK_DOMAIN };
