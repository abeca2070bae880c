/** The one error class users meet, with Node's codes. @module */

/** What each code means, and the errno Linux gives it. One table: the union of codes is its keys. */
const ERRORS = {
  EACCES: [13, 'permission denied'],
  EADDRINUSE: [98, 'address already in use'],
  EADDRNOTAVAIL: [99, 'address not available'],
  EAFNOSUPPORT: [97, 'address family not supported'],
  EAGAIN: [11, 'resource temporarily unavailable'],
  EAI_AGAIN: [3001, 'temporary failure in name resolution'],
  EALREADY: [114, 'connection already in progress'],
  EBADF: [9, 'bad file descriptor'],
  EBUSY: [16, 'resource busy or locked'],
  ECANCELED: [125, 'operation canceled'],
  ECONNABORTED: [103, 'software caused connection abort'],
  ECONNREFUSED: [111, 'connection refused'],
  ECONNRESET: [104, 'connection reset by peer'],
  EHOSTDOWN: [112, 'host is down'],
  EDEADLK: [35, 'resource deadlock avoided'],
  EDESTADDRREQ: [89, 'destination address required'],
  EDOM: [33, 'argument out of domain'],
  EFAULT: [14, 'bad address'],
  EHOSTUNREACH: [113, 'host is unreachable'],
  EINPROGRESS: [115, 'operation now in progress'],
  EINVAL: [22, 'invalid argument'],
  EISCONN: [106, 'socket is already connected'],
  EMFILE: [24, 'too many open files'],
  EMSGSIZE: [90, 'message too long'],
  ENETDOWN: [100, 'network is down'],
  ENETUNREACH: [101, 'network is unreachable'],
  ENOBUFS: [105, 'no buffer space available'],
  ENODATA: [61, 'no data of that type'],
  ENODEV: [19, 'no such device'],
  ENOENT: [2, 'no such file or directory'],
  ENOMEM: [12, 'not enough memory'],
  ENONET: [64, 'machine is not on the network'],
  ENOPROTOOPT: [92, 'protocol not available'],
  ENOSYS: [38, 'function not implemented'],
  ENOTCONN: [107, 'socket is not connected'],
  ENOTFOUND: [3008, 'name not found'],
  EEXIST: [17, 'file exists'],
  ENOSPC: [28, 'no space left on device'],
  ENOTSOCK: [88, 'not a socket'],
  ENOTTY: [25, 'not a request for this descriptor'],
  EOPNOTSUPP: [95, 'operation not supported'],
  EPERM: [1, 'operation not permitted'],
  EPIPE: [32, 'broken pipe'],
  EPROTO: [71, 'protocol error'],
  EPROTONOSUPPORT: [93, 'protocol not supported'],
  ESOCKTNOSUPPORT: [94, 'socket type not supported'],
  ETIMEDOUT: [110, 'connection timed out'],
} as const;

/** Every code a {@link NetError} can have. */
export type ErrorCode = keyof typeof ERRORS;

/** What a failed call was about. */
export interface ErrorContext {
  readonly address?: string | undefined;
  readonly port?: number | undefined;
  /** Replaces the code's own words in the message: one line that says what to do. */
  readonly detail?: string | undefined;
}

/**
 * A failed network operation, shaped as Node shapes its own: `code`, `errno` (negative), `syscall`, `address`, `port`,
 * and the message `connect ECONNREFUSED 10.0.0.1:80`.
 */
export class NetError extends Error {
  override readonly name = 'NetError';
  readonly code: ErrorCode;
  readonly errno: number;
  readonly syscall: string;
  readonly address: string | undefined;
  readonly port: number | undefined;
  /** What replaced the code's own words, if anything did. */
  readonly detail: string | undefined;

  constructor(code: ErrorCode, syscall: string, context: ErrorContext = {}) {
    const { address, port, detail } = context;
    const at = address === undefined ? '' : ` ${address.includes(':') ? `[${address}]` : address}`;
    const where = port === undefined ? at : `${at === '' ? ' ' : at}:${port}`;
    super(`${syscall} ${code}${detail === undefined ? where : `: ${detail}`}`);
    this.code = code;
    this.errno = -ERRORS[code][0];
    this.syscall = syscall;
    this.address = address;
    this.port = port;
    this.detail = detail;
  }
}

/** The words for a code, as strerror(3) has them. */
export const describeError = (code: ErrorCode): string => ERRORS[code][1];

/** The code of a positive errno; `EPROTO` for a number that none has. */
export const errorCodeOf = (errno: number): ErrorCode =>
  (Object.keys(ERRORS) as ErrorCode[]).find((code) => ERRORS[code][0] === errno) ?? 'EPROTO';
