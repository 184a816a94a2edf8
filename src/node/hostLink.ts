/**
 * The host side of a node: a TAP whose far end is this node's `host` port, and the routes that lead the machine's own
 * clients to the node IP and to the pods behind it. It is persistent, so that a restarted node process finds it, its
 * address and its routes again.
 */
import { formatIpv6Prefix, formatPrefix, type Ipv6Prefix, type Prefix } from "../wire/index.js";
import type { OwnedJournal } from "./owned.js";
import { ipBatch, run } from "./run.js";

/** MTU of the emulated node network. */
export const NODE_NETWORK_MTU = 1500;

export interface HostLinkOptions {
  readonly name: string;
  /** `podwire:<lab>`, by which the link is known as ours. */
  readonly alias: string;
  readonly nodeIp: string;
  readonly hostIp: string;
  readonly podSubnet: Prefix;
  /** The same for a node with IPv6. */
  readonly ipv6?: { readonly nodeIp: string; readonly hostIp: string; readonly podSubnet: Ipv6Prefix };
}

/** Refuses a link of that name that is not this lab's; records the name before the caller makes it. */
export async function claimHostLink(options: HostLinkOptions, journal: OwnedJournal): Promise<void> {
  const link = { kind: "link", name: options.name, alias: options.alias } as const;
  const existing = await linkAlias(options.name);
  // One without an alias is ours when we recorded it: an earlier process died before it could mark the link.
  if (existing !== undefined && existing !== options.alias && !(existing === "" && journal.has(link))) {
    throw new Error(
      `network device ${options.name} exists and is not this lab's: remove it (ip link del ${options.name}) or rename the node`,
    );
  }
  journal.record(link);
}

/** Alias of a link, empty when it has none, undefined when there is no such link. */
async function linkAlias(name: string): Promise<string | undefined> {
  const links = JSON.parse((await run("ip", ["-j", "link", "show"])) || "[]") as {
    ifname: string;
    ifalias?: string;
  }[];
  const found = links.find((link) => link.ifname === name);
  return found ? (found.ifalias ?? "") : undefined;
}

/** Brings the link up with its address and routes; may be repeated. */
export async function configureHostLink(options: HostLinkOptions): Promise<void> {
  const { name, alias, ipv6 } = options;
  await ipBatch([
    `link set dev ${name} alias ${alias}`,
    `link set dev ${name} mtu ${NODE_NETWORK_MTU} up`,
    `addr replace ${options.hostIp}/32 dev ${name}`,
    ...routes(name, options, 32, formatPrefix(options.podSubnet)),
    // The address is on the TAP of every node; nobody else is there to have it.
    ...(ipv6
      ? [
          `addr replace ${ipv6.hostIp}/128 dev ${name} nodad`,
          ...routes(name, ipv6, 128, formatIpv6Prefix(ipv6.podSubnet)),
        ]
      : []),
  ]);
}

function routes(
  name: string,
  { nodeIp, hostIp }: { readonly nodeIp: string; readonly hostIp: string },
  bits: number,
  pods: string,
): string[] {
  return [
    `route replace ${nodeIp}/${bits} dev ${name} src ${hostIp}`,
    `route replace ${pods} via ${nodeIp} dev ${name} onlink src ${hostIp}`,
  ];
}
