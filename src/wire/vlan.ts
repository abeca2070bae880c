/**
 * The tag of a virtual LAN: IEEE 802.1Q clause 9.6. `p` is the first byte behind the Ethernet type that announces the
 * tag, so tags in tags (802.1ad) read the same way. Missing on purpose: the MAC-in-MAC tags of 802.1ah. @module
 */

const CONTROL = 0; // u3 priority, u1 drop eligible, u12 identifier
const ETHERTYPE = 2; // u16: of what follows
export const HEADER_LENGTH = 4;

/** Announces a customer's tag. */
export const ETHERTYPE_VLAN = 0x8100;
/** Announces a provider's tag, with a customer's inside as a rule: 802.1ad. */
export const ETHERTYPE_PROVIDER = 0x88a8;
/** Identifier of frames that have a priority and no LAN: clause 9.6, table 9-2. */
export const ID_NONE = 0;
/** 4095 is reserved. */
export const ID_MAX = 4094;

/** Why a tag was dropped. */
export type Drop = 'vlan-truncated';

/** Whether an Ethernet type announces a tag. */
export const isTag = (etherType: number): boolean => etherType === ETHERTYPE_VLAN || etherType === ETHERTYPE_PROVIDER;

/** 0 to 7, of which 1 is the lowest and 0 the next: clause I.4. */
export const priority = (dv: DataView, p: number): number => dv.getUint8(p + CONTROL) >>> 5;
export const dropEligible = (dv: DataView, p: number): boolean => (dv.getUint8(p + CONTROL) & 0x10) !== 0;
export const id = (dv: DataView, p: number): number => dv.getUint16(p + CONTROL) & 0xfff;
export const etherType = (dv: DataView, p: number): number => dv.getUint16(p + ETHERTYPE);

/** Says why the tag in `[p, end)` must be dropped, or null. After null no accessor reads out of bounds. */
export function check(_dv: DataView, p: number, end: number): Drop | null {
  return end - p < HEADER_LENGTH ? 'vlan-truncated' : null;
}

/** Writes a tag at `p`. @param type - the Ethernet type of what follows */
export function emit(dv: DataView, p: number, vlan: number, prio: number, eligible: boolean, type: number): void {
  dv.setUint16(p + CONTROL, (prio << 13) | (eligible ? 0x1000 : 0) | vlan);
  dv.setUint16(p + ETHERTYPE, type);
}

/** `vlan 5, p 0`, with `, DEI` where set. */
export const format = (dv: DataView, p: number): string =>
  `vlan ${id(dv, p)}, p ${priority(dv, p)}${dropEligible(dv, p) ? ', DEI' : ''}`;
