/** Pod addresses of one node, handed out in turn as CNI's host-local plugin does, so that a freed one rests longest. */
import { formatIpv4, type Prefix, parseIpv4 } from "../../wire/index.js";

/** Raised when every address of the node's subnet is taken. */
export class SubnetFullError extends Error {
  constructor(subnet: string) {
    super(
      `no free pod address in ${subnet}: delete pods on this node or use larger subnets (network.pods.subnetLen)`,
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
  constructor(subnet: Prefix) {
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

  release(ip: string): void {
    const address = parseIpv4(ip);
    if (address !== undefined) this.#used.delete(address);
  }
}
