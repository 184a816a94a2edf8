/** Cluster DNS as ordinary objects: the Service `kube-dns` and the pods behind it, named and labelled as everywhere. */
import { fileURLToPath } from "node:url";
import { Address4 } from "ip-address";
import type { ReplicationController, Service } from "../kube/index.js";
import type { ImageTable } from "../node/index.js";
import type { LabPaths } from "./paths.js";

export interface DnsManifestOptions {
  /** CIDR of the ClusterIPs, such as 10.254.0.0/16. */
  readonly serviceNetwork: string;
  /** Such as `cluster.local`. */
  readonly zone: string;
  readonly replicas: number;
}

/** The zone that Services and pods are named in. */
export const CLUSTER_ZONE = "cluster.local";

/** The image `podwire/dns` for this lab: it reads the API over the lab's socket. */
export function dnsImage(paths: LabPaths): ImageTable {
  const main = fileURLToPath(new URL("../node/images/dns/main.js", import.meta.url));
  const env = { PODWIRE_API: `unix:${paths.apiSocket}`, PODWIRE_DNS_ZONE: CLUSTER_ZONE };
  return { "podwire/dns": { command: [process.execPath, main], env } };
}

/** Where people expect cluster DNS: the tenth address of the service network. */
const DNS_OFFSET = 10n;
const DNS_PORT = 53;
/** CoreDNS' port of /ready. */
const READY_PORT = 8181;
const LABELS = { "k8s-app": "kube-dns" };
const METADATA = { name: "kube-dns", namespace: "kube-system" };

/**
 * ClusterIP of cluster DNS.
 *
 * @throws Error a network that is no IPv4 CIDR or has no tenth address
 */
export function clusterDnsAddress(serviceNetwork: string): string {
  const network = Address4.isValid(serviceNetwork) ? new Address4(serviceNetwork) : undefined;
  const address = network && Address4.fromBigInt(network.startAddress().bigInt() + DNS_OFFSET);
  if (!address || !network || address.bigInt() >= network.endAddress().bigInt())
    throw new Error(
      `service network ${serviceNetwork}: give an IPv4 network with room for cluster DNS, such as a /24`,
    );
  return address.correctForm();
}

/** The objects in the order in which they are to be made. @throws Error as {@link clusterDnsAddress} does */
export function dnsManifests(options: DnsManifestOptions): readonly [Service, ReplicationController] {
  return [dnsService(clusterDnsAddress(options.serviceNetwork)), dnsController(options)];
}

function dnsService(clusterIP: string): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      ...METADATA,
      labels: { ...LABELS, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "KubeDNS" },
    },
    spec: {
      selector: LABELS,
      clusterIP,
      ports: [
        { name: "dns", port: DNS_PORT, protocol: "UDP" },
        { name: "dns-tcp", port: DNS_PORT, protocol: "TCP" },
      ],
    },
  };
}

/** dnsPolicy Default: the server's own resolv.conf is the machine's, whose name servers are its upstream. */
function dnsController({ zone, replicas }: DnsManifestOptions): ReplicationController {
  return {
    apiVersion: "v1",
    kind: "ReplicationController",
    metadata: { ...METADATA, labels: LABELS },
    spec: {
      replicas,
      selector: LABELS,
      template: {
        metadata: { labels: LABELS },
        spec: {
          dnsPolicy: "Default",
          containers: [
            {
              name: "dns",
              image: "podwire/dns",
              env: [{ name: "PODWIRE_DNS_ZONE", value: zone }],
              ports: [
                { name: "dns", containerPort: DNS_PORT, protocol: "UDP" },
                { name: "dns-tcp", containerPort: DNS_PORT, protocol: "TCP" },
              ],
              readinessProbe: { httpGet: { path: "/ready", port: READY_PORT }, periodSeconds: 1 },
            },
          ],
        },
      },
    },
  };
}
