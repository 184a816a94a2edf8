/**
 * What a proxy has to know of its address family. Inside, addresses of either are 32-bit numbers, as in the datapath: IPv4's
 * own, and for IPv6 the handles that the datapath's address book has for those in use.
 */
import type { Prefix } from "../datapath/index.js";
import {
  formatIpv4,
  formatIpv6,
  type Ipv6Prefix,
  ipv6PrefixContains,
  parseIpv4,
  parseIpv4Decimal,
  parseIpv6,
  prefixContains,
  prefixMask,
} from "../wire/index.js";

export interface AddressRange {
  /** IPv4 as a number, IPv6 as text: what tells one range from another. */
  readonly address: number | string;
  readonly length: number;
  contains(address: number): boolean;
}

export interface AddressFamily {
  /** As EndpointSlices name it. */
  readonly addressType: "IPv4" | "IPv6";
  /** Undefined for what is no address of this family, and for the unspecified one. */
  parse(text: string): number | undefined;
  /** Whether the text, an address or a network, is the other family's affair. */
  isOther(text: string): boolean;
  format(address: number): string;
  /** Of CIDR text, whose host bits may be set. */
  parseRange(text: string): AddressRange | undefined;
  range(prefix: Prefix | Ipv6Prefix): AddressRange;
  /** Order of addresses, the same on every node. */
  compare(a: number, b: number): number;
  /** A number for hashing that is the same on every node. */
  digest(address: number): number;
  /** All that was parsed since the last call is kept somewhere else now, or not needed. */
  settle(): void;
}

class Ipv4Range implements AddressRange {
  constructor(
    readonly address: number,
    readonly length: number,
  ) {}

  contains(address: number): boolean {
    return prefixContains(this, address);
  }
}

/** Address and bits of CIDR text; undefined when it does not look like one. */
function splitCidr(text: string, maxLength: number): { address: string; length: number } | undefined {
  const [address = "", bits = "", ...rest] = text.split("/");
  const valid = rest.length === 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= maxLength;
  return valid ? { address, length: Number(bits) } : undefined;
}

export const IPV4_FAMILY: AddressFamily = {
  addressType: "IPv4",
  parse: (text) => parseIpv4Decimal(text) || undefined,
  isOther: (text) => text.includes(":"),
  format: formatIpv4,
  parseRange(text) {
    const { address = "", length = 0 } = splitCidr(text, 32) ?? {};
    const ip = parseIpv4(address);
    return ip === undefined ? undefined : new Ipv4Range((ip & prefixMask(length)) >>> 0, length);
  },
  range: (prefix) => new Ipv4Range(Number(prefix.address), prefix.length),
  compare: (a, b) => a - b,
  digest: (address) => address,
  settle: () => undefined,
};

/** What is asked of the datapath's address book. */
export interface HandleBook {
  pin(address: bigint): number;
  unpin(handle: number): void;
  address(handle: number): bigint;
  digest(handle: number): number;
}

class Ipv6Range implements AddressRange {
  readonly #prefix: Ipv6Prefix;
  readonly #book: HandleBook;
  readonly address: string;
  readonly length: number;

  constructor(prefix: Ipv6Prefix, book: HandleBook) {
    this.#prefix = prefix;
    this.#book = book;
    this.address = formatIpv6(prefix.address);
    this.length = prefix.length;
  }

  contains(address: number): boolean {
    return ipv6PrefixContains(this.#prefix, this.#book.address(address));
  }
}

/** Addresses are pinned in the book from when they are read until {@link AddressFamily.settle}. */
export function ipv6Family(book: HandleBook): AddressFamily {
  const pinned: number[] = [];
  return {
    addressType: "IPv6",
    parse(text) {
      const address = parseIpv6(text);
      if (address === undefined || address === 0n) return undefined;
      const handle = book.pin(address);
      pinned.push(handle);
      return handle;
    },
    isOther: (text) => !text.includes(":"),
    format: (address) => formatIpv6(book.address(address)),
    parseRange(text) {
      const { address = "", length = 0 } = splitCidr(text, 128) ?? {};
      const ip = parseIpv6(address);
      if (ip === undefined) return undefined;
      const size = 1n << BigInt(128 - length);
      return new Ipv6Range({ address: ip - (ip % size), length }, book);
    },
    range: (prefix) => new Ipv6Range(prefix as Ipv6Prefix, book),
    compare: (a, b) => (a === b ? 0 : book.address(a) < book.address(b) ? -1 : 1),
    digest: (address) => book.digest(address),
    settle() {
      for (const handle of pinned.splice(0)) book.unpin(handle);
    },
  };
}
