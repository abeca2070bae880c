/** What the parts of mDNS share: times of RFC 6762, what goes out, who is where. @module */
import type { IpAddress } from '../../wire/address.ts';
import { CLASS_IN, type Message, nameKey, type RecordType, type ResourceRecord } from '../../wire/dns.ts';

/** RFC 6762 §3. */
export const GROUP_V4 = '224.0.0.251';
export const GROUP_V6 = 'ff02::fb';
export const MDNS_PORT = 5353;
/** RFC 6762 §10: seconds, of records with a host's name or address, and of others. */
export const TTL_HOST = 120;
export const TTL_OTHER = 4500;
/** RFC 6762 §17: what a message may have so that it crosses Ethernet whole, headers off. */
export const MESSAGE_BYTES_MAX = 1440;
/** Bytes of records put into one message, so that the header and the questions fit too. */
export const RECORD_BYTES_MAX = 1100;

/** A message to send: to everybody on the link, or to one host. */
export interface MdnsOutput {
  readonly message: Partial<Message>;
  /** Null: the group, of both families. */
  readonly to: MdnsPeer | null;
}

export interface MdnsPeer {
  readonly address: IpAddress;
  readonly port: number;
}

/** What a machine gets of the world besides the time. */
export interface MdnsWorld {
  /** Uniform uint32. */
  random(): number;
  send(output: MdnsOutput): void;
}

export const setKey = (name: string, type: RecordType): string => `${type} ${nameKey(name)}`;

/** A time within [least, most] ms by chance. */
export const between = (world: MdnsWorld, least: number, most: number): number =>
  least + (world.random() % (most - least + 1));

/** Bytes a record takes at most. */
export const sizeOf = (record: ResourceRecord, key: string): number => record.name.length + 12 + key.length;

export const isOfClassIn = (record: { readonly class: number }): boolean => record.class === CLASS_IN;
