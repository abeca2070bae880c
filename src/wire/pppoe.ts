/**
 * PPP over Ethernet (RFC 2516 §4, §5), as far as tools need it to find the IP packets in a session; and the numbers of
 * PPP itself (RFC 1661 §2), whose negotiation is only named. Missing on purpose: all the rest. @module
 */

const CODE = 1; // u8
const SESSION = 2; // u16
/** The fixed header; in a session a packet of PPP follows. */
export const HEADER_LENGTH = 6;

export const ETHERTYPE_DISCOVERY = 0x8863;
export const ETHERTYPE_SESSION = 0x8864;
/** PPP without Ethernet around it, where an Ethernet type has to be said: RFC 7042. */
export const ETHERTYPE_PPP = 0x880b;

export const PPP_IPV4 = 0x0021;
export const PPP_IPV6 = 0x0057;

const CODES: Readonly<Record<number, string>> = {
  9: 'PADI',
  7: 'PADO',
  25: 'PADR',
  101: 'PADS',
  167: 'PADT',
};
const PROTOCOLS: Readonly<Record<number, string>> = {
  [PPP_IPV4]: 'IP',
  [PPP_IPV6]: 'IP6',
  32801: 'IPCP',
  32855: 'IPV6CP',
  33021: 'CCP',
  49185: 'LCP',
  49187: 'PAP',
  49699: 'CHAP',
};

/** The name of a PPP protocol. */
export const protocolName = (number: number): string =>
  PROTOCOLS[number] ?? `protocol 0x${number.toString(16).padStart(4, '0')}`;

/** The number at `p` that a packet of PPP begins with, and how many bytes it takes: RFC 1661 §2, §6.5. */
export const protocol = (dv: DataView, p: number): number =>
  (dv.getUint8(p) & 1) === 1 ? dv.getUint8(p) : dv.getUint16(p);
export const protocolLength = (dv: DataView, p: number): number => ((dv.getUint8(p) & 1) === 1 ? 1 : 2);
/** Whether it is at hand. */
export const hasProtocol = (dv: DataView, p: number, end: number): boolean =>
  end - p >= 1 && end - p >= protocolLength(dv, p);

export const session = (dv: DataView, p: number): number => dv.getUint16(p + SESSION);

/** `PPPoE [ses 0x11]`: of a session. */
export const format = (dv: DataView, p: number): string => `PPPoE [ses 0x${session(dv, p).toString(16)}]`;
/** `PPPoE PADI`: of what comes before one. */
export function formatDiscovery(dv: DataView, p: number): string {
  const code = dv.getUint8(p + CODE);
  return `PPPoE ${CODES[code] ?? `code ${code}`}`;
}
