import type { Service } from "kubernetes-types/core/v1.d.ts";
import { describe, expect, it } from "vitest";
import { ServiceTracker } from "../../src/proxy/service-tracker.js";
import { formatIpv4 } from "../../src/wire/index.js";
import { service } from "./objects.js";

function portsOf(object: Service): { ports: string[]; complaints: string[] } {
  const complaints: string[] = [];
  const tracker = new ServiceTracker((message) => complaints.push(message));
  tracker.upsert(object);
  const ports = tracker.checkout().get("default/s")?.current ?? [];
  return {
    ports: ports.map(
      (p) => `${p.key} ${formatIpv4(p.clusterIp)}:${p.port} node ${p.nodePort} affinity ${p.affinityMs}`,
    ),
    complaints,
  };
}

/** Objects that break their declared type, as a faulty server could send them. */
function lying(spec: unknown): Service {
  return { metadata: { name: "s", namespace: "default" }, spec } as Service;
}

const affinity = (timeoutSeconds?: number) => ({
  sessionAffinity: "ClientIP",
  sessionAffinityConfig: { clientIP: { timeoutSeconds } },
});

/** Names are those of pkg/proxy/servicechangetracker_test.go `TestServiceToServiceMap` where it has the case. */
const cases: [name: string, object: Service, ports: string[]][] = [
  ["headless service", service("s", { clusterIP: "None" }), []],
  ["headless service without port", service("s", { clusterIP: "None", ports: [] }), []],
  ["external name service", service("s", { type: "ExternalName", clusterIP: "10.254.0.10" }), []],
  ["service with no cluster IP", service("s", { clusterIP: "" }), []],
  [
    "cluster ip service",
    service("s", {
      ports: [
        { name: "dns", port: 53, protocol: "UDP" },
        { name: "web", port: 80 },
      ],
    }),
    ["default/s:dns/17 10.254.0.10:53 node 0 affinity 0", "default/s:web/6 10.254.0.10:80 node 0 affinity 0"],
  ],
  [
    "nodeport service",
    service("s", { type: "NodePort", ports: [{ name: "p", port: 345, nodePort: 30345, protocol: "UDP" }] }),
    ["default/s:p/17 10.254.0.10:345 node 30345 affinity 0"],
  ],
  ["unnamed port", service("s", { ports: [{ port: 80 }] }), ["default/s/6 10.254.0.10:80 node 0 affinity 0"]],
  [
    "TCP, UDP and SCTP on one port number",
    service("s", {
      ports: [
        { name: "t", port: 53 },
        { name: "u", port: 53, protocol: "UDP" },
        { name: "s", port: 53, protocol: "SCTP" },
      ],
    }),
    [
      "default/s:t/6 10.254.0.10:53 node 0 affinity 0",
      "default/s:u/17 10.254.0.10:53 node 0 affinity 0",
      "default/s:s/132 10.254.0.10:53 node 0 affinity 0",
    ],
  ],
  [
    "same port name and number for both protocols",
    service("s", {
      ports: [
        { name: "dns", port: 53, protocol: "UDP" },
        { name: "dns-tcp", port: 53, protocol: "TCP" },
      ],
    }),
    [
      "default/s:dns/17 10.254.0.10:53 node 0 affinity 0",
      "default/s:dns-tcp/6 10.254.0.10:53 node 0 affinity 0",
    ],
  ],
  [
    "dual stack service: the IPv4 address counts",
    service("s", { clusterIP: "fd00::1", clusterIPs: ["fd00::1", "10.254.0.11"] }),
    ["default/s:p/6 10.254.0.11:80 node 0 affinity 0"],
  ],
  [
    "leading zeros are no octal (CVE-2021-29923)",
    service("s", { clusterIP: "10.254.0.011" }),
    ["default/s:p/6 10.254.0.11:80 node 0 affinity 0"],
  ],
  [
    "affinity defaults to three hours",
    service("s", { sessionAffinity: "ClientIP" }),
    ["default/s:p/6 10.254.0.10:80 node 0 affinity 10800000"],
  ],
  ["affinity with timeout", service("s", affinity(5)), ["default/s:p/6 10.254.0.10:80 node 0 affinity 5000"]],
  [
    "affinity beyond a day is not valid",
    service("s", affinity(86_401)),
    ["default/s:p/6 10.254.0.10:80 node 0 affinity 10800000"],
  ],
  [
    "service with label service.kubernetes.io/service-proxy-name",
    {
      ...service("s"),
      metadata: {
        name: "s",
        namespace: "default",
        labels: { "service.kubernetes.io/service-proxy-name": "x" },
      },
    },
    [],
  ],
  [
    "service with label service.kubernetes.io/headless",
    {
      ...service("s"),
      metadata: { name: "s", namespace: "default", labels: { "service.kubernetes.io/headless": "" } },
    },
    [],
  ],
];

describe("ServiceTracker reads Services", () => {
  it.each(cases)("%s", (_name, object, ports) => {
    expect(portsOf(object)).toEqual({ ports, complaints: [] });
  });

  const wrong: [name: string, object: Service, complaint: string][] = [
    [
      "cluster IP is not text",
      lying({ clusterIP: "x", clusterIPs: [7], ports: [{ port: 80 }] }),
      "Service default/s has no IPv4 address in spec.clusterIPs and is ignored.",
    ],
    [
      "port is text",
      lying({ clusterIP: "10.254.0.1", ports: [{ port: "80" }] }),
      "Service default/s: spec.ports[0] is not a TCP, UDP or SCTP port and is ignored.",
    ],
    [
      "node port too large",
      lying({ clusterIP: "10.254.0.1", ports: [{ port: 80, nodePort: 70000 }] }),
      "Service default/s: spec.ports[0] is not a TCP, UDP or SCTP port and is ignored.",
    ],
    [
      "port is null",
      lying({ clusterIP: "10.254.0.1", ports: [null] }),
      "Service default/s: spec.ports[0] is not a TCP, UDP or SCTP port and is ignored.",
    ],
    [
      "unknown protocol",
      lying({ clusterIP: "10.254.0.1", ports: [{ port: 80, protocol: "QUIC" }] }),
      "Service default/s: spec.ports[0] is not a TCP, UDP or SCTP port and is ignored.",
    ],
  ];
  it.each(wrong)("reports and ignores: %s", (_name, object, complaint) => {
    expect(portsOf(object)).toEqual({ ports: [], complaints: [complaint] });
  });

  it("reports and ignores a port with the name and protocol of another", () => {
    const twice = lying({ clusterIP: "10.254.0.1", ports: [{ port: 80 }, { port: 81 }] });
    expect(portsOf(twice)).toEqual({
      ports: ["default/s/6 10.254.0.1:80 node 0 affinity 0"],
      complaints: ["Service default/s: spec.ports[1] has the name of another port and is ignored."],
    });
  });

  it.each([undefined, null, 7, "x", []])("ignores an object without a name (metadata %j)", (metadata) => {
    const complaints: string[] = [];
    const tracker = new ServiceTracker((message) => complaints.push(message));
    expect(tracker.upsert({ metadata } as unknown as Service)).toBe(false);
    expect(complaints).toEqual(["A Service without metadata.namespace or metadata.name was ignored."]);
  });
});

describe("ServiceTracker joins changes until checkout", () => {
  const make = () => new ServiceTracker(() => undefined);

  it("add, then the same again: one change", () => {
    const tracker = make();
    expect([tracker.upsert(service("s")), tracker.upsert(service("s"))]).toEqual([true, false]);
    expect(tracker.pendingCount).toBe(1);
  });

  it("add, then delete: nothing to apply", () => {
    const tracker = make();
    tracker.upsert(service("s"));
    expect(tracker.delete(service("s"))).toBe(true);
    expect(tracker.checkout().size).toBe(0);
  });

  it("two changes between checkouts: before the first, after the last", () => {
    const tracker = make();
    tracker.upsert(service("s", { clusterIP: "10.254.0.1" }));
    tracker.checkout();
    tracker.upsert(service("s", { clusterIP: "10.254.0.2" }));
    tracker.upsert(service("s", { clusterIP: "10.254.0.3" }));
    const change = tracker.checkout().get("default/s");
    expect(change?.previous.map((p) => formatIpv4(p.clusterIp))).toEqual(["10.254.0.1"]);
    expect(change?.current.map((p) => formatIpv4(p.clusterIp))).toEqual(["10.254.0.3"]);
    expect(tracker.pendingCount).toBe(0);
  });

  it("changed and changed back: nothing to apply", () => {
    const tracker = make();
    tracker.upsert(service("s"));
    tracker.checkout();
    tracker.upsert(service("s", { clusterIP: "10.254.0.9" }));
    tracker.upsert(service("s"));
    expect(tracker.checkout().size).toBe(0);
  });

  it("becoming headless takes the ports away", () => {
    const tracker = make();
    tracker.upsert(service("s"));
    tracker.checkout();
    tracker.upsert(service("s", { clusterIP: "None" }));
    expect(tracker.checkout().get("default/s")).toMatchObject({ previous: [{ port: 80 }], current: [] });
  });

  it("deleting what was never there changes nothing", () => {
    const tracker = make();
    expect(tracker.delete(service("s"))).toBe(false);
    expect(tracker.pendingCount).toBe(0);
  });
});
