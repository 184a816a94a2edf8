/** What the bench's Podwire nodes are told, and the Kubernetes objects that stand for its Services. */
import type { Service } from "kubernetes-types/core/v1.d.ts";
import type { EndpointSlice } from "kubernetes-types/discovery/v1.d.ts";
import { ENDPOINT_COUNT, SERVER_PORTS, type TrafficPorts } from "./paths/path.js";

export const SERVICE_NETWORK = "10.254.0.0/16";

export interface PodPlan {
  readonly name: string;
  readonly netns: string;
  readonly ip: string;
}

export interface ServicePlan {
  readonly name: string;
  readonly clusterIp: string;
  /** The pod behind it. */
  readonly endpoint: string;
  readonly nodeName: string;
  /** Missing: no node ports. */
  readonly nodePorts?: TrafficPorts;
}

export interface PeerPlan {
  readonly nodeIp: string;
  readonly subnet: string;
  readonly underlay: string;
}

export interface NodePlan extends PeerPlan {
  readonly name: string;
  readonly hostIp: string;
  readonly pods: readonly PodPlan[];
  readonly peers: readonly PeerPlan[];
  readonly services: readonly ServicePlan[];
  /** Super-packets go whole to the peers, as between nodes of one machine; else they are cut, as between machines. */
  readonly whole: boolean;
}

const PROTOCOLS = { bulk: "TCP", rr: "TCP", connect: "TCP", udp: "UDP" } as const;
type PortName = keyof TrafficPorts;
const NAMES = Object.keys(PROTOCOLS) as PortName[];

export function serviceObjects(services: readonly ServicePlan[]): Service[] {
  return services.map(({ name, clusterIp, nodePorts }) => ({
    metadata: { name, namespace: "bench" },
    spec: {
      type: nodePorts ? "NodePort" : "ClusterIP",
      clusterIP: clusterIp,
      ports: NAMES.map((port) => ({
        name: port,
        port: SERVER_PORTS[port],
        protocol: PROTOCOLS[port],
        ...(nodePorts ? { nodePort: nodePorts[port] } : {}),
      })),
    },
  }));
}

/**
 * Ten endpoints for new connections, as ten ports of one pod. The other ports have one, since iperf3's two
 * connections have to meet the same server.
 */
export function sliceObjects(services: readonly ServicePlan[]): EndpointSlice[] {
  return services.flatMap((service) =>
    Array.from({ length: ENDPOINT_COUNT }, (_, i) => ({
      metadata: {
        name: `${service.name}-${i}`,
        namespace: "bench",
        labels: { "kubernetes.io/service-name": service.name },
      },
      addressType: "IPv4",
      ports: (i === 0 ? NAMES : NAMES.filter((port) => port === "connect")).map((port) => ({
        name: port,
        port: SERVER_PORTS[port] + i,
        protocol: PROTOCOLS[port],
      })),
      endpoints: [{ addresses: [service.endpoint], conditions: { ready: true }, nodeName: service.nodeName }],
    })),
  );
}
