import type { EndpointSlice } from "kubernetes-types/discovery/v1.d.ts";
import { describe, expect, it } from "vitest";
import { EndpointSliceTracker } from "../../src/proxy/endpoint-slice-tracker.js";
import type { Endpoint } from "../../src/proxy/types.js";
import { formatIpv4 } from "../../src/wire/index.js";
import { endpoint, slice } from "./objects.js";

function text(e: Endpoint): string {
  const flags = [
    e.ready && "ready",
    e.serving && "serving",
    e.terminating && "terminating",
    e.isLocal && "local",
  ];
  return [`${formatIpv4(e.ip)}:${e.port}`, ...flags.filter((flag) => flag !== false)].join(" ");
}

function make(): EndpointSliceTracker {
  return new EndpointSliceTracker("host1", () => undefined);
}

function endpointsOf(slices: EndpointSlice[]): Record<string, string[]> {
  const tracker = make();
  for (const object of slices) tracker.upsert(object);
  return Object.fromEntries([...tracker.checkout()].map(([key, change]) => [key, change.current.map(text)]));
}

const P80 = [{ name: "port-0", port: 80, protocol: "TCP" }];
const P443 = [{ name: "port-1", port: 443, protocol: "TCP" }];
const far = (address: string, conditions = {}) => endpoint(address, conditions, "host2");
const near = (address: string, conditions = {}) => endpoint(address, conditions, "host1");
const DOWN = { ready: false, serving: false };
const fine = "ready serving";

/** Names are those of pkg/proxy/endpointslicecache_test.go `TestEndpointsMapFromESC` where it has the case. */
const cases: [name: string, slices: EndpointSlice[], expected: Record<string, string[]>][] = [
  [
    "1 slice, 2 hosts, ports 80,443",
    [slice("svc1", [near("10.0.1.1"), far("10.0.1.2")], [...P80, ...P443])],
    {
      "default/svc1:port-0/6": [`10.0.1.1:80 ${fine} local`, `10.0.1.2:80 ${fine}`],
      "default/svc1:port-1/6": [`10.0.1.1:443 ${fine} local`, `10.0.1.2:443 ${fine}`],
    },
  ],
  [
    "2 slices, same port",
    [slice("svc1", [far("10.0.1.1")], P80, "a"), slice("svc1", [far("10.0.2.1")], P80, "b")],
    { "default/svc1:port-0/6": [`10.0.1.1:80 ${fine}`, `10.0.2.1:80 ${fine}`] },
  ],
  [
    "2 overlapping slices, same port",
    [
      slice("svc1", [far("10.0.1.1"), far("10.0.1.2")], P80, "a"),
      slice("svc1", [far("10.0.1.2"), far("10.0.1.3")], P80, "b"),
    ],
    { "default/svc1:port-0/6": [`10.0.1.1:80 ${fine}`, `10.0.1.2:80 ${fine}`, `10.0.1.3:80 ${fine}`] },
  ],
  [
    "2 slices, overlapping endpoints, a local one is preferred",
    [slice("svc1", [far("10.0.1.1")], P80, "a"), slice("svc1", [near("10.0.1.1")], P80, "b")],
    { "default/svc1:port-0/6": [`10.0.1.1:80 ${fine} local`] },
  ],
  [
    "2 slices, overlapping endpoints, some endpoints unready in 1 or both",
    [
      slice("svc1", [far("10.0.1.1", DOWN), far("10.0.1.2"), far("10.0.1.3", DOWN)], P80, "a"),
      slice("svc1", [far("10.0.1.1"), far("10.0.1.2", DOWN), far("10.0.1.3", DOWN)], P80, "b"),
    ],
    { "default/svc1:port-0/6": [`10.0.1.1:80 ${fine}`, `10.0.1.2:80 ${fine}`, "10.0.1.3:80"] },
  ],
  [
    "Different endpoints with duplicate IPs should not be filtered",
    [
      slice("svc1", [far("10.0.1.1")], P80, "a"),
      slice("svc1", [far("10.0.1.1")], [{ name: "port-0", port: 8080 }], "b"),
    ],
    { "default/svc1:port-0/6": [`10.0.1.1:80 ${fine}`, `10.0.1.1:8080 ${fine}`] },
  ],
  [
    "slice with mixed ready and serving + terminating endpoints",
    [
      slice(
        "svc1",
        [
          far("10.0.1.1"),
          far("10.0.1.2", { ready: false, serving: true, terminating: true }),
          far("10.0.1.3", { ready: false, serving: false }),
        ],
        P80,
      ),
    ],
    { "default/svc1:port-0/6": [`10.0.1.1:80 ${fine}`, "10.0.1.2:80 serving terminating", "10.0.1.3:80"] },
  ],
  ["port with nil name is skipped", [slice("svc1", [far("10.0.1.1")], [{ port: 80, protocol: "TCP" }])], {}],
  [
    "port with empty name counts",
    [slice("svc1", [far("10.0.1.1")], [{ name: "", port: 80 }])],
    { "default/svc1/6": [`10.0.1.1:80 ${fine}`] },
  ],
  ["port 0 is skipped", [slice("svc1", [far("10.0.1.1")], [{ name: "port-0", port: 0 }])], {}],
  ["nil port is skipped", [slice("svc1", [far("10.0.1.1")], [{ name: "port-0" }])], {}],
  [
    "only the first address counts",
    [slice("svc1", [{ addresses: ["10.0.1.1", "10.0.1.2"] }], P80)],
    { "default/svc1:port-0/6": [`10.0.1.1:80 ${fine}`] },
  ],
  [
    "endpoint without address is skipped",
    [slice("svc1", [{ addresses: [] }, far("10.0.1.2")], P80)],
    { "default/svc1:port-0/6": [`10.0.1.2:80 ${fine}`] },
  ],
  [
    "wrong family in an IPv4 slice is skipped",
    [slice("svc1", [far("fd00::1"), far("10.0.1.2")], P80)],
    { "default/svc1:port-0/6": [`10.0.1.2:80 ${fine}`] },
  ],
  [
    "slice of the other family is skipped",
    [{ ...slice("svc1", [far("fd00::1")], P80), addressType: "IPv6" }],
    {},
  ],
  [
    "named target port with two numbers",
    [
      slice("svc1", [far("10.0.1.1")], [{ name: "http", port: 8080 }], "a"),
      slice("svc1", [far("10.0.1.2")], [{ name: "http", port: 9090 }], "b"),
    ],
    { "default/svc1:http/6": [`10.0.1.1:8080 ${fine}`, `10.0.1.2:9090 ${fine}`] },
  ],
];

describe("EndpointSliceTracker", () => {
  it.each(cases)("%s", (_name, slices, expected) => {
    expect(endpointsOf(slices)).toEqual(expected);
  });

  it("reads topology hints; what is not a name is left out", () => {
    const tracker = make();
    const hints = { forZones: [{ name: "a" }, { name: "b" }], forNodes: [{ name: "host1" }] };
    const odd = { forZones: [{ name: 7 }, null, { name: "" }], forNodes: "host1" } as unknown as typeof hints;
    tracker.upsert(
      slice(
        "svc1",
        [{ ...far("10.0.1.1"), hints }, far("10.0.1.2"), { ...far("10.0.1.3"), hints: odd }],
        P80,
      ),
    );
    const read = tracker.checkout().get("default/svc1:port-0/6")?.current ?? [];
    expect(read.map(({ zoneHints, nodeHints }) => ({ zoneHints, nodeHints }))).toEqual([
      { zoneHints: ["a", "b"], nodeHints: ["host1"] },
      { zoneHints: [], nodeHints: [] },
      { zoneHints: [], nodeHints: [] },
    ]);
  });

  it("names the pod of the target, or else the address", () => {
    const tracker = make();
    const targetRef = { kind: "Pod", namespace: "default", name: "web-1" };
    tracker.upsert(slice("svc1", [{ addresses: ["10.0.1.1"], targetRef }, { addresses: ["10.0.1.2"] }], P80));
    expect(
      tracker
        .checkout()
        .get("default/svc1:port-0/6")
        ?.current.map((e) => e.target),
    ).toEqual(["default/web-1", "10.0.1.2:80"]);
  });

  it.each([
    ["labels", { labels: undefined }],
    ["name", { name: "" }],
    ["namespace", { namespace: undefined }],
  ])("reports a slice without %s", (_what, part) => {
    const complaints: string[] = [];
    const tracker = new EndpointSliceTracker("host1", (message) => complaints.push(message));
    const made = slice("svc1", [far("10.0.1.1")], P80);
    expect(tracker.upsert({ ...made, metadata: { ...made.metadata, ...part } })).toBe(false);
    expect(complaints).toHaveLength(1);
  });

  it("never throws on objects that lie about their type", () => {
    const made = slice("svc1", [far("10.0.1.1")], P80);
    for (const rubbish of [
      null,
      undefined,
      3,
      "x",
      {},
      [null],
      [3],
      [{ addresses: 3 }],
      [{ addresses: [null] }],
    ]) {
      const tracker = make();
      tracker.upsert({ ...made, endpoints: rubbish } as unknown as EndpointSlice);
      tracker.upsert({
        ...made,
        ports: rubbish,
        metadata: { ...made.metadata, name: "b" },
      } as unknown as EndpointSlice);
      expect(tracker.checkout().get("default/svc1:port-0/6")).toBeUndefined();
    }
  });
});

describe("EndpointSliceTracker.checkout (TestCheckoutChanges)", () => {
  const one = slice("svc1", [far("10.0.1.1")], P80, "a");
  const two = slice("svc1", [far("10.0.1.1"), far("10.0.1.2")], P80, "a");
  const key = "default/svc1:port-0/6";

  it("pending slice creates, then updates, then nothing", () => {
    const tracker = make();
    expect([tracker.upsert(one), tracker.upsert(one)]).toEqual([true, false]);
    expect(tracker.checkout().get(key)).toMatchObject({ previous: [], current: [{ port: 80 }] });
    tracker.upsert(two);
    expect(tracker.pendingCount).toBe(1);
    const change = tracker.checkout().get(key);
    expect([change?.previous.length, change?.current.length]).toEqual([1, 2]);
    expect(tracker.checkout().size).toBe(0);
    expect(tracker.upsert(two)).toBe(false);
  });

  it("an endpoint that moves between slices does not go away", () => {
    const tracker = make();
    tracker.upsert(one);
    tracker.checkout();
    tracker.delete(one);
    tracker.upsert(slice("svc1", [far("10.0.1.1")], P80, "b"));
    expect(tracker.checkout().size).toBe(0);
    expect(tracker.endpoints(key).map(text)).toEqual([`10.0.1.1:80 ${fine}`]);
  });

  it("removed slice that was only pending leaves nothing behind", () => {
    const tracker = make();
    tracker.upsert(one);
    tracker.delete(one);
    expect([tracker.pendingCount, tracker.checkout().size]).toEqual([0, 0]);
  });

  it("only ports that changed are named", () => {
    const tracker = make();
    tracker.upsert(slice("svc1", [far("10.0.1.1")], P80, "a"));
    tracker.upsert(slice("svc1", [far("10.0.1.1")], P443, "b"));
    tracker.checkout();
    tracker.upsert(slice("svc1", [far("10.0.1.9")], P443, "b"));
    expect([...tracker.checkout().keys()]).toEqual(["default/svc1:port-1/6"]);
  });

  it("a slice that goes takes its endpoints along", () => {
    const tracker = make();
    tracker.upsert(two);
    tracker.checkout();
    tracker.delete(two);
    expect(tracker.checkout().get(key)?.current).toEqual([]);
    expect(tracker.endpoints(key)).toEqual([]);
  });
});
