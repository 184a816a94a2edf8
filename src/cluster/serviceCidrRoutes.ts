/** The host's routes to the networks of ServiceCIDRs that users have added to the cluster's own. */
import { Informer, type KubeClient, type ServiceCIDR } from "../kube/index.js";
import { run } from "../node/index.js";
import { ipv6PrefixesOverlap, parseIpv6Cidr, parsePrefix, prefixesOverlap } from "../wire/index.js";
import type { ClusterLog } from "./cluster.js";
import { hostTapName, type LabRecord } from "./record.js";

/** Marks our routes (rtnetlink(7) `rtm_protocol`), so that a new cluster process knows those of the one before. */
const ROUTE_PROTOCOL = "178";

type Family = "-4" | "-6";

interface KernelRoute {
  readonly dst: string;
  readonly dev?: string;
}

/** Where a node is reached from the host. */
export interface Via {
  readonly node: string;
  readonly nodeIp: string;
  readonly nodeIp6?: string | undefined;
}

export class ServiceCidrRoutes {
  readonly #record: LabRecord;
  readonly #log: ClusterLog;
  readonly #informer: Informer<ServiceCIDR>;
  /** Networks that are the machine's own; said once. */
  readonly #refused = new Set<string>();
  #known = false;
  #changed = true;
  #via: string | undefined;

  constructor(record: LabRecord, client: KubeClient, log: ClusterLog) {
    this.#record = record;
    this.#log = log;
    this.#informer = new Informer<ServiceCIDR>(client, "servicecidrs");
    const changed = () => {
      this.#changed = true;
    };
    this.#informer.start({ onAdd: changed, onUpdate: changed, onDelete: changed });
    void this.#informer.synced.then(() => {
      this.#known = true;
    });
  }

  stop(): void {
    this.#informer.stop();
  }

  /** Brings the routes to what is wanted, if anything is another than the last time. @throws CommandError */
  async sync(via: Via): Promise<void> {
    if (!this.#known || (!this.#changed && via.node === this.#via)) return;
    this.#changed = false;
    try {
      for (const family of ["-4", "-6"] as const) await this.#bring(family, via);
      this.#via = via.node;
    } catch (error) {
      this.#changed = true;
      throw error;
    }
  }

  async #bring(family: Family, via: Via): Promise<void> {
    const { plan } = this.#record;
    const gateway = family === "-4" ? via.nodeIp : via.nodeIp6;
    const host = family === "-4" ? plan.network.host : plan.network.ipv6?.host;
    if (gateway === undefined || host === undefined) return;
    const wanted = this.#wanted(family);
    const all = await routes(family);
    const taps = new Set(plan.nodes.map(({ name }) => hostTapName(plan.name, name)));
    const ours = await routes(family, "proto", ROUTE_PROTOCOL);
    const present = ours.filter(({ dev = "" }) => taps.has(dev)).map(({ dst }) => dst);
    for (const gone of present.filter((dst) => !wanted.includes(dst))) {
      await run("ip", [family, "route", "del", gone, "proto", ROUTE_PROTOCOL]);
      this.#log("info", `ServiceCIDR ${gone} is no longer reached from the host`);
    }
    const tap = hostTapName(plan.name, via.node);
    for (const cidr of wanted) {
      if (!present.includes(cidr) && this.#isTaken(cidr, all)) continue;
      const to = ["via", gateway, "dev", tap, "onlink", "src", host, "proto", ROUTE_PROTOCOL];
      await run("ip", [family, "route", "replace", cidr, ...to]);
      if (!present.includes(cidr)) this.#log("info", `ServiceCIDR ${cidr} is reached through ${via.node}`);
    }
  }

  #wanted(family: Family): string[] {
    const { services, ipv6 } = this.#record.plan.network;
    const cidrs = this.#informer.items().flatMap(({ spec }) => spec?.cidrs ?? []);
    return [...new Set(cidrs)].filter(
      (cidr) => cidr.includes(":") === (family === "-6") && cidr !== services && cidr !== ipv6?.services,
    );
  }

  /** Whether the machine has another way to a part of it. */
  #isTaken(cidr: string, all: readonly KernelRoute[]): boolean {
    const { pods, services } = this.#record.plan.network;
    const other = [pods.network, services, ...all.map(({ dst }) => dst)].find((text) => overlap(text, cidr));
    if (other === undefined) return false;
    if (!this.#refused.has(cidr))
      this.#log("warn", `ServiceCIDR ${cidr} is not routed: ${other} is the host's own or another network's`);
    this.#refused.add(cidr);
    return true;
  }
}

async function routes(family: Family, ...which: string[]): Promise<KernelRoute[]> {
  const shown = await run("ip", ["-j", family, "route", "show", "table", "main", ...which]);
  return JSON.parse(shown || "[]") as KernelRoute[];
}

/** Default routes, whole or in two halves, overlap nothing. */
function overlap(a: string, b: string): boolean {
  if (a.includes(":") !== b.includes(":")) return false;
  if (!b.includes(":")) {
    const [one, other] = [a, b].map((text) => parsePrefix(text.includes("/") ? text : `${text}/32`));
    return one !== undefined && other !== undefined && one.length > 1 && prefixesOverlap(one, other);
  }
  const [one, other] = [a, b].map((text) => parseIpv6Cidr(text.includes("/") ? text : `${text}/128`));
  return one !== undefined && other !== undefined && one.length > 1 && ipv6PrefixesOverlap(one, other);
}
