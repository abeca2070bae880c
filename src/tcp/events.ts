/** What a TCP socket reports; a bit mask, so that several changes are one report. @module */

/** Bytes to read, or the end of them. */
export const READABLE = 1;
/** Room in the send buffer, after there was too little. */
export const WRITABLE = 2;
/** The handshake is done. */
export const CONNECTED = 4;
/** A connection waits to be accepted. */
export const ACCEPTABLE = 8;
/** The connection is over: state CLOSED or TIME-WAIT, or `error` is set. */
export const CLOSED_EVENT = 16;
/** Our FIN is acknowledged, and all before it, while the peer may still send: FIN-WAIT-2. */
export const SENT = 32;
/** The peer has told of urgent data, or of more of it, or its last byte has come: RFC 9293 §3.8.5, MUST-32. */
export const URGENT = 64;
