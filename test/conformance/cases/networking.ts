/** Pods, nodes and both address families. */
import type { CaseGroup } from "./types.js";

const granularPods: CaseGroup = {
  title: "Networking Granular Checks: Pods",
  prefix: "[sig-network] Networking Granular Checks: Pods",
  cases: [
    "should function for intra-pod communication: http [NodeConformance] [Conformance]",
    "should function for intra-pod communication: udp [NodeConformance] [Conformance]",
    "should function for node-pod communication: http [LinuxOnly] [NodeConformance] [Conformance]",
    "should function for node-pod communication: udp [LinuxOnly] [NodeConformance] [Conformance]",
    "should function for intra-pod communication: sctp [LinuxOnly][Feature:SCTPConnectivity]",
    "should function for node-pod communication: sctp [LinuxOnly][Feature:SCTPConnectivity]",
  ],
};

const networking: readonly CaseGroup[] = [
  {
    title: "Networking",
    prefix: "[sig-network] Networking",
    cases: [
      "should allow creating a Pod with an SCTP HostPort [LinuxOnly] [Serial]",
      "should check kube-proxy urls",
      "should provide unchanging, static URL paths for kubernetes api services",
      {
        name: "should recreate its iptables rules if they are deleted [Disruptive]",
        notApplicable: "there are no iptables rules: the datapath runs in the node's process",
      },
      "IPerf2 [Feature:Networking-Performance] should run iperf2",
    ],
  },
  {
    title: "NoSNAT",
    prefix: "[sig-network] NoSNAT",
    cases: ["Should be able to send traffic between Pods without SNAT"],
  },
  {
    title: "HostPort",
    prefix: "[sig-network] HostPort",
    cases: [
      "validates that there is no conflict between pods with same hostPort but different hostIP and protocol [LinuxOnly] [Conformance]",
    ],
  },
  {
    title: "Connectivity Pod Lifecycle",
    prefix: "[sig-network] Connectivity Pod Lifecycle",
    cases: [
      "should be able to connect from a Pod to a terminating Pod",
      "should be able to connect to other Pod from a terminating Pod",
    ],
  },
];

const dualStack: readonly CaseGroup[] = [
  {
    title: "Dual-stack",
    prefix: "[sig-network] [Feature:IPv6DualStack]",
    cases: [
      "should be able to reach pod on ipv4 and ipv6 ip",
      "should create a single stack service with cluster ip from primary service range",
      "should create pod, add ipv6 and ipv4 ip to pod ips",
      "should create service with ipv4 cluster ip",
      "should create service with ipv4,v6 cluster ip",
      "should create service with ipv6 cluster ip",
      "should create service with ipv6,v4 cluster ip",
      "should have ipv4 and ipv6 internal node ip",
    ],
  },
  {
    title: "Dual-stack, secondary family",
    prefix: "[sig-network] [Feature:IPv6DualStack] Granular Checks: Services Secondary IP Family [LinuxOnly]",
    cases: [
      "should be able to handle large requests: http",
      "should be able to handle large requests: udp",
      "should function for client IP based session affinity: http [LinuxOnly]",
      "should function for client IP based session affinity: udp [LinuxOnly]",
      "should function for endpoint-Service: http",
      "should function for endpoint-Service: udp",
      "should function for node-Service: http",
      "should function for node-Service: udp",
      "should function for pod-Service: http",
      "should function for pod-Service: sctp [Feature:SCTPConnectivity]",
      "should function for pod-Service: udp",
      "should function for service endpoints using hostNetwork",
      "should update endpoints: http",
      "should update endpoints: udp",
    ],
  },
];

export const NETWORKING_GROUPS: readonly CaseGroup[] = [granularPods, ...networking, ...dualStack];
