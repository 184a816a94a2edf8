/** How the addresses of a flow are written, for all that prints them. */
import type { Tuple } from "../datapath/index.js";
import { formatIp, hasIcmpId, hasIcmpv6Id, type IpAddress, IpProtocol } from "../wire/index.js";

/** Name of an address, `namespace/pod` or `namespace/service`; undefined when nobody has it. */
export type NameOf = (address: IpAddress) => string | undefined;

/**
 * `10.0.0.1:40000 > 10.0.0.12:30001`; without ports for packets that have none, and with `id 77` behind it for ICMP
 * queries. An IPv6 address with a port stands in square brackets (RFC 5952 §6); a name in brackets behind its address
 * and port.
 */
export function formatTuple(tuple: Tuple, nameOf?: NameOf): string {
  const { protocol } = tuple;
  if (protocol === IpProtocol.icmp || protocol === IpProtocol.icmpv6) {
    const hasId = protocol === IpProtocol.icmp ? hasIcmpId : hasIcmpv6Id;
    const id = hasId(tuple.dport >>> 8) ? ` id ${tuple.sport}` : "";
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

function formatEnd(address: IpAddress, port: number, nameOf?: NameOf): string {
  const name = nameOf?.(address);
  const ip = port === 0 || typeof address === "number" ? formatIp(address) : `[${address}]`;
  return `${ip}${port === 0 ? "" : `:${port}`}${name === undefined ? "" : `(${name})`}`;
}
