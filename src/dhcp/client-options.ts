/** What a DHCP client is told, and what it tells. @module */
import type { ProbeTiming } from '../iface/acd.ts';
import type { IpAddress, MacAddress } from '../wire/address.ts';
import type { Lease, Settings, StoredLease } from './lease.ts';

export type DhcpState =
  | 'INIT'
  | 'SELECTING'
  | 'REQUESTING'
  | 'INIT-REBOOT'
  | 'REBOOTING'
  | 'PROBING'
  | 'BOUND'
  | 'RENEWING'
  | 'REBINDING'
  | 'INFORMING'
  | 'RELEASING'
  | 'CLOSED';

/** What happens, in the words of who watches. */
export type DhcpEvent =
  | { readonly type: 'state'; readonly state: DhcpState }
  /** `address`: the one asked for, or in use. */
  | {
      readonly type: 'sent';
      readonly message: string;
      readonly xid: number;
      readonly to: IpAddress;
      readonly address: IpAddress | null;
    }
  /** `from`: the server's identifier; `address`: the one it gives. */
  | {
      readonly type: 'received';
      readonly message: string;
      readonly xid: number;
      readonly from: IpAddress;
      readonly address: IpAddress;
    }
  | { readonly type: 'bound'; readonly lease: Lease; readonly isRenewal: boolean }
  | { readonly type: 'informed'; readonly settings: Settings }
  /** The address was taken off the interface. */
  | { readonly type: 'lost'; readonly reason: 'expired' | 'refused' | 'conflict' | 'released' }
  /** Another host has the address; `isLost`: it was declined. */
  | { readonly type: 'conflict'; readonly address: IpAddress; readonly mac: MacAddress; readonly isLost: boolean }
  /** No server answers; the client goes on, but for an INFORM. */
  | { readonly type: 'silence' };

export interface DhcpClientOptions {
  /** RFC 4361; by default made of the link address. Null: none is sent. */
  readonly clientId?: Uint8Array | null;
  readonly hostName?: string;
  /** The address to ask for where none is stored. */
  readonly requestedAddress?: IpAddress;
  /** The lease of before a restart: its address is asked for first (INIT-REBOOT). */
  readonly stored?: StoredLease | undefined;
  /** RFC 2131 §3.2.4: whether a stored lease is used although no server answers. Default false: it may be another network. */
  readonly trustStored?: boolean;
  /** Whether servers are asked to broadcast. Default false. */
  readonly broadcast?: boolean;
  /** Whether one message may do: RFC 4039. Default false. */
  readonly rapidCommit?: boolean;
  /** How the link is asked for an address before it is used; null: not at all. Default: about half a second. */
  readonly probes?: ProbeTiming | null;
  /**
   * ms before the first message. RFC 2131 §4.4.1 would wait one to ten seconds at random, so that hosts that were switched
   * on together do not all ask at once; the default is none, as everywhere by now.
   */
  readonly startDelayMs?: number;
  onEvent?(event: DhcpEvent): void;
  /** The interface has an address with all that belongs to it, or other settings than before; null: it has none any more. */
  onConfigured?(lease: Lease | null): void;
}
