/** Policies judge IPv6 connections as IPv4 ones: by pod, and by blocks of their own family. */
import { describe, expect, it } from "vitest";
import { AddressBook } from "../../src/datapath/index.js";
import { NetworkPolicies } from "../../src/policy/index.js";
import { parseIpv6 } from "../../src/wire/index.js";
import { namespace, policy } from "./objects.js";

const book = new AddressBook(() => 0.5);
const at = (text: string) => book.pin(parseIpv6(text) ?? 0n);

function pod(name: string, number: number, nodeName = "node1") {
  return {
    metadata: { namespace: "x", name, labels: { pod: name } },
    spec: { nodeName, containers: [] },
    status: {
      podIP: `172.16.1.${number}`,
      podIPs: [{ ip: `172.16.1.${number}` }, { ip: `fd00::${number}` }],
    },
  };
}

function policies(spec: object): (src: string, dst: string) => string {
  const all = new NetworkPolicies({ nodeName: "node1", addressOf6: (handle) => book.address(handle) });
  all.onNamespaceUpsert(namespace("x"));
  for (const object of [pod("a", 2), pod("b", 3), pod("c", 4, "node2")]) all.onPodUpsert(object);
  all.onPolicyUpsert(policy("x/p", { podSelector: { matchLabels: { pod: "a" } }, ...spec }));
  all.onSynced();
  return (src, dst) => {
    const out = { isolation: "" };
    return all.allows({ protocol: 6, src: at(src), dst: at(dst), dport: 80 }, out)
      ? "allowed"
      : out.isolation;
  };
}

describe("policies over IPv6", () => {
  it("isolate a pod at its IPv6 address too", () => {
    const ask = policies({ policyTypes: ["Ingress", "Egress"] });
    expect(ask("fd00::3", "fd00::2")).toBe("ingress:x/p");
    expect(ask("fd00::2", "fd00::4")).toBe("egress:x/p");
    expect(ask("fd00::2", "2001:db8::1")).toBe("egress:x/p");
    expect(ask("fd00::4", "fd00::3")).toBe("allowed");
  });

  it("know the pods of other nodes by their IPv6 addresses", () => {
    const ask = policies({ ingress: [{ from: [{ podSelector: { matchLabels: { pod: "c" } } }] }] });
    expect(ask("fd00::4", "fd00::2")).toBe("allowed");
    expect(ask("fd00::3", "fd00::2")).toBe("ingress:x/p");
  });

  it("an IPv6 block holds IPv6 addresses, an IPv4 block none of them", () => {
    const block = (cidr: string, except: string[] = []) =>
      policies({ ingress: [{ from: [{ ipBlock: { cidr, except } }] }] });
    expect(block("2001:db8::/32")("2001:db8::1", "fd00::2")).toBe("allowed");
    expect(block("2001:db8::/32")("2001:db9::1", "fd00::2")).toBe("ingress:x/p");
    expect(block("::/0", ["2001:db8::/32"])("2001:db8::1", "fd00::2")).toBe("ingress:x/p");
    expect(block("0.0.0.0/0")("2001:db8::1", "fd00::2")).toBe("ingress:x/p");
  });

  it("a pod of this node is isolated before the API knows its address", () => {
    const all = new NetworkPolicies({ nodeName: "node1", addressOf6: (handle) => book.address(handle) });
    const { status: _, ...starting } = pod("a", 2);
    all.onNamespaceUpsert(namespace("x"));
    all.assign("x/a", 0xac100102, parseIpv6("fd00::2"));
    all.onPodUpsert(starting);
    all.onPolicyUpsert(policy("x/p", {}));
    all.onSynced();
    const query = { protocol: 6, src: at("fd00::9"), dst: at("fd00::2"), dport: 80 };
    expect(all.allows(query, { isolation: "" })).toBe(false);
  });
});
