/** Pod addresses of one node, handed out in turn as CNI's host-local plugin does, so that a freed one rests longest. */
import {
  formatIpv4,
  formatIpv6,
  formatIpv6Prefix,
  type Ipv6Prefix,
  ipv6PrefixSize,
  type Prefix,
  parseIpv4,
} from "../../wire/index.js";

/** Raised when every address of the node's subnet is taken. */
export class SubnetFullError extends Error {
  constructor(subnet: string) {
    super(
      `no free pod address in ${subnet}: delete pods on this node or use larger subnets (network.pods.subnetLen, subnetLenIPv6)`,
    );
    this.name = "SubnetFullError";
  }
}

export class PodIpam {
  readonly #first: number;
  readonly #last: number;
  readonly #text: string;
  readonly #used = new Set<number>();
  #next: number;

  /** Addresses from the subnet's .2 (.0 is flannel's, .1 the bridge's) to the one before broadcast. */
  constructor(
    subnet: Prefix,
    /** The node's subnet of IPv6, when it has one. */
    readonly subnet6?: Ipv6Prefix,
  ) {
    this.#first = subnet.address + 2;
    this.#last = subnet.address + 2 ** (32 - subnet.length) - 2;
    this.#next = this.#first;
    this.#text = `${formatIpv4(subnet.address)}/${subnet.length}`;
  }

  /** Marks an address that a surviving pod holds; false when it lies outside the subnet or is held already. */
  claim(ip: string): boolean {
    const address = parseIpv4(ip);
    if (address === undefined || address < this.#first || address > this.#last || this.#used.has(address))
      return false;
    this.#used.add(address);
    this.#next = Math.max(this.#next, address + 1);
    return true;
  }

  allocate(): string {
    for (let tried = this.#first; tried <= this.#last; tried++) {
      if (this.#next > this.#last) this.#next = this.#first;
      const address = this.#next++;
      if (this.#used.has(address)) continue;
      this.#used.add(address);
      return formatIpv4(address);
    }
    throw new SubnetFullError(this.#text);
  }

  /**
   * The IPv6 address that goes with an IPv4 one: the one of the same number in its subnet. Undefined without IPv6.
   * @throws SubnetFullError the IPv6 subnet is the smaller one, and has no such number
   */
  second(ip: string): string | undefined {
    if (this.subnet6 === undefined) return undefined;
    const number = BigInt((parseIpv4(ip) ?? 0) - this.#first + 2);
    if (number >= ipv6PrefixSize(this.subnet6.length))
      throw new SubnetFullError(formatIpv6Prefix(this.subnet6));
    return formatIpv6(this.subnet6.address + number);
  }

  release(ip: string): void {
    const address = parseIpv4(ip);
    if (address !== undefined) this.#used.delete(address);
  }
}
