/** The shape of a topology file; what fields mean together is checked in network.ts and nodes.ts. */
import { z } from "zod";
import { parseAddress, parseNetwork } from "./address.js";
import { parseAddress6, parseNetwork6 } from "./address6.js";
import { isPoolEntry } from "./pool.js";

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const LABEL_MESSAGE =
  "is not a DNS label; use lower-case letters, digits and -, beginning and ending with a letter or digit";

/** RFC 1123 label of at most `max` characters. */
export function dnsLabel(max: number) {
  return z.string().max(max).regex(DNS_LABEL, LABEL_MESSAGE);
}

/** Key to value, both as Kubernetes allows them in labels. */
export const labels = z.record(
  z.string(),
  z
    .string()
    .max(63)
    .regex(
      /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/,
      "is not a label value; use letters, digits, - _ and .",
    ),
);

export const ipv4 = z
  .string()
  .refine((text) => parseAddress(text) !== undefined, "is not an IPv4 address; write one such as 10.0.0.11");

const cidr = z.string().superRefine((text, context) => {
  const network = parseNetwork(text);
  if (!network) context.addIssue("is not an IPv4 network; write one such as 10.0.0.0/24");
  else if (text.split("/")[0] !== network.cidr.split("/")[0]) {
    context.addIssue(`has host bits set; the network is ${network.cidr}`);
  }
});

const ipv6 = z
  .string()
  .refine(
    (text) => parseAddress6(text) !== undefined,
    "is not an IPv6 address; write one such as fd00:10:177::2",
  );

/** An address of either family. */
export const ip = z
  .string()
  .refine(
    (text) => parseAddress(text) !== undefined || parseAddress6(text) !== undefined,
    "is not an IP address; write one such as 10.0.0.11",
  );

const cidr6 = z.string().superRefine((text, context) => {
  const network = parseNetwork6(text);
  if (!network) context.addIssue("is not an IPv6 network; write one such as fd00:10:177::/64");
  else if (parseAddress6(text.split("/")[0]!) !== network.first) {
    context.addIssue(`has host bits set; the network is ${network.cidr}`);
  }
});

const poolEntry = z
  .string()
  .refine(
    isPoolEntry,
    "is not a range of addresses; write one such as 10.0.0.240/28, 10.0.0.240-10.0.0.250 or fd00:9::/120",
  );

const portRange = z.string().superRefine((text, context) => {
  const [min, max] = portRangeOf(text);
  if (min === undefined || max === undefined || !/^\d+-\d+$/.test(text)) {
    context.addIssue("is not a range of ports; write one such as 30000-32767");
  } else if (min < 1 || max > 65535 || min > max) {
    context.addIssue("is not a range of ports from 1 to 65535, the lower one first");
  }
});

/** First and last port of text such as `30000-32767`. */
export function portRangeOf(text: string): number[] {
  return text.split("-").map(Number);
}

const pods = z.strictObject({
  network: cidr.default("10.244.0.0/16"),
  subnetLen: z.int().min(1).max(30).optional(),
  networkIPv6: cidr6.optional(),
  subnetLenIPv6: z.int().min(1).max(126).optional(),
  subnetMin: ipv4.optional(),
  subnetMax: ipv4.optional(),
  prefix: z
    .string()
    .regex(
      /^(\/[\w.-]+)+$/,
      "is not a key prefix; write one such as /coreos.com/network, with no / at the end",
    )
    .default("/coreos.com/network"),
  backend: z
    .strictObject({ type: z.enum(["udp"]).default("udp"), port: z.int().min(1).max(65535).default(8285) })
    .prefault({}),
  leaseTtlSeconds: z.int().min(1).optional(),
  leaseRenewMarginSeconds: z.int().min(1).optional(),
});

const network = z.strictObject({
  nodes: cidr.default("10.177.0.0/24"),
  host: ipv4.optional(),
  pods: pods.prefault({}),
  services: cidr.default("10.96.0.0/16"),
  nodesIPv6: cidr6.optional(),
  servicesIPv6: cidr6.optional(),
  loadBalancerPool: z.array(poolEntry).default([]),
  nodePorts: portRange.default("30000-32767"),
  underlayMtu: z.int().min(576).max(65535).default(1500),
});

const node = z.strictObject({
  name: dnsLabel(63),
  ip: ipv4.optional(),
  ipv6: ipv6.optional(),
  labels: labels.optional(),
  underlay: ipv4.optional(),
});

const image = z.strictObject({
  command: z.array(z.string()).min(1),
  args: z.array(z.string()).optional(),
  env: z.record(z.string(), z.string()).optional(),
});

/** As the annotation `podwire.dev/scheduler` names them (src/proxy/schedulers). */
const SCHEDULERS = ["rr", "wrr", "random", "lc", "sh", "maglev"] as const;

/** kube-proxy's configuration (kubeproxy.config.k8s.io/v1alpha1), as far as a user-space proxy has use for it. */
const proxy = z.strictObject({
  scheduler: z.enum(SCHEDULERS).default("rr"),
  nodePortAddresses: z
    .union([z.literal("primary"), z.array(cidr)], {
      error: 'is not "primary" and not a list of networks such as [10.0.0.0/24]',
    })
    .default([]),
  masqueradeAll: z.boolean().default(false),
  detectLocalMode: z
    .enum(["ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"])
    .default("ClusterCIDR"),
});

/** States with a time-out of their own, after net.netfilter.nf_conntrack_*_timeout_*. */
const TIMEOUTS = [
  ...["tcpSynSent", "tcpSynRecv", "tcpEstablished", "tcpFinWait", "tcpCloseWait", "tcpLastAck"],
  ...["tcpTimeWait", "tcpClose", "tcpUnacknowledged", "udp", "udpStream", "icmp", "icmpv6", "generic"],
  ...["sctpClosed", "sctpCookieWait", "sctpCookieEchoed", "sctpEstablished", "sctpShutdownSent"],
  ...["sctpShutdownRecd", "sctpShutdownAckSent", "sctpHeartbeatSent"],
] as const;

const seconds = z.int().min(1).max(31_536_000).optional();

const conntrack = z.strictObject({
  max: z
    .int()
    .min(256)
    .max(1 << 24)
    .optional(),
  tcpBeLiberal: z.boolean().default(false),
  timeoutSeconds: z
    .strictObject(
      Object.fromEntries(TIMEOUTS.map((state) => [state, seconds])) as Record<
        (typeof TIMEOUTS)[number],
        typeof seconds
      >,
    )
    .default({}),
});

/** Of a topology with a list of nodes, or with their number. A manifest's own shape is not looked at. */
export function topologySchema(nodesAreCounted: boolean) {
  return z.strictObject({
    name: dnsLabel(32),
    network: network.prefault({}),
    nodes: nodesAreCounted ? z.int().min(1).max(MAX_NODES) : z.array(node).min(1).max(MAX_NODES),
    images: z.record(z.string(), image).default({}),
    manifests: z.array(z.unknown()).default([]),
    options: z
      .strictObject({
        ipMasq: z.boolean().default(true),
        bridgeNetfilter: z.boolean().default(true),
        dns: z.boolean().default(true),
        trace: z.boolean().default(false),
        proxy: proxy.prefault({}),
        conntrack: conntrack.prefault({}),
      })
      .prefault({}),
  });
}

/** A node is a process: far fewer of them fit on one machine. */
const MAX_NODES = 250;

/** A manifest that is in another file. */
export const fileReference = z.strictObject({ file: z.string().min(1) });

export type TopologyInput = z.infer<ReturnType<typeof topologySchema>>;
export type ConntrackInput = z.infer<typeof conntrack>;
export type NetworkInput = TopologyInput["network"];
export type NodeInput = z.infer<typeof node>;
