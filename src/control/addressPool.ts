/** Addresses for load balancers: ranges to choose from. */
import { Address4, Address6 } from "ip-address";
import { type Family, familyOf } from "./families.js";

interface Range {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}

/** Addresses that are tried of one range before it counts as full; an IPv6 range has no end that could be reached. */
const MAX_TRIED = 65_536;

export class AddressPool {
  readonly #ranges: readonly Range[];

  /** @param cidrs such as 203.0.113.0/28; @throws Error that names the one that is none */
  constructor(cidrs: readonly string[]) {
    this.#ranges = cidrs.map(parseRange);
  }

  has(ip: string): boolean {
    if (!Address4.isValid(ip) && !Address6.isValid(ip)) return false;
    const family = familyOf(ip);
    const value = (family === "IPv4" ? new Address4(ip) : new Address6(ip)).bigInt();
    return this.#ranges.some((one) => one.family === family && value >= one.first && value <= one.last);
  }

  /** The first address that is not taken; undefined when there is none. */
  free(family: Family, isTaken: (ip: string) => boolean): string | undefined {
    for (const range of this.#ranges.filter((one) => one.family === family)) {
      let value = range.first;
      for (let tried = 0; tried < MAX_TRIED && value <= range.last; tried++, value++) {
        const ip = (
          family === "IPv4" ? Address4.fromBigInt(value) : Address6.fromBigInt(value)
        ).correctForm();
        if (!isTaken(ip)) return ip;
      }
    }
    return undefined;
  }
}

/** All of a network, its first and last address too: a pool is no link, and a range of addresses comes as networks. */
function parseRange(cidr: string): Range {
  const family = familyOf(cidr);
  const Address = family === "IPv4" ? Address4 : Address6;
  if (!cidr.includes("/") || !Address.isValid(cidr))
    throw new Error(`load balancer pool ${cidr}: give a network such as 203.0.113.0/28`);
  const network = new Address(cidr);
  return { family, first: network.startAddress().bigInt(), last: network.endAddress().bigInt() };
}
