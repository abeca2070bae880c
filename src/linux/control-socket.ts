/**
 * A pair of sockets between two processes of ours: short messages, each with a descriptor if need be (unix(7),
 * SCM_RIGHTS). @module
 */
import { NetError } from '../errors.ts';
import { Struct } from './ifreq.ts';
import * as c from './libc.ts';

const MESSAGE_BYTES = 4096;
// struct msghdr, struct iovec and struct cmsghdr of 64-bit machines
const MSG_IOV = 16;
const MSG_IOVLEN = 24;
const MSG_CONTROL = 32;
const MSG_CONTROLLEN = 40;
const MSGHDR_LENGTH = 56;
const CMSG_LEVEL = 8; // i32
const CMSG_TYPE = 12; // i32
const CMSG_DATA = 16; // the descriptor, i32
const CMSG_LENGTH = 20;
const CMSG_SPACE = 24;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const FIOCLEX = 0x5451; // asm-generic/ioctls.h: closed on exec

/** What came: a message, and a descriptor, which is the receiver's from now on; -1: none came with it. */
export interface ControlMessage {
  readonly text: string;
  readonly fd: number;
}

/** One end. */
export class ControlSocket {
  readonly fd: number;
  readonly #libc: c.Libc;
  readonly #watch: c.Watch;
  readonly #bytes: Struct;
  readonly #vector: Struct;
  readonly #control: Struct;
  readonly #header: Struct;
  #isClosed = false;

  /** @param onMessage - called with each message; null: the other end is gone */
  constructor(libc: c.Libc, fd: number, onMessage: (message: ControlMessage | null) => void) {
    this.#libc = libc;
    this.fd = fd;
    this.#bytes = new Struct(libc, MESSAGE_BYTES);
    this.#vector = new Struct(libc, 16);
    this.#control = new Struct(libc, CMSG_SPACE);
    this.#header = new Struct(libc, MSGHDR_LENGTH);
    libc.ioctl(fd, FIOCLEX, 0);
    this.#watch = libc.watch(fd);
    this.#watch.start(() => {
      const message = this.#receive();
      if (message === undefined) return;
      if (message === null) this.#watch.stop();
      onMessage(message);
    });
  }

  /** Two connected descriptors. @throws NetError */
  static pair(libc: c.Libc): [number, number] {
    const fds = new Struct(libc, 8);
    if (libc.socketpair(c.AF_UNIX, c.SOCK_SEQPACKET | c.SOCK_CLOEXEC, 0, fds.address) < 0) {
      throw new NetError(c.codeOf(libc.errno()), 'socketpair');
    }
    return [fds.dv.getInt32(0, true), fds.dv.getInt32(4, true)];
  }

  #prepare(length: number, controlLength: number): void {
    const { dv } = this.#header;
    this.#vector.dv.setBigUint64(0, BigInt(this.#bytes.address), true);
    this.#vector.dv.setBigUint64(8, BigInt(length), true);
    dv.setBigUint64(MSG_IOV, BigInt(this.#vector.address), true);
    dv.setBigUint64(MSG_IOVLEN, 1n, true);
    dv.setBigUint64(MSG_CONTROL, controlLength === 0 ? 0n : BigInt(this.#control.address), true);
    dv.setBigUint64(MSG_CONTROLLEN, BigInt(controlLength), true);
  }

  /**
   * Sends a message, at most 4096 bytes, and a copy of a descriptor.
   * @returns false where the other end is gone
   */
  send(text: string, fd = -1): boolean {
    const { written = 0 } = new TextEncoder().encodeInto(text, this.#bytes.u8);
    this.#prepare(written, fd < 0 ? 0 : CMSG_SPACE);
    const { dv } = this.#control;
    dv.setBigUint64(0, BigInt(CMSG_LENGTH), true);
    dv.setInt32(CMSG_LEVEL, SOL_SOCKET, true);
    dv.setInt32(CMSG_TYPE, SCM_RIGHTS, true);
    dv.setInt32(CMSG_DATA, fd, true);
    return this.#libc.sendmsg(this.fd, this.#header.address, MSG_NOSIGNAL) >= 0;
  }

  /** Undefined: nothing has come. */
  #receive(): ControlMessage | null | undefined {
    if (this.#isClosed) return undefined;
    this.#prepare(MESSAGE_BYTES, CMSG_SPACE);
    const length = this.#libc.recvmsg(this.fd, this.#header.address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0 && [c.EAGAIN, c.EINTR].includes(this.#libc.errno())) return undefined;
    if (length <= 0) return null;
    const hasFd = Number(this.#header.dv.getBigUint64(MSG_CONTROLLEN, true)) >= CMSG_LENGTH;
    const isRights = hasFd && this.#control.dv.getInt32(CMSG_TYPE, true) === SCM_RIGHTS;
    const text = new TextDecoder().decode(this.#bytes.u8.slice(0, length));
    return { text, fd: isRights ? this.#control.dv.getInt32(CMSG_DATA, true) : -1 };
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#watch.stop();
    this.#watch.close();
    this.#libc.close(this.fd);
  }
}
