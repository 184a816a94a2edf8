/** Connection tracking's settings under Linux' names (Documentation/networking/nf_conntrack-sysctl.rst). */
import type { Flows } from "./flows.js";
import type { ConntrackOptions } from "./settings.js";
import type { TimeoutName } from "./state.js";

export const SYSCTL_PREFIX = "net.netfilter.nf_conntrack_";
/** A year. */
const MAX_SECONDS = 31_536_000;

interface Sysctl {
  readonly read: (conntrack: Flows) => number;
  /** The settings that a value means; missing where it can only be read. */
  readonly write?: (value: number) => ConntrackOptions;
  readonly least?: number;
  readonly most?: number;
}

const timeout = (name: TimeoutName): Sysctl => ({
  read: ({ settings }) => settings.timeouts[name],
  write: (value) => ({ timeouts: { [name]: value } }),
  least: 1,
  most: MAX_SECONDS,
});

const flag = (name: "tcpBeLiberal" | "tcpLoose" | "tcpIgnoreInvalidRst"): Sysctl => ({
  read: ({ settings }) => Number(settings[name]),
  write: (value) => ({ [name]: value === 1 }),
  most: 1,
});

const SYSCTLS: Readonly<Record<string, Sysctl>> = {
  buckets: { read: (conntrack) => conntrack.max },
  count: { read: (conntrack) => conntrack.count },
  generic_timeout: timeout("generic"),
  icmp_timeout: timeout("icmp"),
  icmpv6_timeout: timeout("icmpv6"),
  max: { read: ({ settings }) => settings.max, write: (max) => ({ max }), least: 1 },
  sctp_timeout_closed: timeout("sctpClosed"),
  sctp_timeout_cookie_echoed: timeout("sctpCookieEchoed"),
  sctp_timeout_cookie_wait: timeout("sctpCookieWait"),
  sctp_timeout_established: timeout("sctpEstablished"),
  sctp_timeout_heartbeat_sent: timeout("sctpHeartbeatSent"),
  sctp_timeout_shutdown_ack_sent: timeout("sctpShutdownAckSent"),
  sctp_timeout_shutdown_recd: timeout("sctpShutdownRecd"),
  sctp_timeout_shutdown_sent: timeout("sctpShutdownSent"),
  tcp_be_liberal: flag("tcpBeLiberal"),
  tcp_ignore_invalid_rst: flag("tcpIgnoreInvalidRst"),
  tcp_loose: flag("tcpLoose"),
  tcp_max_retrans: {
    read: ({ settings }) => settings.tcpMaxRetrans,
    write: (tcpMaxRetrans) => ({ tcpMaxRetrans }),
    most: 255,
  },
  tcp_timeout_close: timeout("tcpClose"),
  tcp_timeout_close_wait: timeout("tcpCloseWait"),
  tcp_timeout_established: timeout("tcpEstablished"),
  tcp_timeout_fin_wait: timeout("tcpFinWait"),
  tcp_timeout_last_ack: timeout("tcpLastAck"),
  tcp_timeout_max_retrans: timeout("tcpMaxRetrans"),
  tcp_timeout_syn_recv: timeout("tcpSynRecv"),
  tcp_timeout_syn_sent: timeout("tcpSynSent"),
  tcp_timeout_time_wait: timeout("tcpTimeWait"),
  tcp_timeout_unacknowledged: timeout("tcpUnacknowledged"),
  udp_timeout: timeout("udp"),
  udp_timeout_stream: timeout("udpStream"),
};

/** Full names, sorted. */
export const SYSCTL_NAMES: readonly string[] = Object.keys(SYSCTLS).map((name) => SYSCTL_PREFIX + name);

/** The value under a full name, in seconds for time-outs. @throws RangeError when there is no such name */
export function readSysctl(conntrack: Flows, name: string): number {
  return find(name).read(conntrack);
}

/**
 * Sets all the values, or none. @throws RangeError that names the one that is wrong: an unknown name, one that can only
 * be read, or a value out of range
 */
export function writeSysctls(conntrack: Flows, values: Readonly<Record<string, string>>): void {
  const parsed = Object.entries(values).map(([name, text]) => {
    // The table does not grow.
    const { write, least = 0, most = conntrack.max } = find(name);
    if (write === undefined) throw new RangeError(`${name} can only be read`);
    const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= most))
      throw new RangeError(`${name}=${text}: give a whole number, ${least} to ${most}`);
    return write(value);
  });
  for (const options of parsed) conntrack.configure(options);
}

function find(name: string): Sysctl {
  const short = name.startsWith(SYSCTL_PREFIX) ? name.slice(SYSCTL_PREFIX.length) : "";
  if (!Object.hasOwn(SYSCTLS, short))
    throw new RangeError(`no sysctl ${name} here; podwire sysctl NODE lists those that there are`);
  return SYSCTLS[short];
}
