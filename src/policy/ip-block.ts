/**
 * Blocks of addresses. This is the one place that knows what an address looks like inside: the rest of the folder
 * compares addresses for equality only, so that another family needs a reader of its own here and nothing else.
 */
import { type Prefix, parseIpv4, prefixContains, prefixMask } from "../wire/index.js";

/** A prefix less some smaller ones. */
export interface IpBlock {
  contains(address: number): boolean;
}

const CIDR = /^([\d.]+)\/([12]?\d|3[0-2])$/;

/** Of the other family: no packet here has such an address. */
const NO_ADDRESS: IpBlock = { contains: () => false };

/** The block of `cidr` without `except`; undefined when one of them is no CIDR. Host bits may be set, as in the API. */
export function readIpBlock(cidr: string, except: readonly string[]): IpBlock | undefined {
  if (cidr.includes(":")) return NO_ADDRESS;
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

class Ipv4Block implements IpBlock {
  constructor(
    private readonly prefix: Prefix,
    private readonly holes: readonly Prefix[],
  ) {}

  contains(address: number): boolean {
    if (!prefixContains(this.prefix, address)) return false;
    for (const hole of this.holes) if (prefixContains(hole, address)) return false;
    return true;
  }
}
