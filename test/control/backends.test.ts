import { describe, expect, it } from "vitest";
import { backendsOf } from "../../src/control/backends.js";
import { truncated } from "../../src/control/capacity.js";
import { endpointsOf, subsetsOf } from "../../src/control/endpoints.js";
import type { Pod, Service } from "../../src/kube/index.js";

const LABELS = { app: "web" };

function pod(
  name: string,
  last: number,
  options: { ready?: boolean; spec?: object; metadata?: object; status?: object } = {},
): Pod {
  const { ready = true, spec, metadata, status } = options;
  return {
    metadata: { name, namespace: "default", uid: `uid-${name}`, labels: LABELS, ...metadata },
    spec: {
      nodeName: "n1",
      containers: [
        {
          name: "c",
          ports: [
            { name: "http", containerPort: 8080 },
            { name: "dns", containerPort: 5353, protocol: "UDP" },
          ],
        },
      ],
      ...spec,
    },
    status: {
      phase: "Running",
      podIP: `10.244.1.${last}`,
      conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
      ...status,
    },
  };
}

const service = (ports: object[], spec: object = {}): Service => ({
  metadata: { name: "web", namespace: "default" },
  spec: { selector: LABELS, ports: ports as never, ...spec },
});

const portsSeen = (ports: object[], pods = [pod("a", 1)]) =>
  backendsOf(service(ports), pods).map((backend) => backend.ports);

describe("the pods behind a Service", () => {
  it("have its ports, by number or by name and protocol", () => {
    expect(portsSeen([{ port: 80 }])).toEqual([[{ name: "", port: 80, protocol: "TCP" }]]);
    expect(portsSeen([{ port: 80, targetPort: 9000 }])).toEqual([
      [{ name: "", port: 9000, protocol: "TCP" }],
    ]);
    expect(portsSeen([{ name: "w", port: 80, targetPort: "http", appProtocol: "h2c" }])).toEqual([
      [{ name: "w", port: 8080, protocol: "TCP", appProtocol: "h2c" }],
    ]);
    expect(portsSeen([{ port: 53, targetPort: "dns", protocol: "UDP" }])).toEqual([
      [{ name: "", port: 5353, protocol: "UDP" }],
    ]);
  });

  it("may have a port by the name that a sidecar gives it, but not an init container that ends", () => {
    const init = (restartPolicy?: string) => ({
      name: "i",
      ...(restartPolicy && { restartPolicy }),
      ports: [{ name: "side", containerPort: 9191 }],
    });
    const named = [{ port: 80, targetPort: "side" }];
    const seen = (one: object) => portsSeen(named, [pod("a", 1, { spec: { initContainers: [one] } })]);
    expect(seen(init("Always"))).toEqual([[{ name: "", port: 9191, protocol: "TCP" }]]);
    expect(seen(init())).toEqual([[]]);
  });

  it("may have none of its ports, and are then in no Endpoints", () => {
    const unresolved = service([{ port: 53, targetPort: "dns" }]);
    expect(portsSeen([{ port: 53, targetPort: "dns" }])).toEqual([[]]);
    expect(endpointsOf(unresolved, backendsOf(unresolved, [pod("a", 1)]))).toEqual([]);
    const portless = backendsOf(service([]), [pod("a", 1)]);
    expect(endpointsOf(service([]), portless)).toEqual(portless);
    const both = [
      { name: "a", port: 1, targetPort: "dns" },
      { name: "b", port: 2, targetPort: "http" },
    ];
    expect(portsSeen(both)).toEqual([[{ name: "b", port: 8080, protocol: "TCP" }]]);
    expect(portsSeen([])).toEqual([[]]);
  });

  it("may each have another number under one name", () => {
    const other = pod("b", 2, {
      spec: { containers: [{ name: "c", ports: [{ name: "http", containerPort: 9090 }] }] },
    });
    const backends = backendsOf(service([{ port: 80, targetPort: "http" }]), [other, pod("a", 1)]);
    expect(subsetsOf(backends).map(({ addresses, ports }) => [addresses?.[0]?.ip, ports?.[0]?.port])).toEqual(
      [
        ["10.244.1.1", 8080],
        ["10.244.1.2", 9090],
      ],
    );
  });

  it("are those that are selected, have an address and run", () => {
    const pods = [
      pod("a", 1),
      pod("other", 2, { metadata: { labels: { app: "db" } } }),
      pod("elsewhere", 3, { metadata: { namespace: "team" } }),
      pod("done", 4, { status: { phase: "Succeeded" } }),
      pod("new", 5, { status: { podIP: undefined } }),
    ];
    expect(backendsOf(service([{ port: 80 }]), pods).map(({ ip }) => ip)).toEqual(["10.244.1.1"]);
  });

  it("have conditions", () => {
    const gone = { metadata: { deletionTimestamp: "2024-01-01T00:00:00Z" } };
    const pods = [
      pod("a", 1),
      pod("b", 2, { ready: false }),
      pod("c", 3, gone),
      pod("d", 4, { ...gone, ready: false }),
    ];
    const conditions = (spec: object) =>
      backendsOf(service([{ port: 80 }], spec), pods).map(({ ready, serving, terminating }) => [
        ready,
        serving,
        terminating,
      ]);
    expect(conditions({})).toEqual([
      [true, true, false],
      [false, false, false],
      [false, true, true],
      [false, false, true],
    ]);
    expect(conditions({ publishNotReadyAddresses: true }).map(([ready]) => ready)).toEqual([
      true,
      true,
      true,
      true,
    ]);
  });

  it("are ready, not ready, or missing in Endpoints", () => {
    const gone = { metadata: { deletionTimestamp: "2024-01-01T00:00:00Z" } };
    const pods = [pod("a", 1), pod("b", 2, { ready: false }), pod("c", 3, gone)];
    expect(subsetsOf(backendsOf(service([{ name: "w", port: 80 }]), pods))).toEqual([
      {
        addresses: [
          {
            ip: "10.244.1.1",
            nodeName: "n1",
            targetRef: { kind: "Pod", namespace: "default", name: "a", uid: "uid-a" },
          },
        ],
        notReadyAddresses: [
          {
            ip: "10.244.1.2",
            nodeName: "n1",
            targetRef: { kind: "Pod", namespace: "default", name: "b", uid: "uid-b" },
          },
        ],
        ports: [{ name: "w", port: 80, protocol: "TCP" }],
      },
    ]);
  });

  it("are at most so many in Endpoints, ready ones first, from each subset its share", () => {
    const ips = (from: number, count: number) =>
      Array.from({ length: count }, (_, index) => ({ ip: `10.0.0.${from + index}` }));
    const subset = (from: number, ready: number, notReady: number) => ({
      ...(ready > 0 && { addresses: ips(from, ready) }),
      ...(notReady > 0 && { notReadyAddresses: ips(from + ready, notReady) }),
    });
    const sizes = (subsets: ReturnType<typeof truncated>) =>
      subsets.map(({ addresses = [], notReadyAddresses = [] }) => [
        addresses.length,
        notReadyAddresses.length,
      ]);
    const both = [subset(0, 4, 4), subset(50, 6, 2)];
    expect(truncated(both, 16)).toEqual(both);
    expect(sizes(truncated(both, 13))).toEqual([
      [4, 2],
      [6, 1],
    ]);
    expect(sizes(truncated(both, 5))).toEqual([
      [2, 0],
      [3, 0],
    ]);
  });

  it("have a name of their own when they ask for one under this Service", () => {
    const named = pod("a", 1, { spec: { hostname: "first", subdomain: "web" } });
    const astray = pod("b", 2, { spec: { hostname: "second", subdomain: "db" } });
    expect(backendsOf(service([]), [named, astray]).map(({ hostname }) => hostname)).toEqual([
      "first",
      undefined,
    ]);
  });
});
