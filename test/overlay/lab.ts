import { FakeEcho, Overlay, type OverlayOptions, type RouteSink } from "../../src/overlay/index.js";
import { MemoryStore, type Store } from "../../src/store/index.js";
import { formatIpv4, formatIpv6Prefix, formatPrefix } from "../../src/wire/index.js";
import { VirtualClock } from "./virtual-clock.js";

export const PREFIX = "/coreos.com/network";

/** A route table that can be read: subnet to peer, as text. */
export class RecordedRoutes implements RouteSink {
  readonly table = new Map<string, string>();
  /** Every change in order, such as `put 172.16.2.0/24 10.0.0.12`. */
  readonly changes: string[] = [];

  put(prefix: Parameters<RouteSink["put"]>[0], peer: number): void {
    this.table.set(formatPrefix(prefix), formatIpv4(peer));
    this.changes.push(`put ${formatPrefix(prefix)} ${formatIpv4(peer)}`);
  }

  delete(prefix: Parameters<RouteSink["delete"]>[0]): void {
    this.table.delete(formatPrefix(prefix));
    this.changes.push(`delete ${formatPrefix(prefix)}`);
  }

  put6(prefix: Parameters<RouteSink["put6"]>[0], peer: number): void {
    this.table.set(formatIpv6Prefix(prefix), formatIpv4(peer));
    this.changes.push(`put ${formatIpv6Prefix(prefix)} ${formatIpv4(peer)}`);
  }

  delete6(prefix: Parameters<RouteSink["delete6"]>[0]): void {
    this.table.delete(formatIpv6Prefix(prefix));
    this.changes.push(`delete ${formatIpv6Prefix(prefix)}`);
  }
}

/** One node of a lab: its overlay and what it told. */
export interface LabNode {
  readonly overlay: Overlay;
  readonly routes: RecordedRoutes;
  readonly log: string[];
  readonly lost: string[];
}

/** Nodes that share a store, all under one virtual clock. */
export class Lab {
  readonly clock = new VirtualClock();
  readonly store: MemoryStore;
  readonly echo = new FakeEcho();
  readonly #nodes: LabNode[] = [];

  constructor() {
    this.store = new MemoryStore({ clock: this.clock });
  }

  async put(key: string, value: string, lease?: string): Promise<void> {
    const bytes = new TextEncoder().encode(value);
    await this.store.txn(
      [],
      [{ type: "put", key: `${PREFIX}/${key}`, value: bytes, ...(lease && { lease }) }],
    );
  }

  async delete(key: string): Promise<void> {
    await this.store.txn([], [{ type: "delete", key: `${PREFIX}/${key}` }]);
  }

  /** Values under `subnets/`, by the last part of the key. */
  async subnets(): Promise<Record<string, string>> {
    const { kvs } = await this.store.range(`${PREFIX}/subnets/`, { prefix: true });
    return Object.fromEntries(
      kvs.map((kv) => [kv.key.split("/").at(-1), new TextDecoder().decode(kv.value)]),
    );
  }

  node(publicIp: string, options: Partial<OverlayOptions> = {}): LabNode {
    const log: string[] = [];
    const lost: string[] = [];
    const overlay = new Overlay({
      store: this.store satisfies Store,
      publicIp,
      underlayMtuBytes: 1500,
      openEcho: () => Promise.resolve(this.echo),
      clock: this.clock,
      random: () => 0,
      log: (level, message) => log.push(`${level}: ${message}`),
      onLost: (reason) => lost.push(reason),
      ...options,
    });
    const node = { overlay, routes: new RecordedRoutes(), log, lost };
    this.#nodes.push(node);
    return node;
  }

  /** A node that holds a subnet and follows its peers. */
  async up(publicIp: string, options: Partial<OverlayOptions> = {}): Promise<LabNode> {
    const node = this.node(publicIp, options);
    await node.overlay.acquire();
    node.overlay.start(node.routes);
    await this.clock.advance(0);
    return node;
  }

  async close(): Promise<void> {
    for (const { overlay } of this.#nodes) await overlay.stop();
    await this.store.close();
  }
}
