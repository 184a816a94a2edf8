/** Schemas of networking.k8s.io/v1. */
import { int32, intOrString, list, string, strings, struct } from "../schema.js";
import { LABEL_SELECTOR, objectSchema } from "./meta.js";

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
