/** The messages of a DHCP client: RFC 2131 §4.4.1, table 5, says what stands in each. @module */
import type { DropReason } from '../iface/stats.ts';
import type { IpAddress, MacAddress } from '../wire/address.ts';
import * as dhcp from '../wire/dhcpv4.ts';

const { OPTION } = dhcp;

/** RFC 2132 §9.10: the least value of the option. */
const MESSAGE_SIZE_MIN = 576;
/** What a server must send beyond the message: IP and UDP headers. */
export const HEADERS = 28;

/** RFC 3442: "the client MUST request both the Router option and the Classless Static Routes option", the latter first. */
const WANTED = [
  OPTION.subnetMask,
  OPTION.classlessRoutes,
  OPTION.routers,
  OPTION.dnsServers,
  OPTION.domainName,
  OPTION.domainSearch,
  OPTION.mtu,
  OPTION.broadcast,
  OPTION.ntpServers,
  OPTION.leaseTime,
  OPTION.serverId,
  OPTION.renewalTime,
  OPTION.rebindingTime,
];

/** Who the client is; the same in each of its messages. */
export interface Identity {
  readonly mac: MacAddress;
  /** RFC 4361 §6.1; null: none, and the server goes by the link address. */
  readonly clientId: Uint8Array | null;
  readonly hostName: string | null;
  /** The largest IP packet the client takes. */
  readonly mtu: number;
  /** Asks for broadcast replies, for where unicast ones to an address not yet ours do not arrive. */
  readonly broadcast: boolean;
  readonly rapidCommit: boolean;
}

export interface Request {
  readonly type: number;
  readonly xid: number;
  readonly secs: number;
  /** The address in use, where the client has one: RFC 2131 §4.3.2. */
  readonly ciaddr: IpAddress | null;
  readonly requested: IpAddress | null;
  readonly serverId: IpAddress | null;
}

export function encodeRequest(identity: Identity, request: Request): Uint8Array {
  const { type, xid, secs, ciaddr, requested, serverId } = request;
  const options: dhcp.Option[] = [dhcp.numberOption(OPTION.messageType, type, 1)];
  if (identity.clientId !== null) options.push([OPTION.clientId, identity.clientId]);
  if (serverId !== null) options.push(dhcp.ipOption(OPTION.serverId, serverId));
  if (requested !== null) options.push(dhcp.ipOption(OPTION.requestedAddress, requested));
  // A DECLINE or RELEASE wants no answer.
  const isAnswered = type !== dhcp.DECLINE && type !== dhcp.RELEASE;
  if (isAnswered) {
    const size = Math.min(Math.max(identity.mtu, MESSAGE_SIZE_MIN), 0xffff);
    options.push(dhcp.numberOption(OPTION.maxMessageSize, size, 2));
    if (identity.hostName !== null) options.push(dhcp.textOption(OPTION.hostName, identity.hostName));
    if (identity.rapidCommit && type === dhcp.DISCOVER) options.push([OPTION.rapidCommit, new Uint8Array(0)]);
    options.push([OPTION.parameterList, Uint8Array.from(WANTED)]);
  }
  return dhcp.encode(
    {
      op: dhcp.BOOTREQUEST,
      xid,
      mac: identity.mac,
      secs,
      // Who has an address in use is answered there.
      broadcast: identity.broadcast && isAnswered && ciaddr === null,
      ciaddr: ciaddr?.d ?? 0,
    },
    options,
  );
}

/** A message of a server that is for this client. */
export interface Reply {
  readonly type: number;
  readonly yiaddr: number;
  readonly serverId: IpAddress;
  readonly options: dhcp.Options;
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

/** Reads the message in `[p, end)`, or says why it must be dropped. */
export function readReply(dv: DataView, p: number, end: number, own: Identity, xid: number): Reply | DropReason {
  const drop = dhcp.check(dv, p, end);
  if (drop !== null) return drop;
  // RFC 2131 §4.4.1: a reply whose transaction is not ours is discarded; so is one to another link address.
  const isOurs =
    dhcp.op(dv, p) === dhcp.BOOTREPLY &&
    dhcp.xid(dv, p) === xid >>> 0 &&
    dhcp.chaddrHigh(dv, p) === own.mac.high &&
    dhcp.chaddrLow(dv, p) === own.mac.low;
  if (!isOurs) return 'dhcp-other-client';
  const options = dhcp.parseOptions(dv, p, end);
  const echoed = options.get(OPTION.clientId);
  // RFC 6842 §3: a client identifier that comes back is ours, or the message is for another client.
  if (echoed !== undefined && own.clientId !== null && !sameBytes(echoed, own.clientId)) return 'dhcp-other-client';
  const serverId = dhcp.readIp(options, OPTION.serverId);
  // RFC 2131 table 3: every message of a server has it.
  if (serverId === null) return 'dhcp-bad-options';
  return { type: dhcp.messageType(options), yiaddr: dhcp.yiaddr(dv, p), serverId, options };
}
