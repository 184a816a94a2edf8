/**
 * The host's routes to external addresses of Services: load balancers' and externalIPs. They stand for what a cloud's load
 * balancer or a MetalLB would do, with the host as the network outside: each address leads to one node, and stays there
 * while that node may take its traffic.
 */
import { type EndpointSlice, Informer, type KubeClient, type Service } from "../kube/index.js";
import { run } from "../node/index.js";
import {
  ipv6PrefixContains,
  parseIpv4,
  parseIpv6,
  parseIpv6Cidr,
  parsePrefix,
  prefixContains,
} from "../wire/index.js";
import { type Announcement, announcements } from "./announcements.js";
import type { ClusterLog } from "./cluster.js";
import { hostRoutes } from "./hostNetwork.js";
import { hostTapName, type LabRecord } from "./record.js";

/** Marks our routes (rtnetlink(7) `rtm_protocol`), so that a new cluster process knows those of the one before. */
const ROUTE_PROTOCOL = 177;
/** How often it is looked whether the nodes and the kernel are as they were. */
const CHECK_MS = 1000;

interface KernelRoute {
  readonly dst: string;
  readonly dev?: string;
}

export class AddressAnnouncer {
  readonly #record: LabRecord;
  readonly #usable: () => readonly string[];
  readonly #log: ClusterLog;
  readonly #services: Informer<Service>;
  readonly #slices: Informer<EndpointSlice>;
  readonly #timer: NodeJS.Timeout;
  /** Addresses that are the machine's own network's; said once. */
  readonly #refused = new Set<string>();
  #synced = false;
  #running = false;
  #again = false;

  /** `usable` names the nodes that run and are heard of. */
  constructor(record: LabRecord, usable: () => readonly string[], client: KubeClient, log: ClusterLog) {
    this.#record = record;
    this.#usable = usable;
    this.#log = log;
    this.#services = new Informer<Service>(client, "services");
    this.#slices = new Informer<EndpointSlice>(client, "endpointslices");
    const changed = () => void this.#check();
    const handlers = { onAdd: changed, onUpdate: changed, onDelete: changed };
    this.#services.start(handlers);
    this.#slices.start(handlers);
    void Promise.all([this.#services.synced, this.#slices.synced]).then(() => {
      this.#synced = true;
      changed();
    });
    this.#timer = setInterval(changed, CHECK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#services.stop();
    this.#slices.stop();
  }

  /** One at a time; what happens meanwhile is looked at afterwards. */
  async #check(): Promise<void> {
    this.#again = true;
    if (this.#running || !this.#synced) return;
    this.#running = true;
    try {
      while (this.#again) {
        this.#again = false;
        await this.#reconcile();
      }
    } catch (error) {
      // A TAP is not there yet, or goes; the next round tries again.
      this.#log("warn", `routes to external addresses: ${(error as Error).message}`);
    } finally {
      this.#running = false;
    }
  }

  async #reconcile(): Promise<void> {
    const usable = this.#usable();
    // Nothing can be said before the first node is heard of: what is there stays.
    if (usable.length === 0) return;
    const isDualStack = this.#record.plan.network.ipv6 !== undefined;
    const wanted = announcements(this.#services.items(), this.#slices.items(), usable).filter(
      ({ ip }) => isDualStack || !isIpv6(ip),
    );
    const present = await this.#present();
    if (wanted.length === 0 && present.size === 0) return;
    for (const ip of present.keys())
      if (!wanted.some((one) => one.ip === ip && one.nodes.length > 0)) await this.#withdraw(ip);
    for (const one of wanted) await this.#announce(one, present.get(one.ip));
  }

  /** Our routes by address, with the node that each leads to. */
  async #present(): Promise<Map<string, string>> {
    const { plan } = this.#record;
    const byTap = new Map(plan.nodes.map(({ name }) => [hostTapName(plan.name, name), name]));
    const routes: KernelRoute[] = [];
    for (const family of plan.network.ipv6 ? ["-4", "-6"] : ["-4"]) {
      const shown = await run("ip", ["-j", family, "route", "show", "proto", String(ROUTE_PROTOCOL)]);
      routes.push(...(JSON.parse(shown || "[]") as KernelRoute[]));
    }
    return new Map(
      routes.flatMap(({ dst, dev = "" }) => (byTap.has(dev) ? [[dst, byTap.get(dev) ?? ""] as const] : [])),
    );
  }

  async #withdraw(ip: string): Promise<void> {
    await run("ip", ["route", "del", hostPrefix(ip), "proto", String(ROUTE_PROTOCOL)]);
    this.#log("info", `${ip} is no longer reached from the host`);
  }

  async #announce({ ip, service, nodes }: Announcement, current: string | undefined): Promise<void> {
    if (current !== undefined && nodes.includes(current)) return;
    const name = nodes[spread(service, nodes.length)];
    const { plan } = this.#record;
    const node = plan.nodes.find((one) => one.name === name);
    if (!node || (current === undefined && (await this.#isTaken(ip, service)))) return;
    const { ipv6 } = plan.network;
    const [via, src] = isIpv6(ip) ? [node.ipv6 ?? "", ipv6?.host ?? ""] : [node.ip, plan.network.host];
    const to = ["via", via, "dev", hostTapName(plan.name, node.name), "onlink", "src", src];
    await run("ip", ["route", "replace", hostPrefix(ip), ...to, "proto", String(ROUTE_PROTOCOL)]);
    this.#log("info", `${ip} of Service ${service} is reached from the host through ${node.name}`);
  }

  /**
   * Whether the host has a way there already: a node's own address has its route, and those of a network that the host
   * is connected to are not ours to take.
   */
  async #isTaken(ip: string, service: string): Promise<boolean> {
    const { network, nodes } = this.#record.plan;
    const { ipv6 } = network;
    if (ip === network.host || nodes.some((node) => node.ip === ip)) return true;
    if (ip === ipv6?.host || nodes.some((node) => node.ipv6 === ip)) return true;
    const routes = (await hostRoutes(undefined)).map(({ prefix }) => prefix);
    const own = [network.pods.network, network.services, ...(ipv6 ? [ipv6.pods.network, ipv6.services] : [])];
    const other = [...own, ...routes].find((text) => holds(text, ip));
    if (other === undefined) return false;
    if (!this.#refused.has(ip))
      this.#log(
        "warn",
        `${ip} of Service ${service} is not routed: ${other} is the host's own or another network's`,
      );
    this.#refused.add(ip);
    return true;
  }
}

/** Whether a route's prefix holds the address; default routes, whole or in two halves, hold nothing of their own. */
function holds(text: string, ip: string): boolean {
  const cidr = text.includes("/") ? text : hostPrefix(text);
  if (isIpv6(ip)) {
    const prefix = parseIpv6Cidr(cidr);
    return prefix !== undefined && prefix.length > 1 && ipv6PrefixContains(prefix, parseIpv6(ip) ?? 0n);
  }
  const prefix = parsePrefix(cidr);
  return prefix !== undefined && prefix.length > 1 && prefixContains(prefix, parseIpv4(ip) ?? 0);
}

function isIpv6(ip: string): boolean {
  return ip.includes(":");
}

/** The prefix of one address. */
function hostPrefix(ip: string): string {
  return `${ip}/${isIpv6(ip) ? 128 : 32}`;
}

/** Spreads Services over nodes, each always to the same place: FNV-1a. */
function spread(text: string, count: number): number {
  let value = 0x811c9dc5;
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  return count === 0 ? 0 : value % count;
}
