import { describe, expect, it } from "vitest";
import { ServiceAction } from "../../src/datapath/index.js";
import { type Asked, decide, endpoint, pick, proxier, service, slice, synced, UDP } from "./objects.js";

const WEB = service("web", { type: "NodePort", ports: [{ name: "p", port: 80, nodePort: 30080 }] });
const WEB_SLICE = slice("web", [endpoint("172.16.1.2"), endpoint("172.16.2.2", {}, "node-2")]);
const CLUSTER: Asked = { dst: "10.254.0.10", dport: 80 };
const NODE: Asked = { dst: "10.0.0.11", dport: 30080, local: true };
const HOST = "10.0.0.1";
const POD = "172.16.1.5";

/** Picks once per question and gives the sequence. */
function sequence(from: ReturnType<typeof proxier>, asked: Asked, count: number): string[] {
  return Array.from({ length: count }, () => pick(from, asked));
}

describe("Proxier before the first sync", () => {
  it.each([
    ["nothing synced", false, false],
    ["services only", true, false],
    ["slices only", false, true],
  ])("resolves nothing with %s", (_name, services, slices) => {
    const made = proxier();
    made.onServiceUpsert(WEB);
    made.onEndpointSliceUpsert(WEB_SLICE);
    if (services) made.onServicesSynced();
    if (slices) made.onEndpointSlicesSynced();
    made.sync(1);
    expect([made.synced, pick(made, CLUSTER), pick(made, NODE)]).toEqual([
      false,
      "not a service",
      "not a service",
    ]);
    expect(made.metrics()).toMatchObject({
      syncsTotal: 0,
      lastSyncMs: 0,
      serviceChangesPending: 1,
      endpointChangesPending: 1,
    });
  });
});

describe("the networks of ServiceCIDRs", () => {
  it("have their unallocated addresses dropped while they are there", () => {
    const made = synced(
      [service("far", { clusterIP: "10.88.0.10" })],
      [slice("far", [endpoint("172.16.1.2")])],
    );
    const [allocated, unallocated] = [
      { ...CLUSTER, dst: "10.88.0.10" },
      { ...CLUSTER, dst: "10.88.0.11" },
    ];
    const picks = () => [allocated, unallocated].map((asked) => pick(made, asked));
    expect(picks()).toEqual(["172.16.1.2:8080", "not a service"]);
    made.onServiceCidrs(["10.254.0.0/16", "10.88.0.0/24", "fd00:88::/112"]);
    expect(picks()).toEqual(["172.16.1.2:8080", "no-service"]);
    expect(pick(made, { ...CLUSTER, dst: "10.88.1.11" })).toBe("not a service");
    made.onServiceCidrs([]);
    expect(picks()).toEqual(["172.16.1.2:8080", "not a service"]);
    expect(pick(made, { ...CLUSTER, dst: "10.254.7.7" })).toBe("no-service");
  });
});

describe("Proxier.resolve", () => {
  const made = () => synced([WEB], [WEB_SLICE]);

  const cases: [name: string, asked: Asked, expected: string][] = [
    ["pod to cluster IP", CLUSTER, "172.16.1.2:8080"],
    ["node IP to node port", NODE, "172.16.1.2:8080"],
    ["cluster IP, wrong port: rejected as unused", { ...CLUSTER, dport: 81 }, "no-service-port"],
    ["cluster IP, wrong protocol: rejected as unused", { ...CLUSTER, protocol: UDP }, "no-service-port"],
    ["echo request to a cluster IP", { ...CLUSTER, protocol: 1, dport: 8 << 8 }, "no-service-port"],
    ["service network, unallocated address: dropped", { ...CLUSTER, dst: "10.254.7.7" }, "no-service"],
    ["node IP, port that is no node port", { ...NODE, dport: 22 }, "not a service"],
    ["node port on an address that is not the node's", { ...NODE, local: false }, "not a service"],
    ["service port on the node IP", { ...NODE, dport: 80 }, "not a service"],
    ["pod address", { ...CLUSTER, dst: "172.16.2.2", dport: 8080 }, "not a service"],
    ["0.0.0.0 does not stand for the node ports", { ...NODE, dst: "0.0.0.0", local: false }, "not a service"],
  ];
  it.each(cases)("%s", (_name, asked, expected) => {
    expect(pick(made(), asked)).toBe(expected);
  });

  it.each([
    ["no-endpoints", CLUSTER, ServiceAction.reject],
    ["no-service-port", { ...CLUSTER, dport: 81 }, ServiceAction.reject],
    ["no-service", { ...CLUSTER, dst: "10.254.7.7" }, ServiceAction.drop],
  ])("%s has its action", (reason, asked, action) => {
    expect(decide(synced([WEB], []), asked)).toMatchObject({
      reason,
      action,
      ip: 0,
      port: 0,
      masquerade: false,
      endpoint: "",
    });
  });

  it("fills in every field of the decision", () => {
    expect(decide(made(), CLUSTER)).toEqual({
      action: ServiceAction.dnat,
      ip: 0xac100102,
      port: 8080,
      masquerade: false,
      service: "default/web:p",
      endpoint: "172.16.1.2:8080",
      reason: "",
    });
  });

  it("several ports, named target ports, both protocols on one number", () => {
    const dns = service("dns", {
      clusterIP: "10.254.0.53",
      ports: [
        { name: "udp", port: 53, protocol: "UDP" },
        { name: "tcp", port: 53 },
        { name: "metrics", port: 9153 },
      ],
    });
    const ports = [
      { name: "udp", port: 5353, protocol: "UDP" },
      { name: "tcp", port: 5354 },
      { name: "metrics", port: 9000 },
    ];
    const from = synced([dns], [slice("dns", [endpoint("172.16.1.9")], ports)]);
    const to = { dst: "10.254.0.53" };
    expect(pick(from, { ...to, dport: 53, protocol: UDP })).toBe("172.16.1.9:5353");
    expect(pick(from, { ...to, dport: 53 })).toBe("172.16.1.9:5354");
    expect(pick(from, { ...to, dport: 9153 })).toBe("172.16.1.9:9000");
  });

  it("headless Services are not resolved, their slices do no harm", () => {
    const from = synced([service("web", { clusterIP: "None" })], [WEB_SLICE]);
    expect([pick(from, CLUSTER), from.describe()]).toEqual(["no-service", []]);
  });

  it("a Service without endpoints is rejected on every address", () => {
    const from = synced([WEB], [slice("web", [endpoint("172.16.1.2", { ready: false })])]);
    expect([pick(from, CLUSTER), pick(from, NODE)]).toEqual(["no-endpoints", "no-endpoints"]);
  });

  it("falls back on terminating endpoints that still serve (KEP-1669)", () => {
    const leaving = { ready: false, serving: true, terminating: true };
    const from = synced([WEB], [slice("web", [endpoint("172.16.1.2", leaving)])]);
    expect(pick(from, CLUSTER)).toBe("172.16.1.2:8080");
    from.onEndpointSliceUpsert(slice("web", [endpoint("172.16.1.2", leaving), endpoint("172.16.1.3")]));
    from.sync(1);
    expect(sequence(from, CLUSTER, 2)).toEqual(["172.16.1.3:8080", "172.16.1.3:8080"]);
  });
});

/** Rows "SNAT, exactly" (2) and (3) of iptables/proxier.go `syncProxyRules`; hairpin (1) is the datapath's. */
describe("Proxier masquerades", () => {
  const cases: [name: string, src: string, asked: Asked, masqueradeAll: boolean, expected: boolean][] = [
    ["pod to cluster IP", POD, CLUSTER, false, false],
    ["pod of another node to cluster IP", "172.16.9.9", CLUSTER, false, false],
    ["endpoint to its own cluster IP", "172.16.1.2", CLUSTER, false, false],
    ["host to cluster IP", HOST, CLUSTER, false, true],
    ["node to cluster IP", "10.0.0.11", CLUSTER, false, true],
    ["just outside the pod network to cluster IP", "172.17.0.0", CLUSTER, false, true],
    ["pod to cluster IP with masquerade-all", POD, CLUSTER, true, true],
    ["host to node port", HOST, NODE, false, true],
    ["pod to node port", POD, NODE, false, true],
  ];
  it.each(cases)("%s", (_name, src, asked, masqueradeAll, expected) => {
    expect(decide(synced([WEB], [WEB_SLICE], { masqueradeAll }), { ...asked, src })?.masquerade).toBe(
      expected,
    );
  });
});

describe("Proxier rotates", () => {
  const five = slice(
    "web",
    ["172.16.1.2", "172.16.1.3", "172.16.2.2", "172.16.2.3", "172.16.3.2"].map((ip) => endpoint(ip)),
  );

  it("ten connections: each of five endpoints twice, in strict rotation, over all addresses of the port", () => {
    const from = synced([WEB], [five]);
    const seen = [NODE, CLUSTER, NODE, CLUSTER, NODE].map((asked) => pick(from, asked));
    expect(new Set(seen).size).toBe(5);
    expect(sequence(from, CLUSTER, 5)).toEqual(seen);
  });

  it("each Service by itself", () => {
    const other = service("other", { clusterIP: "10.254.0.11" });
    const from = synced(
      [WEB, other],
      [WEB_SLICE, slice("other", [endpoint("172.16.1.7"), endpoint("172.16.1.8")])],
    );
    expect(pick(from, CLUSTER)).toBe("172.16.1.2:8080");
    expect(pick(from, { ...CLUSTER, dst: "10.254.0.11" })).toBe("172.16.1.7:8080");
    expect(pick(from, CLUSTER)).toBe("172.16.2.2:8080");
  });

  it("is not disturbed by syncs, changes of other Services or of the Service's other fields", () => {
    const from = synced([WEB], [five]);
    const [first] = sequence(from, CLUSTER, 2);
    from.onServiceUpsert(service("other", { clusterIP: "10.254.0.11" }));
    from.onServiceUpsert({ ...WEB, metadata: { ...WEB.metadata, resourceVersion: "9" } });
    from.sync(1);
    expect(sequence(from, CLUSTER, 4)[3]).toBe(first);
  });
});

describe("Proxier session affinity", () => {
  const sticky = (seconds: number, clusterIP = "10.254.0.10", name = "web") =>
    service(name, {
      clusterIP,
      sessionAffinity: "ClientIP",
      sessionAffinityConfig: { clientIP: { timeoutSeconds: seconds } },
    });
  const at = (from: ReturnType<typeof proxier>, src: string, nowMs: number) =>
    pick(from, { ...CLUSTER, src, nowMs });

  it("should work after timeout: kept while renewed, chosen anew once it expired", () => {
    const from = synced([sticky(10)], [WEB_SLICE]);
    const first = at(from, POD, 0);
    const other = at(from, "172.16.1.6", 1);
    expect(other).not.toBe(first);
    expect([at(from, POD, 9_999), at(from, POD, 19_998), at(from, POD, 29_997)]).toEqual([
      first,
      first,
      first,
    ]);
    expect(at(from, "172.16.1.7", 29_998)).toBe(first);
    expect(at(from, POD, 39_997)).toBe(other);
  });

  it("defaults to 10800 seconds", () => {
    const from = synced([service("web", { sessionAffinity: "ClientIP" })], [WEB_SLICE]);
    const first = at(from, POD, 0);
    expect(at(from, POD, 10_799_999)).toBe(first);
    expect(at(from, POD, 10_799_999 + 10_800_000)).not.toBe(first);
  });

  it("is kept apart by service port", () => {
    const second = slice("two", [endpoint("172.16.1.2"), endpoint("172.16.2.2")]);
    const from = synced([sticky(10), sticky(10, "10.254.0.11", "two")], [WEB_SLICE, second]);
    at(from, "172.16.1.6", 0);
    expect(at(from, POD, 0)).toBe("172.16.2.2:8080");
    expect(pick(from, { ...CLUSTER, dst: "10.254.0.11" })).toBe("172.16.1.2:8080");
  });

  it("ends with its endpoint, also if that comes back", () => {
    const from = synced([sticky(10)], [WEB_SLICE]);
    expect(at(from, POD, 0)).toBe("172.16.1.2:8080");
    from.onEndpointSliceUpsert(slice("web", [endpoint("172.16.2.2")]));
    from.sync(1);
    from.onEndpointSliceUpsert(WEB_SLICE);
    from.sync(2);
    expect(at(from, POD, 3)).toBe("172.16.2.2:8080");
    expect(at(from, POD, 4)).toBe("172.16.2.2:8080");
  });

  it("can be switched on and off", () => {
    const from = synced([WEB], [WEB_SLICE]);
    from.onServiceUpsert(sticky(10));
    from.sync(1);
    expect(at(from, POD, 1)).toBe(at(from, POD, 2));
    from.onServiceUpsert(service("web"));
    from.sync(2);
    expect(at(from, POD, 3)).not.toBe(at(from, POD, 4));
  });
});
