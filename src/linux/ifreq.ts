/** Names, MTU, addresses and flags of the kernel's interfaces by the classic ioctls: netdevice(7). @module */
import { NetError } from '../errors.ts';
import { Cidr, type IpAddress, MacAddress } from '../wire/address.ts';
import * as c from './libc.ts';

// struct ifreq, linux/if.h: a name, then a union
const NAME_LENGTH = 16; // IFNAMSIZ, the final zero included
export const IFREQ_VALUE = 16;
const IFREQ_LENGTH = 40;
// struct in6_ifreq, linux/ipv6.h
const IN6_PREFIX_LENGTH = 16; // u32
const IN6_INDEX = 20; // i32
const IN6_IFREQ_LENGTH = 24;

// struct rtentry, linux/route.h, and struct in6_rtmsg, linux/ipv6_route.h, of 64-bit machines
const RT_DST = 8;
const RT_GATEWAY = 24;
const RT_GENMASK = 40;
const RT_FLAGS = 56; // u16
const RTENTRY_LENGTH = 120;
const RT6_GATEWAY = 32;
const RT6_METRIC = 56; // u32
const RT6_FLAGS = 72; // u32
const RT6_INDEX = 76; // i32
const IN6_RTMSG_LENGTH = 80;
const RTF_UP = 1;
const RTF_GATEWAY = 2;

// linux/sockios.h
const SIOCADDRT = 0x890b;
const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const SIOCSIFADDR = 0x8916;
const SIOCSIFNETMASK = 0x891c;
const SIOCGIFMTU = 0x8921;
const SIOCSIFMTU = 0x8922;
const SIOCGIFHWADDR = 0x8927;
const SIOCGIFINDEX = 0x8933;

const IFF_UP = 1; // linux/if.h

/** A structure handed to an ioctl. */
export class Struct {
  readonly u8: Uint8Array;
  readonly dv: DataView;
  readonly address: number;

  constructor(libc: c.Libc, length: number) {
    const buffer = new ArrayBuffer(length);
    this.u8 = new Uint8Array(buffer);
    this.dv = new DataView(buffer);
    this.address = libc.address(this.u8);
  }
}

/** An ifreq that names `name`. */
export function ifreq(libc: c.Libc, name: string): Struct {
  const request = new Struct(libc, IFREQ_LENGTH);
  new TextEncoder().encodeInto(name, request.u8.subarray(0, NAME_LENGTH - 1));
  return request;
}

/** The name the kernel left in an ifreq. */
export function ifreqName(request: Struct): string {
  const end = request.u8.indexOf(0);
  return new TextDecoder().decode(request.u8.subarray(0, end));
}

/** @throws NetError EINVAL if the kernel would take no interface of that name (dev_valid_name). */
export function checkName(name: string, syscall: string): void {
  const fail = (detail: string): never => {
    throw new NetError('EINVAL', syscall, { detail });
  };
  if (typeof name !== 'string' || name === '') fail('an interface name is needed, like tun0');
  if (new TextEncoder().encode(name).length >= NAME_LENGTH) {
    fail(`interface name too long: ${name} has more than ${NAME_LENGTH - 1} bytes`);
  }
  if (name === '.' || name === '..' || /[/:\s\0]/.test(name)) {
    fail(`not an interface name: ${JSON.stringify(name)} (no slash, colon or space)`);
  }
}

/** Asks and sets properties of one interface through a socket of its own; {@link close} it. */
export class InterfaceControl {
  readonly #libc: c.Libc;
  readonly #name: string;
  readonly #syscall: string;
  readonly #fd: number;

  /** @param syscall - how errors name the operation */
  constructor(libc: c.Libc, name: string, syscall: string) {
    this.#libc = libc;
    this.#name = name;
    this.#syscall = syscall;
    this.#fd = libc.socket(c.AF_INET, c.SOCK_DGRAM | c.SOCK_CLOEXEC, 0);
    if (this.#fd < 0) this.#fail('cannot open a control socket');
  }

  /** The interface's number, or 0 if there is none of that name. */
  index(): number {
    const request = ifreq(this.#libc, this.#name);
    if (this.#libc.ioctl(this.#fd, SIOCGIFINDEX, request.address) < 0) return 0;
    return request.dv.getInt32(IFREQ_VALUE, true);
  }

  mtu(): number {
    return this.#do(SIOCGIFMTU, 'cannot read its MTU').dv.getInt32(IFREQ_VALUE, true);
  }

  setMtu(mtu: number): void {
    this.#do(SIOCSIFMTU, `cannot set MTU ${mtu}`, (request) => request.dv.setInt32(IFREQ_VALUE, mtu, true));
  }

  mac(): MacAddress {
    const { dv } = this.#do(SIOCGIFHWADDR, 'cannot read its hardware address');
    return new MacAddress(dv.getUint16(IFREQ_VALUE + 2), dv.getInt32(IFREQ_VALUE + 4)); // behind sa_family
  }

  /** ARPHRD_ETHER and the like: linux/if_arp.h. */
  hardwareType(): number {
    return this.#do(SIOCGIFHWADDR, 'cannot read its hardware type').dv.getUint16(IFREQ_VALUE, true);
  }

  isUp(): boolean {
    return (this.#flags() & IFF_UP) !== 0;
  }

  setUp(): void {
    const flags = this.#flags() | IFF_UP;
    this.#do(SIOCSIFFLAGS, 'cannot bring it up', (request) => request.dv.setInt16(IFREQ_VALUE, flags, true));
  }

  /** Gives the Linux side an address: for IPv4 instead of the one it had, for IPv6 one more. */
  setAddress(cidr: Cidr): void {
    if (cidr.address.isV4) this.#setV4(cidr);
    else this.#setV6(cidr);
  }

  /** Routes everything of the gateway's family to it, through this interface: struct rtentry, struct in6_rtmsg. */
  addDefaultRoute(gateway: IpAddress): void {
    const request = new Struct(this.#libc, gateway.isV4 ? RTENTRY_LENGTH : IN6_RTMSG_LENGTH);
    const { dv } = request;
    if (gateway.isV4) {
      for (const at of [RT_DST, RT_GATEWAY, RT_GENMASK]) dv.setUint16(at, c.AF_INET, true);
      dv.setInt32(RT_GATEWAY + 4, gateway.d);
      dv.setUint16(RT_FLAGS, RTF_UP | RTF_GATEWAY, true);
    } else {
      for (const [i, word] of [gateway.a, gateway.b, gateway.c, gateway.d].entries()) {
        dv.setInt32(RT6_GATEWAY + 4 * i, word);
      }
      dv.setUint32(RT6_METRIC, 1, true);
      dv.setUint32(RT6_FLAGS, RTF_UP | RTF_GATEWAY, true);
      dv.setInt32(RT6_INDEX, this.index(), true);
    }
    const fd = this.#libc.socket(gateway.isV4 ? c.AF_INET : c.AF_INET6, c.SOCK_DGRAM | c.SOCK_CLOEXEC, 0);
    const result = fd < 0 ? -1 : this.#libc.ioctl(fd, SIOCADDRT, request.address);
    const errno = this.#libc.errno();
    if (fd >= 0) this.#libc.close(fd);
    if (result < 0) this.#fail(`cannot route to ${gateway}`, errno);
  }

  close(): void {
    this.#libc.close(this.#fd);
  }

  #flags(): number {
    return this.#do(SIOCGIFFLAGS, 'cannot read its flags').dv.getInt16(IFREQ_VALUE, true);
  }

  #setV4(cidr: Cidr): void {
    const sockaddr = (word: number) => (request: Struct) => {
      request.dv.setUint16(IFREQ_VALUE, c.AF_INET, true);
      request.dv.setInt32(IFREQ_VALUE + 4, word); // struct sockaddr_in: behind family and port
    };
    const mask = cidr.prefixLength === 0 ? 0 : -1 << (32 - cidr.prefixLength);
    this.#do(SIOCSIFADDR, `cannot give it ${cidr}`, sockaddr(cidr.address.d));
    this.#do(SIOCSIFNETMASK, `cannot give it ${cidr}`, sockaddr(mask));
  }

  #setV6({ address, prefixLength }: Cidr): void {
    const fd = this.#libc.socket(c.AF_INET6, c.SOCK_DGRAM | c.SOCK_CLOEXEC, 0);
    if (fd < 0) this.#fail('this kernel has no IPv6: cannot give it an address');
    const request = new Struct(this.#libc, IN6_IFREQ_LENGTH);
    for (const [i, word] of [address.a, address.b, address.c, address.d].entries()) request.dv.setInt32(4 * i, word);
    request.dv.setUint32(IN6_PREFIX_LENGTH, prefixLength, true);
    request.dv.setInt32(IN6_INDEX, this.index(), true);
    const result = this.#libc.ioctl(fd, SIOCSIFADDR, request.address);
    const errno = this.#libc.errno();
    this.#libc.close(fd);
    const EEXIST = 17;
    if (result < 0 && errno !== EEXIST) this.#fail(`cannot give it ${address}/${prefixLength}`, errno);
  }

  #do(request: number, what: string, fill?: (request: Struct) => void): Struct {
    const argument = ifreq(this.#libc, this.#name);
    fill?.(argument);
    if (this.#libc.ioctl(this.#fd, request, argument.address) < 0) this.#fail(what);
    return argument;
  }

  #fail(what: string, errno = this.#libc.errno()): never {
    const code = c.codeOf(errno);
    const advice = code === 'EPERM' || code === 'EACCES' ? 'no permission: run as root' : `errno ${errno}`;
    throw new NetError(code, this.#syscall, { detail: `interface ${this.#name}: ${what} (${advice})` });
  }
}

/** Reads the options that name the Linux side's addresses. @throws TypeError or NetError EINVAL */
export function parseHostAddresses(text: string | readonly string[] | undefined, syscall: string): Cidr[] {
  const list = text === undefined ? [] : typeof text === 'string' ? [text] : text;
  const cidrs = list.map((one) => Cidr.parse(one));
  if (cidrs.filter((cidr) => cidr.address.isV4).length > 1) {
    throw new NetError('EINVAL', syscall, { detail: 'hostAddress: one IPv4 address, and any number of IPv6 ones' });
  }
  return cidrs;
}
