/** The nodes' subnet leases, as a store would show them: each node's own LeaseTable makes routes of them. */
import { LeaseTable, type LeaseTableOptions } from "../../src/overlay/lease-table.js";
import { encodeAttributes, subnetKey } from "../../src/overlay/registry.js";
import type { KeyValue } from "../../src/store/index.js";
import { ip, prefix, type SimNode } from "./node.js";

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
  ) {
    for (const node of nodes) this.#kvs.set(node, this.#lease(node));
    for (const node of nodes) this.restart(node);
  }

  /** The node reads the store from scratch. */
  restart(node: SimNode): void {
    const { podSubnet, underlay } = node.config;
    const options: LeaseTableOptions = {
      prefix: STORE_PREFIX,
      network: prefix(this.podNetwork),
      own: { subnet: prefix(podSubnet) },
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

  #lease({ config }: SimNode): KeyValue {
    const value = encodeAttributes({ publicIp: ip(config.underlay), backendType: "udp" });
    const revision = ++this.#revision;
    const key = subnetKey(STORE_PREFIX, { subnet: prefix(config.podSubnet) });
    return { key, value, createRevision: revision, modRevision: revision, version: 1, lease: "1" };
  }

  #route({ datapath }: SimNode, events: ReturnType<LeaseTable["reset"]>): void {
    for (const { type, lease } of events) {
      if (type === "removed") datapath.routes.delete(lease.subnet);
      else datapath.routes.put({ prefix: lease.subnet, port: this.overlayPort, nextHop: lease.publicIp });
    }
  }
}
