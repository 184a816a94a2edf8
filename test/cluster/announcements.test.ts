import { describe, expect, it } from "vitest";
import { announcements } from "../../src/cluster/announcements.js";
import type { EndpointSlice, Service } from "../../src/kube/index.js";

const NODES = ["a", "b", "c"];

function balanced(
  name: string,
  spec: object = {},
  ingress: object[] = [{ ip: "10.9.0.1", ipMode: "VIP" }],
): Service {
  return {
    metadata: { name, namespace: "default" },
    spec: { type: "LoadBalancer", clusterIP: "10.96.0.9", ...spec },
    status: { loadBalancer: { ingress } },
  };
}

/** A slice with one endpoint on each node, in the given states. */
function slice(service: string, states: Record<string, object>): EndpointSlice {
  return {
    metadata: { name: service, namespace: "default", labels: { "kubernetes.io/service-name": service } },
    addressType: "IPv4",
    endpoints: Object.entries(states).map(([nodeName, conditions]) => ({
      addresses: ["172.16.0.2"],
      nodeName,
      conditions,
    })),
  };
}
const READY = { ready: true, serving: true, terminating: false };
const UNREADY = { ready: false, serving: false, terminating: false };
const LEAVING = { ready: false, serving: true, terminating: true };
const LOCAL = { externalTrafficPolicy: "Local" };

describe("external addresses that the host reaches", () => {
  it("are those of load balancers and externalIPs, through any usable node", () => {
    const found = announcements([balanced("web", { externalIPs: ["203.0.113.7"] })], [], NODES);
    expect(found).toEqual([
      { ip: "203.0.113.7", service: "default/web", nodes: NODES },
      { ip: "10.9.0.1", service: "default/web", nodes: NODES },
    ]);
  });

  it("under policy Local lead only to nodes with ready endpoints", () => {
    const slices = [slice("web", { a: UNREADY, b: READY, c: LEAVING }), slice("other", { a: READY })];
    expect(announcements([balanced("web", LOCAL)], slices, NODES)).toMatchObject([{ nodes: ["b"] }]);
    expect(announcements([balanced("web", LOCAL)], slices, ["a", "c"])).toMatchObject([{ nodes: [] }]);
  });

  it("under policy Local without ready endpoints lead to nodes whose endpoints serve while they leave", () => {
    const slices = [slice("web", { a: UNREADY, b: LEAVING, c: UNREADY })];
    expect(announcements([balanced("web", LOCAL)], slices, NODES)).toMatchObject([{ nodes: ["b"] }]);
  });

  it.each([
    [
      "an address that the load balancer answers for itself",
      balanced("web", {}, [{ ip: "10.9.0.1", ipMode: "Proxy" }]),
    ],
    ["a name instead of an address", balanced("web", {}, [{ hostname: "lb.example" }])],
    ["what is no address", balanced("web", { externalIPs: ["fd00::1::2"] }, [{ ip: "fd00::/64" }])],
    ["a Service of another type", balanced("web", { type: "NodePort" })],
    ["a headless Service", balanced("web", { clusterIP: "None", externalIPs: ["203.0.113.7"] })],
    ["an ExternalName", balanced("web", { type: "ExternalName", externalIPs: ["203.0.113.7"] })],
    [
      "a Service of another proxy",
      { ...balanced("web"), metadata: { labels: { "service.kubernetes.io/service-proxy-name": "x" } } },
    ],
  ])("are none for %s", (_what, service) => {
    expect(announcements([service], [], NODES)).toEqual([]);
  });

  it("are of both families, IPv6 as the kernel writes it", () => {
    const spec = { externalIPs: ["2001:DB8:0:0::7", "203.0.113.7"] };
    const found = announcements([balanced("web", spec, [{ ip: "fd00:0::9" }])], [], NODES);
    expect(found.map(({ ip }) => ip)).toEqual(["2001:db8::7", "203.0.113.7", "fd00::9"]);
  });

  it("belong to the first Service that has them", () => {
    const found = announcements([balanced("web"), balanced("api")], [], NODES);
    expect(found).toEqual([{ ip: "10.9.0.1", service: "default/api", nodes: NODES }]);
  });
});
