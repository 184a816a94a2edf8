/** subnet.env: the file in which flannel tells container runtimes, and its own next run, what this node leased. */

import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import {
  formatIpv4,
  formatIpv6,
  formatIpv6Prefix,
  formatPrefix,
  type Ipv6Prefix,
  type Prefix,
  parseIpv4,
  parseIpv6Cidr,
} from "../wire/index.js";
import { networkOf, parseCidr } from "./subnet.js";
import type { NodeSubnets } from "./types.js";

export interface SubnetEnv extends NodeSubnets {
  readonly network: Prefix;
  /** Together with `subnet6`. */
  readonly network6?: Ipv6Prefix;
  readonly mtuBytes: number;
  readonly ipMasq: boolean;
}

/** The file's text. FLANNEL_SUBNET is the first address of the subnet, the bridge's (flannel pkg/subnet/subnet.go). */
export function formatSubnetEnv({ network, network6, subnet, subnet6, mtuBytes, ipMasq }: SubnetEnv): string {
  return [
    `FLANNEL_NETWORK=${formatPrefix(network)}`,
    `FLANNEL_SUBNET=${formatIpv4(subnet.address + 1)}/${subnet.length}`,
    ...(network6 && subnet6
      ? [
          `FLANNEL_IPV6_NETWORK=${formatIpv6Prefix(network6)}`,
          `FLANNEL_IPV6_SUBNET=${formatIpv6(subnet6.address + 1n)}/${subnet6.length}`,
        ]
      : []),
    `FLANNEL_MTU=${mtuBytes}`,
    `FLANNEL_IPMASQ=${ipMasq}`,
    "",
  ].join("\n");
}

/** Reads the text; undefined when a line is missing or wrong (the caller then has no previous subnet). */
export function parseSubnetEnv(text: string): SubnetEnv | undefined {
  const fields = new Map(text.split("\n").map((line) => splitOnce(line.trim(), "=")));
  const network = parseCidr(fields.get("FLANNEL_NETWORK") ?? "");
  const [bridge, length] = splitOnce(fields.get("FLANNEL_SUBNET") ?? "", "/");
  const bridgeIp = parseIpv4(bridge);
  const mtuBytes = Number(fields.get("FLANNEL_MTU"));
  if (network === undefined || bridgeIp === undefined || parseCidr(`${bridge}/${length}`) === undefined)
    return undefined;
  if (!Number.isInteger(mtuBytes) || mtuBytes <= 0) return undefined;
  const network6 = parseIpv6Cidr(fields.get("FLANNEL_IPV6_NETWORK") ?? "");
  const subnet6 = parseIpv6Cidr(fields.get("FLANNEL_IPV6_SUBNET") ?? "");
  return {
    network,
    subnet: networkOf(bridgeIp, Number(length)),
    ...(network6 && subnet6 ? { network6, subnet6 } : {}),
    mtuBytes,
    ipMasq: fields.get("FLANNEL_IPMASQ") === "true",
  };
}

/**
 * Writes the file so that a reader sees the old or the new one, never a part; makes its directory if missing.
 * @throws Error that names the file
 */
export async function writeSubnetEnv(path: string, env: SubnetEnv): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(temporary, formatSubnetEnv(env), { mode: 0o644 });
    await rename(temporary, path);
  } catch (error) {
    throw fileError("write", path, error);
  }
}

/**
 * Reads the file of an earlier run; undefined when there is none or it is damaged.
 * @throws Error that names the file when it is there and cannot be read
 */
export async function readSubnetEnv(path: string): Promise<SubnetEnv | undefined> {
  try {
    return parseSubnetEnv(await readFile(path, "utf8"));
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw fileError("read", path, error);
  }
}

function fileError(what: string, path: string, error: unknown): Error {
  const reason = error instanceof Error ? error.message : String(error);
  return new Error(`cannot ${what} ${path} (${reason}); check its directory and rights`);
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)];
}
