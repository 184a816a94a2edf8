/** A range of ClusterIPs: which addresses it has, by their distance from the network's own. */
import { Address4, Address6 } from "ip-address";

export type IpFamily = "IPv4" | "IPv6";

/** Offsets beyond this are never chosen at random; an IPv6 network may have far more. */
const MAX_RANDOM_OFFSET = 2 ** 32;
const MIN_SIZE = 4;

export function familyOf(ip: string): IpFamily {
  return ip.includes(":") ? "IPv6" : "IPv4";
}

export class ServiceRange {
  readonly cidr: string;
  readonly family: IpFamily;
  /** Last offset that may be given out; the first is 1. IPv4's last address is the broadcast address. */
  readonly lastOffset: number;
  readonly #first: bigint;
  readonly #size: bigint;

  /** @throws Error for a text that is no CIDR, and for a network without room for Services */
  constructor(cidr: string) {
    const family = familyOf(cidr);
    const Address = family === "IPv4" ? Address4 : Address6;
    if (!cidr.includes("/") || !Address.isValid(cidr))
      throw new Error(`service network ${cidr}: give a network such as 10.254.0.0/16 or fd00:10:96::/112`);
    const network = new Address(cidr);
    this.cidr = `${network.startAddress().correctForm()}/${network.subnetMask}`;
    this.family = family;
    this.#first = network.startAddress().bigInt();
    this.#size = network.endAddress().bigInt() - this.#first + 1n;
    if (this.#size < MIN_SIZE)
      throw new Error(
        `service network ${cidr}: too small for Services, give one of ${MIN_SIZE} addresses or more`,
      );
    const last = this.#size - (family === "IPv4" ? 2n : 1n);
    this.lastOffset = Math.min(Number(last), MAX_RANDOM_OFFSET);
  }

  get size(): number {
    return Number(this.#size);
  }

  /** The address at an offset, in its usual spelling. */
  ipAt(offset: number): string {
    const value = this.#first + BigInt(offset);
    const address = this.family === "IPv4" ? Address4.fromBigInt(value) : Address6.fromBigInt(value);
    return address.correctForm();
  }

  /** Where the address lies; undefined outside the range, and for the network's own and the broadcast address. */
  offsetOf(ip: string): number | undefined {
    if (familyOf(ip) !== this.family) return undefined;
    const value = (this.family === "IPv4" ? new Address4(ip) : new Address6(ip)).bigInt();
    const offset = value - this.#first;
    const end = this.#size - (this.family === "IPv4" ? 2n : 1n);
    return offset >= 1n && offset <= end ? Number(offset) : undefined;
  }
}

/** Where the Service `default/kubernetes` is: the first address of the service network. */
export const API_OFFSET = 1;

/** The ClusterIP of the Service `default/kubernetes`. @throws Error for a bad network */
export function apiServiceAddress(serviceNetwork: string): string {
  return new ServiceRange(serviceNetwork).ipAt(API_OFFSET);
}
