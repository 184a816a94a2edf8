/** flannel's network configuration: parse, defaults, checks (flannel pkg/subnet/config.go), and waiting for it. */

import type { Store } from "../store/index.js";
import { formatIpv4, formatPrefix, type Prefix, parseIpv4, prefixContains } from "../wire/index.js";
import { ipv6Fields, isCompatible6, type NetworkConfig6 } from "./config6.js";
import { type Fields, fieldsOf, parseFields } from "./json.js";
import { networkOf, parseCidr, sizeOf } from "./subnet.js";
import type { Log, NodeSubnets } from "./types.js";
import type { Waiter } from "./wait.js";

/** Where flannel keeps its keys unless told otherwise. */
export const DEFAULT_PREFIX = "/coreos.com/network";
/** flannel's port for the udp backend. */
export const UDP_BACKEND_PORT = 8285;

const MAX_SUBNET_LEN = 30;
const MAX_NETWORK_LEN = 28;

/** The checked configuration, defaults filled in. */
export interface NetworkConfig {
  readonly network: Prefix;
  readonly subnetLen: number;
  /** Addresses of the first and the last subnet that may be leased. */
  readonly subnetMin: number;
  readonly subnetMax: number;
  /** Missing unless `EnableIPv6` is set. */
  readonly ipv6?: NetworkConfig6;
  readonly backendType: string;
  /** UDP port of the backend; every node of a network uses the same. */
  readonly port: number;
}

/** The configuration cannot be used; the message names the key, the field and what to do. */
export class NetworkConfigError extends Error {
  constructor(key: string, problem: string) {
    super(`network configuration ${key}: ${problem}`);
    this.name = "NetworkConfigError";
  }
}

/** Key of the configuration under a prefix. */
export function configKey(prefix: string): string {
  return `${prefix}/config`;
}

/**
 * Parses and checks the configuration. `key` only serves the error messages.
 * Field names match in any case and unknown fields are ignored, as in Go's JSON.
 * @throws NetworkConfigError
 */
export function parseNetworkConfig(text: string, key: string = configKey(DEFAULT_PREFIX)): NetworkConfig {
  const fail = (problem: string): never => {
    throw new NetworkConfigError(key, problem);
  };
  const fields =
    parseFields(text) ?? fail('is not a JSON object; write one such as {"Network":"172.16.0.0/16"}');
  const network = networkField(fields, fail);
  const subnetLen = subnetLenField(fields, network, fail);
  const size = sizeOf(subnetLen);
  // The first subnet is skipped: its address would be the network's own (config.go).
  const first = network.address + size;
  const last = network.address + sizeOf(network.length) - size;
  const subnetMin = boundField(fields, "SubnetMin", network, subnetLen, fail) ?? first;
  const subnetMax = boundField(fields, "SubnetMax", network, subnetLen, fail) ?? last;
  if (subnetMin > subnetMax) {
    fail(`SubnetMin ${formatIpv4(subnetMin)} is above SubnetMax ${formatIpv4(subnetMax)}; swap them`);
  }
  const ipv6 = ipv6Fields(fields, fail);
  const backend = backendField(fields, fail);
  return { network, subnetLen, subnetMin, subnetMax, ...(ipv6 && { ipv6 }), ...backend };
}

/** Number of subnets that can be leased. */
export function subnetCount(config: NetworkConfig): number {
  return (config.subnetMax - config.subnetMin) / sizeOf(config.subnetLen) + 1;
}

/** Whether a node's subnets can be leased under this configuration (flannel's isSubnetConfigCompat). */
export function isCompatible(config: NetworkConfig, { subnet, subnet6 }: NodeSubnets): boolean {
  return (
    subnet.length === config.subnetLen &&
    subnet.address >= config.subnetMin &&
    subnet.address <= config.subnetMax &&
    isCompatible6(config.ipv6, subnet6)
  );
}

/**
 * Reads the configuration, waiting for as long as it takes to appear; the log says so once, with the key to write.
 * @throws NetworkConfigError when it is there and wrong; the waiter's StoppedError when stopped meanwhile.
 */
export async function readNetworkConfig(
  store: Store,
  prefix: string,
  wait: Waiter,
  log: Log,
): Promise<NetworkConfig> {
  const key = configKey(prefix);
  let said = false;
  for (;;) {
    const { kvs } = await wait.untilAvailable(`read ${key}`, () => store.range(key));
    if (kvs[0] !== undefined) return parseNetworkConfig(new TextDecoder().decode(kvs[0].value), key);
    if (!said) log("warn", `waiting for the network configuration: the store has no key ${key}`);
    said = true;
    await wait.sleep(1000);
  }
}

type Fail = (problem: string) => never;

function networkField(fields: Fields, fail: Fail): Prefix {
  const value = fields.get("network");
  if (value === undefined || value === null)
    return fail('Network is missing; add one such as "Network":"172.16.0.0/16"');
  const network = typeof value === "string" ? parseCidr(value) : undefined;
  return network ?? fail(`Network ${JSON.stringify(value)} is not an IPv4 network such as "172.16.0.0/16"`);
}

function subnetLenField(fields: Fields, network: Prefix, fail: Fail): number {
  const value = fields.get("subnetlen") ?? 0;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 32) {
    return fail(
      `SubnetLen ${JSON.stringify(value)} is not a prefix length; use a whole number up to ${MAX_SUBNET_LEN}`,
    );
  }
  if (value === 0) return defaultSubnetLen(network, fail);
  if (value > MAX_SUBNET_LEN) {
    fail(
      `SubnetLen ${value} leaves no room for a bridge and a tunnel on each node; use at most ${MAX_SUBNET_LEN}`,
    );
  }
  // The first subnet is not used, so two subnets would serve one node only (config.go).
  if (value < network.length + 2) {
    fail(
      `Network ${formatPrefix(network)} holds fewer than four /${value} subnets; use SubnetLen ${network.length + 2} or more`,
    );
  }
  return value;
}

/** A /24 for each node, or a quarter of a network that is too small for four of those. */
function defaultSubnetLen(network: Prefix, fail: Fail): number {
  if (network.length > MAX_NETWORK_LEN) {
    fail(`Network ${formatPrefix(network)} is too small; use a /${MAX_NETWORK_LEN} or larger`);
  }
  return network.length <= 22 ? 24 : network.length + 2;
}

function boundField(
  fields: Fields,
  name: "SubnetMin" | "SubnetMax",
  network: Prefix,
  subnetLen: number,
  fail: Fail,
): number | undefined {
  const value = fields.get(name.toLowerCase());
  if (value === undefined || value === null) return undefined;
  const address = typeof value === "string" ? parseIpv4(value) : undefined;
  if (address === undefined) return fail(`${name} ${JSON.stringify(value)} is not an IPv4 address`);
  if (!prefixContains(network, address)) fail(`${name} ${value} is outside Network ${formatPrefix(network)}`);
  const boundary = networkOf(address, subnetLen).address;
  if (address !== boundary) {
    fail(`${name} ${value} is not on a /${subnetLen} boundary; the nearest below is ${formatIpv4(boundary)}`);
  }
  return address;
}

function backendField(fields: Fields, fail: Fail): { backendType: string; port: number } {
  const value = fields.get("backend");
  if (value === undefined || value === null) return { backendType: "udp", port: UDP_BACKEND_PORT };
  const backend = fieldsOf(value) ?? fail('Backend is not an object; write one such as {"Type":"udp"}');
  const backendType = backend.get("type");
  if (typeof backendType !== "string" || backendType === "") {
    return fail('Backend.Type is missing; set it, for example to "udp"');
  }
  const port = backend.get("port") ?? UDP_BACKEND_PORT;
  if (typeof port !== "number" || !Number.isInteger(port) || port < 1 || port > 65535) {
    return fail(`Backend.Port ${JSON.stringify(port)} is not a UDP port; use a number from 1 to 65535`);
  }
  return { backendType, port };
}
