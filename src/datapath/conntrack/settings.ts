/** How connections are tracked: time-outs and the switches of TCP. */
import { type ConntrackTimeouts, DEFAULT_TIMEOUTS, type TimeoutName } from "./state.js";
import { MAX_RETRANS_SHIFT, TcpSetting } from "./tcp.js";

/** The switches of TCP, after net.netfilter.nf_conntrack_*. */
export interface TcpTracking {
  /** Segments out of window pass; only resets are still judged. */
  readonly tcpBeLiberal: boolean;
  /** Connections whose beginning was not seen are picked up. */
  readonly tcpLoose: boolean;
  /** Resets below the window pass. */
  readonly tcpIgnoreInvalidRst: boolean;
  /** Repeats of a segment after which a connection lives only `tcpMaxRetrans` longer. */
  readonly tcpMaxRetrans: number;
}

export interface ConntrackSettings extends TcpTracking {
  /** Most connections. */
  readonly max: number;
  readonly timeouts: ConntrackTimeouts;
}

/** What may be given; Linux' defaults stand for the rest. */
export type ConntrackOptions = {
  readonly [Key in Exclude<keyof ConntrackSettings, "timeouts">]?: ConntrackSettings[Key] | undefined;
} & { readonly timeouts?: { readonly [Name in TimeoutName]?: number | undefined } | undefined };

/** Linux' values, on a machine with more than 4 GB. */
const DEFAULTS: ConntrackSettings = {
  max: 262_144,
  timeouts: DEFAULT_TIMEOUTS,
  tcpBeLiberal: false,
  tcpLoose: true,
  tcpIgnoreInvalidRst: false,
  tcpMaxRetrans: 3,
};

/** The settings with what is given in place of `base`, or of Linux' defaults. */
export function conntrackSettings(
  options: ConntrackOptions,
  base: ConntrackSettings = DEFAULTS,
): ConntrackSettings {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const timeouts = Object.entries(options.timeouts ?? {}).filter(([, value]) => value !== undefined);
  return { ...base, ...given, timeouts: { ...base.timeouts, ...Object.fromEntries(timeouts) } };
}

/** The switches as trackTcp wants them. */
export function tcpSettingBits(settings: ConntrackSettings): number {
  const bits =
    (settings.tcpBeLiberal ? TcpSetting.liberal : 0) |
    (settings.tcpLoose ? TcpSetting.loose : 0) |
    (settings.tcpIgnoreInvalidRst ? TcpSetting.ignoreInvalidReset : 0);
  return bits | (settings.tcpMaxRetrans << MAX_RETRANS_SHIFT);
}
