/** Kubernetes' NetworkPolicy cases for UDP and SCTP (test/e2e/network/netpol/network_policy.go). */
import { type NetpolProtocol, netpol } from "./netpol.js";

const CONTEXTS: readonly [NetpolProtocol, string][] = [
  ["UDP", "[LinuxOnly] NetworkPolicy between server and client using UDP"],
  ["SCTP", "[Feature:SCTPConnectivity][LinuxOnly] NetworkPolicy between server and client using SCTP"],
];
const A = { matchLabels: { pod: "a" } };
const Y = { matchLabels: { "kubernetes.io/metadata.name": "y" } };

for (const [protocol, context] of CONTEXTS) {
  netpol(context, "should support a 'default-deny-ingress' policy", (t) => {
    t.apply("x/deny-all", { policyTypes: ["Ingress"] });
    t.check(80, protocol, "deny * > x/*");
  });

  netpol(context, "should enforce policy based on Ports", (t) => {
    const rule = { from: [{ namespaceSelector: Y }], ports: [{ port: 81, protocol }] };
    t.apply("x/allow-ingress-on-port-81-ns-x", { podSelector: A, ingress: [rule] });
    t.check(81, protocol, "deny * > x/a", "allow y/* > x/a");
    t.check(81, "TCP", "deny * > x/a");
  });

  netpol(
    context,
    "should enforce policy to allow traffic only from a pod in a different namespace based on PodSelector and NamespaceSelector",
    (t) => {
      const peer = { namespaceSelector: Y, podSelector: A };
      t.apply("x/allow-y-a", { podSelector: A, ingress: [{ from: [peer] }] });
      t.check(80, protocol, "deny * > x/a", "allow y/a > x/a");
    },
  );
}
