/** The host's way to ClusterIPs: routes to one of the nodes, whichever runs and is heard of. */
import type { KubeClient, Node } from "../kube/index.js";
import type { NodePlan } from "../topology/index.js";
import type { ClusterLog } from "./cluster.js";
import { routeServices } from "./hostNetwork.js";
import { hostTapName, type LabRecord } from "./record.js";
import { ServiceCidrRoutes } from "./serviceCidrRoutes.js";
import type { NodeSupervisor } from "./supervisor.js";

const GATEWAY_CHECK_MS = 250;

/** Names of the nodes that are heard of. */
export async function readyNodes(client: KubeClient): Promise<ReadonlySet<string | undefined>> {
  const { items } = await client.list<Node>("nodes");
  const ready = items.filter((node) =>
    node.status?.conditions?.some((condition) => condition.type === "Ready" && condition.status === "True"),
  );
  return new Set(ready.map((node) => node.metadata?.name));
}

/**
 * Keeps the host's route to ClusterIPs on a node that runs and is heard of. It stays there while that is so: moving it
 * back would break the connections that it took over.
 */
export class ServiceGateway {
  readonly #record: LabRecord;
  readonly #supervisors: readonly NodeSupervisor[];
  readonly #client: KubeClient;
  readonly #log: ClusterLog;
  readonly #cidrs: ServiceCidrRoutes;
  readonly #timer: NodeJS.Timeout;
  #current: string | undefined;
  #usable: readonly string[] = [];

  constructor(
    record: LabRecord,
    supervisors: readonly NodeSupervisor[],
    client: KubeClient,
    log: ClusterLog,
  ) {
    this.#record = record;
    this.#supervisors = supervisors;
    this.#client = client;
    this.#log = log;
    this.#cidrs = new ServiceCidrRoutes(record, client, log);
    this.#timer = setInterval(() => void this.#check(), GATEWAY_CHECK_MS);
  }

  /** Nodes that run and are heard of. */
  get usable(): readonly string[] {
    return this.#usable;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#cidrs.stop();
  }

  async #check(): Promise<void> {
    const { plan } = this.#record;
    try {
      const ready = await readyNodes(this.#client);
      const running = this.#supervisors.map(({ state }) => state).filter(({ state }) => state === "running");
      const usable = running.map(({ name }) => name).filter((name) => ready.has(name));
      this.#usable = usable;
      const stays = this.#current !== undefined && usable.includes(this.#current);
      const node = plan.nodes.find(({ name }) => name === (stays ? this.#current : usable[0]));
      if (!node) return;
      if (!stays) await this.#lead(node);
      await this.#cidrs.sync({ node: node.name, nodeIp: node.ip, nodeIp6: node.ipv6 });
    } catch {
      // The TAP is not there yet, or the store is away; the next round tries again.
    }
  }

  async #lead(node: NodePlan): Promise<void> {
    const { plan } = this.#record;
    const tap = hostTapName(plan.name, node.name);
    const { services, host, ipv6 } = plan.network;
    await routeServices(services, host, { nodeIp: node.ip, tap });
    if (ipv6 && node.ipv6) await routeServices(ipv6.services, ipv6.host, { nodeIp: node.ipv6, tap });
    if (this.#current) this.#log("info", `ClusterIPs are now reached through ${node.name}`);
    this.#current = node.name;
  }
}
