/** A pod's /etc/resolv.conf, as the kubelet makes it (kubernetes pkg/kubelet/network/dns/dns.go). */
import { isIP } from "node:net";
import type { Pod } from "../../kube/index.js";

export interface ResolvConfOptions {
  /** Addresses of cluster DNS; without any, ClusterFirst is the same as Default. */
  readonly clusterDns: readonly string[];
  /** Such as `cluster.local`. */
  readonly zone: string;
  /** Text of the machine's own resolv.conf. */
  readonly hostResolvConf: string;
}

interface Settings {
  readonly nameservers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

/** Limits of kubernetes pkg/apis/core/validation: what resolvers take. */
const MAX_NAMESERVERS = 3;
const MAX_SEARCHES = 32;
const MAX_SEARCH_CHARS = 2048;
/** glibc 2.28 aborts on longer ones. */
const MAX_SEARCH_LENGTH = 253;
const CLUSTER_OPTIONS: readonly string[] = ["ndots:5"];
const NOTHING: Settings = { nameservers: [], searches: [], options: [] };

/**
 * The text for a pod's dnsPolicy and dnsConfig. What is over the limits is left out, the first ones stay.
 *
 * @throws Error dnsConfig holds something that cannot stand in the file; the message names the field
 */
export function resolvConf(pod: Pod, options: ResolvConfOptions): string {
  const base = baseSettings(pod, options);
  const own = ownSettings(pod);
  return format({
    nameservers: unique([...base.nameservers, ...own.nameservers]).slice(0, MAX_NAMESERVERS),
    searches: fitting(unique([...base.searches, ...own.searches])),
    options: mergeOptions([...base.options, ...own.options]),
  });
}

function baseSettings(pod: Pod, { clusterDns, zone, hostResolvConf }: ResolvConfOptions): Settings {
  const policy = pod.spec?.dnsPolicy ?? "ClusterFirst";
  if (policy === "None") return NOTHING;
  const host = parse(hostResolvConf);
  const hostOnly = policy === "Default" || (policy === "ClusterFirst" && pod.spec?.hostNetwork === true);
  if (hostOnly || clusterDns.length === 0) return host;
  const cluster = [`${pod.metadata?.namespace}.svc.${zone}`, `svc.${zone}`, zone];
  return {
    nameservers: clusterDns,
    searches: [...cluster, ...host.searches],
    options: CLUSTER_OPTIONS,
  };
}

/** As the kubelet reads it: name servers add up, of searches and options the last line counts. */
function parse(text: string): Settings {
  const lines = text.split("\n").map((line) => line.trim().split(/\s+/));
  const last = (keyword: string) => lines.findLast(([word]) => word === keyword)?.slice(1) ?? [];
  return {
    nameservers: lines.flatMap(([word, address]) => (word === "nameserver" && address ? [address] : [])),
    searches: last("search").map((search) => (search === "." ? search : search.replace(/\.$/, ""))),
    options: last("options"),
  };
}

function ownSettings(pod: Pod): Settings {
  const config = pod.spec?.dnsConfig;
  const options = checked(config?.options, "options", ({ name, value }) =>
    [name, value ?? ""].every(isWord) && name ? undefined : "give a name and a value without white space",
  );
  return {
    nameservers: checked(config?.nameservers, "nameservers", (address) =>
      isWord(address) && isIP(address) ? undefined : "give an IP address",
    ),
    searches: checked(config?.searches, "searches", (search) =>
      isWord(search) && search ? undefined : "give a domain name",
    ),
    options: options.map(({ name, value }) => (value ? `${name}:${value}` : `${name}`)),
  };
}

/** The API passes dnsConfig on as it is; nothing of it may begin a line of its own in the file. */
function checked<T>(
  list: readonly T[] | undefined,
  field: string,
  problem: (item: T) => string | undefined,
): T[] {
  if (list === undefined || list === null) return [];
  const at = `spec.dnsConfig.${field}`;
  if (!Array.isArray(list)) throw new Error(`${at}: give a list`);
  for (const [index, item] of list.entries()) {
    const why =
      typeof item === "string" || (typeof item === "object" && item) ? problem(item) : "not understood";
    if (why) throw new Error(`${at}[${index}] ${JSON.stringify(item)}: ${why}`);
  }
  return [...list];
}

function isWord(text: unknown): boolean {
  return typeof text === "string" && !/[\s\0]/.test(text);
}

/** Later options replace earlier ones of the same name, in their place. */
function mergeOptions(options: readonly string[]): string[] {
  return [...new Map(options.map((option) => [option.replace(/:.*/, ""), option])).values()];
}

function fitting(searches: readonly string[]): string[] {
  const kept = searches.slice(0, MAX_SEARCHES).filter((search) => search.length <= MAX_SEARCH_LENGTH);
  while (kept.join(" ").length > MAX_SEARCH_CHARS) kept.pop();
  return kept;
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)];
}

function format({ nameservers, searches, options }: Settings): string {
  const lines = [
    ...(searches.length > 0 ? [`search ${searches.join(" ")}`] : []),
    ...nameservers.map((address) => `nameserver ${address}`),
    ...(options.length > 0 ? [`options ${options.join(" ")}`] : []),
  ];
  return lines.map((line) => `${line}\n`).join("");
}
