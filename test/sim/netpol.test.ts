/** Kubernetes' NetworkPolicy cases for TCP (test/e2e/network/netpol/network_policy.go, "NetworkPolicy between server and client"). */

import type { LabelSelector } from "kubernetes-types/meta/v1.d.ts";
import type {
  NetworkPolicyEgressRule,
  NetworkPolicyIngressRule,
  NetworkPolicyPeer,
  NetworkPolicySpec,
} from "kubernetes-types/networking/v1.d.ts";
import { type Netpol, netpol } from "./netpol.js";

const NAMESPACE = "kubernetes.io/metadata.name";
const TCP = "TCP";

const should = (name: string, run: (t: Netpol) => void) =>
  netpol("NetworkPolicy between server and client", name, run);
const labels = (matchLabels: Record<string, string>): LabelSelector => ({ matchLabels });
const pod = (name: string): LabelSelector => labels({ pod: name });
const namespace = (name: string): LabelSelector => labels({ [NAMESPACE]: name });
const expression = (key: string, operator: string, ...values: string[]): LabelSelector => ({
  matchExpressions: [{ key, operator, values }],
});

/** Policies that isolate for ingress only and egress only. */
const ingress = (podSelector: LabelSelector, ...rules: NetworkPolicyIngressRule[]): NetworkPolicySpec => ({
  podSelector,
  policyTypes: ["Ingress"],
  ingress: rules,
});
const egress = (podSelector: LabelSelector, ...rules: NetworkPolicyEgressRule[]): NetworkPolicySpec => ({
  podSelector,
  policyTypes: ["Egress"],
  egress: rules,
});
const from = (...peers: NetworkPolicyPeer[]): NetworkPolicyIngressRule => ({ from: peers });
const to = (...peers: NetworkPolicyPeer[]): NetworkPolicyEgressRule => ({ to: peers });

should("should support a 'default-deny-ingress' policy", (t) => {
  t.apply("x/deny-ingress", ingress({}));
  t.check(80, TCP, "deny * > x/*");
});

should("should support a 'default-deny-all' policy", (t) => {
  t.apply("x/deny-all", { policyTypes: ["Ingress", "Egress"] });
  t.check(80, TCP, "deny * > x/*", "deny x/* > *");
});

should(
  "should enforce policy to allow traffic from pods within server namespace based on PodSelector",
  (t) => {
    t.apply("x/x-a-allows-x-b", ingress(pod("a"), from({ podSelector: pod("b") })));
    t.check(80, TCP, "deny * > x/a", "allow x/b > x/a");
  },
);

should("should enforce policy to allow ingress traffic for a target", (t) => {
  t.apply("x/deny-all", ingress({}));
  t.apply("x/allow-all-to-a", ingress(pod("a"), from({ podSelector: {}, namespaceSelector: {} })));
  t.check(80, TCP, "deny * > x/*", "allow * > x/a");
});

should("should enforce policy to allow ingress traffic from pods in all namespaces", (t) => {
  t.apply("x/allow-from-another-ns", ingress(pod("a"), from({ namespaceSelector: {} })));
  t.check(80, TCP);
});

should(
  "should enforce policy to allow traffic only from a different namespace, based on NamespaceSelector",
  (t) => {
    t.apply("x/allow-y", ingress(pod("a"), from({ namespaceSelector: namespace("y") })));
    t.check(80, TCP, "deny * > x/a", "allow y/* > x/a");
  },
);

should("should enforce policy based on PodSelector with MatchExpressions", (t) => {
  t.apply("x/x-a-allows-x-b", ingress(pod("a"), from({ podSelector: expression("pod", "In", "b") })));
  t.check(80, TCP, "deny * > x/a", "allow x/b > x/a");
});

should("should enforce policy based on NamespaceSelector with MatchExpressions", (t) => {
  t.apply("x/allow-y", ingress(pod("a"), from({ namespaceSelector: expression(NAMESPACE, "In", "y") })));
  t.check(80, TCP, "deny * > x/a", "allow y/* > x/a");
});

should("should enforce policy based on PodSelector or NamespaceSelector", (t) => {
  const others = { namespaceSelector: expression(NAMESPACE, "NotIn", "x") };
  t.apply("x/allow-others-or-b", ingress(pod("a"), from(others, { podSelector: pod("b") })));
  t.check(80, TCP, "deny x/c > x/a");
});

should("should enforce policy based on PodSelector and NamespaceSelector", (t) => {
  const both = { namespaceSelector: expression(NAMESPACE, "NotIn", "x"), podSelector: pod("b") };
  t.apply("x/allow-b-of-others", ingress(pod("a"), from(both)));
  t.check(80, TCP, "deny * > x/a", "allow y/b > x/a", "allow z/b > x/a");
});

should("should enforce policy based on Multiple PodSelectors and NamespaceSelectors", (t) => {
  const both = {
    namespaceSelector: expression(NAMESPACE, "NotIn", "x"),
    podSelector: expression("pod", "In", "b", "c"),
  };
  t.apply("x/allow-ns-y-z-pod-b-c", ingress(pod("a"), from(both)));
  t.check(80, TCP, "deny x/* > x/a", "deny y/a > x/a", "deny z/a > x/a");
});

should("should enforce policy based on any PodSelectors", (t) => {
  const rule = from({ podSelector: pod("b") }, { podSelector: pod("c") });
  t.apply("x/allow-ns-x-pod-b-c", ingress(pod("a"), rule));
  t.check(80, TCP, "deny * > x/a", "allow x/b > x/a", "allow x/c > x/a");
});

should(
  "should enforce policy to allow traffic only from a pod in a different namespace based on PodSelector and NamespaceSelector",
  (t) => {
    t.apply(
      "x/allow-y-a",
      ingress(pod("a"), from({ namespaceSelector: namespace("y"), podSelector: pod("a") })),
    );
    t.check(80, TCP, "deny * > x/a", "allow y/a > x/a");
  },
);

should("should enforce policy based on Ports", (t) => {
  const rule = { ...from({ namespaceSelector: namespace("y") }), ports: [{ port: 81, protocol: TCP }] };
  t.apply("x/allow-81-from-y", ingress(pod("a"), rule));
  t.check(81, TCP, "deny * > x/a", "allow y/* > x/a");
});

should("should enforce multiple, stacked policies with overlapping podSelectors", (t) => {
  const fromY = from({ namespaceSelector: namespace("y") });
  t.apply("x/allow-81-from-y", ingress(pod("a"), { ...fromY, ports: [{ port: 81, protocol: TCP }] }));
  t.check(81, TCP, "deny * > x/a", "allow y/* > x/a");
  t.check(80, TCP, "deny * > x/a");
  t.apply("x/allow-80-from-y", ingress(pod("a"), { ...fromY, ports: [{ port: 80, protocol: TCP }] }));
  t.check(80, TCP, "deny * > x/a", "allow y/* > x/a");
});

should("should support allow-all policy", (t) => {
  t.apply("x/allow-all", ingress({}, {}));
  t.check(80, TCP);
  t.check(81, TCP);
});

should("should allow ingress access on one named port", (t) => {
  t.apply("x/allow-named", ingress({}, { ports: [{ port: "serve-81-tcp" }] }));
  t.check(81, TCP);
  t.check(80, TCP, "deny * > x/*");
});

should("should allow ingress access from namespace on one named port", (t) => {
  const rule = {
    ...from({ namespaceSelector: namespace("y") }),
    ports: [{ port: "serve-80-tcp", protocol: TCP }],
  };
  t.apply("x/allow-80-from-y", ingress(pod("a"), rule));
  t.check(80, TCP, "deny * > x/a", "allow y/* > x/a");
  t.check(81, TCP, "deny * > x/a");
});

should("should allow egress access on one named port", (t) => {
  t.apply("x/allow-egress", egress({}, { ports: [{ port: "serve-80-tcp" }] }));
  t.check(80, TCP);
  t.check(81, TCP, "deny x/* > *");
});

should("should enforce updated policy", (t) => {
  t.apply("x/mutate", ingress({}, {}));
  t.check(81, TCP);
  t.apply("x/mutate", ingress({}));
  t.check(81, TCP, "deny * > x/*");
});

should("should allow ingress access from updated namespace", (t) => {
  t.apply("x/allow-ns2", ingress(pod("a"), from({ namespaceSelector: labels({ ns2: "updated" }) })));
  t.check(80, TCP, "deny * > x/a");
  t.cluster.applyNamespace("y", { ns2: "updated" });
  t.check(80, TCP, "deny * > x/a", "allow y/* > x/a");
});

should("should allow ingress access from updated pod", (t) => {
  t.apply("x/allow-pod2", ingress(pod("a"), from({ podSelector: labels({ pod: "b", pod2: "updated" }) })));
  t.check(80, TCP, "deny * > x/a");
  t.labelPod("x/b", { pod2: "updated" });
  t.check(80, TCP, "deny * > x/a", "allow x/b > x/a");
});

should("should deny ingress from pods on other namespaces", (t) => {
  t.apply("x/own-only", ingress({}, from({ podSelector: {} })));
  t.check(80, TCP, "deny y/* > x/*", "deny z/* > x/*");
});

should("should deny ingress access to updated pod", (t) => {
  t.apply("x/deny-isolated", ingress(labels({ target: "isolated" })));
  t.check(80, TCP);
  t.labelPod("x/a", { target: "isolated" });
  t.check(80, TCP, "deny * > x/a");
});

should("should deny egress from pods based on PodSelector", (t) => {
  t.apply("x/deny-egress-pod-a", egress(pod("a")));
  t.check(80, TCP, "deny x/a > *");
});

should("should deny egress from all pods in a namespace", (t) => {
  t.apply("x/deny-egress-ns-x", egress({}));
  t.check(80, TCP, "deny x/* > *");
});

should("should work with Ingress, Egress specified together", (t) => {
  t.apply("x/both", {
    ...ingress(pod("a"), from({ podSelector: pod("b") })),
    egress: [{ ports: [{ port: 80 }] }],
    policyTypes: ["Egress", "Ingress"],
  });
  t.check(80, TCP, "deny * > x/a", "allow x/b > x/a");
  t.check(81, TCP, "deny * > x/a", "deny x/a > *", "allow x/b > x/a");
});

should(
  "should support denying of egress traffic on the client side (even if the server explicitly allows this traffic)",
  (t) => {
    t.apply(
      "x/allow-to-ns-y-pod-a",
      egress(pod("a"), to({ namespaceSelector: namespace("y"), podSelector: pod("a") })),
    );
    const fromXa = from({ namespaceSelector: namespace("x"), podSelector: pod("a") });
    t.apply("y/allow-from-xa-on-ya", ingress(pod("a"), fromXa));
    t.apply("y/allow-from-xa-on-yb", ingress(pod("b"), fromXa));
    t.check(80, TCP, "deny x/a > *", "deny * > y/a", "allow x/a > y/a", "deny * > y/b");
  },
);

should(
  "should enforce egress policy allowing traffic to a server in a different namespace based on PodSelector and NamespaceSelector",
  (t) => {
    t.apply(
      "x/allow-to-y-a",
      egress(pod("a"), to({ namespaceSelector: namespace("y"), podSelector: pod("a") })),
    );
    t.check(80, TCP, "deny x/a > *", "allow x/a > y/a");
  },
);

should("should enforce ingress policy allowing any port traffic to a server on a specific protocol", (t) => {
  t.apply("x/allow-by-protocol", ingress(pod("a"), { ports: [{ protocol: TCP }] }));
  t.check(80, TCP);
  t.check(80, "UDP", "deny * > x/a");
});

should("should enforce multiple ingress policies with ingress allow-all policy taking precedence", (t) => {
  t.apply("x/allow-80", ingress({}, { ports: [{ port: 80 }] }));
  t.check(81, TCP, "deny * > x/*");
  t.apply("x/allow-all", ingress({}, {}));
  t.check(81, TCP);
});

should("should enforce multiple egress policies with egress allow-all policy taking precedence", (t) => {
  t.apply("x/allow-egress-80", egress({}, { ports: [{ port: 80 }] }));
  t.check(81, TCP, "deny x/* > *");
  t.apply("x/allow-egress", egress({}, {}));
  t.check(81, TCP);
});

should("should stop enforcing policies after they are deleted", (t) => {
  t.apply("x/deny-all", { policyTypes: ["Ingress", "Egress"] });
  t.check(80, TCP, "deny x/* > *", "deny * > x/*");
  t.delete("x/deny-all");
  t.check(80, TCP);
});

/** The /4 around an address, and the address alone. */
const around = (ip: string) => `${Number(ip.split(".")[0]) & 0xf0}.0.0.0/4`;
const alone = (ip: string) => `${ip}/32`;

should("should allow egress access to server in CIDR block", (t) => {
  t.apply("x/allow-cidr", egress(pod("a"), to({ ipBlock: { cidr: alone(t.pod("y/b").ip) } })));
  t.check(80, TCP, "deny x/a > *", "allow x/a > y/b");
});

should("should enforce except clause while egress access to server in CIDR block", (t) => {
  const { ip } = t.pod("x/b");
  t.apply("x/allow-cidr", egress(pod("a"), to({ ipBlock: { cidr: around(ip), except: [alone(ip)] } })));
  t.check(80, TCP, "deny x/a > x/b");
});

should("should ensure an IP overlapping both IPBlock.CIDR and IPBlock.Except is allowed", (t) => {
  const { ip } = t.pod("x/b");
  t.apply("x/allow-cidr", egress(pod("a"), to({ ipBlock: { cidr: around(ip), except: [alone(ip)] } })));
  t.check(80, TCP, "deny x/a > x/b");
  t.apply("x/allow-cidr", egress(pod("a"), to({ ipBlock: { cidr: alone(ip) } })));
  t.check(80, TCP, "deny x/a > *", "allow x/a > x/b");
});

should(
  "should enforce policies to check ingress and egress policies can be controlled independently based on PodSelector",
  (t) => {
    t.apply("x/allow-egress", egress(pod("a"), {}));
    t.check(80, TCP);
    t.apply("x/deny-ingress", ingress(pod("a")));
    t.check(80, TCP, "deny * > x/a");
  },
);

should(
  "should not mistakenly treat 'protocol: SCTP' as 'protocol: TCP', even if the plugin doesn't support SCTP",
  (t) => {
    t.apply("x/deny-ingress", ingress({}));
    t.apply("x/allow-sctp-81", ingress(pod("a"), { ports: [{ port: 81, protocol: "SCTP" }] }));
    t.check(81, TCP, "deny * > x/*");
  },
);

should(
  "should properly isolate pods that are selected by a policy allowing SCTP, even if the plugin doesn't support SCTP",
  (t) => {
    t.apply("x/allow-sctp-80", ingress(pod("a"), { ports: [{ port: 80, protocol: "SCTP" }] }));
    t.check(81, TCP, "deny * > x/a");
  },
);

should("should not allow access by TCP when a policy specifies only UDP", (t) => {
  t.apply("x/allow-udp-81", ingress(pod("a"), { ports: [{ port: 81, protocol: "UDP" }] }));
  t.check(81, TCP, "deny * > x/a");
});

should(
  "should enforce policy to allow traffic based on NamespaceSelector with MatchLabels using default ns label",
  (t) => {
    t.apply("x/allow-y", ingress(pod("a"), from({ namespaceSelector: namespace("y") })));
    t.check(80, TCP, "deny * > x/a", "allow y/* > x/a");
  },
);

should(
  "should enforce policy based on NamespaceSelector with MatchExpressions using default ns label",
  (t) => {
    t.apply("x/all-but-y", egress(pod("a"), to({ namespaceSelector: expression(NAMESPACE, "NotIn", "y") })));
    t.check(80, TCP, "deny x/a > y/*");
  },
);
