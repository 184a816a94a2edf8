/** The network namespace that plays the host: the machine's own, or a named one, made when missing. */

import { netnsExists, type OwnedJournal, run } from "../node/index.js";
import type { HostRoute } from "../topology/index.js";

/** Arguments that put a program into the namespace; none for the machine's own. */
export function enterHost(netns: string | undefined): string[] {
  return netns === undefined ? [] : ["nsenter", `--net=/run/netns/${netns}`, "--"];
}

/** Makes the namespace if it is missing and brings its loopback up. */
export async function ensureHostNetns(netns: string, journal: OwnedJournal): Promise<void> {
  if (!netnsExists(netns)) {
    journal.record({ kind: "hostns", name: netns });
    await run("ip", ["netns", "add", netns]);
  }
  await run("ip", ["-n", netns, "link", "set", "lo", "up"]);
}

/** Routes of both families and addresses of the host side that a lab's networks must not overlap. */
export async function hostRoutes(netns: string | undefined): Promise<HostRoute[]> {
  const where = netns === undefined ? [] : ["-n", netns];
  const families = ["-4", "-6"].map(async (family) => {
    const printed = await run("ip", ["-j", ...where, family, "route", "show", "table", "main"]);
    const routes = JSON.parse(printed || "[]") as { dst: string; dev?: string }[];
    return routes.map((route) => ({ prefix: route.dst, dev: route.dev ?? "?" }));
  });
  return (await Promise.all(families)).flat();
}

/** Leads the service network through one node's TAP, so that the machine's own clients reach ClusterIPs. */
export async function routeServices(
  service: string,
  hostIp: string,
  via: { nodeIp: string; tap: string },
): Promise<void> {
  await run("ip", ["route", "replace", service, "via", via.nodeIp, "dev", via.tap, "onlink", "src", hostIp]);
}
