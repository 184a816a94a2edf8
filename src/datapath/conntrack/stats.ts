/** What connection tracking has counted since it began. */

/** The columns of `conntrack -S` that can be other than zero here; one thread searches no list and meets no clash. */
export interface ConntrackStats {
  /** Tuples that NAT wanted and that were taken. */
  found: number;
  /** Packets that fit no connection and can begin none, or whose checksum is wrong. */
  invalid: number;
  /** Connections entered. */
  insert: number;
  /** First packets dropped because the table was full. */
  drop: number;
  /** Connections removed to make room for others. */
  earlyDrop: number;
  /** ICMP errors that belong to no connection, or are damaged. */
  error: number;
}

export function noStats(): ConntrackStats {
  return { found: 0, invalid: 0, insert: 0, drop: 0, earlyDrop: 0, error: 0 };
}
