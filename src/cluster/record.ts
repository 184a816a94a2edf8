/** A lab's record on disk: what the cluster process is started with, and what every command reads. */

import { createHash } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { NodeConfig } from "../node/index.js";
import type { LabPlan, NodePlan } from "../topology/index.js";
import { CLUSTER_ZONE, clusterDnsAddress, dnsImage } from "./dns.js";
import type { LabPaths } from "./paths.js";

export interface LabRecord {
  readonly plan: LabPlan;
  /** Namespace that plays the host; the machine's own network when missing. */
  readonly netns?: string;
  /** Endpoints of a real etcd; the embedded store when missing. */
  readonly store?: readonly string[];
  /** `host:port` that the embedded store listens on besides its socket. */
  readonly storeListen?: string;
  /** TCP port of the API server on 127.0.0.1, 0 for any free one. */
  readonly apiPort: number;
  readonly createdAtMs: number;
}

export function writeRecord(paths: LabPaths, record: LabRecord): void {
  writeFileSync(`${paths.record}.new`, JSON.stringify(record), { mode: 0o600 });
  renameSync(`${paths.record}.new`, paths.record);
}

/** The lab's record, or undefined when there is none. */
export function readRecord(paths: LabPaths): LabRecord | undefined {
  try {
    return JSON.parse(readFileSync(paths.record, "utf8")) as LabRecord;
  } catch {
    return undefined;
  }
}

/** Where the store answers. */
export function storeEndpoints(paths: LabPaths, record: LabRecord): readonly string[] {
  return record.store ?? [`unix:${paths.storeSocket}`];
}

/** Alias that marks the lab's links. */
export const linkAlias = (lab: string): string => `podwire:${lab}`;

/** Longest name of a network device (IFNAMSIZ - 1, linux/if.h). */
const IFNAME_MAX = 15;

/** Name of a node's host TAP: readable when it fits, made unique by a hash of lab and node otherwise. */
export function hostTapName(lab: string, node: string): string {
  const plain = `pw-${node}`;
  if (plain.length <= IFNAME_MAX) return plain;
  const hash = createHash("sha256").update(`${lab}/${node}`).digest("hex").slice(0, 4);
  return `${plain.slice(0, IFNAME_MAX - 5)}-${hash}`;
}

/** Port of the emulated node network on each underlay address; next to flannel's 8285. */
const NODENET_PORT = 8286;
/** flannel's own default. */
const LEASE_TTL_SECONDS = 24 * 3600;

export function nodeConfig(paths: LabPaths, record: LabRecord, node: NodePlan): NodeConfig {
  const { plan } = record;
  const { network } = plan;
  return {
    lab: plan.name,
    name: node.name,
    dir: paths.node(node.name).dir,
    nodeIp: node.ip,
    hostIp: network.host,
    hostTap: hostTapName(plan.name, node.name),
    hostTapAlias: linkAlias(plan.name),
    labels: node.labels,
    underlay: { address: node.underlay, mtuBytes: network.underlayMtuBytes },
    nodenetPort: NODENET_PORT,
    serviceNetwork: network.services,
    nodePorts: `${network.nodePorts.min}-${network.nodePorts.max}`,
    ...(network.ipv6 && node.ipv6
      ? { ipv6: { nodeIp: node.ipv6, hostIp: network.ipv6.host, serviceNetwork: network.ipv6.services } }
      : {}),
    flannelPrefix: network.pods.prefix,
    lease: {
      ttlSeconds: network.pods.leaseTtlSeconds ?? LEASE_TTL_SECONDS,
      renewMarginSeconds: network.pods.leaseRenewMarginSeconds,
    },
    store: storeEndpoints(paths, record),
    api: { socketPath: paths.apiSocket },
    serviceAccounts: { caFile: paths.caCertificate, keyFile: paths.accountKey },
    images: { ...plan.images, ...(plan.options.dns ? dnsImage(paths) : {}) },
    ...(plan.options.dns
      ? { dns: { servers: [clusterDnsAddress(network.services)], zone: CLUSTER_ZONE } }
      : {}),
    options: { ipMasq: plan.options.ipMasq, bridgeNetfilter: plan.options.bridgeNetfilter },
    proxy: plan.options.proxy,
    conntrack: plan.options.conntrack,
  };
}

/** flannel's network configuration as it stands in the store. */
export function flannelConfig(plan: LabPlan): string {
  const { pods, ipv6 } = plan.network;
  return JSON.stringify({
    Network: pods.network,
    SubnetLen: pods.subnetLen,
    ...(pods.subnetMin ? { SubnetMin: pods.subnetMin } : {}),
    ...(pods.subnetMax ? { SubnetMax: pods.subnetMax } : {}),
    ...(ipv6 ? { EnableIPv6: true, IPv6Network: ipv6.pods.network, IPv6SubnetLen: ipv6.pods.subnetLen } : {}),
    Backend: { Type: pods.backend.type, Port: pods.backend.port },
  });
}
