import type { EndpointSlice } from "kubernetes-types/discovery/v1.d.ts";
import { describe, expect, it } from "vitest";
import { type Asked, endpoint, pick, type proxier, service, slice, synced } from "./objects.js";

const WEB = service("web", { type: "NodePort", ports: [{ name: "p", port: 80, nodePort: 30080 }] });
const WEB_SLICE = slice("web", [endpoint("172.16.1.2"), endpoint("172.16.2.2", {}, "node-2")]);
const CLUSTER: Asked = { dst: "10.254.0.10", dport: 80 };
const NODE: Asked = { dst: "10.0.0.11", dport: 30080, local: true };

/** Picks once per question and gives the sequence. */
function sequence(from: ReturnType<typeof proxier>, asked: Asked, count: number): string[] {
  return Array.from({ length: count }, () => pick(from, asked));
}

describe("Proxier applies changes", () => {
  it("a deleted Service frees cluster IP and node port", () => {
    const from = synced([WEB], [WEB_SLICE]);
    from.onServiceDelete(WEB);
    expect(pick(from, CLUSTER)).toBe("172.16.1.2:8080");
    from.sync(1);
    expect([pick(from, CLUSTER), pick(from, NODE), from.describe()]).toEqual([
      "no-service",
      "not a service",
      [],
    ]);
  });

  it("a Service that comes after its slices finds them", () => {
    const from = synced([], [WEB_SLICE]);
    from.onServiceUpsert(WEB);
    from.sync(1);
    expect(pick(from, CLUSTER)).toBe("172.16.1.2:8080");
  });

  it("changed cluster IP, port and node port lead there, the old ones nowhere", () => {
    const from = synced([WEB], [WEB_SLICE]);
    from.onServiceUpsert(
      service("web", { clusterIP: "10.254.0.99", ports: [{ name: "p", port: 81, nodePort: 30081 }] }),
    );
    from.sync(1);
    expect([pick(from, CLUSTER), pick(from, NODE)]).toEqual(["no-service", "not a service"]);
    expect(pick(from, { dst: "10.254.0.99", dport: 81 })).toBe("172.16.1.2:8080");
    expect(pick(from, { ...NODE, dport: 30081 })).toBe("172.16.2.2:8080");
  });

  it("a port that is removed is rejected as long as another one has the cluster IP", () => {
    const two = service("web", {
      ports: [
        { name: "p", port: 80 },
        { name: "q", port: 81 },
      ],
    });
    const from = synced([two], [WEB_SLICE]);
    from.onServiceUpsert(service("web", { ports: [{ name: "p", port: 80 }] }));
    from.sync(1);
    expect(pick(from, { ...CLUSTER, dport: 81 })).toBe("no-service-port");
  });

  it("a cluster IP and node port may pass from one Service to another within a sync, in either order", () => {
    const heir = service("heir", { type: "NodePort", ports: [{ name: "p", port: 80, nodePort: 30080 }] });
    const heirs = slice("heir", [endpoint("172.16.3.3")]);
    for (const deleteFirst of [true, false]) {
      const from = synced([WEB], [WEB_SLICE, heirs]);
      if (deleteFirst) from.onServiceDelete(WEB);
      from.onServiceUpsert(heir);
      if (!deleteFirst) from.onServiceDelete(WEB);
      from.sync(1);
      expect([pick(from, CLUSTER), pick(from, NODE)]).toEqual(["172.16.3.3:8080", "172.16.3.3:8080"]);
      from.onServiceDelete(heir);
      from.sync(2);
      expect([pick(from, CLUSTER), pick(from, NODE)]).toEqual(["no-service", "not a service"]);
    }
  });

  it("slices come and go by name", () => {
    const more: EndpointSlice = slice("web", [endpoint("172.16.3.3")], undefined, "web-2");
    const from = synced([WEB], [WEB_SLICE, more]);
    expect(new Set(sequence(from, CLUSTER, 3)).size).toBe(3);
    from.onEndpointSliceDelete(WEB_SLICE);
    from.sync(1);
    expect(sequence(from, CLUSTER, 2)).toEqual(["172.16.3.3:8080", "172.16.3.3:8080"]);
  });

  it("describes service ports with their endpoints", () => {
    const from = synced(
      [WEB],
      [slice("web", [endpoint("172.16.1.2"), endpoint("172.16.1.3", { ready: false })])],
    );
    expect(from.describe()).toMatchObject([
      {
        key: "default/web:p/6",
        name: "default/web:p",
        clusterIp: "10.254.0.10",
        port: 80,
        nodePort: 30080,
        endpoints: [
          { ip: "172.16.1.2", port: 8080, ready: true, used: true },
          { ip: "172.16.1.3", port: 8080, ready: false, used: false },
        ],
      },
    ]);
  });

  it("counts syncs and changes", () => {
    const local = service("web", { internalTrafficPolicy: "Local" });
    const from = synced([local], [slice("web", [endpoint("172.16.2.2", {}, "node-2")])]);
    from.onServiceUpsert(local);
    from.onEndpointSliceUpsert(WEB_SLICE);
    expect(from.metrics()).toEqual({
      syncsTotal: 1,
      lastSyncMs: 0,
      serviceChangesTotal: 1,
      serviceChangesPending: 0,
      endpointChangesTotal: 2,
      endpointChangesPending: 1,
      noLocalEndpointsInternal: 1,
      noLocalEndpointsExternal: 0,
      staleFlowsDeletedTotal: 0,
    });
    from.sync(77);
    expect(from.metrics()).toMatchObject({
      syncsTotal: 2,
      lastSyncMs: 77,
      endpointChangesPending: 0,
      noLocalEndpointsInternal: 0,
    });
  });
});
