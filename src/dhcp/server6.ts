/**
 * A stateless DHCPv6 server for one link: RFC 8415 §18.3.6. Missing on purpose: addresses and prefixes, relays. @module
 */
import type { ConfigPort } from '../iface/config-port.ts';
import type { Interface } from '../iface/interface.ts';
import type { Packet } from '../iface/packet.ts';
import type { Stack } from '../stack.ts';
import type { IpAddress } from '../wire/address.ts';
import * as dhcp from '../wire/dhcpv6.ts';
import { sendDatagram } from './transport.ts';

const { OPTION } = dhcp;

export interface Dhcpv6ServerOptions {
  readonly dnsServers?: readonly IpAddress[];
  readonly search?: readonly string[];
  readonly sntpServers?: readonly IpAddress[];
  /** Seconds after which clients ask again: at least 600. By default they choose: a day. */
  readonly refreshS?: number;
}

export class Dhcpv6Server {
  readonly #stack: Stack;
  readonly #iface: Interface;
  readonly #duid: Uint8Array;
  readonly #answers: ReadonlyMap<number, Uint8Array>;
  readonly #port: ConfigPort;
  #isOpen = true;

  /**
   * Serves from now on.
   * @throws RangeError for a name that is none
   */
  constructor(stack: Stack, iface: Interface, options: Dhcpv6ServerOptions = {}) {
    const { dnsServers = [], search = [], sntpServers = [], refreshS } = options;
    const answers: dhcp.Option[] = [];
    if (dnsServers.length > 0) answers.push(dhcp.ipsOption(OPTION.dnsServers, dnsServers));
    if (search.length > 0) answers.push(dhcp.domainsOption(search));
    if (sntpServers.length > 0) answers.push(dhcp.ipsOption(OPTION.sntpServers, sntpServers));
    if (refreshS !== undefined) answers.push(dhcp.numberOption(OPTION.refreshTime, refreshS, 4));
    this.#stack = stack;
    this.#iface = iface;
    this.#duid = dhcp.duidOf(iface.mac);
    this.#answers = new Map(answers);
    this.#port = {
      port: dhcp.SERVER_PORT,
      takes: () => false,
      input: (packet, port, p, end) => this.#input(packet, port, p, end),
    };
    iface.groups.join(dhcp.ALL_SERVERS); // RFC 8415 §7.1
    iface.configPorts.push(this.#port);
  }

  /** Serves no more. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const { configPorts, groups } = this.#iface;
    configPorts.splice(configPorts.indexOf(this.#port), 1);
    groups.leave(dhcp.ALL_SERVERS);
  }

  #input(packet: Packet, port: number, p: number, end: number): void {
    const { memory, stats } = this.#stack.context;
    const { dv } = memory;
    const drop = packet.version === 6 ? dhcp.check(dv, p, end) : 'dhcp-unexpected';
    if (drop !== null) stats.drop(drop);
    else if (dhcp.type(dv, p) !== dhcp.INFORMATION_REQUEST) stats.drop('dhcp-unexpected');
    else this.#answer(packet.source, port, dhcp.transaction(dv, p), dhcp.parseOptions(dv, p, end));
  }

  #answer(client: IpAddress, port: number, transaction: number, query: dhcp.Options): void {
    const { stats } = this.#stack.context;
    const wanted = query.get(OPTION.serverId);
    // RFC 8415 §16.12: another server is meant; and a request for addresses is no request for information.
    const isForOther = wanted !== undefined && !wanted.every((byte, i) => byte === this.#duid[i]);
    if (isForOther || [OPTION.iaNa, OPTION.iaTa, OPTION.iaPd].some((code) => query.has(code))) {
      stats.drop('dhcp-unexpected');
      return;
    }
    const clientId = query.get(OPTION.clientId);
    const options: dhcp.Option[] = [[OPTION.serverId, this.#duid]];
    if (clientId !== undefined) options.push([OPTION.clientId, clientId]);
    for (const code of new Set(dhcp.readRequested(query))) {
      const value = this.#answers.get(code);
      if (value !== undefined) options.push([code, value]);
    }
    const path = this.#stack.ip.path(client, null, this.#iface);
    if (path === null) stats.drop('no-route');
    else sendDatagram(this.#stack, path, client, dhcp.SERVER_PORT, port, dhcp.encode(dhcp.REPLY, transaction, options));
  }
}
