/** Names that assertions know: the fields of TCP_INFO and the constants that go with them. @module */
import type { TcpInfo } from '../../tcp/info.ts';
import {
  CA_CWR,
  CA_DISORDER,
  CA_LOSS,
  CA_OPEN,
  CA_RECOVERY,
  OPT_ECN,
  OPT_ECN_SEEN,
  OPT_SACK,
  OPT_SYN_DATA,
  OPT_TIMESTAMPS,
  OPT_WSCALE,
} from '../../tcp/info.ts';
import type { Names } from './asserts.ts';

/** Linux's numbers, from 1 on. */
const STATES = [
  'ESTABLISHED',
  'SYN_SENT',
  'SYN_RECV',
  'FIN_WAIT1',
  'FIN_WAIT2',
  'TIME_WAIT',
  'CLOSE',
  'CLOSE_WAIT',
  'LAST_ACK',
  'LISTEN',
  'CLOSING',
] as const;

/** FreeBSD's names of the same states, where they are others. */
const TCPI_STATES: Readonly<Record<string, string>> = {
  SYN_RECV: 'SYN_RECEIVED',
  FIN_WAIT1: 'FIN_WAIT_1',
  FIN_WAIT2: 'FIN_WAIT_2',
  CLOSE: 'CLOSED',
};

const CONSTANTS: Readonly<Record<string, number>> = {
  TCP_CA_Open: CA_OPEN,
  TCP_CA_Disorder: CA_DISORDER,
  TCP_CA_CWR: CA_CWR,
  TCP_CA_Recovery: CA_RECOVERY,
  TCP_CA_Loss: CA_LOSS,
  TCPI_OPT_TIMESTAMPS: OPT_TIMESTAMPS,
  TCPI_OPT_SACK: OPT_SACK,
  TCPI_OPT_WSCALE: OPT_WSCALE,
  TCPI_OPT_ECN: OPT_ECN,
  TCPI_OPT_ECN_SEEN: OPT_ECN_SEEN,
  TCPI_OPT_SYN_DATA: OPT_SYN_DATA,
  TCP_INFINITE_SSTHRESH: 0x7fff_ffff,
};

/** The constants, for a script to begin with. */
export function constantNames(): Names {
  const names: Names = new Map(Object.entries(CONSTANTS));
  STATES.forEach((state, index) => {
    names.set(`TCP_${state}`, index + 1);
    names.set(`TCPI_${TCPI_STATES[state] ?? state}`, index + 1);
  });
  return names;
}

/** Where snake_case alone does not give Linux's name. */
const FIELDS: Readonly<Record<string, string>> = {
  sndSsthresh: 'snd_ssthresh',
  rcvOoopack: 'rcv_ooopack',
  totalRtoRecoveries: 'total_rto_recoveries',
};

/** Puts the fields of a connection in: `sndCwnd` is `tcpi_snd_cwnd`. */
export function addInfo(names: Names, info: Partial<TcpInfo>): void {
  for (const [field, value] of Object.entries(info)) {
    const snake = FIELDS[field] ?? field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    names.set(`tcpi_${snake}`, Number(value));
  }
}

/** The name of a state as FreeBSD's sockstat has it. */
const SOCKSTAT: Readonly<Record<string, string>> = { 'SYN-RECEIVED': 'SYN_RCVD' };
export const sockstatName = (state: string): string => SOCKSTAT[state] ?? state.replaceAll('-', '_');
