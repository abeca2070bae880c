/**
 * The DHCP client of one interface: RFC 2131 §4.4 with all its states, RFC 5227 for the address it is given, RFC 4039 by
 * choice. It has no clock and no socket: the stack's timers drive it, and a port of the interface brings it what comes.
 * One state is not the RFC's: PROBING, between the server's ACK and BOUND, while the link is asked for the address.
 * Missing on purpose: choosing among several offers (the first that can be used is taken), and authentication
 * (RFC 3118), which no server has. @module
 */
import { QUICK_PROBES } from '../iface/acd.ts';
import type { ConfigPort } from '../iface/config-port.ts';
import type { Interface } from '../iface/interface.ts';
import type { Packet } from '../iface/packet.ts';
import type { Timed } from '../iface/timers.ts';
import type { Stack } from '../stack.ts';
import { type IpAddress, type MacAddress, UNSPECIFIED_V4 } from '../wire/address.ts';
import * as dhcp from '../wire/dhcpv4.ts';
import { AppliedSettings } from './apply.ts';
import type { DhcpClientOptions, DhcpEvent, DhcpState } from './client-options.ts';
import { type Lease, parseLease, parseSettings, restoreLease, type StoredLease, storeLease } from './lease.ts';
import { encodeRequest, type Identity, type Reply, readReply } from './messages.ts';
import { BROADCAST, linkPath, sendDatagram } from './transport.ts';

const { OPTION } = dhcp;

/** RFC 2131 §4.1: 4 s, doubled each time up to 64 s, give or take one. */
const RETRY_FIRST_MS = 4000;
const RETRY_MAX_MS = 64_000;
const RETRY_FUZZ_MS = 1000;
/** RFC 2131 §4.4.5: between two requests for renewal, at least. */
const RENEW_MIN_MS = 60_000;
/** RFC 2131 §3.1.5: "waits a minimum of ten seconds" after a DECLINE. */
const DECLINE_MS = 10_000;
/** RFC 5227 §2.1.1: MAX_CONFLICTS, and RATE_LIMIT_INTERVAL from then on. */
const CONFLICTS_MAX = 10;
const CONFLICTS_MS = 60_000;
/** Requests without an answer: then the offer is forgotten (RFC 2131 §3.1.5), or the address of before (§3.2.4). */
const REQUESTS_MAX = 4;
const REBOOTS_MAX = 2;
/** Discovers without an answer after which that is told; they go on for ever. */
const SILENT_AFTER = 4;
/** NAKs in a row are answered ever later, so that a server and a client in disagreement make no storm. */
const NAK_MS = 1000;
/** How long a RELEASE may wait for the server's link address. */
const RELEASE_MS = 1000;
const RELEASE_STEP_MS = 20;

/** What each state waits for. */
const AWAITED: Partial<Record<DhcpState, readonly number[]>> = {
  SELECTING: [dhcp.OFFER],
  REQUESTING: [dhcp.ACK, dhcp.NAK],
  REBOOTING: [dhcp.ACK, dhcp.NAK],
  RENEWING: [dhcp.ACK, dhcp.NAK],
  REBINDING: [dhcp.ACK, dhcp.NAK],
  INFORMING: [dhcp.ACK],
};

export class DhcpClient implements Timed {
  readonly #stack: Stack;
  readonly #iface: Interface;
  readonly #options: DhcpClientOptions;
  readonly #identity: Identity;
  readonly #applied: AppliedSettings;
  readonly #port: ConfigPort;
  #state: DhcpState = 'CLOSED';
  /** The lease that is in use. */
  #lease: Lease | null = null;
  /** What was offered, is being probed, or was there before a restart. */
  #candidate: Lease | null = null;
  #informing: IpAddress | null = null;
  #xid = 0;
  /** Messages of the same kind sent in this state. */
  #sends = 0;
  /** When the address began to be looked for, and the first request for it was sent, in ms. */
  #beganAt = 0;
  #requestedAt = 0;
  #secs = 0;
  /** Deadlines in ms: the next message, T1, T2, and the end of the lease. */
  #retryAt = Number.POSITIVE_INFINITY;
  #renewAt = Number.POSITIVE_INFINITY;
  #rebindAt = Number.POSITIVE_INFINITY;
  #endAt = Number.POSITIVE_INFINITY;
  #declines = 0;
  #naks = 0;
  #onReleased: (() => void) | null = null;
  timerAt = 0;
  timerIndex = -1;

  /** @throws TypeError for an interface that is no Ethernet: there is no link address to go by */
  constructor(stack: Stack, iface: Interface, options: DhcpClientOptions = {}) {
    if (iface.device.medium !== 'ethernet')
      throw new TypeError('dhcp: expected an Ethernet interface, got an IP medium');
    this.#stack = stack;
    this.#iface = iface;
    this.#options = options;
    this.#applied = new AppliedSettings(stack, iface);
    const { clientId = dhcp.clientIdOf(iface.mac), hostName = null, broadcast = false, rapidCommit = false } = options;
    this.#identity = { mac: iface.mac, clientId, hostName, mtu: iface.device.mtu, broadcast, rapidCommit };
    this.#port = {
      port: dhcp.CLIENT_PORT,
      // RFC 2131 §4.1: a reply may be sent to the address that is being given.
      takes: (packet) => packet.version === 4 && packet.dstD >>> 28 < 0xe && AWAITED[this.#state] !== undefined,
      input: (packet, _port, p, end) => this.#input(packet, p, end),
    };
  }

  get state(): DhcpState {
    return this.#state;
  }

  /** The lease in use, null: none. */
  get lease(): Lease | null {
    return this.#lease;
  }

  /** The lease in use in a form that can be kept, for {@link DhcpClientOptions.stored}. */
  store(): StoredLease | null {
    return this.#lease === null ? null : storeLease(this.#lease, this.#now);
  }

  get #now(): number {
    return this.#stack.context.nowMs;
  }

  /** Begins to look for an address; the messages leave at polls of the stack. */
  start(): void {
    if (this.#state !== 'CLOSED') return;
    this.#open();
    const { stored, startDelayMs = 0 } = this.#options;
    this.#candidate = stored === undefined ? null : restoreLease(stored, this.#now);
    this.#enter(this.#candidate === null ? 'INIT' : 'INIT-REBOOT');
    this.#retryAt = this.#now + startDelayMs;
    this.#arm();
  }

  /** Asks for settings only, for an address that the interface has already: RFC 2131 §4.4.3. */
  inform(address: IpAddress): void {
    if (this.#state !== 'CLOSED') return;
    this.#open();
    this.#informing = address;
    this.#begin('INFORMING');
    this.#sendRequest();
  }

  /**
   * Gives the address back and ends: RFC 2131 §4.4.6.
   * @param onReleased - called when the message has left, or could not within a second; the address is gone then
   */
  release(onReleased: () => void = () => {}): void {
    const lease = this.#lease;
    if (lease === null) {
      this.close();
      onReleased();
      return;
    }
    this.#xid = this.#stack.context.random();
    this.#onReleased = onReleased;
    this.#enter('RELEASING');
    this.#send(dhcp.RELEASE, { ciaddr: lease.address.address, serverId: lease.serverId, to: lease.serverId });
    this.#endAt = this.#now + RELEASE_MS;
    this.#waitReleased();
  }

  /** Ends at once; the address leaves the interface, and no server is told. */
  close(): void {
    if (this.#state === 'CLOSED') return;
    this.#reset();
    if (this.#state === 'PROBING') this.#iface.claims.release(this.#candidate!.address.address);
    this.#applied.clear();
    this.#lease = null;
    this.#candidate = null;
    const { configPorts } = this.#iface;
    if (configPorts.includes(this.#port)) configPorts.splice(configPorts.indexOf(this.#port), 1);
    this.#enter('CLOSED');
    this.#onReleased?.();
    this.#onReleased = null;
  }

  #open(): void {
    this.#iface.configPorts.push(this.#port);
    this.#beganAt = this.#now;
  }

  // ---- time ----

  expire(nowMs: number): void {
    if (this.#state === 'RELEASING') this.#waitReleased();
    else if (nowMs >= this.#endAt) this.#lose('expired', 0);
    else if (nowMs >= this.#rebindAt && this.#state !== 'REBINDING') this.#request('REBINDING');
    else if (nowMs >= this.#renewAt && this.#state === 'BOUND') this.#request('RENEWING');
    else if (nowMs >= this.#retryAt) this.#retry();
    this.#arm();
  }

  #arm(): void {
    if (this.#state === 'CLOSED') return;
    let at = Math.min(this.#retryAt, this.#endAt);
    if (this.#state === 'BOUND') at = Math.min(at, this.#renewAt, this.#rebindAt);
    if (this.#state === 'RENEWING') at = Math.min(at, this.#rebindAt);
    if (at !== Number.POSITIVE_INFINITY) this.#stack.context.timers.atMost(this, at);
  }

  /** RFC 2131 §4.1: "a randomized exponential backoff". */
  #backoff(): number {
    const fuzz = (this.#stack.context.random() % (2 * RETRY_FUZZ_MS + 1)) - RETRY_FUZZ_MS;
    return Math.min(RETRY_FIRST_MS * 2 ** (this.#sends - 1), RETRY_MAX_MS) + fuzz;
  }

  /** The time for the next message has come. */
  #retry(): void {
    const isOver = (max: number): boolean => this.#sends >= max;
    switch (this.#state) {
      case 'INIT':
        this.#secs = 0;
        this.#beganAt = this.#now;
        this.#requestedAt = this.#now;
        this.#begin('SELECTING');
        break;
      case 'INIT-REBOOT':
        this.#request('REBOOTING');
        return;
      case 'SELECTING':
        if (this.#sends === SILENT_AFTER) this.#emit({ type: 'silence' });
        break;
      case 'REQUESTING':
        if (!isOver(REQUESTS_MAX)) break;
        this.#restart(0);
        return;
      case 'REBOOTING':
        if (!isOver(REBOOTS_MAX)) break;
        this.#rebootSilent();
        return;
      case 'INFORMING':
        if (!isOver(REQUESTS_MAX)) break;
        this.#emit({ type: 'silence' });
        this.close();
        return;
      default:
    }
    this.#sendRequest();
  }

  /** RFC 2131 §3.2.4: "the client MAY continue to use the previously allocated network address". */
  #rebootSilent(): void {
    const candidate = this.#candidate!;
    const isOver = this.#now >= candidate.startedAt + candidate.leaseMs;
    if (this.#options.trustStored === true && !isOver) this.#probe(candidate);
    else this.#restart(0);
  }

  // ---- states ----

  #enter(state: DhcpState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#emit({ type: 'state', state });
  }

  /** Enters a state in which an answer to a new transaction is awaited. */
  #begin(state: DhcpState): void {
    this.#xid = this.#stack.context.random();
    this.#sends = 0;
    this.#enter(state);
  }

  /** Asks for an address that the client has, or had. */
  #request(state: 'REBOOTING' | 'RENEWING' | 'REBINDING'): void {
    this.#requestedAt = this.#now;
    this.#beganAt = this.#now;
    this.#begin(state);
    this.#sendRequest();
  }

  /** Sends the message of this state, and sets the time of the next. */
  #sendRequest(): void {
    const candidate = this.#candidate?.address.address ?? null;
    const inUse = this.#lease?.address.address ?? null;
    this.#sends++;
    if (this.#state !== 'REQUESTING') this.#secs = Math.floor((this.#now - this.#beganAt) / 1000);
    this.#retryAt = this.#now + this.#backoff();
    switch (this.#state) {
      case 'SELECTING':
        this.#send(dhcp.DISCOVER, { requested: candidate ?? this.#options.requestedAddress ?? null });
        break;
      case 'REQUESTING':
        this.#send(dhcp.REQUEST, { requested: candidate, serverId: this.#candidate!.serverId });
        break;
      case 'REBOOTING':
        this.#send(dhcp.REQUEST, { requested: candidate });
        break;
      case 'RENEWING':
        // RFC 2131 §4.4.5: half of what is left until T2, but at least 60 seconds.
        this.#retryAt = this.#now + Math.max(RENEW_MIN_MS, (this.#rebindAt - this.#now) / 2);
        this.#send(dhcp.REQUEST, { ciaddr: inUse, to: this.#lease!.serverId });
        break;
      case 'REBINDING':
        this.#retryAt = this.#now + Math.max(RENEW_MIN_MS, (this.#endAt - this.#now) / 2);
        this.#send(dhcp.REQUEST, { ciaddr: inUse });
        break;
      case 'INFORMING':
        this.#send(dhcp.INFORM, { ciaddr: this.#informing });
        break;
      default:
    }
    this.#arm();
  }

  /** Forgets the deadlines. */
  #reset(): void {
    this.#stack.context.timers.cancel(this);
    this.#retryAt = this.#renewAt = this.#rebindAt = this.#endAt = Number.POSITIVE_INFINITY;
  }

  /** Back to INIT, from which the next DISCOVER leaves after `delayMs`. The candidate, if there is one, is asked for. */
  #restart(delayMs: number): void {
    this.#reset();
    this.#enter('INIT');
    this.#retryAt = this.#now + delayMs;
    this.#arm();
  }

  /** The address is ours no longer. */
  #lose(reason: 'expired' | 'refused' | 'conflict', delayMs: number): void {
    const had = this.#lease !== null;
    // RFC 2131 §4.4.5: "the client MUST immediately stop any other network processing".
    this.#applied.clear();
    this.#candidate = reason === 'expired' ? this.#lease : null;
    this.#lease = null;
    if (had) {
      this.#emit({ type: 'lost', reason });
      this.#options.onConfigured?.(null);
    }
    this.#restart(delayMs);
  }

  /** RFC 2131 §3.1.5, RFC 5227 §2.1: the link is asked whether somebody has the address. */
  #probe(lease: Lease): void {
    const { address } = lease.address;
    this.#candidate = lease;
    this.#reset();
    this.#enter('PROBING');
    // What is ours already, on this interface or another, is in use.
    if (this.#stack.ip.isLocalAddress(address) || !this.#iface.claims.canClaim(address)) {
      this.#conflict(this.#iface.mac, true);
      return;
    }
    const { probes = QUICK_PROBES } = this.#options;
    this.#iface.claims.claim(address, {
      probes,
      announce: true,
      defence: 'defend',
      onClaimed: () => this.#bind(lease),
      onConflict: (mac, isLost) => this.#conflict(mac, isLost),
    });
  }

  #bind(lease: Lease): void {
    const isRenewal = this.#lease !== null;
    const { startedAt, leaseMs, renewMs, rebindMs } = lease;
    this.#reset();
    this.#lease = lease;
    this.#candidate = null;
    this.#naks = 0;
    if (!isRenewal) this.#declines = 0;
    // RFC 2131 §4.4.5: "with some random fuzz around a fixed value, to avoid synchronization": up to 2 % earlier.
    const fuzz = 1 - (this.#stack.context.random() % 1024) / 51_200;
    this.#renewAt = startedAt + Math.floor(renewMs * fuzz);
    this.#rebindAt = startedAt + Math.floor(rebindMs * fuzz);
    this.#endAt = startedAt + leaseMs;
    this.#applied.apply(lease.address, lease);
    this.#enter('BOUND');
    this.#emit({ type: 'bound', lease, isRenewal });
    this.#options.onConfigured?.(lease);
    this.#arm();
  }

  /** RFC 2131 §3.1.5, RFC 5227 §2.4.1: another host uses the address. */
  #conflict(mac: MacAddress, isLost: boolean): void {
    const lease = this.#lease ?? this.#candidate!;
    this.#emit({ type: 'conflict', address: lease.address.address, mac, isLost });
    if (!isLost) return;
    this.#xid = this.#stack.context.random();
    this.#secs = 0;
    this.#send(dhcp.DECLINE, { requested: lease.address.address, serverId: lease.serverId });
    this.#declines++;
    this.#lose('conflict', this.#declines < CONFLICTS_MAX ? DECLINE_MS : CONFLICTS_MS);
  }

  #waitReleased(): void {
    const lease = this.#lease!;
    const path = this.#stack.ip.path(lease.serverId, lease.address.address);
    const isWaiting = path?.neighbour != null && path.neighbour.queue.length > 0;
    if (isWaiting && this.#now < this.#endAt) {
      this.#retryAt = this.#now + RELEASE_STEP_MS;
      this.#renewAt = this.#rebindAt = Number.POSITIVE_INFINITY;
      this.#arm();
      return;
    }
    this.#emit({ type: 'lost', reason: 'released' });
    this.#options.onConfigured?.(null);
    this.close();
  }

  // ---- messages ----

  #send(
    type: number,
    what: { ciaddr?: IpAddress | null; requested?: IpAddress | null; serverId?: IpAddress; to?: IpAddress },
  ): void {
    const { ciaddr = null, requested = null, serverId = null, to = BROADCAST } = what;
    const secs = type === dhcp.DECLINE || type === dhcp.RELEASE ? 0 : this.#secs;
    const data = encodeRequest(this.#identity, { type, xid: this.#xid, secs, ciaddr, requested, serverId });
    const source = ciaddr ?? UNSPECIFIED_V4;
    const path = to === BROADCAST ? linkPath(this.#iface, source, to, null) : this.#stack.ip.path(to, source);
    this.#emit({ type: 'sent', message: dhcp.typeName(type), xid: this.#xid, to, address: requested ?? ciaddr });
    // A server that no route leads to is asked by broadcast once T2 has come.
    if (path !== null) sendDatagram(this.#stack, path, to, dhcp.CLIENT_PORT, dhcp.SERVER_PORT, data);
  }

  #input(packet: Packet, p: number, end: number): void {
    const { memory, stats } = this.#stack.context;
    if (packet.version !== 4) return;
    const reply = readReply(memory.dv, p, end, this.#identity, this.#xid);
    if (typeof reply === 'string') stats.drop(reply);
    else this.#receive(reply);
  }

  #receive(reply: Reply): void {
    const { type, serverId, options } = reply;
    const { stats } = this.#stack.context;
    // RFC 4039 §3.1: an ACK to a DISCOVER counts only with the option.
    const isRapid = type === dhcp.ACK && this.#state === 'SELECTING' && this.#identity.rapidCommit;
    const isAwaited = AWAITED[this.#state]?.includes(type) || (isRapid && options.has(OPTION.rapidCommit));
    if (!isAwaited) {
      stats.drop('dhcp-unexpected');
      return;
    }
    // RFC 2131 §4.4.1, §4.4.5: who was asked by name answers, and nobody in its place.
    const asked = this.#state === 'REQUESTING' ? this.#candidate : this.#state === 'RENEWING' ? this.#lease : null;
    if (asked !== null && !asked.serverId.equals(serverId)) {
      stats.drop('dhcp-other-server');
      return;
    }
    const address = parseLease(reply.yiaddr, options, this.#requestedAt);
    if (!this.#isUsable(type, address)) {
      stats.drop('dhcp-bad-lease');
      return;
    }
    this.#emit({
      type: 'received',
      message: dhcp.typeName(type),
      xid: this.#xid,
      from: serverId,
      address: address?.address.address ?? UNSPECIFIED_V4,
    });
    if (type === dhcp.NAK) this.#refused();
    else if (this.#state === 'INFORMING') this.#informed(options);
    else if (type === dhcp.OFFER) this.#offered(address!);
    else if (this.#lease !== null) this.#bind(address!);
    else this.#probe(address!);
  }

  /** Whether the lease of a message is one, and where an address was asked for, for that one. */
  #isUsable(type: number, lease: Lease | null): boolean {
    if (type === dhcp.NAK || this.#state === 'INFORMING') return true;
    if (lease === null) return false;
    const inUse = this.#lease ?? (this.#state === 'REBOOTING' ? this.#candidate : null);
    return inUse === null || inUse.address.address.equals(lease.address.address);
  }

  #offered(lease: Lease): void {
    this.#candidate = lease;
    this.#sends = 0;
    this.#requestedAt = this.#now;
    // RFC 2131 §4.4.1: the request has the transaction of the offer, and the seconds of the discover.
    this.#enter('REQUESTING');
    this.#sendRequest();
  }

  /** RFC 2131 §4.4.1, §4.4.2, §4.4.5: a NAK, and all begins anew. */
  #refused(): void {
    this.#naks++;
    this.#candidate = null;
    this.#lose('refused', this.#naks === 1 ? 0 : Math.min(NAK_MS * 2 ** (this.#naks - 1), RETRY_MAX_MS));
  }

  #informed(options: dhcp.Options): void {
    this.#emit({ type: 'informed', settings: parseSettings(options) });
    this.close();
  }

  #emit(event: DhcpEvent): void {
    this.#options.onEvent?.(event);
  }
}
