/** DNS records as they can be posted: text and numbers only. @module */
import { IpAddress } from '../wire/address.ts';

/** `{ bytes }` stands for an array of bytes, `{ ip }` for an address. */
export function plainRecord(value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: [...value] };
  if (value instanceof IpAddress) return { ip: `${value}` };
  if (Array.isArray(value)) return value.map(plainRecord);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, plainRecord(part)]));
}

/** What {@link plainRecord} was given. */
export function recordOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(recordOf);
  if (typeof value !== 'object' || value === null) return value;
  const { bytes, ip } = value as { bytes?: readonly number[]; ip?: string };
  if (Array.isArray(bytes)) return Uint8Array.from(bytes);
  if (typeof ip === 'string') return IpAddress.parse(ip);
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, recordOf(part)]));
}
