/** Schemas of networking.k8s.io/v1. */
import { int32, intOrString, keyedList, list, string, strings, struct } from "../schema.js";
import { LABEL_SELECTOR, objectSchema } from "./meta.js";
import { CONDITION } from "./pod.js";

const POLICY_PORTS = list(
  struct("NetworkPolicyPort", { protocol: string, port: intOrString, endPort: int32 }),
);

const POLICY_PEERS = list(
  struct("NetworkPolicyPeer", {
    podSelector: LABEL_SELECTOR,
    namespaceSelector: LABEL_SELECTOR,
    ipBlock: struct("IPBlock", { cidr: string, except: strings }),
  }),
);

export const NETWORK_POLICY = objectSchema("NetworkPolicy", {
  spec: struct("NetworkPolicySpec", {
    podSelector: LABEL_SELECTOR,
    ingress: list(struct("NetworkPolicyIngressRule", { ports: POLICY_PORTS, from: POLICY_PEERS })),
    egress: list(struct("NetworkPolicyEgressRule", { ports: POLICY_PORTS, to: POLICY_PEERS })),
    policyTypes: strings,
  }),
});

const INGRESS_BACKEND = struct("IngressBackend", {
  service: struct("IngressServiceBackend", {
    name: string,
    port: struct("ServiceBackendPort", { name: string, number: int32 }),
  }),
  resource: struct("TypedLocalObjectReference", { apiGroup: string, kind: string, name: string }),
});

const INGRESS_PATH = struct("HTTPIngressPath", { path: string, pathType: string, backend: INGRESS_BACKEND });

const INGRESS_LOAD_BALANCER = struct("IngressLoadBalancerIngress", {
  ip: string,
  hostname: string,
  ports: list(struct("IngressPortStatus", { port: int32, protocol: string, error: string })),
});

export const INGRESS = objectSchema("Ingress", {
  spec: struct("IngressSpec", {
    ingressClassName: string,
    defaultBackend: INGRESS_BACKEND,
    tls: list(struct("IngressTLS", { hosts: strings, secretName: string })),
    rules: list(
      struct("IngressRule", {
        host: string,
        http: struct("HTTPIngressRuleValue", { paths: list(INGRESS_PATH) }),
      }),
    ),
  }),
  status: struct("IngressStatus", {
    loadBalancer: struct("IngressLoadBalancerStatus", { ingress: list(INGRESS_LOAD_BALANCER) }),
  }),
});

export const INGRESS_CLASS = objectSchema("IngressClass", {
  spec: struct("IngressClassSpec", {
    controller: string,
    parameters: struct("IngressClassParametersReference", {
      apiGroup: string,
      kind: string,
      name: string,
      scope: string,
      namespace: string,
    }),
  }),
});

export const SERVICE_CIDR = objectSchema("ServiceCIDR", {
  spec: struct("ServiceCIDRSpec", { cidrs: strings }),
  status: struct("ServiceCIDRStatus", { conditions: keyedList("type", CONDITION) }),
});

export const IP_ADDRESS = objectSchema("IPAddress", {
  spec: struct("IPAddressSpec", {
    parentRef: struct("ParentReference", {
      group: string,
      resource: string,
      namespace: string,
      name: string,
    }),
  }),
});
