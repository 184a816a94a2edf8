/** States of a connection and how long each lives without traffic. */
import { IpProtocol } from "../../wire/index.js";

/** TCP's are nf_conntrack_tcp's; `pickedUp` is its ESTABLISHED without a reply seen, which lives for TCP_UNACK. */
export const State = {
  none: 0,
  synSent: 1,
  synRecv: 2,
  established: 3,
  finWait: 4,
  closeWait: 5,
  lastAck: 6,
  timeWait: 7,
  close: 8,
  synSent2: 9,
  pickedUp: 10,
  udp: 11,
  udpStream: 12,
  icmp: 13,
  generic: 14,
} as const;
export type State = (typeof State)[keyof typeof State];

/** Names as `conntrack -L` prints them; TCP only. */
export const TCP_STATE_NAMES: readonly (string | undefined)[] = [
  "NONE",
  "SYN_SENT",
  "SYN_RECV",
  "ESTABLISHED",
  "FIN_WAIT",
  "CLOSE_WAIT",
  "LAST_ACK",
  "TIME_WAIT",
  "CLOSE",
  "SYN_SENT2",
  "ESTABLISHED",
];

/** Seconds by state; the names follow net.netfilter.nf_conntrack_*_timeout_*. */
export interface ConntrackTimeouts {
  readonly tcpSynSent: number;
  readonly tcpSynRecv: number;
  readonly tcpEstablished: number;
  readonly tcpFinWait: number;
  readonly tcpCloseWait: number;
  readonly tcpLastAck: number;
  readonly tcpTimeWait: number;
  readonly tcpClose: number;
  readonly tcpUnacknowledged: number;
  readonly udp: number;
  readonly udpStream: number;
  readonly icmp: number;
  readonly generic: number;
  readonly sctpClosed: number;
  readonly sctpCookieWait: number;
  readonly sctpCookieEchoed: number;
  readonly sctpEstablished: number;
  readonly sctpShutdownSent: number;
  readonly sctpShutdownRecd: number;
  readonly sctpShutdownAckSent: number;
  readonly sctpHeartbeatSent: number;
}

/** Linux' defaults (Documentation/networking/nf_conntrack-sysctl.rst). */
export const DEFAULT_TIMEOUTS: ConntrackTimeouts = {
  tcpSynSent: 120,
  tcpSynRecv: 60,
  tcpEstablished: 432_000,
  tcpFinWait: 120,
  tcpCloseWait: 60,
  tcpLastAck: 30,
  tcpTimeWait: 120,
  tcpClose: 10,
  tcpUnacknowledged: 300,
  udp: 30,
  udpStream: 120,
  icmp: 30,
  generic: 600,
  sctpClosed: 10,
  sctpCookieWait: 3,
  sctpCookieEchoed: 3,
  sctpEstablished: 210,
  sctpShutdownSent: 3,
  sctpShutdownRecd: 3,
  sctpShutdownAckSent: 3,
  sctpHeartbeatSent: 30,
};

/** Length of a tick, the unit of deadlines: 2^31 of them are 6.8 years. */
export const TICK_MS = 100;

/** States of SCTP count from 0 of their own; their time-outs stand behind the others'. */
const SCTP_TIMEOUTS = 16;

/** Where a state's time-out is in what {@link timeoutTicks} returns. */
export function timeoutIndex(protocol: number, state: number): number {
  return protocol === IpProtocol.sctp ? SCTP_TIMEOUTS + state : state;
}

/** Ticks by {@link timeoutIndex}. */
export function timeoutTicks(timeouts: ConntrackTimeouts): Int32Array {
  const seconds = [
    0,
    timeouts.tcpSynSent,
    timeouts.tcpSynRecv,
    timeouts.tcpEstablished,
    timeouts.tcpFinWait,
    timeouts.tcpCloseWait,
    timeouts.tcpLastAck,
    timeouts.tcpTimeWait,
    timeouts.tcpClose,
    timeouts.tcpSynSent,
    timeouts.tcpUnacknowledged,
    timeouts.udp,
    timeouts.udpStream,
    timeouts.icmp,
    timeouts.generic,
    0,
    0,
    timeouts.sctpClosed,
    timeouts.sctpCookieWait,
    timeouts.sctpCookieEchoed,
    timeouts.sctpEstablished,
    timeouts.sctpShutdownSent,
    timeouts.sctpShutdownRecd,
    timeouts.sctpShutdownAckSent,
    timeouts.sctpHeartbeatSent,
  ];
  return Int32Array.from(seconds, (value) => Math.ceil((value * 1000) / TICK_MS));
}
