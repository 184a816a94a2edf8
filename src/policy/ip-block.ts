/**
 * Blocks of addresses. This is the one place that knows what an address looks like inside: the rest of the folder
 * compares addresses for equality only.
 */
import { isIpv6Handle } from "../datapath/index.js";
import {
  type Ipv6Prefix,
  ipv6PrefixContains,
  type Prefix,
  parseIpv4,
  parseIpv6Cidr,
  prefixContains,
  prefixMask,
} from "../wire/index.js";

/** A prefix less some smaller ones. */
export interface IpBlock {
  /** Of an IPv4 address, or of the handle of an IPv6 one. */
  contains(address: number): boolean;
}

/** The IPv6 address of a handle. */
export type AddressOf6 = (handle: number) => bigint;

const CIDR = /^([\d.]+)\/([12]?\d|3[0-2])$/;

/** An IPv6 block on a node without IPv6: no packet here has such an address. */
const NO_ADDRESS: IpBlock = { contains: () => false };

/** The block of `cidr` without `except`; undefined when one of them is no CIDR. Host bits may be set, as in the API. */
export function readIpBlock(
  cidr: string,
  except: readonly string[],
  addressOf6?: AddressOf6,
): IpBlock | undefined {
  if (cidr.includes(":")) return readIpv6Block(cidr, except, addressOf6);
  const prefix = readPrefix(cidr);
  const holes = except.map(readPrefix);
  if (prefix === undefined || holes.includes(undefined)) return undefined;
  return new Ipv4Block(prefix, holes as Prefix[]);
}

function readPrefix(cidr: string): Prefix | undefined {
  const [, text = "", bits = ""] = CIDR.exec(cidr) ?? [];
  const address = parseIpv4(text);
  const length = Number(bits);
  return address === undefined ? undefined : { address: (address & prefixMask(length)) >>> 0, length };
}

function readIpv6Block(
  cidr: string,
  except: readonly string[],
  addressOf6: AddressOf6 | undefined,
): IpBlock | undefined {
  const prefix = parseIpv6Cidr(cidr);
  const holes = except.map(parseIpv6Cidr);
  if (prefix === undefined || holes.includes(undefined)) return undefined;
  return addressOf6 ? new Ipv6Block(prefix, holes as Ipv6Prefix[], addressOf6) : NO_ADDRESS;
}

class Ipv6Block implements IpBlock {
  constructor(
    private readonly prefix: Ipv6Prefix,
    private readonly holes: readonly Ipv6Prefix[],
    private readonly addressOf6: AddressOf6,
  ) {}

  contains(handle: number): boolean {
    if (!isIpv6Handle(handle)) return false;
    const address = this.addressOf6(handle);
    if (!ipv6PrefixContains(this.prefix, address)) return false;
    return !this.holes.some((hole) => ipv6PrefixContains(hole, address));
  }
}

class Ipv4Block implements IpBlock {
  constructor(
    private readonly prefix: Prefix,
    private readonly holes: readonly Prefix[],
  ) {}

  contains(address: number): boolean {
    if (isIpv6Handle(address) || !prefixContains(this.prefix, address)) return false;
    for (const hole of this.holes) if (prefixContains(hole, address)) return false;
    return true;
  }
}
