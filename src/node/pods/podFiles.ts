/** A pod's own /etc/resolv.conf and /etc/hosts, kept where `ip netns exec` finds and mounts them (ip-netns(8)). */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Pod } from "../../kube/index.js";
import { NETNS_FILES } from "../owned.js";
import { hostsFile } from "./hostsFile.js";
import { resolvConf } from "./resolvConf.js";
import type { SandboxRecord } from "./sandbox.js";

export const DEFAULT_ZONE = "cluster.local";

export interface PodDns {
  readonly servers: readonly string[];
  readonly zone: string;
}

/**
 * Writes both files for a pod; they go with its namespace.
 *
 * @throws Error when the pod's dnsConfig or hostAliases make no sense
 */
export function writePodFiles(pod: Pod, sandbox: SandboxRecord, dns: PodDns | undefined): void {
  const { servers = [], zone = DEFAULT_ZONE } = dns ?? {};
  const resolver = resolvConf(pod, {
    clusterDns: servers,
    zone,
    hostResolvConf: readText("/etc/resolv.conf"),
  });
  const hosts = hostsFile(pod, {
    ips: [sandbox.ip, ...(sandbox.ip6 ? [sandbox.ip6] : [])],
    zone,
    nodeHosts: readText("/etc/hosts"),
  });
  const dir = join(NETNS_FILES, sandbox.netns);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "resolv.conf"), resolver);
  writeFileSync(join(dir, "hosts"), hosts);
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
