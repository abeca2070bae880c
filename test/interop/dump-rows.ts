/** `ethertype dump` run beside tshark: every field that both tell of, compared. @module */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

export function run(command: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: 30_000,
    maxBuffer: 1 << 28,
  });
  return { code: status, stdout, stderr, lines: stdout.split('\n').slice(0, -1) };
}
export const dump = (...args: string[]) => run(process.execPath, MAIN, 'dump', ...args);

/** Fields of tshark, and where `dump --json` has the same. */
export interface Row {
  number: number;
  length: number;
  ipv4?: Record<string, unknown>;
  ipv6?: Record<string, unknown>;
  arp?: Record<string, unknown>;
  tcp?: Record<string, number>;
  udp?: Record<string, number>;
  icmp?: Record<string, unknown>;
  icmpv6?: Record<string, unknown>;
  dns?: Record<string, unknown>;
  mdns?: Record<string, unknown>;
  dhcp?: Record<string, unknown>;
  ethernet?: Record<string, unknown>;
  vlan?: { ids: number[]; priorities: number[] };
  igmp?: Record<string, number>;
  http?: { line: string };
  tls?: { serverName: string };
}
const hex = (value: unknown, digits: number): string => `0x${Number(value).toString(16).padStart(digits, '0')}`;
const FIELDS: Record<string, (row: Row) => unknown> = {
  'frame.number': (row) => row.number,
  'frame.len': (row) => row.length,
  'eth.src': ({ ethernet }) => ethernet?.source,
  'eth.dst': ({ ethernet }) => ethernet?.destination,
  'eth.type': ({ ethernet }) => ethernet?.type,
  'vlan.id': ({ vlan }) => vlan?.ids[0],
  'vlan.priority': ({ vlan }) => vlan?.priorities[0],
  'ip.src': ({ ipv4 }) => ipv4?.source,
  'ip.dst': ({ ipv4 }) => ipv4?.destination,
  'ip.id': ({ ipv4 }) => ipv4 && hex(ipv4.id, 4),
  'ip.frag_offset': ({ ipv4 }) => ipv4 && Number(ipv4.fragmentOffset) / 8,
  'ip.proto': ({ ipv4 }) => ipv4?.protocol,
  'ip.len': ({ ipv4 }) => ipv4?.length,
  'ip.hdr_len': ({ ipv4 }) => ipv4?.headerLength,
  'ip.ttl': ({ ipv4 }) => ipv4?.ttl,
  'ip.dsfield': ({ ipv4 }) => ipv4?.ds,
  'ip.flags.df': ({ ipv4 }) => ipv4 && Number(ipv4.dontFragment),
  'ip.flags.mf': ({ ipv4 }) => ipv4 && Number(ipv4.moreFragments),
  'ipv6.src': ({ ipv6 }) => ipv6?.source,
  'ipv6.dst': ({ ipv6 }) => ipv6?.destination,
  'ipv6.plen': ({ ipv6 }) => ipv6?.length,
  'ipv6.hlim': ({ ipv6 }) => ipv6?.hopLimit,
  'ipv6.fraghdr.offset': ({ ipv6 }) =>
    ipv6?.fragmentOffset !== undefined ? Number(ipv6.fragmentOffset) / 8 : undefined,
  'arp.src.proto_ipv4': ({ arp }) => arp?.sender,
  'arp.dst.proto_ipv4': ({ arp }) => arp?.target,
  'tcp.srcport': ({ tcp }) => tcp?.sourcePort,
  'tcp.dstport': ({ tcp }) => tcp?.destinationPort,
  'tcp.flags': ({ tcp }) => tcp && hex(tcp.flagBits, 4),
  'tcp.seq': ({ tcp }) => tcp?.relativeSeq,
  'tcp.ack': ({ tcp }) => tcp?.relativeAck,
  'tcp.seq_raw': ({ tcp }) => tcp?.seq,
  'tcp.len': ({ tcp }) => tcp?.length,
  'tcp.ack_raw': ({ tcp }) => tcp?.ack,
  'tcp.hdr_len': ({ tcp }) => tcp?.headerLength,
  'tcp.window_size_value': ({ tcp }) => tcp?.window,
  'udp.srcport': ({ udp }) => udp?.sourcePort,
  'udp.dstport': ({ udp }) => udp?.destinationPort,
  'udp.length': ({ udp }) => udp && udp.length! + 8,
  'icmp.type': ({ icmp }) => icmp?.type,
  'icmp.code': ({ icmp }) => icmp?.code,
  'icmp.seq': ({ icmp }) => icmp?.seq,
  'icmpv6.type': ({ icmpv6 }) => icmpv6?.type,
  'icmpv6.code': ({ icmpv6 }) => icmpv6?.code,
  'icmpv6.echo.sequence_number': ({ icmpv6 }) => icmpv6?.seq,
  'icmpv6.nd.ns.target_address': ({ icmpv6 }) => (icmpv6?.type === 135 ? icmpv6.target : undefined),
  'igmp.type': ({ igmp }) => igmp && hex(igmp.type, 2),
  'dns.id': ({ dns, mdns }) => (dns ?? mdns) && hex((dns ?? mdns)!.id, 4),
  'dns.flags.response': ({ dns, mdns }) => (dns ?? mdns) && Number((dns ?? mdns)!.response),
  'dns.count.answers': ({ dns, mdns }) =>
    (dns ?? mdns) && (((dns ?? mdns)!.answers as string[] | undefined)?.length ?? 0),
  'dhcp.id': ({ dhcp }) => dhcp?.xid,
  'dhcp.ip.your': ({ dhcp }) => dhcp?.your,
  'http.request.method': ({ http }) => /^([A-Z]+) /.exec(http?.line ?? '')?.[1],
  'http.response.code': ({ http }) => /^HTTP\/1\.\d (\d+)/.exec(http?.line ?? '')?.[1],
  'tls.handshake.extensions_server_name': ({ tls }) => tls?.serverName,
};
/** What errors quote of transports. */
const QUOTED = /^(tcp|udp|dns|dhcp|http|tls)\./;

/**
 * Compares every field of every packet of a file; returns the rows.
 * @param isClean - nothing was sent twice, or seen at two places: of such segments tshark does not look at the text
 */
export function assertSame(file: string, isClean = false): Row[] {
  const names = Object.keys(FIELDS).filter((name) => isClean || !/^(http|tls)\./.test(name));
  const settings = ['ip.defragment:FALSE', 'ipv6.defragment:FALSE', 'tcp.desegment_tcp_streams:FALSE'];
  const tshark = run(
    'tshark',
    ...['-n', '-r', file, '-T', 'fields', '-E', 'occurrence=f'],
    ...settings.flatMap((setting) => ['-o', setting]),
    ...names.flatMap((name) => ['-e', name]),
  );
  const ours = dump('-r', file, '--json');
  assert.equal(ours.stderr, '');
  const rows = ours.lines.map((line) => JSON.parse(line) as Row);
  assert.equal(rows.length, tshark.lines.length, 'packets');
  for (const [i, line] of tshark.lines.entries()) {
    const values = line.split('\t').map((value) => ({ True: '1', False: '0' })[value] ?? value);
    const want = Object.fromEntries(names.map((name, k) => [name, values[k] ?? '']));
    const got = Object.fromEntries(names.map((name) => [name, String(FIELDS[name]!(rows[i]!) ?? '')]));
    // What an error quotes tshark lists as if it were sent; where the packet has none of its own it comes first.
    if (rows[i]!.icmp !== undefined || rows[i]!.icmpv6 !== undefined) {
      for (const name of names.filter((field) => QUOTED.test(field))) want[name] = got[name]!;
    }
    assert.deepEqual(got, want, `packet ${i + 1}`);
  }
  return rows;
}

/** It opens without a word, but that it runs as root. */
export function assertOpens(file: string, packets: number): void {
  const { code, stdout, stderr } = run('capinfos', '-M', '-c', file);
  assert.equal(code, 0, stderr);
  assert.equal(stderr, '');
  assert.match(stdout, new RegExp(`Number of packets: +${packets}\\b`));
  const tshark = run('tshark', '-n', '-r', file);
  assert.equal(tshark.stderr.replace(/Running as user .*\n/, ''), '');
  assert.equal(tshark.lines.length, packets);
}
