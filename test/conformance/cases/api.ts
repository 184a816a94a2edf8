/** What concerns the API and its controllers, and cluster DNS. */
import type { CaseGroup } from "./types.js";

const group = (title: string, cases: CaseGroup["cases"]): CaseGroup => ({
  title,
  prefix: `[sig-network] ${title}`,
  cases,
});

export const API_GROUPS: readonly CaseGroup[] = [
  group("API Server", [
    {
      name: "should have Endpoints and EndpointSlices pointing to API Server [Conformance]",
      formerly: [
        "[sig-network] EndpointSlice should have Endpoints and EndpointSlices pointing to API Server [Conformance]",
      ],
    },
    {
      name: "should provide secure master service [Conformance]",
      formerly: ["[sig-network] Services should provide secure master service [Conformance]"],
    },
  ]),
  group("Endpoints", [
    {
      name: "should test the lifecycle of an Endpoint [Conformance]",
      formerly: ["[sig-network] Services should test the lifecycle of an Endpoint [Conformance]"],
    },
  ]),
  group("EndpointsController", [
    "should create Endpoints for Pods matching a Service [Conformance]",
    "should create and delete Endpoints for a Service with a selector that matches no pods [Conformance]",
  ]),
  group("EndpointSlice", [
    "should create Endpoints and EndpointSlices for Pods matching a Service [Conformance]",
    {
      name: "should create and delete EndpointSlices for a Service with a selector that matches no pods [Conformance]",
      formerly: [
        "[sig-network] EndpointSlice should create and delete Endpoints and EndpointSlices for a Service with a selector specified [Conformance]",
      ],
    },
    "should support a Service with multiple endpoint IPs specified in multiple EndpointSlices [Conformance]",
    "should support a Service with multiple ports specified in multiple EndpointSlices [Conformance]",
    "should support creating EndpointSlice API operations [Conformance]",
  ]),
  group("EndpointSliceMirroring", [
    "should mirror a custom Endpoint with multiple subsets and same IP address",
    "should mirror a custom Endpoints resource through create update and delete [Conformance]",
  ]),
  group("Ingress API", ["should support creating Ingress API operations [Conformance]"]),
  group("IngressClass API", ["should support creating IngressClass API operations [Conformance]"]),
  group("IngressClass", [
    "should allow IngressClass to have Namespace-scoped parameters [Serial]",
    "should choose the one with the later CreationTimestamp, if equal the one with the lower name when two ingressClasses are marked as default [Serial]",
    "should not set default value if no default IngressClass [Serial]",
    "should set default value on new IngressClass [Serial]",
  ]),
  group("ServiceCIDR and IPAddress API", [
    "should support IPAddress API operations [Conformance]",
    "should support ServiceCIDR API operations [Conformance]",
  ]),
  group("Proxy version v1", [
    "A set of valid responses are returned for both pod and service Proxy [Conformance]",
    "A set of valid responses are returned for both pod and service ProxyWithPath [Conformance]",
    "should proxy through a service and a pod [Conformance]",
  ]),
  group("CVE-2021-29923", [
    "IPv4 Service Type ClusterIP with leading zeros should work interpreted as decimal",
  ]),
  group("DNS", [
    "should provide /etc/hosts entries for the cluster [Conformance]",
    "should provide DNS for ExternalName services [Conformance]",
    "should provide DNS for pods for Hostname [Conformance]",
    "should provide DNS for pods for Subdomain [Conformance]",
    "should provide DNS for services [Conformance]",
    "should provide DNS for the cluster [Conformance]",
    "should resolve DNS of partial qualified names for services [LinuxOnly] [Conformance]",
    "should support configurable pod DNS nameservers [Conformance]",
    "should support configurable pod resolv.conf",
    "should resolve DNS of partial qualified names for the cluster [LinuxOnly]",
    "HostNetwork should resolve DNS of partial qualified names for services on hostNetwork pods with dnsPolicy: ClusterFirstWithHostNet [LinuxOnly]",
    "should work with the pod containing more than 6 DNS search paths and longer than 256 search list characters",
    {
      name: "configMap nameserver Change stubDomain should be able to change stubDomain configuration [Slow][Serial]",
      notApplicable:
        "the name server has no ConfigMap: stub domains are of CoreDNS' and kube-dns' configuration",
    },
    "configMap nameserver Forward PTR lookup should forward PTR records lookup to upstream nameserver [Slow][Serial]",
    "configMap nameserver Forward external name lookup should forward externalname lookup to upstream nameserver [Slow][Serial]",
  ]),
];
