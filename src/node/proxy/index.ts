/**
 * kube-proxy's part of a node: the proxy itself decides (src/proxy); here it is fed from the API and shown to the world.
 *
 * Services and EndpointSlices go to the proxy as they change (serviceWatch.ts). After each sync the health checks of load
 * balancers are opened and closed (serviceHealth.ts), and the metrics follow (metrics.ts). All servers listen in the
 * node's own namespace, so that the node IP leads to them from the host, from pods and from other nodes, through the
 * datapath as any traffic to the node.
 */
import {
  type AddressBook,
  type ConntrackCleaner,
  isIpv6Handle,
  type NodeAddresses,
} from "../../datapath/index.js";
import { Informer, type KubeClient, type Node, type ServiceCIDR } from "../../kube/index.js";
import {
  type ConnectionCounter,
  DualStackProxier,
  ipv6Family,
  type NodeProxier,
  Proxier,
  type ProxierOptions,
  SyncHealth,
} from "../../proxy/index.js";
import type { NodeConfig } from "../config.js";
import { ProxyMetrics } from "./metrics.js";
import { proxierOptions, proxierOptions6, ZONE_LABEL } from "./options.js";
import { ServiceHealthServers } from "./serviceHealth.js";
import { ServiceWatch } from "./serviceWatch.js";
import { StatusServers } from "./statusServers.js";

/** Set by the cluster autoscaler on a node that it is about to remove; kube-proxy heeds it (proxy_health.go). */
const TO_BE_DELETED_TAINT = "ToBeDeletedByClusterAutoscaler";

export interface NodeProxyOptions {
  readonly config: NodeConfig;
  readonly addresses: NodeAddresses;
  readonly client: KubeClient;
  readonly conntrack: ConntrackCleaner & ConnectionCounter;
  /** Of a node with IPv6: the datapath's. */
  readonly addressBook?: AddressBook;
  readonly log: (level: "info" | "warn", message: string) => void;
}

export class NodeProxy {
  readonly proxier: NodeProxier;
  readonly watch: ServiceWatch;
  readonly #log: NodeProxyOptions["log"];
  readonly #hasIpv6: boolean;
  readonly #health = new SyncHealth();
  readonly #metrics: ProxyMetrics;
  /** Its own Node is all that kube-proxy asks of nodes. */
  readonly #node: Informer<Node>;
  readonly #cidrs: Informer<ServiceCIDR>;
  #checks: ServiceHealthServers | undefined;
  #status: StatusServers | undefined;

  constructor(options: NodeProxyOptions) {
    const { config, client, log } = options;
    this.#log = log;
    this.#hasIpv6 = options.addresses.ipv6 !== undefined;
    this.#node = new Informer<Node>(client, "nodes", { fieldSelector: `metadata.name=${config.name}` });
    this.#cidrs = new Informer<ServiceCIDR>(client, "servicecidrs");
    this.proxier = makeProxier(options);
    this.#metrics = new ProxyMetrics(() => this.proxier.metrics());
    this.watch = new ServiceWatch(client, this.proxier, {
      queued: (nowMs) => {
        this.#health.queued(nowMs);
        this.#metrics.queued(nowMs);
      },
      synced: (nowMs, durationMs, triggersMs) => {
        this.#health.updated(nowMs);
        this.#metrics.synced(nowMs, durationMs, triggersMs);
        this.#checks?.sync(this.proxier.healthChecks());
      },
      failed: (error) => log("warn", `Service rules not applied: ${error.message}`),
    });
  }

  /** Begins to follow the API, and to listen in the node's namespace (a path). */
  start(path: string): void {
    const netns = { path, hasIpv6: this.#hasIpv6 };
    this.#checks = new ServiceHealthServers(netns, () => this.#health.isHealthy(Date.now()), this.#log);
    this.#status = new StatusServers(netns, this.#health, this.#metrics, this.#log);
    this.watch.start();
    const onNode = (node: Node) => this.onNode(node);
    this.#node.start({ onAdd: onNode, onUpdate: onNode });
    const onCidrs = () =>
      this.proxier.onServiceCidrs(this.#cidrs.items().flatMap(({ spec }) => spec?.cidrs ?? []));
    this.#cidrs.start({ onAdd: onCidrs, onUpdate: onCidrs, onDelete: onCidrs });
  }

  stop(): void {
    this.watch.stop();
    this.#node.stop();
    this.#cidrs.stop();
    this.#checks?.close();
    this.#status?.close();
  }

  /** The node's own object is new or has changed. */
  onNode({ metadata, spec }: Node): void {
    const leaves = spec?.taints?.some(({ key }) => key === TO_BE_DELETED_TAINT) ?? false;
    this.#health.nodeEligible = metadata?.deletionTimestamp === undefined && !leaves;
    if (this.proxier.onZoneChange(metadata?.labels?.[ZONE_LABEL] ?? "")) this.watch.changed();
  }
}

/** One proxy for each family of the node. */
function makeProxier({ config, addresses, conntrack, addressBook, log }: NodeProxyOptions): NodeProxier {
  const common: Pick<ProxierOptions, "conntrack" | "connections" | "onInvalid"> = {
    conntrack,
    connections: conntrack,
    onInvalid: (what) => log("warn", what),
  };
  const ipv4 = new Proxier({ ...proxierOptions(config, addresses), ...common });
  if (addresses.ipv6 === undefined || addressBook === undefined) return ipv4;
  const { nodeIp } = addresses.ipv6;
  const ipv6 = new Proxier({
    ...proxierOptions6(config, addresses.ipv6),
    ...common,
    family: ipv6Family(addressBook),
    nodeIp: addressBook.pin(nodeIp),
  });
  addressBook.addRoot((mark) => ipv6.markAddresses(mark));
  return new DualStackProxier(ipv4, ipv6, isIpv6Handle);
}
