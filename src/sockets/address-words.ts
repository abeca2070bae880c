/**
 * The addresses of a host as its options name them: written out, `10.0.0.1/24`, or by the word for what finds one,
 * `dhcp`, `slaac`. @module
 */
import { Cidr } from '../wire/address.ts';

/** What finds addresses by itself. */
export const ADDRESS_WORDS = ['dhcp', 'link-local', 'slaac'] as const;
export type AddressWord = (typeof ADDRESS_WORDS)[number];

export interface ParsedAddresses {
  readonly fixed: readonly Cidr[];
  /** Each once, in the order they were given. */
  readonly words: readonly AddressWord[];
}

const isWord = (text: string): text is AddressWord => (ADDRESS_WORDS as readonly string[]).includes(text);

/** @throws TypeError for what is neither an address with prefix nor one of {@link ADDRESS_WORDS} */
export function parseAddresses(addresses: readonly string[]): ParsedAddresses {
  const fixed: Cidr[] = [];
  const words = new Set<AddressWord>();
  for (const text of addresses) {
    if (isWord(text)) words.add(text);
    else fixed.push(parseCidr(text));
  }
  return { fixed, words: [...words] };
}

function parseCidr(text: string): Cidr {
  if (/[.:]/.test(text)) return Cidr.parse(text);
  const expected = `an address with prefix like 10.0.0.1/24, or ${ADDRESS_WORDS.join(', ')}`;
  throw new TypeError(`address: expected ${expected}, got ${JSON.stringify(text)}`);
}
