/** The nodes' subnet leases, as a store would show them: each node's own LeaseTable makes routes of them. */
import { LeaseTable, type LeaseTableOptions } from "../../src/overlay/lease-table.js";
import { encodeAttributes, subnetKey } from "../../src/overlay/registry.js";
import type { NodeSubnets } from "../../src/overlay/types.js";
import type { KeyValue } from "../../src/store/index.js";
import { ip, prefix, prefix6, type SimNode } from "./node.js";

const STORE_PREFIX = "/coreos.com/network";

export class Leases {
  /** What the store holds. */
  readonly #kvs = new Map<SimNode, KeyValue>();
  readonly #tables = new Map<SimNode, LeaseTable>();
  #revision = 0;

  constructor(
    nodes: readonly SimNode[],
    private readonly podNetwork: string,
    private readonly overlayPort: number,
    private readonly podNetwork6: string,
  ) {
    for (const node of nodes) this.#kvs.set(node, this.#lease(node));
    for (const node of nodes) this.restart(node);
  }

  /** The node reads the store from scratch. */
  restart(node: SimNode): void {
    const { underlay, ipv6 } = node.config;
    const options: LeaseTableOptions = {
      prefix: STORE_PREFIX,
      network: prefix(this.podNetwork),
      ...(ipv6 && { network6: prefix6(this.podNetwork6) }),
      own: subnetsOf(node),
      ownPublicIp: ip(underlay),
      log: (level, message) => {
        throw new Error(`${level}: ${message}`);
      },
    };
    const table = new LeaseTable(options);
    this.#tables.set(node, table);
    this.#route(node, table.reset([...this.#kvs.values()]));
  }

  gone(node: SimNode): void {
    const kv = this.#kvs.get(node);
    if (kv === undefined) return;
    this.#kvs.delete(node);
    for (const [other, table] of this.#tables) this.#route(other, table.apply([{ type: "delete", kv }]));
  }

  back(node: SimNode): void {
    if (this.#kvs.has(node)) return;
    const kv = this.#lease(node);
    this.#kvs.set(node, kv);
    for (const [other, table] of this.#tables) this.#route(other, table.apply([{ type: "put", kv }]));
  }

  #lease(node: SimNode): KeyValue {
    const subnets = subnetsOf(node);
    const value = encodeAttributes({ publicIp: ip(node.config.underlay), backendType: "udp" }, subnets);
    const revision = ++this.#revision;
    const key = subnetKey(STORE_PREFIX, subnets);
    return { key, value, createRevision: revision, modRevision: revision, version: 1, lease: "1" };
  }

  #route({ datapath }: SimNode, events: ReturnType<LeaseTable["reset"]>): void {
    for (const { type, lease } of events) {
      const [port, nextHop] = [this.overlayPort, lease.publicIp];
      if (type === "removed") datapath.routes.delete(lease.subnet);
      else datapath.routes.put({ prefix: lease.subnet, port, nextHop });
      if (lease.subnet6 === undefined) continue;
      if (type === "removed") datapath.routes6?.delete(lease.subnet6);
      else datapath.routes6?.put({ prefix: lease.subnet6, port, nextHop });
    }
  }
}

function subnetsOf({ config: { podSubnet, ipv6 } }: SimNode): NodeSubnets {
  return { subnet: prefix(podSubnet), ...(ipv6 && { subnet6: prefix6(ipv6.podSubnet) }) };
}
