/** The IPv6 part of flannel's network configuration: parse, defaults, checks (flannel pkg/subnet/config.go). */
import {
  formatIpv6,
  formatIpv6Prefix,
  type Ipv6Prefix,
  ipv6Network,
  ipv6PrefixContains,
  ipv6PrefixSize,
  parseIpv6,
  parseIpv6Cidr,
} from "../wire/index.js";
import type { Fields } from "./json.js";

const MAX_SUBNET_LEN = 126;
const MAX_NETWORK_LEN = 124;
/** flannel's default, for networks that hold four of them. */
const DEFAULT_SUBNET_LEN = 64;

/** The second family of a dual-stack network, defaults filled in. */
export interface NetworkConfig6 {
  readonly network: Ipv6Prefix;
  readonly subnetLen: number;
  /** Addresses of the first and the last subnet that may be leased. */
  readonly subnetMin: bigint;
  readonly subnetMax: bigint;
}

type Fail = (problem: string) => never;

/** The IPv6 part; undefined when `EnableIPv6` is not set. `fail` throws. */
export function ipv6Fields(fields: Fields, fail: Fail): NetworkConfig6 | undefined {
  if (flag(fields, "EnableIPv4", true, fail) === false)
    fail("EnableIPv4 is false, but the underlay and every node here have IPv4; remove it");
  if (!flag(fields, "EnableIPv6", false, fail)) return undefined;
  const network = networkField(fields, fail);
  const subnetLen = subnetLenField(fields, network, fail);
  const size = ipv6PrefixSize(subnetLen);
  // The first subnet is skipped, as for IPv4 (config.go).
  const first = network.address + size;
  const last = network.address + ipv6PrefixSize(network.length) - size;
  const subnetMin = boundField(fields, "IPv6SubnetMin", network, subnetLen, fail) ?? first;
  const subnetMax = boundField(fields, "IPv6SubnetMax", network, subnetLen, fail) ?? last;
  if (subnetMin > subnetMax)
    fail(`IPv6SubnetMin ${formatIpv6(subnetMin)} is above IPv6SubnetMax ${formatIpv6(subnetMax)}; swap them`);
  return { network, subnetLen, subnetMin, subnetMax };
}

/** Whether a subnet can be leased under this configuration (flannel's isIPv6SubnetConfigCompat). */
export function isCompatible6(config: NetworkConfig6 | undefined, subnet: Ipv6Prefix | undefined): boolean {
  if (config === undefined || subnet === undefined) return config === undefined && subnet === undefined;
  return (
    subnet.length === config.subnetLen &&
    subnet.address >= config.subnetMin &&
    subnet.address <= config.subnetMax
  );
}

function flag(fields: Fields, name: string, otherwise: boolean, fail: Fail): boolean {
  const value = fields.get(name.toLowerCase()) ?? otherwise;
  return typeof value === "boolean" ? value : fail(`${name} ${JSON.stringify(value)} is not true or false`);
}

function networkField(fields: Fields, fail: Fail): Ipv6Prefix {
  const value = fields.get("ipv6network");
  if (value === undefined || value === null)
    return fail('IPv6Network is missing; add one such as "IPv6Network":"fd00:10:244::/56"');
  const network = typeof value === "string" ? parseIpv6Cidr(value) : undefined;
  return (
    network ?? fail(`IPv6Network ${JSON.stringify(value)} is not an IPv6 network such as "fd00:10:244::/56"`)
  );
}

function subnetLenField(fields: Fields, network: Ipv6Prefix, fail: Fail): number {
  const value = fields.get("ipv6subnetlen") ?? 0;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 128) {
    return fail(
      `IPv6SubnetLen ${JSON.stringify(value)} is not a prefix length; use a whole number up to ${MAX_SUBNET_LEN}`,
    );
  }
  const name = formatIpv6Prefix(network);
  if (value === 0) {
    if (network.length > MAX_NETWORK_LEN)
      fail(`IPv6Network ${name} is too small; use a /${MAX_NETWORK_LEN} or larger`);
    return network.length <= DEFAULT_SUBNET_LEN - 2 ? DEFAULT_SUBNET_LEN : network.length + 2;
  }
  if (value > MAX_SUBNET_LEN)
    fail(`IPv6SubnetLen ${value} leaves no room for a bridge and a tunnel; use at most ${MAX_SUBNET_LEN}`);
  if (value < network.length + 2)
    fail(
      `IPv6Network ${name} holds fewer than four /${value} subnets; use IPv6SubnetLen ${network.length + 2} or more`,
    );
  return value;
}

function boundField(
  fields: Fields,
  name: "IPv6SubnetMin" | "IPv6SubnetMax",
  network: Ipv6Prefix,
  subnetLen: number,
  fail: Fail,
): bigint | undefined {
  const value = fields.get(name.toLowerCase());
  if (value === undefined || value === null) return undefined;
  const address = typeof value === "string" ? parseIpv6(value) : undefined;
  if (address === undefined) return fail(`${name} ${JSON.stringify(value)} is not an IPv6 address`);
  if (!ipv6PrefixContains(network, address))
    fail(`${name} ${value} is outside IPv6Network ${formatIpv6Prefix(network)}`);
  const boundary = ipv6Network(address, subnetLen);
  if (address !== boundary)
    fail(`${name} ${value} is not on a /${subnetLen} boundary; the nearest below is ${formatIpv6(boundary)}`);
  return address;
}
