/** What a Service and its endpoints look like in the tests: an API object less the parts that are always the same. */
import type { LoadBalancerIngress, ServiceSpec } from "kubernetes-types/core/v1.d.ts";
import type { Endpoint } from "kubernetes-types/discovery/v1.d.ts";
import type { Station } from "./station.js";

/** A pod as an endpoint; ready when nothing else is said. */
export interface EndpointSpec {
  readonly pod: Station;
  readonly conditions?: Endpoint["conditions"];
  /** Zone that should use it. */
  readonly zoneHint?: string;
}

/** Parts of a Service outside its spec. */
export interface ServiceExtras {
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
  /** Addresses of the load balancer. */
  readonly ingress?: LoadBalancerIngress[];
}

export interface ExposedPort extends ServiceExtras {
  readonly port: number;
  readonly targetPort: number;
  readonly protocol?: "TCP" | "UDP" | "SCTP";
  readonly nodePort?: number;
  /** The second cluster IP of a Service with both families. */
  readonly clusterIp6?: string;
  readonly spec?: Partial<ServiceSpec>;
}
