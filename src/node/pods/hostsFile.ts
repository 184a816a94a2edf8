/** A pod's /etc/hosts, as the kubelet makes it (kubernetes pkg/kubelet/kubelet_pods.go, managedHostsFileContent). */
import { isIP } from "node:net";
import type { Pod } from "../../kube/index.js";
import { podFqdn, podHostname } from "./env.js";

export interface HostsFileOptions {
  /** The pod's addresses. */
  readonly ips: readonly string[];
  /** Such as `cluster.local`. */
  readonly zone: string;
  /** Text of the node's own file: a pod with hostNetwork gets that instead of lines about itself. */
  readonly nodeHosts?: string;
}

const HEADER = "# Kubernetes-managed hosts file.";
const HOST_NETWORK_HEADER = "# Kubernetes-managed hosts file (host network).";
const ALIASES_HEADER = "# Entries added by HostAliases.";
const LOCAL_LINES = [
  "127.0.0.1\tlocalhost",
  "::1\tlocalhost ip6-localhost ip6-loopback",
  "fe00::0\tip6-localnet",
  "fe00::0\tip6-mcastprefix",
  "fe00::1\tip6-allnodes",
  "fe00::2\tip6-allrouters",
];

/**
 * The text for a pod: its own host name, with the fully qualified one first when it has a subdomain, and its host
 * aliases.
 *
 * @throws Error an alias that cannot stand in the file; the message names the field
 */
export function hostsFile(pod: Pod, { ips, zone, nodeHosts = "" }: HostsFileOptions): string {
  const aliases = aliasLines(pod);
  if (pod.spec?.hostNetwork) return `${HOST_NETWORK_HEADER}\n${nodeHosts}${aliases}`;
  const hostname = podHostname(pod);
  const fqdn = podFqdn(pod, zone);
  const names = fqdn ? `${fqdn}\t${hostname}` : hostname;
  const lines = [HEADER, ...LOCAL_LINES, ...ips.map((ip) => `${ip}\t${names}`)];
  return `${lines.join("\n")}\n${aliases}`;
}

/** The API passes hostAliases on as they are; nothing of them may begin a line of its own in the file. */
function aliasLines(pod: Pod): string {
  const aliases: unknown = pod.spec?.hostAliases ?? [];
  if (!Array.isArray(aliases)) throw new Error("spec.hostAliases: give a list");
  if (aliases.length === 0) return "";
  const lines = aliases.map((alias: { ip?: unknown; hostnames?: unknown } | null, index) => {
    const { ip, hostnames } = alias ?? {};
    const usable =
      typeof ip === "string" && isIP(ip) && Array.isArray(hostnames) && hostnames.every(isHostName);
    if (!usable) throw new Error(`spec.hostAliases[${index}]: give an ip and its hostnames`);
    return `${ip}\t${hostnames.join("\t")}`;
  });
  return `\n${[ALIASES_HEADER, ...lines].join("\n")}\n`;
}

function isHostName(name: unknown): boolean {
  return typeof name === "string" && /^[^\s#\0]+$/.test(name);
}
