/**
 * The node's own network namespace: it has the node's addresses and, over one TUN device, nothing but the datapath to
 * send to. So Linux itself answers for the node (echo, refusals, ICMP errors), pods with `hostNetwork` run in it, and
 * all that it sends passes the Service rules as in netfilter's OUTPUT, also what it sends to its own addresses.
 * Namespace and device outlive the process.
 */
import type { NodeAddresses, NodeAddresses6 } from "../datapath/index.js";
import { formatIpv4, formatIpv6, formatIpv6Prefix, formatPrefix } from "../wire/index.js";
import { NODE_NETWORK_MTU } from "./hostLink.js";
import { loopbackCommands } from "./loopbackPorts.js";
import { netnsExists, type OwnedJournal } from "./owned.js";
import { IPV6_STATIC } from "./pods/sandbox.js";
import { ipBatch, run } from "./run.js";

export interface NodeNetnsOptions {
  readonly netns: string;
  /** `podwire:<lab>`. */
  readonly alias: string;
  readonly addresses: NodeAddresses;
  readonly podMtuBytes: number;
  /** Range of the node ports, `first-last`. */
  readonly nodePorts: string;
}

/**
 * For all interfaces that are made from now on: packets of our own addresses, loopback's too, come back to us by the
 * device, and the way out need not be the way in. Where IPv6 is not carried, its discovery would only be noise; where it
 * is, addresses are configured and nobody else can have them.
 */
const sysctls = (
  hasIpv6: boolean,
) => `cd /proc/sys/net && echo 0 >ipv4/conf/all/rp_filter && echo 0 >ipv4/conf/default/rp_filter &&
echo 1 >ipv4/conf/default/accept_local && echo 1 >ipv4/conf/default/route_localnet && ${hasIpv6 ? IPV6_STATIC : "{ [ ! -e ipv6 ] || echo 1 >ipv6/conf/all/disable_ipv6; }"}`;

/**
 * Only what has come in by the device, or is loopback's, is local. What the node sends to its own addresses goes out by
 * the device like everything else.
 */
const rules = (nodePorts: string) => [
  "rule add pref 10 iif eth0 lookup local",
  ...loopbackCommands(nodePorts),
  "rule add pref 30 to 127.0.0.0/8 lookup local",
  "rule del pref 0",
];
const RULES6 = ["pref 1 iif eth0 lookup local", "pref 2 to ::1 lookup local"];

/** Name of a node's namespace. */
export function nodeNetnsName(lab: string, node: string): string {
  return `pwnode-${lab}.${node}`;
}

/**
 * Records the namespace and makes it if it is missing or was never finished. Returns whether it is new.
 *
 * @throws CommandError `ip` failed
 */
export async function claimNodeNetns(
  netns: string,
  alias: string,
  hasIpv6: boolean,
  journal: OwnedJournal,
): Promise<boolean> {
  journal.record({ kind: "netns", name: netns });
  if (netnsExists(netns)) {
    if (await isFinished(netns, alias)) return false;
    await run("ip", ["netns", "del", netns]);
  }
  await run("ip", ["netns", "add", netns]);
  await run("ip", ["netns", "exec", netns, "sh", "-c", sysctls(hasIpv6)]);
  return true;
}

/** The alias is set last. */
async function isFinished(netns: string, alias: string): Promise<boolean> {
  try {
    const [link] = JSON.parse(await run("ip", ["-n", netns, "-j", "link", "show", "dev", "eth0"]));
    return (link as { ifalias?: string }).ifalias === alias;
  } catch {
    return false;
  }
}

/** Gives the device its addresses and routes, and a new namespace its rules; may be repeated for other addresses. */
export async function configureNodeNetns(options: NodeNetnsOptions, isNew: boolean): Promise<void> {
  const { netns, alias, addresses, podMtuBytes, nodePorts } = options;
  const { podSubnet, podNetwork } = addresses;
  const [node, bridge, overlay] = [addresses.nodeIp, addresses.bridgeIp, addresses.overlayIp].map(formatIpv4);
  const ipv6 = addresses.ipv6 && ipv6Commands(addresses.ipv6, podMtuBytes);
  if (isNew && ipv6) await addRules6(netns);
  await ipBatch(
    [
      `link set dev lo up`,
      `link set dev eth0 mtu ${NODE_NETWORK_MTU} up`,
      ...(isNew ? [] : await removals(netns, [node, bridge, overlay, ...(ipv6?.addresses ?? [])])),
      ...[node, bridge, overlay].map((ip) => `addr replace ${ip}/32 dev eth0`),
      `route replace default dev eth0 src ${node}`,
      `route replace ${formatPrefix(podNetwork)} dev eth0 src ${overlay} mtu ${podMtuBytes}`,
      `route replace ${formatPrefix(podSubnet)} dev eth0 src ${bridge} mtu ${podMtuBytes}`,
      ...(ipv6?.commands ?? []),
      ...(isNew ? rules(nodePorts) : []),
      `link set dev eth0 alias ${alias}`,
    ],
    netns,
  );
}

/** One by one: a batch has no place for the family, which a rule without addresses does not tell. */
async function addRules6(netns: string): Promise<void> {
  for (const rule of RULES6) await run("ip", ["-6", "-n", netns, "rule", "add", ...rule.split(" ")]);
  await run("ip", ["-6", "-n", netns, "rule", "del", "pref", "0"]);
}

function ipv6Commands(
  { nodeIp, bridgeIp, overlayIp, podNetwork, podSubnet }: NodeAddresses6,
  podMtuBytes: number,
): { readonly addresses: string[]; readonly commands: string[] } {
  const addresses = [nodeIp, bridgeIp, overlayIp].map(formatIpv6);
  const [node, bridge, overlay] = addresses;
  return {
    addresses,
    commands: [
      ...addresses.map((ip) => `addr replace ${ip}/128 dev eth0 nodad`),
      `route replace ::/0 dev eth0 src ${node}`,
      `route replace ${formatIpv6Prefix(podNetwork)} dev eth0 src ${overlay} mtu ${podMtuBytes}`,
      `route replace ${formatIpv6Prefix(podSubnet)} dev eth0 src ${bridge} mtu ${podMtuBytes}`,
    ],
  };
}

/** Commands that remove the addresses of an earlier lease; their routes go with them. */
async function removals(netns: string, wanted: readonly (string | undefined)[]): Promise<string[]> {
  const shown = await run("ip", ["-n", netns, "-j", "addr", "show", "dev", "eth0", "scope", "global"]);
  const [link] = JSON.parse(shown || "[]") as { addr_info?: { local?: string; prefixlen: number }[] }[];
  return (link?.addr_info ?? [])
    .filter(({ local }) => local !== undefined && !wanted.includes(local))
    .map(({ local, prefixlen }) => `addr del ${local}/${prefixlen} dev eth0`);
}
