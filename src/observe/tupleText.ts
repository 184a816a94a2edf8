/** How the addresses of a flow are written, for all that prints them. */
import type { Tuple } from "../datapath/index.js";
import { formatIpv4, hasIcmpId, IpProtocol } from "../wire/index.js";

/** Name of an address, `namespace/pod` or `namespace/service`; undefined when nobody has it. */
export type NameOf = (address: number) => string | undefined;

/**
 * `10.0.0.1:40000 > 10.0.0.12:30001`; without ports for packets that have none, and with `id 77` behind it for ICMP
 * queries. A name stands in brackets behind its address and port.
 */
export function formatTuple(tuple: Tuple, nameOf?: NameOf): string {
  if (tuple.protocol === IpProtocol.icmp) {
    const id = hasIcmpId(tuple.dport >>> 8) ? ` id ${tuple.sport}` : "";
    return `${formatEnd(tuple.src, 0, nameOf)} > ${formatEnd(tuple.dst, 0, nameOf)}${id}`;
  }
  return `${formatEnd(tuple.src, tuple.sport, nameOf)} > ${formatEnd(tuple.dst, tuple.dport, nameOf)}`;
}

/** Whether two tuples are the same. */
export function tuplesEqual(a: Tuple, b: Tuple): boolean {
  return (
    a.protocol === b.protocol &&
    a.src === b.src &&
    a.dst === b.dst &&
    a.sport === b.sport &&
    a.dport === b.dport
  );
}

function formatEnd(address: number, port: number, nameOf?: NameOf): string {
  const name = nameOf?.(address);
  return `${formatIpv4(address)}${port === 0 ? "" : `:${port}`}${name === undefined ? "" : `(${name})`}`;
}
