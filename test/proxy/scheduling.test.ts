/** Which scheduler a Service gets, its weights, topology as the proxy sees it, and ways to know pods. */
import { describe, expect, it } from "vitest";
import { PortKind } from "../../src/datapath/index.js";
import {
  type Asked,
  annotated,
  decide,
  endpoint,
  hinted,
  ip,
  pick,
  type proxier,
  SCTP,
  service,
  slice,
  synced,
} from "./objects.js";

const ASKED: Asked = { dst: "10.254.0.10", dport: 80 };
const THREE = slice(
  "web",
  ["172.16.1.2", "172.16.1.3", "172.16.1.4"].map((address) => endpoint(address)),
);

function seen(from: ReturnType<typeof proxier>, count: number, asked: Asked = ASKED): string {
  return Array.from({ length: count }, () => pick(from, asked).replace(/^172\.16\.|:\d+$/g, "")).join(" ");
}

/** A proxy with one annotated Service, and what it complained of. */
function scheduled(annotations: Record<string, string>, options: Parameters<typeof synced>[2] = {}) {
  const complaints: string[] = [];
  const onInvalid = (message: string) => complaints.push(message);
  const from = synced([annotated(service("web"), annotations)], [THREE], { onInvalid, ...options });
  return { from, complaints };
}

describe("annotation podwire.dev/scheduler", () => {
  it.each([
    ["nothing", {}, {}, "rr"],
    ["a name", { "podwire.dev/scheduler": "maglev" }, {}, "maglev"],
    ["nothing, with a default", {}, { defaultScheduler: "random" }, "random"],
    ["a name, with a default", { "podwire.dev/scheduler": "lc" }, { defaultScheduler: "random" }, "lc"],
  ] as const)("%s", (_name, annotations, options, expected) => {
    const { from, complaints } = scheduled(annotations, options);
    expect([from.describe()[0].scheduler, complaints]).toEqual([expected, []]);
  });

  it("that names none is reported; the default counts", () => {
    const { from, complaints } = scheduled(
      { "podwire.dev/scheduler": "fastest" },
      { defaultScheduler: "sh" },
    );
    expect(from.describe()[0].scheduler).toBe("sh");
    expect(complaints).toEqual([
      "Service default/web: annotation podwire.dev/scheduler must be one of rr, wrr, random, lc, sh, maglev; the default scheduler is used.",
    ]);
  });

  it("can be changed while the Service is in use", () => {
    const { from } = scheduled({});
    expect(seen(from, 3)).toBe("1.2 1.3 1.4");
    from.onServiceUpsert(annotated(service("web"), { "podwire.dev/scheduler": "sh" }));
    from.sync(1);
    expect(new Set(seen(from, 9).split(" ")).size).toBe(1);
    from.onServiceUpsert(service("web"));
    from.sync(2);
    expect(new Set(seen(from, 3).split(" ")).size).toBe(3);
  });

  it("lc asks the node's connections", () => {
    const open = new Map([
      [ip("172.16.1.2"), 4],
      [ip("172.16.1.3"), 1],
      [ip("172.16.1.4"), 2],
    ]);
    const connections = { openConnections: (_protocol: number, address: number) => open.get(address) ?? 0 };
    const { from } = scheduled({ "podwire.dev/scheduler": "lc" }, { connections });
    expect(seen(from, 2)).toBe("1.3 1.3");
  });

  it("random is drawn from the proxy's randomness", () => {
    const draw = (random: number) =>
      seen(scheduled({ "podwire.dev/scheduler": "random" }, { random: () => random }).from, 30);
    expect(draw(0.3)).toBe(draw(0.3));
    expect(draw(0.3)).not.toBe(draw(0.6));
  });

  it("session affinity goes before it", () => {
    const sticky = service("web", { sessionAffinity: "ClientIP" });
    const from = synced([annotated(sticky, { "podwire.dev/scheduler": "wrr" })], [THREE]);
    expect(new Set(seen(from, 6).split(" ")).size).toBe(1);
    expect(pick(from, { ...ASKED, src: "172.16.1.6" })).not.toBe(pick(from, ASKED));
  });
});

describe("annotation podwire.dev/weights", () => {
  const wrr = (weights: string) =>
    scheduled({ "podwire.dev/scheduler": "wrr", "podwire.dev/weights": weights });

  it("by address; who is not named weighs 1", () => {
    const { from, complaints } = wrr("172.16.1.2=3, 172.16.1.4 = 2");
    expect([seen(from, 6), complaints]).toEqual(["1.2 1.4 1.2 1.3 1.4 1.2", []]);
  });

  it("by pod name", () => {
    const pods = ["a", "b"].map((name, i) => ({
      ...endpoint(`172.16.1.${i + 2}`),
      targetRef: { kind: "Pod", namespace: "default", name },
    }));
    const web = annotated(service("web"), { "podwire.dev/scheduler": "wrr", "podwire.dev/weights": "b=2" });
    expect(seen(synced([web], [slice("web", pods)]), 3)).toBe("1.3 1.2 1.3");
  });

  it("0 takes an endpoint out; all 0: rejected", () => {
    expect(seen(wrr("172.16.1.2=0").from, 4)).toBe("1.3 1.4 1.3 1.4");
    const { from } = wrr("172.16.1.2=0,172.16.1.3=0,172.16.1.4=0");
    expect(pick(from, ASKED)).toBe("no-endpoints");
  });

  it("reports what is no weight and goes on", () => {
    const { from, complaints } = wrr("172.16.1.2=3,web,=4,a=-1,b=70000,c=1.5");
    expect(seen(from, 5).match(/1\.2/g)).toHaveLength(3);
    expect(complaints).toEqual(
      ['"web"', '"=4"', '"a=-1"', '"b=70000"', '"c=1.5"'].map(
        (part) =>
          `Service default/web: annotation podwire.dev/weights has ${part}, which is not pod-or-address=weight with a weight from 0 to 65535; it is ignored.`,
      ),
    );
  });
});

describe("topology", () => {
  const slices = (hints: [string, string][]) =>
    slice(
      "web",
      hints.map(([address, zone]) => hinted(address, { forZones: [{ name: zone }] })),
    );
  const BOTH: [string, string][] = [
    ["172.16.1.2", "a"],
    ["172.16.2.2", "b"],
  ];

  it("[sig-network] Traffic Distribution should route traffic to an endpoint in the same zone when using PreferClose: zone (PreferClose, PreferSameZone)", () => {
    expect(seen(synced([service("web")], [slices(BOTH)], { zone: "b" }), 2)).toBe("2.2 2.2");
    expect(seen(synced([service("web")], [slices(BOTH)]), 2)).toBe("1.2 2.2");
  });

  it("should route traffic to an endpoint on the client's node (PreferSameNode)", () => {
    const near = [
      hinted("172.16.1.2", { forNodes: [{ name: "node-1" }], forZones: [{ name: "a" }] }, "node-1"),
      hinted("172.16.2.2", { forNodes: [{ name: "node-2" }], forZones: [{ name: "a" }] }),
    ];
    const from = synced([service("web")], [slice("web", near)], { zone: "a" });
    expect(seen(from, 2)).toBe("1.2 1.2");
  });

  it("spills over when the zone has no endpoint left", () => {
    const from = synced([service("web")], [slices(BOTH)], { zone: "b" });
    from.onEndpointSliceUpsert(slices([["172.16.1.2", "a"]]));
    from.sync(1);
    expect(seen(from, 1)).toBe("1.2");
  });

  it("follows the node's zone, with the next sync", () => {
    const from = synced([service("web")], [slices(BOTH)], { zone: "a" });
    from.onZoneChange("b");
    expect(seen(from, 1)).toBe("1.2");
    from.sync(1);
    expect(seen(from, 2)).toBe("2.2 2.2");
    from.onZoneChange("");
    from.sync(2);
    expect(new Set(seen(from, 2).split(" ")).size).toBe(2);
  });
});

describe("detect-local modes", () => {
  const NETWORKS = { podSubnet: { address: ip("172.16.1.0"), length: 24 } };
  const sources = {
    "pod here": { src: "172.16.1.5", inKind: PortKind.pod },
    "pod elsewhere": { src: "172.16.9.5", inKind: PortKind.overlay },
    host: { src: "10.0.0.1", inKind: PortKind.host },
    "other source on a pod's port": { src: "192.0.2.1", inKind: PortKind.pod },
  };
  it.each([
    ["ClusterCIDR", ["pod here", "pod elsewhere"]],
    ["NodeCIDR", ["pod here"]],
    ["BridgeInterface", ["pod here", "other source on a pod's port"]],
    ["InterfaceNamePrefix", ["pod here", "other source on a pod's port"]],
  ] as const)("%s: not masqueraded to cluster IPs", (detectLocalMode, kept) => {
    const from = synced([service("web")], [THREE], { detectLocalMode, ...NETWORKS });
    const found = Object.entries(sources).filter(
      ([, source]) => !decide(from, { ...ASKED, ...source })?.masquerade,
    );
    expect(found.map(([name]) => name)).toEqual(kept);
  });

  it("NodeCIDR needs the node's subnet", () => {
    expect(() => synced([], [], { detectLocalMode: "NodeCIDR" })).toThrow(
      "Detecting pods by NodeCIDR needs the node's pod subnet.",
    );
  });
});

describe("SCTP", () => {
  it("[sig-network] Services should allow creating a basic SCTP service with pod and endpoints", () => {
    const sctp = service("sig", {
      type: "NodePort",
      ports: [{ name: "p", port: 3868, nodePort: 30868, protocol: "SCTP" }],
    });
    const ports = [{ name: "p", port: 3868, protocol: "SCTP" }];
    const from = synced([sctp], [slice("sig", [endpoint("172.16.1.2")], ports)]);
    const asked = { dst: "10.254.0.10", dport: 3868 };
    expect(pick(from, { ...asked, protocol: SCTP })).toBe("172.16.1.2:3868");
    expect(pick(from, { dst: "10.0.0.11", dport: 30868, local: true, protocol: SCTP })).toBe(
      "172.16.1.2:3868",
    );
    expect(pick(from, asked)).toBe("no-service-port");
  });
});
