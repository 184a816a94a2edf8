/** What kube-proxy and the endpoint controllers do. Names: test/e2e/network of v1.28 and later, conformance of v1.35. */
import type { CaseGroup } from "./types.js";

const CLOUD = "needs the load balancer of a cloud provider";

/** The 48 provider-neutral cases of v1.28 (two of them have moved to {@link API_GROUPS}), and what came later. */
const services: CaseGroup = {
  title: "Services",
  prefix: "[sig-network] Services",
  cases: [
    "should be able to change the type from ClusterIP to ExternalName [Conformance]",
    "should be able to change the type from ExternalName to ClusterIP [Conformance]",
    "should be able to change the type from ExternalName to NodePort [Conformance]",
    "should be able to change the type from NodePort to ExternalName [Conformance]",
    "should be able to create a functioning NodePort service [Conformance]",
    "should be able to switch session affinity for NodePort service [LinuxOnly] [Conformance]",
    "should be able to switch session affinity for service with type clusterIP [LinuxOnly] [Conformance]",
    "should complete a service status lifecycle [Conformance]",
    "should delete a collection of services [Conformance]",
    "should find a service from listing all namespaces [Conformance]",
    "should have session affinity work for NodePort service [LinuxOnly] [Conformance]",
    "should have session affinity work for service with type clusterIP [LinuxOnly] [Conformance]",
    "should serve a basic endpoint from pods [Conformance]",
    "should serve endpoints on same port and different protocols [Conformance]",
    "should serve multiport endpoints from pods [Conformance]",
    {
      name: "should allow creating a basic SCTP service with pod and endpoints [LinuxOnly] [Serial]",
      formerly: [
        "[sig-network] SCTP [LinuxOnly] should allow creating a basic SCTP service with pod and endpoints",
      ],
    },
    "should allow pods to hairpin back to themselves through services",
    "should be able to connect to terminating and unready endpoints if PublishNotReadyAddresses is true",
    "should be able to up and down services",
    "should be able to update service type to NodePort listening on same port number but different protocols",
    "should be possible to connect to a service via ExternalIP when the external IP is not assigned to a node",
    "should be rejected for evicted pods (no endpoints exist)",
    "should be rejected when no endpoints exist",
    "should be updated after adding or deleting ports",
    "should check NodePort out-of-range",
    "should create endpoints for unready pods",
    "should fail health check node port if there are only terminating endpoints",
    "should fallback to local terminating endpoints when there are no ready endpoints with externalTrafficPolicy=Local",
    "should fallback to local terminating endpoints when there are no ready endpoints with internalTrafficPolicy=Local",
    {
      name: "should fallback to terminating endpoints when there are no ready endpoints with externallTrafficPolicy=Cluster",
      formerly: [
        "[sig-network] Services should fallback to terminating endpoints when there are no ready endpoints with externalTrafficPolicy=Cluster",
      ],
    },
    "should fallback to terminating endpoints when there are no ready endpoints with internalTrafficPolicy=Cluster",
    "should have session affinity timeout work for NodePort service [LinuxOnly]",
    "should have session affinity timeout work for service with type clusterIP [LinuxOnly]",
    "should implement service.kubernetes.io/headless",
    "should implement service.kubernetes.io/service-proxy-name",
    "should not be able to connect to terminating and unready endpoints if PublishNotReadyAddresses is false",
    "should preserve source pod IP for traffic thru service cluster IP [LinuxOnly]",
    "should prevent NodePort collisions",
    "should release NodePorts on delete",
    "should respect internalTrafficPolicy=Local Pod (hostNetwork: true) to Pod",
    "should respect internalTrafficPolicy=Local Pod and Node, to Pod (hostNetwork: true)",
    "should respect internalTrafficPolicy=Local Pod to Pod",
    "should serve endpoints on same port and different protocol for internal traffic on Type LoadBalancer",
    "should work after restarting apiserver [Disruptive]",
    "should work after restarting kube-proxy [Disruptive]",
    "should work after the service has been recreated",
    "should implement NodePort and HealthCheckNodePort correctly when ExternalTrafficPolicy changes",
  ],
};

const granularServices: CaseGroup = {
  title: "Networking Granular Checks: Services",
  prefix: "[sig-network] Networking Granular Checks: Services",
  cases: [
    "should be able to handle large requests: http",
    "should be able to handle large requests: udp",
    "should function for client IP based session affinity: http [LinuxOnly]",
    "should function for client IP based session affinity: udp [LinuxOnly]",
    "should function for endpoint-Service: http",
    "should function for endpoint-Service: sctp [Feature:SCTPConnectivity]",
    "should function for endpoint-Service: udp",
    "should function for multiple endpoint-Services with same selector",
    "should function for node-Service: http",
    "should function for node-Service: sctp [Feature:SCTPConnectivity]",
    "should function for node-Service: udp",
    "should function for pod-Service: http",
    "should function for pod-Service: sctp [Feature:SCTPConnectivity]",
    "should function for pod-Service: udp",
    "should function for service endpoints using hostNetwork",
    "should support basic nodePort: udp functionality",
    "should update endpoints: http",
    "should update endpoints: udp",
    "should update nodePort: http [Slow]",
    "should update nodePort: udp [Slow]",
  ],
};

const conntrack: CaseGroup = {
  title: "Conntrack",
  prefix: "[sig-network] Conntrack",
  cases: [
    "should be able to preserve UDP traffic when initial unready endpoints get ready",
    "should be able to preserve UDP traffic when server pod cycles for a ClusterIP service",
    "should be able to preserve UDP traffic when server pod cycles for a NodePort service",
    "should drop INVALID conntrack entries [Privileged]",
  ],
};

const kubeProxy: CaseGroup = {
  title: "KubeProxy",
  prefix: "[sig-network] KubeProxy",
  cases: ["should set TCP CLOSE_WAIT timeout [Privileged]"],
};

const latency: CaseGroup = {
  title: "Service endpoints latency",
  prefix: "[sig-network] Service endpoints latency",
  cases: ["should not be very high [Conformance]"],
};

const loadBalancers: CaseGroup = {
  title: "LoadBalancers",
  prefix: "[sig-network] LoadBalancers",
  cases: [
    "should be able to change the type and ports of a TCP service [Slow]",
    "should be able to change the type and ports of a UDP service [Slow]",
    "should be able to create LoadBalancer Service without NodePort and change it [Slow]",
    { name: "should be able to create an internal type load balancer [Slow]", notApplicable: CLOUD },
    "should be able to preserve UDP traffic when server pod cycles for a LoadBalancer service on different nodes",
    "should be able to preserve UDP traffic when server pod cycles for a LoadBalancer service on the same nodes",
    {
      name: "should be able to switch session affinity for LoadBalancer service with Cluster traffic policy [Slow] [LinuxOnly]",
      formerly: [
        "[sig-network] LoadBalancers should be able to switch session affinity for LoadBalancer service with ESIPP off [Slow] [LinuxOnly]",
      ],
    },
    {
      name: "should be able to switch session affinity for LoadBalancer service with Local traffic policy [Slow] [LinuxOnly]",
      formerly: [
        "[sig-network] LoadBalancers should be able to switch session affinity for LoadBalancer service with ESIPP on [Slow] [LinuxOnly]",
      ],
    },
    "should handle load balancer cleanup finalizer for service [Slow]",
    {
      name: "should have session affinity work for LoadBalancer service with Cluster traffic policy [Slow] [LinuxOnly]",
      formerly: [
        "[sig-network] LoadBalancers should have session affinity work for LoadBalancer service with ESIPP off [Slow] [LinuxOnly]",
      ],
    },
    {
      name: "should have session affinity work for LoadBalancer service with Local traffic policy [Slow] [LinuxOnly]",
      formerly: [
        "[sig-network] LoadBalancers should have session affinity work for LoadBalancer service with ESIPP on [Slow] [LinuxOnly]",
      ],
    },
    "should not have connectivity disruption during rolling update with externalTrafficPolicy=Cluster [Slow]",
    "should not have connectivity disruption during rolling update with externalTrafficPolicy=Local [Slow]",
    "should only allow access from service loadbalancer source ranges [Slow]",
    { name: "should reconcile LB health check interval [Slow][Serial][Disruptive]", notApplicable: CLOUD },
  ],
};

const localTrafficPolicy: CaseGroup = {
  title: "LoadBalancers ExternalTrafficPolicy: Local",
  prefix: "[sig-network] LoadBalancers ExternalTrafficPolicy: Local [Slow]",
  cases: [
    "should handle updates to ExternalTrafficPolicy field",
    "should only target nodes with endpoints",
    "should work for type=LoadBalancer",
    "should work for type=NodePort",
    "should work from pods",
  ].map((name) => ({ name, formerly: [`[sig-network] LoadBalancers ESIPP [Slow] ${name}`] })),
};

const traffic: readonly CaseGroup[] = [
  {
    title: "Topology Hints",
    prefix: "[sig-network] Topology Hints",
    cases: ["should distribute endpoints evenly"],
  },
  {
    title: "Traffic Distribution",
    prefix: "[sig-network] Traffic Distribution",
    cases: [
      {
        name: "should route traffic to an endpoint in the same zone when using PreferClose",
        formerly: [
          "[sig-network] Traffic Distribution when Service has trafficDistribution=PreferClose should route traffic to an endpoint that is close to the client",
        ],
      },
    ],
  },
];

export const SERVICE_GROUPS: readonly CaseGroup[] = [
  services,
  granularServices,
  latency,
  conntrack,
  kubeProxy,
  loadBalancers,
  localTrafficPolicy,
  ...traffic,
];
